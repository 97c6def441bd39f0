"""Invariants of an Axon program, checked between stages and before anything executes one.

After `verify` a program can be interpreted: every array is there with the right shape and type,
every layer's dimensions follow from its inputs, accumulators fit 32 bits, and memory and work are
bounded. What the NPU can or cannot do is another matter; see `compiler.constraints`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from compiler.errors import UnsupportedError, VerifyError
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
)
from compiler.reference import operand_shapes
from compiler.shapes import needs_conversion

MAX_TENSOR_ELEMENTS: Final = 1 << 24
"""Elements of one tensor, its padding included; far above any interlayer buffer."""
MAX_PROGRAM_BYTES: Final = 1 << 30
"""Bytes of all layer outputs of one inference."""
MAX_OPERATIONS: Final = 1 << 36
"""Multiply-accumulates (and pool window elements) of one inference."""
MAX_SHIFT: Final = 63
_ACCUMULATOR_LIMIT: Final = 1 << 31
_INPUT_MAGNITUDE: Final = 128

_LINEAR: Final = frozenset(
    {Op.CONV2D, Op.DEPTHWISE_CONV2D, Op.POINTWISE_CONV2D, Op.FULLY_CONNECTED}
)
_CLAMPING: Final = _LINEAR | {Op.AVERAGE_POOL, Op.MAX_POOL, Op.MEAN, Op.ADD, Op.MULTIPLY}
_INPUT_WIDTH: Final[Mapping[Op, int]] = MappingProxyType(
    dict.fromkeys(_CLAMPING - {Op.MAX_POOL}, 1) | {Op.SOFTMAX: 4, Op.SIGMOID: 2, Op.TANH: 2}
)
"""Bytes per input element of the operations that compute; the others copy elements."""


def verify(program: AxonProgram) -> None:
    """Check every invariant of a program.

    Raises VerifyError with one sentence that names the layer and the field, or UnsupportedError
    for an operation that this version cannot execute.
    """
    if not program.layers:
        raise VerifyError("the program has no layers")
    quantization = program.input_quantization
    if quantization.multiplier < 1:
        raise VerifyError("the input quantization multiplier is 0, expected at least 1")
    for shift in (quantization.shift, program.output_dequantization.shift):
        if not 0 <= shift <= MAX_SHIFT:
            raise VerifyError(f"a quantization shift is {shift}, expected 0 to {MAX_SHIFT}")
    for index, layer in enumerate(program.layers):
        _verify_inputs(program, index, layer)
    _verify_size(_Checked(program, 0, program.layers[0]), "external input", program.input_dims)
    if not program.output_layers:
        raise VerifyError("the program has no output: other layers read every layer")
    work = sum(_verify_layer(_Checked(program, i, x)) for i, x in enumerate(program.layers))
    if work > MAX_OPERATIONS:
        raise VerifyError(f"the program takes {work} operations, at most {MAX_OPERATIONS}")
    size = sum(
        layer.output_dims.elements * layer.output_dims.byte_width for layer in program.layers
    )
    if size > MAX_PROGRAM_BYTES:
        raise VerifyError(f"the layers produce {size} bytes, at most {MAX_PROGRAM_BYTES}")


@dataclass(frozen=True, slots=True)
class _Checked:
    """The layer under check, and how to complain about it."""

    program: AxonProgram
    index: int
    layer: Layer

    @property
    def source(self) -> Dims:
        """Dimensions of the first input."""
        return self.layer.inputs[0].dims

    def error(self, text: str) -> VerifyError:
        return VerifyError(f"layer {self.index} ({self.layer.op.name.lower()}): {text}")

    def equal(self, field: str, found: object, expected: object) -> None:
        if found != expected:
            raise self.error(f"{field} is {found}, expected {expected}")

    def within(self, field: str, found: int, low: int, high: int) -> None:
        if not low <= found <= high:
            raise self.error(f"{field} is {found}, expected {low} to {high}")

    def one_of(self, field: str, found: int, allowed: set[int]) -> None:
        if found not in allowed:
            choices = " or ".join(str(value) for value in sorted(allowed))
            raise self.error(f"{field} is {found}, expected {choices}")


# --- what every layer must satisfy --------------------------------------------------------------


def _verify_layer(at: _Checked) -> int:
    """Check one layer; return its operations."""
    layer = at.layer
    if layer.op is Op.LSTM:
        raise UnsupportedError(f"layer {at.index}: sequence LSTM is not supported yet")
    _verify_dims(at, "output", layer.output_dims)
    width = _INPUT_WIDTH.get(layer.op)
    for operand in layer.inputs:
        if width is not None:
            at.equal("input byte width", operand.dims.byte_width, width)
        elif operand.dims.byte_width > layer.output_dims.byte_width:
            raise at.error(
                f"output byte width is {layer.output_dims.byte_width}, expected at least the "
                f"input's {operand.dims.byte_width}"
            )
    _verify_activation(at)
    for name in ("left", "right", "top", "bottom"):
        at.within(f"{name} pad", getattr(layer.pads, name), 0, 255)
    for name, zero_point in (
        ("input zero point", layer.input_zero_point),
        ("output zero point", layer.output_zero_point),
    ):
        at.within(name, zero_point, -128, 127)
    at.within("output shift", layer.output_shift, 0, 255)
    return _CHECKS[layer.op](at)


def _verify_inputs(program: AxonProgram, index: int, layer: Layer) -> None:
    at = _Checked(program, index, layer)
    counts = {Op.CONCATENATE: {1, 2, 3, 4}, Op.ADD: {1, 2}, Op.MULTIPLY: {1, 2}}
    at.one_of("input count", len(layer.inputs), counts.get(layer.op, {1}))
    last = len(program.layers) if layer.op is Op.PERSISTENT_VARIABLE else index
    for operand in layer.inputs:
        at.within("input producer", operand.producer, EXTERNAL_INPUT, last - 1)
        if operand.producer == index:
            raise at.error(f"input producer is {index}, the layer itself")
        _verify_dims(at, "input", operand.dims)
        _verify_operand(at, operand)


def _verify_operand(at: _Checked, operand: LayerInput) -> None:
    """An input is its producer's output, reshaped or split; never more than that."""
    if operand.producer == EXTERNAL_INPUT:
        produced = at.program.input_dims
        at.equal("byte width of the external input", produced.byte_width, 1)
    else:
        produced = at.program.layers[operand.producer].output_dims
    at.equal("input byte width", operand.dims.byte_width, produced.byte_width)
    at.equal("input batch", operand.dims.batch, produced.batch)
    at.within("input split axis", operand.split_axis, 0, 2)
    if operand.dims.elements == produced.elements:
        at.equal("input split offset of a whole tensor", operand.split_offset, 0)
        return
    end = [0, 0, 0]
    end[operand.split_axis] = operand.split_offset
    for axis in Axis:
        part, whole = operand.dims.shape[axis], produced.shape[axis]
        if axis == operand.split_axis and end[axis] + part <= whole:
            continue
        if axis == operand.split_axis or part != whole:
            raise at.error(
                f"input {_text(operand.dims)} at {operand.split_offset} along "
                f"{Axis(operand.split_axis).name.lower()} does not fit its producer's "
                f"{_text(produced)}"
            )


