"""Calling Nordic's compiler library in a process of its own."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from harness.errors import ToolchainError
from harness.tool_process import printable, signal_name
from harness.vendor import worker

Stage = Literal["compile", "infer"]

TAIL_LINES: Final = 6
_PROBE_TIMEOUT_S: Final = 60.0
_LONGEST_LINE: Final = 200
_TAIL_BYTES: Final = 64 << 10


@dataclass(frozen=True, slots=True)
class LibraryRun:
    """What the library answered.

    stage: the last entry point that was called. code: 0, or a refusal (result_codes.py). The
    others as in nrf_axon_nn_compiler_return_s, in bytes and NPU cycles. log: what it printed.
    """

    stage: Stage
    code: int
    constant_bytes: int
    interlayer_bytes: int
    psum_bytes: int
    command_buffer_bytes: int
    ticks: int
    log: str

    @property
    def tail(self) -> str:
        """The last lines that the library printed, on one line."""
        return last_lines(self.log)


def run_library(
    library: Path, arguments: Sequence[str], folder: Path, stage: Stage, timeout_s: float
) -> LibraryRun:
    """Call the library with `arguments` in `folder`; `infer` compiles first.

    Raises ToolchainError with the library's last lines when it crashes, cannot be loaded or does
    not return within `timeout_s`. A refusal is an answer: see `LibraryRun.code`.
    """
    script = str(Path(worker.__file__).resolve())
    command = [sys.executable, "-I", script, str(folder), str(library), stage, *arguments]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ToolchainError(
            f"Nordic's compiler library did not return within {timeout_s:g} s and was stopped; "
            f"its last lines: {last_lines(_log(folder))}"
        ) from None
    except OSError as error:
        raise ToolchainError(f"{sys.executable} cannot be started: {error.strerror}") from error
    log = _log(folder)
    if done.returncode != 0:
        raise ToolchainError(
            f"Nordic's compiler library {_ending(done.returncode)}; its last lines: "
            f"{last_lines(log)}"
        )
    return _result(folder, log)


def library_version(library: Path) -> str:
    """The version that the library prints when it is called, such as 1.4.0.

    Raises ToolchainError when it cannot be loaded or does not say.
    """
    with tempfile.TemporaryDirectory(prefix="axonrig-") as folder:
        # A binary that is not there: it prints its version and refuses, which costs nothing.
        run = run_library(
            library, ["-bnone.bin", "-fnone"], Path(folder), "compile", _PROBE_TIMEOUT_S
        )
    found = re.search(r"Version\s+(\d+\.\d+\.\d+)", run.log)
    if found is None:
        raise ToolchainError(
            f"{library} does not print its version when it is called; its last lines: {run.tail}"
        )
    return found.group(1)


def last_lines(log: str) -> str:
    """The end of a log on one line, each line cut where it is long."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    shown = [
        line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]}..."
        for line in lines[-TAIL_LINES:]
    ]
    return " | ".join(shown) or "(it printed nothing)"


def _ending(status: int) -> str:
    """How a process ended that did not end well."""
    if status > 0:
        return f"cannot be used (status {status})"
    return f"crashed ({signal_name(-status)})"


def _log(folder: Path) -> str:
    """The end of the log; a library in an endless loop may have filled it."""
    try:
        with (folder / worker.LOG).open("rb") as stream:
            size = stream.seek(0, 2)
            head = b""
            if size > 2 * _TAIL_BYTES:
                stream.seek(0)
                head = stream.read(_TAIL_BYTES)
            stream.seek(size - _TAIL_BYTES if head else 0)
            text = (head + stream.read()).decode("utf-8", "replace")
    except OSError:
        return ""
    return printable(text)


def _result(folder: Path, log: str) -> LibraryRun:
    try:
        found = json.loads((folder / worker.RESULT).read_text())
        constants, interlayer, psum, commands, ticks = found["values"]
        return LibraryRun(
            found["stage"], found["code"], constants, interlayer, psum, commands, ticks, log
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ToolchainError(
            "Nordic's compiler library ended the process without an answer; its last lines: "
            f"{last_lines(log)}"
        ) from error
