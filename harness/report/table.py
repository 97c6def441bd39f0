"""The terminal table of a run, made from the report alone, so a stored report prints the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness.report.twin import against_estimate

_BAR: Final = 30
_SLOWEST: Final = 3
_MOST_CLASSES: Final = 12
"""Classes up to which a confusion matrix fits a terminal."""


def print_report(report: Mapping[str, Any], console: Console) -> None:
    """Print summary, comparisons, differences and layers. Plain text where it is no terminal."""
    console.print(_summary(report))
    console.print(_comparisons(report))
    if report["agreement"]["worst"]:
        console.print(_histogram(report["agreement"]))
        console.print(_worst(report))
    confusion = report["agreement"].get("confusion")
    if confusion and len(confusion) <= _MOST_CLASSES:
        console.print(_confusion(report["agreement"], report["model"]["labels"]))
    console.print(_layer_sentence(report["layers"]), highlight=False, soft_wrap=True)


def _summary(report: Mapping[str, Any]) -> Table:
    model, data, agreement = report["model"], report["data"], report["agreement"]
    table = Table(title="axonrig run", show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row("model", escape(f"{model['file']} ({model['bytes']} bytes, {_short(model)})"))
    program = model["program"]
    table.add_row("program", f"{program['layers']} layers, {program['variant']}")
    table.add_row("data", escape(f"{data['name']} ({data['origin']}), {report['samples']} samples"))
    table.add_row("board", escape(_board(report)))
    if report["fallback"]:
        table.add_row("note", escape(report["fallback"]))
    table.add_row("top-1 agreement", _share(agreement["top1"], report["samples"]))
    table.add_row("exactly equal", _share(agreement["exact_fraction"], report["samples"]))
    table.add_row("largest difference", f"{agreement['max_lsb']} LSB")
    accuracy = report["accuracy"]
    table.add_row("accuracy, host TFLite", _percent(accuracy["golden"]))
    table.add_row("accuracy, device", _percent(accuracy["device"]))
    table.add_row("latency", _latency(report["latency"]))
    if layers := report["latency"].get("layers"):
        table.add_row("slowest layers", _slowest(layers))
    if report.get("estimate"):
        _estimate_rows(table, report["estimate"])
    if sentence := against_estimate(report):
        table.add_row("against the estimate", escape(sentence))
    return table


def _estimate_rows(table: Table, estimate: Mapping[str, Any]) -> None:
    """Estimated figures, each with its label."""
    time, energy, memory = estimate["device_time"], estimate["energy"], estimate["memory"]
    table.add_row(
        estimate["npu"]["label"], f"{estimate['npu']['cycles']:,} ({estimate['npu']['source']})"
    )
    name, _, origin = time["label"].partition(" (estimated ")
    span = f"{time['low_us']:,.0f} to {time['high_us']:,.0f}"
    table.add_row(f"{name} (estimated)", f"{time['us']:,.0f} us ({span}), {origin.rstrip(')')}")
    span = f"{energy['low_uj']:,.1f} to {energy['high_uj']:,.1f}"
    table.add_row(
        "energy (estimated)",
        f"{energy['uj']:,.1f} uJ ({span}) at {energy['supply_v']:g} V",
    )
    table.add_row(
        memory["label"],
        f"RAM {memory['ram_bytes']:,} bytes, flash {memory['flash_bytes']:,} bytes",
    )


def _comparisons(report: Mapping[str, Any]) -> Table:
    table = Table(title="who disagrees with whom", title_justify="left")
    table.add_column("left")
    table.add_column("right")
    for name in ("top-1", "exact", "max LSB", "mean LSB", "cosine"):
        table.add_column(name, justify="right")
    for item in report["comparisons"]:
        table.add_row(
            escape(item["left"]),
            escape(item["right"]),
            _percent(item["top1"]),
            f"{item['exact']}/{item['samples']}",
            str(item["max_lsb"]),
            f"{item['mean_abs_lsb']:.4f}",
            f"{item['cosine_mean']:.6f}",
        )
    return table


def _histogram(agreement: Mapping[str, Any]) -> Table:
    """Differences in steps; the far ones are gathered so that the table stays short."""
    table = Table(title="differences (device - golden, LSB)", title_justify="left")
    table.add_column("LSB", justify="right")
    table.add_column("values", justify="right")
    table.add_column("", min_width=_BAR)
    rows = _gathered({int(k): n for k, n in agreement["histogram_lsb"].items()})
    most = max(count for _, count in rows)
    for name, count in rows:
        table.add_row(name, str(count), "#" * max(1, round(_BAR * count / most)))
    return table


def _gathered(counts: Mapping[int, int]) -> list[tuple[str, int]]:
    near = [(f"{step:+d}" if step else "0", counts.get(step, 0)) for step in range(-3, 4)]
    below = sum(count for step, count in counts.items() if step < -3)
    above = sum(count for step, count in counts.items() if step > 3)
    rows = [("below -3", below), *near, ("above +3", above)]
    return [(name, count) for name, count in rows if count]


def _worst(report: Mapping[str, Any]) -> Table:
    table = Table(title="samples with the largest differences", title_justify="left")
    for name in ("sample", "max LSB", "golden", "device", "label"):
        table.add_column(name, justify="right")
    labels = report["model"]["labels"]
    for item in report["agreement"]["worst"]:
        classes = [_class(item[key], labels) for key in ("left_class", "right_class", "label")]
        table.add_row(str(item["index"]), str(item["max_lsb"]), *classes)
    return table


def _confusion(agreement: Mapping[str, Any], labels: list[str]) -> Table:
    """Samples by class: rows what a sample is, columns what the device said."""
    rows = agreement["confusion_rows"]
    table = Table(title=f"samples by {rows} (rows) and device (columns)", title_justify="left")
    table.add_column(rows)
    for index in range(len(agreement["confusion"])):
        table.add_column(str(index), justify="right")
    for index, counts in enumerate(agreement["confusion"]):
        cells = [str(count) if count else "." for count in counts]
        table.add_row(_class(index, labels), *cells)
    return table


def _layer_sentence(layers: Mapping[str, Any]) -> str:
    first = layers["first_differing"]
    where = f"sample {layers['sample']}, {layers['compared']} of {layers['total']} layers compared"
    if first is None:
        return f"every compared layer equals host TFLite ({where})"
    return escape(
        f"first layer that differs from host TFLite: {first['index']} ({first['op']}), "
        f"{first['differing']} of {first['values']} values, at most {first['max_lsb']} LSB; "
        f"first at {first['position']}: TFLite {first['left_value']}, Axon {first['right_value']} "
        f"({where})"
    )


def _board(report: Mapping[str, Any]) -> str:
    asked = "" if report["board_asked"] == report["board"] else f", asked: {report['board_asked']}"
    return f"{report['board']} (source: {report['source']}, {report['backend']}{asked})"


def _slowest(layers: Mapping[str, Any]) -> str:
    timed = [layer for layer in layers["all"] if layer["cycles"] is not None]
    if not timed:
        return f"none was timed (source: {layers['source']})"
    slowest = sorted(timed, key=lambda layer: -float(layer["cycles"]))[:_SLOWEST]
    shown = ", ".join(f"{one['index']} {one['op']} {one['cycles']:.0f} cycles" for one in slowest)
    return escape(f"{shown} (source: {layers['source']}, timed {layers['how']})")


def _latency(latency: Mapping[str, Any]) -> str:
    if latency["source"] is None:
        return "not measured"
    cycles = f"{latency['cycles']['median']:.0f} cycles"
    micros = latency["median_us"]
    time = "" if micros is None else f", {micros:.1f} us"
    return escape(f"{cycles}{time} (source: {latency['source']})")


def _short(model: Mapping[str, Any]) -> str:
    return f"sha256 {model['sha256'][:12]}"


def _share(fraction: float, samples: int) -> str:
    return f"{_percent(fraction)} ({round(fraction * samples)} of {samples})"


def _percent(fraction: float | None) -> str:
    return "no labels" if fraction is None else f"{100 * fraction:.2f} %"


def _class(index: int | None, labels: list[str]) -> str:
    if index is None:
        return "-"
    return escape(f"{index} {labels[index]}" if index < len(labels) else str(index))
