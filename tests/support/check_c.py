"""Compiles every C file of the firmware with warnings as errors: `python -m tests.support.check_c`.

Host files with the bundled clang and, when there is one, gcc; bare-metal files for the Cortex-M33.
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

FIRMWARE: Final = Path(__file__).parents[2] / "firmware"
WARNINGS: Final = ("-std=c11", "-Wall", "-Wextra", "-Werror", "-Wconversion", "-O1", "-c")
INCLUDES: Final = ("include", "core", "ports", "backends/cpu")
BUNDLED: Final = (sys.executable, "-m", "ziglang", "cc")
CORTEX_M33: Final = ("-target", "thumb-freestanding-eabi", "-mcpu=cortex_m33")
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
    libc = FIRMWARE / "ports" / "nrf54l" / "libc"
    for source in _sources(*PORTABLE, "ports/nrf54l"):
        yield (*BUNDLED, *CORTEX_M33, "-isystem", str(libc)), source


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


def main() -> int:
    """0 when nothing was found."""
    jobs = [(number, *job) for number, job in enumerate(_jobs())]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        complaints = list(pool.map(lambda job: _complaint(job, Path(folder)), jobs))
    failures = [complaint for complaint in complaints if complaint]
    print("\n".join(failures), file=sys.stderr)
    print(f"{len(jobs)} compilations of the firmware, {len(failures)} failed")
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
