"""From a model file and a board to a firmware image: what `build`, `flash` and `doctor` share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from compiler import CompileOptions
from harness.board import BoardSpec, image_board
from harness.errors import ConfigError
from harness.firmware.board_image import Target, build_board_image, check_target
from harness.firmware.build import FirmwareImage
from harness.firmware.source import profile_of
from harness.model_file import read_model
from harness.program import load_program


@dataclass(frozen=True, slots=True)
class BuildChoice:
    """What the user chose.

    profile: MLPerf Tiny profile, None to take it from the file's name. target: what runs the model.
    layer_times: the NPU's firmware can time layers.
    """

    model: Path
    output: Literal["int8", "int32"] = "int8"
    toolchain: str | None = None
    profile: str | None = None
    target: Target = "cpu"
    layer_times: bool = False


def prepare_image(
    board: BoardSpec, boards: Mapping[str, BoardSpec], choice: BuildChoice
) -> FirmwareImage:
    """Compile the model and build the image that `board` runs.

    Raises ConfigError, CompilerError, ToolchainError.
    """
    owner = image_board(board, boards)
    if owner.memory is None:
        raise ConfigError(
            f"the board '{board.name}' runs no image: there is nothing to build or flash"
        )
    check_target(board, boards, choice.target)
    if choice.layer_times and choice.target == "cpu":
        raise ConfigError(
            "--layer-times is for --target npu: firmware for the CPU can time layers without it; "
            "leave it out"
        )
    file = read_model(choice.model)
    program = load_program(file, CompileOptions(name=file.name, output=choice.output))
    profile = profile_of(choice.model.stem) if choice.profile is None else choice.profile
    return build_board_image(
        owner,
        program,
        target=choice.target,
        layer_times=choice.layer_times,
        toolchain=choice.toolchain,
        profile=profile,
    )
