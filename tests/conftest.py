"""Fixtures for every test. Recorded runs live outside the repository and may be absent."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.engine import native_library
from tests.support.golden import GOLDEN_DIR


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of recorded runs and data beside the repository; skips where there is none."""
    if not GOLDEN_DIR.is_dir():
        pytest.skip(f"no recorded runs at {GOLDEN_DIR}")
    return GOLDEN_DIR.parent


@pytest.fixture(scope="session", autouse=True)
def _native_engine() -> None:
    """Build the native engine into the user's cache, before tests choose caches of their own."""
    native_library()
