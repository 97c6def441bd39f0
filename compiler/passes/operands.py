"""Operands of ADD and MUL: the constant goes last and gets the extent that the layer needs."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from compiler.dims import dims_of
from compiler.model import Model
from compiler.options import CompileOptions


@dataclass(frozen=True, slots=True)
class _Spread:
    """How far a constant is written out. whole: as large as the result."""

    add: bool
    whole: bool
    options: CompileOptions


def order_operands(model: Model, options: CompileOptions) -> Model:
    """Constant second; a constant that would broadcast over channels is written out."""
    for op in model.operators:
        if op.code not in ("ADD", "MUL") or len(op.inputs) != 2:
            continue
        first, second = op.inputs
        if model.constant(first) is not None and model.constant(second) is None:
            first, second = second, first
        if model.constant(second) is not None:
            whole = options.output == "int32" and model.is_output(op.outputs[0])
            spread = _Spread(op.code == "ADD", whole, options)
            model, second = _write_out(model, first, second, spread)
        model = model.replaced(op, replace(op, inputs=(first, second)))
    return model


def _write_out(model: Model, variable: int, constant: int, spread: _Spread) -> tuple[Model, int]:
    """The constant with the rank of the variable operand and all its channels.

    One single value stays as it is. An addition reads a constant of one column wrongly, a single
    value beside a vector too, and takes for a 32-bit output only what is as large as the result.
    """
    tensor = model.tensors[constant]
    shape = model.tensors[variable].shape
    data = model.constant(constant)
    if data is None or data.ndim > len(shape):
        return model, constant
    shaped = data.reshape((*(1,) * (len(shape) - data.ndim), *data.shape))
    if spread.add and (spread.whole or len(shape) <= 2):
        shaped = np.broadcast_to(shaped, np.broadcast_shapes(shaped.shape, shape))
    elif len(shape) > 2 and shaped.size > 1:
        extent = dims_of(shaped.shape)
        target = list(shaped.shape)
        target[-1] = shape[-1] if extent.channels == 1 else extent.channels
        seen, across = spread.options.turned(extent), -3 if spread.options.transpose else -2
        if spread.add and seen.width == 1 and seen.height > 1:
            target[across] = shape[across]
        shaped = np.broadcast_to(shaped, target)
    if shaped.shape == tensor.shape:
        return model, constant
    return model.with_tensor(replace(tensor, shape=shaped.shape, data=np.ascontiguousarray(shaped)))
