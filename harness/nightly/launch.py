"""Carrying out one job in a process of its own, so that one that dies or hangs takes no other."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from harness.artefacts import MANIFEST, sha256
from harness.errors import ConfigError
from harness.history import Job, Recorded, Status
from harness.history.lines import from_lines
from harness.nightly.worker import Place, failed

_TAIL_LINES: Final = 8
_MAX_OUTCOME_BYTES: Final = 256 << 20
_running: Final[set[subprocess.Popen[bytes]]] = set()


@dataclass(frozen=True, slots=True)
class Order:
    """What a worker is to do; plain values, so that it can travel.

    night: folder of the night, which client and workers see under the same path. again: only
    measure the latency once more.
    """

    matrix: Path
    sha256: str
    job: Job
    night: Path
    timeout_s: int
    baseline: Path | None = None
    port: str | None = None
    serial_number: str | None = None
    again: bool = False

    @property
    def outcome(self) -> Path:
        """The file that a worker writes last."""
        place = Place(self.night, self.job)
        return place.repeated if self.again else place.outcome


def carry_out(order: Order) -> Recorded:
    """Run the job to its end, whatever that is: an outcome always comes back.

    A worker that dies, hangs past its time or writes no outcome is a failed result that says so.
    """
    order.outcome.unlink(missing_ok=True)
    log = order.night / f"{order.job.name}.log"
    with log.open("wb") as stream:
        worker = subprocess.Popen(
            _command(order),
            stdin=subprocess.PIPE,  # closed when this process dies, see the worker
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        _running.add(worker)
        try:
            status = _wait(worker, order.timeout_s)
        finally:
            _running.discard(worker)
    if status is None:
        return failed(order.job, f"no end within {order.timeout_s} s; see {log}", "timeout")
    if status:
        how = f"signal {-status}" if status < 0 else f"status {status}"
        return failed(order.job, f"its worker ended with {how}: {_tail(log)}", "died")
    try:
        return read_outcome(order.outcome, order.job)
    except ConfigError as error:
        return failed(order.job, f"its worker left no outcome: {error}", "died")


def stop_workers() -> None:
    """Stop every worker that `carry_out` waits for in this process."""
    for worker in tuple(_running):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(worker.pid, signal.SIGKILL)


def finished(order: Order) -> Recorded | None:
    """The outcome that an earlier attempt left whole, if its result folder is still the same."""
    try:
        outcome = read_outcome(order.outcome, order.job)
        manifest = Path(outcome.result.folder or "") / MANIFEST
        same = sha256(manifest.read_bytes()) == outcome.result.manifest
    except (ConfigError, OSError):
        return None
    return outcome if same and outcome.result.status is Status.OK else None


def read_outcome(path: Path, job: Job) -> Recorded:
    """What a worker wrote. Raises ConfigError when it is missing, damaged or of another job."""
    try:
        if path.stat().st_size > _MAX_OUTCOME_BYTES:
            raise ConfigError(f"{path} has more than {_MAX_OUTCOME_BYTES} bytes")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    records = list(from_lines(text.splitlines(keepends=True), str(path)))
    if len(records) != 1 or not isinstance(records[0], Recorded) or records[0].result.job != job:
        raise ConfigError(f"{path} does not hold the one outcome of {job.name}")
    return replace(records[0], night="")


def _command(order: Order) -> list[str]:
    words = [str(order.matrix), order.sha256, order.job.name, str(order.night)]
    options = {
        "--baseline": order.baseline,
        "--port": order.port,
        "--serial-number": order.serial_number,
    }
    words += [f"{name}={value}" for name, value in options.items() if value is not None]
    words += ["--again"] if order.again else []
    return [sys.executable, "-m", "harness.nightly.worker", *words, "--with-parent"]


def _wait(worker: subprocess.Popen[bytes], timeout_s: float) -> int | None:
    """Its status; None when it had to be stopped. Nothing that it started stays."""
    try:
        return worker.wait(timeout_s)
    except subprocess.TimeoutExpired:
        return None
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()
        if worker.stdin is not None:
            worker.stdin.close()


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return " | ".join(lines[-_TAIL_LINES:]) or "it printed nothing"
