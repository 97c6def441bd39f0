"""STRIDED_SLICE in plain numbers; SPLIT and SPLIT_V as slices.

Nordic's binary can also give a consumer an offset into its producer, but convolutions ignore it
(docs/axon-binary.md), so every part of a split becomes a slice of its own.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import numpy as np

from compiler.model import Model, Operator
from compiler.passes.steps import LONGEST_STRIDE


def resolve_slices(model: Model) -> Model:
    """Slices get `begin`, `end`, `stride` per input axis; one that keeps all becomes a RESHAPE."""
    for op in model.operators:
        if op.code in ("SPLIT", "SPLIT_V"):
            model = _split(model, op)
    for op in model.operators:
        if op.code == "STRIDED_SLICE" and "begin" not in op.attributes:
            model = _resolve(model, op)
        elif op.code == "SLICE":
            model = _resolve_plain(model, op)
    return model


def _split(model: Model, op: Operator) -> Model:
    data, axis_tensor = (1, 0) if op.code == "SPLIT" else (0, 2)
    axis_value = model.constant(op.inputs[axis_tensor]) if len(op.inputs) > axis_tensor else None
    shape = model.tensors[op.inputs[data]].shape
    if axis_value is None or axis_value.size != 1 or not shape:
        return model
    if not -len(shape) <= int(axis_value.flat[0]) < len(shape):
        return model
    axis = int(axis_value.flat[0]) % len(shape)
    parts = []
    begin = 0
    for result in op.outputs:
        part = model.tensors[result].shape
        if len(part) != len(shape):
            return model
        starts, ends = [0] * len(shape), list(shape)
        starts[axis], ends[axis] = begin, begin + part[axis]
        begin += part[axis]
        if model.consumers(result) or model.is_output(result):
            parts.append(_slice(op, op.inputs[data], result, starts, ends, [1] * len(shape)))
    return model.replaced(op, *parts) if begin == shape[axis] else model


def _slice(
    op: Operator, source: int, target: int, begin: list[int], end: list[int], stride: list[int]
) -> Operator:
    """A stride that is too long, where it takes no step, is 1."""
    for axis, step in enumerate(stride):
        if step > LONGEST_STRIDE and begin[axis] < end[axis] <= begin[axis] + step:
            end[axis], stride[axis] = begin[axis] + 1, 1
    attributes = {"begin": tuple(begin), "end": tuple(end), "stride": tuple(stride)}
    return Operator(op.index, "STRIDED_SLICE", (source,), (target,), MappingProxyType(attributes))


def _resolve(model: Model, op: Operator) -> Model:
    shape = model.tensors[op.inputs[0]].shape
    tables = [model.constant(i) for i in op.inputs[1:4]]
    masks = op.attributes
    usable = len(tables) == 3 and all(t is not None and t.size == len(shape) for t in tables)
    if not usable or masks["ellipsis_mask"] or masks["new_axis_mask"]:
        return model
    begin, end, stride = (np.asarray(t).ravel().tolist() for t in tables)
    for axis, extent in enumerate(shape):
        if stride[axis] <= 0:
            return model
        low, high = (v + extent if v < 0 else v for v in (begin[axis], end[axis]))
        if masks["shrink_axis_mask"] >> axis & 1:
            high = low + 1
        begin[axis] = 0 if masks["begin_mask"] >> axis & 1 else min(max(low, 0), extent)
        end[axis] = extent if masks["end_mask"] >> axis & 1 else min(max(high, 0), extent)
        if masks["shrink_axis_mask"] >> axis & 1:
            begin[axis], end[axis], stride[axis] = low, low + 1, 1
    return _settle(model, op, begin, end, stride)


def _resolve_plain(model: Model, op: Operator) -> Model:
    shape = model.tensors[op.inputs[0]].shape
    tables = [model.constant(i) for i in op.inputs[1:3]]
    if len(tables) != 2 or any(t is None or t.size != len(shape) for t in tables):
        return model
    begin, size = (np.asarray(t).ravel().tolist() for t in tables)
    end = [
        extent if count == -1 else start + count
        for start, count, extent in zip(begin, size, shape, strict=True)
    ]
    return _settle(model, op, begin, end, [1] * len(shape))


def _settle(
    model: Model, op: Operator, begin: list[int], end: list[int], stride: list[int]
) -> Model:
    """A slice that keeps everything only reshapes; one that drops axes slices, then reshapes."""
    source, target = op.inputs[0], op.outputs[0]
    reshape = Operator(op.index, "RESHAPE", (source,), (target,))
    if model.tensors[source].elements == model.tensors[target].elements:
        return model.replaced(op, reshape)
    kept = tuple(-(-(e - b) // s) for b, e, s in zip(begin, end, stride, strict=True))
    if kept == model.tensors[target].shape or min(kept) < 1:
        return model.replaced(op, _slice(op, source, target, begin, end, stride))
    model, part = model.with_tensor(replace(model.tensors[target], shape=kept))
    cut = _slice(op, source, part, begin, end, stride)
    return model.replaced(op, cut, replace(reshape, inputs=(part,)))
