"""Compiles src/ for the machine at hand and loads it.

The compiler is Clang from the `ziglang` package. A build takes a few seconds, once: it is kept in
the cache under a hash of the sources, the command, the compiler's version and the processor, so
another machine that shares the cache gets its own.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from harness.artefacts import write_bytes
from harness.cache import cache_dir
from harness.errors import ToolchainError
from harness.native import abi

SOURCES: Final = Path(__file__).parent / "src"
COMPILER: Final = (sys.executable, "-m", "ziglang", "cc")
WARNINGS: Final = ("-std=c11", "-Wall", "-Wextra", "-Werror", "-Wconversion")
FLAGS: Final = ("-O3", "-ffp-contract=off", "-fPIC", "-shared", "-mcpu=native")
_TIMEOUT_S: Final = 300
_TAIL_LINES: Final = 8

Notice = Callable[[str], None]


@dataclass(frozen=True, slots=True, eq=False)
class Traits:
    """How a build wants its data.

    name: the instruction set, e.g. "avx512vnni". group: taps that one multiplication takes, 4 of 8
    or 2 of 16 bits. flip: what activations get added before. fast_float: int8 requantization can
    run in float32.
    """

    name: str
    group: int
    flip: int
    fast_float: bool

    @property
    def element_bytes(self) -> int:
        """Bytes of an activation in a group."""
        return 4 // self.group


@dataclass(frozen=True, slots=True, eq=False)
class Library:
    """A loaded build. run(plan, job, arena): pointers; releases the interpreter lock."""

    path: Path
    traits: Traits
    run: Callable[[int, int, int], None]


def load(
    flags: Sequence[str] = FLAGS, folder: Path | None = None, notice: Notice | None = None
) -> Library:
    """The library for this machine, compiled first where it is not cached yet.

    folder: where builds are kept; the user's cache by default. notice: is told before compiling.
    Raises ToolchainError when it cannot be compiled or loaded.
    """
    name = f"native-{_key(flags)}{_SUFFIX}"
    kept = folder or cache_dir("native")
    if kept is not None and not (kept / name).is_file() and not _writable(kept):
        kept = None
    if kept is not None and (kept / name).is_file():
        return open_library(kept / name)
    if notice is not None:
        notice("building the native engine for this machine (once, a few seconds)")
    target = (kept or Path(tempfile.mkdtemp(prefix="axonrig-native-"))) / name
    _compile(flags, target)
    return open_library(target)


_SUFFIX: Final = {"Darwin": ".dylib", "Windows": ".dll"}.get(platform.system(), ".so")


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


def _key(flags: Sequence[str]) -> str:
    """Hash of everything that decides what the library is."""
    digest = hashlib.sha256(repr((WARNINGS, tuple(flags), _compiler_version())).encode())
    digest.update(f"{platform.machine()} {platform.system()} {_processor()}".encode())
    for path in sorted(SOURCES.glob("*.[ch]")):
        data = path.read_bytes()
        digest.update(f"{path.name} {len(data)}\n".encode() + data)
    return digest.hexdigest()[:24]


def _compiler_version() -> str:
    try:
        return version("ziglang")
    except PackageNotFoundError:
        return "none"


def _processor() -> str:
    """Model and features of the processor, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    wanted = ("vendor_id", "cpu family", "model", "flags", "Features", "CPU part")
    found = {line.split(":")[0].strip(): line for line in reversed(lines) if ":" in line}
    return "\n".join(found[name] for name in wanted if name in found)


def _compile(flags: Sequence[str], target: Path) -> None:
    sources = [str(path) for path in sorted(SOURCES.glob("*.c"))]
    with tempfile.TemporaryDirectory(prefix="axonrig-build-") as work:
        output = Path(work) / "out"
        command = [*COMPILER, *WARNINGS, *flags, *sources, "-o", str(output)]
        try:
            done = subprocess.run(
                command, cwd=work, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ToolchainError(f"the native engine cannot be compiled: {error}") from error
        if done.returncode:
            tail = "; ".join((done.stdout + done.stderr).strip().splitlines()[-_TAIL_LINES:])
            raise ToolchainError(f"the native engine cannot be compiled: {tail}")
        write_bytes(target, output.read_bytes())
        target.chmod(0o755)


def open_library(path: Path) -> Library:
    """Load a build. Raises ToolchainError when it is damaged or for other structures."""
    try:
        library = ctypes.CDLL(str(path))
        library.axr_native_traits.restype = None
        run = library.axr_native_run
    except (OSError, AttributeError) as error:
        raise ToolchainError(
            f"the native engine {path} cannot be loaded ({error}): delete the file to have it "
            "built again"
        ) from error
    run.argtypes = [ctypes.c_void_p] * 3
    run.restype = None
    found = abi.Traits()
    library.axr_native_traits(ctypes.byref(found))
    sizes = (found.node_bytes, found.plan_bytes, found.job_bytes)
    expected = tuple(ctypes.sizeof(kind) for kind in (abi.Node, abi.Plan, abi.Job))
    if sizes != expected:
        raise ToolchainError(
            f"the native engine {path} has structures of {sizes} bytes, expected {expected}: "
            "delete the file to have it built again"
        )
    traits = Traits(found.name.decode(), found.group, found.flip, bool(found.fast_float))
    return Library(path, traits, run)
