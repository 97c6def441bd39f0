"""Layers that move data: pad, concatenate, slice, reshape, resize, space and batch, variables."""

from __future__ import annotations

import numpy as np

from compiler.dims import axis_of, dims_of
from compiler.fixedpoint import Requant, per_channel, single, widened
from compiler.ir import Axis, Dims, Layer, Op, Pads
from compiler.lowering.site import Site, Stage, build, finish, stage_of
from compiler.passes.padding import paddings

RESIZE_ATTRIBUTE_END = 175
"""Third attribute of a resize layer; Nordic's front end always writes this value."""


def channel_pad(site: Site) -> Layer:
    """Channels in front and behind, filled with the zero point."""
    table = paddings(site.model, site.op)
    assert table is not None
    stage = stage_of(site)
    front, back = table[3].tolist()
    shape = site.tensor(1).shape
    filter_dims = Dims(shape[0], shape[1], 1, 1, 0)
    pads = Pads(top=front, bottom=back)
    return _move(site, Op.CHANNEL_PAD, stage, filter_dims=filter_dims, pads=pads)


def concatenate(site: Site) -> Layer:
    """Two tensors in the graph's order."""
    stage = stage_of(site)
    axis = axis_of(site.op.attributes["axis"], len(site.result.shape))
    assert axis is not None
    # Nordic's front end divides the product of both input scales; the NPU does not use the value.
    product = np.float32(site.quant(0).scale * site.quant(1).scale)
    scale = np.float32(product / stage.scale)
    requant = per_channel([scale], high=stage.high, zero_point=stage.zero_point)
    requant = finish(site, requant, stage)
    return build(
        site,
        Op.CONCATENATE,
        (site.operand(0), site.operand(1)),
        stage,
        concat_axis=int(axis),
        input_zero_point=site.quant(0).zero_point,
        multipliers=requant.multipliers,
        shifts=requant.shifts,
    )


def strided_slice(site: Site) -> Layer:
    """The filter holds begin, end and stride, each as channel, height, width."""
    table = np.array(
        [_per_axis(site, key, fill) for key, fill in (("begin", 0), ("end", 1), ("stride", 1))],
        np.int32,
    ).ravel()
    filter_dims = Dims(1, table.size, 1, 4, 0)
    return _move(site, Op.STRIDED_SLICE, stage_of(site), filter=table, filter_dims=filter_dims)


def _per_axis(site: Site, key: str, fill: int) -> list[int]:
    """A slice attribute in device order; the height of a rank-1 tensor is `fill`."""
    values = site.op.attributes[key]
    rank = len(values)
    by_axis = {axis_of(i, rank) if rank > 1 else Axis.WIDTH: v for i, v in enumerate(values)}
    return [by_axis.get(axis, fill) for axis in (Axis.CHANNEL, Axis.HEIGHT, Axis.WIDTH)]


def reshape(site: Site) -> Layer:
    """A CPU layer: the flat order of TFLite is kept, the bytes move.

    Its filter dims only tell whether the operator gave the shape as an operand.
    """
    source = site.quant(0)
    scale = np.float32(source.scale / site.result_quant.scale)
    requant = finish(site, single(scale, high=28, bits=28, wide=True), stage_of(site))
    return _move(
        site,
        Op.RESHAPE,
        stage_of(site),
        requant,
        filter_dims=Dims(*(site.op.attributes["shape_operand"],) * 3, 1, 0),
    )


def resize_nearest(site: Site) -> Layer:
    """A CPU layer; its attributes say how corners are aligned."""
    attributes = site.op.attributes
    flags = [int(attributes["align_corners"]), int(attributes["half_pixel_centers"])]
    one = widened(Requant(np.array([1], np.int32), np.array([0], np.int8)))
    return _move(
        site,
        Op.RESIZE_NEAREST,
        stage_of(site),
        finish(site, one, stage_of(site)),
        filter_dims=Dims(1, 1, 1, 1, 0),
        cpu_attributes=np.array([*flags, RESIZE_ATTRIBUTE_END], np.int32),
    )


def space_to_batch(site: Site) -> Layer:
    """Every block position becomes a batch."""
    return _space_and_batch(site, Op.SPACE_TO_BATCH)


def batch_to_space(site: Site) -> Layer:
    """The inverse, then cropping."""
    return _space_and_batch(site, Op.BATCH_TO_SPACE)


def _space_and_batch(site: Site, op: Op) -> Layer:
    block = np.ravel(site.constant(1)).tolist()
    (top, bottom), (left, right) = np.asarray(site.constant(2)).tolist()
    filter_dims = Dims(block[0], block[1], 1, 1, 0)
    pads = Pads(left, right, top, bottom)
    return _move(site, op, stage_of(site), filter_dims=filter_dims, pads=pads)


def persistent_variable(site: Site) -> Layer:
    """State between inferences: gives the old value, takes the new one."""
    return _move(site, Op.PERSISTENT_VARIABLE, stage_of(site))


def _move(
    site: Site, op: Op, stage: Stage, requant: Requant | None = None, **fields: object
) -> Layer:
    """A layer that copies. Its requantization is written as Nordic writes it, but not used."""
    source = site.quant(0)
    if requant is None:
        scale = np.float32(source.scale / stage.scale)
        requant = finish(site, single(scale, high=stage.high, bits=25, wide=True), stage)
    return build(
        site,
        op,
        (site.operand(0, dims_of(site.tensor(0).shape)),),
        stage,
        input_zero_point=source.zero_point,
        multipliers=requant.multipliers,
        shifts=requant.shifts,
        **fields,
    )
