"""The value of a metric at a commit: that commit's axonrig, or that commit's model, is run."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.changes.folder_metrics import result_of_folder
from harness.errors import ConfigError, HarnessError
from harness.history import Result, Value
from harness.tool_process import run_logged

_ROOT: Final = Path(__file__).resolve().parents[2]
_PROGRAM: Final = Path("harness") / "__main__.py"
_FINE: Final = (0, 1)
"""Exit codes of a run that came to its end; 1: below --min-agreement, or refused."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What is run at each commit.

    model, data: absolute; inside `repository` the commit's own file is taken. None: the embedded
    ones. options: further words of `axonrig run`.
    """

    repository: Path
    metrics: tuple[str, ...]
    board: str = "sim"
    model: Path | None = None
    data: Path | None = None
    options: tuple[str, ...] = ()
    timeout_s: float = 900.0

    def result(self, checkout: Path) -> Result:
        """Run the checkout. Raises HarnessError when that does not work there."""
        code = checkout if (checkout / _PROGRAM).is_file() else _ROOT
        with tempfile.TemporaryDirectory(prefix="axonrig-probe-") as folder:
            out = Path(folder) / "out"
            command = [sys.executable, "-m", "harness", "run", "--board", self.board]
            for name, path in (("--model", self.model), ("--data", self.data)):
                if path is not None:
                    command += [name, str(self._there(path, checkout))]
            command += ["--out", str(out), *self.options]
            environment = {"PYTHONPATH": str(code), "PYTHONDONTWRITEBYTECODE": "1"}
            done = run_logged(command, timeout_s=self.timeout_s, cwd=code, environment=environment)
            if done.status not in _FINE or not (out / "manifest.json").is_file():
                raise ConfigError(done.failure("the run does not work at this commit"))
            return result_of_folder(out)[0]

    def value(self, checkout: Path, metric: str) -> Value:
        """A metric at the checkout. Raises HarnessError, also when the run does not have it."""
        found = self.result(checkout).metric(metric)
        if found is None:
            raise ConfigError(f"the run on {self.board} has no metric '{metric}'")
        return found.value

    def _there(self, path: Path, checkout: Path) -> Path:
        if not path.is_relative_to(self.repository):
            return path
        file = checkout / path.relative_to(self.repository)
        if not file.is_file():
            raise ConfigError(f"{path.relative_to(self.repository)} is not in this commit")
        return file


def try_value(probe: Probe, checkout: Path, metric: str) -> Value | HarnessError:
    """The value, or why there is none."""
    try:
        return probe.value(checkout, metric)
    except HarnessError as error:
        return error
