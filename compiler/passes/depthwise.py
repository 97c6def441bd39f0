"""DEPTHWISE_CONV_2D that the NPU's own cannot compute.

With a channel multiplier, result c * m + j is input channel c under filter c * m + j. So a 1x1
convolution repeats each channel m times (exactly: its weights are one), and a plain depthwise
convolution follows. Of one channel, or where the repeated map has too many, a full convolution does
both; and so it does behind space-to-batch, where a depthwise one misreads rows that are no
multiple of four elements (compiler 1.4.0).
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from compiler.dims import dims_of
from compiler.model import Model, Operator
from compiler.options import CompileOptions
from compiler.passes.identity import PLAIN, with_weights
from compiler.passes.orientation import seen_dims

MAX_DEPTHWISE_CHANNELS: Final = 1023
LARGEST_WEIGHTS: Final = 1 << 26
"""In bytes. What would need more stays as it is, and the constraints report it."""


def repeat_channels(model: Model) -> Model:
    """Every depthwise convolution has the channel multiplier 1 afterwards."""
    for op in model.operators:
        if op.code != "DEPTHWISE_CONV_2D" or not _is_multiplied(model, op):
            continue
        channels = dims_of(model.tensors[op.inputs[0]].shape).channels
        outputs = channels * int(op.attributes["depth_multiplier"])
        if channels == 1 or outputs > MAX_DEPTHWISE_CHANNELS:
            model = _as_full(model, op, channels)
        else:
            model = _repeated(model, op, channels, outputs)
    return model


def _is_multiplied(model: Model, op: Operator) -> bool:
    """Whether the multiplier is above 1 and the weights fit it; the constraints report others."""
    multiplier = int(op.attributes["depth_multiplier"])
    return multiplier > 1 and _has_weights(model, op, multiplier)


def _has_weights(model: Model, op: Operator, multiplier: int) -> bool:
    weights = model.constant(op.inputs[1]) if len(op.inputs) > 1 else None
    shapes = [model.tensors[i].shape for i in (op.inputs[0], op.outputs[0])]
    if weights is None or weights.ndim != 4:
        return False
    if any(len(shape) not in (3, 4) for shape in shapes):
        return False
    channels, outputs = (shape[-1] for shape in shapes)
    return bool(weights.shape[0] == 1 and weights.shape[3] == outputs == channels * multiplier)


def fill_batches(model: Model, options: CompileOptions) -> Model:
    """A depthwise convolution of several batches with odd rows becomes a full one."""
    for op in model.operators:
        if op.code != "DEPTHWISE_CONV_2D" or len(model.tensors[op.inputs[0]].shape) != 4:
            continue
        before, seen = model.producer(op.inputs[0]), seen_dims(model, op.inputs[0], options)
        fits = _has_weights(model, op, int(op.attributes["depth_multiplier"]))
        if before is not None and before.code == "SPACE_TO_BATCH_ND" and seen.width % 4 and fits:
            model = _as_full(model, op, seen.channels)
    return model


def _repeated(model: Model, op: Operator, channels: int, outputs: int) -> Model:
    source = model.tensors[op.inputs[0]]
    model, wide = model.with_tensor(replace(source, shape=(*source.shape[:-1], outputs), data=None))
    kernel = np.repeat(np.eye(channels, dtype=np.int8), outputs // channels, axis=0)
    weights = np.ascontiguousarray(kernel[:, None, None, :])
    model, number, bias = with_weights(model, "repetition", weights, outputs)
    repeat = Operator(op.index, "CONV_2D", (op.inputs[0], number, bias), (wide,), PLAIN)
    plain = op.with_attributes(depth_multiplier=1)
    return model.replaced(op, repeat, replace(plain, inputs=(wide, *op.inputs[1:])))


def _as_full(model: Model, op: Operator, channels: int) -> Model:
    """Weights [out][h][w][in], zero but for each output's own channel."""
    weights = model.tensors[op.inputs[1]]
    filters = np.asarray(weights.data)[0].transpose(2, 0, 1)
    if filters.size * channels > LARGEST_WEIGHTS:
        return model
    outputs = len(filters)
    kernel = np.zeros((*filters.shape, channels), np.int8)
    kernel[np.arange(outputs), :, :, np.arange(outputs) // (outputs // channels)] = filters
    model, number = model.with_tensor(replace(weights, shape=kernel.shape, data=kernel))
    attributes: dict[str, Any] = dict(op.attributes)
    del attributes["depth_multiplier"]
    full = replace(op, code="CONV_2D", attributes=MappingProxyType(attributes))
    return model.replaced(op, replace(full, inputs=(op.inputs[0], number, *op.inputs[2:])))
