"""From a history to its page and chart files."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from harness.artefacts import MANIFEST, check_writable, write_bytes
from harness.charts.svg import standalone
from harness.compiled import open_output, write_files
from harness.errors import ConfigError
from harness.history import Result, open_history
from harness.report.folder import PAGE
from harness.report.nights.facts import HistoryFacts, gather_history
from harness.report.nights.html import history_charts, render_history
from harness.report.nights.words import HistoryPage
from harness.report.parts import address
from harness.report.versions import versions

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._+-]+")


def write_history_page(history: Path, output: Path | None = None) -> Path:
    """Write the page of a history, by default beside it with the ending .html; return its path.

    Raises ConfigError when the file is no history or the page cannot be written.
    """
    path = history.with_suffix(".html") if output is None else output
    found = read_history(history)
    check_writable(path)
    if path.resolve() == history.resolve():
        raise ConfigError(f"{path} is the history itself; choose another name with -o")
    write_bytes(path, history_page_bytes(found, history, path))
    return path


def write_history_charts(history: Path, target: Path) -> tuple[Path, ...]:
    """Write every chart of the page as an SVG file; return their paths. Raises ConfigError."""
    drawn = history_charts(read_history(history))
    files = {
        f"{number:03d}-{_UNSAFE.sub('_', name)[:120]}.svg": standalone(chart).encode("utf-8")
        for number, (name, chart) in enumerate(drawn.items())
    }
    return write_files(open_output(target), files)


def read_history(path: Path) -> HistoryFacts:
    """What the page shows. Raises ConfigError."""
    with open_history(path) as history:
        return gather_history(history)


def history_page_bytes(found: HistoryFacts, history: Path, page: Path) -> bytes:
    """The page as it is stored at `page`, with links to the history and the results there are."""
    room = page.resolve().parent
    link = address("", _relative(history.resolve(), room))

    def folder_of(result: Result) -> str | None:
        folder = None if result.folder is None else _result_page(history, result.folder)
        return None if folder is None else address("", _relative(folder, room))

    axonrig = versions()["axonrig"]
    return render_history(HistoryPage(found, link, folder_of, axonrig)).encode("utf-8")


def _result_page(history: Path, folder: str) -> Path | None:
    """The page of a result, or its manifest; None where the folder is not here any more."""
    if "\0" in folder:
        return None
    named = history.resolve().parent / folder
    return next((path for name in (PAGE, MANIFEST) if (path := named / name).is_file()), None)


def _relative(path: Path, room: Path) -> str:
    return Path(os.path.relpath(path, room)).as_posix()
