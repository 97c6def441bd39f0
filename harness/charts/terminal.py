"""Charts as lines of text, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from rich.color import Color
from rich.style import Style
from rich.text import Text

from harness.charts.lifetime import Span
from harness.charts.png import Pixels

_EIGHTHS: Final = " ▏▎▍▌▋▊▉"
_SIGNS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_FREE: Final = "·"
_SHADES: Final = " ░▒▓█"


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


def picture_lines(pixels: Pixels, columns: int = 32) -> list[str]:
    """A picture in five shades, for a terminal without colours: a character is two rows high."""
    grey = _thinned(pixels, columns).mean(axis=2)
    halves = grey[: len(grey) // 2 * 2].reshape(-1, 2, grey.shape[1]).mean(axis=1)
    rows = halves if len(halves) else grey
    return ["".join(_SHADES[int(value) * len(_SHADES) // 256] for value in row) for row in rows]


def picture_text(pixels: Pixels, columns: int = 32) -> Text:
    """A picture in its own colours: a character is two pixels, one above the other."""
    colours = _thinned(pixels, columns).astype(int)
    text = Text(no_wrap=True)
    for top in range(0, len(colours), 2):
        below = colours[min(top + 1, len(colours) - 1)]
        for upper, lower in zip(colours[top], below, strict=True):
            style = Style(color=Color.from_rgb(*upper), bgcolor=Color.from_rgb(*lower))
            text.append("▀", style)
        text.append("\n")
    return text


def _thinned(pixels: Pixels, columns: int) -> Pixels:
    """[H, W, 3] with at most `columns` columns and as many rows."""
    colours = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
    rows, across = (-(-extent // columns) for extent in colours.shape[:2])
    return colours[::rows, ::across]


def _cell(spans: Sequence[Span], layer: int, address: int) -> str:
    for place, span in reversed(list(enumerate(spans))):
        if span.first <= layer <= span.last and span.offset <= address < span.offset + span.size:
            return _sign(place)
    return _FREE


def _sign(place: int) -> str:
    return _SIGNS[place % len(_SIGNS)]
