"""Versions that a result depends on."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Final

_PACKAGES: Final = ("axonrig", "numpy", "ai-edge-litert", "tflite", "flatbuffers")


def versions() -> dict[str, str]:
    """Version by name: python and the packages whose arithmetic or parsing a result rests on."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "source tree" if name == "axonrig" else "not installed"
    return found
