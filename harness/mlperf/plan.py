"""What a run of `axonrig mlperf` will do: everything that can fail before a device is opened."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from compiler import AxonProgram, CompileOptions
from harness.data.manifest import Manifest, load_manifest
from harness.errors import ConfigError
from harness.firmware.board_image import Target
from harness.mlperf.benchmarks import Benchmark, Metric, select_benchmarks
from harness.mlperf.checker import find_checker
from harness.mlperf.dut import Clock, check_program
from harness.mlperf.models import BenchmarkModel, find_models, how_to_get
from harness.mlperf.performance import AIM_S
from harness.mlperf.stimuli import StimulusSet, find_folder, random_stimuli, read_stimuli
from harness.program import load_program
from harness.selection import SIMULATOR, Selection, select_board

MODES: Final = ("performance", "accuracy", "all")
SUBMISSION: Final = "submission"
"""Folder of the results tree in `out`."""
_SUBMITTER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True, slots=True)
class MlperfRequest:
    """What to measure.

    benchmarks: a comma-separated list or "all"; mode: one of MODES. data: folder with one folder
    per benchmark. models: see `find_models`. supply_v: for estimated energy. limit: files of the
    accuracy set. aim_s: length of a window. checker: a checkout of mlcommons/tiny. target: what
    runs the model on a real board.
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
    target: Target = "cpu"


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """One benchmark, ready to run. stimuli: random ones when there is no data."""

    model: BenchmarkModel
    program: AxonProgram
    stimuli: StimulusSet

    @property
    def benchmark(self) -> Benchmark:
        """The model's."""
        return self.model.benchmark


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A checked request. skipped: sentences about what will not run; checker: its script."""

    request: MlperfRequest
    selection: Selection
    clock: Clock
    jobs: tuple[Job, ...]
    skipped: tuple[str, ...]
    checker: Path | None


def make_plan(request: MlperfRequest) -> Plan:
    """Check a request, load its models and data. Raises HarnessError or CompilerError."""
    _check(request)
    benchmarks = select_benchmarks(request.benchmarks)
    selection = select_board(
        request.board,
        require_hardware=request.require_hardware,
        serial_number=request.serial_number,
        port=request.port,
        target=request.target,
    )
    clock = _clock(selection)
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
        jobs.append(Job(model, _program(model), stimuli))
    checker = find_checker(request.checker)
    return Plan(request, selection, clock, tuple(jobs), tuple(skipped), checker)


def _check(request: MlperfRequest) -> None:
    tree = request.out / SUBMISSION
    if tree.exists():
        raise ConfigError(f"{tree} exists already: choose another folder with --out")
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
