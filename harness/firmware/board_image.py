"""The firmware image of a board for a program: on the CPU or on the NPU, with or without Zephyr."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from harness.board import BoardKind, BoardSpec
from harness.errors import ConfigError

if TYPE_CHECKING:  # The tools that build are loaded by those who build.
    from compiler import AxonProgram
    from harness.firmware.build import FirmwareImage

Target = Literal["cpu", "npu"]
"""What runs the model."""


def check_target(board: BoardSpec, boards: Mapping[str, BoardSpec], target: Target) -> None:
    """Raise ConfigError when `board` cannot run models on `target`."""
    if target == "npu" and not board.has_npu:
        able = [
            other.name
            for other in boards.values()
            if other.has_npu and other.kind is BoardKind.HARDWARE
        ]
        raise ConfigError(
            f"the board '{board.name}' ({board.title}) has no NPU: use its CPU (leave out --target "
            f"npu), or a board with the NPU ({', '.join(sorted(able))})"
        )


def build_board_image(
    board: BoardSpec,
    program: AxonProgram,
    *,
    target: Target = "cpu",
    layer_times: bool = False,
    toolchain: str | None = None,
    profile: str = "",
    folder: Path | None = None,
) -> FirmwareImage:
    """Build the image of `board`, or take it from the cache.

    toolchain: the board's by default; "west" builds with Zephyr. folder: where builds are kept.
    layer_times: an image for the NPU carries what it needs to time layers; one for the CPU always
    does. Raises ConfigError for a board that takes no image and for a model that does not fit,
    CompilerError, ToolchainError.
    """
    from harness.firmware.build import build_firmware, firmware_model
    from harness.firmware.west import build_zephyr

    if board.memory is None:
        raise ConfigError(f"the board '{board.name}' takes no firmware image")
    if target == "cpu":
        model = firmware_model(program, profile=profile, memory=board.memory)
        if toolchain == "west":
            return build_zephyr(board, model, folder=folder)
        return build_firmware(board, model, toolchain=toolchain, folder=folder)
    from harness.vendor.board_firmware import foreign_code, npu_board_model, zephyr_addition
    from harness.vendor.driver import generate_for

    code = generate_for(program, layer_models=layer_times)
    model = npu_board_model(program, code, board.memory, profile=profile)
    if toolchain == "west":
        addition = zephyr_addition(program, code, model)
        return build_zephyr(board, model, addition=addition, folder=folder)
    foreign = foreign_code(program, code, model)
    return build_firmware(board, model, toolchain=toolchain, folder=folder, foreign=foreign)
