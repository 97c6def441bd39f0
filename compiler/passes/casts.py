"""QUANTIZE and DEQUANTIZE: dropped at the edges of the graph, a layer of their own inside it."""

from __future__ import annotations

from dataclasses import replace

from compiler.model import Model, Operator
from compiler.passes.identity import identity


def settle_casts(model: Model) -> Model:
    """The graph starts and ends with int8 tensors.

    A leading QUANTIZE from another type and a trailing QUANTIZE or DEQUANTIZE to one are the host's
    work. A QUANTIZE between int8 tensors requantizes and becomes a layer.
    """
    for op in model.operators:
        if op.code not in ("QUANTIZE", "DEQUANTIZE"):
            continue
        source, target = op.inputs[0], op.outputs[0]
        kinds = (model.tensors[source].dtype, model.tensors[target].dtype)
        if kinds == ("int8", "int8"):
            model = _requantize(model, op)
        elif source in model.inputs and len(model.consumers(source)) == 1 and kinds[1] == "int8":
            inputs = tuple(target if i == source else i for i in model.inputs)
            model = replace(model.without(op), inputs=inputs)
        elif _only_returned(model, target) and kinds[0] in ("int8", "int32"):
            outputs = tuple(source if i == target else i for i in model.outputs)
            model = replace(model.without(op), outputs=outputs)
    return model


def _only_returned(model: Model, tensor: int) -> bool:
    return tensor in model.outputs and not model.consumers(tensor)


def _requantize(model: Model, op: Operator) -> Model:
    model, copy = identity(model, op.index, op.inputs[0], op.outputs[0])
    return model.replaced(op, copy)
