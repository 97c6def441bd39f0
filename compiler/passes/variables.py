"""VAR_HANDLE, READ_VARIABLE and ASSIGN_VARIABLE become one PERSISTENT_VARIABLE operator.

It stands where the handle stood, gives the value of the last inference and takes the one assigned
in this. Its value before the first inference is real zero.
"""

from __future__ import annotations

from dataclasses import replace

from compiler.model import Model, Operator
from compiler.options import CompileOptions
from compiler.passes.identity import identity


def join_variables(model: Model) -> Model:
    """One operator per variable that is read once and assigned once with int8 values.

    Variables that do not fit the pattern stay as they are, for the constraints to report.
    """
    for handle in model.operators:
        if handle.code != "VAR_HANDLE":
            continue
        users = model.consumers(handle.outputs[0])
        reads = [op for op in users if op.code == "READ_VARIABLE"]
        writes = [op for op in users if op.code == "ASSIGN_VARIABLE"]
        if len(reads) == 1 and len(writes) == 1 and len(users) == 2:
            model = _join(model, handle, reads[0], writes[0])
    for op in model.operators:
        if op.code == "CALL_ONCE":
            model = model.without(op)
    return model


def _join(model: Model, handle: Operator, read: Operator, write: Operator) -> Model:
    value, result = write.inputs[1], read.outputs[0]
    around: list[Operator] = [read, write]
    if model.tensors[value].dtype == "float32":
        dequantize, quantize = model.producer(value), model.consumers(result)
        if dequantize is None or dequantize.code != "DEQUANTIZE" or len(quantize) != 1:
            return model
        if quantize[0].code != "QUANTIZE":
            return model
        value, result = dequantize.inputs[0], quantize[0].outputs[0]
        around += [dequantize, quantize[0]]
    for op in around:
        model = model.without(op)
    name = str(handle.attributes.get("shared_name", ""))
    joined = Operator(handle.index, "PERSISTENT_VARIABLE", (value,), (result,))
    return model.replaced(handle, joined.with_attributes(shared_name=name))


def variables_first(model: Model, _: CompileOptions) -> Model:
    """A variable stands in front, and is written behind the last layer that reads it.

    On the device the layer that computes the new value overwrites the old one. So a copy writes
    the variable where a reader comes later than that layer.
    """
    for op in model.operators:
        if op.code == "PERSISTENT_VARIABLE":
            model = _settle(model, op)
    return model


def _settle(model: Model, op: Operator) -> Model:
    order = {id(other): number for number, other in enumerate(model.operators)}
    writer = model.producer(op.inputs[0])
    readers = [order[id(reader)] for reader in model.consumers(op.outputs[0])]
    if writer is None or writer is op:
        return model
    late = max(readers, default=-1)
    if late > order[id(writer)]:
        model, kept = model.with_tensor(replace(model.tensors[op.inputs[0]]))
        model, copy = identity(model, op.index, op.inputs[0], kept)
        behind = model.operators[: late + 1], model.operators[late + 1 :]
        model = replace(model, operators=(*behind[0], copy, *behind[1]))
        moved = replace(op, inputs=(kept,))
        model = model.replaced(op, moved)
        op = moved
    elif order[id(writer)] > order[id(op)]:
        return model
    return replace(model.without(op), operators=(op, *model.without(op).operators))
