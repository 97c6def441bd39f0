"""The argument --target, which all commands share that build firmware for a board."""

from __future__ import annotations

import argparse


def add_target_argument(parser: argparse.ArgumentParser) -> None:
    """What runs the model on a board."""
    parser.add_argument(
        "--target",
        choices=("cpu", "npu"),
        default="cpu",
        help="what runs the model on the board; npu links code from Nordic's SDK (default: cpu)",
    )
