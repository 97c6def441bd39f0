"""`axonrig nightly`: run the matrix, remember every result, say what changed.

Its exit codes are its own: 0 fine, 1 a regression, 2 infrastructure (docs/exit-codes.md).
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from compiler import CompilerError
from harness.errors import HarnessError
from harness.history.records import NAME, Result
from harness.nightly.matrix import DEFAULT_FILE, load_matrix

FORMATS = ("junit", "markdown", "bencher", "csv")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "file",
        type=Path,
        nargs="?",
        default=DEFAULT_FILE,
        metavar="FILE",
        help="job file (default: benchmarks/nightly.yaml)",
    )
    parser.add_argument(
        "--history", type=Path, required=True, metavar="DB", help="history; made when missing"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder for the result folders"
    )
    parser.add_argument(
        "--jobs", type=_count, metavar="N", help="jobs side by side (default: CPUs)"
    )
    parser.add_argument(
        "--dask", metavar="ADDRESS", help="run jobs without a board on this cluster"
    )
    parser.add_argument(
        "--baseline",
        type=Path,
        metavar="NIGHT",
        help="folder of an earlier night: latencies are measured in turns with its images",
    )
    parser.add_argument(
        "--night", type=_name, metavar="ID", help="id of the night (default: today's date)"
    )
    parser.add_argument(
        "--export",
        action="append",
        default=[],
        choices=FORMATS,
        help="also write this into the night's folder; may be given again",
    )


def execute(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from harness.nightly.night import NightStatus
    from harness.terminal_text import printable

    try:
        return _run(arguments)
    except (HarnessError, CompilerError, OSError) as error:
        text = printable(" ".join(str(error).split()))
        print(f"axonrig: {text}", file=sys.stderr)  # noqa: T201  # its own exit codes
        return int(NightStatus.INFRASTRUCTURE)


def _run(arguments: argparse.Namespace) -> int:
    from harness.errors import ConfigError
    from harness.history import open_history
    from harness.history.exports import Exported, write_exports
    from harness.integrity import seal_folder
    from harness.nightly.night import NightRequest, run_night
    from harness.nightly.table import print_night

    if arguments.baseline is not None and not (arguments.baseline / "images").is_dir():
        raise ConfigError(f"{arguments.baseline} holds no images; name the folder of a night")
    request = NightRequest(
        matrix=load_matrix(arguments.file),
        matrix_file=arguments.file,
        out=arguments.out,
        name=arguments.night,
        baseline=arguments.baseline,
        jobs=arguments.jobs or os.cpu_count() or 1,
        dask=arguments.dask,
        observe=_say,
    )
    with open_history(arguments.history, create=True) as history:
        result = run_night(history, request)
    print_night(result)
    exported = Exported(result.night, result.results, result.findings)
    for path in write_exports(exported, arguments.export, result.folder):
        print(f"export: {path}")  # noqa: T201  # the command's result
    seal_folder(result.folder, "nightly")
    return int(result.status)


def _say(result: Result) -> None:
    """A line for each job as it ends; on stderr, so that stdout is the summary."""
    from harness.terminal_text import printable

    why = f": {printable(' '.join(result.reason.split()))}" if result.reason else ""
    print(f"{result.status.value:<7} {result.job.name}{why}", file=sys.stderr)  # noqa: T201  # progress


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1024:
        raise argparse.ArgumentTypeError(f"'{text}' is no number from 1 to 1024")
    return int(text)


def _name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(f"'{text}' is no name of letters, digits, '.', '_', '-'")
    return text
