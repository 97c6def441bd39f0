"""The samples themselves, side by side, each with what was said about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from harness.charts.svg import WIDTH, chart, label, short
from harness.markup import Markup, element

_COLUMNS: Final = 6
_TILE: Final = WIDTH // _COLUMNS
_PICTURE: Final = 96
_TOP: Final = 30
_LINE: Final = 13


@dataclass(frozen=True, slots=True)
class Tile:
    """picture: a data: address of an image. lines: what is known of the sample. wrong: whether the
    executors disagree about it."""

    name: str
    picture: str
    lines: tuple[str, ...]
    wrong: bool = False


def gallery(tiles: Sequence[Tile], title: str) -> Markup:
    """Pictures in rows of six with their lines below."""
    tall = _PICTURE + _LINE * (1 + max((len(tile.lines) for tile in tiles), default=0)) + 14
    body = [label(0, 16, title, class_="head")]
    for place, tile in enumerate(tiles):
        x, y = (place % _COLUMNS) * _TILE, _TOP + (place // _COLUMNS) * tall
        body.append(
            element(
                "image",
                element("title", f"{tile.name}: {', '.join(tile.lines)}"),
                href=tile.picture,
                x=x,
                y=y,
                width=_PICTURE,
                height=_PICTURE,
                preserveAspectRatio="xMidYMid meet",
            )
        )
        for number, line in enumerate((tile.name, *tile.lines)):
            kind = "small kbad" if tile.wrong and number else "small soft" if number else "small"
            down = y + _PICTURE + _LINE * (number + 1)
            body.append(label(x, down, short(line, 20), class_=kind))
    rows = -(-len(tiles) // _COLUMNS)
    return chart(WIDTH, _TOP + rows * tall, title, body)
