"""The whole of `axonrig mlperf`: models and data, a device for each benchmark, rules, artefacts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from compiler import encode
from harness.artefacts import json_bytes, open_folder, sha256, write_bytes, write_manifest
from harness.errors import BoardError, ToolchainError
from harness.mlperf.accuracy import Accuracy, measure_accuracy
from harness.mlperf.checker import CheckerResult, run_checker
from harness.mlperf.dut import Clock, Dut, SimDut, TextDut
from harness.mlperf.performance import Performance, measure_performance
from harness.mlperf.plan import SUBMISSION, Job, MlperfRequest, Plan, make_plan
from harness.mlperf.report import SCHEMA, BenchmarkFacts, RunFacts, build_report
from harness.mlperf.rules import Facts, check_rules
from harness.mlperf.submission import BenchmarkSession, SystemFacts, results_tree
from harness.progress import Observer, Progress
from harness.selection import SIMULATOR

VIRTUAL_STAMP: Final = "0000.000000"
"""Begins the lines of a result whose time is virtual: it was at no time of day."""
_SUFFIX: Final = {
    Clock.MEASURED: "",
    Clock.HOST: "_this_machine",
    Clock.EMULATED: "_emulated",
    Clock.ESTIMATED: "_estimated",
}


@dataclass(frozen=True, slots=True)
class MlperfResult:
    """report: as in report.json. folder: where the artefacts are. met: no deciding rule failed.

    failed: a sentence for each benchmark whose device failed.
    """

    report: dict[str, Any]
    folder: Path
    met: bool
    failed: tuple[str, ...]


@dataclass(slots=True, eq=False)
class _Outcome:
    """What a job gave. opening, logs: lines of the session, by mode."""

    performance: Performance | None = None
    accuracy: Accuracy | None = None
    estimate: dict[str, Any] | None = None
    device: str = ""
    opening: list[str] = field(default_factory=list)
    logs: dict[str, list[str]] = field(default_factory=dict)


def run_mlperf(request: MlperfRequest, observe: Observer | None = None) -> MlperfResult:
    """Measure, judge and write.

    A benchmark whose device fails does not take the finished ones with it. Raises HarnessError or
    CompilerError with one sentence: when nothing could be measured, before there is a manifest;
    when the submission checker broke, after everything was written.
    """
    plan = make_plan(request)
    folder = open_folder(request.out)
    created = datetime.now(UTC)
    done, failed = _run_jobs(plan, observe)
    names = _write_tree(folder, plan, done, created)
    checked, broken = _check_tree(plan, folder)
    facts = _facts(plan, done, failed, checked, created)
    report = build_report(facts)
    write_bytes(folder / "report.json", json_bytes(report))
    write_manifest(folder, [*names, "report.json"], {"schema": SCHEMA, "kind": "mlperf"})
    if broken is not None:
        raise broken
    return MlperfResult(report, folder, facts.met, failed)


# --- running -------------------------------------------------------------------------------------


def _run_jobs(
    plan: Plan, observe: Observer | None
) -> tuple[list[tuple[Job, _Outcome]], tuple[str, ...]]:
    """What each job gave, and a sentence for each that failed. Raises BoardError when all did."""
    done: list[tuple[Job, _Outcome]] = []
    failed: list[str] = []
    for job in plan.jobs:
        try:
            done.append((job, _run_job(plan, job, observe)))
        except BoardError as error:
            if len(plan.jobs) == 1:
                raise
            failed.append(f"{job.benchmark.name} failed: {error}")
    if not done:
        raise BoardError("; ".join(failed))
    return done, tuple(failed)


def _run_job(plan: Plan, job: Job, observe: Observer | None) -> _Outcome:
    outcome = _Outcome()
    if plan.clock is Clock.ESTIMATED:
        from harness.estimate import estimate_program

        outcome.estimate = estimate_program(job.program, supply_v=plan.request.supply_v)
    with _open_dut(plan, job, outcome) as dut:
        outcome.device = dut.name
        if plan.request.mode != "accuracy":
            dut.log = outcome.logs.setdefault("performance", [])
            outcome.performance = measure_performance(
                dut,
                job.benchmark,
                job.stimuli.items,
                plan.clock,
                aim_s=plan.request.aim_s,
                progress=_stage(observe, f"{job.benchmark.name} performance"),
            )
        if plan.request.mode != "performance" and job.stimuli.origin != "random":
            dut.log = outcome.logs.setdefault("accuracy", [])
            outcome.accuracy = measure_accuracy(
                dut,
                job.benchmark,
                job.stimuli.part(plan.request.limit),
                _stage(observe, f"{job.benchmark.name} accuracy"),
            )
    return outcome


@contextmanager
def _open_dut(plan: Plan, job: Job, outcome: _Outcome) -> Iterator[Dut]:
    log = outcome.opening
    if outcome.estimate is not None:
        microseconds = outcome.estimate["device_time"]["us"]
        with closing(SimDut(job.program, job.benchmark, microseconds, log)) as simulated:
            yield simulated
        return
    from harness.board import load_boards
    from harness.board_device import BoardChoice, open_line

    choice = BoardChoice(
        serial_number=plan.selection.serial_number,
        port=plan.selection.port,
        profile=job.benchmark.name,
        target=plan.selection.target,
    )
    board = load_boards()[plan.selection.name]
    with closing(TextDut(open_line(board, job.program, choice), job.benchmark, log)) as dut:
        dut.greet()
        yield dut


def _stage(observe: Observer | None, stage: str) -> Progress | None:
    if observe is None:
        return None
    return lambda done, total: observe(stage, done, total)


# --- writing -------------------------------------------------------------------------------------


def _facts(
    plan: Plan,
    done: list[tuple[Job, _Outcome]],
    failed: tuple[str, ...],
    checked: CheckerResult | None,
    created: datetime,
) -> RunFacts:
    return RunFacts(
        selection=plan.selection,
        clock=plan.clock,
        mode=plan.request.mode,
        benchmarks=tuple(
            BenchmarkFacts(
                model=job.model,
                program_sha256=sha256(encode(job.program)),
                stimuli=job.stimuli,
                device=outcome.device,
                performance=outcome.performance,
                accuracy=outcome.accuracy,
                estimate=outcome.estimate,
                findings=check_rules(_judged(plan, job, outcome)),
            )
            for job, outcome in done
        ),
        skipped=plan.skipped,
        failed=failed,
        checked=checked,
        created=created,
    )


def _judged(plan: Plan, job: Job, outcome: _Outcome) -> Facts:
    return Facts(
        benchmark=job.benchmark,
        stimuli=job.stimuli,
        clock=plan.clock,
        published_model=job.model.published,
        program_sha256=sha256(encode(job.program)),
        performance=outcome.performance,
        accuracy=outcome.accuracy,
    )


def _write_tree(
    folder: Path, plan: Plan, done: list[tuple[Job, _Outcome]], created: datetime
) -> list[str]:
    """Write the results tree; names relative to `folder`."""
    sessions = []
    for job, outcome in done:
        logs = {mode: [*outcome.opening, *lines] for mode, lines in outcome.logs.items()}
        sessions.append(
            BenchmarkSession(job.benchmark, outcome.performance, outcome.accuracy, logs)
        )
    stamp = VIRTUAL_STAMP if plan.clock.virtual else created.strftime("%m%d.%H%M%S")
    names = []
    for name, data in results_tree(_system(plan), sessions, stamp).items():
        path = folder / SUBMISSION / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, data)
        names.append(f"{SUBMISSION}/{name}")
    return names


def _check_tree(plan: Plan, folder: Path) -> tuple[CheckerResult | None, ToolchainError | None]:
    """What the submission checker said; an error of its own must not cost the measurement."""
    if plan.checker is None:
        return None, None
    try:
        return run_checker(plan.checker, folder / SUBMISSION), None
    except ToolchainError as error:
        return CheckerResult(passed=False, lines=(str(error),)), error


def _system(plan: Plan) -> SystemFacts:
    name, on_npu = plan.selection.name, plan.selection.target == "npu"
    notes = {
        Clock.MEASURED: "Measured by axonrig's own client, not by the official runner.",
        Clock.HOST: "The firmware as a process on this machine: no board, no submission.",
        Clock.EMULATED: "Emulated board: executed instructions as time. No submission.",
        Clock.ESTIMATED: "Simulated, times and energy are estimates. Nothing was measured. "
        "No submission.",
    }[plan.clock]
    title, processor, frequency, accelerator = "Axon NPU simulator", "", "", "Axon NPU (simulated)"
    if name != SIMULATOR:
        from harness.board import image_board, load_boards

        boards = load_boards()
        board = boards[name]
        title, accelerator = board.title, "Axon NPU" if on_npu else ""
        soc = image_board(board, boards).soc if plan.clock is not Clock.HOST else None
        if soc is not None:
            processor = f"{soc.name}, {soc.core}"
            frequency = f"{soc.clock_hz / 1e6:g} MHz"
    return SystemFacts(
        submitter=plan.request.submitter,
        name=f"{name}{'_npu' if on_npu else ''}{_SUFFIX[plan.clock]}",
        board=title,
        processor=processor,
        frequency=frequency,
        accelerator=accelerator,
        framework="axonrig",
        notes=notes,
    )
