"""One job in a process of its own: `python -m harness.nightly.worker FILE SHA256 JOB NIGHT ...`.

It runs the job of the matrix FILE into the folder NIGHT and writes how it ended to
`NIGHT/JOB.jsonl`, whole and last. A job that fails on purpose (HarnessError, CompilerError) says
so there; a worker that dies or hangs leaves no such file, and `harness.nightly.launch` says it.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from compiler import CompilerError, Dims, InputError, ModelFormatError
from harness.artefacts import MANIFEST, sha256, write_bytes
from harness.board import BoardKind, load_boards
from harness.board_device import open_board_device, runs_vendor_simulator
from harness.device import Array
from harness.errors import ConfigError, HarnessError
from harness.flasher.remote import VARIABLE as FLASHER_VARIABLE
from harness.history import Job, Kind, Metric, Recorded, Result, Samples, Status
from harness.history.lines import to_lines
from harness.layout import to_program
from harness.link import RunOptions
from harness.nightly.figures import LATENCY, REFUSED, conditions_of, layer_metrics, metrics_of
from harness.nightly.images import keep_image, read_image
from harness.nightly.latency import AGAIN, BASELINE, CANDIDATE, Reach, Rounds, measure
from harness.nightly.matrix import JobPlan, load_matrix
from harness.regression.two_sample import median_us
from harness.run import Prepared, RunRequest, RunResult, prepare, run


@dataclass(frozen=True, slots=True)
class Place:
    """Where a job's files go: NIGHT/JOB, NIGHT/images/JOB, NIGHT/JOB.jsonl."""

    night: Path
    job: Job

    @property
    def folder(self) -> Path:
        """The result folder."""
        return self.night / self.job.name

    @property
    def image(self) -> Path:
        """The kept firmware image."""
        return self.night / "images" / self.job.name

    @property
    def outcome(self) -> Path:
        """How the job ended."""
        return self.night / f"{self.job.name}.jsonl"

    @property
    def repeated(self) -> Path:
        """What the confirming re-run measured."""
        return self.night / f"{self.job.name}.again.jsonl"


def request_of(plan: JobPlan, out: Path | None) -> RunRequest:
    """The run that a job asks for; a board that is not there is a failure, not a fallback."""
    boards = load_boards()
    hardware = plan.board.board in boards and boards[plan.board.board].kind is BoardKind.HARDWARE
    return RunRequest(
        board=plan.board.board,
        model=plan.model.file,
        data=plan.model.data,
        labels=plan.model.labels,
        limit=plan.limit,
        out=out,
        output=plan.variant.output,
        transpose=plan.variant.transpose,
        skip_softmax=plan.variant.skip_softmax,
        require_hardware=hardware,
        serial_number=plan.board.serial_number,
        port=plan.board.port,
        target=plan.board.target,
    )


