"""The host firmware as a process: its stdin and stdout are the serial line."""

from __future__ import annotations

import os
import select
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import BoardError

_CHUNK = 65536
_STOP_S = 2.0


@dataclass(slots=True)
class ProcessTransport:
    """A running process with pipes."""

    process: subprocess.Popen[bytes]
    name: str

    def read(self, timeout_s: float) -> bytes:
        """See `Transport`."""
        output = self._pipes()[1]
        if not select.select([output], [], [], max(0.0, timeout_s))[0]:
            return b""
        data = os.read(output, _CHUNK)
        if not data:
            raise BoardError(f"{self.name}: {self._ended()}")
        return data

    def write(self, data: bytes) -> None:
        """See `Transport`."""
        source = self._pipes()[0]
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(source, left) :]
        except OSError as error:
            raise BoardError(f"{self.name}: {self._ended()}") from error

    def set_baud(self, baud: int) -> bool:  # noqa: ARG002  # only the process paces
        """See `Transport`."""
        return True

    def now(self) -> float:
        """See `Transport`."""
        return time.monotonic()

    def fileno(self) -> int | None:
        """See `Transport`."""
        return self._pipes()[1]

    def close(self) -> None:
        """See `Transport`."""
        if self.process.stdin and self.process.stdout and not self.process.stdin.closed:
            self.process.stdin.close()
            self.process.stdout.close()
        try:
            self.process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _pipes(self) -> tuple[int, int]:
        source, output = self.process.stdin, self.process.stdout
        if source is None or output is None or source.closed:
            raise BoardError(f"{self.name}: the process was closed")
        return source.fileno(), output.fileno()

    def _ended(self) -> str:
        try:
            status = self.process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            return "the process closed its output"
        return f"the process ended with status {status}"


def start_process(path: Path, arguments: Sequence[str] = ()) -> ProcessTransport:
    """Start a host firmware. Raises BoardError when it cannot be started."""
    command = [str(path), *arguments]
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
    except OSError as error:
        raise BoardError(f"{path} cannot be started: {error.strerror}") from error
    return ProcessTransport(process, f"host process {path.name}")
