"""How measured values scatter: each group as its values, its quartiles and its median."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from harness.charts.svg import KINDS, WIDTH, box, chart, label, path, rule, short
from harness.charts.trend import axis_number, round_range
from harness.markup import Markup

_LEFT: Final = 150
_RIGHT: Final = 12
_TOP: Final = 28
_ROW: Final = 34
_MOST: Final = 300
"""Values drawn one by one; of more, evenly spaced ones in order of size."""


@dataclass(frozen=True, slots=True)
class Group:
    """values: at least one."""

    name: str
    values: Sequence[float]


def quantile(ordered: Sequence[float], share: float) -> float:
    """Between the two nearest of the sorted values. share: 0 to 1."""
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def spread(groups: Sequence[Group], title: str, unit: str) -> Markup:
    """Groups under each other on one scale, which need not start at zero."""
    found = [value for group in groups for value in group.values]
    ticks = round_range(min(found, default=0.0), max(found, default=1.0), 5)
    scale = (WIDTH - _LEFT - _RIGHT) / (ticks[-1] - ticks[0])
    base = _TOP + len(groups) * _ROW
    body = [label(0, 16, title, class_="head")]
    for value in ticks:
        x = _LEFT + (value - ticks[0]) * scale
        body += [
            rule(x, _TOP, x, base),
            label(x, base + 13, axis_number(value), class_="soft small", text_anchor="middle"),
        ]
    for number, group in enumerate(groups):
        top = _TOP + number * _ROW
        body.append(label(0, top + 20, short(group.name, 23)))
        ordered = [_LEFT + (value - ticks[0]) * scale for value in sorted(group.values)]
        body += _row(ordered, top, number % KINDS)
    caption = f"{unit}; a stroke for each value, box: middle half, line: median"
    body.append(label(_LEFT, base + 28, caption, class_="soft small"))
    return chart(WIDTH, base + 36, title, body)


def _row(ordered: Sequence[float], top: float, kind: int) -> list[Markup]:
    """The middle half as a box, every value as a stroke, the median as a taller one."""
    low, middle, high = (quantile(ordered, share) for share in (0.25, 0.5, 0.75))
    every = -(-len(ordered) // _MOST)
    strokes = "".join(f"M{x:.1f} {top + 12}v10" for x in ordered[::every])
    return [
        box(low, top + 8, max(1.0, high - low), 18, f"pale k{kind}"),
        path(strokes, f"line s{kind}"),
        path(f"M{middle:.1f} {top + 3}v28", f"line median s{kind}"),
    ]
