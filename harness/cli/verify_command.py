"""`axonrig verify`: every executor on one model; who disagrees, where first, and what it means."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.cli.board_arguments import add_connection_arguments, add_target_argument
from harness.errors import ConfigError

if TYPE_CHECKING:  # Start-up time is import time.
    from rich.console import Console

_PLAIN_WIDTH: Final = 150
_SAMPLES: Final = 32


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("model", type=Path, metavar="MODEL.tflite")
    parser.add_argument(
        "--data", type=Path, metavar="X", help=".npy or .npz samples (default: random ones)"
    )
    parser.add_argument(
        "--labels", type=Path, metavar="Y", help=".npy or .npz class numbers or one-hot rows"
    )
    parser.add_argument(
        "--limit",
        type=int,
        default=_SAMPLES,
        metavar="N",
        help=f"only the first N samples (default: {_SAMPLES})",
    )
    parser.add_argument(
        "--board",
        action="append",
        default=[],
        metavar="B",
        help="also this board, real or emulated; may be given several times",
    )
    add_connection_arguments(parser)
    add_target_argument(parser)
    parser.add_argument("--json", action="store_true", help="print the content of verify.json")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write every result here")
    parser.add_argument(
        "--minimise",
        action="store_true",
        help="also write the smallest model that shows the disagreement",
    )
    parser.add_argument(
        "--between",
        nargs=2,
        metavar=("LEFT", "RIGHT"),
        help="parties whose disagreement is minimised (default: those that the verdict is about)",
    )


def execute(arguments: argparse.Namespace) -> int:
    """Run the command: 0 when all is explained, 1 when something is not."""
    from harness.report.progress import progress_bar
    from harness.verify.table import print_study
    from harness.verify.verification import VerifyRequest, verify_model

    if arguments.limit < 1:
        raise ConfigError(f"--limit is {arguments.limit}; expected at least 1")
    request = VerifyRequest(
        model=arguments.model,
        data=arguments.data,
        labels=arguments.labels,
        limit=arguments.limit,
        boards=tuple(arguments.board),
        serial_number=arguments.serial_number,
        port=arguments.port,
        target=arguments.target,
        out=arguments.out,
        minimise=arguments.minimise,
        between=None if arguments.between is None else (*arguments.between,),
    )
    with progress_bar() as observe:
        result = verify_model(request, observe)
    if arguments.json:
        print(json.dumps(result.report, indent=1, allow_nan=False))  # noqa: T201  # the result
        return int(result.exit_code)
    console = _console()
    print_study(result.report, console)
    if arguments.minimise and result.report["minimised"] is None:
        names = " and ".join(arguments.between or ["all parties"])
        console.print(f"nothing to minimise: {names} agree", markup=False, highlight=False)
    if arguments.out is not None:
        console.print(f"results: {arguments.out}", markup=False, highlight=False, soft_wrap=True)
    return int(result.exit_code)


def _console() -> Console:
    """As wide as the terminal; wide and plain where output goes to a file."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=_PLAIN_WIDTH)
