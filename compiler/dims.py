"""How a TFLite shape lies on the device: channels last becomes [channel][height][width]."""

from __future__ import annotations

from compiler.errors import UnsupportedError
from compiler.ir import Axis, Dims

_BYTES = {"int8": 1, "uint8": 1, "int16": 2, "int32": 4, "float32": 4}


def dims_of(shape: tuple[int, ...], byte_width: int = 1) -> Dims:
    """[N,H,W,C] as it stands; [1,T,C] is height 1, width T; [N,F] is height N, width F.

    Raises UnsupportedError for more than four dimensions.
    """
    if len(shape) > 4:
        raise UnsupportedError(
            f"a tensor has the shape {list(shape)}, at most four dimensions fit the NPU; "
            "reshape it in the model"
        )
    if len(shape) == 4:
        batch, height, width, channels = shape
        return Dims(height, width, channels, byte_width, batch)
    if len(shape) == 3:
        return Dims(shape[0], shape[1], shape[2], byte_width, 1)
    if len(shape) == 2:
        return Dims(shape[0], shape[1], 1, byte_width, 1)
    return Dims(1, shape[0] if shape else 1, 1, byte_width, 1)


def bytes_per_element(dtype: str) -> int:
    """Width of an integer type on the device."""
    return _BYTES.get(dtype, 1)


def axis_of(axis: int, rank: int) -> Axis | None:
    """The device axis of a TFLite axis; None for the batch axis."""
    if axis < 0:
        axis += rank
    names = {4: (None, Axis.HEIGHT, Axis.WIDTH, Axis.CHANNEL)}.get(
        rank, (Axis.HEIGHT, Axis.WIDTH, Axis.CHANNEL)
    )
    return names[axis] if 0 <= axis < len(names) else None
