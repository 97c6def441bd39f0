"""AxonProgram -> text: stable, diffable, one line per layer. The language of dumps and tests.

    program name, input and output with their real scale, labels, limits
    %index = operation(operands) settings -> CxHxW:type
        constant [shape] type min..max sha256 (first 12 digits)

Extents are channels x height x width, strides and dilations vertical x horizontal, pads left,
right, top, bottom, and zp the zero points of input and output. A split reads `%0[channel+2]`.
Settings that have their neutral value are left out. Equal text means equal programs, up to the
first twelve hexadecimal digits of each constant's hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Final

import numpy as np

from compiler.ir import (
    EXTERNAL_INPUT,
    Activation,
    Axis,
    AxonProgram,
    Dims,
    IntArray,
    Layer,
    LayerInput,
    Op,
    Pads,
    Quantization,
)

_TYPE: Final = {1: "i8", 2: "i16", 4: "i32"}
_SMALL: Final = 9
_WINDOWED: Final = frozenset(
    {Op.CONV2D, Op.DEPTHWISE_CONV2D, Op.POINTWISE_CONV2D, Op.AVERAGE_POOL, Op.MAX_POOL, Op.MEAN}
)


def dump(program: AxonProgram) -> str:
    """A program as text, ending in a newline. The same program always gives the same text."""
    return "".join(f"{line}\n" for line in _lines(program))


def _lines(program: AxonProgram) -> Iterator[str]:
    options = program.options
    yield f"program {program.name}"
    yield f"input {_dims(program.input_dims)} {_input_scale(program.input_quantization)}"
    layers = ", ".join(f"%{index}" for index in program.output_layers)
    yield f"output {layers} {_scale(program.output_dequantization)}"
    if program.labels:
        yield f"labels {', '.join(program.labels)}"
    yield (
        f"options interlayer={options.interlayer_limit} psum={options.psum_limit}"
        f" vectors={options.test_vector_count} conv2d={options.conv2d_setting}"
        f" log={options.log_level} placement={options.psum_placement}"
    )
    for index, layer in enumerate(program.layers):
        yield f"%{index} = {_layer(layer)}"
        for name in ("filter", "bias", "multipliers", "shifts", "cpu_attributes"):
            array = getattr(layer, name)
            if array is not None:
                yield f"    {_constant(name, array)}"


def _layer(layer: Layer) -> str:
    operands = ", ".join(_operand(operand) for operand in layer.inputs)
    parts = [f"{layer.op.name.lower()}({operands})", *_settings(layer)]
    scale = _scale(Quantization(layer.output_multiplier, layer.output_shift, 0))
    return f"{' '.join(parts)} -> {_dims(layer.output_dims)} {scale}"


def _operand(operand: LayerInput) -> str:
    source = "input" if operand.producer == EXTERNAL_INPUT else f"%{operand.producer}"
    split = ""
    if operand.split_axis or operand.split_offset:
        split = f"[{_axis(operand.split_axis)}+{operand.split_offset}]"
    return f"{source}{split}:{_dims(operand.dims)}"


def _settings(layer: Layer) -> Iterator[str]:
    """Whatever differs from the neutral value of this operation."""
    if layer.filter_dims != Dims(0, 0, 0, 1, 0):
        filter_dims = layer.filter_dims
        extent = f"{filter_dims.channels}x{filter_dims.height}x{filter_dims.width}"
        width = "" if filter_dims.byte_width == 1 else f":{filter_dims.byte_width}B"
        batch = "" if filter_dims.batch == 0 else f"*{filter_dims.batch}"
        yield f"window={extent}{width}{batch}"
    neutral = 1 if layer.op in _WINDOWED else 0
    if (layer.stride_y, layer.stride_x) != (neutral, neutral):
        yield f"stride={layer.stride_y}x{layer.stride_x}"
    neutral = 1 if layer.op in _WINDOWED and layer.dilation_x + layer.dilation_y else 0
    if (layer.dilation_y, layer.dilation_x) != (neutral, neutral):
        yield f"dilation={layer.dilation_y}x{layer.dilation_x}"
    if layer.pads != Pads():
        pads = layer.pads
        yield f"pads={pads.left},{pads.right},{pads.top},{pads.bottom}"
    if layer.op is Op.CONCATENATE or layer.concat_axis:
        yield f"axis={_axis(layer.concat_axis)}"
    if layer.activation is not Activation.NONE:
        yield layer.activation.name.lower()
    yield f"zp={layer.input_zero_point},{layer.output_zero_point}"


def _axis(code: int) -> str:
    return Axis(code).name.lower() if code in (0, 1, 2) else str(code)


def _dims(dims: Dims) -> str:
    batch = "" if dims.batch == 1 else f"{dims.batch}*"
    kind = _TYPE.get(dims.byte_width, f"{dims.byte_width}B")
    return f"{batch}{dims.channels}x{dims.height}x{dims.width}:{kind}"


def _scale(quantization: Quantization) -> str:
    """Real value of one step, and the fixed-point pair that holds it."""
    pair = f"{quantization.multiplier}/2^{quantization.shift}"
    zero_point = f" zp={quantization.zero_point}" if quantization.zero_point else ""
    return f"scale={quantization.factor:.9g} ({pair}){zero_point}"


def _input_scale(quantization: Quantization) -> str:
    """At the input the stored factor is the inverse of the real value of one step."""
    scale = f"{1 / quantization.factor:.9g}" if quantization.multiplier else "undefined"
    pair = f"{quantization.multiplier}/2^{quantization.shift}"
    return f"scale={scale} (1 / ({pair})) zp={quantization.zero_point}"


def _constant(name: str, array: IntArray) -> str:
    shape = "x".join(str(extent) for extent in array.shape)
    text = f"{name} [{shape}] {array.dtype}"
    if array.size <= _SMALL:
        return f"{text} {array.ravel().tolist()}"
    little_endian = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    digest = hashlib.sha256(little_endian.tobytes()).hexdigest()[:12]
    return f"{text} {array.min()}..{array.max()} sha256={digest}"
