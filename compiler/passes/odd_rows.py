"""Sigmoid and tanh over rows of 4n + 1 elements, whose padding Nordic's CPU code takes for data.

Such a map gets one more column (a row, in the transposed variant), and a slice takes it off again.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import numpy as np

from compiler.model import Model, Operator, Tensor
from compiler.options import CompileOptions
from compiler.passes.orientation import seen_dims


def widen_rows(model: Model, options: CompileOptions) -> Model:
    """A PAD in front and a slice behind; a 32-bit output cannot be sliced and stays."""
    for op in model.operators:
        if op.code not in ("LOGISTIC", "TANH") or len(op.outputs) != 1:
            continue
        wide = options.output == "int32" and model.is_output(op.outputs[0])
        if not wide and len(model.tensors[op.outputs[0]].shape) in (3, 4):
            seen = seen_dims(model, op.outputs[0], options)
            if seen.width % 4 == 1 and seen.height * seen.channels > 1:
                model = _widen(model, op, options)
    return model


def _widen(model: Model, op: Operator, options: CompileOptions) -> Model:
    source, result = model.tensors[op.inputs[0]], model.tensors[op.outputs[0]]
    rank = len(result.shape)
    axis = rank - 3 if options.transpose else rank - 2
    table = np.zeros((rank, 2), np.int32)
    table[axis, 1] = 1
    shape = tuple(
        extent + int(pads.sum()) for extent, pads in zip(result.shape, table, strict=True)
    )
    model, pads = model.with_tensor(Tensor("one more", table.shape, "int32", None, table))
    model, padded = model.with_tensor(replace(source, shape=shape, data=None))
    model, activated = model.with_tensor(replace(result, shape=shape))
    part = {"begin": (0,) * rank, "end": result.shape, "stride": (1,) * rank}
    return model.replaced(
        op,
        Operator(op.index, "PAD", (op.inputs[0], pads), (padded,)),
        replace(op, inputs=(padded,), outputs=(activated,)),
        Operator(op.index, "STRIDED_SLICE", (activated,), op.outputs, MappingProxyType(part)),
    )
