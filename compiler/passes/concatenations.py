"""CONCATENATION of three and more tensors as a chain, for a layer takes two inputs."""

from __future__ import annotations

from dataclasses import replace

from compiler.dims import axis_of
from compiler.model import Model, Operator


def chain_concatenations(model: Model) -> Model:
    """a, b, c, d -> ((a, b), c), d. Concatenations along the batch axis stay as they are."""
    for op in model.operators:
        rank = len(model.tensors[op.outputs[0]].shape) if op.outputs else 0
        if op.code != "CONCATENATION" or axis_of(op.attributes["axis"], rank) is None:
            continue
        if len(op.inputs) == 1:
            model = model.without(op).with_alias(op.outputs[0], op.inputs[0])
        elif len(op.inputs) > 2 and all(len(model.tensors[i].shape) == rank for i in op.inputs):
            model = _chain(model, op, op.attributes["axis"] % rank)
    return model


def _chain(model: Model, op: Operator, axis: int) -> Model:
    links: list[Operator] = []
    left = op.inputs[0]
    for number, right in enumerate(op.inputs[1:], start=2):
        target = op.outputs[0]
        if number < len(op.inputs):
            shape = list(model.tensors[left].shape)
            shape[axis] += model.tensors[right].shape[axis]
            joined = replace(model.tensors[op.outputs[0]], shape=tuple(shape))
            model, target = model.with_tensor(joined)
        links.append(replace(op, inputs=(left, right), outputs=(target,)))
        left = target
    return model.replaced(op, *links)
