"""Weights and requantization in the order and the types that the kernels read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from compiler import Activation, Layer
from harness.native import abi
from harness.native.build import Traits

Array = npt.NDArray[Any]
_Int64 = npt.NDArray[np.int64]

_INT8: Final = 128
_EXACT_DOUBLE: Final = 1 << 53
_FLOAT_LIMIT: Final = 1 << 21


@dataclass(slots=True)
class Constants:
    """Keeps arrays that a plan points to alive."""

    arrays: list[Array] = field(default_factory=list)

    def address(self, array: Array) -> int:
        """Where a contiguous copy of `array` lies, for as long as this object lives."""
        kept = np.ascontiguousarray(array)
        self.arrays.append(kept)
        return kept.ctypes.data

    def padded(self, values: Array, kind: type[np.generic]) -> int:
        """The same, as `kind`, filled up with zeros to a whole number of lanes."""
        room = np.zeros(-(-values.size // abi.LANES) * abi.LANES, kind)
        room[: values.size] = values
        return self.address(room)


@dataclass(frozen=True, slots=True, eq=False)
class Linear:
    """A convolution's or fully connected layer's taps, ready for the kernels.

    weights: int8 or int16 [block][group][16][taps of a group]. bias: int32 per channel, what the
    flip adds taken back. bound: largest magnitude of each channel's accumulator. offsets: byte
    offset of each group from a pixel; empty where the kernel knows.
    """

    weights: Array
    bias: Array
    bound: _Int64
    offsets: Array
    groups: int


def pack_convolution(
    weights: Array, bias: Array | None, row: int, dilation: tuple[int, int], traits: Traits
) -> Linear:
    """weights: int8 [out][in][h][w]. row: elements of a padded input row. dilation: (y, x)."""
    count, channels, height, width = weights.shape
    taps = weights.transpose(0, 2, 3, 1)  # as they meet memory
    merged = dilation[1] == 1 or width == 1
    columns = 1 if merged else width
    runs = taps.reshape(count, height * columns, width * channels // columns)
    starts = np.add.outer(
        np.arange(height) * dilation[0] * row, np.arange(columns) * dilation[1] * channels
    ).ravel()
    length = runs.shape[2]
    per_run = -(-length // traits.group)
    room: Array = np.zeros((count, len(starts), per_run * traits.group), np.int8)
    room[:, :, :length] = runs
    offsets = np.add.outer(starts, np.arange(per_run) * traits.group).ravel()
    grouped = room.reshape(count, len(starts) * per_run, traits.group)
    return Linear(
        weights=_blocks(grouped, traits),
        bias=_flipped_bias(weights, bias, traits),
        bound=_bound(weights, bias),
        offsets=(offsets * traits.element_bytes).astype(np.int32),
        groups=grouped.shape[1],
    )


def pack_depthwise(weights: Array, bias: Array | None, traits: Traits) -> Linear:
    """weights: int8 [c][h][w]. Groups run down the filter's columns."""
    count, height, width = weights.shape
    row_groups = -(-height // traits.group)
    room: Array = np.zeros((count, row_groups * traits.group, width), np.int8)
    room[:, :height] = weights
    grouped: Array = room.reshape(count, row_groups, traits.group, width).transpose(0, 1, 3, 2)
    grouped = grouped.reshape(count, row_groups * width, traits.group)
    return Linear(
        weights=_blocks(grouped, traits),
        bias=_flipped_bias(weights, bias, traits),
        bound=_bound(weights, bias),
        offsets=np.zeros(0, np.int32),
        groups=grouped.shape[1],
    )


def _blocks(grouped: Array, traits: Traits) -> Array:
    """[channel][group][tap] -> [block][group][16][tap]."""
    count, groups, taps = grouped.shape
    blocks = -(-count // abi.LANES)
    kind = np.int8 if traits.group == 4 else np.int16
    room: Array = np.zeros((blocks * abi.LANES, groups, taps), kind)
    room[:count] = grouped
    packed: Array = room.reshape(blocks, abi.LANES, groups, taps).transpose(0, 2, 1, 3)
    return packed


def _flipped_bias(weights: Array, bias: Array | None, traits: Traits) -> Array:
    """The bias less what the flip adds, modulo 2**32 as the kernels' sums are."""
    sums = weights.reshape(len(weights), -1).sum(axis=1, dtype=np.int64)
    given = np.zeros(len(weights), np.int64) if bias is None else bias.astype(np.int64)
    flipped: Array = given - traits.flip * sums
    return flipped.astype(np.int32)


def _bound(weights: Array, bias: Array | None) -> _Int64:
    magnitudes = np.abs(weights.reshape(len(weights), -1).astype(np.int64))
    bound: _Int64 = magnitudes.sum(axis=1) * _INT8
    return bound if bias is None else bound + np.abs(bias.astype(np.int64))


def rescale(
    layer: Layer,
    bound: _Int64,
    traits: Traits,
    constants: Constants,
    *,
    multipliers: Array | None = None,
    order: Array | None = None,
) -> abi.Rescale:
    """From accumulators of at most `bound`, per channel, to the layer's output.

    bound: int64 [channels], or [1] where every element is treated alike. multipliers: those of the
    layer by default. order: channels in the order of the output.
    """
    assert layer.multipliers is not None
    assert layer.shifts is not None
    given = (layer.multipliers if multipliers is None else multipliers).astype(np.int64)
    leaky = layer.activation is Activation.LEAKY_RELU
    negative, positive = (given[0::2], given[1::2]) if leaky else (given, given)
    columns = [
        np.broadcast_to(values, bound.shape)
        for values in (positive, negative, layer.shifts.astype(np.int64), bound)
    ]
    if order is not None:
        columns = [column[order] for column in columns]
    if bound.size == 1:
        columns = [np.repeat(column, abi.LANES) for column in columns]
    positive, negative, shifts, _ = columns
    low, high = _limits(layer)
    record = abi.Rescale(
        kind=_rescale_kind(layer, columns, traits),
        bytes=layer.output_dims.byte_width,
        zero_point=layer.output_zero_point,
        low=low,
        high=high,
        clip_product=int(layer.activation is Activation.PREPARE_SOFTMAX),
        step=0 if bound.size == 1 else abi.LANES,
        multiplier=constants.padded(positive, np.int32),
        shift=constants.padded(shifts, np.int32),
    )
    scale = np.ldexp(positive.astype(np.float64), -shifts)
    record.scale = constants.padded(scale, np.float64)
    record.scale32 = constants.padded(scale, np.float32)
    if leaky:
        record.negative = constants.padded(negative, np.int32)
        record.negative_scale = constants.padded(
            np.ldexp(negative.astype(np.float64), -shifts), np.float64
        )
    return record


def _rescale_kind(layer: Layer, columns: list[_Int64], traits: Traits) -> abi.RescaleKind:
    """The fastest way that is exact for these numbers; see src/rescale.c."""
    if layer.activation is Activation.PREPARE_SOFTMAX:
        return abi.RescaleKind.INTEGER
    positive, negative, shifts, bound = ([int(x) for x in column] for column in columns)
    zero_point = abs(layer.output_zero_point)
    fits_float = (
        traits.fast_float
        and layer.output_dims.byte_width == 1
        and layer.activation is not Activation.LEAKY_RELU
    )
    for m, n, s, limit in zip(positive, negative, shifts, bound, strict=True):
        product = limit * max(abs(m), abs(n))
        if product + (zero_point << s) >= _EXACT_DOUBLE:
            return abi.RescaleKind.INTEGER
        fits_float = fits_float and (product >> s) < _FLOAT_LIMIT
    return abi.RescaleKind.FLOAT if fits_float else abi.RescaleKind.DOUBLE


def _limits(layer: Layer) -> tuple[int, int]:
    """Smallest and largest output."""
    half = 1 << (8 * layer.output_dims.byte_width - 1)
    low = layer.output_zero_point if layer.activation is Activation.RELU else -half
    return low, half - 1
