"""The living definition of every layer: an Axon program executed in numpy, integer-exact.

`interpret` is the truth that every faster engine is compared with. It needs a verified program
(`compiler.verify`); arrays are [batch][channel][height][width].

Why the integers are exact. Weights and activations are integers of 8 bits, so every partial sum of
an accumulator is an integer of magnitude at most sum(|w|) * 128. Where that bound, taken from the
layer's own weights, stays below 2**24 the sum runs in float32 and else in float64 (below 2**53):
each partial sum is then a representable number whatever the order of additions, so nothing is ever
rounded. From the accumulator on, everything is int64: accumulator and multiplier have 32 bits each,
so their product fits. The accumulator is assumed not to overflow 32 bits; `verify` refuses a
program whose weights could make it.

Softmax is the exception: the NPU's exponential is an undocumented approximation. Its definition
here is the exact exponential truncated to q.12 (see `_softmax` for the measured difference).

Formulas: docs/axon-binary.md. Sigmoid, tanh and the tail of softmax follow Nordic's published C
source of the CPU operations (sdk-edge-ai, drivers/axon/nrf_axon_nn_op_extensions.c).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from compiler.errors import InputError, UnsupportedError
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

FloatArray = npt.NDArray[np.floating]
_Int64 = npt.NDArray[np.int64]

ELEMENT_TYPES: Final[Mapping[int, type[np.signedinteger[Any]]]] = MappingProxyType(
    {1: np.int8, 2: np.int16, 4: np.int32}
)
"""Element type of a tensor by its byte width."""

_INPUTS_AT_ONCE: Final = 16
_ELEMENTS_AT_ONCE: Final = 1 << 21
# Products above this size make a BLAS start threads, which costs more than it gives here.
_PRODUCT_AT_ONCE: Final = 1 << 19
_COLUMNS_AT_ONCE: Final = 1 << 19
_FLOAT32_EXACT: Final = 1 << 24

_Q12: Final = 4096
_LARGEST_EXPONENT: Final = 31182  # q.12: ln(2048), where the NPU's exponential saturates


@dataclass(frozen=True, slots=True, eq=False)
class Execution:
    """What a program computed for N inputs.

    layers: one array per layer, [N * batch, C, H, W]; batch is the layer's own batch count (above
        1 only between space-to-batch and batch-to-space), images of one input are adjacent. int8,
        int16 or int32 by the layer's byte width. Empty when only outputs were asked for.
    outputs: the arrays of `program.output_layers`, in that order.
    state: the persistent variables after the last input, by layer index, [batch, C, H, W].
    """

    layers: tuple[IntArray, ...]
    outputs: tuple[IntArray, ...]
    state: Mapping[int, IntArray] = field(default_factory=dict)


def interpret(
    program: AxonProgram,
    inputs: IntArray,
    *,
    state: Mapping[int, IntArray] | None = None,
    keep_layers: bool = True,
) -> Execution:
    """Execute a verified program.

    inputs: int8 [N, C, H, W], or [C, H, W] for one input. In a program with persistent variables
        the N inputs are successive inferences; otherwise they are independent.
    state: variables to start from (`Execution.state` of an earlier call); by default every
        variable holds its zero point.
    keep_layers: False drops every array that is not an output as soon as it is used.

    Raises InputError when the inputs do not fit the program, UnsupportedError for a layer that
    has no definition (LSTM).
    """
    images = _as_batch(program, inputs)
    variables = _initial_state(program) | dict(state or {})
    at_once = program.input_dims.batch if variables else _inputs_at_once(program)
    wanted = range(len(program.layers)) if keep_layers else program.output_layers
    parts: dict[int, list[IntArray]] = {index: [] for index in wanted}
    for start in range(0, len(images), at_once):
        done = _run(program, images[start : start + at_once], variables, frozenset(wanted))
        for index, values in parts.items():
            values.append(done[index])
    whole = {index: np.concatenate(values) for index, values in parts.items()}
    return Execution(
        layers=tuple(whole[index] for index in wanted) if keep_layers else (),
        outputs=tuple(whole[index] for index in program.output_layers),
        state=variables,
    )


def quantize_input(
    program: AxonProgram,
    real: FloatArray,
    rounding: Literal["nearest", "truncate"] = "nearest",
) -> npt.NDArray[np.int8]:
    """Real values -> the program's int8 input, same shape.

    "nearest" is TFLite's quantization (halves away from zero, then the zero point is added);
    "truncate" is what Nordic's compiler does with float test data: real / scale + zero point cut
    toward zero. The scale is the program's own fixed-point one, within 2**-20 of the model's.

    Raises InputError for values that are not finite.
    """
    if not np.isfinite(real).all():
        raise InputError("the input holds NaN or infinite values, expected finite numbers")
    quantization = program.input_quantization
    scaled = np.asarray(real, np.float64) * quantization.factor
    if rounding == "nearest":
        codes = _round_half_away(scaled) + quantization.zero_point
    else:
        codes = np.trunc(scaled + quantization.zero_point)
    return np.clip(codes, -128, 127).astype(np.int8)


def dequantize_output(
    program: AxonProgram, raw: IntArray, layer: int | None = None
) -> npt.NDArray[np.float64]:
    """Integers of a layer -> real values, same shape; layer None is the program's last output.

    The scale stored with a program does not describe 32-bit outputs of softmax, sigmoid and tanh,
    nor 32-bit copies of int8 codes (max pool, slice, ...); those get the scale that they do have.
    """
    index = program.output_layers[-1] if layer is None else layer
    factor, zero_point = _output_scale(program, index, main_output=layer is None)
    return (raw.astype(np.float64) - zero_point) * factor


def _output_scale(program: AxonProgram, index: int, main_output: bool = False) -> tuple[float, int]:
    if index == EXTERNAL_INPUT:
        quantization = program.input_quantization
        return 1.0 / quantization.factor, quantization.zero_point
    layer = program.layers[index]
    width = layer.output_dims.byte_width
    if width > 1 and layer.op is Op.SOFTMAX and layer.multipliers is not None:
        assert layer.shifts is not None
        return 2.0 ** int(layer.shifts[0]) / float(layer.multipliers[0]), 0
    if width > 1 and layer.op in (Op.SIGMOID, Op.TANH):
        return 2.0 ** (-30 if width == 4 else -12), 0
    source = layer.inputs[0]
    if layer.op in MOVES_DATA and width > source.dims.byte_width:
        return _output_scale(program, source.producer)
    if main_output or (width == 4 and index in program.output_layers):  # all share one radix
        return program.output_dequantization.factor, program.output_dequantization.zero_point
    return float(layer.output_multiplier) / 2.0**layer.output_shift, zero_point_of(program, index)


def zero_point_of(program: AxonProgram, producer: int) -> int:
    """Zero point of the tensor that a layer (or the external input) produces."""
    if producer == EXTERNAL_INPUT:
        return program.input_quantization.zero_point
    layer = program.layers[producer]
    # A max pool stores 0 there (its clamp); its output has the quantization of its input.
    return layer.input_zero_point if layer.op is Op.MAX_POOL else layer.output_zero_point


def execute_layer(program: AxonProgram, layer: Layer, operands: Sequence[IntArray]) -> IntArray:
    """One layer of a verified program, by its definition; not for persistent variables.

    operands: what the layer sees of its producers (`view_operand`), each [batch, C, H, W].
    """
    return _KERNELS[layer.op](program, layer, operands)


# --- one inference ------------------------------------------------------------------------------


def _as_batch(program: AxonProgram, inputs: IntArray) -> IntArray:
    dims = program.input_dims
    images = inputs[np.newaxis] if inputs.ndim == 3 else inputs
    if images.dtype != np.int8:
        raise InputError(f"the input is {images.dtype}, expected int8")
    if images.ndim != 4 or images.shape[1:] != dims.shape:
        expected = ", ".join(str(extent) for extent in dims.shape)
        raise InputError(
            f"the input has shape {list(inputs.shape)}, expected [N, {expected}] "
            "(channels, height, width)"
        )
    if len(images) == 0 or len(images) % dims.batch:
        raise InputError(f"{len(images)} inputs, expected a positive multiple of {dims.batch}")
    return images


def _inputs_at_once(program: AxonProgram) -> int:
    """Inputs per pass: a multiple of the batch, fewer where tensors are large."""
    batch = program.input_dims.batch
    largest = max(layer.output_dims.elements for layer in program.layers)
    return batch * max(1, min(_INPUTS_AT_ONCE, _ELEMENTS_AT_ONCE // largest))


def _initial_state(program: AxonProgram) -> dict[int, IntArray]:
    state: dict[int, IntArray] = {}
    for index, layer in enumerate(program.layers):
        if layer.op is Op.PERSISTENT_VARIABLE:
            dims = layer.output_dims
            shape = (dims.batch, *dims.shape)
            state[index] = np.full(shape, layer.output_zero_point, ELEMENT_TYPES[dims.byte_width])
    return state


def _run(
    program: AxonProgram, images: IntArray, state: dict[int, IntArray], wanted: frozenset[int]
) -> dict[int, IntArray]:
    """All layers once. Updates `state` to the values that this inference assigned."""
    values: dict[int, IntArray] = {EXTERNAL_INPUT: images}
    last_reader = _last_readers(program)
    for index, layer in enumerate(program.layers):
        if layer.op is Op.PERSISTENT_VARIABLE:
            values[index] = state[index]
        else:
            operands = [view_operand(values[operand.producer], operand) for operand in layer.inputs]
            values[index] = _KERNELS[layer.op](program, layer, operands)
        for operand in layer.inputs:
            producer = operand.producer
            if last_reader[producer] == index and producer not in wanted:
                values.pop(producer, None)
    for index, old in state.items():
        assigned = program.layers[index].inputs[0]
        state[index] = view_operand(values[assigned.producer], assigned).reshape(old.shape)
    return values


def _last_readers(program: AxonProgram) -> dict[int, int]:
    """Layer index by producer. What a variable takes over is read after the last layer."""
    readers: dict[int, int] = {}
    for index, layer in enumerate(program.layers):
        at = len(program.layers) if layer.op is Op.PERSISTENT_VARIABLE else index
        for operand in layer.inputs:
            readers[operand.producer] = max(at, readers.get(operand.producer, at))
    return readers


def view_operand(values: IntArray, operand: LayerInput) -> IntArray:
    """What a layer sees of its producer: all of it, possibly as another shape, or a split's part.

    A change of shape keeps the [C][H][W] order of the elements, as memory on the device does.
    """
    shape = operand.dims.shape
    if values.shape[1:] == shape:
        return values
    if values[0].size == operand.dims.elements // operand.dims.batch:
        return values.reshape(-1, *shape)
    axis = _AXIS[Axis(operand.split_axis)]
    part = slice(operand.split_offset, operand.split_offset + shape[axis - 1])
    return values[(slice(None),) * axis + (part,)]


_AXIS: Final = MappingProxyType({Axis.CHANNEL: 1, Axis.HEIGHT: 2, Axis.WIDTH: 3})


# --- from accumulator to output -----------------------------------------------------------------


def _finish(layer: Layer, accumulators: _Int64) -> IntArray:
    """Bias, multiplier, shift, zero point, activation, saturation. Channels are on axis 1.

    Leaky ReLU stores two multipliers per channel, the one for negative accumulators first.
    """
    per_channel = (1, -1) + (1,) * (accumulators.ndim - 2)
    if layer.bias is not None:
        accumulators = accumulators + layer.bias.astype(np.int64).reshape(per_channel)
    assert layer.multipliers is not None
    multipliers = layer.multipliers.astype(np.int64)
    if layer.activation is Activation.LEAKY_RELU:
        negative, positive = (multipliers[k::2].reshape(per_channel) for k in (0, 1))
        return _scale_down(layer, accumulators * np.where(accumulators < 0, negative, positive))
    return _scale_down(layer, accumulators * multipliers.reshape(per_channel))


def _scale_down(layer: Layer, products: _Int64) -> IntArray:
    """sat(round_half_even((product + zero_point * 2**shift) / 2**shift)), ReLU included.

    The zero point is inside the rounding: which of two neighbours of a tie is even depends on it.
    Before a softmax the NPU saturates the product itself to 32 bits, which shows where a logit
    leaves the range of its int8 tensor.
    """
    assert layer.shifts is not None
    if layer.activation is Activation.PREPARE_SOFTMAX:
        products = np.clip(products, -(1 << 31), (1 << 31) - 1)
    shifts = layer.shifts.astype(np.int64)
    shift = shifts.reshape((1, -1) + (1,) * (products.ndim - 2)) if shifts.size > 1 else shifts[0]
    zero_point = layer.output_zero_point
    # A tie has remainder 2**(shift-1). Adding that less one carries whatever lies above the tie;
    # one more where the rounded-down result is odd carries the tie as well. Shift 0 has no ties.
    lift = (products >> shift) + zero_point
    lift &= np.minimum(shift, 1)
    lift += (np.int64(1) << np.maximum(shift - 1, 0)) - 1
    lift += products
    lift >>= shift
    lift += zero_point
    return _saturate(layer, lift)


def _saturate(layer: Layer, values: _Int64) -> IntArray:
    element = ELEMENT_TYPES[layer.output_dims.byte_width]
    bounds = np.iinfo(element)
    low = layer.output_zero_point if layer.activation is Activation.RELU else bounds.min
    return np.clip(values, low, bounds.max, out=values).astype(element)


def _as_output(layer: Layer, values: IntArray) -> IntArray:
    """Copied elements in the output's width; a 32-bit output of a copy holds the int8 codes."""
    return values.astype(ELEMENT_TYPES[layer.output_dims.byte_width], copy=False)


