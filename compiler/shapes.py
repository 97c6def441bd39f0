"""From a program's layers to the numbers that their cost depends on."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from compiler.cycles import LayerShape, broadcast_of
from compiler.ir import EXTERNAL_INPUT, AxonProgram, Dims, Layer, Op
from compiler.reference import zero_point_of

Q3_12_BITS: Final = 12
"""Fraction bits of what sigmoid and tanh take."""

_WINDOWED: Final = (
    Op.CONV2D,
    Op.DEPTHWISE_CONV2D,
    Op.POINTWISE_CONV2D,
    Op.AVERAGE_POOL,
    Op.MAX_POOL,
)


def program_shapes(program: AxonProgram) -> tuple[LayerShape, ...]:
    """One shape per layer of the program."""
    return tuple(layer_shape(program, index) for index in range(len(program.layers)))


def layer_shape(program: AxonProgram, index: int) -> LayerShape:
    """The extents, strides and kinds that the cost of a layer depends on."""
    layer = program.layers[index]
    source, out = _source(program, layer), layer.output_dims
    shape = LayerShape(
        op=layer.op,
        in_h=source.height,
        in_w=source.width,
        in_c=source.channels,
        out_h=out.height,
        out_w=out.width,
        out_c=out.channels,
        out_bytes=out.byte_width,
        activation=int(layer.activation),
        per_channel=layer.shifts is not None and layer.shifts.size > 1,
        mixed_shifts=layer.shifts is not None and len(set(layer.shifts.ravel().tolist())) > 1,
        batch=max(out.batch, 1),
    )
    if layer.op in _WINDOWED:
        return _windowed(shape, layer)
    if layer.op is Op.MEAN:
        high, wide = source.height // max(out.height, 1), source.width // max(out.width, 1)
        return replace(shape, kernel_h=max(high, 1), kernel_w=max(wide, 1))
    if layer.op in (Op.ADD, Op.MULTIPLY):
        return _elementwise(program, shape, layer)
    if layer.op is Op.CONCATENATE:
        parts = tuple((d.dims.channels, d.dims.height, d.dims.width) for d in layer.inputs)
        return replace(shape, parts=parts, axis=layer.concat_axis)
    if layer.op in (Op.SIGMOID, Op.TANH):
        return replace(shape, converted=needs_conversion(program, layer))
    if layer.op is Op.CHANNEL_PAD:
        return replace(shape, fill=layer.pads.top + layer.pads.bottom)
    if layer.op is Op.STRIDED_SLICE and layer.filter is not None and layer.filter.size == 9:
        _, high, wide = (int(v) for v in layer.filter.ravel()[6:9])
        return replace(shape, stride_h=max(high, 1), stride_w=max(wide, 1))
    return shape


def _source(program: AxonProgram, layer: Layer) -> Dims:
    """Extent of the first input. A fully connected layer reads its producer's map as it lies in
    the buffer, so the map's extent counts, unless it is the external input, which is packed."""
    first = layer.inputs[0]
    if layer.op is Op.FULLY_CONNECTED:
        flat = Dims(1, first.dims.elements, 1, first.dims.byte_width)
        if first.producer == EXTERNAL_INPUT:
            return flat
        produced = program.layers[first.producer].output_dims
        return produced if produced.elements == first.dims.elements else flat
    if layer.op in (Op.ADD, Op.MULTIPLY):
        return max((operand.dims for operand in layer.inputs), key=lambda dims: dims.elements)
    return first.dims


def needs_conversion(program: AxonProgram, layer: Layer) -> bool:
    """Whether the vendor's generator takes the input of a sigmoid or tanh for other than q3.12.

    It reads the scale off the producer, 2**12 for q3.12, and only where that has a shift of at
    least 12 (observed).
    """
    producer = layer.inputs[0].producer
    if producer == EXTERNAL_INPUT:
        return False
    written = program.layers[producer]
    shift = written.output_shift
    return shift >= Q3_12_BITS and written.output_multiplier != 1 << (shift + Q3_12_BITS)


def _windowed(shape: LayerShape, layer: Layer) -> LayerShape:
    pads = layer.pads
    return replace(
        shape,
        kernel_h=max(layer.filter_dims.height, 1),
        kernel_w=max(layer.filter_dims.width, 1),
        stride_h=max(layer.stride_y, 1),
        stride_w=max(layer.stride_x, 1),
        pad_top=pads.top,
        pad_left=pads.left,
        pads_any=bool(pads.top or pads.bottom or pads.left or pads.right),
        dilation_h=max(layer.dilation_y, 1),
        dilation_w=max(layer.dilation_x, 1),
    )


def _elementwise(program: AxonProgram, shape: LayerShape, layer: Layer) -> LayerShape:
    constant = len(layer.inputs) == 1
    dims = layer.filter_dims
    if not constant:
        dims = min((operand.dims for operand in layer.inputs), key=lambda dims: dims.elements)
    kind = broadcast_of(shape, (dims.height, dims.width, dims.channels))
    centred = _centred(program, layer) if layer.op is Op.MULTIPLY else (False, False)
    return replace(shape, broadcast=kind, constant=constant, centred=centred)


def _centred(program: AxonProgram, layer: Layer) -> tuple[bool, bool]:
    """Whether the larger and the smaller operand of a multiplication have zero point 0."""
    operands = sorted(layer.inputs, key=lambda operand: -operand.dims.elements)
    points = [zero_point_of(program, operand.producer) for operand in operands]
    second = points[1] if len(points) > 1 else layer.input_zero_point
    return points[0] == 0, second == 0
