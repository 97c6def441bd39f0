"""Operands of ADD and MUL: the constant goes last and gets the extent that the layer needs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from compiler.dims import dims_of
from compiler.model import Model


def order_operands(model: Model) -> Model:
    """Constant second; a constant that would broadcast over channels is written out."""
    for op in model.operators:
        if op.code not in ("ADD", "MUL") or len(op.inputs) != 2:
            continue
        first, second = op.inputs
        if model.constant(first) is not None and model.constant(second) is None:
            first, second = second, first
        if model.constant(second) is not None:
            model, second = _write_out(model, first, second, op.code == "ADD")
        model = model.replaced(op, replace(op, inputs=(first, second)))
    return model


def _write_out(model: Model, variable: int, constant: int, add: bool) -> tuple[Model, int]:
    """The constant with the rank of the variable operand and all its channels.

    One single value stays as it is. An addition reads a constant of one column wrongly, and a
    single value beside a vector, so it gets whole rows.
    """
    tensor = model.tensors[constant]
    shape = model.tensors[variable].shape
    data = model.constant(constant)
    if data is None or data.ndim > len(shape):
        return model, constant
    shaped = data.reshape((*(1,) * (len(shape) - data.ndim), *data.shape))
    if add and len(shape) <= 2:
        shaped = np.broadcast_to(shaped, np.broadcast_shapes(shaped.shape, shape))
    elif len(shape) > 2 and shaped.size > 1:
        extent = dims_of(shaped.shape)
        target = list(shaped.shape)
        target[-1] = shape[-1] if extent.channels == 1 else extent.channels
        if add and extent.width == 1 and extent.height > 1:
            target[-2] = shape[-2]
        shaped = np.broadcast_to(shaped, target)
    if shaped.shape == tensor.shape:
        return model, constant
    return model.with_tensor(replace(tensor, shape=shaped.shape, data=np.ascontiguousarray(shaped)))
