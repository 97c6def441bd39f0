"""Charts as lines of text, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from harness.charts.lifetime import Span

_EIGHTHS: Final = " ▏▎▍▌▋▊▉"
_SIGNS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_FREE: Final = "·"


def bar_text(value: float, most: float, width: int) -> str:
    """A bar of at most `width` characters, in steps of an eighth; empty for zero."""
    if value <= 0 or most <= 0:
        return ""
    eighths = max(1, round(8 * width * min(1.0, value / most)))
    whole, rest = divmod(eighths, 8)
    return "█" * whole + (_EIGHTHS[rest] if rest else "")


def lifetime_lines(spans: Sequence[Span], layers: int, rows: int = 12) -> list[str]:
    """The interlayer buffer: a column per layer, a line per slice of the buffer, highest first.

    A letter stands for the tensor that holds the slice's first byte, a dot for none. The legend
    follows, in the order of the letters.
    """
    peak = max((span.offset + span.size for span in spans), default=0)
    if not peak:
        return []
    start = min(span.first for span in spans)
    slice_bytes = -(-peak // rows)
    lines = []
    for row in reversed(range(-(-peak // slice_bytes))):
        address = row * slice_bytes
        cells = "".join(_cell(spans, layer, address) for layer in range(start, layers))
        lines.append(f"{address:>9,} {cells}")
    lines += [
        f"{_sign(place)}  {span.name}: {span.size:,} bytes at {span.offset:,}, layers "
        f"{'input' if span.first < 0 else span.first} to {span.last}"
        for place, span in enumerate(spans)
    ]
    return lines


def _cell(spans: Sequence[Span], layer: int, address: int) -> str:
    for place, span in reversed(list(enumerate(spans))):
        if span.first <= layer <= span.last and span.offset <= address < span.offset + span.size:
            return _sign(place)
    return _FREE


def _sign(place: int) -> str:
    return _SIGNS[place % len(_SIGNS)]
