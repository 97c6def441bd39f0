"""Limits of fully connected layers."""

from __future__ import annotations

from compiler.constraints.case import Case, Finding
from compiler.constraints.limits import MAX_CONVOLUTION_INPUTS, MOST_CHANNELS
from compiler.dims import dims_of
from compiler.passes.dense_blocks import LONGEST_RESULT, MOST_OUTPUTS, needs_blocks


def aligned_per_channel_vector(case: Case) -> Finding | None:
    """Behind a map, a fully connected layer with per-channel weights takes 4n inputs."""
    quant, source = case.tensor(1).quant, case.model.root(case.op.inputs[0])
    channels = dims_of(case.model.tensors[source].shape).channels
    inputs = case.tensor(1).shape[-1]
    behind_map = channels > 1 and case.model.producer(source) is not None
    if quant is not None and quant.scales.size > 1 and behind_map and inputs % 4:
        advice = "quantize this layer per tensor or use a multiple of 4 channels"
        return Finding(f"{inputs} inputs", "a multiple of 4", advice)
    return None


def dense_rows(case: Case) -> Finding | None:
    """Over several rows, a fully connected layer takes 1,024 inputs and gives 2,048 outputs."""
    outputs, inputs = case.tensor(1).shape
    several = case.tensor(0).elements > inputs
    if several and (inputs > MAX_CONVOLUTION_INPUTS or outputs > MOST_CHANNELS):
        allowed = f"at most {MAX_CONVOLUTION_INPUTS} to {MOST_CHANNELS}"
        return Finding(f"{inputs} inputs to {outputs}", allowed, "split the layer")
    return None


def dense_size(case: Case) -> Finding | None:
    """From 1,024 inputs on, a fully connected layer has 1,024 outputs at most, 512 of 32 bits."""
    weights = case.tensor(1)
    outputs, inputs = weights.shape
    if case.result.elements == outputs and needs_blocks(outputs, inputs):
        advice = "use fewer inputs or outputs, or int8 output; Nordic's code generator errs there"
        allowed = f"{LONGEST_RESULT} int8 outputs, {MOST_OUTPUTS} others"
        return Finding(f"{inputs} inputs to {outputs}", allowed, advice)
    return None
