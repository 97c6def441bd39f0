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
