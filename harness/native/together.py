"""Programs of fully connected layers for several inferences at once, as one with more rows.

A fully connected layer reads each weight once per inference and uses it once. With the inferences
of a batch as the pixels of a row, the convolution kernels use it for many of them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from compiler import AxonProgram, Dims, Layer, Op

TOGETHER: Final = 32
"""Inferences at once: their activations fit the first cache beside a block of weights."""
_VECTOR_OPS: Final = (Op.FULLY_CONNECTED, Op.SOFTMAX, Op.SIGMOID, Op.TANH)
_MOST_OUTPUTS: Final = 1 << 20


def together(program: AxonProgram, count: int) -> AxonProgram | None:
    """The program whose inferences are `count` of the given one's, in order; None where that would
    not pay or not fit: another operator than those of vectors, or too many outputs."""
    if any(layer.op not in _VECTOR_OPS for layer in program.layers):
        return None
    if sum(layer.output_dims.elements for layer in program.layers) * count > _MOST_OUTPUTS:
        return None
    return replace(program, layers=tuple(_repeated(layer, count) for layer in program.layers))


def _repeated(layer: Layer, count: int) -> Layer:
    return replace(
        layer,
        inputs=tuple(replace(operand, dims=_more(operand.dims, count)) for operand in layer.inputs),
        output_dims=_more(layer.output_dims, count),
    )


def _more(dims: Dims, count: int) -> Dims:
    return replace(dims, batch=dims.batch * count)
