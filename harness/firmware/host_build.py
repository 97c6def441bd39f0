"""The firmware for this machine, as a process or as a library.

The compiler is Clang from the `ziglang` package unless another is given. Builds are cached by the
content of everything that goes in: the same inputs give the same file without compiling again.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from harness.artefacts import write_bytes
from harness.cache import cache_dir
from harness.errors import ToolchainError
from harness.firmware import FIRMWARE
from harness.firmware.source import MODEL_FILE, FirmwareModel, render
from harness.tool_process import run_logged

ZIG_CC: Final = (sys.executable, "-m", "ziglang", "cc")
WARNINGS: Final = ("-std=c11", "-Wall", "-Wextra", "-Werror", "-Wconversion")

HostKind = Literal["process", "memory"]
_TIMEOUT_S: Final = 300.0
_HEADER_FOLDERS: Final = ("include", "core", "ports", "backends")


@dataclass(frozen=True, slots=True)
class HostFirmware:
    """A build for this machine. path: the program, or the library when kind is "memory"."""

    path: Path
    kind: HostKind
    build_id: bytes


def build_host(
    model: FirmwareModel,
    kind: HostKind = "process",
    *,
    compiler: Sequence[str] = ZIG_CC,
    backend_sources: Sequence[Path] = (),
    flags: Sequence[str] = (),
    folder: Path | None = None,
) -> HostFirmware:
    """Build the firmware with the `host` port for `model`.

    backend_sources: C files of a backend other than firmware/backends/cpu. folder: where builds are
    kept; the user's cache by default. Raises ToolchainError with the compiler's last lines.
    """
    own = tuple(backend_sources) or tuple(sorted((FIRMWARE / "backends" / "cpu").glob("*.c")))
    port = tuple(FIRMWARE / "ports" / "host" / name for name in (f"port_{kind}.c", "slot.c"))
    sources = (*sorted((FIRMWARE / "core").glob("*.c")), *own, *port)
    options = (*WARNINGS, "-O2", *flags, *(("-shared", "-fPIC") if kind == "memory" else ()))
    build_id = _build_id(model, sources, (*compiler, *options))
    kept = folder or cache_dir("firmware") or Path(tempfile.mkdtemp(prefix="axonrig-"))
    target = kept / f"host-{kind}-{build_id.hex()}"
    if not os.access(target, os.X_OK):  # A kill can leave one that is whole, but cannot be started.
        kept.mkdir(parents=True, exist_ok=True)
        _compile(model, build_id, sources, (*compiler, *options), target)
    return HostFirmware(target, kind, build_id)


def _build_id(model: FirmwareModel, sources: Sequence[Path], command: Sequence[str]) -> bytes:
    """A hash of sources, headers, model and command; not of where they lie."""
    digest = hashlib.sha256(repr(command[1:]).encode())
    digest.update(render(model, bytes(16)).encode() + model.image)
    headers = (path for part in _HEADER_FOLDERS for path in _headers(FIRMWARE / part))
    for path in (*sources, *headers):
        data = path.read_bytes()
        digest.update(f"{path.name} {len(data)}\n".encode() + data)
    return digest.digest()[:16]


def _headers(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.h"))


def _compile(
    model: FirmwareModel,
    build_id: bytes,
    sources: Sequence[Path],
    command: Sequence[str],
    target: Path,
) -> None:
    with tempfile.TemporaryDirectory(prefix="axonrig-build-") as name:
        work = Path(name)
        (work / MODEL_FILE).write_bytes(model.image)
        (work / "axr_build.c").write_text(render(model, build_id), encoding="ascii")
        include = [f"-I{FIRMWARE / part}" for part in ("include", "core", "ports")]
        output = work / "out"
        run_compiler(
            [*command, *include, "axr_build.c", *map(str, sources), "-o", str(output)], cwd=work
        )
        write_bytes(target, output.read_bytes())
        target.chmod(0o755)


def run_compiler(command: Sequence[str], cwd: Path) -> None:
    """Run a compiler. Raises ToolchainError with command, status and last lines when it fails."""
    run = run_logged(command, timeout_s=_TIMEOUT_S, cwd=cwd)
    if run.status:
        raise ToolchainError(run.failure("the firmware for this machine did not build"))
