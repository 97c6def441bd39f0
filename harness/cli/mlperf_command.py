"""`axonrig mlperf`: the MLPerf Tiny benchmarks by their rules."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from rich.console import Console

from harness.cli.board_arguments import add_board_arguments
from harness.errors import ExitCode
from harness.mlperf.performance import AIM_S
from harness.mlperf.plan import MODES, SUBMISSION, MlperfRequest
from harness.mlperf.run import run_mlperf
from harness.mlperf.table import print_tables
from harness.report.progress import progress_bar

_PLAIN_WIDTH: Final = 150


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_board_arguments(parser)
    parser.add_argument(
        "--benchmark",
        default="all",
        metavar="LIST",
        help="ic01, kws01, vww01, ad01, several with commas, or all (default: all there are)",
    )
    parser.add_argument("--mode", choices=MODES, default="all", help="what to run (default: all)")
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="folder with one folder per benchmark: y_labels.csv and the files that it names",
    )
    parser.add_argument(
        "--models",
        action="append",
        default=[],
        metavar="DIR|NAME=FILE",
        help="folder of models, or the model of one benchmark; may be given again",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="result folder")
    parser.add_argument(
        "--supply", type=float, metavar="V", help="supply voltage of the energy estimate"
    )
    parser.add_argument(
        "--limit", type=int, metavar="N", help="only N files of each accuracy set, spread evenly"
    )
    parser.add_argument(
        "--window",
        type=float,
        default=AIM_S,
        metavar="S",
        help="length of a window; below 10 s no rule is met (default: %(default)s)",
    )
    parser.add_argument(
        "--submitter", default="your_organization", metavar="NAME", help="folder of the results"
    )
    parser.add_argument(
        "--checker",
        type=Path,
        metavar="DIR",
        help="checkout of mlcommons/tiny: run its submission checker (default: $MLPERF_TINY_PATH)",
    )


def execute(arguments: argparse.Namespace) -> int:
    """Run the command: 0 when no deciding rule failed, 1 when one did, 4 when a device did."""
    request = MlperfRequest(
        out=arguments.out,
        board=arguments.board,
        benchmarks=arguments.benchmark,
        mode=arguments.mode,
        data=arguments.data,
        models=tuple(arguments.models),
        supply_v=arguments.supply,
        limit=arguments.limit,
        aim_s=arguments.window,
        submitter=arguments.submitter,
        checker=arguments.checker,
        require_hardware=arguments.require_hardware,
        serial_number=arguments.serial_number,
        port=arguments.port,
        target=arguments.target,
    )
    with progress_bar() as observe:
        result = run_mlperf(request, observe)
    console = Console()
    console = console if console.is_terminal else Console(width=_PLAIN_WIDTH)
    print_tables(result.report, console)
    console.print(
        f"report: {result.folder / 'report.json'}; results tree: {result.folder / SUBMISSION}",
        markup=False,
        soft_wrap=True,
    )
    if result.failed:
        return int(ExitCode.INFRASTRUCTURE)
    return int(ExitCode.OK if result.met else ExitCode.NO)
