"""The firmware as a process of this machine, with the NPU backend on Nordic's simulator."""

from __future__ import annotations

import hashlib
import platform
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from compiler import AxonProgram
from harness.artefacts import write_bytes
from harness.cache import cache_dir
from harness.errors import ToolchainError
from harness.firmware import FIRMWARE
from harness.firmware.host_build import ZIG_CC, HostFirmware, build_host, run_compiler
from harness.firmware.source import FirmwareModel
from harness.vendor.codegen import Generated
from harness.vendor.driver import (
    DRIVER_SOURCES,
    MODEL_SOURCE,
    header_folders,
    model_headers,
    model_source,
    npu_model,
    sdk_part,
)
from harness.vendor.sdk import Sdk

NPU_BACKEND: Final = FIRMWARE / "backends" / "npu"

_BUFFER_BYTES: Final = 8_000_000
"""Interlayer and psum buffer of the simulator; its own build has the same."""

_PLATFORM: Final = Path("lib", "axon", "platform")
_SOURCES: Final = (
    *DRIVER_SOURCES,
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


def build_vendor_host(
    program: AxonProgram, code: Generated, *, profile: str = "", folder: Path | None = None
) -> tuple[HostFirmware, FirmwareModel]:
    """Build the host firmware around `code`. Raises ToolchainError."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise ToolchainError(
            f"Nordic's simulator is linked on Linux on x86_64 only; this is {platform.system()} "
            f"on {platform.machine()}: use another machine, or --board sim"
        )
    model = npu_model(program, profile=profile)
    kept = folder or cache_dir("firmware") or Path(tempfile.mkdtemp(prefix="axonrig-"))
    includes = _includes(code.sdk)
    objects = [_object(code.sdk, code.sdk.path / part, kept, includes) for part in _SOURCES]
    with tempfile.TemporaryDirectory(prefix="axonrig-") as name:
        work = Path(name)
        _compile_model(program, code, model, work, includes)
        own = (NPU_BACKEND / "npu_backend.c", NPU_BACKEND / "host" / "simulator.c")
        libraries = [sdk_part(code.sdk, part) for part in _LIBRARIES]
        built = build_host(
            model,
            backend_sources=(*own, work / _MODEL_OBJECT, *objects, *libraries),
            flags=(f"-I{NPU_BACKEND}", *includes, *_DEFINES, "-lm", "-lpthread"),
            folder=kept,
        )
    return built, model


def _includes(sdk: Sdk) -> tuple[str, ...]:
    """As system headers: our warnings are for our code."""
    return tuple(part for folder in header_folders(sdk) for part in ("-isystem", str(folder)))


def _object(sdk: Sdk, source: Path, folder: Path, includes: Sequence[str]) -> Path:
    """One of Nordic's sources, compiled once for each version of the SDK."""
    sdk_part(sdk, source.relative_to(sdk.path))
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
    run_compiler([*command, "-c", str(source), "-o", str(target)], cwd=target.parent)


def _compile_model(
    program: AxonProgram,
    code: Generated,
    model: FirmwareModel,
    work: Path,
    includes: Sequence[str],
) -> None:
    """The generated headers as an object that says which Axon binary it comes from."""
    for name, data in model_headers(program, code).items():
        (work / name).write_bytes(data)
    (work / MODEL_SOURCE).write_text(model_source(program, code, model), encoding="ascii")
    _compile(work / MODEL_SOURCE, work / _MODEL_OBJECT, includes)
