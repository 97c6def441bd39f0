"""Compilers for Cortex-M: which one builds, what it calls its version, and its flags."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from harness.board import FirmwareTarget
from harness.cache import cache_dir
from harness.errors import ConfigError, ToolchainError
from harness.tool_process import find_tool, run_logged


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
