"""Limits on the tensors of every operator: types, quantization, extents."""

from __future__ import annotations

from typing import Final

from compiler.constraints.case import Case, Finding
from compiler.constraints.limits import (
    DOCUMENTED_EXTENT,
    MAX_CHANNELS,
    MAX_CONVOLUTION_INPUTS,
    MOST_CHANNELS,
)
from compiler.dims import dims_of
from compiler.lowering import LOWERINGS

MAX_WIDTH: Final = 2060
MAX_EXTENT: Final = 65535
_NARROW: Final = (
    "ADD",
    "AVERAGE_POOL_2D",
    "CONCATENATION",
    "DEPTHWISE_CONV_2D",
    "MAX_POOL_2D",
    "MEAN",
    "MUL",
    "PAD",
    "STRIDED_SLICE",
)
_ANY_HEIGHT: Final = ("DEPTHWISE_CONV_2D", "MEAN")
CPU_OPERATORS: Final = (
    "LOGISTIC",
    "TANH",
    "SOFTMAX",
    "RESHAPE",
    "SPACE_TO_BATCH_ND",
    "BATCH_TO_SPACE_ND",
    "RESIZE_NEAREST_NEIGHBOR",
)
_MOST_CHANNELS: Final = {
    "AVERAGE_POOL_2D": (MOST_CHANNELS, MOST_CHANNELS),
    "CONCATENATION": (MAX_CHANNELS, MOST_CHANNELS),
    "CONV_2D": (MAX_CONVOLUTION_INPUTS, MOST_CHANNELS),
    "MAX_POOL_2D": (MOST_CHANNELS, MOST_CHANNELS),
    "STRIDED_SLICE": (MOST_CHANNELS, MAX_CHANNELS),
}
"""Taken by an operation and given by it."""


def supported_operator(case: Case) -> Finding | None:
    """The operator is one that Nordic's compiler supports."""
    code = case.op.code
    if code in LOWERINGS:
        return None
    advice = _OPERATOR_ADVICE.get(code, "replace it by supported operators or run it on the host")
    return Finding(code, "a supported operator", advice)


_OPERATOR_ADVICE: Final = {
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "the sequence LSTM is not supported yet; "
    "it is experimental in Nordic's compiler too, use a temporal convolution",
    "TRANSPOSE_CONV": "use RESIZE_NEAREST_NEIGHBOR and CONV_2D",
    "TRANSPOSE": "order the axes in training so that no transposition is needed",
    "QUANTIZE": "only the model's edges may be cast from or to float32 and uint8",
    "DEQUANTIZE": "convert the whole model to int8",
    "VAR_HANDLE": "a variable needs exactly one read and one assignment of int8 values",
    "READ_VARIABLE": "a variable needs exactly one read and one assignment of int8 values",
    "ASSIGN_VARIABLE": "a variable needs exactly one read and one assignment of int8 values",
    "SPLIT": "the axis and the sizes must be constants that add up",
    "SPLIT_V": "the axis and the sizes must be constants that add up",
}


def eight_bit(case: Case) -> Finding | None:
    """Inputs and results are int8 (softmax, sigmoid and tanh included)."""
    for tensor in (*case.data, case.result):
        if tensor.dtype != "int8":
            advice = "convert the model with full integer quantization to int8"
            return Finding(f"tensor {tensor.name!r} of type {tensor.dtype}", "int8", advice)
    return None


def quantized_per_tensor(case: Case) -> Finding | None:
    """Inputs and results have one scale and one zero point each."""
    for tensor in (*case.data, case.result):
        scales = 0 if tensor.quant is None else tensor.quant.scales.size
        if scales != 1:
            advice = "quantize activations per tensor"
            return Finding(f"{scales} scales for tensor {tensor.name!r}", "1", advice)
        if tensor.quant is not None and not -128 <= tensor.quant.zero_point <= 127:
            found = f"zero point {tensor.quant.zero_point} of tensor {tensor.name!r}"
            return Finding(found, "-128 to 127", "convert the model to int8 again")
    return None


def computed_operand(case: Case) -> Finding | None:
    """The first operand is computed: the model's input or another operator's result."""
    model, first = case.model, case.op.inputs[0]
    inputs = {model.root(number) for number in model.inputs}
    if first < 0 or (model.root(first) not in inputs and model.producer(first) is None):
        return Finding("a constant first operand", "a computed one", "fold constants")
    return None


def tensor_shape(case: Case) -> Finding | None:
    """Tensors have 1 to 4 dimensions, none of them empty, and at most 65,535 elements a side."""
    for tensor in (*case.data, case.result):
        if not 1 <= len(tensor.shape) <= 4 or min(tensor.shape) < 1:
            return Finding(
                f"shape {list(tensor.shape)}", "1 to 4 non-empty dimensions", "reshape the tensor"
            )
        if max(tensor.shape) > MAX_EXTENT:
            return Finding(
                f"shape {list(tensor.shape)}", f"at most {MAX_EXTENT} a side", "split it"
            )
    return None


def map_sides(case: Case) -> Finding | None:
    """Maps are at most 1,024 high and wide; those of convolutions any height and 2,060 wide."""
    code = case.op.code
    if code == "FULLY_CONNECTED" or (len(case.result.shape) < 3 and code in CPU_OPERATORS):
        return None
    computed = [i for i in case.op.inputs if i >= 0 and case.model.constant(i) is None]
    seen = [case.seen(number) for number in (*computed, case.op.outputs[0])]
    width, height = max(d.width for d in seen), max(d.height for d in seen)
    widest = DOCUMENTED_EXTENT if code in _NARROW else MAX_WIDTH
    if width > widest:
        return Finding(f"width {width}", f"at most {widest}", "transpose, split or subsample")
    if code in _NARROW and code not in _ANY_HEIGHT and height > DOCUMENTED_EXTENT:
        allowed = f"at most {DOCUMENTED_EXTENT}"
        return Finding(f"height {height}", allowed, "transpose, split or subsample")
    return None


def map_channels(case: Case) -> Finding | None:
    """Maps have 1,023 channels at most, 1,024 to 2,048 in convolutions, 2,048 in pools."""
    code = case.op.code
    if code == "FULLY_CONNECTED" or len(case.result.shape) < 3 or code in CPU_OPERATORS:
        return None
    if not case.data:
        return None  # computed_operand reports it
    taken = max(dims_of(tensor.shape).channels for tensor in case.data)
    given = dims_of(case.result.shape).channels
    most = _MOST_CHANNELS.get(code, (MAX_CHANNELS, MAX_CHANNELS))
    if taken > most[0] or given > most[1]:
        found = f"{taken} channels to {given}"
        return Finding(found, f"at most {most[0]} to {most[1]}", "split the layer by channels")
    return None
