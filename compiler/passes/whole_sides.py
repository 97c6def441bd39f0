"""Pools along one side that leave one row or column, or one pixel.

Nordic's code generator makes a mean of them, also of a max pool, and forgets to step along the
other side (compiler 1.4.0). So a max pool gets a result that is one longer, of which a slice takes
the first; and in front of an average a slice takes the rows or columns that the steps meet.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

from compiler.dims import axis_of, dims_of
from compiler.ir import Axis, Dims
from compiler.model import Model, Operator
from compiler.passes.padding import window_extent, window_outputs, window_pads

_POOL: Final = {
    "padding": "VALID",
    "stride_h": 1,
    "stride_w": 1,
    "fused_activation_function": "NONE",
}


def pool_maxima(model: Model) -> Model:
    """REDUCE_MAX over height, width or both of a map: a max pool over them."""
    for op in model.operators:
        axes = model.constant(op.inputs[1]) if op.code == "REDUCE_MAX" else None
        shape = model.tensors[op.inputs[0]].shape if op.inputs else ()
        if axes is None or len(shape) != 4 or not op.attributes["keep_dims"]:
            continue
        over = {axis_of(int(axis), 4) for axis in axes.ravel()}
        if over and over <= {Axis.HEIGHT, Axis.WIDTH}:
            height = shape[1] if Axis.HEIGHT in over else 1
            width = shape[2] if Axis.WIDTH in over else 1
            pool = {**_POOL, "filter_height": height, "filter_width": width}
            attributes = MappingProxyType(pool)
            maximum = Operator(op.index, "MAX_POOL_2D", op.inputs[:1], op.outputs, attributes)
            model = model.replaced(op, maximum)
    return model


def lengthen_maxima(model: Model) -> Model:
    """MAX_POOL_2D to one row, column or pixel: one more of them, then a slice."""
    for op in model.operators:
        if op.code == "MAX_POOL_2D" and _is_plain(model, op):
            result = dims_of(model.tensors[op.outputs[0]].shape)
            if sums_up(result, window_extent(model, op)):
                model = _lengthen(model, op, "w" if result.width == 1 else "h")
    return model


def sums_up(result: Dims, window: tuple[int, int]) -> bool:
    """Whether the code generator takes a max pool for a mean: one result along what it pools."""
    row = result.height == 1 and window[1] == 1
    column = result.width == 1 and window[0] == 1
    return window != (1, 1) and (row or column or (result.height, result.width) == (1, 1))


def step_before_averages(model: Model) -> Model:
    """AVERAGE_POOL_2D to one row or column with steps along it: a slice in front."""
    for op in model.operators:
        if op.code != "AVERAGE_POOL_2D" or not _is_plain(model, op):
            continue
        extent, result = (dims_of(model.tensors[i].shape) for i in (op.inputs[0], op.outputs[0]))
        window, pads = window_extent(model, op), window_pads(model, op)
        if any((pads.left, pads.right, pads.top, pads.bottom)):
            continue
        if window[1] == result.height == 1 and 1 < result.width < extent.width:
            model = _step(model, op, "w")
        elif window[0] == result.width == 1 and 1 < result.height < extent.height:
            model = _step(model, op, "h")
    return model


def _is_plain(model: Model, op: Operator) -> bool:
    """A pool of a map, with the result that window and strides give; constraints report others."""
    shapes = [model.tensors[i].shape for i in (op.inputs[0], op.outputs[0])]
    if any(len(shape) != 4 for shape in shapes):
        return False
    if min(op.attributes["stride_h"], op.attributes["stride_w"]) < 1:
        return False
    extent, pads = dims_of(shapes[0]), window_pads(model, op)
    outputs = window_outputs(extent, window_extent(model, op), pads, op)
    return outputs == dims_of(shapes[1])


def _lengthen(model: Model, op: Operator, side: str) -> Model:
    """Along `side` there is one result; with stride 1 and padding behind there are two or more."""
    pads, target = window_pads(model, op), op.outputs[0]
    extent = dims_of(model.tensors[op.inputs[0]].shape)
    axis = 1 if side == "h" else 2
    longer: dict[str, Any] = {f"stride_{side}": 1}
    if side == "h":
        rows = extent.height + pads.top + pads.bottom - op.attributes["filter_height"]
        longer["pads"] = replace(pads, bottom=pads.bottom + 1) if rows == 0 else pads
    else:
        columns = extent.width + pads.left + pads.right - op.attributes["filter_width"]
        longer["pads"] = replace(pads, right=pads.right + 1) if columns == 0 else pads
    pool = op.with_attributes(**longer)
    outputs = window_outputs(extent, window_extent(model, op), longer["pads"], pool)
    shape = list(model.tensors[target].shape)
    shape[axis] = outputs.height if side == "h" else outputs.width
    model, long = model.with_tensor(replace(model.tensors[target], shape=tuple(shape)))
    end = [*shape]
    end[axis] = 1
    first = _slice(op, long, target, end, (1, 1, 1, 1))
    return model.replaced(op, replace(pool, outputs=(long,)), first)


def _step(model: Model, op: Operator, side: str) -> Model:
    source, axis = model.tensors[op.inputs[0]], 1 if side == "h" else 2
    count = model.tensors[op.outputs[0]].shape[axis]
    step = op.attributes[f"stride_{side}"]
    shape, end, strides = list(source.shape), list(source.shape), [1, 1, 1, 1]
    shape[axis], end[axis], strides[axis] = count, (count - 1) * step + 1, step
    model, met = model.with_tensor(replace(source, shape=tuple(shape), data=None))
    taken = _slice(op, op.inputs[0], met, end, tuple(strides))
    pool = replace(op.with_attributes(**{f"stride_{side}": 1}), inputs=(met,))
    return model.replaced(op, taken, pool)


def _slice(
    op: Operator, source: int, target: int, end: list[int], stride: tuple[int, ...]
) -> Operator:
    attributes = {"begin": (0, 0, 0, 0), "end": tuple(end), "stride": stride}
    return Operator(op.index, "STRIDED_SLICE", (source,), (target,), MappingProxyType(attributes))
