"""report.html: one page that needs nothing but itself. docs/report.md says what is on it.

Every figure is taken from report.json or an artefact of the run; nothing is computed anew but
charts. There is no script, and the page's own policy forbids every request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from harness.charts import bars
from harness.charts.confusion import Confusion, confusion_matrix
from harness.charts.gallery import Tile
from harness.charts.histogram import difference_histogram
from harness.charts.png import data_uri, picture
from harness.markup import Markup, element
from harness.report import estimate_html
from harness.report.document import document, source_words
from harness.report.parts import (
    Column,
    Origin,
    Section,
    address,
    card,
    cards,
    code,
    facts,
    figure,
    file_table,
    lines,
    origin_line,
    paragraph,
    section,
    table,
)
from harness.report.twin import against_estimate

Array = npt.NDArray[Any]

_LATENCY_BINS: Final = 12
_TABLE_CLASSES: Final = 20
"""Classes up to which the confusion matrix is given as a full table."""


@dataclass(frozen=True, slots=True, eq=False)
class PageInputs:
    """What a page is made from.

    report: as in report.json. inputs: int8 [N, ...], the samples that ran. cycles: int64 [N] or
    None. files: size and sha256 by name. prefix: the result folder as seen from the page, "" when
    the page is in it.
    """

    report: Mapping[str, Any]
    inputs: Array
    cycles: Array | None
    files: Mapping[str, Mapping[str, Any]]
    prefix: str = ""

    def origin(self, label: str, file: str = "report.json") -> Origin:
        """A source label with a link to the artefact."""
        return Origin(label, file, address(self.prefix, file))


def render(page: PageInputs) -> str:
    """The page as HTML text. Raises KeyError, TypeError or ValueError for a damaged report."""
    report = page.report
    makers: tuple[Callable[[PageInputs], Section | None], ...] = (
        _summary,
        _estimate,
        _latency,
        _agreement,
        _confusion,
        _gallery,
        _layers,
        _provenance,
    )
    sections = [made for maker in makers if (made := maker(page)) is not None]
    title = f"{report['model']['file']} on {report['board']}"
    told = (
        f"{report['samples']} samples of {report['data']['name']}; figures of the device: "
        f"{source_words(report['source'])}; {report['run']['created']}"
    )
    return document(title, told, sections, str(report["versions"].get("axonrig", "")))


def latency_bars(cycles: Array) -> list[bars.Bar]:
    """Inferences by cycles, in at most twelve bins."""
    low, high = int(cycles.min()), int(cycles.max())
    if low == high:
        return [bars.Bar(f"{low:,} cycles", float(len(cycles)), f"{len(cycles)} inferences")]
    counts, edges = np.histogram(cycles, bins=min(_LATENCY_BINS, high - low))
    return [
        bars.Bar(f"{edges[i]:,.0f} to {edges[i + 1]:,.0f}", float(count), str(count))
        for i, count in enumerate(counts.tolist())
    ]


def chosen_samples(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Facts of the samples in the gallery, in its order."""
    agreement = report["agreement"]
    chosen: list[Mapping[str, Any]] = agreement.get("disagreements") or agreement["worst"]
    return chosen


def gallery_tiles(report: Mapping[str, Any], inputs: Array) -> list[Tile]:
    """The samples worth looking at: disagreements first, then those that differ most."""
    names = report["model"]["labels"]
    tiles = []
    for item in chosen_samples(report):
        if not 0 <= item["index"] < len(inputs):
            raise ValueError(f"sample {item['index']} is not among the {len(inputs)} inputs")
        said = {"golden": item["left_class"], "device": item["right_class"], "label": item["label"]}
        words = [f"{who}: {_class(number, names)}" for who, number in said.items()]
        apart = item["left_class"] != item["right_class"]
        picked = data_uri(picture(inputs[item["index"]]))
        tile_lines = (*words, f"differs by {item['max_lsb']} LSB")
        tiles.append(Tile(f"sample {item['index']}", picked, tile_lines, apart))
    return tiles


def confusion_of(report: Mapping[str, Any]) -> Confusion | None:
    """The report's confusion matrix, None where there is none."""
    agreement = report["agreement"]
    counts = agreement.get("confusion")
    if counts is None:
        return None
    rows = "golden class" if agreement["confusion_rows"] == "golden" else "label"
    return Confusion(counts, report["model"]["labels"], rows=rows, columns="device class")


def layer_bars(layers: Mapping[str, Any]) -> list[bars.Bar]:
    """Share of differing values by layer, device's definition against host TFLite."""
    return [
        bars.Bar(
            f"{item['index']} {item['op']}",
            100 * item["differing"] / item["values"],
            f"{_percent(item['differing'] / item['values'])}, at most {item['max_lsb']} LSB",
            1 if item["differing"] else 0,
        )
        for item in layers["all"]
    ]


# --- sections --------------------------------------------------------------------------------


