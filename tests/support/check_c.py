"""Compiles every C file of the firmware with warnings as errors: `python -m tests.support.check_c`.

The host's files with the bundled clang and, when there is one, gcc; then the whole image of every
board that has one, for the embedded model.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from compiler import CompileOptions, compile_model
from harness.board import load_boards
from harness.errors import ToolchainError
from harness.firmware.build import build_firmware, firmware_model
from harness.model_file import DEFAULT_MODEL

FIRMWARE: Final = Path(__file__).parents[2] / "firmware"
WARNINGS: Final = ("-std=c11", "-Wall", "-Wextra", "-Werror", "-Wconversion", "-O1", "-c")
INCLUDES: Final = ("include", "core", "ports", "backends/cpu")
BUNDLED: Final = (sys.executable, "-m", "ziglang", "cc")
PORTABLE: Final = ("core", "backends/cpu")


def _sources(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((FIRMWARE / folder).glob("*.c"))


def _jobs() -> Iterator[tuple[tuple[str, ...], Path]]:
    """(compiler with its target, file) for everything that can be compiled here."""
    for source in _sources(*PORTABLE, "ports/host"):
        yield BUNDLED, source
        if shutil.which("gcc"):
            yield ("gcc",), source


def _complaint(job: tuple[int, tuple[str, ...], Path], folder: Path) -> str:
    """What the compiler says about one file; empty when it is content."""
    number, command, source = job
    includes = [f"-I{FIRMWARE / name}" for name in INCLUDES]
    result = subprocess.run(
        [
            *command,
            *WARNINGS,
            *includes,
            f"-I{source.parent}",
            str(source),
            "-o",
            str(folder / f"{number}.o"),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    return f"{source.relative_to(FIRMWARE)}:\n{result.stderr}" if result.returncode else ""


def _images(folder: Path) -> Iterator[str]:
    """Builds every bare-metal board's image; yields what the builds complain about."""
    program = compile_model(DEFAULT_MODEL.read_bytes(), CompileOptions("digits_resnet8"))
    for board in load_boards().values():
        if board.firmware is None or board.firmware.chip is None:
            continue
        try:
            build_firmware(board, firmware_model(program, memory=board.memory), folder=folder)
            print(f"{board.name}: image built")
        except ToolchainError as error:
            yield f"{board.name}: {error}"


def main() -> int:
    """0 when nothing was found."""
    jobs = [(number, *job) for number, job in enumerate(_jobs())]
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(os.cpu_count()) as pool:
        folder = Path(name)
        complaints = list(pool.map(lambda job: _complaint(job, folder), jobs))
        failures = [complaint for complaint in complaints if complaint]
        failures += list(_images(folder))
    print("\n".join(failures), file=sys.stderr)
    print(f"{len(jobs)} compilations for this machine, {len(failures)} complaints")
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
