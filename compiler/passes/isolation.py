"""Layers that must stand alone: the input of a CPU activation, and outputs that are also read."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from compiler.dims import axis_of, dims_of
from compiler.ir import Axis
from compiler.model import Model, Operator
from compiler.options import CompileOptions
from compiler.passes.activations import CONVOLUTIONS
from compiler.passes.identity import dense_identity, identity
from compiler.passes.orientation import seen_dims

CPU_ACTIVATIONS: Final = ("SOFTMAX", "LOGISTIC", "TANH")
_AVERAGES: Final = ("MEAN", "AVERAGE_POOL_2D")
_HANDS_OVER: Final = {
    "SOFTMAX": (*CONVOLUTIONS, *_AVERAGES),
    "LOGISTIC": (*CONVOLUTIONS, *_AVERAGES, "ADD", "MUL"),
    "TANH": (*CONVOLUTIONS, *_AVERAGES, "ADD", "MUL"),
}
"""Operations that can hand over more than 8 bits; the others get a copy behind them."""
_ROW_WORDS: Final = {"ADD": 4, "MUL": 2}


def isolate_activations(model: Model, options: CompileOptions) -> Model:
    """Give every softmax, sigmoid and tanh a producer of its own.

    The producer hands over 16 or 32-bit fixed point instead of int8, so it can have no activation,
    no other reader, and must be an operation with a requantization. Where it is not, a copy goes
    between.
    """
    for op in model.operators:
        if op.code in CPU_ACTIVATIONS and not _is_private(model, op, options):
            model = _insert_copy(model, op)
    return model


def _is_private(model: Model, op: Operator, options: CompileOptions) -> bool:
    source = op.inputs[0]
    producer = model.producer(source)
    return (
        producer is not None
        and producer.code in _HANDS_OVER[op.code]
        and (producer.code == "FULLY_CONNECTED" or not _is_row(model, op))
        and _is_whole(model, producer, options)
        and producer.attributes.get("fused_activation_function", "NONE") == "NONE"
        and "leaky_alpha" not in producer.attributes
        and len(model.consumers(source)) == 1
        and not model.is_output(source)
    )


def _is_row(model: Model, op: Operator) -> bool:
    """A softmax over a row: Nordic's code takes it so only behind a fully connected layer."""
    if op.code != "SOFTMAX" or len(model.tensors[op.inputs[0]].shape) > 4:
        return False
    extent = dims_of(model.tensors[model.root(op.inputs[0])].shape)
    return extent.height == extent.channels == 1


def _is_whole(model: Model, producer: Operator, options: CompileOptions) -> bool:
    """Whether a wide result comes out whole.

    An addition pads its rows to 4 elements, a product to 2, and neither a broadcast sum nor what is
    joined along rows comes out right.
    """
    words = _ROW_WORDS.get(producer.code, 1)
    result = model.tensors[producer.outputs[0]]
    extent, seen = dims_of(result.shape), seen_dims(model, producer.outputs[0], options)
    if producer.code == "CONCATENATION":
        across = Axis.HEIGHT if options.transpose else Axis.WIDTH
        return axis_of(producer.attributes["axis"], len(result.shape)) is not across
    if producer.code == "ADD" and any(
        model.constant(i) is None and dims_of(model.tensors[i].shape).shape != extent.shape
        for i in producer.inputs
        if i >= 0
    ):
        return False
    return seen.width % words == 0


def _insert_copy(model: Model, op: Operator) -> Model:
    source = op.inputs[0]
    model, between = model.with_tensor(model.tensors[source])
    row = _is_row(model, op)
    model, copy = (dense_identity if row else identity)(model, op.index, source, between)
    return model.replaced(op, copy, replace(op, inputs=(between,)))


def separate_outputs(model: Model, options: CompileOptions) -> Model:
    """A graph output that a layer also reads gets a copy: a program's outputs are its leaves.

    So does what is computed rightly only when a layer follows: a channel padding, and as 32-bit
    outputs what `_is_whole` names and the way back from batches to space.
    """
    for number, output in enumerate(model.outputs):
        producer = model.producer(output)
        if producer is None or len(model.tensors[output].shape) > 4:
            continue
        wide = options.output == "int32" and (
            producer.code == "BATCH_TO_SPACE_ND" or not _is_whole(model, producer, options)
        )
        if not (model.consumers(output) or producer.code == "PAD" or wide):
            continue
        model, result = model.with_tensor(model.tensors[output])
        model, copy = identity(model, producer.index, output, result)
        outputs = list(model.outputs)
        outputs[number] = result
        model = replace(model, operators=(*model.operators, copy), outputs=tuple(outputs))
    return model


def softmax_to_the_end(model: Model, _: CompileOptions) -> Model:
    """Let a softmax that nothing reads be the last layer: Nordic's simulator hangs otherwise."""
    last = [op for op in model.operators if op.code == "SOFTMAX" and _is_leaf(model, op)]
    others = [op for op in model.operators if op not in last]
    return replace(model, operators=(*others, *last))


def _is_leaf(model: Model, op: Operator) -> bool:
    return len(op.outputs) == 1 and not model.consumers(op.outputs[0])
