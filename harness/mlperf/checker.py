"""Runs the submission checker of a checkout of mlcommons/tiny on a results tree."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.errors import ConfigError, ToolchainError
from harness.tool_process import run_logged

VARIABLE: Final = "MLPERF_TINY_PATH"
SCRIPT: Final = Path("tools", "submission", "submission_checker.py")
_TIMEOUT_S: Final = 120.0
_VERDICT: Final = re.compile(r"function main\(\) returned (\d+)")


@dataclass(frozen=True, slots=True)
class CheckerResult:
    """passed: the checker found no fault. lines: what it said, its own prefixes cut."""

    passed: bool
    lines: tuple[str, ...]


def find_checker(given: Path | None) -> Path | None:
    """The checker's script in `given` or $MLPERF_TINY_PATH; None when neither is set.

    Raises ConfigError when there is none in that folder, ToolchainError without pandas.
    """
    text = os.environ.get(VARIABLE)
    folder = given or (Path(text) if text else None)
    if folder is None:
        return None
    script = folder / SCRIPT
    if not script.is_file():
        raise ConfigError(f"{folder} is no checkout of mlcommons/tiny: it lacks {SCRIPT}")
    if importlib.util.find_spec("pandas") is None:
        raise ToolchainError(
            "the submission checker needs pandas: pip install '.[mlperf]' in a checkout of "
            f"axonrig, or leave out --checker and {VARIABLE}"
        )
    return script.resolve()


def run_checker(script: Path, tree: Path) -> CheckerResult:
    """Let `script` judge the tree. Raises ToolchainError when it gives no verdict."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-B", str(script), "--input", str(tree.resolve())]
        run = run_logged(command, timeout_s=_TIMEOUT_S, cwd=Path(scratch))
    found = _VERDICT.search(run.stdout)
    if run.status or found is None:
        raise ToolchainError(run.failure("the submission checker gave no verdict"))
    lines = (line.replace(":main:", " ", 1) for line in run.stderr.splitlines())
    said = tuple(line for line in lines if line.strip() and not line.endswith(" ---"))
    return CheckerResult(found[1] == "0", said)
