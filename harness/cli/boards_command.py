"""`axonrig boards`: boards that are known, connected, in use."""

from __future__ import annotations

import argparse
import json

from rich.console import Console
from rich.table import Table

from harness.board import BoardSpec, describe, load_boards
from harness.connected import Found, find_connected
from harness.errors import ExitCode

_PLAIN_WIDTH = 120


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--json", action="store_true", help="machine-readable")


def execute(arguments: argparse.Namespace) -> int:
    """Run the command. Raises HarnessError."""
    boards = load_boards()
    found = find_connected(boards)
    console = Console()
    if not console.is_terminal:
        console = Console(width=_PLAIN_WIDTH)
    if arguments.json:
        facts = {
            "schema": 1,
            "kind": "boards",
            "boards": [_facts(board, found) for board in boards.values()],
            "probes": [_probe_facts(item) for item in found],
        }
        console.print(json.dumps(facts, indent=1), markup=False, highlight=False, soft_wrap=True)
        return ExitCode.OK
    table = Table("board", "chip", "runs on", "state", "also called", box=None, pad_edge=False)
    for board in boards.values():
        soc = board.soc.name if board.soc else "-"
        table.add_row(
            board.name,
            soc,
            "+".join(board.features),
            _state(board, found),
            ", ".join(board.aliases),
        )
    console.print(table)
    for item in found:
        if item.board is None:
            console.print(
                f"probe {item.probe.serial_number}: the board behind it is unknown (nrfutil tells)",
                markup=False,
                highlight=False,
            )
    return ExitCode.OK


def _state(board: BoardSpec, found: tuple[Found, ...]) -> str:
    if board.probe is None:
        return "always there"
    mine = [item for item in found if item.board == board.name]
    if not mine:
        return "not connected"
    return ", ".join(
        f"{'busy' if item.busy else 'connected'} ({item.probe.serial_number}"
        f"{' at ' + item.port if item.port else ''})"
        for item in mine
    )


def _facts(board: BoardSpec, found: tuple[Found, ...]) -> dict[str, object]:
    mine = [item for item in found if item.board == board.name]
    needs = board.probe is not None
    return {
        **describe(board),
        "connected": bool(mine) if needs else True,
        "busy": any(item.busy for item in mine),
        "serial_numbers": [item.probe.serial_number for item in mine],
    }


def _probe_facts(item: Found) -> dict[str, object]:
    return {
        "serial_number": item.probe.serial_number,
        "kit_version": item.probe.kit_version,
        "board": item.board,
        "port": item.port,
        "busy": item.busy,
    }
