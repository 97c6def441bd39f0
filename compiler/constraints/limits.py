"""Limits that operators of several families share. Sides and vectors are in elements."""

from __future__ import annotations

from typing import Final

MAX_STRIDE: Final = 31
MAX_CHANNELS: Final = 1023
MAX_CONVOLUTION_INPUTS: Final = 1024
MOST_CHANNELS: Final = 2048
DOCUMENTED_EXTENT: Final = 1024
