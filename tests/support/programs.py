"""Programs of one layer, for tests that know by hand what comes out."""

from __future__ import annotations

from typing import Any

import numpy as np

from compiler import EXTERNAL_INPUT, AxonProgram, Dims, Layer, LayerInput, Op, Quantization


def layer_of(
    op: Op,
    source: Dims,
    output: Dims,
    *,
    multiplier: int | list[int] = 1,
    shift: int | list[int] = 0,
    producer: int = EXTERNAL_INPUT,
    **fields: Any,
) -> Layer:
    """A layer with one input. By default the requantization changes nothing."""
    operands = (LayerInput(producer, source),)
    return Layer(
        op=op,
        inputs=fields.pop("inputs", operands),
        output_dims=output,
        multipliers=np.atleast_1d(np.array(multiplier, np.int32)),
        shifts=np.atleast_1d(np.array(shift, np.int8)),
        **fields,
    )


def convolution(source: Dims, weights: list[Any], output: Dims, **fields: Any) -> Layer:
    """A convolution of any kind: depthwise for weights [c][h][w], else [out][in][h][w]."""
    array = np.array(weights, np.int8)
    height, width = array.shape[-2:]
    op = Op.CONV2D if array.ndim == 4 else Op.DEPTHWISE_CONV2D
    steps = dict.fromkeys(("stride_x", "stride_y", "dilation_x", "dilation_y"), 1)
    window = Dims(height, width, source.channels, 1, 0)
    return layer_of(op, source, output, filter=array, filter_dims=window, **(steps | fields))


def program_of(*layers: Layer, zero_point: int = 0, name: str = "sample") -> AxonProgram:
    """A program with the identity as its quantization."""
    return AxonProgram(
        name=name,
        layers=layers,
        input_quantization=Quantization(1 << 19, 19, zero_point),
        output_dequantization=Quantization(1 << 20, 20, 0),
    )
