"""The confusion matrix: rows are what a sample is, columns what the device said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from harness.charts.svg import WIDTH, chart, label, short
from harness.markup import Markup, element

_NAMES: Final = 110
_TOP: Final = 64
_LARGEST_CELL: Final = 44


@dataclass(frozen=True, slots=True)
class Confusion:
    """counts[row][column]: samples. names: of the classes; a class without one shows its number."""

    counts: Sequence[Sequence[int]]
    names: Sequence[str]
    rows: str = "label"
    columns: str = "device"

    def name(self, index: int) -> str:
        """The class as a reader knows it."""
        return self.names[index] if index < len(self.names) else str(index)


def confusion_matrix(confusion: Confusion, title: str) -> Markup:
    """A square of cells, darker for more; the diagonal is agreement."""
    size = len(confusion.counts)
    cell = min(_LARGEST_CELL, (WIDTH - _NAMES - 10) / max(1, size))
    body = [
        label(0, 16, title, class_="head"),
        label(0, _TOP - 28, f"{confusion.rows} ↓  {confusion.columns} →", class_="soft"),
    ]
    for index in range(size):
        middle = _NAMES + index * cell + cell / 2
        row = _TOP + index * cell + cell / 2 + 4
        name = confusion.name(index)
        fit = max(2, int(cell / 6))
        body += [
            label(middle, _TOP - 4, short(name, fit), class_="small", text_anchor="middle")
            if cell >= 14
            else Markup(),
            label(_NAMES - 6, row, short(name, 15), class_="small", text_anchor="end")
            if cell >= 9
            else Markup(),
        ]
        body += _row(confusion, index, cell)
    return chart(_NAMES + size * cell + 10, _TOP + size * cell + 8, title, body)


def _row(confusion: Confusion, row: int, cell: float) -> list[Markup]:
    counts = confusion.counts[row]
    total = sum(counts) or 1
    drawn = []
    for column, count in enumerate(counts):
        x, y = _NAMES + column * cell, _TOP + row * cell
        share = count / total
        hint = f"{confusion.name(row)} → {confusion.name(column)}: {count}"
        drawn.append(
            element(
                "rect",
                element("title", hint),
                class_="edge " + ("k5" if not count else "k0" if row == column else "kbad"),
                fill_opacity=0.08 if not count else round(0.3 + 0.7 * share, 3),
                x=float(x),
                y=float(y),
                width=float(cell),
                height=float(cell),
            )
        )
        if count and cell >= 14:
            kind = "small on" if share > 0.5 else "small"
            drawn.append(
                label(x + cell / 2, y + cell / 2 + 4, str(count), class_=kind, text_anchor="middle")
            )
    return drawn
