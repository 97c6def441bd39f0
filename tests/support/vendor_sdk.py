"""A made-up sdk-edge-ai, with a compiler library of our own that behaves as a test asks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from harness.vendor import sdk as discovery
from harness.vendor.sdk import Sdk, find_sdk

SOURCE: Final = Path(__file__).parents[1] / "fixtures" / "vendor" / "fake_library.c"
ACT: Final = "AXONRIG_FAKE_LIBRARY"
VERSION: Final = "AXONRIG_FAKE_VERSION"
ROWS: Final = "AXONRIG_FAKE_ROWS"


def build_library(folder: Path) -> Path:
    """The fake library, built in `folder`."""
    library = folder / "libfake.so"
    command = [sys.executable, "-m", "ziglang", "cc", "-std=c11", "-shared", "-fPIC", "-O1"]
    cache = {"ZIG_LOCAL_CACHE_DIR": str(folder), "ZIG_GLOBAL_CACHE_DIR": str(folder)}
    done = subprocess.run(
        [*command, "-Wall", "-Wextra", "-Werror", "-o", str(library), str(SOURCE)],
        env={**cache, **os.environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return library


def make_checkout(
    root: Path,
    library: Path,
    *,
    driver: str = "1, 4, 0",
    ir: tuple[int, int, int] = (1, 3, 1),
) -> Path:
    """As much of a checkout as discovery reads, with `library` as the compiler library."""
    files = {
        "VERSION": "VERSION_MAJOR = 2\nVERSION_MINOR = 2\nPATCHLEVEL = 0\nEXTRAVERSION =\n",
        "include/drivers/axon/nrf_axon_driver.h": (
            f"#define NRF_AXON_VERSION NRF_AXON_GENERATE_VERSION({driver})\n"
        ),
        "tools/axon/compiler/include/nrf_axon_nn_compiler_types.h": "#pragma once\n",
        "tools/axon/compiler/scripts/model_wrapper.py": (
            f"    MAJOR_VER = {ir[0]}\n    MINOR_VER = {ir[1]}\n    PATCH_VER = {ir[2]}\n"
        ),
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for name in discovery._LIBRARIES.values():
        path = root / "tools" / "axon" / "compiler" / "bin" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(library.read_bytes())
    return root


def real_sdk() -> Sdk:
    """The checkout that SDK_EDGE_AI_PATH names; skips when the variable is not set."""
    if not os.environ.get(discovery.VARIABLE):
        pytest.skip(f"{discovery.VARIABLE} is not set: nothing of Nordic's to test with")
    return find_sdk()