def _verify_dims(at: _Checked, what: str, dims: Dims) -> None:
    at.one_of(f"{what} byte width", dims.byte_width, {1, 2, 4})
    for name in ("height", "width", "channels", "batch"):
        at.within(f"{what} {name}", getattr(dims, name), 1, 0xFFFF)
    _verify_size(at, what, dims)


def _verify_size(at: _Checked, what: str, dims: Dims) -> None:
    if dims.elements > MAX_TENSOR_ELEMENTS:
        raise at.error(f"{what} {_text(dims)} is larger than {MAX_TENSOR_ELEMENTS} elements")


def _verify_activation(at: _Checked) -> None:
    activation, op = at.layer.activation, at.layer.op
    if activation is Activation.LEAKY_RELU and op not in _LINEAR:
        raise at.error("leaky ReLU is only defined after a convolution or fully connected layer")
    if activation is Activation.RELU and op not in _CLAMPING:
        raise at.error("a fused ReLU is not defined for this operation")
    if activation is Activation.PREPARE_SOFTMAX and op not in _INPUT_WIDTH:
        raise at.error("this operation cannot prepare a softmax, it copies elements")


def _verify_array(
    at: _Checked, name: str, array: IntArray | None, element: type[np.integer[Any]]
) -> IntArray:
    if array is None:
        raise at.error(f"{name} is absent")
    at.equal(f"type of {name}", array.dtype, np.dtype(element))
    return array


def _text(dims: Dims) -> str:
    return f"{dims.channels}x{dims.height}x{dims.width}"


