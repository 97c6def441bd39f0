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
- split operators: where several layers make up one operator of TFLite, each of them rounds. What a
  layer in between is off by, at most half a step, arrives times the gain of the layers behind it.

A layer beyond its bound computes something else than the model says.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from compiler import MOVES_DATA, Layer, Op
from harness.golden import Graph, TensorInfo

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

_HALF: Final = 0.5
_LARGEST_CODE: Final = 128
_LARGEST_PRODUCT: Final = 255 * 255
"""Of two codes without their zero points."""
_SLACK: Final = 2.0**-6
"""TFLite's own multipliers are rounded to 31 bits and its biases to integers."""
_FUSED: Final = frozenset({"RELU", "RELU6", "RELU_N1_TO_1", "LEAKY_RELU"})


@dataclass(frozen=True, slots=True, eq=False)
class Deviation:
    """How far a layer may be from exact arithmetic, in steps of its output.

    rounding: by rounding, its own and that of layers in between. multipliers: by the bits of
    multipliers, float64 [1] or one for each channel.
    """

    rounding: float
    multipliers: FloatArray

    @property
    def largest(self) -> float:
        """Both together, in the worst channel."""
        return self.rounding + float(self.multipliers.max(initial=0.0))

    @property
    def rounding_bound(self) -> int:
        """Whole steps from TFLite's result that rounding explains; TFLite rounds as well."""
        return math.floor(_HALF + self.rounding + _SLACK) if self.rounding else 0

    @property
    def bound(self) -> IntArray:
        """The same with the bits of multipliers, int64 [1] or one for each channel."""
        if not self.largest:
            return np.zeros(1, np.int64)
        return np.asarray(np.floor(_HALF + self.rounding + self.multipliers + _SLACK), np.int64)


EXACT: Final = Deviation(0.0, np.zeros(1))
"""A value taken over from TFLite."""


def deviation_of(layer: Layer, operands: Sequence[Deviation]) -> Deviation:
    """Of a layer, from its operands'."""
    arriving = _gain(layer) * max((item.largest for item in operands), default=0.0)
    if layer.op in MOVES_DATA:
        return Deviation(arriving, np.zeros(1))
    return Deviation(_HALF + arriving, _multiplier_error(layer))


def _multiplier_error(layer: Layer) -> FloatArray:
    """Half a unit of the multiplier times the largest accumulator."""
    if layer.op.on_cpu or layer.shifts is None:
        return np.zeros(1)
    error = np.ldexp(1.0, -(layer.shifts.astype(np.int64).ravel() + 1))
    return np.asarray(_largest_accumulator(layer) * error, np.float64)


def _gain(layer: Layer) -> float:
    """Steps of the output by which one step of every operand moves it, at most."""
    if layer.op in MOVES_DATA:
        return 1.0
    if layer.op.on_cpu or layer.multipliers is None or layer.shifts is None:
        return 0.0  # a softmax, sigmoid or tanh reads steps of 2^-12
    factors = np.abs(layer.multipliers.astype(np.float64)).ravel()
    factors = factors / np.ldexp(1.0, layer.shifts.astype(np.int64).ravel()).max()
    if layer.op is Op.ADD:
        return float(factors.sum())
    if layer.op is Op.MULTIPLY:
        return float(factors.max()) * 2 * _LARGEST_CODE
    if layer.op in (Op.MEAN, Op.AVERAGE_POOL):
        return float(factors.max()) * _area(layer)
    weights = _weight_sums(layer)
    fits = weights.size == factors.size
    return float((weights * factors).max()) if fits else float(weights.max() * factors.max())


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


def _largest_accumulator(layer: Layer) -> FloatArray:
    """Upper bound of |accumulator|, float64 [1] or one for each channel."""
    bias = np.zeros(1) if layer.bias is None else np.abs(layer.bias.astype(np.float64)).ravel()
    if layer.op is Op.MULTIPLY:
        return np.full(1, float(_LARGEST_PRODUCT))
    if layer.op is Op.ADD:
        # Each of the two multipliers is off, and the bias is cut to an integer.
        return np.full(1, 2.0 * _LARGEST_CODE + 2.0)
    if layer.op in (Op.MEAN, Op.AVERAGE_POOL):
        return _area(layer) * _LARGEST_CODE + bias
    return np.asarray(_weight_sums(layer) * _LARGEST_CODE + bias)


def _weight_sums(layer: Layer) -> FloatArray:
    """Sum of |weight| of each output channel, float64."""
    if layer.filter is None:
        return np.zeros(1)
    weights = np.abs(layer.filter.astype(np.float64)).reshape(len(layer.filter), -1)
    return np.asarray(weights.sum(axis=1))


def _area(layer: Layer) -> int:
    """Values that a mean or an average pool sums up."""
    dims = layer.filter_dims
    depth = max(1, dims.channels) if layer.op is Op.MEAN else 1
    return dims.height * dims.width * depth
