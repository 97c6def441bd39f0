"""Small valid Axon programs from a seed: every operation, odd extents, all requantizations.

The same seed always gives the same program. Engines are compared with the reference on them:

    program = random_program(seed)
    inputs = random_inputs(program, seed, count=3)

Each program features one operation (`FEATURES[seed % len(FEATURES)]`) and some more at random, so
any run of consecutive seeds at least as long as `FEATURES` covers all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from compiler import (
    EXTERNAL_INPUT,
    Activation,
    Axis,
    AxonProgram,
    Dims,
    Layer,
    LayerInput,
    Op,
    Pads,
    Quantization,
)

Int8Array = npt.NDArray[np.int8]
IntArray = npt.NDArray[np.integer]
_MAX_ELEMENTS: Final = 2500
_INT8_SPREAD: Final = 60.0
_NO_FILTER: Final = Dims(0, 0, 0, 1, 0)


def random_program(seed: int) -> AxonProgram:
    """A program of one to a dozen layers. Verified by construction; always the same for a seed."""
    rng = np.random.default_rng(seed)
    draft = _Draft(rng, [], _any_dims(rng), int(rng.integers(-128, 128)))
    FEATURES[seed % len(FEATURES)](draft)
    for _ in range(draft.integer(0, 4)):
        FEATURES[draft.integer(0, len(FEATURES) - 1)](draft)
    return AxonProgram(
        name=f"random_{seed}",
        layers=tuple(draft.layers),
        input_quantization=Quantization(draft.integer(1, 1 << 24), 19, draft.input_zero_point),
        output_dequantization=Quantization(draft.integer(1, 1 << 24), 29, 0),
    )


def random_inputs(program: AxonProgram, seed: int, count: int = 1) -> Int8Array:
    """int8 [count, C, H, W] over the whole range; the same for the same seed."""
    rng = np.random.default_rng([seed, 1])
    return rng.integers(-128, 128, (count, *program.input_dims.shape)).astype(np.int8)


@dataclass(slots=True)
class _Draft:
    """A program while it grows."""

    rng: np.random.Generator
    layers: list[Layer]
    input_dims: Dims
    input_zero_point: int

    # -- chance --

    def integer(self, low: int, high: int) -> int:
        """Inclusive on both sides."""
        return int(self.rng.integers(low, high + 1))

    def chance(self, percent: int) -> bool:
        return self.integer(0, 99) < percent

    def int8(self, *shape: int) -> Int8Array:
        """Usually the whole range, sometimes only extremes: the largest accumulators."""
        if self.chance(10):
            return self.rng.choice(np.array([-128, 127], np.int8), shape)
        return self.rng.integers(-128, 128, shape).astype(np.int8)

    # -- tensors --

    def dims_of(self, producer: int) -> Dims:
        return self.input_dims if producer == EXTERNAL_INPUT else self.layers[producer].output_dims

    def zero_point_of(self, producer: int) -> int:
        if producer == EXTERNAL_INPUT:
            return self.input_zero_point
        layer = self.layers[producer]
        return layer.input_zero_point if layer.op is Op.MAX_POOL else layer.output_zero_point

    def whole(self, producer: int) -> LayerInput:
        return LayerInput(producer, self.dims_of(producer))

    def source(self) -> LayerInput:
        """An int8 tensor: usually the newest, whole; else an older one, a split or a reshape."""
        usable = [
            index
            for index in range(EXTERNAL_INPUT, len(self.layers))
            if self.dims_of(index).byte_width == 1 and self.dims_of(index).batch == 1
        ]
        producer = usable[-1] if self.chance(60) else usable[self.integer(0, len(usable) - 1)]
        operand = self.whole(producer)
        if producer == EXTERNAL_INPUT and not self.input_is_read():
            return operand  # what reads it first defines its extent
        if self.chance(8):
            return self.part(operand, Axis(self.integer(0, 2)))
        if self.chance(6):
            return replace(operand, dims=self.factored(operand.dims.elements))
        return operand

    def part(self, operand: LayerInput, axis: Axis) -> LayerInput:
        """A split of an operand along an axis."""
        extents = list(operand.dims.shape)
        start = self.integer(0, extents[axis] - 1)
        size = self.integer(1, extents[axis] - start)
        if size == extents[axis]:
            return operand
        extents[axis] = size
        channels, height, width = extents
        return LayerInput(operand.producer, Dims(height, width, channels), int(axis), start)

    def factored(self, elements: int) -> Dims:
        """Dimensions with this many elements."""
        extents = [1, 1, 1]
        for prime in _primes(elements):
            extents[self.integer(0, 2)] *= prime
        return Dims(*extents)

    def input_is_read(self) -> bool:
        return any(operand.producer < 0 for layer in self.layers for operand in layer.inputs)

    def put(self, layer: Layer) -> LayerInput:
        """Append a layer; return its output as an operand."""
        if not self.input_is_read():
            for operand in layer.inputs[:1]:
                if operand.producer == EXTERNAL_INPUT:
                    self.input_dims = operand.dims
        q3_12 = layer.output_dims.byte_width == 2
        multiplier, shift = (1 << 29, 17) if q3_12 else (1 << 20, 24)
        self.layers.append(replace(layer, output_multiplier=multiplier, output_shift=shift))
        return self.whole(len(self.layers) - 1)

    # -- requantization --

    def shift_for(self, factor: float, most: int) -> int:
        """A shift that leaves the multiplier 1 to 20 bits."""
        least = max(0, math.ceil(-math.log2(factor)))
        return min(least + self.integer(0, 19), max(most, least))

    def rescaling(
        self, spread: float, count: int, width: int, leaky: bool = False, most: int = 40
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int8]]:
        """Multipliers and shifts that bring accumulators of this spread to the output's range."""
        target = {1: _INT8_SPREAD, 2: 9000.0, 4: 1e6}[width]
        channels = count if self.chance(75) else 1
        factors = self.rng.uniform(0.3, 2.0, channels) * target / spread
        single = channels == 1 or self.chance(60)
        shifts = [self.shift_for(float(factor), most) for factor in factors]
        if single:
            shifts = [max(shifts[0], self.shift_for(float(factors.min()), most))]
        products = np.rint(factors * 2.0 ** np.array(shifts))
        multipliers = np.clip(products, 1, 2**31 - 1).astype(np.int32)
        if leaky:
            slope = float(self.rng.uniform(-0.2, 0.6))
            negative = np.trunc(multipliers * slope).astype(np.int32)
            multipliers = np.stack([negative, multipliers], axis=1).ravel()
        return multipliers, np.array(shifts, np.int8)

    def zero_point(self, width: int) -> int:
        return self.integer(-128, 127) if width == 1 else 0

    def width(self) -> int:
        """Mostly int8, sometimes a 32-bit (then final) output."""
        return 4 if self.chance(12) else 1


