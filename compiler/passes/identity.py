"""An operator that copies or requantizes: a 1x1 depthwise convolution whose weights are one.

y = round((x - zero_in) * scale_in / scale_out) + zero_out, which is exact when both sides are
quantized alike. Used where the NPU needs a layer of its own between two others.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

import numpy as np

from compiler.dims import dims_of
from compiler.model import Model, Operator, Quant, Tensor

_ATTRIBUTES: Final = {
    "padding": "VALID",
    "stride_h": 1,
    "stride_w": 1,
    "dilation_h_factor": 1,
    "dilation_w_factor": 1,
    "depth_multiplier": 1,
}


def identity(
    model: Model, index: int, source: int, target: int, activation: str = "NONE"
) -> tuple[Model, Operator]:
    """The model with the weights added, and the operator from `source` to `target`."""
    channels = dims_of(model.tensors[source].shape).channels
    one = Quant(np.ones(1, np.float32), np.zeros(1, np.int64))
    weights = Tensor(
        "identity", (1, 1, 1, channels), "int8", one, np.ones((1, 1, 1, channels), np.int8)
    )
    bias = Tensor("no bias", (channels,), "int32", None, np.zeros(channels, np.int32))
    model, weights_index = model.with_tensor(weights)
    model, bias_index = model.with_tensor(bias)
    attributes = {**_ATTRIBUTES, "fused_activation_function": activation}
    op = Operator(
        index,
        "DEPTHWISE_CONV_2D",
        (source, weights_index, bias_index),
        (target,),
        MappingProxyType(attributes),
    )
    return model, op


def dense_identity(model: Model, index: int, source: int, target: int) -> tuple[Model, Operator]:
    """As `identity`, for a row, and as a fully connected layer."""
    count = model.tensors[source].elements
    one = Quant(np.ones(1, np.float32), np.zeros(1, np.int64))
    weights = Tensor("identity", (count, count), "int8", one, np.eye(count, dtype=np.int8))
    bias = Tensor("no bias", (count,), "int32", None, np.zeros(count, np.int32))
    model, weights_index = model.with_tensor(weights)
    model, bias_index = model.with_tensor(bias)
    attributes = MappingProxyType({"fused_activation_function": "NONE"})
    operands = (source, weights_index, bias_index)
    return model, Operator(index, "FULLY_CONNECTED", operands, (target,), attributes)


def widening(
    model: Model, index: int, source: int, target: int, front: int
) -> tuple[Model, Operator]:
    """As `identity`, with `front` channels of real zero before and as many behind as are left."""
    inputs, outputs = (dims_of(model.tensors[i].shape).channels for i in (source, target))
    kernel = np.zeros((outputs, 1, 1, inputs), np.int8)
    kernel[front : front + inputs, 0, 0] = np.eye(inputs, dtype=np.int8)
    one = Quant(np.ones(1, np.float32), np.zeros(1, np.int64))
    weights = Tensor("widening", kernel.shape, "int8", one, kernel)
    bias = Tensor("no bias", (outputs,), "int32", None, np.zeros(outputs, np.int32))
    model, weights_index = model.with_tensor(weights)
    model, bias_index = model.with_tensor(bias)
    attributes = {**_ATTRIBUTES, "fused_activation_function": "NONE"}
    operands = (source, weights_index, bias_index)
    return model, Operator(index, "CONV_2D", operands, (target,), MappingProxyType(attributes))
