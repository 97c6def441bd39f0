"""Arguments that `build` and `flash` share, and how a finished build is shown."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from harness.board import BoardSpec, resolve
from harness.cli.board_arguments import add_target_argument
from harness.connected import as_connected, find_connected
from harness.firmware.build import FirmwareImage
from harness.firmware.prepared import BuildChoice
from harness.firmware.source import PROFILES
from harness.model_file import DEFAULT_MODEL


def add_build_arguments(parser: argparse.ArgumentParser) -> None:
    """Board, model, and how to build."""
    parser.add_argument("--board", required=True, help="board, alias or family (axonrig boards)")
    parser.add_argument(
        "--model",
        type=Path,
        default=DEFAULT_MODEL,
        help="int8 TFLite model or Axon binary (default: the embedded model)",
    )
    add_target_argument(parser)
    parser.add_argument(
        "--layer-times",
        action="store_true",
        help="with --target npu: link each layer as a model of its own, too, to time it",
    )
    parser.add_argument("--toolchain", choices=("zig", "gcc", "west"), help="default: the board's")
    parser.add_argument(
        "--output", choices=("int8", "int32"), default="int8", help="output of the program"
    )
    parser.add_argument(
        "--profile",
        choices=PROFILES[1:],
        help="MLPerf Tiny profile that the firmware answers for (default: from the model's name)",
    )


def build_choice(arguments: argparse.Namespace) -> BuildChoice:
    """The arguments of `add_build_arguments`."""
    return BuildChoice(
        model=arguments.model,
        output=arguments.output,
        toolchain=arguments.toolchain,
        profile=arguments.profile,
        target=arguments.target,
        layer_times=arguments.layer_times,
    )


def resolve_board(name: str, boards: Mapping[str, BoardSpec]) -> BoardSpec:
    """As `resolve`; USB is looked at only for a family's name."""
    is_family = any(board.family == name.lower() for board in boards.values())
    return resolve(name, boards, as_connected(find_connected(boards)) if is_family else ())


def show_image(image: FirmwareImage, console: Console) -> None:
    """What was built and how much memory it takes."""
    use = image.memory
    npu = f"NPU buffers {use.npu_bytes}, " if use.npu_bytes else ""
    rows = (
        f"board      {image.board}",
        f"build id   {image.build_id.hex()}",
        f"toolchain  {image.toolchain}",
        f"flash      {use.flash_bytes} bytes: code {use.code_bytes}, constants "
        f"{use.constants_bytes}, model {use.model_bytes}, initial values {use.initial_bytes}",
        f"RAM        {use.ram_bytes} bytes: arena {use.arena_bytes}, {npu}link buffers "
        f"{use.buffers_bytes}, variables {use.variables_bytes}, stack {use.stack_bytes}; "
        f"{use.slot_bytes} left for an uploaded model",
    )
    for row in rows:
        console.print(row, markup=False, highlight=False, soft_wrap=True)