def _same_extent(at: _Checked) -> None:
    at.equal("output shape", at.layer.output_dims.shape, at.source.shape)
    _same_batch(at)


def _same_batch(at: _Checked) -> None:
    for operand in at.layer.inputs:
        at.equal("output batch", at.layer.output_dims.batch, operand.dims.batch)


def _rescaling(at: _Checked, multipliers: set[int], shifts: set[int]) -> None:
    """Requantization arrays of the allowed sizes. Single ones may be stored wider, as 64 bits."""
    for name, array, counts in (
        ("multiplier", at.layer.multipliers, multipliers),
        ("shift", at.layer.shifts, shifts),
    ):
        if array is None:
            raise at.error(f"{name}s are absent")
        at.one_of(f"count of {name}s", array.size, counts)
        if array.dtype not in (np.int8, np.int32, np.int64):
            raise at.error(f"type of {name}s is {array.dtype}, expected int8, int32 or int64")
        low, high = (0, MAX_SHIFT) if name == "shift" else (-(1 << 31), (1 << 31) - 1)
        for extreme in (array.min(), array.max()):
            at.within(f"a {name}", int(extreme), low, high)


def _bias(at: _Checked, count: int) -> int:
    """Check the bias; return its largest magnitude."""
    if at.layer.bias is None:
        return 0
    bias = _verify_array(at, "bias", at.layer.bias, np.int32)
    at.equal("count of biases", bias.size, count)
    return int(np.abs(bias.astype(np.int64)).max())


def _accumulator(at: _Checked, magnitude: int) -> None:
    if magnitude >= _ACCUMULATOR_LIMIT:
        raise at.error(f"the accumulator can reach {magnitude}, which does not fit 32 bits")


# --- convolutions and fully connected -----------------------------------------------------------


def _linear(at: _Checked, weights: IntArray) -> None:
    """Requantization and worst-case accumulator of weights [out][...]."""
    count = len(weights)
    per_channel = 2 if at.layer.activation is Activation.LEAKY_RELU else 1
    _rescaling(at, {per_channel, per_channel * count}, {1, count})
    sums = np.abs(weights.reshape(count, -1).astype(np.int64)).sum(axis=1)
    _accumulator(at, int(sums.max()) * _INPUT_MAGNITUDE + _bias(at, count))


