"""Running an external tool: argument list, time limit, log file, and one kind of failure."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.artefacts import write_bytes
from harness.errors import ToolchainError

TAIL_LINES: Final = 12
_PRIVATE: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class ToolRun:
    """What a tool did. log: file with everything it printed, None when none was asked for."""

    command: tuple[str, ...]
    status: int
    stdout: str
    stderr: str
    log: Path | None

    @property
    def command_line(self) -> str:
        """The command as one would type it."""
        return shlex.join(self.command)

    @property
    def tail(self) -> str:
        """The last lines, what a reader needs first."""
        lines = (self.stdout.rstrip() + "\n" + self.stderr.rstrip()).strip().splitlines()
        return "\n".join(lines[-TAIL_LINES:]) or "(it printed nothing)"

    def failure(self, what: str) -> str:
        """A sentence with command, status, log and last lines."""
        log = f"; all of it is in {self.log}" if self.log else ""
        return (
            f"{what}: '{self.command_line}' ended with status {self.status}{log}. Its last lines: "
            f"{self.tail}"
        )


def find_tool(name: str, hint: str) -> str:
    """The tool's path. Raises ToolchainError with `hint` when it is not installed."""
    path = shutil.which(name)
    if path is None:
        raise ToolchainError(f"the tool '{name}' is not on the PATH: {hint}")
    return path


def run_logged(
    command: Sequence[str],
    *,
    timeout_s: float,
    cwd: Path | None = None,
    log: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> ToolRun:
    """Run a tool to its end and keep what it printed in `log`.

    A status other than 0 is the caller's to judge. Raises ToolchainError when the tool cannot be
    started or does not end in time.
    """
    try:
        done = subprocess.run(
            list(command),
            cwd=cwd,
            capture_output=True,
            timeout=timeout_s,
            check=False,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(environment or {})},
        )
    except OSError as error:
        raise ToolchainError(
            f"'{shlex.join(command)}' cannot be started: {error.strerror or error}"
        ) from error
    except subprocess.TimeoutExpired as error:
        output = _text(error.stdout) + _text(error.stderr)
        run = ToolRun(tuple(command), -1, output, "", _write_log(log, command, -1, output))
        raise ToolchainError(run.failure(f"no end within {timeout_s:.0f} s")) from None
    stdout, stderr = _text(done.stdout), _text(done.stderr)
    written = _write_log(log, command, done.returncode, stdout + stderr)
    return ToolRun(tuple(command), done.returncode, stdout, stderr, written)


def printable(text: str) -> str:
    """Text without the control characters that would steer a terminal; tabs and lines stay."""
    return _PRIVATE.sub("", text)


def signal_name(number: int) -> str:
    """SIGABRT for 6."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _text(data: bytes | str | None) -> str:
    if isinstance(data, bytes):
        data = data.decode("utf-8", "replace")
    return printable((data or "").replace("\r\n", "\n"))


def _write_log(log: Path | None, command: Sequence[str], status: int, output: str) -> Path | None:
    if log is None:
        return None
    log.parent.mkdir(parents=True, exist_ok=True)
    text = f"$ {shlex.join(command)}\n{output}\n[status {status}]\n"
    write_bytes(log, text.encode())
    return log
