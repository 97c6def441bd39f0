"""Arguments that commands share which run a model on a board."""

from __future__ import annotations

import argparse


def add_board_arguments(parser: argparse.ArgumentParser) -> None:
    """Which board, or the simulator in its place, and what runs the model there."""
    parser.add_argument("--board", default="sim", help="board, family or 'sim' (default: sim)")
    parser.add_argument(
        "--require-hardware",
        action="store_true",
        help="stop when no board is connected, instead of falling back to the simulator",
    )
    add_connection_arguments(parser)
    add_target_argument(parser)


def add_connection_arguments(parser: argparse.ArgumentParser) -> None:
    """Which of several boards."""
    parser.add_argument("--serial-number", metavar="S", help="probe of the board, when several fit")
    parser.add_argument("--port", metavar="P", help="serial port or URL of the board")


def add_target_argument(parser: argparse.ArgumentParser) -> None:
    """What runs the model on a board."""
    parser.add_argument(
        "--target",
        choices=("cpu", "npu"),
        default="cpu",
        help="what runs the model on the board; npu links code from Nordic's SDK (default: cpu)",
    )
