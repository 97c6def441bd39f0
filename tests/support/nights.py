"""Made-up histories: many nights of many jobs, with changes at known places."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from harness.history import (
    Finding,
    Gate,
    Job,
    Kind,
    Metric,
    Night,
    Recorded,
    Result,
    Samples,
    Status,
    Verdict,
    open_history,
)
from harness.history.records import Record

MODELS: Final = ("ad01_int8", "kws_ref_model", "resnet8", "vww_96", "digits_resnet8")
PLACES: Final = (
    ("sim", "sim", "int8"),
    ("sim", "sim", "transposed"),
    ("virt-nrf54l15", "emulated", "int8"),
    ("host", "host", "int8"),
)
"""Board, source and variant of each job of a model."""

SOURCES: Final = {board: source for board, source, _ in PLACES}

LEVEL_CHANGE: Final = 0.02
"""Of the measured latency, from three quarters of the nights on."""

_BEGIN: Final = datetime(2026, 1, 1, 2, tzinfo=UTC)
_ROUNDS, _INPUTS = 4, 20


def write_nights(path: Path, nights: int = 200, jobs: int = 20, layers: int = 2) -> None:
    """Write a history of so many nights, jobs (at most 20) and layers a job; always the same."""
    with open_history(path, create=True) as history:
        history.merge(_records(nights, jobs, layers, random.Random(1)))


def job_names(count: int) -> tuple[Job, ...]:
    """The first `count` jobs."""
    found = [Job(model, board, kind) for model in MODELS for board, _, kind in PLACES]
    return tuple(found[:count])


def _records(nights: int, jobs: int, layers: int, chance: random.Random) -> Iterator[Record]:
    names = job_names(jobs)
    for number in range(nights):
        begun = _BEGIN + timedelta(days=number)
        night = f"{begun:%Y-%m-%d}"
        yield Night(
            id=night,
            begun=begun.isoformat(),
            host="build-7",
            code=f"{number // 9:064x}",
            matrix="5" * 64,
            versions={"axonrig": "0.1.0", "python": "3.11", "numpy": "2.0"},
            revision=f"{number:040x}",
            finished=(begun + timedelta(hours=1)).isoformat(),
        )
        for place, job in enumerate(names):
            done, samples = _result(night, job, chance, late=number >= nights - nights // 4)
            if done.status is Status.OK:
                more = _exact(job, layers, last=number == nights - 1)
                done = replace(done, metrics=(*more, *done.metrics))
            yield Recorded(night, done, samples)
            if number == nights - nights // 4 + 4 and job.board == "host":
                yield _level(night, f"{begun - timedelta(days=4):%Y-%m-%d}", job)
            if number == nights - 1 and place == 0:
                yield _worse(night, job)


def _result(
    night: str, job: Job, chance: random.Random, *, late: bool
) -> tuple[Result, tuple[Samples, ...]]:
    """late: after the change of the measured level."""
    source, ended = SOURCES[job.board], f"{night}T03:00"
    if chance.random() < 0.01:
        return Result(job, Status.SKIPPED, ended, "the board is not connected"), ()
    if chance.random() < 0.005:
        return Result(job, Status.FAILED, ended, "the link stayed silent for 5 s", source), ()
    metrics, samples = _latencies(job, chance, late=late)
    done = Result(
        job=job,
        status=Status.OK,
        ended=ended,
        source=source,
        folder=f"nights/{night}/{job.name}",
        manifest="a" * 64,
        conditions={"source": source, "data": "b" * 64, "backend": "native"},
        metrics=metrics,
    )
    return done, samples


def _exact(job: Job, layers: int, *, last: bool) -> Iterator[Metric]:
    source = SOURCES[job.board]
    cycles = 100_000 * (1 + MODELS.index(job.model))
    worse = 4_000 if last and job == job_names(1)[0] else 0
    values: dict[str, tuple[int | float | str, str, str]] = {
        "accuracy.device": (0.99, "", source),
        "agreement.exact_fraction": (0.7825, "", source),
        "agreement.max_lsb": (7, "LSB", source),
        "agreement.top1": (1.0, "", source),
        "estimate.cpu_cycles": (4_000, "cycles", "sim"),
        "estimate.cycles": (cycles + worse, "cycles", "sim"),
        "memory.flash_bytes": (88_000, "bytes", "sim"),
        "memory.ram_bytes": (64_000, "bytes", "sim"),
        "outputs.sha256": ("c" * 64, "", source),
        "program.bytes": (83_488, "bytes", "compiler"),
        "program.sha256": ("d" * 64, "", "compiler"),
    }
    if source == "emulated":
        values["emulated.instructions"] = (cycles * 7, "instructions", source)
    for layer in range(layers):
        values[f"layer.{layer:03d}.cycles"] = (cycles // layers, "cycles", "sim")
        values[f"layer.{layer:03d}.op"] = ("conv2d", "", "compiler")
        values[f"layer.{layer:03d}.sha256"] = ("e" * 16, "", "sim")
    return (Metric(name, *found[:2], Kind.EXACT, found[2]) for name, found in values.items())


def _latencies(
    job: Job, chance: random.Random, *, late: bool
) -> tuple[tuple[Metric, ...], tuple[Samples, ...]]:
    if job.board != "host":
        return (), ()
    level = 500.0 * (1 + MODELS.index(job.model)) * (1 + LEVEL_CHANGE * late)
    level *= chance.gauss(1, 0.002)
    samples = tuple(
        Samples(
            "latency.us",
            f"{side}-{number}",
            "us",
            tuple(round(level * chance.gauss(1, 0.004), 3) for _ in range(_INPUTS)),
        )
        for side in ("candidate", "baseline")
        for number in range(_ROUNDS)
    )
    return (Metric("latency.us", round(level, 3), "us", Kind.MEASURED, "host"),), samples


def _level(night: str, since: str, job: Job) -> Finding:
    return Finding(
        night=night,
        job=job,
        metric="latency.us",
        gate=Gate.CHANGE_POINT,
        verdict=Verdict.REGRESSION,
        text=f"a new level since {since}",
        before=500.0,
        after=510.0,
        unit="us",
        since=since,
        effect=LEVEL_CHANGE,
    )


def _worse(night: str, job: Job) -> Finding:
    return Finding(
        night=night,
        job=job,
        metric="estimate.cycles",
        gate=Gate.EXACT,
        verdict=Verdict.REGRESSION,
        text="100000 -> 104000 cycles (+4.00 %): layer 3 (conv2d) +4000",
        before=100_000,
        after=104_000,
        unit="cycles",
        effect=0.04,
    )
