"""CONV_2D and DEPTHWISE_CONV_2D -> conv2d, pointwise, depthwise layers."""

from __future__ import annotations

from typing import Final

import numpy as np

from compiler.dims import dims_of
from compiler.fixedpoint import Requant, int32_array, per_channel
from compiler.ir import Dims, IntArray, Layer, Op
from compiler.lowering.site import Site, Stage, activation_of, build, finish, input_gain, stage_of
from compiler.passes.packing import PACKED
from compiler.passes.padding import window_pads

MAX_POINTWISE_STRIDE: Final = 2
MAX_POINTWISE_INPUTS: Final = 512
MAX_PIXEL_INPUTS: Final = 1020
MAX_POINTWISE_OUTPUTS: Final = 1022
STRIPE_ELEMENTS: Final = 2048 * 3
"""Elements, rows and channels rounded up, that a pointwise convolution takes at once."""


def convolution(site: Site) -> Layer:
    """Weights become [out][in][h][w].

    A 1x1 kernel is the pointwise operation where that computes it rightly, else a convolution.
    """
    weights = np.asarray(site.constant(1))
    extent = dims_of(site.tensor(0).shape)
    attributes, pads = site.op.attributes, window_pads(site.model, site.op)
    padded = any((pads.left, pads.right, pads.top, pads.bottom))
    strides = (attributes["stride_h"], attributes["stride_w"])
    pointwise = weights.shape[1:3] == (1, 1) and not padded
    pointwise = pointwise and suits_pointwise(site, extent, site.output_dims(), strides)
    op = Op.POINTWISE_CONV2D if pointwise else Op.CONV2D
    return _layer(site, op, weights.transpose(0, 3, 1, 2))


def suits_pointwise(site: Site, extent: Dims, result: Dims, strides: tuple[int, int]) -> bool:
    """Whether the pointwise operation gives the right result here (observed of compiler 1.4.0).

    It ignores padding and all batches but the first, strides along rows by 2 at most, and pads rows
    of less than 4 wide elements. It takes packed data (the model input, what the CPU wrote) only in
    rows of 4 elements and more; of a map cut into stripes, only in whole words. As the first layer
    it may overwrite the model input.
    """
    extent, result = site.options.turned(extent), site.options.turned(result)
    stride, stride_x = reversed(strides) if site.options.transpose else strides
    if extent.batch > 1 or stride_x > MAX_POINTWISE_STRIDE:
        return False
    pixel = (extent.height, extent.width) == (1, 1)
    most = MAX_PIXEL_INPUTS if pixel else MAX_POINTWISE_INPUTS
    if extent.channels > most or result.channels > MAX_POINTWISE_OUTPUTS:
        return False
    narrow = result.width < 4 and (result.height, result.width) != (1, 1)
    if narrow and stage_of(site).byte_width > 1:
        return False
    if not _is_packed(site):
        return True
    if len(site.model.consumers(site.op.inputs[0])) > 1 and site.op is site.model.operators[0]:
        return False
    words, groups = -(-extent.width // 4), -(-extent.channels // 6)
    rows = (extent.height - 1) // stride + 1
    striped = rows * words * 4 * groups * 6 > STRIPE_ELEMENTS
    return extent.width >= 4 and not (striped and extent.width % 4)


def _is_packed(site: Site) -> bool:
    """Whether the operand lies without row padding."""
    producer = site.model.producer(site.op.inputs[0])
    return producer is None or producer.code in PACKED


def depthwise(site: Site) -> Layer:
    """Weights become [channel][h][w]."""
    weights = np.asarray(site.constant(1))
    return _layer(site, Op.DEPTHWISE_CONV2D, weights[0].transpose(2, 0, 1))


def _layer(site: Site, op: Op, weights: IntArray) -> Layer:
    stage = stage_of(site)
    requant = channel_requant(site, stage, site.output_dims().channels)
    attributes = site.op.attributes
    in_channels = weights.shape[1] if weights.ndim == 4 else weights.shape[0]
    return build(
        site,
        op,
        (site.operand(0),),
        stage,
        filter_dims=Dims(weights.shape[-2], weights.shape[-1], in_channels, 1, 0),
        stride_x=attributes["stride_w"],
        stride_y=attributes["stride_h"],
        dilation_x=attributes["dilation_w_factor"],
        dilation_y=attributes["dilation_h_factor"],
        pads=window_pads(site.model, site.op),
        input_zero_point=site.quant(0).zero_point,
        activation=activation_of(site, stage),
        filter=np.ascontiguousarray(weights, dtype=np.int8),
        bias=folded_bias(site, weights),
        multipliers=requant.multipliers,
        shifts=requant.shifts,
    )


def folded_bias(site: Site, weights: IntArray) -> IntArray:
    """bias - zero_in * sum(weights) per output, int32, so that the NPU can multiply raw codes."""
    outputs = weights.shape[0]
    bias = site.constant(2) if site.has_operand(2) else np.zeros(outputs, np.int64)
    sums = weights.reshape(outputs, -1).astype(np.int64).sum(axis=1)
    folded = np.asarray(bias, np.int64).ravel() - site.quant(0).zero_point * sums
    return int32_array(folded.tolist())


def channel_requant(site: Site, stage: Stage, gains: int) -> Requant:
    """scale_in * scale_weight[channel] / scale_out, in float32 as Nordic's front end computes it.

    gains: how often a single scale is written. A convolution on the NPU reads one a channel, a
    fully connected layer takes a single one. Leaky ReLU stores a pair per channel: the
    negative multiplier (times alpha, truncated), then the positive one.
    """
    gain = np.float32(site.quant(0).scale * input_gain(site))
    weights = site.quant(1).scales
    if weights.size == 1:
        weights = np.repeat(weights, gains)
    scales = [np.float32(np.float32(gain * weight) / stage.scale) for weight in weights]
    requant = per_channel(scales, high=stage.high, zero_point=stage.zero_point)
    alpha = site.op.attributes.get("leaky_alpha")
    if alpha is None:
        return finish(site, requant, stage)
    negative = int32_array(np.trunc(float(alpha) * requant.multipliers))
    pairs = np.stack([negative, requant.multipliers], axis=1).ravel()
    return finish(site, Requant(pairs, requant.shifts), stage, per_multiplier=2)
