"""Horizontal bars, one per layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from harness.charts.svg import WIDTH, box, chart, label, short
from harness.markup import Markup

_ROW: Final = 20
_NAME_WIDTH: Final = 190
_VALUE_WIDTH: Final = 180
_TOP: Final = 30


@dataclass(frozen=True, slots=True)
class Bar:
    """value: at least 0. shown: what stands behind the bar. kind: colour 0 to 5."""

    name: str
    value: float
    shown: str
    kind: int = 0


def horizontal_bars(bars: Sequence[Bar], title: str) -> Markup:
    """Bars under each other on one scale from zero. An empty sequence gives an empty frame."""
    room = WIDTH - _NAME_WIDTH - _VALUE_WIDTH
    most = max((bar.value for bar in bars), default=0.0) or 1.0
    body = [label(0, 16, title, class_="head")]
    for row, bar in enumerate(bars):
        top = _TOP + row * _ROW
        width = room * bar.value / most
        body += [
            label(0, top + 13, short(bar.name, 30)),
            box(_NAME_WIDTH, top + 2, width, _ROW - 5, f"k{bar.kind}", f"{bar.name}: {bar.shown}"),
            label(_NAME_WIDTH + width + 5, top + 13, bar.shown, class_="soft"),
        ]
    return chart(WIDTH, _TOP + len(bars) * _ROW + 6, title, body)
