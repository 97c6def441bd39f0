"""The whole of `axonrig mlperf`: models and data, a device for each benchmark, rules, artefacts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from compiler import AxonProgram, CompileOptions, encode
from harness.artefacts import json_bytes, open_folder, sha256, write_bytes, write_manifest
from harness.errors import ConfigError
from harness.manifest import Manifest, load_manifest
from harness.mlperf.accuracy import Accuracy, measure_accuracy
from harness.mlperf.benchmarks import Benchmark, Metric, select_benchmarks
from harness.mlperf.checker import CheckerResult, find_checker, run_checker
from harness.mlperf.dut import Clock, Dut, SimDut, TextDut, check_program
from harness.mlperf.models import BenchmarkModel, find_models, how_to_get
from harness.mlperf.performance import AIM_S, Performance, measure_performance
from harness.mlperf.report import SCHEMA, BenchmarkFacts, RunFacts, build_report
from harness.mlperf.rules import Facts, check_rules
from harness.mlperf.stimuli import StimulusSet, find_folder, random_stimuli, read_stimuli
from harness.mlperf.submission import BenchmarkSession, SystemFacts, results_tree
from harness.program import load_program
from harness.progress import Observer, Progress
from harness.selection import SIMULATOR, Selection, select_board

MODES: Final = ("performance", "accuracy", "all")
SUBMISSION: Final = "submission"
VIRTUAL_STAMP: Final = "0000.000000"
"""Begins the lines of a result whose time is virtual: it was at no time of day."""
_SUBMITTER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_SUFFIX: Final = {
    Clock.MEASURED: "",
    Clock.HOST: "_this_machine",
    Clock.EMULATED: "_emulated",
    Clock.ESTIMATED: "_estimated",
}


@dataclass(frozen=True, slots=True)
class MlperfRequest:
    """What to measure.

    benchmarks: a comma-separated list or "all"; mode: one of MODES. data: folder with one folder
    per benchmark. models: see `find_models`. supply_v: for estimated energy. limit: files of the
    accuracy set. aim_s: length of a window. checker: a checkout of mlcommons/tiny.
    """

    out: Path
    board: str = SIMULATOR
    benchmarks: str = "all"
    mode: str = "all"
    data: Path | None = None
    models: tuple[str, ...] = ()
    supply_v: float | None = None
    limit: int | None = None
    aim_s: float = AIM_S
    submitter: str = "your_organization"
    checker: Path | None = None
    require_hardware: bool = False
    serial_number: str | None = None
    port: str | None = None


@dataclass(frozen=True, slots=True)
class MlperfResult:
    """report: as in report.json. folder: where the artefacts are. met: no deciding rule failed."""

    report: dict[str, Any]
    folder: Path
    met: bool


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    """One benchmark, ready to run. stimuli: random ones when there is no data."""

    model: BenchmarkModel
    program: AxonProgram
    stimuli: StimulusSet

    @property
    def benchmark(self) -> Benchmark:
        return self.model.benchmark


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """Everything that can fail before a device is opened."""

    request: MlperfRequest
    selection: Selection
    clock: Clock
    jobs: tuple[_Job, ...]
    skipped: tuple[str, ...]
    checker: Path | None


@dataclass(slots=True, eq=False)
class _Outcome:
    """What a job gave."""

    performance: Performance | None = None
    accuracy: Accuracy | None = None
    estimate: dict[str, Any] | None = None
    device: str = ""
    logs: dict[str, list[str]] = field(default_factory=dict)


def run_mlperf(request: MlperfRequest, observe: Observer | None = None) -> MlperfResult:
    """Measure, judge and write. Raises HarnessError or CompilerError with one sentence; then the
    folder has no manifest."""
    plan = _plan(request)
    folder = open_folder(request.out)
    if (folder / SUBMISSION).exists():
        raise ConfigError(f"{folder / SUBMISSION} exists: choose another folder with --out")
    created = datetime.now(UTC)
    outcomes = [_run_job(plan, job, observe) for job in plan.jobs]
    names = _write_tree(folder, plan, outcomes, created)
    checked = None if plan.checker is None else run_checker(plan.checker, folder / SUBMISSION)
    facts = _facts(plan, outcomes, checked, created)
    report = build_report(facts)
    write_bytes(folder / "report.json", json_bytes(report))
    write_manifest(folder, [*names, "report.json"], {"schema": SCHEMA, "kind": "mlperf"})
    return MlperfResult(report, folder, all(item.met for item in facts.benchmarks))


# --- before anything runs ------------------------------------------------------------------------


def _plan(request: MlperfRequest) -> _Plan:
    _check(request)
    benchmarks = select_benchmarks(request.benchmarks)
    selection = select_board(
        request.board,
        require_hardware=request.require_hardware,
        serial_number=request.serial_number,
        port=request.port,
    )
    manifest = load_manifest()
    models = find_models(request.models, benchmarks, manifest)
    missing = [item for item in benchmarks if item.name not in models]
    if missing and (request.benchmarks != "all" or not models):
        raise ConfigError(how_to_get(missing, manifest))
    skipped = [how_to_get(missing, manifest)] if missing else []
    jobs = []
    for model in models.values():
        stimuli = _stimuli(request, model.benchmark, manifest, only=len(benchmarks) == 1)
        if stimuli.origin == "random":
            skipped.append(_no_data(request, model.benchmark, manifest))
        jobs.append(_Job(model, _program(model), stimuli))
    checker = find_checker(request.checker)
    return _Plan(request, selection, _clock(selection), tuple(jobs), tuple(skipped), checker)


def _check(request: MlperfRequest) -> None:
    if request.mode not in MODES:
        raise ConfigError(f"unknown mode '{request.mode}'; known are {', '.join(MODES)}")
    if request.supply_v is not None and not 1.0 <= request.supply_v <= 6.0:
        raise ConfigError(f"--supply is {request.supply_v:g}; expected 1 to 6 volts")
    if request.limit is not None and request.limit < 1:
        raise ConfigError(f"--limit is {request.limit}; expected at least 1 file")
    if not 0.01 <= request.aim_s <= 20.0:
        raise ConfigError(f"--window is {request.aim_s:g}; expected 0.01 to 20 seconds")
    if not _SUBMITTER.fullmatch(request.submitter):
        raise ConfigError(
            f"--submitter is '{request.submitter[:80]}'; expected letters, digits, '_', '.' and "
            "'-': it becomes a folder's name"
        )


def _clock(selection: Selection) -> Clock:
    if selection.name == SIMULATOR:
        return Clock.ESTIMATED
    from harness.board import BoardKind, load_boards
    from harness.board_device import runs_vendor_simulator

    board = load_boards()[selection.name]
    if runs_vendor_simulator(board):
        raise ConfigError(
            f"'{board.name}' answers with ticks of Nordic's simulator, which the MLPerf Tiny "
            "commands do not carry: use --board sim"
        )
    return {
        BoardKind.PROCESS: Clock.HOST,
        BoardKind.EMULATED: Clock.EMULATED,
        BoardKind.HARDWARE: Clock.MEASURED,
    }[board.kind]


def _stimuli(
    request: MlperfRequest, benchmark: Benchmark, manifest: Manifest, *, only: bool
) -> StimulusSet:
    folder = None if request.data is None else find_folder(request.data, benchmark, only=only)
    if folder is None:
        if request.mode == "accuracy":
            raise ConfigError(_no_data(request, benchmark, manifest))
        return random_stimuli(benchmark)
    stimuli = read_stimuli(folder, benchmark, manifest.datasets.get(benchmark.name))
    labels = {item.label for item in stimuli.part(request.limit).items}
    if request.mode != "performance" and benchmark.metric is Metric.AUC and len(labels) < 2:
        raise ConfigError(
            f"{folder}: the accuracy files are all of class {labels.pop()}; the area under the "
            "ROC curve needs both"
        )
    return stimuli


def _no_data(request: MlperfRequest, benchmark: Benchmark, manifest: Manifest) -> str:
    entry = manifest.datasets.get(benchmark.name)
    source = "" if entry is None else f" of {entry.title}"
    where = "--data names no folder" if request.data is None else f"{request.data} holds none"
    return (
        f"no inputs for {benchmark.name}{source} ({where}): accuracy is not measured, and windows "
        f"take random inputs; 'axonrig data {benchmark.name} --help' says how to get them"
    )


def _program(model: BenchmarkModel) -> AxonProgram:
    program = load_program(model.file, CompileOptions(name=model.file.name))
    check_program(program, model.benchmark, str(model.file.path))
    return program


# --- running -------------------------------------------------------------------------------------


def _run_job(plan: _Plan, job: _Job, observe: Observer | None) -> _Outcome:
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
def _open_dut(plan: _Plan, job: _Job, outcome: _Outcome) -> Iterator[Dut]:
    log = outcome.logs.setdefault("opening", [])
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
    plan: _Plan, outcomes: list[_Outcome], checked: CheckerResult | None, created: datetime
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
            for job, outcome in zip(plan.jobs, outcomes, strict=True)
        ),
        skipped=plan.skipped,
        checked=checked,
        created=created,
    )


def _judged(plan: _Plan, job: _Job, outcome: _Outcome) -> Facts:
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
    folder: Path, plan: _Plan, outcomes: list[_Outcome], created: datetime
) -> list[str]:
    """Write the results tree; names relative to `folder`."""
    sessions = []
    for job, outcome in zip(plan.jobs, outcomes, strict=True):
        opening = outcome.logs.pop("opening", [])
        logs = {mode: [*opening, *lines] for mode, lines in outcome.logs.items()}
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


def _system(plan: _Plan) -> SystemFacts:
    name = plan.selection.name
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
        title, accelerator = board.title, "Axon NPU" if "npu" in board.features else ""
        soc = image_board(board, boards).soc if plan.clock is not Clock.HOST else None
        if soc is not None:
            processor = f"{soc.name}, {soc.core}"
            frequency = f"{soc.clock_hz / 1e6:g} MHz"
    return SystemFacts(
        submitter=plan.request.submitter,
        name=f"{name}{_SUFFIX[plan.clock]}",
        board=title,
        processor=processor,
        frequency=frequency,
        accelerator=accelerator,
        framework="axonrig",
        notes=notes,
    )
