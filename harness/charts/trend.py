"""One metric over many nights: a line for each source, with the changes marked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from harness.charts.svg import KINDS, WIDTH, chart, label, path, rule
from harness.markup import Markup, element

_HEIGHT: Final = 190
_LEFT: Final = 86
_RIGHT: Final = 12
_TOP: Final = 46
_BOTTOM: Final = 36
_BASE: Final = _HEIGHT - _BOTTOM
_SAME: Final = 1e-9
"""Relative difference that no axis can show."""

_LABEL_WIDTH: Final = 96
"""Room that the words of a mark take."""


@dataclass(frozen=True, slots=True)
class Line:
    """values: (place, value), places rising and below the chart's count. steps: the value holds
    until the next one (exact metrics); else each value is a dot of its own."""

    name: str
    values: Sequence[tuple[int, float]]
    steps: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """A change at a place. words: short, beside the mark. hint: shown when pointed at. bad: drawn
    in the colour of a fault."""

    place: int
    words: str
    hint: str
    bad: bool


def trend(
    lines: Sequence[Line], marks: Sequence[Mark], names: Sequence[str], title: str, unit: str = ""
) -> Markup:
    """Values upwards, nights to the right. names: of all places. The value axis starts near the
    smallest value, not at zero, and says so."""
    found = [value for line in lines for _, value in line.values]
    ticks = round_range(min(found, default=0.0), max(found, default=1.0))
    across = (WIDTH - _LEFT - _RIGHT) / max(1, len(names) - 1)
    up = (_BASE - _TOP) / (ticks[-1] - ticks[0])
    body = [label(0, 14, title, class_="head")]
    for value in ticks:
        y = _BASE - (value - ticks[0]) * up
        body += [
            rule(_LEFT, y, WIDTH - _RIGHT, y),
            label(_LEFT - 6, y + 4, axis_number(value), class_="soft small", text_anchor="end"),
        ]
    body += _marks(marks, across)
    for number, line in enumerate(lines):
        points = [(_LEFT + i * across, _BASE - (v - ticks[0]) * up) for i, v in line.values]
        kind = f"line s{number % KINDS}"
        body.append(path(_stairs(points) if line.steps else _straight(points), kind))
        body.append(path(_dots(points if not line.steps else points[-1:]), f"{kind} dots"))
    body += _foot(names, lines, unit, ticks[0])
    return chart(WIDTH, _HEIGHT, title, body)


def round_range(low: float, high: float, wanted: int = 3) -> list[float]:
    """Round axis values from at most `low` to at least `high`, about `wanted` steps.

    Two or more, of different size also where the ends are equal. Both ends below 1e15.
    """
    if high - low <= _SAME * abs(high):
        spare = max(abs(low) * 0.001, 1e-9) if low and abs(low) < 1 else max(1.0, abs(low) * _SAME)
        low, high = low - spare, low + spare
    raw = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10, 20) if power * factor >= raw * 0.999)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [step * index for index in range(first, max(last, first + 1) + 1)]


def axis_number(value: float) -> str:
    """A number for an axis: at most seven significant digits, thousands apart."""
    if value == 0:
        return "0"
    if abs(value) >= 1e4:
        return f"{value:,.0f}" if abs(value) < 1e12 else f"{value:.3g}"
    return f"{value:.7g}" if abs(value) >= 1e-3 else f"{value:.3g}"


def _marks(marks: Sequence[Mark], across: float) -> list[Markup]:
    """Upright lines; words where the word before leaves room for them."""
    drawn: list[Markup] = []
    free = [0.0, 0.0]
    for mark in sorted(marks, key=lambda item: item.place):
        x = _LEFT + mark.place * across
        hint = element("title", mark.hint)
        kind = "sbad" if mark.bad else "s2"
        line = {"x1": x, "y1": float(_TOP - 4), "x2": x, "y2": float(_BASE)}
        drawn.append(element("line", hint, class_=f"mark {kind}", **line))
        row = next((row for row in (0, 1) if free[row] <= x), None)
        if row is not None:
            left = min(x, float(WIDTH - _LABEL_WIDTH))
            free[row] = left + _LABEL_WIDTH
            colour = "small kbad" if mark.bad else "small k2"
            drawn.append(label(left, 28 + 11 * row, mark.words, class_=colour))
    return drawn


def _straight(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) if points else ""


def _stairs(points: Sequence[tuple[float, float]]) -> str:
    """Level to the next value, then up or down: only where the value changes."""
    if not points:
        return ""
    parts = [f"M{points[0][0]:.1f} {points[0][1]:.1f}"]
    height = points[0][1]
    for x, y in points[1:]:
        if y != height:
            parts.append(f"H{x:.1f}V{y:.1f}")
            height = y
    parts.append(f"H{points[-1][0]:.1f}")
    return "".join(parts)


def _dots(points: Sequence[tuple[float, float]]) -> str:
    return "".join(f"M{x:.1f} {y:.1f}h0" for x, y in points)


def _foot(names: Sequence[str], lines: Sequence[Line], unit: str, lowest: float) -> list[Markup]:
    """First, middle and last night, and what the lines are."""
    across = (WIDTH - _LEFT - _RIGHT) / max(1, len(names) - 1)
    body = []
    for place in sorted({0, len(names) // 2, len(names) - 1} if names else ()):
        anchor = "start" if place == 0 else "end" if place == len(names) - 1 else "middle"
        x = _LEFT + place * across
        body.append(label(x, _BASE + 13, names[place], class_="soft small", text_anchor=anchor))
    words = unit or "value"
    words += "" if lowest == 0 else "; the axis does not start at 0"
    body.append(label(_LEFT, _HEIGHT - 6, words, class_="soft small"))
    x = float(WIDTH - _RIGHT)
    for number, line in reversed(list(enumerate(lines))):
        told = f"● {line.name}"
        kind = f"small k{number % KINDS}"
        body.append(label(x, _HEIGHT - 6, told, class_=kind, text_anchor="end"))
        x -= 7.0 * len(told) + 8
    return body
