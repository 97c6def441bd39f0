"""Differences in steps of the output (LSB), on a logarithmic scale: most values are equal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from harness.charts.svg import WIDTH, box, chart, label, rule
from harness.markup import Markup

_HEIGHT: Final = 220
_LEFT: Final = 60
_BOTTOM: Final = 40
_TOP: Final = 30
_FAR: Final = 20
"""Steps shown one by one on each side; larger differences are gathered at both ends."""


def gathered(counts: Mapping[int, int], far: int = _FAR) -> list[tuple[str, int]]:
    """(name, count) from the lowest difference to the highest, gaps included, ends gathered."""
    if not counts:
        return []
    low, high = max(-far, min(counts)), min(far, max(counts))
    inside = [(f"{step:+d}" if step else "0", counts.get(step, 0)) for step in range(low, high + 1)]
    below = sum(count for step, count in counts.items() if step < low)
    above = sum(count for step, count in counts.items() if step > high)
    head = [(f"< {low}", below)] if below else []
    tail = [(f"> {high:+d}", above)] if above else []
    return [*head, *inside, *tail]


def difference_histogram(counts: Mapping[int, int], title: str) -> Markup:
    """`counts`: number of values by difference in steps."""
    bins = gathered(counts)
    most = max((count for _, count in bins), default=1)
    decades = max(1, math.ceil(math.log10(most + 1)))
    room, height = WIDTH - _LEFT - 10, _HEIGHT - _TOP - _BOTTOM
    base = _HEIGHT - _BOTTOM
    body = [label(0, 16, title, class_="head")]
    for power in range(decades + 1):
        y = base - height * power / decades
        body += [
            rule(_LEFT, y, WIDTH - 10, y),
            label(_LEFT - 6, y + 4, f"{10**power:,}", class_="soft small", text_anchor="end"),
        ]
    step = room / max(1, len(bins))
    every = math.ceil(len(bins) / 24)
    for place, (name, count) in enumerate(bins):
        x = _LEFT + place * step
        tall = height * (math.log10(count) / decades if count > 1 else 0.04 * count)
        kind = "k2" if name == "0" else "k0"
        body.append(box(x + 1, base - tall, max(1.0, step - 2), tall, kind, f"{name} LSB: {count}"))
        if place % every == 0 or name == "0":
            body.append(
                label(x + step / 2, base + 14, name, class_="soft small", text_anchor="middle")
            )
    caption = "difference in LSB (device - golden); number of values, logarithmic"
    body.append(label(_LEFT + room / 2, _HEIGHT - 8, caption, class_="soft", text_anchor="middle"))
    return chart(WIDTH, _HEIGHT, title, body)
