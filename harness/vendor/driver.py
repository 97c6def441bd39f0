"""What every firmware with the NPU backend takes from Nordic's SDK and from generated code."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Final

from compiler import AxonProgram, CompileOptions, Op, build_description
from harness.compiled import Source, gather
from harness.errors import ConfigError, ToolchainError
from harness.firmware.build import model_of
from harness.firmware.source import FirmwareModel
from harness.vendor.codegen import CHIP_WORD_BYTES, Generated, generate, prefix_of
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


_LAYER_COMMANDS: Final = re.compile(rb"\bcmd_buffer_\w+\[(\d{1,9})\]\s*=")


def generate_for(program: AxonProgram, *, layer_models: bool = False) -> Generated:
    """Nordic's code for a program that is at hand, with the SDK of this machine.

    layer_models: firmware with this code times layers, each as a model of its own. Raises
    ConfigError when that would disturb what the program remembers, and as `find_sdk` and
    `generate` do.
    """
    if layer_models and any(layer.op is Op.PERSISTENT_VARIABLE for layer in program.layers):
        raise ConfigError(
            f"the model {program.name} has persistent variables, and its layers cannot be timed on "
            "the NPU: run one by one they would change the variables; leave out --layer-times"
        )
    options = CompileOptions(name=program.name)
    compiled = gather(program.name, program, options, Source(program.name, b""))
    return generate(compiled, find_sdk(), layer_models=layer_models)


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


def layers_header(program: AxonProgram) -> str:
    """Name of the generated header of layer models; code that has it times layers."""
    return f"{prefix_of(program)}_layers_.h"


def model_headers(program: AxonProgram, code: Generated) -> dict[str, bytes]:
    """Name and content of the generated headers that `model_source` includes."""
    names = (model_header(program), layers_header(program))
    return {name: code.headers[name] for name in names if name in code.headers}


def layer_command_bytes(program: AxonProgram, code: Generated) -> int:
    """Flash that the commands of all layer models take on the chip; 0 without layer models."""
    text = code.headers.get(layers_header(program), b"")
    return CHIP_WORD_BYTES * sum(int(count) for count in _LAYER_COMMANDS.findall(text))


def model_source(program: AxonProgram, code: Generated, model: FirmwareModel) -> str:
    """The C file that turns the generated header into a model that the backend can open."""
    digits = ", ".join(f"0x{byte:02X}" for byte in model.model_hash)
    limit = min(max(_PATIENCE * code.ticks, _SHORTEST_LIMIT_CYCLES), 2**32 - 1)
    return (
        "/* Written by the build; do not edit. */\n"
        "#include <assert.h>\n#include <stddef.h>\n\n"
        '#include "axon/nrf_axon_platform.h"\n'
        '#include "drivers/axon/nrf_axon_nn_infer.h"\n'
        f'#include "{model_header(program)}"\n'
        f"{_layers_source(program, code)}\n"
        f"const nrf_axon_nn_compiled_model_s *const axr_npu_model = "
        f"&model_{program.name.lower()};\n"
        f"const unsigned char axr_npu_source_sha256[{len(model.model_hash)}] = {{{digits}}};\n"
        f"const uint32_t axr_npu_limit_cycles = {limit}U;\n"
    )


def _layers_source(program: AxonProgram, code: Generated) -> str:
    """The layer models as the backend finds them; without them an empty list."""
    header, models = layers_header(program), f"model_{program.name.lower()}_layer_list"
    listed, count, include = "NULL", "0U", ""
    if header in code.headers:
        listed, count = models, f"sizeof {models} / sizeof {models}[0]"
        include = (
            "#define AXON_LAYER_TEST_START_LAYER 0\n"
            f"#define AXON_LAYER_TEST_STOP_LAYER {len(program.layers) - 1}\n"
            f'#include "{header}"\n'
        )
    return (
        f'#include "drivers/axon/nrf_axon_nn_infer_test.h"\n{include}\n'
        f"const nrf_axon_nn_compiled_model_layer_s *const *const axr_npu_layers = {listed};\n"
        f"const uint32_t axr_npu_layer_count = {count};\n"
    )
