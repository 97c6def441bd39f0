"""Layers replaced by cheaper ones that compute the same integers.

The usual lowering has one layer per operator. Where another layer gives the same accumulators, and
so the same outputs, `compiler.cycles` says which one takes fewer cycles:

- A convolution of a single output pixel is a fully connected layer: the NPU starts a plane for
  every pair of channels of a convolution, and reads one weight word per cycle in a vector.
- A constant operand that is repeated over rows or columns costs commands per row; written out in
  full it costs none, but flash.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np

from compiler.arch import Arch, load_arch
from compiler.cycles import layer_parts
from compiler.ir import (
    EXTERNAL_INPUT,
    Activation,
    AxonProgram,
    Dims,
    IntArray,
    Layer,
    Op,
    Pads,
)
from compiler.shapes import layer_shape

MAX_VECTOR: Final = 2048
"""Inputs and outputs of a fully connected layer."""


def substitute(program: AxonProgram, arch: Arch | None = None) -> AxonProgram:
    """The program with every layer replaced that has a cheaper equal."""
    arch = arch or load_arch()
    # Backwards: whether a vector may stay packed depends on who reads it.
    for index in reversed(range(len(program.layers))):
        for propose in _SUBSTITUTES:
            layer = propose(program, index)
            if layer is not None:
                changed = _with_layer(program, index, layer)
                if _cycles(changed, index, arch) < _cycles(program, index, arch):
                    program = changed
    return program


def _with_layer(program: AxonProgram, index: int, layer: Layer) -> AxonProgram:
    layers = (*program.layers[:index], layer, *program.layers[index + 1 :])
    return replace(program, layers=layers)


def _cycles(program: AxonProgram, index: int, arch: Arch) -> float:
    return layer_parts(layer_shape(program, index), arch).cycles


def _fully_connected(program: AxonProgram, index: int) -> Layer | None:
    """A convolution whose filter covers its whole input once, as a fully connected layer.

    Channels, rows and columns lie in the filter as in the map, so the weights stay in order.
    """
    layer = program.layers[index]
    if layer.filter is None or not _is_one_window(program, layer):
        return None
    outputs, inputs = layer.filter.shape[0], layer.filter[0].size
    if max(outputs, inputs) > MAX_VECTOR:
        return None
    out = layer.output_dims
    if _only_read_as_vector(program, index):
        out = replace(out, width=outputs, channels=1)
    multipliers, shifts = _requantization(layer, outputs)
    return replace(
        layer,
        op=Op.FULLY_CONNECTED,
        inputs=(replace(layer.inputs[0], dims=Dims(1, inputs, 1)),),
        output_dims=out,
        filter_dims=Dims(outputs, inputs, 1, 1, 0),
        stride_x=0,
        stride_y=0,
        dilation_x=0,
        dilation_y=0,
        filter=layer.filter.reshape(outputs, inputs),
        multipliers=multipliers,
        shifts=shifts,
    )


def _requantization(layer: Layer, outputs: int) -> tuple[IntArray, IntArray]:
    """Multipliers and shifts as a fully connected layer reads them (observed of compiler 1.4.0):
    one of each, or as many shifts as multipliers. A convolution has a multiplier per channel.
    """
    assert layer.multipliers is not None
    assert layer.shifts is not None
    if np.all(layer.multipliers == layer.multipliers[0]) and np.all(
        layer.shifts == layer.shifts[0]
    ):
        return layer.multipliers[:1], layer.shifts[:1]
    shifts = np.ascontiguousarray(np.broadcast_to(layer.shifts, (outputs,)))
    return layer.multipliers, shifts


def _is_one_window(program: AxonProgram, layer: Layer) -> bool:
    """Whether a layer is a convolution of one window, over a whole tensor that a layer computes."""
    if layer.op not in (Op.CONV2D, Op.POINTWISE_CONV2D) or layer.pads != Pads():
        return False
    if layer.activation is Activation.LEAKY_RELU:  # not with a multiplier per channel
        return False
    source, window, out = layer.inputs[0], layer.filter_dims, layer.output_dims
    if source.producer == EXTERNAL_INPUT or (out.height, out.width, out.batch) != (1, 1, 1):
        return False
    whole = program.layers[source.producer].output_dims == source.dims
    return whole and (window.height, window.width) == (source.dims.height, source.dims.width)


def _only_read_as_vector(program: AxonProgram, index: int) -> bool:
    """Whether a layer is read, and only by fully connected layers."""
    readers = [
        layer
        for layer in program.layers
        if any(operand.producer == index for operand in layer.inputs)
    ]
    return bool(readers) and all(layer.op is Op.FULLY_CONNECTED for layer in readers)


def _whole_constant(program: AxonProgram, index: int) -> Layer | None:
    """An addition or multiplication with its repeated constant written out."""
    layer = program.layers[index]
    out = layer.output_dims
    if layer.op not in (Op.ADD, Op.MULTIPLY) or layer.filter is None or out.batch > 1:
        return None
    if layer.filter.shape == out.shape:
        return None
    constant = np.ascontiguousarray(np.broadcast_to(layer.filter, out.shape))
    return replace(
        layer, filter=constant, filter_dims=Dims(out.height, out.width, out.channels, 1, 0)
    )


_SUBSTITUTES: Final[tuple[Callable[[AxonProgram, int], Layer | None], ...]] = (
    _fully_connected,
    _whole_constant,
)
