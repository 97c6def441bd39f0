"""Firmware for a board without an operating system: model and C sources become one image.

Builds are reproducible: the same inputs give the same bytes wherever the sources lie. They are kept
by the hash of everything that goes in, which is also the build id that the firmware reports.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

from compiler import AxonProgram, build_image
from harness.artefacts import json_bytes, sha256, write_bytes
from harness.board import BoardSpec, FirmwareTarget, Memory, Pin
from harness.cache import cache_dir
from harness.errors import ConfigError, ToolchainError
from harness.firmware_image import LoadedElf, MemoryUse, intel_hex, load_elf, memory_use
from harness.firmware_source import MODEL_FILE, FirmwareModel, render
from harness.tool_process import find_tool, run_logged

FIRMWARE: Final = Path(__file__).parents[1] / "firmware"
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


class Toolchain(Protocol):
    """A C compiler for Cortex-M."""

    @property
    def name(self) -> str:
        """As in board files and on the command line."""

    def version(self) -> str:
        """What it calls its version. Raises ToolchainError when it is not installed."""

    def compiler(self) -> list[str]:
        """The command that compiles and links. Raises ToolchainError."""

    def flags(self, target: FirmwareTarget) -> list[str]:
        """Flags for the target, the same for compiling and linking."""

    def environment(self, scratch: Path) -> Mapping[str, str]:
        """Variables that keep the tool's own files in `scratch`."""


@dataclass(frozen=True, slots=True)
class Zig:
    """Clang and lld from the `ziglang` package."""

    name: str = "zig"

    def version(self) -> str:
        """See `Toolchain`."""
        from importlib.metadata import PackageNotFoundError, version

        try:
            return f"ziglang {version('ziglang')}"
        except PackageNotFoundError:
            raise ToolchainError(
                "the package 'ziglang' is missing: pip install ziglang, or use --toolchain gcc"
            ) from None

    def compiler(self) -> list[str]:
        """See `Toolchain`."""
        return [sys.executable, "-m", "ziglang", "cc"]

    def flags(self, target: FirmwareTarget) -> list[str]:
        """See `Toolchain`. Its Cortex-M33 has neither DSP nor FPU unless they are named."""
        return [
            "-target",
            f"{target.target}hf",
            f"-mcpu={target.cpu}+dsp+fp_armv8d16sp",
            "-fno-sanitize=all",
        ]

    def environment(self, scratch: Path) -> Mapping[str, str]:
        """See `Toolchain`. The global cache keeps the run-time library from build to build."""
        kept = cache_dir("zig") or scratch
        return {"ZIG_LOCAL_CACHE_DIR": str(scratch), "ZIG_GLOBAL_CACHE_DIR": str(kept)}


@dataclass(frozen=True, slots=True)
class Gcc:
    """Arm's GCC, arm-none-eabi-gcc."""

    name: str = "gcc"

    def version(self) -> str:
        """See `Toolchain`."""
        run = run_logged([*self.compiler(), "-dumpfullversion"], timeout_s=20.0)
        return f"arm-none-eabi-gcc {run.stdout.strip()}"

    def compiler(self) -> list[str]:
        """See `Toolchain`."""
        return [find_tool("arm-none-eabi-gcc", "install Arm's GCC, or use --toolchain zig")]

    def flags(self, target: FirmwareTarget) -> list[str]:
        """See `Toolchain`."""
        cpu = (target.cpu or "").replace("_", "-")
        return [
            *("-mthumb", f"-mcpu={cpu}", "-mfloat-abi=hard", "-mfpu=fpv5-sp-d16"),
            *("-nostartfiles", "-nodefaultlibs", "-lgcc"),
        ]

    def environment(self, scratch: Path) -> Mapping[str, str]:
        """See `Toolchain`."""
        return {"TMPDIR": str(scratch)}


COMPILERS: Final[Mapping[str, Toolchain]] = {"zig": Zig(), "gcc": Gcc()}


def choose_toolchain(name: str | None, target: FirmwareTarget) -> Toolchain:
    """The compiler of this name, else the board's, else the one that is installed.

    Raises ConfigError for a name that builds no such firmware, ToolchainError without any compiler.
    """
    wanted = name or target.toolchain
    if wanted not in COMPILERS:
        raise ConfigError(
            f"the toolchain '{wanted}' does not build this firmware; use one of "
            f"{', '.join(COMPILERS)}"
        )
    if name is None and wanted == "zig" and importlib.util.find_spec("ziglang") is None:
        if shutil.which("arm-none-eabi-gcc") is None:
            raise ToolchainError(
                "there is no compiler for Cortex-M: pip install ziglang, or install "
                "arm-none-eabi-gcc"
            )
        return COMPILERS["gcc"]
    return COMPILERS[wanted]


