"""The transposed variant: height and width change places in the whole program.

Rows are what the NPU works through fastest, so a tall and narrow model runs better lying down.
Inputs and outputs are then transposed too. Vectors (fully connected layers and what follows) keep
their shape.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from compiler.errors import UnsupportedError
from compiler.ir import EXTERNAL_INPUT, Axis, AxonProgram, Dims, IntArray, Layer, Op, Pads

_SWAPPED_AXIS: Final = {
    Axis.HEIGHT: Axis.WIDTH,
    Axis.WIDTH: Axis.HEIGHT,
    Axis.CHANNEL: Axis.CHANNEL,
}
_SPATIAL_FILTER: Final = (
    Op.CONV2D,
    Op.DEPTHWISE_CONV2D,
    Op.POINTWISE_CONV2D,
    Op.ADD,
    Op.MULTIPLY,
)


def transpose(program: AxonProgram) -> AxonProgram:
    """The program for transposed inputs.

    Raises UnsupportedError for a reshape that moves data: its order would change.
    """
    swapped: dict[int, bool] = {EXTERNAL_INPUT: True}
    layers = []
    for index, layer in enumerate(program.layers):
        swapped[index] = _is_swapped(layer, swapped)
        if layer.op is Op.RESHAPE and swapped[index] and not _keeps_order(layer):
            raise UnsupportedError(
                f"layer {index} (reshape) orders data by rows, which transposing changes; "
                "compile without it"
            )
        if swapped[index] and _mixes(layer, swapped):
            raise UnsupportedError(
                f"layer {index} ({layer.op.name.lower()}) joins a map with a vector, only one of "
                "which is transposed; compile without transposing"
            )
        if swapped[index] and _sees_other_shape(layer, program):
            raise UnsupportedError(
                f"layer {index} ({layer.op.name.lower()}) reads a map under another shape, whose "
                "order transposing changes; compile without it"
            )
        if swapped[index]:
            layers.append(_swap_layer(layer))
        elif layer.op is Op.FULLY_CONNECTED:
            layers.append(_permute_columns(layer, program, swapped))
        else:
            layers.append(layer)
    return replace(program, layers=tuple(layers))


def swapped_layers(program: AxonProgram) -> tuple[bool, ...]:
    """Which layers `transpose` swaps."""
    swapped: dict[int, bool] = {EXTERNAL_INPUT: True}
    for index, layer in enumerate(program.layers):
        swapped[index] = _is_swapped(layer, swapped)
    return tuple(swapped[index] for index in range(len(program.layers)))


def _is_swapped(layer: Layer, swapped: dict[int, bool]) -> bool:
    """A vector stays a vector; everything else follows its inputs."""
    extent = layer.inputs[0].dims
    row_softmax = layer.op is Op.SOFTMAX and (extent.height, extent.channels) == (1, 1)
    if layer.op is Op.FULLY_CONNECTED or row_softmax:
        return False
    return any(swapped.get(operand.producer, True) for operand in layer.inputs)


def _mixes(layer: Layer, swapped: dict[int, bool]) -> bool:
    """Whether an operand that stays is not the same either way."""
    return any(
        not swapped.get(operand.producer, True)
        and (operand.dims.height, operand.dims.width) != (1, 1)
        for operand in layer.inputs
    )


def _sees_other_shape(layer: Layer, program: AxonProgram) -> bool:
    for operand in layer.inputs:
        if operand.producer == EXTERNAL_INPUT:
            continue
        written = program.layers[operand.producer].output_dims
        if (written.height, written.width) != (operand.dims.height, operand.dims.width):
            return True
    return False


def _keeps_order(layer: Layer) -> bool:
    before, after = layer.inputs[0].dims, layer.output_dims
    lines = 1 in (before.height, before.width) and 1 in (after.height, after.width)
    return lines and before.channels == after.channels


def _swap_layer(layer: Layer) -> Layer:
    slice_layer = layer.op is Op.STRIDED_SLICE
    inputs = tuple(
        replace(
            operand,
            dims=_swap(operand.dims),
            split_axis=int(_SWAPPED_AXIS[Axis(operand.split_axis)]),
        )
        for operand in layer.inputs
    )
    pads = layer.pads
    if layer.op is not Op.CHANNEL_PAD:
        pads = Pads(left=pads.top, right=pads.bottom, top=pads.left, bottom=pads.right)
    return replace(
        layer,
        inputs=inputs,
        output_dims=_swap(layer.output_dims),
        filter_dims=layer.filter_dims if slice_layer else _swap(layer.filter_dims),
        stride_x=layer.stride_y,
        stride_y=layer.stride_x,
        dilation_x=layer.dilation_y,
        dilation_y=layer.dilation_x,
        pads=pads,
        concat_axis=int(_SWAPPED_AXIS[Axis(layer.concat_axis)]),
        filter=_swap_filter(layer),
    )


def _swap(dims: Dims) -> Dims:
    return replace(dims, height=dims.width, width=dims.height)


def _swap_filter(layer: Layer) -> IntArray | None:
    if layer.filter is None:
        return None
    if layer.op in _SPATIAL_FILTER:
        return np.ascontiguousarray(layer.filter.swapaxes(-1, -2))
    if layer.op is Op.STRIDED_SLICE:
        return np.ascontiguousarray(layer.filter.reshape(3, 3)[:, [0, 2, 1]]).ravel()
    return layer.filter


def _permute_columns(layer: Layer, program: AxonProgram, swapped: dict[int, bool]) -> Layer:
    """Weights of a fully connected layer behind a map: columns [c][h][w] -> [c][w][h]."""
    producer = layer.inputs[0].producer
    if producer == EXTERNAL_INPUT or not swapped[producer] or layer.filter is None:
        return layer
    extent = program.layers[producer].output_dims
    weights = layer.filter
    if extent.channels * extent.height * extent.width != weights.shape[1]:
        return layer
    maps = weights.reshape(-1, extent.channels, extent.height, extent.width)
    columns = np.ascontiguousarray(maps.swapaxes(-1, -2)).reshape(weights.shape)
    return replace(layer, filter=columns)
