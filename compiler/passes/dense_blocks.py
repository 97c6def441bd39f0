"""Large fully connected layers in blocks.

From 1,024 inputs on, Nordic's code generator gets every output behind the 512th wrong (compiler
1.4.0). So such a layer becomes several of at most 512 outputs, whose results are joined.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import Final

import numpy as np

from compiler.model import Model, Operator
from compiler.options import CompileOptions

MANY_INPUTS: Final = 1024
MOST_OUTPUTS: Final = 512
LONGEST_RESULT: Final = 1024
"""Of what can be joined."""
_KEEPS_WIDE: Final = ("SOFTMAX", "LOGISTIC", "TANH")


def split_dense(model: Model, options: CompileOptions) -> Model:
    """Split where the result is an int8 vector; wider ones cannot be joined and are refused."""
    for op in model.operators:
        if op.code != "FULLY_CONNECTED" or len(op.inputs) < 2:
            continue
        weights = model.constant(op.inputs[1])
        if weights is None or weights.ndim != 2 or not needs_blocks(*weights.shape):
            continue
        wide = options.output == "int32" and model.is_output(op.outputs[0])
        wide = wide or any(r.code in _KEEPS_WIDE for r in model.consumers(op.outputs[0]))
        wide = wide or len(weights) > LONGEST_RESULT
        if not wide and model.tensors[op.outputs[0]].elements == len(weights):
            model = _split(model, op)
    return model


def needs_blocks(outputs: int, inputs: int) -> bool:
    """Whether a layer of this size is too large for one piece."""
    return inputs >= MANY_INPUTS and outputs > MOST_OUTPUTS


def _split(model: Model, op: Operator) -> Model:
    result = model.tensors[op.outputs[0]]
    axis, outputs = len(result.shape) - 1, model.tensors[op.inputs[1]].shape[0]
    steps: list[Operator] = []
    joined = -1
    for start in range(0, outputs, MOST_OUTPUTS):
        rows = slice(start, min(start + MOST_OUTPUTS, outputs))
        model, operands = _rows(model, op, rows)
        shape = (*result.shape[:-1], rows.stop - start)
        model, part = model.with_tensor(replace(result, shape=shape))
        steps.append(replace(op, inputs=operands, outputs=(part,)))
        if joined < 0:
            joined = part
            continue
        model, both = model.with_tensor(replace(result, shape=(*result.shape[:-1], rows.stop)))
        both = op.outputs[0] if rows.stop == outputs else both
        attributes = MappingProxyType({"axis": axis, "fused_activation_function": "NONE"})
        steps.append(Operator(op.index, "CONCATENATION", (joined, part), (both,), attributes))
        joined = both
    return model.replaced(op, *steps)


def _rows(model: Model, op: Operator, rows: slice) -> tuple[Model, tuple[int, ...]]:
    """The operands of one block: the input, and the rows of weights and bias."""
    operands = [op.inputs[0]]
    for number in op.inputs[1:3]:
        if number < 0:
            operands.append(number)
            continue
        whole = model.tensors[number]
        data = np.ascontiguousarray(np.asarray(whole.data)[rows])
        quant = whole.quant
        if quant is not None and quant.scales.size > 1:
            quant = replace(quant, scales=quant.scales[rows], zero_points=quant.zero_points[rows])
        model, block = model.with_tensor(replace(whole, shape=data.shape, quant=quant, data=data))
        operands.append(block)
    return model, tuple(operands)
