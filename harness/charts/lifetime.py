"""The interlayer buffer over time: which tensor lies where, from which layer to which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from harness.charts.svg import KINDS, WIDTH, box, chart, label, round_steps, rule, short
from harness.markup import Markup

_HEIGHT: Final = 300
_LEFT: Final = 70
_TOP: Final = 34
_BOTTOM: Final = 44


@dataclass(frozen=True, slots=True)
class Span:
    """A tensor in the buffer. offset, size: bytes. first, last: layers, both inclusive; -1 is
    before the first layer."""

    name: str
    offset: int
    size: int
    first: int
    last: int


def buffer_lifetime(spans: Sequence[Span], layers: int, limit: int, title: str) -> Markup:
    """Address upwards, layers to the right. `limit`: bytes allowed, drawn when it is near; 0 to
    leave it out."""
    peak = max((span.offset + span.size for span in spans), default=0)
    shown_limit = limit if 0 < limit <= 1.5 * peak else 0
    ticks = round_steps(max(peak, shown_limit, 1))
    start = min((span.first for span in spans), default=0)
    columns = max(1, layers - start)
    room, height = WIDTH - _LEFT - 10, _HEIGHT - _TOP - _BOTTOM
    base = _HEIGHT - _BOTTOM
    across, up = room / columns, height / ticks[-1]
    body = [label(0, 16, title, class_="head")]
    for value in ticks:
        y = base - value * up
        body += [
            rule(_LEFT, y, WIDTH - 10, y),
            label(_LEFT - 6, y + 4, f"{value:,.0f}", class_="soft small", text_anchor="end"),
        ]
    for place, span in enumerate(spans):
        x, width = _LEFT + (span.first - start) * across, (span.last - span.first + 1) * across
        y, tall = base - (span.offset + span.size) * up, span.size * up
        hint = (
            f"{span.name}: {span.size} bytes at {span.offset}, layers {span.first} to {span.last}"
        )
        body.append(box(x, y, width, tall, f"edge k{place % KINDS}", hint))
        if tall >= 13 and width >= 30:
            fit = max(2, int(width / 6.5))
            body.append(label(x + 4, y + 12, short(span.name, fit), class_="small on"))
    if shown_limit:
        body.append(rule(_LEFT, base - limit * up, WIDTH - 10, base - limit * up, "limit"))
    every = -(-columns // 24)
    for column in range(0, columns, every):
        x = _LEFT + (column + 0.5) * across
        name = "in" if column + start < 0 else str(column + start)
        body.append(label(x, base + 14, name, class_="soft small", text_anchor="middle"))
    caption = f"layer; bytes of the interlayer buffer, peak {peak:,}"
    caption += f", limit {limit:,}" if limit else ""
    body.append(label(_LEFT + room / 2, _HEIGHT - 8, caption, class_="soft", text_anchor="middle"))
    return chart(WIDTH, _HEIGHT, title, body)
