"""Layers that copy elements, as runs of neighbours.

Where an element comes from is not written down a second time: the reference itself moves the
indices of the elements, and what it makes of them is the table.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from compiler import AxonProgram, Layer, execute_layer
from harness.native import abi

Indices = npt.NDArray[np.int32]
Runs = npt.NDArray[Any]
Shape = tuple[int, int, int, int]

_FIRST: Final = 1 << 10
"""Smallest index in use; what is below it is a zero point, not an index."""


def numbered(shape: Shape, start: int = 0) -> Indices:
    """Places of the elements of a tensor that lies [batch, H, W, C]: an array [batch, C, H, W]."""
    batch, channels, height, width = shape
    places = np.arange(start, start + math.prod(shape), dtype=np.int32)
    return places.reshape(batch, height, width, channels).transpose(0, 3, 1, 2)


@dataclass(frozen=True, slots=True, eq=False)
class Moved:
    """Where each output element comes from. runs: abi.RUN, in output order [batch, H, W, C]."""

    runs: Runs
    elements: int

    @property
    def is_copy(self) -> bool:
        """Whether the output is the first source as it lies."""
        first = self.runs[0]
        return len(self.runs) == 1 and first["source"] == 0 and first["offset"] == 0


def viewed(indices: Indices) -> Moved:
    """The runs of a view of one tensor. indices: [batch, C, H, W] of places."""
    flat = np.ascontiguousarray(indices.transpose(0, 2, 3, 1)).ravel()
    return Moved(_runs(flat, np.zeros(1, np.int64)), flat.size)


def moved(program: AxonProgram, layer: Layer, operands: Sequence[Indices]) -> Moved:
    """The runs of a layer that copies elements. operands: places as the layer sees them."""
    starts, shifted = [], []
    start = _FIRST
    for operand in operands:
        starts.append(start)
        shifted.append(operand + np.int32(start))
        start += int(operand.max()) + 2  # a gap, so that no run spans two sources
    wide = replace(layer, output_dims=replace(layer.output_dims, byte_width=4))
    out = execute_layer(program, wide, shifted)
    flat = np.ascontiguousarray(out.transpose(0, 2, 3, 1)).ravel()
    return Moved(_runs(flat, np.array(starts, np.int64)), flat.size)


def _runs(flat: npt.NDArray[Any], starts: npt.NDArray[np.int64]) -> Runs:
    """Runs of neighbours in `flat`; starts: index of each source's first element."""
    filled = flat < starts[0]
    follows = np.where(filled[1:], filled[:-1], flat[1:] == flat[:-1] + 1)
    first = np.concatenate([[0], np.flatnonzero(~follows) + 1])
    runs = np.zeros(len(first), abi.RUN)
    runs["length"] = np.diff(np.append(first, flat.size))
    source = np.searchsorted(starts, flat[first], side="right") - 1
    runs["source"] = source
    runs["offset"] = np.where(source < 0, 0, flat[first] - starts[np.maximum(source, 0)])
    return runs
