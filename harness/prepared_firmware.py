"""From a model file and a board to a firmware image: what `build`, `flash` and `doctor` share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from compiler import AxonProgram, CompileOptions
from harness.board import BoardKind, BoardSpec, Memory, image_board
from harness.errors import ConfigError
from harness.firmware_build import FirmwareImage, build_firmware, firmware_model
from harness.firmware_source import profile_of
from harness.model_file import read_model
from harness.program import load_program
from harness.west_build import build_zephyr

Target = Literal["cpu", "npu"]


@dataclass(frozen=True, slots=True)
class BuildChoice:
    """What the user chose.

    profile: MLPerf Tiny profile, None to take it from the file's name. target: what runs the model.
    """

    model: Path
    output: Literal["int8", "int32"] = "int8"
    toolchain: str | None = None
    profile: str | None = None
    target: Target = "cpu"


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
    file = read_model(choice.model)
    program = load_program(file, CompileOptions(name=file.name, output=choice.output))
    profile = profile_of(choice.model.stem) if choice.profile is None else choice.profile
    if choice.target == "npu":
        return _build_for_npu(owner, owner.memory, program, choice.toolchain, profile)
    model = firmware_model(program, profile=profile, memory=owner.memory)
    if choice.toolchain == "west":
        return build_zephyr(owner, model)
    return build_firmware(owner, model, toolchain=choice.toolchain)


def check_target(board: BoardSpec, boards: Mapping[str, BoardSpec], target: Target) -> None:
    """Raise ConfigError when `board` cannot run models on `target`."""
    if target == "npu" and not board.has_npu:
        able = [
            other.name
            for other in boards.values()
            if other.has_npu and other.kind is BoardKind.HARDWARE
        ]
        raise ConfigError(
            f"the board '{board.name}' ({board.title}) has no NPU: build for the CPU (leave out "
            f"--target npu), or for a board with the NPU ({', '.join(sorted(able))})"
        )


def _build_for_npu(
    owner: BoardSpec, memory: Memory, program: AxonProgram, toolchain: str | None, profile: str
) -> FirmwareImage:
    from harness.vendor.board_firmware import foreign_code, npu_board_model, zephyr_addition
    from harness.vendor.driver import generate_for

    code = generate_for(program)
    model = npu_board_model(program, code, memory, profile=profile)
    if toolchain == "west":
        return build_zephyr(owner, model, addition=zephyr_addition(program, code, model))
    return build_firmware(
        owner, model, toolchain=toolchain, foreign=foreign_code(program, code, model)
    )