def _fully_connected(at: _Checked) -> int:
    out = at.layer.output_dims
    weights = _verify_array(at, "filter", at.layer.filter, np.int8)
    _same_batch(at)
    per_image = (out.elements // out.batch, at.source.elements // at.source.batch)
    at.equal("filter shape", weights.shape, per_image)
    _linear(at, weights)
    return weights.size * out.batch


def _convolution(at: _Checked) -> int:
    out, window = at.layer.output_dims, at.layer.filter_dims
    weights = _verify_array(at, "filter", at.layer.filter, np.int8)
    expected = (out.channels, at.source.channels, window.height, window.width)
    at.equal("filter shape", weights.shape, expected)
    if at.layer.op is Op.POINTWISE_CONV2D:
        at.equal("filter extent", (window.height, window.width), (1, 1))
    _dilated_window(at)
    _linear(at, weights)
    column = weights.size // out.channels
    at.within("filter size times output width", column * out.width, 1, MAX_TENSOR_ELEMENTS)
    return weights.size * out.height * out.width * out.batch


def _depthwise(at: _Checked) -> int:
    out, window = at.layer.output_dims, at.layer.filter_dims
    weights = _verify_array(at, "filter", at.layer.filter, np.int8)
    at.equal("output channels", out.channels, at.source.channels)
    at.equal("filter shape", weights.shape, (out.channels, window.height, window.width))
    _dilated_window(at)
    _linear(at, weights)
    return window.height * window.width * out.elements


def _dilated_window(at: _Checked) -> None:
    for name in ("dilation_x", "dilation_y"):
        at.within(name.replace("_", " "), getattr(at.layer, name), 1, 255)
    _window(at, at.layer.dilation_x, at.layer.dilation_y)


def _window(at: _Checked, dilation_x: int = 1, dilation_y: int = 1) -> None:
    """Output height and width of a window that slides over the padded input."""
    layer, pads = at.layer, at.layer.pads
    padded = Dims(
        at.source.height + pads.top + pads.bottom,
        at.source.width + pads.left + pads.right,
        at.source.channels,
        batch=at.source.batch,
    )
    _verify_size(at, "padded input", padded)
    _same_batch(at)
    for name, extent, size, dilation, stride, found in (
        ("height", padded.height, layer.filter_dims.height, dilation_y, layer.stride_y,
         layer.output_dims.height),
        ("width", padded.width, layer.filter_dims.width, dilation_x, layer.stride_x,
         layer.output_dims.width),
    ):  # fmt: skip
        at.within(f"filter {name}", size, 1, extent)
        # A mean over more than 255 elements has a stride that its byte cannot hold, and no use
        # for one.
        least = 0 if size == extent and layer.op in (Op.MEAN, Op.AVERAGE_POOL) else 1
        at.within(f"stride over {name}", stride, least, 255)
        steps = (extent - (size - 1) * dilation - 1) // max(stride, 1)
        at.equal(f"output {name}", found, steps + 1)


# --- pools and element-wise layers --------------------------------------------------------------


def _average(at: _Checked) -> int:
    layer, out = at.layer, at.layer.output_dims
    channels = max(layer.filter_dims.channels, 1)
    at.one_of("filter channels", channels, {1, at.source.channels})
    at.equal("output channels", out.channels, at.source.channels // channels)
    pads = layer.pads
    at.equal("padding", (pads.left, pads.right, pads.top, pads.bottom), (0, 0, 0, 0))
    _window(at)
    _rescaling(at, {1}, {1})
    area = channels * layer.filter_dims.height * layer.filter_dims.width
    _accumulator(at, area * _INPUT_MAGNITUDE + _bias(at, 1))
    return area * out.elements


def _max_pool(at: _Checked) -> int:
    out, window = at.layer.output_dims, at.layer.filter_dims
    at.equal("output channels", out.channels, at.source.channels)
    _window(at)
    return window.height * window.width * out.elements


def _add(at: _Checked) -> int:
    _broadcast(at)
    _rescaling(at, {2}, {1})
    _bias(at, 1)
    return 2 * at.layer.output_dims.elements


def _multiply(at: _Checked) -> int:
    _broadcast(at)
    _rescaling(at, {1}, {1})
    return at.layer.output_dims.elements


def _broadcast(at: _Checked) -> None:
    """The output has the larger extent of both operands; the smaller one has extent 1 there."""
    layer = at.layer
    if layer.filter is not None:
        at.equal("input count beside a constant", len(layer.inputs), 1)
        _verify_array(at, "filter", layer.filter, np.int8)
        at.equal("rank of the constant", layer.filter.ndim, 3)
    elif len(layer.inputs) == 1:
        raise at.error("the constant operand is absent")
    _same_batch(at)
    shapes = operand_shapes(layer)
    for axis in Axis:
        extents = {shape[axis] for shape in shapes} - {1} or {1}
        found = layer.output_dims.shape[axis]
        if extents != {found}:
            listed = " and ".join("x".join(map(str, shape)) for shape in shapes)
            raise at.error(f"output {axis.name.lower()} is {found}, the operands are {listed}")


# --- layers that move data ----------------------------------------------------------------------


def _channel_pad(at: _Checked) -> int:
    pads, source = at.layer.pads, at.source
    shape = (
        source.channels + pads.top + pads.bottom,
        source.height,
        source.width + pads.left + pads.right,
    )
    at.equal("output shape", at.layer.output_dims.shape, shape)
    _same_batch(at)
    return at.layer.output_dims.elements


def _persistent_variable(at: _Checked) -> int:
    at.equal("output byte width", at.layer.output_dims.byte_width, at.source.byte_width)
    _same_extent(at)
    return at.layer.output_dims.elements


def _concatenate(at: _Checked) -> int:
    at.within("concatenate axis", at.layer.concat_axis, 0, 2)
    shape = list(at.source.shape)
    for operand in at.layer.inputs[1:]:
        others = list(operand.dims.shape)
        shape[at.layer.concat_axis] += others[at.layer.concat_axis]
        others[at.layer.concat_axis] = shape[at.layer.concat_axis]
        at.equal("shape of an input, apart from the axis,", others, shape)
    at.equal("output shape", at.layer.output_dims.shape, tuple(shape))
    _same_batch(at)
    return at.layer.output_dims.elements


def _strided_slice(at: _Checked) -> int:
    parameters = _verify_array(at, "filter", at.layer.filter, np.int32)
    at.equal("count of slice parameters", parameters.size, 9)
    begin, end, stride = parameters.reshape(3, 3).tolist()
    for axis in Axis:
        name = axis.name.lower()
        at.within(f"slice stride over {name}", stride[axis], 1, 0xFFFF)
        at.within(f"slice begin over {name}", begin[axis], 0, at.source.shape[axis] - 1)
        # An end that is not behind begin (an axis given as one index) still takes that element.
        last = min(max(end[axis], begin[axis] + 1), at.source.shape[axis])
        steps = -(-(last - begin[axis]) // stride[axis])
        at.equal(f"output {name}", at.layer.output_dims.shape[axis], steps)
    _same_batch(at)
    return at.layer.output_dims.elements


def _reshape(at: _Checked) -> int:
    at.equal("output elements", at.layer.output_dims.elements, at.source.elements)
    _same_batch(at)
    return at.layer.output_dims.elements


def _space_to_batch(at: _Checked) -> int:
    out, pads = at.layer.output_dims, at.layer.pads
    block_height, block_width = _block(at)
    at.equal("input batch", at.source.batch, 1)
    at.equal("output batch", out.batch, block_height * block_width)
    height = at.source.height + pads.top + pads.bottom
    width = at.source.width + pads.left + pads.right
    at.equal("output height times block height", out.height * block_height, height)
    at.equal("output width times block width", out.width * block_width, width)
    at.equal("output channels", out.channels, at.source.channels)
    return out.elements


def _batch_to_space(at: _Checked) -> int:
    out, pads = at.layer.output_dims, at.layer.pads
    block_height, block_width = _block(at)
    at.equal("input batch", at.source.batch, block_height * block_width)
    at.equal("output batch", out.batch, 1)
    height = at.source.height * block_height - pads.top - pads.bottom
    width = at.source.width * block_width - pads.left - pads.right
    at.equal("output shape", out.shape, (at.source.channels, height, width))
    return out.elements


def _block(at: _Checked) -> tuple[int, int]:
    height, width = at.layer.filter_dims.height, at.layer.filter_dims.width
    at.within("block height", height, 1, 0xFFFF)
    at.within("block width", width, 1, 0xFFFF)
    return height, width


def _resize_nearest(at: _Checked) -> int:
    attributes = _verify_array(at, "CPU attributes", at.layer.cpu_attributes, np.int32)
    at.within("count of CPU attributes", attributes.size, 2, 16)
    at.equal("output channels", at.layer.output_dims.channels, at.source.channels)
    _same_batch(at)
    return at.layer.output_dims.elements


# --- CPU activations ----------------------------------------------------------------------------


def _softmax(at: _Checked) -> int:
    _rescaling(at, {1}, {1})
    _same_extent(at)
    return at.layer.output_dims.elements


def _sigmoid_or_tanh(at: _Checked) -> int:
    """The input is q3.12; what the vendor's generator makes of another scale is not defined here:
    the NPU converts the first channel only, and the others come out as if they were 0."""
    if needs_conversion(at.program, at.layer):
        source = at.program.layers[at.layer.inputs[0].producer]
        raise at.error(
            f"the scale of its input is stored as {source.output_multiplier} / "
            f"2^{source.output_shift}, expected 2^12 for q3.12: Nordic's code generator converts "
            "any other, in the first channel only"
        )
    _same_extent(at)
    return at.layer.output_dims.elements


_CHECKS: Final[Mapping[Op, Callable[[_Checked], int]]] = MappingProxyType(
    {
        Op.FULLY_CONNECTED: _fully_connected,
        Op.CONV2D: _convolution,
        Op.DEPTHWISE_CONV2D: _depthwise,
        Op.POINTWISE_CONV2D: _convolution,
        Op.AVERAGE_POOL: _average,
        Op.MAX_POOL: _max_pool,
        Op.ADD: _add,
        Op.CHANNEL_PAD: _channel_pad,
        Op.PERSISTENT_VARIABLE: _persistent_variable,
        Op.CONCATENATE: _concatenate,
        Op.STRIDED_SLICE: _strided_slice,
        Op.MULTIPLY: _multiply,
        Op.MEAN: _average,
        Op.SOFTMAX: _softmax,
        Op.SIGMOID: _sigmoid_or_tanh,
        Op.TANH: _sigmoid_or_tanh,
        Op.RESHAPE: _reshape,
        Op.SPACE_TO_BATCH: _space_to_batch,
        Op.BATCH_TO_SPACE: _batch_to_space,
        Op.RESIZE_NEAREST: _resize_nearest,
    }
)
