"""How a tensor lies on the device in the transposed variant.

Height and width change places in all that follows from the model's input, also where a map is a
mere row; only a fully connected layer gives a vector that stays a row.
"""

from __future__ import annotations

from compiler.dims import dims_of
from compiler.ir import Dims
from compiler.model import Model
from compiler.options import CompileOptions


def seen_dims(model: Model, tensor: int, options: CompileOptions) -> Dims:
    """The extent of a tensor as the device sees it (see `compiler.transposition`)."""
    extent = dims_of(model.tensors[tensor].shape)
    row = extent.height * extent.channels == 1
    if options.transpose and row and not _follows_input(model, tensor):
        return extent
    return options.turned(extent)


def _follows_input(model: Model, tensor: int) -> bool:
    """Whether a path leads to the model's input without a fully connected layer on it."""
    inputs = {model.root(number) for number in model.inputs}
    waiting, met = [model.root(tensor)], set[int]()
    while waiting:
        number = waiting.pop()
        if number in inputs:
            return True
        producer = None if number in met else model.producer(number)
        met.add(number)
        if producer is None or (producer.code == "FULLY_CONNECTED" and _is_one_row(model, number)):
            continue
        waiting += [model.root(i) for i in producer.inputs if i >= 0 and model.constant(i) is None]
    return False


def _is_one_row(model: Model, tensor: int) -> bool:
    """Of several rows, a fully connected layer becomes a convolution."""
    shape = model.tensors[tensor].shape
    return not shape or model.tensors[tensor].elements == shape[-1]
