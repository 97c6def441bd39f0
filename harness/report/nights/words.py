"""What the sections of the page share: links, and figures as a reader wants them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from harness.history import Point, Result, Value
from harness.report.nights.facts import HistoryFacts, drawable
from harness.report.parts import Origin

_SHARES: Final = ("agreement.top1", "agreement.exact_fraction", "accuracy.")


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """address: of the history's file as seen from the page. folder_of: the address of a result's
    page, None where there is none."""

    facts: HistoryFacts
    address: str
    folder_of: Callable[[Result], str | None]
    version: str

    def origin(self, label: str) -> Origin:
        """A source label with a link to the history."""
        return Origin(label, self.facts.name, self.address)


def shown(metric: str, value: Value, unit: str = "") -> str:
    """A value as a reader wants it: shares in percent, hashes cut, thousands apart."""
    if isinstance(value, str) or not drawable(value):
        return str(value)[:12]
    if metric.startswith(_SHARES):
        return f"{100 * value:.2f} %"
    number = f"{value:,}" if isinstance(value, int) else f"{value:,.7g}"
    return f"{number} {unit}".strip()


def change(before: Point | None, point: Point) -> str:
    """How a value differs from the one before."""
    if before is None:
        return "new"
    if before.value == point.value:
        return "unchanged"
    if not (drawable(before.value) and drawable(point.value)):
        return "changed"
    if not before.value:
        return f"{point.value - before.value:+.6g}"
    return f"{100 * (point.value - before.value) / before.value:+.2f} %"
