"""Strides beyond the largest, where they take no step: along an axis with one result."""

from __future__ import annotations

from typing import Final

from compiler.dims import dims_of
from compiler.model import Model, Operator
from compiler.passes.padding import window_extent, window_pads

LONGEST_STRIDE: Final = 31
_WINDOWS: Final = ("CONV_2D", "DEPTHWISE_CONV_2D", "MAX_POOL_2D")


def shorten_steps(model: Model) -> Model:
    """Give such an axis the shortest stride that still leaves one result."""
    for op in model.operators:
        longest = max(op.attributes.get("stride_h", 0), op.attributes.get("stride_w", 0))
        shapes = [model.tensors[i].shape for i in (*op.inputs[:1], *op.outputs[:1])]
        if op.code in _WINDOWS and longest > LONGEST_STRIDE and max(map(len, shapes)) <= 4:
            model = _shorten(model, op)
    return model


def _shorten(model: Model, op: Operator) -> Model:
    extent, result = (dims_of(model.tensors[i].shape) for i in (op.inputs[0], op.outputs[0]))
    if op.code.endswith("CONV_2D") and model.constant(op.inputs[1]) is None:
        return model
    pads, window = window_pads(model, op), window_extent(model, op)
    sides = (
        ("h", extent.height + pads.top + pads.bottom, window[0], result.height),
        ("w", extent.width + pads.left + pads.right, window[1], result.width),
    )
    changes = {}
    for side, size, length, outputs in sides:
        stride = max(size - length + 1, 1)
        if outputs == 1 and op.attributes[f"stride_{side}"] > LONGEST_STRIDE >= stride:
            changes[f"stride_{side}"] = stride
    return model.replaced(op, op.with_attributes(pads=pads, **changes)) if changes else model
