"""`axonrig build`: the firmware image of a board for a model."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from harness.artefacts import write_bytes
from harness.board import load_boards
from harness.cli.firmware_arguments import (
    add_build_arguments,
    build_choice,
    resolve_board,
    show_image,
)
from harness.compiled import open_output
from harness.errors import ExitCode
from harness.firmware.prepared import prepare_image


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_build_arguments(parser)
    parser.add_argument(
        "-o", "--out", type=Path, metavar="DIR", help="copy image and manifest to this folder"
    )


def execute(arguments: argparse.Namespace) -> int:
    """Run the command. Raises HarnessError and CompilerError."""
    console = Console()
    boards = load_boards()
    board = resolve_board(arguments.board, boards)
    folder = open_output(arguments.out) if arguments.out else None
    image = prepare_image(board, boards, build_choice(arguments))
    show_image(image, console)
    for path in (image.elf, image.hex, image.manifest):
        shown = path
        if folder is not None:
            shown = folder / path.name
            write_bytes(shown, path.read_bytes())
        console.print(f"file       {shown}", markup=False, highlight=False, soft_wrap=True)
    return ExitCode.OK
