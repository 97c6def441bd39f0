"""Operands of ADD and MUL: the constant goes last and gets the extent that the layer needs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from compiler.dims import dims_of
from compiler.model import Model, Operator
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
        negated = op.attributes.get("negated")
        if model.constant(first) is not None and model.constant(second) is None:
            first, second = second, first
            negated = None if negated is None else 1 - negated
        if model.constant(second) is not None:
            whole = options.output == "int32" and model.is_output(op.outputs[0])
            spread = _Spread(op.code == "ADD", whole, options)
            model, second = _write_out(model, first, second, spread)
        ordered = replace(op, inputs=(first, second))
        if negated is not None:
            ordered = ordered.with_attributes(negated=negated)
        model = model.replaced(op, ordered)
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
    if not all(n in (1, m) or m == 1 for n, m in zip(shaped.shape, shape, strict=True)):
        return model, constant
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


def spread_pixels(model: Model, options: CompileOptions) -> Model:
    """An addition of a single pixel to a map: the pixel is resized to a row (or a column).

    Nordic's code generator never ends on it as it stands unless it is the last layer with an 8-bit
    output (compiler 1.4.0); products are fine.
    """
    for op in model.operators:
        if op.code != "ADD" or len(op.inputs) != 2 or min(op.inputs) < 0:
            continue
        if not model.consumers(op.outputs[0]) and options.output == "int8":
            continue
        shapes = [model.tensors[i].shape for i in op.inputs]
        if any(len(shape) != 4 or model.constant(i) is not None
               for shape, i in zip(shapes, op.inputs, strict=True)):  # fmt: skip
            continue
        for place, shape in enumerate(shapes):
            if shape[1:3] == (1, 1) and shapes[1 - place][1:3] != (1, 1):
                model = _spread(model, op, place, shapes[1 - place], options)
                break
    return model


def _spread(
    model: Model, op: Operator, place: int, map_shape: tuple[int, ...], options: CompileOptions
) -> Model:
    """The pixel as long as a row of the map as it lies on the device."""
    tensor = model.tensors[op.inputs[place]]
    across = 1 if options.transpose else 2
    axis = across if map_shape[across] > 1 else 3 - across
    shape = tuple(map_shape[i] if i == axis else n for i, n in enumerate(tensor.shape))
    model, row = model.with_tensor(replace(tensor, shape=shape))
    flags = MappingProxyType({"align_corners": False, "half_pixel_centers": False})
    resize = Operator(op.index, "RESIZE_NEAREST_NEIGHBOR", (op.inputs[place],), (row,), flags)
    operands = tuple(row if i == place else number for i, number in enumerate(op.inputs))
    return model.replaced(op, resize, replace(op, inputs=operands))