def _verdict(report: Mapping[str, Any]) -> Markup:
    agreement, samples = report["agreement"], report["samples"]
    differing = samples - round(agreement["top1"] * samples)
    if agreement["exact"] == samples:
        kind, words = "", "The device gives exactly what host TFLite gives"
    elif not differing:
        kind, words = "differs", "The device gives the class that host TFLite gives"
    else:
        kind, words = "apart", f"The device gives another class for {differing} samples"
    told = f"{words}: {samples - differing} of {samples} samples have the same class, "
    told += f"{agreement['exact']} have exactly equal outputs."
    note = [paragraph(f"Note: {report['fallback']}")] if report["fallback"] else []
    strong = element("p", element("strong", told))
    return element("div", strong, *note, class_=f"verdict {kind}".strip())


def _summary(page: PageInputs) -> Section:
    report = page.report
    agreement, accuracy, latency = report["agreement"], report["accuracy"], report["latency"]
    device = page.origin(f"{report['source']}, {report['backend']}", "outputs.npz")
    golden = page.origin(agreement["with"], "golden.npz")
    both = page.origin(f"{report['source']} against {agreement['with']}")
    items = [
        card("top-1 agreement", _percent(agreement["top1"]), both),
        card(
            "exactly equal samples",
            _percent(agreement["exact_fraction"]),
            both,
            f"{agreement['exact']} of {report['samples']}",
        ),
        card("largest difference", f"{agreement['max_lsb']} LSB", both),
        card("accuracy, device", _percent(accuracy["device"]), device),
        card("accuracy, host TFLite", _percent(accuracy["golden"]), golden),
    ]
    if latency["source"] is not None:
        micros = latency["median_us"]
        median = f"{latency['cycles']['median']:,.0f} cycles"
        value = median if micros is None else f"{micros:,.1f} µs"
        items.append(card("latency, median", value, page.origin(latency["source"]), median))
    items += estimate_html.summary_cards(report.get("estimate"), page.origin)
    return section("summary", "Summary", _verdict(report), cards(items))


def _estimate(page: PageInputs) -> Section | None:
    return estimate_html.estimate_section(page.report.get("estimate"), page.origin)


def _latency(page: PageInputs) -> Section | None:
    latency = page.report["latency"]
    if page.cycles is None or latency["source"] is None:
        return None
    found = latency_bars(page.cycles)
    origin = page.origin(latency["source"], "outputs.npz")
    clock = latency["clock_hz"]
    counted = facts(
        f"Cycles of one inference, source {latency['source']}",
        {
            **{name: f"{latency['cycles'][name]:,.0f}" for name in ("min", "median", "max")},
            "clock": "unknown" if not clock else f"{clock / 1e6:g} MHz",
        },
    )
    data = table(
        "Inferences by cycles",
        (Column("cycles"), Column("inferences", number=True)),
        [(bar.name, bar.shown) for bar in found],
    )
    drawn = bars.horizontal_bars(found, "Inferences by cycles")
    sentence = against_estimate(page.report)
    told = [] if sentence is None else [paragraph(f"{sentence[0].upper()}{sentence[1:]}.")]
    drawn_layers = _layer_times(page)
    return section("latency", "Latency", counted, *told, figure(drawn, origin, data), *drawn_layers)


def _layer_times(page: PageInputs) -> tuple[Markup, ...]:
    """The cycles of each layer, where the device timed them."""
    layers = page.report["latency"].get("layers")
    if layers is None:
        return ()
    rows = [
        (
            layer["index"],
            layer["op"],
            "not timed" if layer["cycles"] is None else f"{layer['cycles']:,.0f}",
            "-" if layer["us"] is None else f"{layer['us']:,.1f}",
        )
        for layer in layers["all"]
    ]
    columns = (
        Column("layer", number=True),
        Column("operator"),
        Column("cycles, median", number=True),
        Column("us", number=True),
    )
    caption = f"Cycles by layer, timed {layers['how']}, source {layers['source']}"
    return (table(caption, columns, rows),)


def _agreement(page: PageInputs) -> Section:
    report = page.report
    agreement = report["agreement"]
    counts = {int(step): int(count) for step, count in agreement["histogram_lsb"].items()}
    origin = page.origin(f"{report['source']} against {agreement['with']}")
    pairs = table(
        "Who disagrees with whom",
        (
            Column("left"),
            Column("right"),
            *(
                Column(name, number=True)
                for name in ("top-1", "exact", "max LSB", "mean LSB", "cosine")
            ),
        ),
        [
            (
                item["left"],
                item["right"],
                _percent(item["top1"]),
                f"{item['exact']} of {item['samples']}",
                item["max_lsb"],
                f"{item['mean_abs_lsb']:.4f}",
                f"{item['cosine_mean']:.6f}",
            )
            for item in report["comparisons"]
        ],
    )
    data = table(
        "Output values by difference",
        (Column("device - golden, LSB", number=True), Column("values", number=True)),
        [(f"{step:+d}" if step else "0", count) for step, count in sorted(counts.items())],
    )
    drawn = difference_histogram(counts, "Output values by difference")
    return section("agreement", "Agreement", pairs, figure(drawn, origin, data))


