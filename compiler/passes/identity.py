"""An operator that copies or requantizes: a 1x1 depthwise convolution whose weights are one.

y = round((x - zero_in) * scale_in / scale_out) + zero_out, which is exact when both sides are
quantized alike. Used where the NPU needs a layer of its own between two others.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt

from compiler.dims import dims_of
from compiler.model import Model, Operator, Quant, Tensor

PLAIN: Final = MappingProxyType(
    {
        "padding": "VALID",
        "stride_h": 1,
        "stride_w": 1,
        "dilation_h_factor": 1,
        "dilation_w_factor": 1,
        "fused_activation_function": "NONE",
    }
)
"""Attributes of a convolution that has none of all this."""


def with_weights(
    model: Model, name: str, data: npt.NDArray[np.int8], outputs: int, scale: float = 1.0
) -> tuple[Model, int, int]:
    """The model with weights of one scale and a bias of zeros, and the numbers of both."""
    quant = Quant(np.array([scale], np.float32), np.zeros(1, np.int64))
    weights = Tensor(name, data.shape, "int8", quant, data)
    bias = Tensor("no bias", (outputs,), "int32", None, np.zeros(outputs, np.int32))
    model, weights_index = model.with_tensor(weights)
    model, bias_index = model.with_tensor(bias)
    return model, weights_index, bias_index


def identity(
    model: Model, index: int, source: int, target: int, activation: str = "NONE"
) -> tuple[Model, Operator]:
    """The model with the weights added, and the operator from `source` to `target`."""
    channels = dims_of(model.tensors[source].shape).channels
    kernel = np.ones((1, 1, 1, channels), np.int8)
    model, weights, bias = with_weights(model, "identity", kernel, channels)
    attributes = {**PLAIN, "depth_multiplier": 1, "fused_activation_function": activation}
    operands = (source, weights, bias)
    depthwise = MappingProxyType(attributes)
    return model, Operator(index, "DEPTHWISE_CONV_2D", operands, (target,), depthwise)


def dense_identity(model: Model, index: int, source: int, target: int) -> tuple[Model, Operator]:
    """As `identity`, for a row, and as a fully connected layer."""
    count = model.tensors[source].elements
    model, weights, bias = with_weights(model, "identity", np.eye(count, dtype=np.int8), count)
    attributes = MappingProxyType({"fused_activation_function": "NONE"})
    operands = (source, weights, bias)
    return model, Operator(index, "FULLY_CONNECTED", operands, (target,), attributes)


def widening(
    model: Model, index: int, source: int, target: int, front: int
) -> tuple[Model, Operator]:
    """As `identity`, with `front` channels of real zero before and as many behind as are left."""
    inputs, outputs = (dims_of(model.tensors[i].shape).channels for i in (source, target))
    kernel = np.zeros((outputs, 1, 1, inputs), np.int8)
    kernel[front : front + inputs, 0, 0] = np.eye(inputs, dtype=np.int8)
    model, weights, bias = with_weights(model, "widening", kernel, outputs)
    return model, Operator(index, "CONV_2D", (source, weights, bias), (target,), PLAIN)
