"""Firmware for a board without an operating system: model and C sources become one image.

Builds are reproducible: the same inputs give the same bytes wherever the sources lie. They are kept
by the hash of everything that goes in, which is also the build id that the firmware reports.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from compiler import AxonProgram, ModelImage, build_image
from harness.artefacts import json_bytes, sha256, write_bytes
from harness.board import BoardSpec, Memory
from harness.cache import cache_dir
from harness.errors import ConfigError, ToolchainError
from harness.firmware import FIRMWARE
from harness.firmware.board_header import board_header, memory_script
from harness.firmware.cross_compiler import Toolchain, choose_toolchain
from harness.firmware.image import LoadedElf, MemoryUse, intel_hex, load_elf, memory_use
from harness.firmware.source import MODEL_FILE, FirmwareModel, render
from harness.tool_process import run_logged

SCHEMA: Final = 1
IMAGE_NAME: Final = "firmware"
"""Stem of the files of a build."""

_COMMON: Final = (
    *("-std=c11", "-Wall", "-Wextra", "-Werror", "-Wconversion"),
    *(
        "-O2",
        "-g0",
        "-ffp-contract=off",
        "-fomit-frame-pointer",
        "-ffunction-sections",
        "-fdata-sections",
    ),
    *("-fno-unwind-tables", "-fno-asynchronous-unwind-tables", "-fno-stack-protector"),
)
_LINK: Final = ("-Wl,--gc-sections", "-Wl,--build-id=none", "-Wl,-e,axr_reset_handler")
_TIMEOUT_S: Final = 300.0
_VARIABLES_RESERVE: Final = 16 * 1024
"""RAM kept for the firmware's own variables when the model slot gets the rest."""
_SLOT_STEP: Final = 1024
_OVERFLOW: Final = re.compile(r"will not fit in region|overflowed by|range overlaps with")


@dataclass(frozen=True, slots=True)
class FirmwareImage:
    """A finished build.

    model_hash: first 16 bytes of the SHA-256 of the Axon binary. west_build: Zephyr's build folder,
    None for images without an operating system.
    """

    board: str
    elf: Path
    hex: Path
    manifest: Path
    build_id: bytes
    model_hash: bytes
    memory: MemoryUse
    toolchain: str
    west_build: Path | None = None


@dataclass(frozen=True, slots=True)
class ForeignCode:
    """Code of others that goes into an image; it is compiled without our warnings.

    files: path below the build folder -> content. sources, libraries: which of them are compiled
    and linked. includes: folders of headers. flags: for every file of the build, ours too. facts:
    for the manifest.
    """

    files: Mapping[str, bytes]
    sources: tuple[str, ...]
    libraries: tuple[str, ...]
    includes: tuple[str, ...]
    flags: tuple[str, ...]
    facts: Mapping[str, Any]


NO_FOREIGN_CODE: Final = ForeignCode({}, (), (), (), (), {})


def firmware_model(
    program: AxonProgram, *, profile: str = "", memory: Memory | None = None
) -> FirmwareModel:
    """What the firmware needs to know of a program.

    memory: the board's; RAM that the model leaves becomes the slot for uploaded models. Raises
    UnsupportedError as the image writer does, ConfigError when the model needs more RAM than there
    is.
    """
    model = model_of(program, build_image(program), profile=profile)
    return model if memory is None else replace(model, ram_slot_bytes=_slot(model, memory))


def model_of(program: AxonProgram, image: ModelImage, *, profile: str = "") -> FirmwareModel:
    """What firmware with this image of `program` needs to know."""
    outputs = [program.layers[index].output_dims for index in program.output_layers]
    return FirmwareModel(
        image=image.data,
        arena_bytes=image.arena_bytes,
        input_bytes=_bytes(program.input_dims.shape, program.input_dims.byte_width),
        output_bytes=sum(_bytes(dims.shape, dims.byte_width) for dims in outputs),
        layers=len(program.layers),
        profile=profile,
    )


def _bytes(shape: tuple[int, ...], width: int) -> int:
    total = width
    for extent in shape:
        total *= extent
    return total


def _slot(model: FirmwareModel, memory: Memory) -> int:
    return (memory.ram_bytes - check_ram(model, memory)) // _SLOT_STEP * _SLOT_STEP


