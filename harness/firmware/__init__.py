"""From a program to a firmware image: sources, compilers, and what the image is made of."""

from pathlib import Path
from typing import Final

FIRMWARE: Final = Path(__file__).parents[2] / "firmware"
"""The C sources."""
