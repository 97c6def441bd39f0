"""`axonrig doctor`: walks from USB to the echo and says which step fails and what to do."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from harness.board import BoardKind, load_boards
from harness.cli.firmware_arguments import resolve_board
from harness.connected import find_connected
from harness.doctor import examine
from harness.errors import ExitCode
from harness.model_file import DEFAULT_MODEL


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--board", help="default: the connected board, else the emulated one")
    parser.add_argument("--serial-number", help="of the probe, when several are connected")
    parser.add_argument(
        "--model", type=Path, default=DEFAULT_MODEL, help="for boards without hardware"
    )


def execute(arguments: argparse.Namespace) -> int:
    """Run the command: 0 when every step is well. Raises HarnessError."""
    boards = load_boards()
    console = Console()
    if arguments.board:
        board = resolve_board(arguments.board, boards)
    else:
        found = [item.board for item in find_connected(boards) if item.board]
        emulated = next(b for b in boards.values() if b.kind is BoardKind.EMULATED)
        board = boards[found[0]] if found else emulated
        if not found:
            console.print("no kit is connected: examining the emulated board", markup=False)
    for finding in examine(board, boards, arguments.model, arguments.serial_number):
        word = "ok  " if finding.is_well else "FAIL"
        console.print(
            f"{word}  {finding.step:9} {finding.found}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
        if finding.advice is not None:
            console.print(f"      what to do: {finding.advice}", markup=False, soft_wrap=True)
            return ExitCode.INFRASTRUCTURE
    return ExitCode.OK
