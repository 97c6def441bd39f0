"""Between the model's layout (TFLite, channels last) and the program's ([N, C, H, W]).

A transposed program (the compiler's `transpose_kernel`) swaps height and width on both sides.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler import Dims
from harness.errors import ConfigError

Array = npt.NDArray[Any]


def to_program(array: Array, dims: Dims, *, transposed: bool = False) -> Array:
    """Bring [N, ...] in the model's layout to a C-ordered [N, C, H, W] of the program.

    array: [N, H, W, C], [N, W, C] or [N, F]; any shape whose samples hold as many values as `dims`.
    dims: the input extent of the program; with `transposed`, its height is the model's width.
    Raises ConfigError when the number of values per sample differs.
    """
    height, width = (dims.width, dims.height) if transposed else (dims.height, dims.width)
    wanted = height * width * dims.channels
    found = math.prod(array.shape[1:])
    if found != wanted:
        raise ConfigError(
            f"each sample has the shape {list(array.shape[1:])}, {found} values, but the program "
            f"takes {height} x {width} x {dims.channels} (H x W x C), {wanted} values"
        )
    maps = array.reshape(len(array), height, width, dims.channels)
    axes = (0, 3, 2, 1) if transposed else (0, 3, 1, 2)
    return np.ascontiguousarray(maps.transpose(axes))


def from_program(
    array: Array, shape: tuple[int, ...] | None = None, *, transposed: bool = False
) -> Array:
    """Bring [N, C, H, W] of the program to the model's layout, C-ordered.

    shape: extent of one sample in the model, e.g. (10,) or (H, W, C); None keeps (H, W, C).
    Raises ConfigError when `shape` holds another number of values than one sample.
    """
    axes = (0, 3, 2, 1) if transposed else (0, 2, 3, 1)
    maps = np.ascontiguousarray(array.transpose(axes))
    if shape is None:
        return maps
    if math.prod(shape) != math.prod(maps.shape[1:]):
        raise ConfigError(
            f"the program's output has the shape {list(array.shape[1:])} (C x H x W), which does "
            f"not hold as many values as the model's {list(shape)}"
        )
    return maps.reshape(len(maps), *shape)