def check_ram(model: FirmwareModel, memory: Memory, npu_bytes: int = 0) -> int:
    """RAM that the firmware needs for `model`, in bytes, its own variables estimated.

    npu_bytes: the NPU's buffers. Raises ConfigError when the board has less.
    """
    fixed = memory.stack_bytes + 2 * memory.receive_bytes + _VARIABLES_RESERVE
    needed = fixed + model.arena_bytes + model.staging_bytes + model.results_bytes + npu_bytes
    if needed > memory.ram_bytes:
        buffers = f", {npu_bytes} for the NPU's buffers" if npu_bytes else ""
        raise ConfigError(
            f"the model needs {needed} bytes of RAM ({model.arena_bytes} of it for its arena"
            f"{buffers}), the board has {memory.ram_bytes}: use a smaller model or a board with "
            "more RAM"
        )
    return needed


def build_firmware(
    board: BoardSpec,
    model: FirmwareModel,
    *,
    toolchain: str | None = None,
    folder: Path | None = None,
    firmware: Path = FIRMWARE,
    foreign: ForeignCode = NO_FOREIGN_CODE,
) -> FirmwareImage:
    """Build the image of `board` for `model`, or take it from the cache.

    folder: where builds are kept, the user's cache by default. firmware: the C sources. Raises
    ConfigError for a board without such firmware or a model that does not fit, ToolchainError with
    command, status, last lines and log when a tool fails.
    """
    if board.firmware is None or board.memory is None or board.firmware.chip is None:
        raise ConfigError(f"the board '{board.name}' takes no firmware image")
    compiler = choose_toolchain(toolchain, board.firmware)
    inputs = _inputs(board, model, compiler, firmware, foreign)
    kept = (folder or cache_dir("firmware") or Path(tempfile.gettempdir())) / (
        f"{board.name}-{inputs.build_id.hex()}"
    )
    manifest = kept / "manifest.json"
    if not manifest.is_file():
        _build(inputs, compiler, kept)
    elf = kept / f"{IMAGE_NAME}.elf"
    use = memory_use(load_elf(elf))
    return FirmwareImage(
        board=board.name,
        elf=elf,
        hex=kept / f"{IMAGE_NAME}.hex",
        manifest=manifest,
        build_id=inputs.build_id,
        model_hash=inputs.model_hash,
        memory=use,
        toolchain=inputs.toolchain,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Inputs:
    """Everything that goes into a build. sources: path below firmware/ -> content."""

    board: str
    model: FirmwareModel
    port: str
    sources: Mapping[str, bytes]
    foreign: ForeignCode
    generated: Mapping[str, bytes]
    flags: tuple[str, ...]
    toolchain: str
    build_id: bytes

    @property
    def model_hash(self) -> bytes:
        """As the model image states it."""
        return self.model.model_hash

    @property
    def files(self) -> Mapping[str, bytes]:
        """All of them."""
        return {**self.sources, **self.foreign.files, **self.generated}


def _inputs(
    board: BoardSpec,
    model: FirmwareModel,
    compiler: Toolchain,
    firmware: Path,
    foreign: ForeignCode,
) -> _Inputs:
    target, memory = board.firmware, board.memory
    assert target is not None  # the caller checked
    assert memory is not None
    sources = _sources(firmware, target.port, model.backend)
    generated = {
        "axr_board.h": board_header(board.name, target, memory).encode(),
        "memory.ld": memory_script(memory).encode(),
        MODEL_FILE: model.image,
    }
    flags = (*compiler.flags(target), *_COMMON, *foreign.flags)
    version = compiler.version()
    digest = hashlib.sha256(repr((board.name, version, flags, _LINK)).encode())
    digest.update(render(model, bytes(16)).encode())
    for name, data in sorted({**sources, **foreign.files, **generated}.items()):
        digest.update(f"{name} {len(data)}\n".encode() + data)
    build_id = digest.digest()[:16]
    generated["axr_build.c"] = render(model, build_id).encode()
    return _Inputs(
        board.name, model, target.port, sources, foreign, generated, flags, version, build_id
    )


def _sources(firmware: Path, port: str, backend: str) -> dict[str, bytes]:
    """C files, headers and linker script below firmware/ by their path."""
    paths = [firmware / "ports" / "port.h", *(firmware / "backends" / backend).glob("*.[ch]")]
    for folder in ("include", "core", f"ports/{port}"):
        if not (firmware / folder).is_dir():
            raise ConfigError(f"there is no folder {firmware / folder}: the board names no port")
        paths += (firmware / folder).rglob("*.[chl]*")
    paths += (firmware / "backends" / backend / port).rglob("*.[ch]")
    wanted = [path for path in paths if path.suffix in (".c", ".h", ".ld") and path.is_file()]
    return {path.relative_to(firmware).as_posix(): path.read_bytes() for path in sorted(wanted)}


def _build(inputs: _Inputs, compiler: Toolchain, kept: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="axonrig-build-") as name:
        work = Path(name)
        for part, data in inputs.files.items():
            path = work / part
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        _compile(inputs, compiler, work, kept)
        elf = load_elf(work / "out.elf")
        files = {f"{IMAGE_NAME}.elf": (work / "out.elf").read_bytes()}
        files[f"{IMAGE_NAME}.hex"] = intel_hex(elf)
        for file, data in files.items():
            write_bytes(kept / file, data)
        write_bytes(kept / "manifest.json", json_bytes(_manifest(inputs, elf, files)))


def _compile(inputs: _Inputs, compiler: Toolchain, work: Path, kept: Path) -> None:
    for number, step in enumerate(_steps(inputs)):
        run = run_logged(
            [*compiler.compiler(), *step],
            timeout_s=_TIMEOUT_S,
            cwd=work,
            log=kept / f"build-{number}.log",
            environment={**compiler.environment(work / "scratch"), "SOURCE_DATE_EPOCH": "0"},
        )
        if run.status and _OVERFLOW.search(run.stdout + run.stderr):
            raise ConfigError(run.failure(f"the model does not fit into the {inputs.board}"))
        if run.status:
            raise ToolchainError(run.failure("the firmware did not build"))


def _steps(inputs: _Inputs) -> Iterator[list[str]]:
    """Arguments of each call of the compiler; the last one links.

    memory.c goes first: its loops must not be recognised as the functions that they define.
    """
    port, foreign = inputs.port, inputs.foreign
    backend = f"backends/{inputs.model.backend}"
    own = [f"-I{name}" for name in (".", "include", "core", "ports", f"ports/{port}", backend)]
    system = (f"{backend}/{port}/libc", f"ports/{port}/libc", *foreign.includes)
    includes = [*own, *(part for folder in system for part in ("-isystem", folder))]
    flags = [flag for flag in inputs.flags if not flag.startswith(("-l", "-no"))]
    memory = f"ports/{port}/memory.c"
    yield [*flags, "-fno-builtin", *includes, "-c", memory, "-o", "memory.o"]
    objects = ["memory.o"]
    for source in foreign.sources:
        objects.append(f"{Path(source).stem}.o")
        yield [*flags, "-std=gnu11", "-w", *includes, "-c", source, "-o", objects[-1]]
    others = sorted(name for name in inputs.sources if name.endswith(".c") and name != memory)
    script = ["-L.", "-T", f"ports/{port}/{port}.ld"]
    runtime = [flag for flag in inputs.flags if flag == "-lgcc"]
    yield [
        *(*inputs.flags, *includes, *others, "axr_build.c", *objects),
        *(*foreign.libraries, *_LINK, *script, "-o", "out.elf", *runtime),
    ]


def _manifest(inputs: _Inputs, elf: LoadedElf, files: Mapping[str, bytes]) -> dict[str, Any]:
    use = memory_use(elf)
    return {
        "schema": SCHEMA,
        "kind": "firmware-build",
        "board": inputs.board,
        "build_id": inputs.build_id.hex(),
        "model": {
            "axon_binary_sha256_start": inputs.model_hash.hex(),
            "image_sha256": sha256(inputs.model.image),
            "image_bytes": len(inputs.model.image),
            "backend": inputs.model.backend,
            "profile": inputs.model.profile,
        },
        "toolchain": {
            "version": inputs.toolchain,
            "flags": list(inputs.flags),
            "link_flags": list(_LINK),
        },
        "sizes": {**asdict(use), "flash_bytes": use.flash_bytes, "ram_bytes": use.ram_bytes},
        **inputs.foreign.facts,
        "sources": {name: sha256(data) for name, data in sorted(inputs.sources.items())},
        "foreign": {name: sha256(data) for name, data in sorted(inputs.foreign.files.items())},
        "generated": {name: sha256(data) for name, data in sorted(inputs.generated.items())},
        "files": {
            name: {"bytes": len(data), "sha256": sha256(data)} for name, data in files.items()
        },
    }
