"""Layers that must stand alone: the input of a CPU activation, and outputs that are also read."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from compiler.dims import dims_of
from compiler.model import Model, Operator
from compiler.passes.activations import CONVOLUTIONS
from compiler.passes.identity import identity

CPU_ACTIVATIONS: Final = ("SOFTMAX", "LOGISTIC", "TANH")
_AVERAGES: Final = ("MEAN", "AVERAGE_POOL_2D")
_HANDS_OVER: Final = {
    "SOFTMAX": (*CONVOLUTIONS, *_AVERAGES),
    "LOGISTIC": (*CONVOLUTIONS, *_AVERAGES, "ADD", "MUL"),
    "TANH": (*CONVOLUTIONS, *_AVERAGES, "ADD", "MUL"),
}
"""Operations that can hand over more than 8 bits; the others get a copy behind them."""


def isolate_activations(model: Model) -> Model:
    """Give every softmax, sigmoid and tanh a producer of its own.

    The producer hands over 16 or 32-bit fixed point instead of int8, so it can have no activation,
    no other reader, and must be an operation with a requantization. Where it is not, a copy goes
    between.
    """
    for op in model.operators:
        if op.code in CPU_ACTIVATIONS and not _is_private(model, op):
            model = _insert_copy(model, op)
    return model


def _is_private(model: Model, op: Operator) -> bool:
    source = op.inputs[0]
    producer = model.producer(source)
    return (
        producer is not None
        and producer.code in _HANDS_OVER[op.code]
        and _whole_words(model, producer)
        and producer.attributes.get("fused_activation_function", "NONE") == "NONE"
        and "leaky_alpha" not in producer.attributes
        and len(model.consumers(source)) == 1
        and not model.is_output(source)
    )


def _whole_words(model: Model, producer: Operator) -> bool:
    """An addition pads the rows of a wide result to four elements."""
    width = dims_of(model.tensors[producer.outputs[0]].shape).width
    return producer.code != "ADD" or width % 4 == 0


def _insert_copy(model: Model, op: Operator) -> Model:
    source = op.inputs[0]
    model, between = model.with_tensor(model.tensors[source])
    model, copy = identity(model, op.index, source, between)
    return model.replaced(op, copy, replace(op, inputs=(between,)))


def separate_outputs(model: Model) -> Model:
    """A graph output that a layer also reads gets a copy: a program's outputs are its leaves.

    So does a channel padding, which is computed rightly only when a layer follows.
    """
    for number, output in enumerate(model.outputs):
        producer = model.producer(output)
        if producer is None or not (model.consumers(output) or producer.code == "PAD"):
            continue
        if len(dims_of(model.tensors[output].shape).shape) != 3:
            continue
        model, result = model.with_tensor(model.tensors[output])
        model, copy = identity(model, producer.index, output, result)
        outputs = list(model.outputs)
        outputs[number] = result
        model = replace(model, operators=(*model.operators, copy), outputs=tuple(outputs))
    return model
