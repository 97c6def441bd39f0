"""One night: what is available runs, every job ends once in the history, the gates judge."""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from functools import cache
from pathlib import Path
from typing import Final

from harness.artefacts import MANIFEST, sha256
from harness.board import BoardKind, load_boards
from harness.errors import ConfigError, HarnessError
from harness.history import Finding, History, Night, Recorded, Result, Status, Verdict
from harness.nightly.judge import judge, suspicious
from harness.nightly.lanes import Lane, check_dask, on_dask, run_lanes, sequence
from harness.nightly.launch import Order, carry_out, finished
from harness.nightly.matrix import BoardEntry, JobPlan, Matrix
from harness.nightly.places import Reserve, as_written
from harness.nightly.worker import failed, now
from harness.regression.packages import check_packages
from harness.report.versions import versions
from harness.selection import select_board

RESUME_WITHIN: Final = timedelta(hours=24)
_SOURCES: Final = ("compiler", "harness", "firmware")
_ROOT: Final = Path(__file__).resolve().parents[2]


class NightStatus(IntEnum):
    """Exit status of `axonrig nightly`; fixed, and other than that of other commands."""

    FINE = 0
    REGRESSION = 1
    INFRASTRUCTURE = 2


@dataclass(frozen=True, slots=True)
class NightRequest:
    """What to run. matrix_file: where `matrix` was read. out: folder of all nights. name: id of the
    night, None for the day's. baseline: folder of a night whose images are measured against. jobs:
    side by side. dask: address of a scheduler. observe: is told of every outcome."""

    matrix: Matrix
    matrix_file: Path
    out: Path
    name: str | None = None
    baseline: Path | None = None
    jobs: int = 1
    dask: str | None = None
    reserve: Reserve = as_written
    observe: Callable[[Result], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class NightResult:
    """What a night found. folder: where its result folders are."""

    night: Night
    folder: Path
    results: tuple[Result, ...]
    findings: tuple[Finding, ...]
    status: NightStatus


def run_night(history: History, request: NightRequest) -> NightResult:
    """Run or resume a night, judge it, and store everything.

    Raises ConfigError for a folder that cannot be written, a night that another process works on
    or a name of another matrix or code; ToolchainError for a missing package; BoardError for a Dask
    cluster that does not answer.
    """
    if any(plan.board.rounds for plan in request.matrix.plans):
        check_packages()
    night = choose_night(history, request)
    folder = request.out / night.id
    with _held(folder):
        (folder / MANIFEST).unlink(missing_ok=True)
        _check_same(history.begin(night), night)
        _sweep(folder)
        done = {r.job for r in history.results(night.id) if r.status is Status.OK}
        plans = [plan for plan in request.matrix.plans if plan.job not in done]
        with closing(_outcomes(request, folder, plans)) as outcomes:
            for outcome in outcomes:
                _record(history, night.id, request, folder, outcome)
        findings = judge(history, night.id, request.matrix)
        history.finish(night.id, now(), findings)
        stored = history.night(night.id)
        assert stored is not None  # begun above
        results = history.results(night.id)
    return NightResult(stored, folder, results, findings, status_of(results, findings))


def choose_night(history: History, request: NightRequest) -> Night:
    """The night to run: the named one, else an unfinished one of the last 24 hours of the same
    matrix, code, host and folder, else a new one."""
    fresh = _new_night(history, request)
    known = history.night(request.name) if request.name else None
    if known is not None:
        _check_same(known, fresh)
        return known
    if request.name is None:
        since = (datetime.now(UTC) - RESUME_WITHIN).isoformat(timespec="seconds")
        for night in reversed(history.nights()):
            same = (night.matrix, night.code, night.host) == (fresh.matrix, fresh.code, fresh.host)
            here = (request.out / night.id).is_dir()
            if same and here and night.finished is None and night.begun >= since:
                return night
    return fresh


def status_of(results: Sequence[Result], findings: Sequence[Finding]) -> NightStatus:
    """A regression goes before infrastructure: it is an answer, and somebody must act on it."""
    if any(item.verdict is Verdict.REGRESSION for item in findings):
        return NightStatus.REGRESSION
    failures = any(item.status is Status.FAILED for item in results)
    nothing = not any(item.status is Status.OK for item in results)
    return NightStatus.INFRASTRUCTURE if failures or nothing else NightStatus.FINE


@cache
def code_fingerprint() -> str:
    """sha256 over the names and contents of all sources that a result can depend on."""
    parts = []
    for name in _SOURCES:
        for path in sorted((_ROOT / name).rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                parts.append(f"{path.relative_to(_ROOT)} {sha256(path.read_bytes())}\n")
    return sha256("".join(parts).encode())


def why_skipped(plan: JobPlan) -> str | None:
    """Why a job cannot run here, or None: a missing file, board or SDK."""
    for path in (plan.model.file, plan.model.data, plan.model.labels):
        if path is not None and not path.is_file():
            return f"the file {path} is not there"
    board = load_boards().get(plan.board.board)
    if board is None:
        return f"there is no board file for '{plan.board.board}'"
    try:
        if board.name == "vendor-sim" or plan.board.target == "npu":
            from harness.vendor.sdk import find_sdk

            find_sdk()
        if board.kind is BoardKind.HARDWARE and plan.board.place is None:
            entry = plan.board
            selection = select_board(
                entry.board, serial_number=entry.serial_number, port=entry.port
            )
            return None if selection.fallback is None else "the board is not connected"
    except HarnessError as error:
        return str(error)
    return None


def _check_same(stored: Night, wanted: Night) -> None:
    if (stored.matrix, stored.code) != (wanted.matrix, wanted.code):
        raise ConfigError(
            f"the night '{stored.id}' ran another job file or other code: choose another --night"
        )


def _new_night(history: History, request: NightRequest) -> Night:
    begun = now()
    day = begun[:10]
    taken = {night.id for night in history.nights()}
    number = 1
    while (name := day if number == 1 else f"{day}.{number}") in taken:
        number += 1
    return Night(
        id=request.name or name,
        begun=begun,
        host=f"{platform.node()}, {platform.system()} {platform.machine()}",
        code=code_fingerprint(),
        matrix=request.matrix.sha256,
        versions=versions(),
        revision=_revision(),
    )


def _revision() -> str | None:
    from harness.bisection.repository import head

    return head(_ROOT)


def _outcomes(
    request: NightRequest, folder: Path, plans: Sequence[JobPlan]
) -> Generator[Recorded, None, None]:
    """Every job's outcome, once."""
    orders: list[tuple[JobPlan, Order]] = []
    for plan in plans:
        reason = why_skipped(plan)
        if reason is not None:
            yield _absent(plan, reason)
            continue
        order = _order(request, folder, plan)
        left = finished(order)
        if left is not None:
            yield left
        else:
            orders.append((plan, order))
    for lanes in _phases(request, orders):
        threads = request.jobs + (len(lanes) if request.dask else 0)
        for _, outcome in run_lanes(lanes, threads):
            yield outcome


def _absent(plan: JobPlan, reason: str) -> Recorded:
    """A job that cannot run here: skipped, or failed where its board is required."""
    if plan.board.required:
        return failed(plan.job, f"required, but {reason}", "infrastructure")
    return Recorded("", Result(plan.job, Status.SKIPPED, now(), reason))


def _phases(request: NightRequest, orders: Sequence[tuple[JobPlan, Order]]) -> Iterator[list[Lane]]:
    """First all that may run side by side; then what is timed on this machine, alone."""
    boards, timed = _grouped(orders)
    plans = {order.job: plan for plan, order in orders}

    def work(order: Order) -> Recorded:
        return _reserved(request.reserve, plans[order.job].board, order)

    hardware = [sequence(group, work) for name, group in boards.items() if name]
    free = boards.get("", [])
    if request.dask is not None and free:
        check_dask(request.dask)
        yield [on_dask(request.dask, free), *hardware]
    else:
        yield [*hardware, *(sequence([order], work) for order in free)]
    yield [sequence(timed, work)] if timed else []


def _grouped(
    orders: Sequence[tuple[JobPlan, Order]],
) -> tuple[Mapping[str, list[Order]], list[Order]]:
    """Orders by the real board that they occupy ("" for none), and those timed on this machine."""
    boards: dict[str, list[Order]] = {}
    timed: list[Order] = []
    for plan, order in orders:
        kind = load_boards()[plan.board.board].kind
        if kind is BoardKind.HARDWARE:
            boards.setdefault(plan.board.name, []).append(order)
        elif plan.board.rounds and kind is BoardKind.PROCESS:
            timed.append(order)
        else:
            boards.setdefault("", []).append(order)
    return boards, timed


def _reserved(reserve: Reserve, board: BoardEntry, order: Order) -> Recorded:
    try:
        with reserve(board) as entry:
            return carry_out(replace(order, port=entry.port, serial_number=entry.serial_number))
    except HarnessError as error:
        return failed(order.job, str(error), "infrastructure")


def _order(request: NightRequest, folder: Path, plan: JobPlan) -> Order:
    return Order(
        matrix=request.matrix_file.absolute(),
        sha256=request.matrix.sha256,
        job=plan.job,
        night=folder.absolute(),
        timeout_s=plan.board.timeout_s,
        baseline=None if request.baseline is None else request.baseline.absolute(),
        port=plan.board.port,
        serial_number=plan.board.serial_number,
    )


def _record(
    history: History, night: str, request: NightRequest, folder: Path, outcome: Recorded
) -> None:
    """Store an outcome; a suspicious latency is measured once more before."""
    result, samples = outcome.result, outcome.samples
    if result.status is Status.OK and suspicious(history, night, result, samples):
        plan = next(item for item in request.matrix.plans if item.job == result.job)
        order = replace(_order(request, folder, plan), again=True)
        samples = (*samples, *_reserved(request.reserve, plan.board, order).samples)
    history.record(night, result, samples)
    request.observe(result)


def _sweep(folder: Path) -> None:
    """Remove what killed workers left half-written."""
    for path in folder.glob(".*.part*"):
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Keep other processes of this machine out of a night's folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise ConfigError(
            f"the folder {folder} cannot be written ({error.strerror}): choose another with --out"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise ConfigError(f"another axonrig nightly works on {folder}; wait for it") from error
    finally:
        os.close(descriptor)
