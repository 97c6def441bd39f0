"""Maps that the CPU writes have no row padding; some layers read them as if they had.

Observed of compiler 1.4.0: behind a reshape or resize whose rows are no multiple of four elements,
depthwise convolutions, averages and additions give wrong values; other layers are right.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import Final

from compiler.model import Model, Operator
from compiler.options import CompileOptions
from compiler.passes.orientation import seen_dims

PACKED: Final = (
    "BATCH_TO_SPACE_ND",
    "LOGISTIC",
    "PERSISTENT_VARIABLE",
    "RESHAPE",
    "RESIZE_NEAREST_NEIGHBOR",
    "SPACE_TO_BATCH_ND",
    "TANH",
)
"""Operators whose result has no row padding."""
_NEEDS_PADDED_ROWS: Final = ("ADD", "AVERAGE_POOL_2D", "DEPTHWISE_CONV_2D", "MEAN")
_COPY: Final = MappingProxyType(
    {
        "padding": "VALID",
        "stride_h": 1,
        "stride_w": 1,
        "filter_height": 1,
        "filter_width": 1,
        "fused_activation_function": "NONE",
    }
)


def pad_rows(model: Model, options: CompileOptions) -> Model:
    """A 1x1 maximum, which reads either kind, between such a pair of layers."""
    for op in model.operators:
        if op.code not in _NEEDS_PADDED_ROWS:
            continue
        packed = {i for i in op.inputs if i >= 0 and is_packed(model, i, options)}
        reader = op
        for operand in sorted(packed):
            model, reader = _with_copy(model, reader, operand)
    return model


def is_packed(model: Model, tensor: int, options: CompileOptions) -> bool:
    """Whether the CPU writes the tensor in rows that would need padding."""
    producer = model.producer(tensor)
    shape = model.tensors[tensor].shape
    if producer is None or producer.code not in PACKED or not 3 <= len(shape) <= 4:
        return False
    if producer.code == "SPACE_TO_BATCH_ND":
        return False  # several batches are taken apart row by row
    seen = seen_dims(model, tensor, options)
    return seen.height * seen.channels > 1 and seen.width % 4 != 0


def _with_copy(model: Model, op: Operator, source: int) -> tuple[Model, Operator]:
    model, padded = model.with_tensor(replace(model.tensors[source]))
    copy = Operator(op.index, "MAX_POOL_2D", (source,), (padded,), _COPY)
    operands = tuple(padded if i == source else i for i in op.inputs)
    reader = replace(op, inputs=operands)
    return model.replaced(op, copy, reader), reader
