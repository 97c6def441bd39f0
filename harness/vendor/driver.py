"""What every firmware with the NPU backend takes from Nordic's SDK and from generated code."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

from compiler import AxonProgram, CompileOptions, build_description
from harness.compiled import Source, gather
from harness.errors import ToolchainError
from harness.firmware.build import model_of
from harness.firmware.source import FirmwareModel
from harness.vendor.codegen import Generated, generate, prefix_of
from harness.vendor.sdk import Sdk, find_sdk

DRIVER_SOURCES: Final = (
    Path("drivers", "axon", "nrf_axon_nn_infer.c"),
    Path("drivers", "axon", "nrf_axon_nn_op_extensions.c"),
)
MODEL_SOURCE: Final = "axr_npu_model.c"
"""Name of the file that `model_source` is the text of."""

_CORE_HZ: Final = 128_000_000
_SHORTEST_LIMIT_CYCLES: Final = _CORE_HZ // 10
_PATIENCE: Final = 10
"""How many times the simulated cycles an inference may take before the NPU counts as stuck."""


def generate_for(program: AxonProgram) -> Generated:
    """Nordic's code for a program that is at hand, with the SDK of this machine.

    Raises as `find_sdk` and `generate` do.
    """
    options = CompileOptions(name=program.name)
    return generate(gather(program.name, program, options, Source(program.name, b"")), find_sdk())


def npu_model(program: AxonProgram, *, profile: str = "") -> FirmwareModel:
    """What firmware with the NPU backend needs to know of a program.

    The image only describes it: weights and commands are in the generated code.
    """
    return replace(model_of(program, build_description(program), profile=profile), backend="npu")


def header_folders(sdk: Sdk) -> tuple[Path, ...]:
    """Where the driver's headers and those of generated code are."""
    return (*sdk.include_folders, sdk.path / "include" / "drivers" / "axon")


def sdk_part(sdk: Sdk, part: Path) -> Path:
    """A file of the checkout. Raises ToolchainError when it is missing."""
    path = sdk.path / part
    if not path.is_file():
        raise ToolchainError(
            f"{sdk.path} is not a whole checkout of sdk-edge-ai: {part.as_posix()} is missing; "
            "fetch it again"
        )
    return path


def model_header(program: AxonProgram) -> str:
    """Name of the generated header that `model_source` includes."""
    return f"{prefix_of(program)}_.h"


def model_source(program: AxonProgram, code: Generated, model: FirmwareModel) -> str:
    """The C file that turns the generated header into a model that the backend can open."""
    digits = ", ".join(f"0x{byte:02X}" for byte in model.model_hash)
    limit = min(max(_PATIENCE * code.ticks, _SHORTEST_LIMIT_CYCLES), 2**32 - 1)
    return (
        "/* Written by the build; do not edit. */\n"
        "#include <assert.h>\n#include <stddef.h>\n\n"
        '#include "axon/nrf_axon_platform.h"\n'
        '#include "drivers/axon/nrf_axon_nn_infer.h"\n'
        f'#include "{model_header(program)}"\n\n'
        f"const nrf_axon_nn_compiled_model_s *const axr_npu_model = "
        f"&model_{program.name.lower()};\n"
        f"const unsigned char axr_npu_source_sha256[{len(model.model_hash)}] = {{{digits}}};\n"
        f"const uint32_t axr_npu_limit_cycles = {limit}U;\n"
    )
