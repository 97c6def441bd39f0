"""From a result folder to its page and chart files."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console

from harness.artefacts import MANIFEST, check_writable, json_bytes, sha256, write_bytes
from harness.charts.bars import horizontal_bars
from harness.charts.confusion import confusion_matrix
from harness.charts.gallery import gallery
from harness.charts.histogram import difference_histogram
from harness.charts.lifetime import buffer_lifetime
from harness.charts.svg import standalone
from harness.compiled import open_output, write_files
from harness.errors import ConfigError
from harness.integrity import parse_object
from harness.markup import Markup
from harness.report.estimate_html import buffer_spans, cycle_bars
from harness.report.folder import (
    PAGE,
    ResultFolder,
    read_contents,
    read_folder,
    run_folder,
)
from harness.report.html import (
    PageInputs,
    confusion_of,
    gallery_tiles,
    latency_bars,
    layer_bars,
    render,
)
from harness.report.mlperf_html import MlperfPage, mlperf_charts, render_mlperf
from harness.report.terminal import print_folder

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class MlperfFolder:
    """A result of `axonrig mlperf`: the content of report.json, and the manifest's files."""

    path: Path
    report: Mapping[str, Any]
    files: Mapping[str, Mapping[str, Any]]


def write_page(folder: Path, output: Path | None = None) -> Path:
    """Write the page of a result folder, by default as report.html inside it; return its path.

    A page inside the folder is entered into the manifest. Raises ConfigError when the folder is
    no complete result, is of a kind without a page, or the page cannot be written.
    """
    path = folder / PAGE if output is None else output
    found = _read(folder)
    check_writable(path)
    inside = path.resolve() == (folder / PAGE).resolve()
    if not inside and path.resolve().parent == folder.resolve() and path.name in found.files:
        raise ConfigError(f"{path} is an artefact of the run; choose another name with -o")
    data = page_bytes(found, _prefix(folder, path))
    write_bytes(path, data)
    if inside:
        _enter(folder, found.files, data)
    return path


def page_bytes(found: ResultFolder | MlperfFolder, prefix: str = "") -> bytes:
    """The page of a result folder. `prefix`: the folder as seen from the page."""
    files = {name: facts for name, facts in found.files.items() if name != PAGE}

    def made() -> str:
        if isinstance(found, MlperfFolder):
            return render_mlperf(MlperfPage(found.report, files, prefix))
        return render(PageInputs(found.report, found.inputs, found.cycles, files, prefix))

    return _guarded(found.path, made).encode("utf-8")


def write_charts(folder: Path, target: Path) -> tuple[Path, ...]:
    """Write every chart of a result as an SVG file; return their paths. Raises ConfigError."""
    found = _read(folder)
    drawn = _guarded(
        folder,
        lambda: mlperf_charts(found.report) if isinstance(found, MlperfFolder) else charts(found),
    )
    files = {f"{name}.svg": standalone(chart).encode("utf-8") for name, chart in drawn.items()}
    return write_files(open_output(target), files)


def print_result(folder: Path, console: Console) -> None:
    """Print a stored result of a run. Raises ConfigError."""
    found = read_folder(folder)
    _guarded(folder, lambda: print_folder(found, console))


def charts(found: ResultFolder) -> dict[str, Markup]:
    """Charts of a result by name. Raises KeyError, TypeError or ValueError for a damaged report."""
    report = found.report
    agreement, estimate = report["agreement"], report.get("estimate")
    counts = {int(step): int(count) for step, count in agreement["histogram_lsb"].items()}
    drawn = {
        "differences": difference_histogram(counts, "Output values by difference"),
        "layers": horizontal_bars(layer_bars(report["layers"]), "Differing values by layer, %"),
    }
    confusion = confusion_of(report)
    if confusion is not None:
        drawn["confusion"] = confusion_matrix(confusion, "Samples by class")
    tiles = gallery_tiles(report, found.inputs)
    if tiles:
        drawn["gallery"] = gallery(tiles, "Samples worth looking at")
    if found.cycles is not None:
        drawn["latency"] = horizontal_bars(latency_bars(found.cycles), "Inferences by cycles")
    if estimate is not None:
        layers, memory = estimate["layers"], estimate["memory"]
        title = f"{estimate['npu']['label']} by layer"
        drawn["cycles"] = horizontal_bars(cycle_bars(layers), title)
        spans = buffer_spans(memory["tensors"], layers)
        limit = memory["interlayer_limit_bytes"]
        drawn["buffer"] = buffer_lifetime(spans, len(layers), limit, "The interlayer buffer")
    return drawn


def _guarded(folder: Path, make: Callable[[], T]) -> T:
    """A report is a file, so what it holds may be anything."""
    try:
        return make()
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError) as error:
        raise ConfigError(
            f"{folder / 'report.json'} is no report of this version of axonrig "
            f"({type(error).__name__}: {error}); run the model again"
        ) from error


def _prefix(folder: Path, page: Path) -> str:
    relative = Path(os.path.relpath(folder.resolve(), page.resolve().parent)).as_posix()
    return "" if relative == "." else relative


def _read(folder: Path) -> ResultFolder | MlperfFolder:
    """A result folder of a kind that has a page."""
    manifest, contents = read_contents(folder)
    if manifest.kind == "run":
        return run_folder(manifest, contents)
    if manifest.kind != "mlperf":
        raise ConfigError(
            f"{manifest.path} is of the kind '{manifest.kind}'; 'axonrig report' makes pages of "
            "results of 'axonrig run' and 'axonrig mlperf', and of a history"
        )
    if "report.json" not in contents:
        raise ConfigError(f"{manifest.path} does not list report.json; measure again")
    report = parse_object(contents["report.json"], folder / "report.json")
    return MlperfFolder(folder, report, manifest.files)


def _enter(folder: Path, files: Mapping[str, Mapping[str, Any]], data: bytes) -> None:
    """The manifest with the new page in it; nothing else of it changes."""
    import json

    path = folder / MANIFEST
    manifest = json.loads(path.read_bytes())
    entry = {"bytes": len(data), "sha256": sha256(data)}
    manifest["files"] = {**files, PAGE: entry}
    write_bytes(path, json_bytes(manifest))