def _any_dims(rng: np.random.Generator) -> Dims:
    """Extents of an external input: a map, or sometimes a vector."""
    if rng.random() < 0.15:
        return Dims(1, int(rng.integers(1, 71)), 1)
    height, width, channels = (int(rng.integers(1, most)) for most in (14, 14, 10))
    return Dims(height, width, channels)


def _primes(number: int) -> Sequence[int]:
    factors, divisor = [], 2
    while number > 1:
        while number % divisor == 0:
            factors.append(divisor)
            number //= divisor
        divisor += 1
    return factors


# --- linear layers ------------------------------------------------------------------------------


def _spread(taps: int) -> float:
    return math.sqrt(taps) * 74 * 74


def _linear(
    draft: _Draft,
    layer: Layer,
    weights: Int8Array,
    width: int,
    activation: Activation | None = None,
) -> LayerInput:
    """Complete a convolution or fully connected layer: bias, requantization, activation."""
    count = len(weights)
    spread = _spread(weights.size // count)
    if activation is None:
        kinds = (Activation.NONE, Activation.NONE, Activation.RELU, Activation.LEAKY_RELU)
        activation = kinds[draft.integer(0, 3)]
    bias = draft.rng.normal(0, min(spread, 1e6), count).astype(np.int32)
    most = 40
    if activation is Activation.PREPARE_SOFTMAX:
        spread *= 100  # about 10000, that is 2.4 in q11.12
        most = 14 if draft.chance(80) else 40  # above 15, products saturate at 32 bits
    leaky = activation is Activation.LEAKY_RELU
    multipliers, shifts = draft.rescaling(spread, count, width, leaky, most)
    return draft.put(
        replace(
            layer,
            activation=activation,
            filter=weights,
            bias=None if draft.chance(5) else bias,
            multipliers=multipliers,
            shifts=shifts,
            input_zero_point=draft.zero_point_of(layer.inputs[0].producer),
            output_zero_point=draft.zero_point(width),
        )
    )


def _window(draft: _Draft, extent: int, largest: int) -> tuple[int, int, int, int, int, int]:
    """(size, stride, dilation, pad before, pad after, output extent) along one axis."""
    before, after = (draft.integer(0, 3) if draft.chance(50) else 0 for _ in range(2))
    padded = extent + before + after
    size = draft.integer(1, min(largest, padded))
    dilation = draft.integer(1, 3) if draft.chance(15) else 1
    if (size - 1) * dilation + 1 > padded:
        dilation = 1
    stride = draft.integer(1, 3) if draft.chance(40) else 1
    return size, stride, dilation, before, after, (padded - (size - 1) * dilation - 1) // stride + 1


def _convolve(
    draft: _Draft,
    op: Op,
    source: LayerInput,
    width: int = 1,
    activation: Activation | None = None,
) -> LayerInput:
    largest = 1 if op is Op.POINTWISE_CONV2D else draft.integer(1, 5)
    rows = _window(draft, source.dims.height, largest)
    columns = _window(draft, source.dims.width, largest)
    inputs = source.dims.channels
    outputs = inputs if op is Op.DEPTHWISE_CONV2D else draft.integer(1, 9)
    kernel = (rows[0], columns[0])
    shape = (outputs, *kernel) if op is Op.DEPTHWISE_CONV2D else (outputs, inputs, *kernel)
    layer = Layer(
        op=op,
        inputs=(source,),
        output_dims=Dims(rows[5], columns[5], outputs, width, source.dims.batch),
        filter_dims=Dims(rows[0], columns[0], inputs, 1, 0),
        stride_y=rows[1],
        stride_x=columns[1],
        dilation_y=rows[2],
        dilation_x=columns[2],
        pads=Pads(columns[3], columns[4], rows[3], rows[4]),
    )
    return _linear(draft, layer, draft.int8(*shape), width, activation)


def _conv2d(draft: _Draft) -> None:
    _convolve(draft, Op.CONV2D, draft.source(), draft.width())


def _depthwise(draft: _Draft) -> None:
    _convolve(draft, Op.DEPTHWISE_CONV2D, draft.source(), draft.width())


def _pointwise(draft: _Draft) -> None:
    _convolve(draft, Op.POINTWISE_CONV2D, draft.source(), draft.width())


def _vector(
    draft: _Draft,
    outputs: int,
    width: int = 1,
    activation: Activation | None = None,
    source: LayerInput | None = None,
) -> LayerInput:
    """A fully connected layer over a flattened operand."""
    operand = source or draft.whole(draft.source().producer)
    elements = operand.dims.elements
    layer = Layer(
        op=Op.FULLY_CONNECTED,
        inputs=(replace(operand, dims=Dims(1, elements, 1)),),
        output_dims=Dims(1, outputs, 1, width),
        filter_dims=Dims(outputs, elements, 1, 1, 0),
    )
    return _linear(draft, layer, draft.int8(outputs, elements), width, activation)


def _fully_connected(draft: _Draft) -> None:
    _vector(draft, draft.integer(1, 33), draft.width())


# --- pools and element-wise layers --------------------------------------------------------------


def _pool_window(draft: _Draft, op: Op, source: LayerInput, width: int) -> Layer:
    """Filter, strides and output extents of a pool; pads only for max pool."""
    rows = _window(draft, source.dims.height, 4)
    columns = _window(draft, source.dims.width, 4)
    if op is Op.AVERAGE_POOL:
        rows, columns = (
            (min(size, extent), stride, 1, 0, 0, (extent - min(size, extent)) // stride + 1)
            for (size, stride, *_), extent in (
                (rows, source.dims.height),
                (columns, source.dims.width),
            )
        )
    else:
        rows, columns = (
            (size, stride, 1, before, after, (extent + before + after - size) // stride + 1)
            for (size, stride, _, before, after, _), extent in (
                (rows, source.dims.height),
                (columns, source.dims.width),
            )
        )
    return Layer(
        op=op,
        inputs=(source,),
        output_dims=Dims(rows[5], columns[5], source.dims.channels, width, source.dims.batch),
        filter_dims=Dims(rows[0], columns[0], 0, 1, 0),
        stride_y=rows[1],
        stride_x=columns[1],
        pads=Pads(columns[3], columns[4], rows[3], rows[4]),
    )


def _average(draft: _Draft, layer: Layer) -> LayerInput:
    """Complete an average pool or mean."""
    window = layer.filter_dims
    area = max(window.channels, 1) * window.height * window.width
    width = layer.output_dims.byte_width
    multipliers, shifts = draft.rescaling(math.sqrt(area) * 74, 1, width)
    source = layer.inputs[0].producer
    return draft.put(
        replace(
            layer,
            bias=np.array([-draft.zero_point_of(source) * area], np.int32),
            multipliers=multipliers,
            shifts=shifts,
            activation=Activation.RELU if draft.chance(20) else Activation.NONE,
            input_zero_point=draft.zero_point_of(source),
            output_zero_point=draft.zero_point(width),
        )
    )


def _average_pool(draft: _Draft) -> None:
    _average(draft, _pool_window(draft, Op.AVERAGE_POOL, draft.source(), draft.width()))


def _mean_over(draft: _Draft, source: LayerInput, axes: set[Axis], width: int = 1) -> LayerInput:
    extents = [source.dims.shape[axis] if axis in axes else 1 for axis in Axis]
    channels, height, width_span = extents
    out = [source.dims.shape[axis] // extents[axis] for axis in Axis]
    layer = Layer(
        op=Op.MEAN,
        inputs=(source,),
        output_dims=Dims(out[1], out[2], out[0], width),
        filter_dims=Dims(height, width_span, channels, 1, 0),
        stride_x=width_span & 0xFF,
        stride_y=height & 0xFF,
    )
    return _average(draft, layer)


def _mean(draft: _Draft) -> None:
    axes = {axis for axis in Axis if draft.chance(25 if axis is Axis.CHANNEL else 65)}
    _mean_over(draft, draft.source(), axes, draft.width())


def _max_pooled(draft: _Draft, source: LayerInput, width: int) -> LayerInput:
    layer = _pool_window(draft, Op.MAX_POOL, source, width)
    return draft.put(
        replace(
            layer,
            multipliers=np.array([1], np.int32),
            shifts=np.array([0], np.int8),
            activation=Activation.RELU if draft.chance(20) else Activation.NONE,
            input_zero_point=draft.zero_point_of(source.producer),
            output_zero_point=draft.zero_point(width) if draft.chance(20) else 0,
        )
    )


def _max_pool(draft: _Draft) -> None:
    _max_pooled(draft, draft.source(), draft.width())


def _second(draft: _Draft, first: LayerInput) -> tuple[LayerInput | None, Dims, Int8Array | None]:
    """The other operand of an add or multiply: a layer or a constant, often broadcast."""
    dims = first.dims
    kind = draft.integer(0, 3 if dims.height * dims.width == 1 else 4)
    if kind <= 1:
        extents = [extent if draft.chance(60) else 1 for extent in dims.shape]
        window = Dims(extents[1], extents[2], extents[0], 1, 0)
        return None, window, draft.int8(*extents)
    if kind == 2:
        operand = _same_shape(draft, first)
    elif kind == 3:
        operand = _mean_over(
            draft, first, {Axis.HEIGHT} | ({Axis.WIDTH} if dims.width > 1 else set())
        )
    else:
        operand = _vector(draft, dims.channels, source=draft.whole(first.producer))
        return operand, Dims(1, 1, dims.channels, 1, 0), None
    return operand, replace(operand.dims, batch=0), None


def _same_shape(draft: _Draft, source: LayerInput) -> LayerInput:
    """A depthwise 1x1 layer: another tensor of the same extents."""
    channels = source.dims.channels
    layer = Layer(
        op=Op.DEPTHWISE_CONV2D,
        inputs=(source,),
        output_dims=source.dims,
        filter_dims=Dims(1, 1, channels, 1, 0),
        stride_x=1,
        stride_y=1,
        dilation_x=1,
        dilation_y=1,
    )
    return _linear(draft, layer, draft.int8(channels, 1, 1), 1)


def _element_wise(draft: _Draft, op: Op) -> None:
    first = draft.source()
    second, window, constant = _second(draft, first)
    operands = (first,) if second is None else (first, second)
    if second is not None and draft.chance(50):
        operands = (second, first)
    width = draft.width()
    bias: IntArray | None
    multipliers: npt.NDArray[Any]
    if op is Op.ADD:
        shift = draft.integer(8, 20)
        target = {1: 0.6, 4: 9000.0}[width]
        multipliers = (draft.rng.uniform(0.2, 1.5, 2) * target * 2**shift).clip(1, 2**31 - 1)
        bias = np.array([draft.integer(-50, 50) * 2**shift // 2], np.int32)
        shifts = np.array([shift], np.int8)
    else:
        multipliers, shifts = draft.rescaling(90.0 * 90.0, 1, width)
        bias = None
    draft.put(
        Layer(
            op=op,
            inputs=operands,
            output_dims=replace(first.dims, byte_width=width),
            filter_dims=window,
            filter=constant,
            bias=bias,
            multipliers=multipliers.astype(np.int32),
            shifts=shifts,
            activation=Activation.RELU if draft.chance(25) else Activation.NONE,
            input_zero_point=0 if op is Op.ADD else draft.zero_point(1),
            output_zero_point=draft.zero_point(width),
        )
    )


def _add(draft: _Draft) -> None:
    _element_wise(draft, Op.ADD)


def _multiply(draft: _Draft) -> None:
    _element_wise(draft, Op.MULTIPLY)


# --- layers that move data ----------------------------------------------------------------------


def _moving(draft: _Draft, op: Op, inputs: Sequence[LayerInput], out: Dims, **fields: Any) -> None:
    """A layer that copies elements; zero points are those of the first input."""
    zero_point = draft.zero_point_of(inputs[0].producer)
    width = out.byte_width
    draft.put(
        Layer(
            op=op,
            inputs=tuple(inputs),
            output_dims=out,
            multipliers=np.array([1 << 24], np.int32),
            shifts=np.array([24], np.int8),
            input_zero_point=zero_point,
            output_zero_point=zero_point if width == 1 else 0,
            **fields,
        )
    )


def _channel_pad(draft: _Draft) -> None:
    source = draft.source()
    front, back, left, right = (draft.integer(0, 3) for _ in range(4))
    dims = source.dims
    out = Dims(dims.height, dims.width + left + right, dims.channels + front + back, draft.width())
    window = Dims(4, 2, 1, 1, 0)
    _moving(
        draft,
        Op.CHANNEL_PAD,
        [source],
        out,
        pads=Pads(left, right, front, back),
        filter_dims=window,
    )


def _concatenate(draft: _Draft) -> None:
    source = draft.source()
    axis = Axis(draft.integer(0, 2))
    inputs = [source]
    for _ in range(draft.integer(1, 3)):
        whole = source.split_offset == 0 and source.dims == draft.dims_of(source.producer)
        inputs.append(draft.part(source, axis) if whole and draft.chance(50) else source)
    if draft.chance(50):
        inputs.append(_same_shape(draft, source))
    inputs = inputs[-4:]
    extents = list(source.dims.shape)
    extents[axis] = sum(operand.dims.shape[axis] for operand in inputs)
    out = Dims(extents[1], extents[2], extents[0], draft.width())
    _moving(draft, Op.CONCATENATE, inputs, out, concat_axis=int(axis))


def _strided_slice(draft: _Draft) -> None:
    source = draft.source()
    begin, end, stride, extents = [], [], [], []
    for extent in source.dims.shape:
        first = draft.integer(0, extent - 1)
        last = draft.integer(first + 1, extent)
        step = draft.integer(1, 3)
        begin.append(first)
        end.append(last)
        stride.append(step)
        extents.append(-(-(last - first) // step))
    out = Dims(extents[1], extents[2], extents[0], draft.width())
    parameters = np.array([*begin, *end, *stride], np.int32)
    window = Dims(1, 9, 1, 4, 0)
    _moving(draft, Op.STRIDED_SLICE, [source], out, filter=parameters, filter_dims=window)


def _reshape(draft: _Draft) -> None:
    source = draft.source()
    out = draft.factored(source.dims.elements)
    _moving(draft, Op.RESHAPE, [source], out, filter_dims=Dims(1, 1, 1, 1, 0))


def _resize(draft: _Draft) -> None:
    source = draft.source()
    align_corners, half_pixel = ((0, 0), (1, 0), (0, 1))[draft.integer(0, 2)]
    out = Dims(draft.integer(1, 19), draft.integer(1, 19), source.dims.channels)
    if out.elements > _MAX_ELEMENTS:
        out = replace(source.dims, byte_width=1)
    attributes = np.array([align_corners, half_pixel, 175], np.int32)
    window = Dims(1, 1, 1, 1, 0)
    _moving(draft, Op.RESIZE_NEAREST, [source], out, cpu_attributes=attributes, filter_dims=window)


def _batches(draft: _Draft) -> None:
    """Space to batch, sometimes layers between, and back."""
    source = draft.source()
    block_height, block_width = draft.integer(1, 3), draft.integer(1, 3)
    top, left = draft.integer(0, 2), draft.integer(0, 2)
    bottom = -(source.dims.height + top) % block_height
    right = -(source.dims.width + left) % block_width
    height = (source.dims.height + top + bottom) // block_height
    width = (source.dims.width + left + right) // block_width
    window = Dims(block_height, block_width, 1, 1, 0)
    out = Dims(height, width, source.dims.channels, 1, block_height * block_width)
    pads = Pads(left, right, top, bottom)
    _moving(draft, Op.SPACE_TO_BATCH, [source], out, filter_dims=window, pads=pads)
    inner = draft.whole(len(draft.layers) - 1)
    kind = draft.integer(0, 4)
    if kind in (1, 2, 3):
        op = (Op.CONV2D, Op.DEPTHWISE_CONV2D, Op.POINTWISE_CONV2D)[kind - 1]
        inner = _convolve(draft, op, inner)
    elif kind == 4:
        inner = _max_pooled(draft, inner, 1)
    full_height, full_width = inner.dims.height * block_height, inner.dims.width * block_width
    crop_top, crop_left = (draft.integer(0, min(3, n - 1)) for n in (full_height, full_width))
    crop_bottom = draft.integer(0, min(3, full_height - crop_top - 1))
    crop_right = draft.integer(0, min(3, full_width - crop_left - 1))
    out = Dims(
        full_height - crop_top - crop_bottom,
        full_width - crop_left - crop_right,
        inner.dims.channels,
    )
    pads = Pads(crop_left, crop_right, crop_top, crop_bottom)
    _moving(draft, Op.BATCH_TO_SPACE, [inner], out, filter_dims=window, pads=pads)


def _persistent(draft: _Draft) -> None:
    """A variable that adds itself to a tensor and takes the sum over for the next inference."""
    source = draft.source()
    place = len(draft.layers)
    zero_point = draft.zero_point(1)
    placeholder = LayerInput(place + 1, source.dims)
    variable = Layer(
        op=Op.PERSISTENT_VARIABLE,
        inputs=(placeholder,),
        output_dims=source.dims,
        multipliers=np.array([1 << 24], np.int32),
        shifts=np.array([24], np.int8),
        input_zero_point=zero_point,
        output_zero_point=zero_point,
    )
    state = draft.put(variable)
    total = draft.put(
        Layer(
            op=Op.ADD,
            inputs=(state, source),
            output_dims=source.dims,
            filter_dims=replace(source.dims, batch=0),
            bias=np.array([draft.integer(-20, 20) << 12], np.int32),
            multipliers=np.array([3000, draft.integer(500, 4000)], np.int32),
            shifts=np.array([12], np.int8),
            output_zero_point=zero_point,
        )
    )
    _same_shape(draft, total)  # the sum alone, read by the variable, would not be an output


# --- CPU activations ----------------------------------------------------------------------------


def _activated(draft: _Draft, op: Op, source: LayerInput, width: int, scale_bits: int) -> None:
    zero_point = -128 if width == 1 and op is not Op.TANH else 0
    draft.put(
        Layer(
            op=op,
            inputs=(source,),
            output_dims=replace(source.dims, byte_width=width),
            multipliers=np.array([1 << 30], np.int32),
            shifts=np.array([30 - scale_bits], np.int8),
            output_zero_point=zero_point,
        )
    )


def _softmax(draft: _Draft) -> None:
    """Over channels, or over the width of a vector."""
    activation = Activation.PREPARE_SOFTMAX
    if draft.chance(60):
        logits = _vector(draft, draft.integer(1, 20), 4, activation)
    else:
        logits = _convolve(draft, Op.POINTWISE_CONV2D, draft.source(), 4, activation)
    width = 4 if draft.chance(25) else 1
    _activated(draft, Op.SOFTMAX, logits, width, 28 if width == 4 else 8)


def _sigmoid_or_tanh(draft: _Draft, op: Op) -> None:
    source = _convolve(draft, Op.POINTWISE_CONV2D, draft.source(), 2, Activation.NONE)
    width = (1, 1, 1, 2, 4)[draft.integer(0, 4)]
    _activated(draft, op, source, width, 8)


def _sigmoid(draft: _Draft) -> None:
    _sigmoid_or_tanh(draft, Op.SIGMOID)


def _tanh(draft: _Draft) -> None:
    _sigmoid_or_tanh(draft, Op.TANH)


FEATURES: Final[tuple[Callable[[_Draft], None], ...]] = (
    _conv2d,
    _depthwise,
    _pointwise,
    _fully_connected,
    _average_pool,
    _max_pool,
    _mean,
    _add,
    _multiply,
    _channel_pad,
    _concatenate,
    _strided_slice,
    _reshape,
    _resize,
    _batches,
    _persistent,
    _softmax,
    _sigmoid,
    _tanh,
)
"""What a program can feature, each with whatever layers it needs before and after it."""
