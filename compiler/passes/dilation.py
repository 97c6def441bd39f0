"""Dilated filters as plain ones with zeros between the taps.

The NPU dilates only along an axis with one result, and Nordic's code generator gets that right only
without stride and padding (compiler 1.4.0); such a dilation stays.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from compiler.dims import dims_of
from compiler.model import Model, Operator
from compiler.passes.padding import window_pads

LARGEST_EXTENT: Final = 256
LARGEST_WEIGHTS: Final = 1 << 26
"""In bytes. Larger filters are not written out, and the constraints refuse them."""


def spread_taps(model: Model) -> Model:
    """Write out every dilation that the NPU would not compute; one tap needs none."""
    for op in model.operators:
        if op.code in ("CONV_2D", "DEPTHWISE_CONV_2D") and len(op.inputs) > 1:
            weights = model.constant(op.inputs[1])
            shapes = (model.tensors[op.inputs[0]].shape, model.tensors[op.outputs[0]].shape)
            if weights is not None and weights.ndim == 4 and max(map(len, shapes)) <= 4:
                model = _spread(model, op)
    return model


def _spread(model: Model, op: Operator) -> Model:
    pads, extent = window_pads(model, op), dims_of(model.tensors[op.outputs[0]].shape)
    sides = (
        (1, "h", extent.height, pads.top + pads.bottom),
        (2, "w", extent.width, pads.left + pads.right),
    )
    weights = model.tensors[op.inputs[1]]
    data, changes = np.asarray(weights.data), {}
    for axis, side, outputs, padding in sides:
        factor, taps = op.attributes[f"dilation_{side}_factor"], data.shape[axis]
        plain = outputs == 1 and padding == 0 and op.attributes[f"stride_{side}"] == 1
        if factor < 2 or (plain and taps > 1 and op.code == "CONV_2D"):
            continue
        extent_now = (taps - 1) * factor + 1
        if extent_now > LARGEST_EXTENT or data.size // taps * extent_now > LARGEST_WEIGHTS:
            continue
        changes[f"dilation_{side}_factor"] = 1
        data = _with_zeros(data, axis, factor)
    if not changes:
        return model
    model, number = model.with_tensor(replace(weights, shape=data.shape, data=data))
    operands = (op.inputs[0], number, *op.inputs[2:])
    return model.replaced(op, replace(op.with_attributes(**changes), inputs=operands))


def _with_zeros(
    weights: np.ndarray[tuple[int, ...], np.dtype[np.int8]], axis: int, factor: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.int8]]:
    shape = list(weights.shape)
    shape[axis] = (shape[axis] - 1) * factor + 1
    spread = np.zeros(shape, weights.dtype)
    places = [slice(None)] * weights.ndim
    places[axis] = slice(None, None, factor)
    spread[tuple(places)] = weights
    return spread
