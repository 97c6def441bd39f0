"""ADD and MUL of two tensors, or of a tensor and a constant."""

from __future__ import annotations

import numpy as np

from compiler.dims import dims_of
from compiler.fixedpoint import Requant, best_shift_drifting, int32_array, round_scaled, single
from compiler.ir import Dims, IntArray, Layer, LayerInput, Op
from compiler.lowering.site import Site, Stage, activation_of, build, finish, stage_of


def add(site: Site) -> Layer:
    """a*m0 + b*m1 + bias with one common shift; the zero points are in the bias.

    The multiplier of an operand that is taken off (`negated`) is negative.
    """
    stage = stage_of(site)
    positions, inputs, constant = _operands(site)
    requant, bias = _add_requant(site, stage, positions)
    return build(
        site,
        Op.ADD,
        inputs,
        stage,
        filter_dims=_second_dims(site),
        activation=activation_of(site, stage),
        filter=constant,
        bias=bias,
        multipliers=requant.multipliers,
        shifts=requant.shifts,
    )


def multiply(site: Site) -> Layer:
    """(a - zero_a) * (b - zero_b) * m. A constant's zero point goes into the input zero point."""
    stage = stage_of(site)
    _, inputs, constant = _operands(site)
    first, second = site.quant(0), site.quant(1)
    scale = np.float32(np.float32(first.scale * second.scale) / stage.scale)
    requant = single(scale, high=stage.high, bits=30, zero_point=stage.zero_point, wide=True)
    zero = first.zero_point if constant is None else second.zero_point
    requant = finish(site, requant, stage)
    return build(
        site,
        Op.MULTIPLY,
        inputs,
        stage,
        filter_dims=_second_dims(site),
        input_zero_point=zero,
        activation=activation_of(site, stage),
        filter=constant,
        multipliers=requant.multipliers,
        shifts=requant.shifts,
    )


def _operands(site: Site) -> tuple[tuple[int, ...], tuple[LayerInput, ...], IntArray | None]:
    """(operand positions, layer inputs, constant [C][H][W]); the later producer comes first."""
    if site.model.constant(site.op.inputs[1]) is not None:
        return (0, 1), (site.operand(0),), _constant_operand(site)
    pair = [(position, site.operand(position)) for position in (0, 1)]
    pair.sort(key=lambda item: -item[1].producer)
    return tuple(item[0] for item in pair), tuple(item[1] for item in pair), None


def _constant_operand(site: Site) -> IntArray:
    values = np.asarray(site.constant(1))
    extent = dims_of(values.shape)
    maps = values.reshape(extent.height, extent.width, extent.channels)
    return np.ascontiguousarray(maps.transpose(2, 0, 1), dtype=np.int8)


def _second_dims(site: Site) -> Dims:
    extent = dims_of(site.tensor(1).shape)
    return Dims(extent.height, extent.width, extent.channels, 1, 0)


def _add_requant(site: Site, stage: Stage, positions: tuple[int, ...]) -> tuple[Requant, IntArray]:
    quants = [site.quant(position) for position in positions]
    shifts, grown = zip(
        *(
            best_shift_drifting(
                np.float32(quant.scale / stage.scale),
                high=stage.high,
                bits=15,
                zero_point=stage.zero_point,
                zero_bits=31,
            )
            for quant in quants
        ),
        strict=True,
    )
    shift = min(shifts)
    multipliers = int32_array(round_scaled(scale, shift) for scale in grown)
    signs = [-1 if position == site.op.attributes.get("negated") else 1 for position in positions]
    offset = sum(
        sign * float(quant.scale) * quant.zero_point
        for sign, quant in zip(signs, quants, strict=True)
    )
    bias = np.trunc(-offset / float(stage.scale) * float(1 << shift))
    requant = Requant(multipliers, np.array([shift], np.int8))
    requant = finish(site, requant, stage)
    signed = int32_array(
        sign * int(value) for sign, value in zip(signs, requant.multipliers, strict=True)
    )
    return Requant(signed, requant.shifts), int32_array([bias])
