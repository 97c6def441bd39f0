"""Puts the stand-ins of tests/fake_tools on the PATH."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.cache import cache_dir

FOLDER = Path(__file__).parents[1] / "fake_tools"
PROGRAMS = {"nrfutil": "nrfutil.py", "JLinkExe": "jlink.py", "west": "west.py"}


@dataclass(frozen=True, slots=True)
class FakeTools:
    """Where the tools log their calls."""

    log: Path
    patch: pytest.MonkeyPatch

    def choose(self, scenario: str) -> None:
        """Let the tools behave like this from now on."""
        self.patch.setenv("FAKE_SCENARIO", scenario)

    @property
    def calls(self) -> list[str]:
        """Arguments of every call, in order."""
        return self.log.read_text("utf-8").splitlines() if self.log.exists() else []


def install(folder: Path, patch: pytest.MonkeyPatch, *names: str) -> FakeTools:
    """Only the named tools are on the PATH from now on."""
    bin_folder = folder / "bin"
    bin_folder.mkdir()
    for name in names:
        program = bin_folder / name
        words = [sys.executable, str(FOLDER / PROGRAMS[name])]
        program.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n', encoding="utf-8")
        program.chmod(0o755)
    root = str(Path(__file__).parents[2])
    patch.setenv("PATH", os.pathsep.join((str(bin_folder), "/usr/bin", "/bin")))
    patch.setenv("PYTHONPATH", root)
    patch.setenv("FAKE_LOG", str(folder / "calls.log"))
    _fresh_cache(folder / "cache", patch)
    patch.delenv("FAKE_SCENARIO", raising=False)
    return FakeTools(folder / "calls.log", patch)


def _fresh_cache(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """An empty cache, but for the compilers' own run-time libraries, which take long to build."""
    folder.mkdir()
    for kind in ("zig", "native"):
        kept = cache_dir(kind)
        if kept is not None:
            kept.mkdir(parents=True, exist_ok=True)
            (folder / kind).symlink_to(kept.resolve())
    patch.setenv("AXONRIG_CACHE", str(folder))