def firmware_model(
    program: AxonProgram, *, profile: str = "", memory: Memory | None = None
) -> FirmwareModel:
    """What the firmware needs to know of a program.

    memory: the board's; RAM that the model leaves becomes the slot for uploaded models. Raises
    UnsupportedError as the image writer does, ConfigError when the model needs more RAM than there
    is.
    """
    image = build_image(program)
    outputs = [program.layers[index].output_dims for index in program.output_layers]
    model = FirmwareModel(
        image=image.data,
        arena_bytes=image.arena_bytes,
        input_bytes=_bytes(program.input_dims.shape, program.input_dims.byte_width),
        output_bytes=sum(_bytes(dims.shape, dims.byte_width) for dims in outputs),
        layers=len(program.layers),
        profile=profile,
    )
    return model if memory is None else replace(model, ram_slot_bytes=_slot(model, memory))


def _bytes(shape: tuple[int, ...], width: int) -> int:
    total = width
    for extent in shape:
        total *= extent
    return total


def _slot(model: FirmwareModel, memory: Memory) -> int:
    fixed = memory.stack_bytes + 2 * memory.receive_bytes + _VARIABLES_RESERVE
    needed = fixed + model.arena_bytes + model.staging_bytes + model.results_bytes
    if needed > memory.ram_bytes:
        raise ConfigError(
            f"the model needs {needed} bytes of RAM ({model.arena_bytes} of it for its arena), "
            f"the board has {memory.ram_bytes}: use a smaller model or a board with more RAM"
        )
    return (memory.ram_bytes - needed) // _SLOT_STEP * _SLOT_STEP


def build_firmware(
    board: BoardSpec,
    model: FirmwareModel,
    *,
    toolchain: str | None = None,
    folder: Path | None = None,
    firmware: Path = FIRMWARE,
) -> FirmwareImage:
    """Build the image of `board` for `model`, or take it from the cache.

    folder: where builds are kept, the user's cache by default. firmware: the C sources. Raises
    ConfigError for a board without such firmware or a model that does not fit, ToolchainError with
    command, status, last lines and log when a tool fails.
    """
    if board.firmware is None or board.memory is None or board.firmware.chip is None:
        raise ConfigError(f"the board '{board.name}' takes no firmware image")
    compiler = choose_toolchain(toolchain, board.firmware)
    inputs = _inputs(board, model, compiler, firmware)
    kept = (folder or cache_dir("firmware") or Path(tempfile.gettempdir())) / (
        f"{board.name}-{inputs.build_id.hex()}"
    )
    manifest = kept / "manifest.json"
    if not manifest.is_file():
        _build(inputs, compiler, board.firmware, kept)
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
    sources: Mapping[str, bytes]
    generated: Mapping[str, bytes]
    flags: tuple[str, ...]
    toolchain: str
    build_id: bytes

    @property
    def model_hash(self) -> bytes:
        """As the model image states it."""
        return self.model.image[56:72] if self.model.image else bytes(16)


def _inputs(board: BoardSpec, model: FirmwareModel, compiler: Toolchain, firmware: Path) -> _Inputs:
    target, memory = board.firmware, board.memory
    assert target is not None  # the caller checked
    assert memory is not None
    sources = _sources(firmware, target.port, model.backend)
    generated = {
        "axr_board.h": _board_header(board.name, target, memory).encode(),
        "memory.ld": _memory_script(memory).encode(),
        MODEL_FILE: model.image,
    }
    flags = (*compiler.flags(target), *_COMMON)
    version = compiler.version()
    digest = hashlib.sha256(repr((board.name, version, flags, _LINK)).encode())
    digest.update(render(model, bytes(16)).encode())
    for name, data in sorted({**sources, **generated}.items()):
        digest.update(f"{name} {len(data)}\n".encode() + data)
    build_id = digest.digest()[:16]
    generated["axr_build.c"] = render(model, build_id).encode()
    return _Inputs(board.name, model, sources, generated, flags, version, build_id)


def _sources(firmware: Path, port: str, backend: str) -> dict[str, bytes]:
    """C files, headers and linker script below firmware/ by their path."""
    folders = ("include", "core", f"backends/{backend}", f"ports/{port}")
    paths = [firmware / "ports" / "port.h"]
    for folder in folders:
        if not (firmware / folder).is_dir():
            raise ConfigError(f"there is no folder {firmware / folder}: the board names no port")
        paths += (firmware / folder).rglob("*.[chl]*")
    wanted = [path for path in paths if path.suffix in (".c", ".h", ".ld") and path.is_file()]
    return {path.relative_to(firmware).as_posix(): path.read_bytes() for path in sorted(wanted)}


