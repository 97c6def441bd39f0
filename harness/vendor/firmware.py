"""The firmware as a process of this machine, with the NPU backend on Nordic's simulator."""

from __future__ import annotations

import hashlib
import platform
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from compiler import AxonProgram, CompileOptions, Dims
from harness.artefacts import write_bytes
from harness.cache import cache_dir
from harness.compiled import Source, gather
from harness.errors import ToolchainError
from harness.firmware_build import firmware_model
from harness.firmware_source import FirmwareModel
from harness.toolchain import FIRMWARE, ZIG_CC, HostFirmware, build_host, run_tool
from harness.vendor.codegen import Generated, generate, prefix_of
from harness.vendor.sdk import Sdk, find_sdk

NPU_BACKEND: Final = FIRMWARE / "backends" / "npu"

_BUFFER_BYTES: Final = 8_000_000
"""Interlayer and psum buffer of the simulator; its own build has the same."""

_DRIVER: Final = Path("drivers", "axon")
_PLATFORM: Final = Path("lib", "axon", "platform")
_SOURCES: Final = (
    _DRIVER / "nrf_axon_nn_infer.c",
    _DRIVER / "nrf_axon_nn_op_extensions.c",
    _PLATFORM / "src" / "nrf_axon_logging.c",
    _PLATFORM / "src" / "simulator" / "nrf_axon_platform_simulator.c",
    _PLATFORM / "src" / "simulator" / "nrf_axon_platform_simulator_linux.c",
)
_LIBRARIES: Final = (
    Path("lib", "axon", "bin", "Linux", "libnrf-axon-driver-internal.a"),
    _PLATFORM / "bin" / "simulator" / "Linux" / "libnrf-axon-simulator-internal.a",
)
_DEFINES: Final = (
    f"-DNRF_AXON_INTERLAYER_BUFFER_SIZE={_BUFFER_BYTES}",
    f"-DNRF_AXON_PSUM_BUFFER_SIZE={_BUFFER_BYTES}",
    "-DAXON_SIMULATION=1",
)
_MODEL_OBJECT: Final = "axr_npu_model.o"


def generate_for(program: AxonProgram) -> Generated:
    """Nordic's code for a program that is at hand, with the SDK of this machine.

    Raises as `find_sdk` and `generate` do.
    """
    options = CompileOptions(name=program.name)
    return generate(gather(program.name, program, options, Source(program.name, b"")), find_sdk())


def build_vendor_host(
    program: AxonProgram, code: Generated, *, profile: str = "", folder: Path | None = None
) -> tuple[HostFirmware, FirmwareModel]:
    """Build the host firmware around `code`. Raises ToolchainError."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise ToolchainError(
            f"Nordic's simulator is linked on Linux on x86_64 only; this is {platform.system()} "
            f"on {platform.machine()}: use another machine, or --board sim"
        )
    plain = firmware_model(program, profile=profile)
    model = replace(plain, backend="npu", arena_bytes=_arena_bytes(program))
    kept = folder or cache_dir("firmware") or Path(tempfile.mkdtemp(prefix="axonrig-"))
    includes = _includes(code.sdk)
    objects = [_object(code.sdk, code.sdk.path / part, kept, includes) for part in _SOURCES]
    with tempfile.TemporaryDirectory(prefix="axonrig-") as name:
        work = Path(name)
        _compile_model(program, code, model, work, includes)
        own = (NPU_BACKEND / "npu_backend.c", NPU_BACKEND / "host" / "simulator.c")
        libraries = [_part(code.sdk, part) for part in _LIBRARIES]
        built = build_host(
            model,
            backend_sources=(*own, work / _MODEL_OBJECT, *objects, *libraries),
            flags=(f"-I{NPU_BACKEND}", *includes, *_DEFINES, "-lm", "-lpthread"),
            folder=kept,
        )
    return built, model


def _arena_bytes(program: AxonProgram) -> int:
    """The packed input and the packed outputs, each on a 32-bit boundary."""
    outputs = [program.layers[index].output_dims for index in program.output_layers]
    return sum(_words(dims) for dims in (program.input_dims, *outputs))


def _words(dims: Dims) -> int:
    return -(-dims.elements * dims.byte_width // 4) * 4


def _includes(sdk: Sdk) -> tuple[str, ...]:
    """As system headers: our warnings are for our code."""
    folders = (*sdk.include_folders, sdk.path / "include" / "drivers" / "axon")
    return tuple(part for folder in folders for part in ("-isystem", str(folder)))


def _part(sdk: Sdk, part: Path) -> Path:
    path = sdk.path / part
    if not path.is_file():
        raise ToolchainError(
            f"{sdk.path} is not a whole checkout of sdk-edge-ai: {part.as_posix()} is missing; "
            "fetch it again"
        )
    return path


def _object(sdk: Sdk, source: Path, folder: Path, includes: Sequence[str]) -> Path:
    """One of Nordic's sources, compiled once for each version of the SDK."""
    _part(sdk, source.relative_to(sdk.path))
    key = hashlib.sha256(repr((sdk.facts(), _DEFINES)).encode() + source.read_bytes()).hexdigest()
    target = folder / f"vendor-{source.stem}-{key[:16]}.o"
    if not target.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="axonrig-") as name:
            _compile(source, Path(name) / "out.o", includes)
            write_bytes(target, (Path(name) / "out.o").read_bytes())
    return target


def _compile(source: Path, target: Path, includes: Sequence[str]) -> None:
    """Nordic's own code is compiled without our warnings."""
    command = [*ZIG_CC, "-std=gnu11", "-w", "-O2", "-fno-sanitize=undefined", *includes, *_DEFINES]
    run_tool([*command, "-c", str(source), "-o", str(target)], cwd=target.parent)


def _compile_model(
    program: AxonProgram,
    code: Generated,
    model: FirmwareModel,
    work: Path,
    includes: Sequence[str],
) -> None:
    """The generated header as an object that says which Axon binary it comes from."""
    header = f"{prefix_of(program)}_.h"
    (work / header).write_bytes(code.headers[header])
    digits = ", ".join(f"0x{byte:02X}" for byte in model.model_hash)
    (work / "axr_npu_model.c").write_text(
        "/* Written by the build; do not edit. */\n"
        "#include <assert.h>\n#include <stddef.h>\n\n"
        '#include "axon/nrf_axon_platform.h"\n'
        '#include "drivers/axon/nrf_axon_nn_infer.h"\n'
        f'#include "{header}"\n\n'
        f"const nrf_axon_nn_compiled_model_s *const axr_npu_model = "
        f"&model_{program.name.lower()};\n"
        f"const unsigned char axr_npu_source_sha256[{len(model.model_hash)}] = {{{digits}}};\n",
        encoding="ascii",
    )
    _compile(work / "axr_npu_model.c", work / _MODEL_OBJECT, includes)
