"""Asking host TFLite: one process for all questions, started again after a crash."""

from __future__ import annotations

import atexit
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from harness.errors import ConfigError, HarnessError, ToolchainError
from harness.host_tflite import worker
from harness.host_tflite.worker import Array, Facts, Message, read_message, write_message
from harness.progress import Progress
from harness.tool_process import printable, signal_name

LIMIT_S: Final = 300.0
"""How long the runtime may be silent: it says at least with every sample that it goes on."""

_TAIL_BYTES: Final = 16 << 10
_LONGEST_LINE: Final = 200
_WAY_OUT: Final = (
    "another release of ai-edge-litert may run it; `axonrig simulate` and `axonrig scan` do "
    "without host TFLite"
)


@dataclass(frozen=True, slots=True)
class _Child:
    """A running process. log: what it printed since the last question."""

    process: subprocess.Popen[bytes]
    requests: IO[bytes]
    answers: IO[bytes]
    log: IO[bytes]


class HostTflite:
    """The process and the one conversation with it; any thread may ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._child: _Child | None = None

    def ask(
        self, facts: Facts, arrays: Sequence[Array], progress: Progress | None = None
    ) -> Message:
        """The runtime's answer to one request (see worker.py).

        progress: called with the samples done and in all, arrays[1] being the samples.
        Raises ConfigError with a sentence when the runtime refuses the model, crashes on it or is
        silent for `LIMIT_S`; ToolchainError when it cannot be started.
        """
        with self._lock:
            child = self._ready()
            try:
                answer = _converse(child, facts, arrays, progress)
            except BaseException:
                self._stop()
                raise
        if "refused" in answer[0]:
            reason = printable(str(answer[0]["refused"]))[:_LONGEST_LINE]
            raise ConfigError(f"host TFLite cannot run the model: {reason}")
        return answer

    def close(self) -> None:
        """End the process; a question that waits fails, the next one starts another."""
        if (child := self._child) is not None:
            child.process.kill()
        with self._lock:
            self._stop()

    def _ready(self) -> _Child:
        if self._child is not None and self._child.process.poll() is not None:
            self._stop()
        if self._child is None:
            self._child = _start()
        return self._child

    def _stop(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        child.process.kill()
        child.process.wait()
        for stream in (child.requests, child.answers, child.log):
            with suppress(OSError):  # What is left in a buffer has nowhere to go.
                stream.close()


def _start() -> _Child:
    log = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the process
    script = str(Path(worker.__file__).resolve())
    try:
        # -P: the folder of the script is no place to import from.
        process = subprocess.Popen(
            [sys.executable, "-P", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        )
    except OSError as error:
        log.close()
        raise ToolchainError(f"{sys.executable} cannot be started: {error.strerror}") from error
    assert process.stdin is not None
    assert process.stdout is not None
    return _Child(process, process.stdin, process.stdout, log)


def _converse(
    child: _Child, facts: Facts, arrays: Sequence[Array], progress: Progress | None
) -> Message:
    child.log.seek(0)
    child.log.truncate()
    late = threading.Event()
    try:
        with _cut_off(child, late), suppress(BrokenPipeError):  # Why it ended, the reading tells.
            write_message(child.requests, facts, arrays)
        while True:
            with _cut_off(child, late):
                found, answer = read_message(child.answers)
            if "unusable" in found:
                raise ToolchainError(f"host TFLite cannot be loaded: {found['unusable']}")
            if progress and "done" in found:
                progress(int(found["done"]), len(arrays[1]))
            if not found.keys() & {"done", "alive"}:
                return found, answer
    except EOFError:
        raise _failure(child, late=late.is_set()) from None
    except (ValueError, TypeError, KeyError, MemoryError) as error:
        raise ToolchainError(
            f"host TFLite gave an answer that cannot be read{_last_words(child)}"
        ) from error


@contextmanager
def _cut_off(child: _Child, late: threading.Event) -> Iterator[None]:
    """End the process when what is done inside takes longer than the limit."""

    def cut() -> None:
        late.set()
        child.process.kill()

    timer = threading.Timer(LIMIT_S, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _failure(child: _Child, *, late: bool) -> HarnessError:
    status = child.process.wait()
    last = _last_words(child)
    if late:
        return ConfigError(
            f"host TFLite was stopped after {LIMIT_S:g} s in which it did not finish a sample of "
            f"the model{last}; {_WAY_OUT}"
        )
    if status < 0:
        return ConfigError(
            f"host TFLite crashed on the model ({signal_name(-status)}){last}; {_WAY_OUT}"
        )
    return ToolchainError(f"the process of host TFLite ended with status {status}{last}")


def _last_words(child: _Child) -> str:
    """The last line that the runtime printed, as the end of a sentence; empty without one."""
    size = child.log.seek(0, 2)
    child.log.seek(max(0, size - _TAIL_BYTES))
    text = printable(child.log.read().decode("utf-8", "replace"))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f"; its last line: {lines[-1][:_LONGEST_LINE]}" if lines else ""


HOST: Final = HostTflite()
atexit.register(HOST.close)