def _build(inputs: _Inputs, compiler: Toolchain, target: FirmwareTarget, kept: Path) -> None:
    with _work_folder() as work:
        for name, data in {**inputs.sources, **inputs.generated}.items():
            path = work / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        _compile(inputs, compiler, target.port, work, kept)
        elf = load_elf(work / "out.elf")
        files = {f"{IMAGE_NAME}.elf": (work / "out.elf").read_bytes()}
        files[f"{IMAGE_NAME}.hex"] = intel_hex(elf)
        for name, data in files.items():
            write_bytes(kept / name, data)
        write_bytes(kept / "manifest.json", json_bytes(_manifest(inputs, elf, files)))


@contextlib.contextmanager
def _work_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="axonrig-build-") as name:
        yield Path(name)


def _compile(inputs: _Inputs, compiler: Toolchain, port: str, work: Path, kept: Path) -> None:
    """memory.c goes first: its loops must not be recognised as the functions that they define."""
    command = compiler.compiler()
    includes = [f"-I{name}" for name in (".", "include", "core", "ports", f"ports/{port}")]
    includes += ["-isystem", f"ports/{port}/libc"]
    flags = [flag for flag in inputs.flags if not flag.startswith(("-l", "-no"))]
    memory = f"ports/{port}/memory.c"
    others = sorted(name for name in inputs.sources if name.endswith(".c") and name != memory)
    script = ["-L.", "-T", f"ports/{port}/{port}.ld"]
    steps = [
        [*flags, "-fno-builtin", *includes, "-c", memory, "-o", "memory.o"],
        [*inputs.flags, *includes, *others, "axr_build.c", "memory.o", *_LINK, *script, "-o",
         "out.elf"],
    ]  # fmt: skip
    for number, step in enumerate(steps):
        run = run_logged(
            [*command, *step, *(item for item in inputs.flags if item == "-lgcc" and number)],
            timeout_s=_TIMEOUT_S,
            cwd=work,
            log=kept / f"build-{number}.log",
            environment={**compiler.environment(work / "scratch"), "SOURCE_DATE_EPOCH": "0"},
        )
        if run.status and _OVERFLOW.search(run.stdout + run.stderr):
            raise ConfigError(run.failure(f"the model does not fit into the {inputs.board}"))
        if run.status:
            raise ToolchainError(run.failure("the firmware did not build"))


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
        "sources": {name: sha256(data) for name, data in sorted(inputs.sources.items())},
        "generated": {name: sha256(data) for name, data in sorted(inputs.generated.items())},
        "files": {
            name: {"bytes": len(data), "sha256": sha256(data)} for name, data in files.items()
        },
    }


def _board_header(name: str, target: FirmwareTarget, memory: Memory) -> str:
    """The facts of a board file as the port wants them."""
    pins = target.pins or {}
    lines = [
        f'#define AXR_BOARD_NAME "{name}"',
        f"#define {target.chip} 1",
        f"#define AXR_BOARD_RECEIVE_BYTES {memory.receive_bytes}U",
        f"#define AXR_BOARD_SLOT_START {memory.slot_start:#010x}U",
        f"#define AXR_BOARD_SLOT_BYTES {memory.slot_bytes}U",
        f"#define AXR_BOARD_HFXO_LOAD_FF {target.crystal_load_ff}U",
        f"#define AXR_BOARD_DCDC {int(target.dcdc)}U",
    ]
    for role, pin in pins.items():
        lines += _pin_lines(role.upper(), pin)
    text = "\n".join(lines)
    return (
        "/* Written by the build from the board file. */\n"
        f"#ifndef AXR_BOARD_H\n#define AXR_BOARD_H\n\n{text}\n\n#endif\n"
    )


def _pin_lines(role: str, pin: Pin) -> list[str]:
    port = f"AXR_REG_P{pin.port}"
    return [
        f"#define AXR_BOARD_{role}_PIN {pin.number}U",
        f"#define AXR_BOARD_{role}_PSEL {pin.selector}U",
        f"#define AXR_BOARD_{role}_CNF ({port}_PIN_CNF + {4 * pin.number}U)",
        f"#define AXR_BOARD_{role}_OUTSET {port}_OUTSET",
        f"#define AXR_BOARD_{role}_OUTCLR {port}_OUTCLR",
    ]


def _memory_script(memory: Memory) -> str:
    flash = (
        f"ORIGIN = {memory.flash_start:#010x}, LENGTH = {memory.flash_bytes - memory.slot_bytes:#x}"
    )
    ram = f"ORIGIN = {memory.ram_start:#010x}, LENGTH = {memory.ram_bytes:#x}"
    return (
        "/* Written by the build from the board file. */\n"
        f"MEMORY\n{{\n    RRAM (rx) : {flash}\n    RAM (rwx) : {ram}\n}}\n"
        f"AXR_STACK_BYTES = {memory.stack_bytes};\n"
        f"AXR_RING_BYTES = {2 * memory.receive_bytes};\n"
    )
