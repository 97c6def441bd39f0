"""Filter and window rows that only ever meet padding are cut off.

A 3x3 filter on a map of one row multiplies the padding's zero points by its first and last row. The
folded bias takes them out again, so the result is the same without these rows, which Nordic's code
generator refuses when the padding is as high as the result.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from compiler.dims import dims_of
from compiler.model import Model, Operator
from compiler.options import CompileOptions
from compiler.passes.padding import window_extent, window_outputs, window_pads

_FILTERED = ("CONV_2D", "DEPTHWISE_CONV_2D")


def crop_filters(model: Model, options: CompileOptions) -> Model:
    """Cut the rows of convolutions and max pools (columns, when the variant is transposed)."""
    for original in model.operators:
        op = original
        across, along = (2, 1) if options.transpose else (1, 2)
        if op.code in _FILTERED and _is_plain(model, op):
            model, op = _crop(model, op, across)
            if _is_wide(model, op, along, 2):
                model, op = _crop(model, op, along)
        elif op.code == "MAX_POOL_2D" and op.attributes["padding"] == "SAME" and _fits(model, op):
            model, op = _crop_pool(model, op, across)
            if _is_wide(model, op, along, 1):
                model, op = _crop_pool(model, op, along)
    return model


def _is_wide(model: Model, op: Operator, axis: int, times: int) -> bool:
    """Whether a window is so much wider than the map that the code generator fails on it."""
    extent = dims_of(model.tensors[op.inputs[0]].shape)
    size = extent.height if axis == 1 else extent.width
    return window_extent(model, op)[axis - 1] > times * size + 1


def _fits(model: Model, op: Operator) -> bool:
    shapes = (model.tensors[op.inputs[0]].shape, model.tensors[op.outputs[0]].shape)
    steps = (op.attributes["stride_h"], op.attributes["stride_w"])
    sides = (op.attributes["filter_height"], op.attributes["filter_width"])
    return max(len(shape) for shape in shapes) <= 4 and min(steps) >= 1 and max(sides) <= 256


def _is_plain(model: Model, op: Operator) -> bool:
    """Whether there is a filter to cut; the constraints report what else there is."""
    weights = model.constant(op.inputs[1]) if len(op.inputs) > 1 else None
    shapes = (model.tensors[op.inputs[0]].shape, model.tensors[op.outputs[0]].shape)
    return (
        weights is not None
        and weights.ndim == 4
        and max(len(shape) for shape in shapes) <= 4
        and min(op.attributes["stride_h"], op.attributes["stride_w"]) >= 1
    )


def _crop(model: Model, op: Operator, axis: int) -> tuple[Model, Operator]:
    """`axis` of the weights [out][height][width][in]."""
    used = used_taps(model, op, axis)
    weights = model.tensors[op.inputs[1]]
    data = model.constant(op.inputs[1])
    if data is None or not used or len(used) == data.shape[axis]:
        return model, op
    first, last = used[0], used[-1]
    places = [slice(None)] * 4
    places[axis] = slice(first, last + 1)
    cut = np.ascontiguousarray(data[tuple(places)])
    side = "h" if axis == 1 else "w"
    step = op.attributes[f"dilation_{side}_factor"]
    before, after = first * step, (data.shape[axis] - 1 - last) * step
    pads = window_pads(model, op)
    if axis == 1:
        pads = replace(pads, top=pads.top - before, bottom=pads.bottom - after)
    else:
        pads = replace(pads, left=pads.left - before, right=pads.right - after)
    model, number = model.with_tensor(replace(weights, shape=cut.shape, data=cut))
    operands = (op.inputs[0], number, *op.inputs[2:])
    cropped = replace(op.with_attributes(pads=pads), inputs=operands)
    return model.replaced(op, cropped), cropped


def _crop_pool(model: Model, op: Operator, axis: int) -> tuple[Model, Operator]:
    """Padding never wins, so rows of a window that only meet padding decide nothing."""
    name = "filter_height" if axis == 1 else "filter_width"
    count = op.attributes[name]
    used = used_taps(model, op, axis)
    if not used or len(used) == count:
        return model, op
    pads, before, after = window_pads(model, op), used[0], count - 1 - used[-1]
    if axis == 1:
        pads = replace(pads, top=pads.top - before, bottom=pads.bottom - after)
    else:
        pads = replace(pads, left=pads.left - before, right=pads.right - after)
    cropped = op.with_attributes(pads=pads, **{name: len(used)})
    return model.replaced(op, cropped), cropped


def used_taps(model: Model, op: Operator, axis: int) -> list[int]:
    """Taps along an axis that meet the map at one output at least."""
    extent, pads = dims_of(model.tensors[op.inputs[0]].shape), window_pads(model, op)
    outputs = window_outputs(extent, window_extent(model, op), pads, op)
    side = "h" if axis == 1 else "w"
    size, count, before = (
        (extent.height, outputs.height, pads.top)
        if axis == 1
        else (extent.width, outputs.width, pads.left)
    )
    stride, step = op.attributes[f"stride_{side}"], op.attributes.get(f"dilation_{side}_factor", 1)
    starts = np.arange(max(count, 0)) * stride - before
    window = window_extent(model, op)[axis - 1]
    taps = (window - 1) // step + 1
    return [i for i in range(taps) if np.any((starts + i * step >= 0) & (starts + i * step < size))]
