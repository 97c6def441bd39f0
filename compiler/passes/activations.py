"""RELU, RELU6 and LEAKY_RELU operators become the activation of the layer before them."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from compiler.model import Model, Operator
from compiler.passes.identity import identity

CONVOLUTIONS: Final = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
_TAKES_RELU: Final = (*CONVOLUTIONS, "ADD", "MUL", "AVERAGE_POOL_2D")


def fuse_activations(model: Model) -> Model:
    """Fuse where the producer has a requantization of its own, no other reader and no activation;
    elsewhere give the activation a layer of its own."""
    for op in model.operators:
        if op.code in ("RELU", "RELU6"):
            takers = _TAKES_RELU if _saturates_first(model, op) else ()
            model = _fuse(model, op, takers, fused_activation_function=op.code)
        elif op.code == "LEAKY_RELU":
            slope = {"leaky_alpha": op.attributes["alpha"]}
            single = _one_gain(model, op)
            model = _fuse(model, op, CONVOLUTIONS if single else CONVOLUTIONS[:2], **slope)
        elif op.code == "MAX_POOL_2D" and op.attributes["fused_activation_function"] != "NONE":
            model = _detach_from_max_pool(model, op)
    return model


def _one_gain(model: Model, op: Operator) -> bool:
    """Whether the producer's weights have one scale: two slopes a channel fit no dense layer."""
    producer = model.producer(op.inputs[0])
    weights = None if producer is None else producer.inputs[1:2]
    quant = model.tensors[weights[0]].quant if weights and weights[0] >= 0 else None
    return quant is None or quant.scales.size == 1


def _saturates_first(model: Model, op: Operator) -> bool:
    """Whether the result reaches its largest code before the tensor in between reaches its own.

    Otherwise the fused layer would give values that TFLite cuts off in between.
    """
    before, after = (model.tensors[i].quant for i in (op.inputs[0], op.outputs[0]))
    if before is None or after is None:
        return False
    step = float(after.scale)
    top_before = float(before.scale) * (127 - before.zero_point)
    return step * (127 - after.zero_point) <= top_before + step


def _fuse(model: Model, op: Operator, takers: tuple[str, ...], **activation: object) -> Model:
    source, target = op.inputs[0], op.outputs[0]
    producer = model.producer(source)
    fusable = (
        producer is not None
        and producer.code in takers
        and producer.attributes.get("fused_activation_function") == "NONE"
        and "leaky_alpha" not in producer.attributes
        and model.consumers(source) == (op,)
        and not model.is_output(source)
        and model.root(source) == source
    )
    if fusable and producer is not None:
        fused = producer.with_attributes(**activation, pre_activation=source)
        return model.without(op).replaced(producer, replace(fused, outputs=(target,)))
    model, own = identity(model, op.index, source, target)
    return model.replaced(op, own.with_attributes(**activation))


def _detach_from_max_pool(model: Model, op: Operator) -> Model:
    """Max pooling has no requantization, so its ReLU would clamp at the wrong zero."""
    target = op.outputs[0]
    activation = str(op.attributes["fused_activation_function"])
    plain = op.with_attributes(fused_activation_function="NONE")
    quant = model.tensors[target].quant
    if activation in ("RELU", "RELU6") and quant is not None and quant.zero_point == -128:
        return model.replaced(op, plain)
    model, pooled = model.with_tensor(model.tensors[target])
    model, clamp = identity(model, op.index, pooled, target, activation)
    return model.replaced(op, replace(plain, outputs=(pooled,)), clamp)
