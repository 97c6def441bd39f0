"""`axonrig run`: a model on a board or simulator, compared with host TFLite."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from rich.console import Console

from harness.cli.board_arguments import add_board_arguments
from harness.errors import ConfigError, ExitCode
from harness.golden import KernelSet
from harness.report.progress import progress_bar
from harness.report.table import print_report
from harness.run import RunRequest, run

_KERNELS: Final = {
    "reference": (KernelSet.REFERENCE,),
    "optimised": (KernelSet.OPTIMISED,),
    "both": (KernelSet.REFERENCE, KernelSet.OPTIMISED),
}
_PLAIN_WIDTH: Final = 120


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_board_arguments(parser)
    parser.add_argument(
        "--layer-times", action="store_true", help="let the board time each layer, too"
    )
    parser.add_argument(
        "--model", type=Path, metavar="M.tflite", help="int8 TFLite model (default: embedded)"
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="X",
        help=".npy or .npz samples (default: embedded images, else random samples)",
    )
    parser.add_argument(
        "--labels", type=Path, metavar="Y", help=".npy or .npz class numbers or one-hot rows"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N samples")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="write report.json and every artefact here"
    )
    parser.add_argument(
        "--golden",
        choices=sorted(_KERNELS),
        default="reference",
        help="kernels of host TFLite (default: reference)",
    )
    parser.add_argument(
        "--min-agreement",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="exit with 1 when the top-1 agreement is below this share, 0..1 (default: 0)",
    )
    parser.add_argument(
        "--output",
        choices=("int8", "int32"),
        default="int8",
        help="output of the program (default: int8)",
    )
    parser.add_argument(
        "--transpose", action="store_true", help="compile with height and width swapped"
    )
    parser.add_argument(
        "--skip-softmax", action="store_true", help="end the program before a final softmax"
    )


def execute(arguments: argparse.Namespace) -> int:
    """Run the command: 0 when it completed, 1 below `--min-agreement`."""
    if not 0.0 <= arguments.min_agreement <= 1.0:
        raise ConfigError(
            f"--min-agreement is {arguments.min_agreement}; expected a share from 0 to 1"
        )
    request = RunRequest(
        board=arguments.board,
        model=arguments.model,
        data=arguments.data,
        labels=arguments.labels,
        limit=arguments.limit,
        out=arguments.out,
        kernels=_KERNELS[arguments.golden],
        output=arguments.output,
        transpose=arguments.transpose,
        skip_softmax=arguments.skip_softmax,
        require_hardware=arguments.require_hardware,
        serial_number=arguments.serial_number,
        port=arguments.port,
        target=arguments.target,
        layer_times=arguments.layer_times,
    )
    with progress_bar() as observe:
        result = run(request, observe)
    console = _console()
    print_report(result.report, console)
    if result.folder is not None:
        console.print(f"report: {result.folder / 'report.html'}", markup=False, soft_wrap=True)
    return _verdict(result.report["agreement"]["top1"], arguments.min_agreement, console)


def _verdict(top1: float, wanted: float, console: Console) -> int:
    if top1 >= wanted:
        return int(ExitCode.OK)
    console.print(f"top-1 agreement {top1:.4f} is below --min-agreement {wanted}", soft_wrap=True)
    return int(ExitCode.NO)


def _console() -> Console:
    """As wide as the terminal; wide and plain where output goes to a file."""
    console = Console()
    return console if console.is_terminal else Console(width=_PLAIN_WIDTH)
