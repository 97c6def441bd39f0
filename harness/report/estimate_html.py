"""The estimated figures of a page: cycles, time, memory and energy, each with its label."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness.charts.bars import Bar, horizontal_bars
from harness.charts.lifetime import Span, buffer_lifetime
from harness.markup import Markup, element
from harness.report.parts import (
    Column,
    Origin,
    Section,
    card,
    facts,
    figure,
    paragraph,
    section,
    table,
)

OriginOf = Callable[[str], Origin]
"""A source label -> the label with a link to report.json."""


def summary_cards(estimate: Mapping[str, Any] | None, origin: OriginOf) -> list[Markup]:
    """Cards for the page's summary; none without an estimate."""
    if estimate is None:
        return []
    time, energy, memory = estimate["device_time"], estimate["energy"], estimate["memory"]
    return [
        card(
            estimate["npu"]["label"],
            f"{estimate['npu']['cycles']:,}",
            origin(estimate["npu"]["source"]),
        ),
        card(
            time["label"],
            f"{time['us']:,.0f} µs",
            origin(time["source"]),
            f"{time['low_us']:,.0f} to {time['high_us']:,.0f} µs",
        ),
        card(
            energy["label"],
            f"{energy['uj']:,.1f} µJ",
            origin(energy["source"]),
            f"{energy['low_uj']:,.1f} to {energy['high_uj']:,.1f} µJ at {energy['supply_v']:g} V",
        ),
        card(
            memory["label"],
            f"{memory['ram_bytes']:,} bytes RAM",
            origin(memory["source"]),
            f"{memory['flash_bytes']:,} bytes flash",
        ),
    ]


def estimate_section(estimate: Mapping[str, Any] | None, origin: OriginOf) -> Section | None:
    """Layers, buffer and memory as estimated; None without an estimate."""
    if estimate is None:
        return None
    npu, memory = estimate["npu"], estimate["memory"]
    layers = estimate["layers"]
    bars = horizontal_bars(cycle_bars(layers), f"{npu['label']} by layer")
    parts: list[object] = [figure(bars, origin(npu["source"]), _layer_table(layers))]
    spans = buffer_spans(memory["tensors"], layers)
    if spans:
        drawn = buffer_lifetime(
            spans, len(layers), memory["interlayer_limit_bytes"], "The interlayer buffer over time"
        )
        parts.append(figure(drawn, origin(memory["source"]), _span_table(spans)))
    sizes = {
        name.removesuffix("_bytes").replace("_", " "): f"{memory[name]:,} bytes"
        for name in memory
        if name.endswith("_bytes")
    }
    parts.append(facts(f"{memory['label']}, source {memory['source']}", sizes))
    parts += [paragraph(note) for note in estimate["notes"]]
    if estimate["advice"]:
        parts.append(element("h3", "Advice"))
        parts.append(element("ul", *(element("li", line) for line in estimate["advice"])))
    return section("estimate", "Estimate", *parts)


def cycle_bars(layers: Sequence[Mapping[str, Any]]) -> list[Bar]:
    """Cycles by layer; what the CPU does has another colour."""
    return [
        Bar(
            f"{layer['index']} {layer['op']}",
            layer["cycles"],
            f"{layer['cycles']:,} ({100 * layer['share']:.1f} %)",
            0 if layer["runs_on"] == "npu" else 1,
        )
        for layer in layers
    ]


def buffer_spans(
    tensors: Sequence[Mapping[str, Any]], layers: Sequence[Mapping[str, Any]]
) -> list[Span]:
    """Tensors of the interlayer buffer with names that a reader knows."""
    return [
        Span(
            name=_tensor_name(tensor["layer"], tensor["kind"], layers),
            offset=tensor["offset"],
            size=tensor["size"],
            first=tensor["first_layer"],
            last=min(tensor["last_layer"], len(layers) - 1),
        )
        for tensor in tensors
    ]


def _tensor_name(layer: int, kind: str, layers: Sequence[Mapping[str, Any]]) -> str:
    if layer < 0:
        return "input"
    name = f"{layer} {layers[layer]['op']}"
    return f"{name} (working memory)" if kind == "scratch" else name


def _layer_table(layers: Sequence[Mapping[str, Any]]) -> Markup:
    columns = (
        Column("layer", number=True),
        Column("operator"),
        Column("output C, H, W"),
        Column("MACs", number=True),
        Column("cycles", number=True),
        Column("MAC/cycle", number=True),
        Column("share", number=True),
        Column("bytes", number=True),
        Column("runs on"),
        Column("bound by"),
    )
    rows = [
        (
            layer["index"],
            layer["op"],
            layer["shape"],
            f"{layer['macs']:,}",
            f"{layer['cycles']:,}",
            f"{layer['macs_per_cycle']:.2f}",
            f"{100 * layer['share']:.1f} %",
            f"{layer['bytes']:,}",
            layer["runs_on"],
            layer["bound"] or "-",
        )
        for layer in layers
    ]
    return table("Estimated cycles by layer", columns, rows)


def _span_table(spans: Sequence[Span]) -> Markup:
    columns = (
        Column("tensor"),
        Column("offset", number=True),
        Column("bytes", number=True),
        Column("from layer", number=True),
        Column("to layer", number=True),
    )
    rows = [(span.name, span.offset, span.size, span.first, span.last) for span in spans]
    return table("Tensors in the interlayer buffer", columns, rows)
