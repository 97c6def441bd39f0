"""AVERAGE_POOL_2D, MAX_POOL_2D and MEAN."""

from __future__ import annotations

import numpy as np

from compiler.dims import axis_of, dims_of
from compiler.fixedpoint import Requant as Requantization
from compiler.fixedpoint import best_shift_drifting, int32_array, round_scaled
from compiler.ir import Axis, Dims, Layer, Op
from compiler.lowering.site import Site, Stage, activation_of, build, finish, stage_of
from compiler.passes.padding import window_pads


def average_pool(site: Site) -> Layer:
    """A window that spans the map, or one whole side of a line, is a mean."""
    attributes = site.op.attributes
    window = (attributes["filter_height"], attributes["filter_width"])
    whole = spans_map(dims_of(site.tensor(0).shape), site.output_dims(), window)
    op = Op.MEAN if whole else Op.AVERAGE_POOL
    return _average(
        site, op, Dims(*window, 0, 1, 0), attributes["stride_w"], attributes["stride_h"]
    )


def spans_map(extent: Dims, result: Dims, window: tuple[int, int]) -> bool:
    """Whether a window counts as spanning the whole map, or one side of it everywhere.

    A mean takes no steps along the other side: Nordic's front end makes one of such a pool too.
    """
    if (extent.height, extent.width) == window or (result.height, result.width) == (1, 1):
        return True
    if window == (extent.height, 1) and result.height == 1:
        return result.width == extent.width
    return window == (1, extent.width) and (result.width, result.height) == (1, extent.height)


def mean(site: Site) -> Layer:
    """Over height, width or both; the constraints refuse other axes."""
    extent = dims_of(site.tensor(0).shape)
    rank = len(site.tensor(0).shape)
    axes = {axis_of(int(axis), rank) for axis in np.ravel(site.constant(1))}
    height = extent.height if Axis.HEIGHT in axes else 1
    width = extent.width if Axis.WIDTH in axes else 1
    # The stride fields are bytes; the NPU does not step, and Nordic's front end lets them wrap.
    return _average(site, Op.MEAN, Dims(height, width, 1, 1, 0), width % 256, height % 256)


def _average(site: Site, op: Op, window: Dims, stride_x: int, stride_y: int) -> Layer:
    """sum + bias, times scale_in / scale_out / area. bias = -zero_in * area."""
    stage = stage_of(site)
    area = window.height * window.width
    source = site.quant(0)
    requant = _average_requant(site, stage, area)
    return build(
        site,
        op,
        (site.operand(0),),
        stage,
        filter_dims=window,
        stride_x=stride_x,
        stride_y=stride_y,
        input_zero_point=source.zero_point,
        activation=activation_of(site, stage),
        bias=int32_array([-source.zero_point * area]),
        multipliers=requant.multipliers,
        shifts=requant.shifts,
    )


def _average_requant(site: Site, stage: Stage, area: int) -> Requantization:
    """25 bits instead of 31 when both sides are quantized alike, as Nordic's front end does."""
    source = site.quant(0)
    alike = stage.byte_width == 1 and source.same_as(site.result_quant)
    scale = np.float32(np.float32(source.scale / stage.scale) / np.float32(area))
    shift, grown = best_shift_drifting(
        scale, high=stage.high, bits=25 if alike else 31, zero_point=stage.zero_point
    )
    multiplier = round_scaled(grown, shift)
    requant = Requantization(int32_array([multiplier]), np.array([shift], np.int8))
    return finish(site, requant, stage)


def max_pool(site: Site) -> Layer:
    """A comparison only: multiplier 1, shift 0, and no output zero point to add."""
    attributes = site.op.attributes
    stage = stage_of(site)
    return build(
        site,
        Op.MAX_POOL,
        (site.operand(0),),
        stage,
        filter_dims=Dims(attributes["filter_height"], attributes["filter_width"], 0, 1, 0),
        stride_x=attributes["stride_w"],
        stride_y=attributes["stride_h"],
        pads=window_pads(site.model, site.op),
        input_zero_point=site.quant(0).zero_point,
        output_zero_point=0,
        multipliers=np.array([1], np.int32),
        shifts=np.array([0], np.int8 if site.output_dims().channels > 1 else np.int32),
    )
