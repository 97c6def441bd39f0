"""`axonrig report`: the page of a result folder, and its charts as files."""

from __future__ import annotations

import argparse
from pathlib import Path

from harness.errors import ExitCode


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="result folder of 'axonrig run'")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="report.html",
        help="the page (default: report.html in DIR)",
    )
    parser.add_argument(
        "--charts", type=Path, metavar="FOLDER", help="also write every chart as an SVG file here"
    )


def execute(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from harness.report.pages import write_charts, write_page

    page = write_page(arguments.folder, arguments.output)
    print(f"report: {page}")  # noqa: T201  # the command's result
    if arguments.charts is not None:
        for path in write_charts(arguments.folder, arguments.charts):
            print(f"chart: {path}")  # noqa: T201  # the command's result
    return int(ExitCode.OK)
