"""RESHAPE, EXPAND_DIMS, SQUEEZE, PACK and UNPACK of one: free where memory keeps its order.

Elsewhere they are a layer that the CPU computes. On the device rows are padded to four bytes and
channels are outermost, so a change of shape that moves no byte in TFLite may move every byte there.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from compiler.dims import dims_of
from compiler.ir import Dims
from compiler.model import Model, Operator

RESHAPES: Final = ("RESHAPE", "EXPAND_DIMS", "SQUEEZE", "PACK", "UNPACK")


def keep_reduced_dims(model: Model) -> Model:
    """A MEAN or REDUCE_MAX that drops its axes becomes one that keeps them, and a RESHAPE."""
    for op in model.operators:
        reduces = op.code in ("MEAN", "REDUCE_MAX") and len(op.inputs) > 1
        axes = model.constant(op.inputs[1]) if reduces else None
        if axes is None or op.attributes["keep_dims"]:
            continue
        shape = model.tensors[op.inputs[0]].shape
        reduced = {int(axis) % len(shape) for axis in axes.ravel()}
        kept = tuple(1 if axis in reduced else extent for axis, extent in enumerate(shape))
        result = replace(model.tensors[op.outputs[0]], shape=kept)
        model, between = model.with_tensor(result)
        mean = replace(op.with_attributes(keep_dims=True), outputs=(between,))
        reshape = Operator(op.index, "RESHAPE", (between,), op.outputs)
        model = model.replaced(op, mean, reshape)
    return model


def join_reshapes(model: Model) -> Model:
    """The reshapes around a turned layer take their neighbours' place."""
    for op in model.operators:
        if op.code not in RESHAPES or len(op.outputs) != 1 or not op.inputs:
            continue
        before = model.producer(op.inputs[0])
        if before is None or before.code not in RESHAPES or len(before.outputs) != 1:
            continue
        if "turned" in op.attributes or "turned" in before.attributes:
            moved = replace(op, inputs=(before.inputs[0], *op.inputs[1:]))
            model = model.replaced(op, moved)
    for op in reversed(model.operators):
        if op.code not in RESHAPES or len(op.outputs) != 1:
            continue
        if not model.consumers(op.outputs[0]) and not model.is_output(op.outputs[0]):
            model = model.without(op)
    return model


def settle_reshapes(model: Model) -> Model:
    """Free reshapes become aliases; the others become RESHAPE with the data as only operand."""
    for op in model.operators:
        if op.code == "TRANSPOSE" and _moves_nothing(model, op):
            model = model.without(op).with_alias(op.outputs[0], op.inputs[0])
        if op.code not in RESHAPES or len(op.outputs) != 1:
            continue
        if op.code == "PACK" and len(op.inputs) != 1:
            continue
        if is_free(model, op):
            model = model.without(op).with_alias(op.outputs[0], op.inputs[0])
        else:
            bare = Operator(op.index, "RESHAPE", op.inputs[:1], op.outputs)
            operands = int(len(op.inputs) > 1)
            model = model.replaced(op, bare.with_attributes(shape_operand=operands))
    return model


def is_free(model: Model, op: Operator) -> bool:
    """Whether the readers can take the old layout under the new shape.

    So at the graph's edges (the host lays out inputs and outputs), where the device shape stays the
    same, and in front of a fully connected layer, whose weights are permuted instead.
    """
    source, target = op.inputs[0], op.outputs[0]
    shapes = model.tensors[source].shape, model.tensors[target].shape
    if max(len(shape) for shape in shapes) > 4:
        return False
    readers = model.consumers(target)
    if not readers or model.root(source) in model.inputs:
        return True
    before, after = dims_of(shapes[0]), dims_of(shapes[1])
    if any(_reads_rows(model, reader) for reader in readers):
        return before == after
    if all(reader.code == "FULLY_CONNECTED" for reader in readers):
        return before.channels > 1 or same_memory(before, after)
    if all(reader.code == "SOFTMAX" for reader in readers):
        # It takes the pixel's channels as they are; see lowering.cpu_activation.
        column = ((after.width, 1, 1), (1, 1, after.width))
        return before == after or (before.shape, after.shape) == column
    return before == after


def _reads_rows(model: Model, reader: Operator) -> bool:
    """Whether a fully connected layer takes several rows, which nothing permutes."""
    if reader.code != "FULLY_CONNECTED" or len(reader.inputs) < 2:
        return False
    return model.tensors[reader.inputs[0]].elements > model.tensors[reader.inputs[1]].shape[-1]


def same_memory(before: Dims, after: Dims) -> bool:
    """Whether two extents describe the same bytes in the same places for the NPU."""
    if before == after:
        return True
    if before.batch != after.batch:
        return False
    whole_rows = before.width % 4 == 0 and after.width % 4 == 0
    return before.channels == after.channels == 1 and whole_rows


def _moves_nothing(model: Model, op: Operator) -> bool:
    """A TRANSPOSE that only moves axes of extent one keeps the flat order."""
    order = model.constant(op.inputs[1]) if len(op.inputs) > 1 else None
    shape = model.tensors[op.inputs[0]].shape
    if order is None or sorted(order.ravel().tolist()) != list(range(len(shape))):
        return False
    moved = [axis for axis in order.ravel().tolist() if shape[axis] > 1]
    return moved == sorted(moved) and is_free(model, op)