def execute(plan: JobPlan, night: Path, baseline: Path | None) -> Recorded:
    """Run a job whole; its result folder appears under its name only when it is complete.

    baseline: a night's folder with an image of the same job. Raises HarnessError, CompilerError.
    """
    place = Place(night, plan.job)
    part = night / f".{plan.job.name}.{os.getpid()}.part"
    try:
        done = run(request_of(plan, part))
        metrics = [*metrics_of(done.facts, done.report), *_layer_counts(plan, done)]
        conditions = conditions_of(done.facts, done.report)
        manifest = sha256((part / MANIFEST).read_bytes())
        _put_in_place(part, place.folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    result = Result(
        job=plan.job,
        status=Status.OK,
        ended=now(),
        source=done.facts.device.source,
        folder=str(place.folder),
        manifest=manifest,
        conditions=conditions,
        metrics=tuple(metrics),
    )
    if not plan.board.rounds or done.facts.device.source in ("emulated", "vendor-sim"):
        return Recorded("", result)
    program = done.facts.compiled.program
    maps = _maps(done.facts.dataset.inputs, program.input_dims, plan)
    keep_image(_reach(plan).board, program, place.image, plan.board.target)
    return _with_latency(result, _measure(plan, maps, night, baseline), _reach(plan).source)


def repeat(plan: JobPlan, night: Path, baseline: Path | None) -> tuple[Samples, ...]:
    """Measure a job's latency once more, with the image that it kept."""
    prepared: Prepared = prepare(request_of(plan, None))
    maps = _maps(prepared.dataset.inputs, prepared.program.input_dims, plan)
    rounds = _measure(plan, maps, night, baseline)
    return tuple(replace(item, run=AGAIN + item.run) for item in samples_of(rounds))


def samples_of(rounds: Rounds) -> tuple[Samples, ...]:
    """The raw values, a series for each round: `candidate-00`, `baseline-00`, ..."""
    sides = ((CANDIDATE, rounds.candidate), (BASELINE, rounds.baseline))
    return tuple(
        Samples(LATENCY, f"{side}-{number:02d}", "us", values)
        for side, found in sides
        for number, values in enumerate(found)
    )


def failed(job: Job, reason: str, failure: str) -> Recorded:
    """A job that did not come to its end. failure: a word for `conditions`."""
    result = Result(job, Status.FAILED, now(), reason, conditions={"failure": failure})
    return Recorded("", result)


def now() -> str:
    """UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _put_in_place(part: Path, folder: Path) -> None:
    """Rename over what an earlier attempt may have left."""
    if folder.exists():
        old = folder.with_name(f"{part.name}.old")
        folder.rename(old)
        part.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    else:
        part.rename(folder)


def _reach(plan: JobPlan) -> Reach:
    board = load_boards()[plan.board.board]
    return Reach(board, plan.board.port, plan.board.serial_number)


def _maps(inputs: Array, dims: Dims, plan: JobPlan) -> Array:
    taken = inputs[: plan.board.round_inputs]
    return to_program(taken, dims, transposed=plan.variant.transpose)


def _measure(plan: JobPlan, maps: Array, night: Path, baseline: Path | None) -> Rounds:
    candidate = read_image(Place(night, plan.job).image)
    other = None
    if baseline is not None and Place(baseline, plan.job).image.is_dir():
        other = read_image(Place(baseline, plan.job).image)
    return measure(_reach(plan), candidate, other, maps, plan.board.rounds)


def _with_latency(result: Result, rounds: Rounds, source: str) -> Recorded:
    samples = samples_of(rounds)
    metric = Metric(LATENCY, median_us(rounds.candidate), "us", Kind.MEASURED, source)
    conditions = {
        **result.conditions,
        "latency.clock_hz": str(rounds.clock_hz),
        "latency.baud": str(rounds.baud),
        **({"latency.host": platform.node()} if source == "host" else {}),
    }
    metrics = (*result.metrics, metric)
    return Recorded("", replace(result, metrics=metrics, conditions=conditions), samples)


def _layer_counts(plan: JobPlan, done: RunResult) -> tuple[Metric, ...]:
    """Emulated instructions by layer, of the first sample."""
    board = load_boards().get(plan.board.board)
    if board is None or board.kind is not BoardKind.EMULATED or runs_vendor_simulator(board):
        return ()
    program = done.facts.compiled.program
    maps = _maps(done.facts.dataset.inputs[:1], program.input_dims, plan)
    device = open_board_device(board, program, run=RunOptions(with_layers=True))
    try:
        counts = device.infer(maps).layer_cycles
    finally:
        device.close()
    return () if counts is None else layer_metrics(counts[0], "emulated")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one job; 0 when its outcome is written, whatever it is."""
    parser = argparse.ArgumentParser(prog="harness.nightly.worker")
    parser.add_argument("matrix", type=Path)
    parser.add_argument("sha256")
    parser.add_argument("job")
    parser.add_argument("night", type=Path)
    parser.add_argument("--baseline", type=Path)
    parser.add_argument("--port")
    parser.add_argument("--serial-number")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--with-parent", action="store_true", help="end when stdin is closed")
    words = parser.parse_args(argv)
    if words.with_parent:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    matrix = load_matrix(words.matrix)
    if matrix.sha256 != words.sha256:
        print(f"{words.matrix} changed during the night", file=sys.stderr)  # noqa: T201  # to the log
        return 3
    plan = next(item for item in matrix.plans if item.job.name == words.job)
    board = replace(plan.board, port=words.port, serial_number=words.serial_number)
    if board.flasher_command is not None:
        os.environ[FLASHER_VARIABLE] = board.flasher_command
    plan, place = replace(plan, board=board), Place(words.night, plan.job)
    if words.again:
        _write_repeated(plan, place, words.baseline)
    else:
        write_bytes(place.outcome, _lines(_outcome(plan, words.night, words.baseline)))
    return 0


def _end_with_parent() -> None:
    """A killed parent closes our stdin: then nothing of this job may go on, or a resumed night and
    this worker would write into the same folder."""
    os.read(0, 1)
    os.killpg(0, signal.SIGKILL)


def _outcome(plan: JobPlan, night: Path, baseline: Path | None) -> Recorded:
    try:
        return execute(plan, night, baseline)
    except (ModelFormatError, InputError) as error:
        return failed(plan.job, str(error), "input")
    except CompilerError as error:
        return failed(plan.job, f"the compiler refuses the model: {error}", REFUSED)
    except HarnessError as error:
        kind = "input" if isinstance(error, ConfigError) else "infrastructure"
        return failed(plan.job, str(error), kind)
    except OSError as error:
        return failed(plan.job, f"{error.filename}: {error.strerror}", "infrastructure")


def _write_repeated(plan: JobPlan, place: Place, baseline: Path | None) -> None:
    """A re-run that fails confirms nothing; its outcome says why."""
    try:
        again = Recorded(
            "", Result(plan.job, Status.OK, now()), repeat(plan, place.night, baseline)
        )
    except HarnessError as error:
        again = failed(plan.job, str(error), "infrastructure")
    write_bytes(place.repeated, _lines(again))


def _lines(outcome: Recorded) -> bytes:
    named = replace(outcome, night="this")
    return "".join(to_lines([named])).encode()


if __name__ == "__main__":
    sys.exit(main())