def _confusion(page: PageInputs) -> Section | None:
    confusion = confusion_of(page.report)
    if confusion is None:
        return None
    title = f"Samples by {confusion.rows} (rows) and {confusion.columns} (columns)"
    size = len(confusion.counts)
    if size <= _TABLE_CLASSES:
        names = [confusion.name(index) for index in range(size)]
        data = table(
            title,
            (Column(confusion.rows), *(Column(name, number=True) for name in names)),
            [(names[i], *row) for i, row in enumerate(confusion.counts)],
        )
    else:
        data = table(
            "Classes taken for another",
            (Column(confusion.rows), Column(confusion.columns), Column("samples", number=True)),
            [
                (confusion.name(i), confusion.name(j), count)
                for i, row in enumerate(confusion.counts)
                for j, count in enumerate(row)
                if count and i != j
            ],
        )
    origin = page.origin(page.report["source"])
    return section(
        "confusion", "Confusion matrix", figure(confusion_matrix(confusion, title), origin, data)
    )


def _gallery(page: PageInputs) -> Section | None:
    tiles = gallery_tiles(page.report, page.inputs)
    if not tiles:
        return None
    agreement = page.report["agreement"]
    if agreement.get("disagreements"):
        words = (
            "Samples to which device and host TFLite give different classes come first, in a "
            "frame; then those that the device gets wrong."
        )
    else:
        words = "No sample has a wrong or different class; these differ most in their values."
    shown = [
        element(
            "li",
            element("img", src=tile.picture, alt=f"{tile.name} as the model sees it"),
            element("strong", tile.name),
            Markup("<br/>"),
            lines((*tile.lines, *(("classes differ",) if tile.wrong else ()))),
            class_="apart" if tile.wrong else None,
        )
        for tile in tiles
    ]
    origin = page.origin(f"{page.report['source']} against {agreement['with']}", "inputs.npz")
    listed = element("ul", *shown, class_="tiles")
    return section("gallery", "Samples", paragraph(words), listed, paragraph(origin_line(origin)))


def _layers(page: PageInputs) -> Section:
    layers = page.report["layers"]
    first = layers["first_differing"]
    where = f"sample {layers['sample']}; {layers['compared']} of {layers['total']} layers compared"
    if first is None:
        words = f"Every compared layer equals host TFLite ({where})."
    else:
        words = (
            f"The first layer that differs is {first['index']} ({first['op']}): "
            f"{first['differing']} of {first['values']} values, at most {first['max_lsb']} LSB; "
            f"first at {first['position']}: TFLite {first['left_value']}, "
            f"Axon {first['right_value']} ({where})."
        )
    data = table(
        "Layers against host TFLite",
        (
            Column("layer", number=True),
            Column("operator"),
            Column("tensor"),
            Column("values", number=True),
            Column("differing", number=True),
            Column("max LSB", number=True),
        ),
        [
            tuple(item[key] for key in ("index", "op", "tensor", "values", "differing", "max_lsb"))
            for item in layers["all"]
        ],
    )
    drawn = bars.horizontal_bars(layer_bars(layers), "Differing values by layer, %")
    origin = page.origin(f"{layers['right']} against {layers['left']}")
    return section("layers", "Layer by layer", paragraph(words), figure(drawn, origin, data))


def _provenance(page: PageInputs) -> Section:
    report = page.report
    model, data, ran = report["model"], report["data"], report["run"]
    what = {
        "model": f"{model['file']}, {model['bytes']} bytes",
        "model sha256": code(model["sha256"]),
        "program": f"{model['program']['layers']} layers, {model['program']['variant']}",
        "program sha256": code(model["program"]["sha256"]),
        "data": f"{data['name']} ({data['origin']}), {report['samples']} samples",
        "data sha256": code(data["sha256"]),
        "board": f"{report['board']} (asked: {report['board_asked']})",
        "source": source_words(report["source"]),
        "backend": report["backend"],
        "goldens": lines(f"{item['name']}: {item['runtime']}" for item in report["golden"]),
        "host": ran["host"],
        "created": ran["created"],
        "host seconds by stage": lines(f"{k}: {v}" for k, v in ran["host_seconds"].items()),
    }
    files = file_table("Artefacts of this run", page.files, page.prefix)
    return section(
        "provenance",
        "Environment and provenance",
        facts("What ran", what),
        facts("Versions", report["versions"]),
        files,
    )


def _percent(fraction: float | None) -> str:
    return "no labels" if fraction is None else f"{100 * fraction:.2f} %"


def _class(index: int | None, names: list[str]) -> str:
    if index is None:
        return "unknown"
    return f"{index} {names[index]}" if index < len(names) else str(index)
