"""How far one layer may be from host TFLite's, in steps of its output, before it counts as a fault.

Both sides get the same operands. What then remains is known:

- rounding: the NPU rounds each result once, ties to even; TFLite's kernels round a product twice,
  ties up or away from zero. One step. Layers that only move data have none.
- multiplier bits: the NPU multiplies by an integer over a power of two, and zero point times that
  power must fit 32 bits, so a multiplier often has no more than 23 fraction bits where TFLite's has
  31 significant ones. An accumulator a is then off by at most |a| * 2^-(shift + 1). That is nothing
  for most channels, and many steps for one whose weights all but vanish while its bias does not.
- fraction bits: softmax, sigmoid and tanh read their operand with 12 fraction bits, and compute in
  floating point where TFLite uses tables and fixed point. One step.
- fused activations: TFLite rounds to int8 between the layer and a RELU or LEAKY_RELU behind it, the
  NPU does not. One step of the tensor in between, counted in steps of the result.

A layer beyond its bound computes something else than the model says.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from compiler import Layer, Op
from harness.golden import Graph, TensorInfo

Array = npt.NDArray[Any]
IntArray = npt.NDArray[np.int64]

_LARGEST_CODE: Final = 128
_LARGEST_PRODUCT: Final = 255 * 255
"""Of two codes without their zero points."""
_SLACK: Final = 2.0**-6
"""TFLite's own multipliers are rounded to 31 bits and its biases to integers."""
_MOVES: Final = frozenset(
    {
        Op.MAX_POOL,
        Op.CHANNEL_PAD,
        Op.PERSISTENT_VARIABLE,
        Op.CONCATENATE,
        Op.STRIDED_SLICE,
        Op.RESHAPE,
        Op.SPACE_TO_BATCH,
        Op.BATCH_TO_SPACE,
        Op.RESIZE_NEAREST,
    }
)
_FUSED: Final = frozenset({"RELU", "RELU6", "RELU_N1_TO_1", "LEAKY_RELU"})


def rounding_bound(layer: Layer) -> int:
    """Steps that rounding, or the arithmetic of softmax, sigmoid and tanh, may make."""
    return 0 if layer.op in _MOVES else 1


def multiplier_bound(layer: Layer) -> IntArray:
    """Whole steps that the bits of the multipliers may cost, int64 [1] or one for each channel."""
    if layer.op in _MOVES or layer.op.on_cpu or layer.shifts is None:
        return np.zeros(1, np.int64)
    error = np.ldexp(1.0, -(layer.shifts.astype(np.int64).ravel() + 1))
    return np.asarray(np.floor(_largest_accumulator(layer) * error + _SLACK), np.int64)


def activation_bound(graph: Graph, tensor: TensorInfo, paired: Collection[int]) -> int:
    """Steps of `tensor` that TFLite's rounding in front of a fused activation may make.

    paired: tensors that the program computes, too; those are compared themselves.
    """
    writers = [op for op in graph.operators if tensor.index in op.outputs and op.name in _FUSED]
    if not writers or writers[0].inputs[0] in paired:
        return 0
    between = graph.tensors[writers[0].inputs[0]]
    inner = activation_bound(graph, between, paired)
    return math.ceil((1 + inner) * between.scale / tensor.scale)


def _largest_accumulator(layer: Layer) -> Array:
    """Upper bound of |accumulator|, float64 [1] or one for each channel."""
    bias = np.zeros(1) if layer.bias is None else np.abs(layer.bias.astype(np.float64)).ravel()
    if layer.op is Op.MULTIPLY:
        return np.full(1, float(_LARGEST_PRODUCT))
    if layer.op is Op.ADD:
        # Each of the two multipliers is off, and the bias is cut to an integer.
        return np.full(1, 2.0 * _LARGEST_CODE + 2.0)
    if layer.op in (Op.MEAN, Op.AVERAGE_POOL):
        area = layer.filter_dims.height * layer.filter_dims.width * _depth(layer)
        return area * _LARGEST_CODE + bias
    if layer.filter is None:
        return bias
    weights = np.abs(layer.filter.astype(np.float64)).reshape(len(layer.filter), -1).sum(axis=1)
    return np.asarray(weights * _LARGEST_CODE + bias)


def _depth(layer: Layer) -> int:
    return max(1, layer.filter_dims.channels) if layer.op is Op.MEAN else 1
