"""A stored result of a run for a terminal: its tables, charts and pictures."""

from __future__ import annotations

from typing import Final

from rich.columns import Columns
from rich.console import Console, Group
from rich.text import Text

from harness.charts.gallery import Tile
from harness.charts.png import picture
from harness.charts.terminal import picture_lines, picture_text
from harness.report.estimate_table import print_estimate
from harness.report.folder import Array, ResultFolder
from harness.report.html import chosen_samples, gallery_tiles
from harness.report.table import print_report

_MOST_PICTURES: Final = 6
_PICTURE_COLUMNS: Final = 32


def print_folder(found: ResultFolder, console: Console) -> None:
    """Print everything that the page shows and a terminal can.

    Raises KeyError, TypeError or ValueError for a damaged report.
    """
    report = found.report
    print_report(report, console)
    if report.get("estimate"):
        model = report["model"]
        names = {"file": model["file"], "variant": model["program"]["variant"]}
        print_estimate({**names, **report["estimate"]}, console, buffer=True)
    tiles = gallery_tiles(report, found.inputs)
    if tiles:
        indices = [item["index"] for item in chosen_samples(report)]
        drawn = [
            _picture(tile, found.inputs[index], colours=console.color_system is not None)
            for tile, index in zip(tiles[:_MOST_PICTURES], indices, strict=False)
        ]
        console.print(f"samples worth looking at, {len(drawn)} of {len(tiles)}:")
        console.print(Columns(drawn, padding=(1, 2)))


def _picture(tile: Tile, sample: Array, *, colours: bool) -> Group:
    pixels = picture(sample)
    if not colours:
        drawn = Text("\n".join(picture_lines(pixels, _PICTURE_COLUMNS)) + "\n", no_wrap=True)
    else:
        drawn = picture_text(pixels, _PICTURE_COLUMNS)
    return Group(drawn, Text("\n".join((tile.name, *tile.lines))))
