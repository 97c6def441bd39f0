"""The metrics of a result folder: report.json in the names that the history uses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.errors import ConfigError
from harness.history import Job, Kind, Metric, Result, Samples, Status
from harness.nightly.figures import COUNTED, LATENCY, agreement_metrics, estimate_metrics, exact
from harness.report.folder import ResultFolder, read_folder


def result_of_folder(path: Path) -> tuple[Result, tuple[Samples, ...]]:
    """A result folder of `axonrig run` as a result, with the latencies of its inferences.

    Raises ConfigError when the folder is damaged, incomplete or of another schema.
    """
    folder = read_folder(path)
    try:
        return _result(folder), _samples(folder)
    except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
        raise ConfigError(
            f"{path / 'report.json'} lacks what a comparison needs ({error!r}): run the model again"
        ) from error


def _result(folder: ResultFolder) -> Result:
    report = folder.report
    program, run = report["model"]["program"], report["run"]
    variant = str(program["variant"]).replace(", ", "+").replace(" ", "-")
    return Result(
        job=Job(str(report["model"]["name"]), str(report["board"]), variant),
        status=Status.OK,
        ended=str(run["created"]),
        source=str(report["source"]),
        folder=str(folder.path),
        conditions=_conditions(report),
        metrics=tuple(_metrics(folder)),
    )


def _metrics(folder: ResultFolder) -> Iterator[Metric]:
    report, source = folder.report, str(folder.report["source"])
    model = report["model"]
    yield exact("model.sha256", str(model["sha256"]), "", "file")
    yield exact("program.sha256", str(model["program"]["sha256"]), "", "compiler")
    yield exact("program.layers", int(model["program"]["layers"]), "layers", "compiler")
    binary = next((facts for name, facts in folder.files.items() if name.endswith(".bin")), None)
    if binary is not None:
        yield exact("program.bytes", int(binary["bytes"]), "bytes", "compiler")
    yield from estimate_metrics(report["estimate"])
    yield from agreement_metrics(report, source)
    latency = report["latency"]
    if source in COUNTED and latency["cycles"] is not None:
        name, unit = COUNTED[source]
        yield exact(name, int(latency["cycles"]["median"]), unit, source)
    elif latency["median_us"] is not None:
        yield Metric(LATENCY, float(latency["median_us"]), "us", Kind.MEASURED, source)


def _conditions(report: Mapping[str, Any]) -> dict[str, str]:
    clock_hz = report["latency"]["clock_hz"]
    return {
        "source": str(report["source"]),
        "board": str(report["board"]),
        "backend": str(report["backend"]),
        "data": str(report["data"]["sha256"]),
        "golden": "; ".join(str(item["runtime"]) for item in report["golden"]),
        **({} if clock_hz is None else {"clock_hz": str(clock_hz)}),
    }


def _samples(folder: ResultFolder) -> tuple[Samples, ...]:
    """Inferences of a board as one round: a folder is one start of the firmware."""
    clock_hz = folder.report["latency"]["clock_hz"]
    if folder.cycles is None or not clock_hz or folder.report["source"] in COUNTED:
        return ()
    values = tuple(float(cycles) * 1e6 / float(clock_hz) for cycles in folder.cycles)
    return (Samples(LATENCY, "candidate-00", "us", values),)
