"""The terminal tables of `axonrig mlperf`, made from report.json alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness.terminal_text import printable

_SHORT: Final = {"not applicable": "-", "not applicable to an estimate": "estimate"}


def print_tables(report: Mapping[str, Any], console: Console) -> None:
    """Results in the columns of the published tables, then the rules by benchmark."""
    console.print(_results(report))
    console.print(_rules(report))
    for reason in _reasons(report):
        console.print(printable(reason), markup=False, highlight=False, soft_wrap=True)
    for note in filter(None, [report["fallback"], *report["skipped"], *report["failed"]]):
        console.print(f"note: {printable(note)}", markup=False, highlight=False, soft_wrap=True)
    checker = report["checker"]
    if checker is not None:
        for line in checker["said"]:
            said = f"submission checker: {printable(line)}"
            console.print(said, markup=False, highlight=False, soft_wrap=True)


def _results(report: Mapping[str, Any]) -> Table:
    table = Table(title=escape(report["title"]), title_justify="left")
    table.add_column("benchmark")
    for name in ("latency ms", "inferences/s", "accuracy", "95 % interval", "target", "energy uJ"):
        table.add_column(name, justify="right")
    table.add_column("target met")
    for item in report["benchmarks"]:
        table.add_row(
            f"{item['name']} {item['title']}",
            *_speed(item["performance"]),
            *_accuracy(item["accuracy"]),
            _energy(item["energy"]),
            _target_met(item["accuracy"]),
        )
    return table


def _speed(performance: Mapping[str, Any] | None) -> tuple[str, str]:
    if performance is None:
        return "-", "-"
    return f"{performance['latency_ms']:,.3f}", f"{performance['throughput']:,.2f}"


def _accuracy(accuracy: Mapping[str, Any] | None) -> tuple[str, str, str]:
    if accuracy is None:
        return "-", "-", "-"
    low, high = accuracy["interval"]["low"], accuracy["interval"]["high"]
    if accuracy["metric"] == "auc":
        target = f"AUC {accuracy['target']:g}"
        return f"{accuracy['value']:.3f}", f"{low:.3f} to {high:.3f}", target
    target = f"{accuracy['target']:g} %"
    return f"{accuracy['value']:.1f} %", f"{low:.1f} to {high:.1f} %", target


def _target_met(accuracy: Mapping[str, Any] | None) -> str:
    if accuracy is None:
        return "-"
    return "yes" if accuracy["value"] >= accuracy["target"] else "no"


def _energy(energy: Mapping[str, Any] | None) -> str:
    if energy is None:
        return "-"
    return f"{energy['uj']:,.1f} (estimated, {energy['supply_v']:g} V)"


def _rules(report: Mapping[str, Any]) -> Table:
    """One line per rule, one column per benchmark."""
    benchmarks = report["benchmarks"]
    table = Table(title="rules", title_justify="left")
    table.add_column("rule", overflow="fold")
    for item in benchmarks:
        table.add_column(item["name"])
    table.add_column("stated in", overflow="fold")
    for rules in zip(*(item["rules"] for item in benchmarks), strict=True):
        texts = list(dict.fromkeys(rule["text"] for rule in rules))
        results = [_SHORT.get(rule["result"], rule["result"]) for rule in rules]
        table.add_row(escape("; ".join(texts)), *results, escape(rules[0]["citation"]))
    return table


def _reasons(report: Mapping[str, Any]) -> list[str]:
    """Why a rule is not met; one sentence for all benchmarks that share it."""
    reasons: dict[str, list[str]] = {}
    for item in report["benchmarks"]:
        for rule in item["rules"]:
            if rule["result"] == "not met":
                text = f"not met: {rule['text']}: {rule['evidence']}"
                reasons.setdefault(text, []).append(item["name"])
    return [f"{', '.join(names)}: {text}" for text, names in reasons.items()]
