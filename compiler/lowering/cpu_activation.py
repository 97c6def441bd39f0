"""SOFTMAX, LOGISTIC and TANH: computed by the CPU from fixed point that the NPU prepares."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from compiler.dims import dims_of
from compiler.fixedpoint import single
from compiler.ir import Layer, Op
from compiler.lowering.site import Site, Stage, build, finish

_OPS: Final = {"SOFTMAX": Op.SOFTMAX, "LOGISTIC": Op.SIGMOID, "TANH": Op.TANH}


def cpu_activation(site: Site) -> Layer:
    """The input is q11.12 in 32 bits (softmax) or q3.12 in 16; the output is quantized."""
    quant = site.result_quant
    width = 4 if site.op.code == "SOFTMAX" else 2
    stage = Stage(quant.scale, quant.zero_point)
    if site.is_int32_output:
        stage = Stage(np.float32(1), 0, byte_width=4)
    scale = np.float32(np.float32(1) / quant.scale)
    requant = finish(site, single(scale, zero_point=quant.zero_point), stage)
    # A pixel's channels may have been reshaped to a row; the layer takes them as they lie.
    extent = dims_of(site.model.tensors[site.model.root(site.op.inputs[0])].shape)
    source = replace(extent, byte_width=width)
    return build(
        site,
        _OPS[site.op.code],
        (site.operand(0, source),),
        stage,
        output_dims=replace(extent, byte_width=stage.byte_width),
        multipliers=requant.multipliers,
        shifts=requant.shifts,
    )
