"""The result of `axonrig verify` on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness.terminal_text import printable


def print_study(report: Mapping[str, Any], console: Console) -> None:
    """Print the content of a verify.json."""
    model, data = report["model"], report["data"]
    what = printable(f"{model['file']}: {data['samples']} samples ({data['name']})")
    console.print(what, markup=False, soft_wrap=True)
    _parties(report["parties"], console)
    _pairs(report["pairs"], console)
    for line in _second_runs(report):
        console.print(printable(line), markup=False, highlight=False, soft_wrap=True)
    for name, layers in report["own_layers"].items():
        console.print(_own(name, layers, model), markup=False, highlight=False, soft_wrap=True)
    verdict = report["verdict"]
    between = f" ({' and '.join(verdict['between'])})" if verdict["between"] else ""
    console.print(
        f"verdict: {verdict['meaning']}{between}. {verdict['text']}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    if report["minimised"] is not None:
        text = _minimised(report["minimised"])
        console.print(text, markup=False, highlight=False, soft_wrap=True)


def _minimised(item: Mapping[str, Any]) -> str:
    left, right = item["between"]
    steps = "; ".join(item["steps"]) or "nothing smaller shows it"
    return (
        f"smallest model: {', '.join(item['operators'])} on {item['input']}, {item['bytes']} "
        f"bytes, from {item['candidates']} candidates ({steps}); at {item['position']} "
        f"{left} gives {item['expected']}, {right} gives {item['actual']}"
    )


def _parties(parties: Sequence[Mapping[str, Any]], console: Console) -> None:
    table = Table(title="parties", title_justify="left")
    for heading in ("party", "state", "source", "what it is, or why it is not there"):
        table.add_column(heading)
    table.add_column("accuracy", justify="right")
    for item in parties:
        share = "" if item["accuracy"] is None else f"{100 * item['accuracy']:.2f} %"
        text = item["reason"] or f"{item['role']}: {item['backend']}"
        cells = (item["name"], item["state"], item["source"] or "", text)
        table.add_row(*(escape(printable(cell)) for cell in cells), share)
    console.print(table)


def _pairs(pairs: Sequence[Mapping[str, Any]], console: Console) -> None:
    table = Table(title="who disagrees with whom", title_justify="left")
    table.add_column("left")
    table.add_column("right")
    for heading in ("other class", "values differing", "max LSB"):
        table.add_column(heading, justify="right")
    table.add_column("first layer")
    table.add_column("meaning")
    for item in pairs:
        table.add_row(
            escape(item["left"]),
            escape(item["right"]),
            f"{item['other_class']} of {item['samples']}",
            f"{item['values_differing']} of {item['values']}",
            str(item["max_lsb"]),
            "unknown" if item["search_failure"] else escape(_layer(item["first_layer"])),
            item["meaning"],
        )
    console.print(table)


def _second_runs(report: Mapping[str, Any]) -> Iterator[str]:
    """What failed after the comparison: samples run again, programs cut short."""
    for item in report["parties"]:
        if item["repeat_reason"]:
            yield (
                f"{item['name']}: running the samples that differ again failed: "
                f"{item['repeat_reason']}"
            )
    for item in report["pairs"]:
        if item["search_failure"]:
            yield (
                f"{item['left']} and {item['right']}: the search for the first layer broke off: "
                f"{item['search_failure']}"
            )


def _layer(layer: Mapping[str, Any] | None) -> str:
    if layer is None:
        return ""
    return f"{layer['index']} {layer['op']}: {layer['differing']} of {layer['values']}"


def _own(name: str, layers: Sequence[Mapping[str, Any]], model: Mapping[str, Any]) -> str:
    """One sentence on the layers, each on TFLite's own operands."""
    beyond = [layer for layer in layers if layer["beyond_values"]]
    coarse = [layer for layer in layers if layer["coarse_values"]]
    total = model["program"]["layers"]
    text = f"layer by layer on the operands of {name}: {len(layers)} of {total} layers compared"
    if beyond:
        first = beyond[0]
        return (
            f"{text}; beyond its bound first: layer {first['index']} ({first['op']}), "
            f"{first['beyond_values']} values, at most {first['beyond_lsb']} LSB "
            f"(bound {first['bound_lsb']})"
        )
    largest = max((layer["max_lsb"] for layer in layers), default=0)
    if coarse:
        return (
            f"{text}, none beyond its bound; in {len(coarse)} layers the bits of a channel's "
            f"multiplier cost up to {largest} LSB"
        )
    return f"{text}, none beyond its bound; at most {largest} LSB"
