"""The model input, when more than one layer reads it.

Nordic's code generator lets some operations write their result over their input, and does so with
the first layer even though another layer still needs the model input (compiler 1.4.0). It also
refuses a first layer that reads the input twice. A copy in front avoids both.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from compiler.model import Model, Operator
from compiler.options import CompileOptions
from compiler.passes.identity import identity

_KEEPS_ITS_INPUT: Final = (
    "CONV_2D",
    "DEPTHWISE_CONV_2D",
    "MAX_POOL_2D",
    "RESIZE_NEAREST_NEIGHBOR",
    "STRIDED_SLICE",
)
"""Of the first layers; a 1x1 convolution that shares the input is lowered accordingly."""


def isolate_input(model: Model, _: CompileOptions) -> Model:
    """Put a copy of the model input before all layers, if it has to be kept and would not be."""
    if len(model.inputs) != 1 or not model.operators:
        return model
    source = model.inputs[0]
    readers = model.consumers(source)
    first = model.operators[0]
    twice = sum(model.root(i) == source for i in first.inputs if i >= 0) > 1
    shared = len(readers) > 1 and first in readers and first.code not in _KEEPS_ITS_INPUT
    shapes = {model.tensors[i].shape for op in readers for i in _places(model, op, source)}
    if not (twice or shared) or len(shapes) != 1 or model.tensors[source].quant is None:
        return model
    shape = shapes.pop()
    if not 1 <= len(shape) <= 4:
        return model
    return _copy_in_front(model, source, readers, shape)


def _places(model: Model, op: Operator, source: int) -> list[int]:
    return [i for i in op.inputs if i >= 0 and model.root(i) == source]


def _copy_in_front(
    model: Model, source: int, readers: tuple[Operator, ...], shape: tuple[int, ...]
) -> Model:
    model, kept = model.with_tensor(replace(model.tensors[source], shape=shape))
    model, view = model.with_tensor(replace(model.tensors[source], shape=shape))
    model = model.with_alias(view, source)
    for reader in readers:
        operands = tuple(kept if i >= 0 and model.root(i) == source else i for i in reader.inputs)
        model = model.replaced(reader, replace(reader, inputs=operands))
    model, copy = identity(model, readers[0].index, view, kept)
    return replace(model, operators=(copy, *model.operators))
