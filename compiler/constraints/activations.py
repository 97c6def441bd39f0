"""Limits of activations: the fused ones, and those that the CPU computes."""

from __future__ import annotations

from typing import Final

from compiler.constraints.case import Case, Finding

_FIXED_OUTPUT: Final = {"LOGISTIC": (1 / 256, -128), "TANH": (1 / 128, 0)}


def known_activation(case: Case) -> Finding | None:
    """The fused activation is none, ReLU or ReLU6."""
    activation = case.op.attributes.get("fused_activation_function", "NONE")
    if activation not in ("NONE", "RELU", "RELU6"):
        return Finding(
            activation, "NONE, RELU or RELU6", "use ReLU, or a separate TANH or LOGISTIC"
        )
    if activation != "NONE" and case.op.code in ("CONCATENATION", "MAX_POOL_2D"):
        return Finding(activation, "NONE", "apply the activation to the inputs instead")
    return None


def relu6_saturates(case: Case) -> Finding | None:
    """ReLU6 needs an output scale at which code 127 is at most 6: nothing else clamps at 6."""
    if case.op.attributes.get("fused_activation_function") != "RELU6":
        return None
    quant = case.result.quant
    if quant is None:
        return None
    if case.int32_output:
        return None  # notes() tells that nothing clamps there
    six = round(6.0 / float(quant.scale)) + quant.zero_point
    if six < 127:
        return Finding(f"6 at code {six}", "6 at code 127 or above", "use ReLU or calibrate to 6")
    return None


def softmax_last(case: Case) -> Finding | None:
    """Softmax ends the model."""
    if case.model.consumers(case.op.outputs[0]):
        advice = "end the model there; behind a softmax Nordic's simulator does not return"
        return Finding("a layer that reads its result", "none", advice)
    return None


def fixed_activation_output(case: Case) -> Finding | None:
    """Sigmoid has the output scale 1/256 and zero point -128, tanh 1/128 and 0."""
    scale, zero = _FIXED_OUTPUT[case.op.code]
    quant = case.result.quant
    if quant is None:
        return None
    if abs(float(quant.scale) - scale) > 1e-7 or quant.zero_point != zero:
        found = f"scale {float(quant.scale):.6g}, zero point {quant.zero_point}"
        return Finding(found, f"{scale:.6g}, {zero}", "convert the model again")
    return None


def whole_rows(case: Case) -> Finding | None:
    """Sigmoid and tanh over several rows have a width other than 1, 5, 9, 13 and so on."""
    extent = case.seen(case.op.outputs[0])
    if extent.width % 4 == 1 and extent.height * extent.channels > 1:
        advice = "make the rows longer, or transpose; Nordic's CPU code reads their padding"
        return Finding(f"width {extent.width}", "no 4n + 1", advice)
    return None