# --- linear layers ------------------------------------------------------------------------------


def _exact_float(weights: IntArray) -> type[np.floating[Any]]:
    """The narrowest float in which sums of weights [out][...] times int8 are exact."""
    sums = np.abs(weights.reshape(len(weights), -1).astype(np.int64)).sum(axis=1)
    return np.float32 if int(sums.max()) * 128 < _FLOAT32_EXACT else np.float64


def _fully_connected(_: AxonProgram, layer: Layer, operands: Sequence[IntArray]) -> IntArray:
    assert layer.filter is not None
    exact = _exact_float(layer.filter)
    vectors = operands[0].reshape(len(operands[0]), -1).astype(exact)
    weights = layer.filter.astype(exact).T
    step = max(1, _PRODUCT_AT_ONCE // weights.size)
    parts = [vectors[start : start + step] @ weights for start in range(0, len(vectors), step)]
    sums = np.concatenate(parts).astype(np.int64)
    return _finish(layer, sums).reshape(-1, *layer.output_dims.shape)


def _convolution(_: AxonProgram, layer: Layer, operands: Sequence[IntArray]) -> IntArray:
    """y[o] = sum over c, i, j of w[o,c,i,j] * x[c, y*sy + i*dy - top, x*sx + j*dx - left].

    Outside the image x is the input zero point. Pointwise convolution is the 1x1 case.
    """
    assert layer.filter is not None
    exact = _exact_float(layer.filter)
    weights = layer.filter.reshape(len(layer.filter), -1).astype(exact)
    taps = list(_taps(layer, _padded(layer, operands[0].astype(exact), layer.input_zero_point)))
    out = np.empty((len(operands[0]), *layer.output_dims.shape), _element(layer))
    for images, rows in _blocks(len(out), layer.output_dims, weights.shape[1]):
        columns = np.stack([tap[images, :, rows] for tap in taps], axis=2)
        count, _, _, height, width = columns.shape
        sums = weights @ columns.reshape(count, weights.shape[1], height * width)
        block = sums.astype(np.int64).reshape(count, len(weights), height, width)
        out[images, :, rows] = _finish(layer, block)
    return out


def _depthwise(_: AxonProgram, layer: Layer, operands: Sequence[IntArray]) -> IntArray:
    """As convolution, each channel with its own filter [h][w]."""
    assert layer.filter is not None
    exact = _exact_float(layer.filter)
    image = _padded(layer, operands[0].astype(exact), layer.input_zero_point)
    weights = layer.filter.reshape(len(layer.filter), -1).astype(exact)
    sums = np.zeros((len(image), *layer.output_dims.shape), exact)
    for weight, tap in zip(weights.T, _taps(layer, image), strict=True):
        sums += weight[:, np.newaxis, np.newaxis] * tap
    return _finish(layer, sums.astype(np.int64))


def _element(layer: Layer) -> type[np.signedinteger[Any]]:
    return ELEMENT_TYPES[layer.output_dims.byte_width]


def _padded(layer: Layer, image: npt.NDArray[Any], value: int) -> npt.NDArray[Any]:
    pads = layer.pads
    if not (pads.left or pads.right or pads.top or pads.bottom):
        return image
    extent = ((0, 0), (0, 0), (pads.top, pads.bottom), (pads.left, pads.right))
    return np.pad(image, extent, constant_values=value)


def _taps(layer: Layer, image: npt.NDArray[Any]) -> Iterator[npt.NDArray[Any]]:
    """For each filter position, row by row, the inputs that it meets: [N, C, out H, out W]."""
    out, window = layer.output_dims, layer.filter_dims
    for i in range(window.height):
        top = i * layer.dilation_y
        rows = slice(top, top + (out.height - 1) * layer.stride_y + 1, layer.stride_y)
        for j in range(window.width):
            left = j * layer.dilation_x
            columns = slice(left, left + (out.width - 1) * layer.stride_x + 1, layer.stride_x)
            yield image[:, :, rows, columns]


def _blocks(count: int, out: Dims, column_length: int) -> Iterator[tuple[slice, slice]]:
    """(images, output rows) that cover a layer in pieces that stay in the cache."""
    column_values = column_length * out.width
    rows = min(max(1, _PRODUCT_AT_ONCE // (column_values * out.channels)), out.height)
    images = max(1, _COLUMNS_AT_ONCE // (column_values * rows))
    for image in range(0, count, images):
        for row in range(0, out.height, rows):
            yield slice(image, image + images), slice(row, row + rows)


# --- pools and element-wise layers --------------------------------------------------------------


def _average(_: AxonProgram, layer: Layer, operands: Sequence[IntArray]) -> IntArray:
    """Sum over a window; the multiplier holds 1 / area. Mean is the window that spans whole axes.

    Filter channels 0 and 1 both mean that channels stay apart.
    """
    channels = max(layer.filter_dims.channels, 1)
    window = (channels, layer.filter_dims.height, layer.filter_dims.width)
    windows = sliding_window_view(operands[0], window, axis=(1, 2, 3))
    step_y, step_x = max(layer.stride_y, 1), max(layer.stride_x, 1)  # 0 where one window fits
    stepped = windows[:, ::channels, ::step_y, ::step_x]
    return _finish(layer, stepped.sum(axis=(4, 5, 6), dtype=np.int64))


def _max_pool(_: AxonProgram, layer: Layer, operands: Sequence[IntArray]) -> IntArray:
    """Largest of each window; padding never wins. A fused ReLU clamps at the output zero point."""
    image = _padded(layer, operands[0], int(np.iinfo(operands[0].dtype).min))
    window = (layer.filter_dims.height, layer.filter_dims.width)
    windows = sliding_window_view(image, window, axis=(2, 3))
    largest = windows[:, :, :: layer.stride_y, :: layer.stride_x].max(axis=(4, 5))
    if layer.activation is Activation.RELU:
        largest = np.maximum(largest, largest.dtype.type(layer.output_zero_point))
    return _as_output(layer, largest)


def _add(_: AxonProgram, layer: Layer, operands: Sequence[IntArray]) -> IntArray:
    """a*m[0] + b*m[1] + bias[0], rescaled. Zero points are in the bias; b may be a constant."""
    left, right = (values.astype(np.int64) for values in _pair(layer, operands))
    assert layer.multipliers is not None
    first, second = (int(multiplier) for multiplier in layer.multipliers[:2])
    bias = 0 if layer.bias is None else int(layer.bias[0])
    return _scale_down(layer, left * first + right * second + bias)


def _multiply(program: AxonProgram, layer: Layer, operands: Sequence[IntArray]) -> IntArray:
    """(a - za) * (b - zb) * m, rescaled; a constant's zero point is the input zero point."""
    zero_points = [zero_point_of(program, operand.producer) for operand in layer.inputs]
    zero_points.append(layer.input_zero_point)
    left, right = (
        values.astype(np.int64) - zero_point
        for values, zero_point in zip(_pair(layer, operands), zero_points, strict=False)
    )
    assert layer.multipliers is not None
    return _scale_down(layer, left * right * int(layer.multipliers[0]))


def _pair(layer: Layer, operands: Sequence[IntArray]) -> list[IntArray]:
    """Both operands; the second may be the constant in the filter. Extents of 1 are repeated."""
    values = [*operands] if layer.filter is None else [*operands, layer.filter[np.newaxis]]
    return [
        value.reshape(-1, *shape)
        for value, shape in zip(values, operand_shapes(layer), strict=True)
    ]


def operand_shapes(layer: Layer) -> list[tuple[int, ...]]:
    """(channels, height, width) of both operands of an add or multiply.

    A smaller operand can come from a layer with other dimensions (a vector of a fully connected
    layer that scales channels, say); the filter dimensions then tell how its elements lie.
    """
    shapes: list[tuple[int, ...]] = [operand.dims.shape for operand in layer.inputs]
    if layer.filter is not None:
        return [*shapes, layer.filter.shape]
    window = layer.filter_dims.shape
    smaller = math.prod(window)
    if smaller == math.prod(layer.output_dims.shape):
        return shapes
    return [window if math.prod(shape) == smaller else shape for shape in shapes]


# --- layers that move data ----------------------------------------------------------------------

MOVES_DATA: Final = frozenset(
    {
        Op.MAX_POOL,
        Op.CHANNEL_PAD,
        Op.PERSISTENT_VARIABLE,
        Op.CONCATENATE,
        Op.STRIDED_SLICE,
        Op.RESHAPE,
        Op.SPACE_TO_BATCH,
        Op.BATCH_TO_SPACE,
        Op.RESIZE_NEAREST,
    }
)
"""Operations whose output elements are elements of their input: no requantization."""


def _channel_pad(_: AxonProgram, layer: Layer, operands: Sequence[IntArray]) -> IntArray:
    """Channels before (pad top) and after (pad bottom), columns left and right: zero points."""
    pads = layer.pads
    extent = ((0, 0), (pads.top, pads.bottom), (0, 0), (pads.left, pads.right))
    return _as_output(layer, np.pad(operands[0], extent, constant_values=layer.output_zero_point))


def _concatenate(_: AxonProgram, layer: Layer, operands: Sequence[IntArray]) -> IntArray:
    axis = _AXIS[Axis(layer.concat_axis)]
    return _as_output(layer, np.concatenate(operands, axis=axis))


def _strided_slice(_: AxonProgram, layer: Layer, operands: Sequence[IntArray]) -> IntArray:
    """The filter holds begin, end and stride, each as (channel, height, width).

    Begin, stride and the output's extent decide; an end beyond the input changes nothing.
    """
    assert layer.filter is not None
    begin, _end, stride = layer.filter.reshape(3, 3).tolist()
    window = tuple(
        slice(first, first + (count - 1) * step + 1, step)
        for first, step, count in zip(begin, stride, layer.output_dims.shape, strict=True)
    )
    return _as_output(layer, operands[0][(slice(None), *window)])


def _reshape(_: AxonProgram, layer: Layer, operands: Sequence[IntArray]) -> IntArray:
    """Elements keep their [H][W][C] order, as in TFLite."""
    channels, height, width = layer.output_dims.shape
    flat = operands[0].transpose(0, 2, 3, 1).reshape(-1, height, width, channels)
    return _as_output(layer, np.ascontiguousarray(flat.transpose(0, 3, 1, 2)))


def _space_to_batch(_: AxonProgram, layer: Layer, operands: Sequence[IntArray]) -> IntArray:
    """Image (y mod block height) * block width + (x mod block width) gets the pixel (y, x)."""
    block_height, block_width = layer.filter_dims.height, layer.filter_dims.width
    channels, height, width = layer.output_dims.shape
    image = _padded(layer, operands[0], layer.output_zero_point)
    blocks = image.reshape(-1, channels, height, block_height, width, block_width)
    return _as_output(
        layer, blocks.transpose(0, 3, 5, 1, 2, 4).reshape(-1, channels, height, width)
    )


def _batch_to_space(_: AxonProgram, layer: Layer, operands: Sequence[IntArray]) -> IntArray:
    """The inverse of space to batch; the pads are cropped."""
    block_height, block_width = layer.filter_dims.height, layer.filter_dims.width
    _, channels, height, width = operands[0].shape
    blocks = operands[0].reshape(-1, block_height, block_width, channels, height, width)
    image = blocks.transpose(0, 3, 4, 1, 5, 2).reshape(
        -1, channels, height * block_height, width * block_width
    )
    out, pads = layer.output_dims, layer.pads
    rows = slice(pads.top, pads.top + out.height)
    return _as_output(layer, image[:, :, rows, pads.left : pads.left + out.width])


def _resize_nearest(_: AxonProgram, layer: Layer, operands: Sequence[IntArray]) -> IntArray:
    """TFLite's ResizeNearestNeighbor; attributes: align corners, half-pixel centers."""
    assert layer.cpu_attributes is not None
    align_corners, half_pixel = (bool(flag) for flag in layer.cpu_attributes[:2])
    out = layer.output_dims
    rows = nearest_indices(operands[0].shape[2], out.height, align_corners, half_pixel)
    columns = nearest_indices(operands[0].shape[3], out.width, align_corners, half_pixel)
    return _as_output(layer, operands[0][:, :, rows][:, :, :, columns])


def nearest_indices(size: int, out_size: int, align_corners: bool, half_pixel: bool) -> _Int64:
    """Source index of every output index along one axis, in float32 as TFLite computes it."""
    if align_corners and out_size > 1:
        scale = np.float32(size - 1) / np.float32(out_size - 1)
    else:
        scale = np.float32(size) / np.float32(out_size)
    offset = np.float32(0.5 if half_pixel else 0.0)
    position = (np.arange(out_size, dtype=np.float32) + offset) * scale
    nearest = _round_half_away(position) if align_corners else np.floor(position)
    return np.clip(nearest.astype(np.int64), 0, size - 1)


# --- CPU activations ----------------------------------------------------------------------------


def _round_half_away(values: FloatArray) -> FloatArray:
    """C's round(): halves away from zero, without the error of adding 0.5 first."""
    whole = np.trunc(values)
    return whole + np.copysign(np.abs(values - whole) >= 0.5, values).astype(values.dtype)


def _softmax(_: AxonProgram, layer: Layer, operands: Sequence[IntArray]) -> IntArray:
    """Softmax of q11.12 over channels, or over the width of a flat vector.

    The largest input is moved to ln(2048); e = floor(4096 * exp(x / 4096)); then in float32
    e * (multiplier / 2**shift) / sum(e), rounded half away, plus the zero point. The NPU's own
    exponential differs a little: int8 outputs by at most 1 LSB (a few in ten thousand), 32-bit
    outputs by at most 1.2e-4 of probability 1, and by 6e-4 of their own value where that is at
    least 2**-11 of the largest. tests/unit/test_reference.py checks these bounds.
    """
    values = operands[0].astype(np.int64)
    axis = 3 if layer.output_dims.channels == layer.output_dims.height == 1 else 1
    values = values - values.max(axis=axis, keepdims=True) + _LARGEST_EXPONENT
    powers = np.floor(_Q12 * np.exp(values / _Q12)).astype(np.int64)
    assert layer.multipliers is not None
    assert layer.shifts is not None
    scale = np.float32(layer.multipliers[0]) / np.float32(2.0 ** int(layer.shifts[0]))
    sums = powers.sum(axis=axis, keepdims=True).astype(np.float32)
    shares = powers.astype(np.float32) * scale / sums
    return _from_float(layer, _round_half_away(shares) + np.float32(layer.output_zero_point))


def _sigmoid(_: AxonProgram, layer: Layer, operands: Sequence[IntArray]) -> IntArray:
    """1 / (1 + exp(-x)) of q3.12: int8 in steps of 1/256 from -128, int16 q3.12, int32 q1.30."""
    power = np.exp(operands[0] / -float(_Q12)).astype(np.float32)
    real = np.float32(1) / (np.float32(1) + power)
    if layer.output_dims.byte_width == 1:
        return _from_float(layer, _round_half_away(real * np.float32(256)) - np.float32(128))
    return _from_float(layer, real * np.float32(2 ** _fraction_bits(layer)))


def _tanh(_: AxonProgram, layer: Layer, operands: Sequence[IntArray]) -> IntArray:
    """(exp(2x) - 1) / (exp(2x) + 1) of q3.12: int8 in steps of 1/128, int16 q3.12, int32 q1.30."""
    power = np.exp(operands[0] / (_Q12 / 2.0)).astype(np.float32)
    real = (power - np.float32(1)) / (power + np.float32(1))
    if layer.output_dims.byte_width == 1:
        return _from_float(layer, _round_half_away(real * np.float32(128)))
    return _from_float(layer, real * np.float32(2 ** _fraction_bits(layer)))


def _fraction_bits(layer: Layer) -> int:
    return 30 if layer.output_dims.byte_width == 4 else 12


def _from_float(layer: Layer, values: FloatArray) -> IntArray:
    """C's conversion of a float, toward zero, after saturation."""
    element = ELEMENT_TYPES[layer.output_dims.byte_width]
    bounds = np.iinfo(element)
    return np.clip(values.astype(np.float64), bounds.min, bounds.max).astype(element)


def _undefined(_: AxonProgram, layer: Layer, __: Sequence[IntArray]) -> IntArray:
    raise UnsupportedError(f"{layer.op.name.lower()} layers are not supported yet")


_Kernel = Callable[[AxonProgram, Layer, Sequence[IntArray]], IntArray]

_KERNELS: Final[Mapping[Op, _Kernel]] = MappingProxyType(
    {
        Op.FULLY_CONNECTED: _fully_connected,
        Op.CONV2D: _convolution,
        Op.DEPTHWISE_CONV2D: _depthwise,
        Op.POINTWISE_CONV2D: _convolution,
        Op.AVERAGE_POOL: _average,
        Op.MAX_POOL: _max_pool,
        Op.ADD: _add,
        Op.CHANNEL_PAD: _channel_pad,
        Op.CONCATENATE: _concatenate,
        Op.STRIDED_SLICE: _strided_slice,
        Op.MULTIPLY: _multiply,
        Op.LSTM: _undefined,
        Op.MEAN: _average,
        Op.SOFTMAX: _softmax,
        Op.SIGMOID: _sigmoid,
        Op.TANH: _tanh,
        Op.RESHAPE: _reshape,
        Op.SPACE_TO_BATCH: _space_to_batch,
        Op.BATCH_TO_SPACE: _batch_to_space,
        Op.RESIZE_NEAREST: _resize_nearest,
    }
)
