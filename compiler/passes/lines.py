"""Pools and convolutions of a column become those of a row.

A sequence [1, T, C] lies in a row on the device. Keras pools it as a column [1, T, 1, C] between
two reshapes, which would move every byte and leave rows of one element, so the layer is turned.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from compiler.dims import dims_of
from compiler.model import Model, Operator
from compiler.passes.padding import window_pads

_WINDOWS: Final = ("MAX_POOL_2D", "AVERAGE_POOL_2D", "CONV_2D", "DEPTHWISE_CONV_2D")
TURNED: Final = MappingProxyType({"turned": True})
"""Marks the reshapes around a layer that was given another shape; they join their neighbours."""
_PAIRS: Final = (
    ("stride_h", "stride_w"),
    ("filter_height", "filter_width"),
    ("dilation_h_factor", "dilation_w_factor"),
)


def lay_down_lines(model: Model) -> Model:
    """Turn every window operation whose column is a reshaped row that a layer computes."""
    for op in model.operators:
        if op.code not in _WINDOWS:
            continue
        before = model.producer(op.inputs[0])
        if before is None or before.code != "RESHAPE" or model.consumers(op.inputs[0]) != (op,):
            continue
        if model.producer(before.inputs[0]) is None:
            continue
        shapes = [model.tensors[i].shape for i in (before.inputs[0], op.inputs[0])]
        if max(len(shape) for shape in shapes) <= 4 and _is_turned_row(model, op, *shapes):
            model = _turn(model, op)
    return model


def _is_turned_row(
    model: Model, op: Operator, row_shape: tuple[int, ...], column_shape: tuple[int, ...]
) -> bool:
    row, column = dims_of(row_shape), dims_of(column_shape)
    result = model.tensors[op.outputs[0]].shape
    return (
        len(column_shape) == 4
        and len(result) == 4
        and (row.height, column.width, result[2]) == (1, 1, 1)
        and (row.width, row.channels) == (column.height, column.channels)
    )


def _turn(model: Model, op: Operator) -> Model:
    """The operator between tensors with height and width exchanged, reshaped back behind it."""
    pads = window_pads(model, op)
    turned: dict[str, Any] = {
        "pads": replace(pads, left=pads.top, right=pads.bottom, top=pads.left, bottom=pads.right)
    }
    for down, across in _PAIRS:
        if down in op.attributes:
            turned[down], turned[across] = op.attributes[across], op.attributes[down]
    model, source = _exchanged(model, op.inputs[0])
    model, target = _exchanged(model, op.outputs[0])
    operands = list(op.inputs)
    if len(operands) > 1 and model.constant(operands[1]) is not None:
        model, operands[1] = _exchanged(model, operands[1])
    operands[0] = source
    into = Operator(op.index, "RESHAPE", (op.inputs[0],), (source,), TURNED)
    out_of = Operator(op.index, "RESHAPE", (target,), op.outputs, TURNED)
    layer = replace(op.with_attributes(**turned), inputs=tuple(operands), outputs=(target,))
    return model.replaced(op, into, layer, out_of)


def _exchanged(model: Model, number: int) -> tuple[Model, int]:
    tensor = model.tensors[number]
    batch, height, width, channels = tensor.shape
    data = tensor.data
    turned = None if data is None else np.ascontiguousarray(data.transpose(0, 2, 1, 3))
    return model.with_tensor(replace(tensor, shape=(batch, width, height, channels), data=turned))
