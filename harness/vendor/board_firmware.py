"""The NPU backend for a board without an operating system: Nordic's driver and generated code.

The files go into the build folder under the names below, so that a build does not depend on where
the SDK lies.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from compiler import AxonProgram
from harness.board import Memory
from harness.errors import ConfigError
from harness.firmware.build import ForeignCode, check_ram
from harness.firmware.source import FirmwareModel
from harness.firmware.west import ZephyrAddition
from harness.vendor.codegen import Generated
from harness.vendor.driver import (
    DRIVER_SOURCES,
    MODEL_SOURCE,
    header_folders,
    layer_command_bytes,
    model_headers,
    model_source,
    npu_model,
    sdk_part,
)

LIBRARY: Final = Path("lib", "axon", "bin", "arm", "libnrf-axon-driver-internal-fpu.a")
"""Of Nordic's two, the one that passes floats in registers, as both of our compilers do here."""

_FOLDER: Final = "foreign"
_HEADERS: Final = f"{_FOLDER}/include"


def npu_board_model(
    program: AxonProgram, code: Generated, memory: Memory, *, profile: str = ""
) -> FirmwareModel:
    """What the firmware of a board with the NPU needs to know of a program.

    Other models cannot be uploaded: their code is linked in. Raises ConfigError when the board has
    too little RAM or flash.
    """
    model = npu_model(program, profile=profile)
    check_ram(model, memory, sum(buffer_bytes(code)))
    layers = layer_command_bytes(program, code)
    needed = code.constant_bytes + code.command_buffer_bytes + len(model.image) + layers
    room = memory.flash_bytes - memory.slot_bytes
    if needed > room:
        once_more = f", {layers} of commands of single layers" if layers else ""
        advice = "leave out --layer-times or use" if layers else "use"
        raise ConfigError(
            f"the model needs {needed} bytes of flash ({code.constant_bytes} of constants, "
            f"{code.command_buffer_bytes} of NPU commands, {len(model.image)} of description"
            f"{once_more}), the board has {room} for the firmware: {advice} a smaller model"
        )
    return model


def buffer_bytes(code: Generated) -> tuple[int, int]:
    """Sizes of the interlayer and the psum buffer to link, whole words.

    The generated header asks for more than it uses; a model that uses none gets none.
    """
    return _more_than(code.interlayer_bytes), _more_than(code.psum_bytes)


def _more_than(used: int) -> int:
    return used // 4 * 4 + 4 if used else 0


def foreign_code(program: AxonProgram, code: Generated, model: FirmwareModel) -> ForeignCode:
    """Driver, library and generated model. Raises ToolchainError when the SDK lacks a part."""
    files = {f"{_FOLDER}/{part.name}": part for part in (*DRIVER_SOURCES, LIBRARY)}
    interlayer, psum = buffer_bytes(code)
    generated = model_headers(program, code)
    return ForeignCode(
        files={
            **{name: sdk_part(code.sdk, part).read_bytes() for name, part in files.items()},
            **_headers(code),
            **{f"{_FOLDER}/{name}": data for name, data in generated.items()},
            f"{_FOLDER}/{MODEL_SOURCE}": model_source(program, code, model).encode(),
        },
        sources=(*(f"{_FOLDER}/{part.name}" for part in DRIVER_SOURCES),
                 f"{_FOLDER}/{MODEL_SOURCE}"),
        libraries=(f"{_FOLDER}/{LIBRARY.name}",),
        includes=(_FOLDER, _HEADERS, f"{_HEADERS}/drivers/axon"),
        flags=(
            "-fshort-enums",
            f"-DNRF_AXON_INTERLAYER_BUFFER_SIZE={interlayer}",
            f"-DNRF_AXON_PSUM_BUFFER_SIZE={psum}",
        ),
        facts={"npu": _facts(program, code)},
    )  # fmt: skip


def _facts(program: AxonProgram, code: Generated) -> dict[str, Any]:
    return {**code.facts(), "layer_command_bytes": layer_command_bytes(program, code)}


def _headers(code: Generated) -> dict[str, bytes]:
    """The public headers, at the paths by which they include each other."""
    found = {}
    for folder in header_folders(code.sdk)[:2]:
        for group in ("", "axon", "drivers/axon"):
            for path in sorted((folder / group).glob("*.h")):
                name = f"{group}/{path.name}".lstrip("/")
                found[f"{_HEADERS}/{name}"] = path.read_bytes()
    return found


def zephyr_addition(program: AxonProgram, code: Generated, model: FirmwareModel) -> ZephyrAddition:
    """The SDK as a Zephyr module, generated code, and the sizes of the buffers."""
    interlayer, psum = buffer_bytes(code)
    return ZephyrAddition(
        module=code.sdk.path,
        version=code.sdk.version,
        fragment="npu",
        files={
            **model_headers(program, code),
            MODEL_SOURCE: model_source(program, code, model).encode(),
        },
        settings={
            "CONFIG_NRF_AXON_INTERLAYER_BUFFER_SIZE": interlayer,
            "CONFIG_NRF_AXON_PSUM_BUFFER_SIZE": psum,
        },
        facts={"npu": _facts(program, code)},
    )
