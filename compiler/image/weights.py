"""Constants in the order in which the kernels read them (docs/firmware-core.md, "Weights")."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from compiler.errors import UnsupportedError
from compiler.image import layout
from compiler.ir import Activation, Layer

_QUAD_ORDER: Final = (0, 2, 1, 3)
_INT32_MAX: Final = (1 << 31) - 1

Int64Array = npt.NDArray[np.int64]


def pack_convolution(weights: npt.NDArray[Any]) -> bytes:
    """int8 [out][in][h][w] -> per two output channels, column by column of the window.

    A column is [h][in], padded to fours; each four elements 0 1 2 3 of channels a and b become the
    bytes a0 b0 a2 b2 a1 b1 a3 b3, so that SXTB16 gives pairs of one channel.
    """
    outputs, inputs, height, width = weights.shape
    columns = weights.transpose(0, 3, 2, 1).reshape(outputs, width, height * inputs)
    quads = -(-height * inputs // 4)
    padded = np.zeros((outputs + outputs % 2, width, quads * 4), np.int8)
    padded[:outputs, :, : height * inputs] = columns
    pairs = padded.reshape(-1, 2, width, quads, 4)[..., _QUAD_ORDER]
    return np.ascontiguousarray(pairs.transpose(0, 2, 3, 4, 1)).tobytes()


def pack_depthwise(weights: npt.NDArray[Any]) -> bytes:
    """int8 [channel][h][w] -> per four channels and two taps s, t: 0s 1s 0t 1t 2s 3s 2t 3t."""
    channels = len(weights)
    taps = weights.reshape(channels, -1)
    padded = np.zeros((-(-channels // 4) * 4, taps.shape[1] + taps.shape[1] % 2), np.int8)
    padded[:channels, : taps.shape[1]] = taps
    blocks = padded.reshape(-1, 2, 2, padded.shape[1] // 2, 2)
    return np.ascontiguousarray(blocks.transpose(0, 3, 1, 4, 2)).tobytes()


def dilated(layer: Layer) -> npt.NDArray[Any]:
    """The layer's filter with the holes of its dilation filled by zeros, [..., h, w]."""
    assert layer.filter is not None
    weights = layer.filter
    height, width = weights.shape[-2:]
    step_y, step_x = max(layer.dilation_y, 1), max(layer.dilation_x, 1)
    shape = (*weights.shape[:-2], (height - 1) * step_y + 1, (width - 1) * step_x + 1)
    whole = np.zeros(shape, np.int8)
    whole[..., ::step_y, ::step_x] = weights
    return whole


def pack_channels(layer: Layer, count: int, where: str) -> tuple[bytes, layout.Flag]:
    """Bias and requantization of `count` channels, and the flags that describe them.

    Multipliers whose shift can be made 32 without loss are stored so (flag SCALED_32).

    Raises UnsupportedError when a multiplier or shift does not fit the kernels.
    """
    leaky = layer.activation is Activation.LEAKY_RELU
    assert layer.multipliers is not None
    assert layer.shifts is not None
    multipliers = layer.multipliers.astype(np.int64)
    positive = spread(multipliers[1::2] if leaky else multipliers, count, where)
    negative = spread(multipliers[0::2], count, where) if leaky else np.zeros(count, np.int64)
    shifts = spread(layer.shifts.astype(np.int64), count, where)
    positive, negative, shifts = _without_negative_shifts(positive, negative, shifts)
    saturating = layer.activation is Activation.PREPARE_SOFTMAX
    flags = layout.Flag.LEAKY if leaky else layout.Flag(0)
    if saturating:
        flags |= layout.Flag.SATURATE
    elif not leaky and bool((shifts <= 32).all()):
        scaled = positive << (32 - shifts)
        if bool((np.abs(scaled) <= _INT32_MAX).all()):
            positive, shifts = scaled, np.full(count, 32, np.int64)
            flags |= layout.Flag.SCALED_32
    bias = np.zeros(1, np.int64) if layer.bias is None else layer.bias.astype(np.int64)
    return channel_bytes(spread(bias, count, where), positive, negative, shifts, where), flags


def spread(values: Int64Array, count: int, where: str) -> Int64Array:
    """One value per channel, from one for each or one for all."""
    if values.size not in (1, count):
        raise UnsupportedError(
            f"{where}: {values.size} values of requantization for {count} channels, "
            f"expected 1 or {count}"
        )
    return np.broadcast_to(values.ravel(), count).astype(np.int64)


def _without_negative_shifts(
    positive: Int64Array, negative: Int64Array, shifts: Int64Array
) -> tuple[Int64Array, Int64Array, Int64Array]:
    extra = np.maximum(-shifts, 0)
    return positive << extra, negative << extra, np.maximum(shifts, 0)


def channel_bytes(
    bias: Int64Array, positive: Int64Array, negative: Int64Array, shifts: Int64Array, where: str
) -> bytes:
    """axr_channel_t records; every argument has one value per channel."""
    for name, values in (("bias", bias), ("multiplier", positive), ("multiplier", negative)):
        if bool((np.abs(values) > _INT32_MAX).any()):
            raise UnsupportedError(f"{where}: a {name} of {int(np.abs(values).max())} exceeds 2^31")
    if int(shifts.max()) > layout.MAX_SHIFT:
        raise UnsupportedError(
            f"{where}: a shift of {int(shifts.max())}, the firmware takes at most "
            f"{layout.MAX_SHIFT}"
        )
    records = np.zeros(len(bias), layout.CHANNEL)
    records["bias"], records["multiplier"] = bias, positive
    records["multiplier_negative"], records["shift"] = negative, shifts
    return records.tobytes()


def copy_tables(rows: Int64Array, columns: Int64Array, channels: Int64Array) -> tuple[bytes, bool]:
    """The tables of a copy, and whether its channels are consecutive. Negative entries fill."""
    runs = bool((channels >= 0).all()) and bool((np.diff(channels) == 1).all())
    tables = np.concatenate([rows, columns, channels[:1] if runs else channels])
    return np.where(tables < 0, layout.COPY_FILL, tables).astype("<u4").tobytes(), runs
