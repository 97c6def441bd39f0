"""Changes on the terminal."""

from __future__ import annotations

from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.changes import Change, Changes
from harness.history import Result
from harness.nightly.figures import LATENCY
from harness.regression.exact import LayerShare, condition_text, shown
from harness.regression.two_sample import NEEDED_ROUNDS
from harness.terminal_text import printable

_PLAIN_WIDTH: Final = 140


def print_changes(changes: Changes, most_layers: int, console: Console | None = None) -> None:
    """Print what differs in the conditions, the metrics and the layers."""
    console = console or Console()
    if not console.is_terminal:
        console = Console(file=console.file, width=_PLAIN_WIDTH)
    for label, result in (("A", changes.before), ("B", changes.after)):
        console.print(Text(f"{label}: {_title(result)}"), soft_wrap=True)
    for flag in changes.flags:
        refused = f"; not compared: {_listed(flag.refused)}" if flag.refused else ""
        text = f"differs: {flag.condition} ({flag.why}): {condition_text(flag.before)} -> "
        line = printable(f"{text}{condition_text(flag.after)}{refused}")
        console.print(Text(line), soft_wrap=True)
    if changes.changes:
        console.print(_metrics(changes))
    for change in changes.changes:
        if change.layers and most_layers:
            console.print(_layers(change, most_layers))
    console.print(Text(_summary(changes)), soft_wrap=True)


def _title(result: Result) -> str:
    place = f" in {result.folder}" if result.folder else ""
    return printable(f"{result.job.name}, source {result.source}, {result.ended}{place}")


def _listed(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return ", ".join(names[:4]) + more


def _metrics(changes: Changes) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in ("metric", "A", "B", "unit", "change", "verdict", "source"):
        table.add_column(title, justify="right" if title in ("A", "B", "change") else "left")
    for change in changes.changes:
        item = change.difference
        share = "" if item.relative is None else f"{item.relative:+.2%}"
        cells = (item.metric, shown(item.before), shown(item.after), item.unit, share)
        table.add_row(
            *(
                Text(printable(cell))
                for cell in (*cells, _verdict(change), _source(changes, item.metric))
            )
        )
    return table


def _verdict(change: Change) -> str:
    item = change.difference
    if item.metric != LATENCY:
        return item.verdict.value
    if change.shift is None:
        return f"no test: needs {NEEDED_ROUNDS} rounds of both"
    words = item.verdict.value if change.shift.alerts() else "within the noise"
    return f"{words} (p {change.shift.p_value:.2g}, not measured in turns)"


def _source(changes: Changes, name: str) -> str:
    metric = changes.after.metric(name) or changes.before.metric(name)
    label = "" if metric is None else metric.source
    return f"{label} (estimated)" if name.startswith(("estimate.", "memory.")) else label


def _layers(change: Change, most: int) -> Table:
    total = sum(item.after - item.before for item in change.layers)
    title = f"{change.difference.metric} by layer ({total:+d} in all)"
    table = Table(box=None, pad_edge=False, title=title, title_justify="left")
    for name in ("layer", "op", "A", "B", "change"):
        table.add_column(name, justify="left" if name == "op" else "right")
    for item in change.layers[:most]:
        table.add_row(*_layer(item))
    if len(change.layers) > most:
        table.add_row("...", f"{len(change.layers) - most} more", "", "", "")
    return table


def _layer(item: LayerShare) -> tuple[str, ...]:
    numbers = (str(item.before), str(item.after), f"{item.after - item.before:+d}")
    return (str(item.index), item.op, *numbers)


def _summary(changes: Changes) -> str:
    parts = [f"{len(changes.changes)} metrics differ, {changes.equal} are equal"]
    if changes.first_layer is not None:
        parts.append(f"values differ first at layer {int(changes.first_layer)}")
    measured = any(change.difference.metric == LATENCY for change in changes.changes)
    if measured and not any(change.layers for change in changes.changes):
        parts.append("no layer's estimated cycles differ: look at firmware, clock and memory")
    return "; ".join(parts)
