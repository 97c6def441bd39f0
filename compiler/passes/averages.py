"""Averages that the NPU's own pool and mean cannot take, as convolutions whose weights are one.

AVERAGE_POOL_2D divides by the number of pixels that lie on the map, which is smaller at a padded
border. A convolution pads with zeros and divides by the largest number; a product with a constant a
row, and one a column, makes up for what the border lacks.
"""

from __future__ import annotations

import math
from dataclasses import replace
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt

from compiler.dims import axis_of, dims_of
from compiler.ir import Axis
from compiler.model import Model, Operator, Quant, Tensor
from compiler.passes.identity import PLAIN, with_weights
from compiler.passes.padding import window_outputs, window_pads

MAX_KERNEL: Final = 16
LARGEST_WINDOW: Final = 64
LARGEST_DEPTH: Final = 2048
"""Beyond these the constraints refuse; weights of ones are not even made."""
_LARGEST_CODE: Final = 127
Counts = npt.NDArray[np.int64]


def average_padded(model: Model) -> Model:
    """AVERAGE_POOL_2D with padding: a depthwise convolution and up to two products."""
    for op in model.operators:
        if op.code == "AVERAGE_POOL_2D" and _is_padded(model, op):
            model = _as_convolution(model, op)
    return model


def _is_padded(model: Model, op: Operator) -> bool:
    shapes = (model.tensors[op.inputs[0]].shape, model.tensors[op.outputs[0]].shape)
    steps = (op.attributes["stride_h"], op.attributes["stride_w"])
    if any(len(shape) != 4 for shape in shapes) or min(steps) < 1:
        return False
    pads = window_pads(model, op)
    extent, window = dims_of(shapes[0]), _window(op)
    sides = max(pads.left, pads.right, pads.top, pads.bottom)
    outputs = window_outputs(extent, window, pads, op)
    small = max(window) <= LARGEST_WINDOW and extent.channels <= LARGEST_DEPTH
    return small and 0 < sides <= 255 and outputs.shape == dims_of(shapes[1]).shape


def _window(op: Operator) -> tuple[int, int]:
    return op.attributes["filter_height"], op.attributes["filter_width"]


def _as_convolution(model: Model, op: Operator) -> Model:
    rows, columns = _counts(model, op)
    source, target = op.inputs[0], op.outputs[0]
    channels = dims_of(model.tensors[source].shape).channels
    largest = int(rows.max() * columns.max())
    kernel = np.ones((1, *_window(op), channels), np.int8)
    model, weights, bias = with_weights(model, "average", kernel, channels, 1 / largest)
    sums = MappingProxyType(
        {
            **PLAIN,
            "depth_multiplier": 1,
            "pads": window_pads(model, op),
            "stride_h": op.attributes["stride_h"],
            "stride_w": op.attributes["stride_w"],
        }
    )
    operands = (source, weights, bias)
    steps = [Operator(op.index, "DEPTHWISE_CONV_2D", operands, (target,), sums)]
    factors = [(n, axis) for axis, n in ((1, rows), (2, columns)) if np.unique(n).size > 1]
    for counts, axis in factors:
        model, between = model.with_tensor(model.tensors[target])
        model, factor = _factor(model, counts, axis)
        steps[-1] = replace(steps[-1], outputs=(between,))
        attributes = MappingProxyType({"fused_activation_function": "NONE"})
        steps.append(Operator(op.index, "MUL", (between, factor), (target,), attributes))
    activation = op.attributes["fused_activation_function"]
    steps[-1] = steps[-1].with_attributes(fused_activation_function=activation)
    return model.replaced(op, *steps)


def _counts(model: Model, op: Operator) -> tuple[Counts, Counts]:
    """For every result row and column, how many of the window's lie on the map."""
    extent, pads = dims_of(model.tensors[op.inputs[0]].shape), window_pads(model, op)
    outputs = dims_of(model.tensors[op.outputs[0]].shape)
    window = _window(op)
    sides = (
        (extent.height, outputs.height, window[0], pads.top, op.attributes["stride_h"]),
        (extent.width, outputs.width, window[1], pads.left, op.attributes["stride_w"]),
    )
    return _inside(*sides[0]), _inside(*sides[1])


def _inside(size: int, outputs: int, window: int, before: int, stride: int) -> Counts:
    first = np.arange(outputs) * stride - before
    inside: Counts = np.minimum(first + window, size) - np.maximum(first, 0)
    return np.maximum(inside, 1)


def _factor(model: Model, counts: Counts, axis: int) -> tuple[Model, int]:
    """The constant largest / count along an axis, as codes in which 1 has no rounding error."""
    largest, smallest = int(counts.max()), int(counts.min())
    one = _LARGEST_CODE * smallest // largest
    exact = math.lcm(*counts.tolist())
    if exact <= one:
        one -= one % exact
    codes = np.rint(largest / counts * one).astype(np.int8)
    quant = Quant(np.array([1 / one], np.float32), np.zeros(1, np.int64))
    shape = [1, 1, 1, 1]
    shape[axis] = counts.size
    return model.with_tensor(Tensor("share", tuple(shape), "int8", quant, codes.reshape(shape)))


def mean_over_channels(model: Model) -> Model:
    """MEAN over channels (and height or width): a convolution with one output.

    Over a map beyond the largest filter, the mean over height and width comes first.
    """
    for op in model.operators:
        axes = model.constant(op.inputs[1]) if op.code == "MEAN" and len(op.inputs) > 1 else None
        shape = model.tensors[op.inputs[0]].shape if op.inputs else ()
        if axes is None or not 3 <= len(shape) <= 4 or not op.attributes["keep_dims"]:
            continue
        over = {axis_of(int(axis), len(shape)) for axis in axes.ravel()}
        if Axis.CHANNEL in over and None not in over:
            model = _collapse(model, op, over)
    return model


def _collapse(model: Model, op: Operator, over: set[Axis | None]) -> Model:
    source = op.inputs[0]
    extent = dims_of(model.tensors[source].shape)
    height = extent.height if Axis.HEIGHT in over else 1
    width = extent.width if Axis.WIDTH in over else 1
    steps = []
    if max(height, width) > MAX_KERNEL:
        shape = (*model.tensors[op.outputs[0]].shape[:-1], extent.channels)
        between = replace(model.tensors[source], shape=shape)
        model, flat = model.with_tensor(between)
        rank = len(shape)
        sides = [axis for axis in range(rank) if axis_of(axis, rank) in over - {Axis.CHANNEL}]
        model, axes = model.with_tensor(
            Tensor("axes", (len(sides),), "int32", None, np.array(sides, np.int32))
        )
        steps.append(replace(op, inputs=(source, axes), outputs=(flat,)))
        source, height, width = flat, 1, 1
    area = height * width * extent.channels
    kernel = np.ones((1, height, width, extent.channels), np.int8)
    model, weights, bias = with_weights(model, "average", kernel, 1, 1 / area)
    operands = (source, weights, bias)
    mixed = Operator(op.index, "CONV_2D", operands, op.outputs, PLAIN)
    return model.replaced(op, *steps, mixed)
