"""Limits on the constants of convolutions and fully connected layers."""

from __future__ import annotations

import numpy as np

from compiler.constraints.case import Case, Finding
from compiler.dims import dims_of


def constant_weights(case: Case) -> Finding | None:
    """Weights and bias are constants: int8 with zero point 0, and int32."""
    weights = case.tensor(1) if len(case.op.inputs) > 1 and case.op.inputs[1] >= 0 else None
    advice = "convert the model with full integer quantization to int8"
    if weights is None or weights.data is None or weights.quant is None:
        return Finding("no constant quantized weights", "constant int8 weights", advice)
    if weights.dtype != "int8" or np.any(weights.quant.zero_points != 0):
        found = f"{weights.dtype} weights, zero point {int(weights.quant.zero_points[0])}"
        return Finding(found, "int8 weights with zero point 0", advice)
    if len(case.op.inputs) > 2 and case.op.inputs[2] >= 0:
        bias = case.tensor(2)
        if bias.data is None or bias.dtype != "int32":
            return Finding(f"{bias.dtype} bias", "a constant int32 bias", advice)
    return None


def weight_shape(case: Case) -> Finding | None:
    """Weights fit input and output: no channel multiplier, no groups, 1 scale or 1 a channel."""
    weights, result = case.tensor(1), case.result
    shape = weights.shape
    inputs = case.tensor(0).shape[-1]
    outputs = result.shape[-1]
    if case.op.code == "DEPTHWISE_CONV_2D":
        multiplier = int(case.op.attributes["depth_multiplier"])
        inputs, outputs = (dims_of(t.shape).channels for t in (case.tensor(0), result))
        fits = len(shape) == 4 and shape[0] == 1 and shape[3] == outputs
        if multiplier != 1 and fits:
            advice = "repeat the input channels, or use a full convolution"
            return Finding(f"channel multiplier {multiplier}", "1", advice)
        expected, fits = [1, "h", "w", inputs], fits and inputs == outputs
    elif case.op.code == "CONV_2D":
        expected = [outputs, "h", "w", inputs]
        fits = len(shape) == 4 and (shape[0], shape[3]) == (outputs, inputs)
    else:
        elements = case.tensor(0).elements
        expected = [outputs, elements]
        fits = len(shape) == 2 and shape[0] == outputs and shape[1] > 0
        fits = (
            fits and elements % shape[1] == 0 and result.elements == elements // shape[1] * outputs
        )
    if not fits:
        return Finding(
            f"weights {list(shape)}", f"{expected}", "use a plain convolution, no groups"
        )
    return _channel_counts(case, outputs)


def _channel_counts(case: Case, outputs: int) -> Finding | None:
    quant, bias = case.tensor(1).quant, case.op.inputs[2:3]
    if quant is not None and quant.scales.size not in (1, outputs):
        return Finding(f"{quant.scales.size} weight scales", f"1 or {outputs}", "convert again")
    if bias and bias[0] >= 0 and case.tensor(2).elements != outputs:
        return Finding(f"{case.tensor(2).elements} biases", f"{outputs}", "convert again")
    return None
