"""FULLY_CONNECTED -> fully connected layer, or a pointwise convolution when it has several rows."""

from __future__ import annotations

import numpy as np

from compiler.dims import dims_of
from compiler.ir import Dims, IntArray, Layer, LayerInput, Op
from compiler.lowering.convolution import channel_requant, folded_bias, suits_pointwise
from compiler.lowering.site import Site, activation_of, build, stage_of


def fully_connected(site: Site) -> Layer:
    """Weights [out][in]; columns follow the device's order of the input.

    A TFLite tensor flattens height, width, channel; the device holds channel, height, width. So
    behind a map the columns are permuted, and no data moves.
    """
    weights = np.asarray(site.constant(1))
    outputs, width = weights.shape
    rows = site.tensor(0).elements // width
    stage = stage_of(site)
    requant = channel_requant(site, stage, outputs if rows > 1 else 1)
    common = {
        "input_zero_point": site.quant(0).zero_point,
        "activation": activation_of(site, stage),
        "bias": folded_bias(site, weights),
        "multipliers": requant.multipliers,
        "shifts": requant.shifts,
    }
    if rows > 1:
        seen, result = Dims(1, rows, width), Dims(1, rows, outputs, stage.byte_width)
        kernel = np.ascontiguousarray(weights.reshape(outputs, width, 1, 1), dtype=np.int8)
        return build(
            site,
            Op.POINTWISE_CONV2D if suits_pointwise(site, seen, result, (1, 1)) else Op.CONV2D,
            (site.operand(0, seen),),
            stage,
            output_dims=result,
            filter_dims=Dims(1, 1, width, 1, 0),
            stride_x=1,
            stride_y=1,
            dilation_x=1,
            dilation_y=1,
            filter=kernel,
            **common,
        )
    return build(
        site,
        Op.FULLY_CONNECTED,
        (site.operand(0, Dims(1, width, 1)),),
        stage,
        filter_dims=Dims(outputs, width, 1, 1, 0),
        filter=_device_columns(site, weights),
        **common,
    )


def _device_columns(site: Site, weights: IntArray) -> IntArray:
    """Columns from [height, width, channel] to [channel, height, width] of the producing layer."""
    columns = np.ascontiguousarray(weights, dtype=np.int8)
    source: LayerInput = site.operand(0)
    if source.producer < 0:
        return columns
    extent = dims_of(site.model.tensors[site.model.root(site.op.inputs[0])].shape)
    if extent.elements != weights.shape[1]:
        return columns
    maps = columns.reshape(-1, extent.height, extent.width, extent.channels)
    return np.ascontiguousarray(maps.transpose(0, 3, 1, 2)).reshape(weights.shape)
