"""`axonrig report`: the page of a result folder or of a history, and its charts as files."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from harness.errors import ConfigError, ExitCode

_PLAIN_WIDTH: Final = 140


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "result", type=Path, metavar="DIR|HISTORY.db", help="result folder, or history of nights"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="PAGE.html",
        help="the page (default: report.html in DIR, HISTORY.html beside HISTORY.db)",
    )
    parser.add_argument(
        "--charts", type=Path, metavar="FOLDER", help="also write every chart as an SVG file here"
    )
    parser.add_argument(
        "--terminal",
        action="store_true",
        help="print the result of a run with its charts and pictures, and write nothing",
    )


def execute(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from harness.report.nights.page import write_history_charts, write_history_page
    from harness.report.pages import write_charts, write_page

    result = arguments.result
    if arguments.terminal:
        return _print(arguments)
    nights = result.is_file()
    page = (write_history_page if nights else write_page)(result, arguments.output)
    print(f"report: {page}")  # noqa: T201  # the command's result
    if arguments.charts is not None:
        write = write_history_charts if nights else write_charts
        for path in write(result, arguments.charts):
            print(f"chart: {path}")  # noqa: T201  # the command's result
    return int(ExitCode.OK)


def _print(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from harness.report.pages import print_result

    if arguments.output is not None or arguments.charts is not None:
        raise ConfigError("--terminal writes no file: leave out -o and --charts")
    console = Console()
    print_result(arguments.result, console if console.is_terminal else Console(width=_PLAIN_WIDTH))
    return int(ExitCode.OK)
