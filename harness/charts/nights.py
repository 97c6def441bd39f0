"""How every job ended in every night: a row for each job, a column for each night."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from harness.charts.svg import WIDTH, box, chart, label, short
from harness.markup import Markup

_NAMES: Final = 250
_RIGHT: Final = 8
_TOP: Final = 30
_ROW: Final = 18
ENDINGS: Final[Mapping[str, tuple[str, int]]] = {
    "ok": ("k2", 6),
    "regression": ("kbad", 16),
    "failed": ("k1", 12),
    "skipped": ("k5", 2),
}
"""Colour and height by ending, so that neither is needed alone. Others leave a gap."""


@dataclass(frozen=True, slots=True)
class Row:
    """endings: one for each night, a word of `ENDINGS` or "" where the job was not there."""

    name: str
    endings: Sequence[str]


def night_grid(rows: Sequence[Row], names: Sequence[str], title: str) -> Markup:
    """Neighbouring nights with the same ending are one box. names: of the nights."""
    across = (WIDTH - _NAMES - _RIGHT) / max(1, len(names))
    body = [label(0, 16, title, class_="head")]
    for number, row in enumerate(rows):
        top = _TOP + number * _ROW
        body.append(label(0, top + 13, short(row.name, 40), class_="small"))
        place = 0
        for ending, run in groupby(row.endings):
            first, place = place, place + len(list(run))
            if ending not in ENDINGS:
                continue
            kind, tall = ENDINGS[ending]
            hint = f"{row.name}: {ending}, {names[first]} to {names[place - 1]}"
            x, width = _NAMES + first * across, (place - first) * across
            body.append(box(x, top + (_ROW - tall) / 2, max(0.5, width), tall, kind, hint))
    base = _TOP + len(rows) * _ROW
    if names:
        body.append(label(_NAMES, base + 12, names[0], class_="soft small"))
        right = float(WIDTH - _RIGHT)
        body.append(label(right, base + 12, names[-1], class_="soft small", text_anchor="end"))
    return chart(WIDTH, base + 40, title, [*body, *_legend(base + 32)])


def _legend(y: float) -> list[Markup]:
    drawn = []
    for number, (ending, (kind, tall)) in enumerate(ENDINGS.items()):
        x = _NAMES + number * 100
        drawn.append(box(x, y - 4 - tall / 2, 14, tall, kind))
        drawn.append(label(x + 19, y, ending, class_="small"))
    return drawn
