"""What the NPU and Nordic's code generator accept: one function per limit.

A constraint's docstring is the rule as the user reads it. The function returns what it found wrong,
or None. Sources: Nordic's public list of supported operators, and what the code generator (compiler
1.4.0) was observed to refuse; docs/supported-operators.md tells which limit comes from where.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from compiler.dims import axis_of, dims_of
from compiler.ir import Axis, Dims, Pads
from compiler.lowering import LOWERINGS
from compiler.lowering.pooling import spans_map
from compiler.model import Model, Operator, Tensor
from compiler.options import CompileOptions
from compiler.passes.cropping import used_taps
from compiler.passes.dense_blocks import LONGEST_RESULT, MOST_OUTPUTS, needs_blocks
from compiler.passes.orientation import seen_dims
from compiler.passes.padding import paddings, window_extent, window_outputs, window_pads
from compiler.passes.whole_sides import sums_up

MAX_OUTPUTS: Final = 20
MAX_FILTER: Final = 16
MAX_FILTER_WIDTH_1D: Final = 32
MAX_PADDING: Final = 15
PADDED_ROWS: Final = 3
"""The code generator takes a filter's rows by threes, and no more padding above it than that."""
MAX_POOL: Final = 32
MAX_STRIDE: Final = 31
MAX_LINEAR_SIDE: Final = 1020
MAX_CHANNELS: Final = 1023
MAX_CONVOLUTION_INPUTS: Final = 1024
MOST_CHANNELS: Final = 2048
MAX_WIDTH: Final = 2060
MAX_EXTENT: Final = 65535
DOCUMENTED_EXTENT: Final = 1024
DOCUMENTED_VECTOR: Final = 2048

_WINDOWS: Final = ("CONV_2D", "DEPTHWISE_CONV_2D", "AVERAGE_POOL_2D", "MAX_POOL_2D")
_WEIGHTED: Final = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
_MOVES_CODES: Final = ("MAX_POOL_2D", "STRIDED_SLICE", "CONCATENATION", "PAD")
_NARROW: Final = (
    "ADD",
    "AVERAGE_POOL_2D",
    "CONCATENATION",
    "DEPTHWISE_CONV_2D",
    "MAX_POOL_2D",
    "MEAN",
    "MUL",
    "PAD",
    "STRIDED_SLICE",
)
_ANY_HEIGHT: Final = ("DEPTHWISE_CONV_2D", "MEAN")
CPU_OPERATORS: Final = (
    "LOGISTIC",
    "TANH",
    "SOFTMAX",
    "RESHAPE",
    "SPACE_TO_BATCH_ND",
    "BATCH_TO_SPACE_ND",
    "RESIZE_NEAREST_NEIGHBOR",
)
_SINGLE_BATCH: Final = (
    "CONCATENATION",
    "FULLY_CONNECTED",
    "LOGISTIC",
    "PAD",
    "PERSISTENT_VARIABLE",
    "RESHAPE",
    "RESIZE_NEAREST_NEIGHBOR",
    "SOFTMAX",
    "STRIDED_SLICE",
    "TANH",
)
_MOST_CHANNELS: Final = {
    "AVERAGE_POOL_2D": (MOST_CHANNELS, MOST_CHANNELS),
    "CONCATENATION": (MAX_CHANNELS, MOST_CHANNELS),
    "CONV_2D": (MAX_CONVOLUTION_INPUTS, MOST_CHANNELS),
    "MAX_POOL_2D": (MOST_CHANNELS, MOST_CHANNELS),
    "STRIDED_SLICE": (MOST_CHANNELS, MAX_CHANNELS),
}
"""Taken by an operation and given by it."""
_FIXED_OUTPUT: Final = {"LOGISTIC": (1 / 256, -128), "TANH": (1 / 128, 0)}


@dataclass(frozen=True, slots=True)
class Finding:
    """What a constraint saw, what would be allowed, and what to change."""

    found: str
    allowed: str
    advice: str


@dataclass(frozen=True, slots=True)
class Violation:
    """A finding with its place in the file; `operator_index` -1 stands for the whole model."""

    operator_index: int
    operator: str
    rule: str
    found: str
    allowed: str
    advice: str

    def __str__(self) -> str:
        place = (
            f"operator {self.operator_index} ({self.operator})"
            if self.operator_index >= 0
            else "the model"
        )
        return f"{place}: found {self.found}, allowed {self.allowed}; {self.advice}"


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One operator of a legal model, with its extents as the device will see them."""

    model: Model
    op: Operator
    options: CompileOptions

    def tensor(self, position: int) -> Tensor:
        """An operand."""
        return self.model.tensors[self.op.inputs[position]]

    @property
    def result(self) -> Tensor:
        """The result."""
        return self.model.tensors[self.op.outputs[0]]

    def seen(self, tensor: int) -> Dims:
        """The extent of a tensor as it lies on the device; a vector stays a row."""
        return seen_dims(self.model, tensor, self.options)

    def turned(self, dims: Dims) -> Dims:
        """An extent, transposed when the variant is."""
        return self.options.turned(dims)

    @property
    def data(self) -> list[Tensor]:
        """The operands that are computed, not constant."""
        numbers = [i for i in self.op.inputs if i >= 0 and self.model.constant(i) is None]
        return [self.model.tensors[i] for i in numbers]

    @property
    def int32_output(self) -> bool:
        """Whether the result leaves the model unquantized."""
        return self.options.output == "int32" and self.model.is_output(self.op.outputs[0])


Constraint = Callable[[Case], Finding | None]


# Every operator


def supported_operator(case: Case) -> Finding | None:
    """The operator is one that Nordic's compiler supports."""
    code = case.op.code
    if code in LOWERINGS:
        return None
    advice = _OPERATOR_ADVICE.get(code, "replace it by supported operators or run it on the host")
    return Finding(code, "a supported operator", advice)


_OPERATOR_ADVICE: Final = {
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "the sequence LSTM is not supported yet; "
    "it is experimental in Nordic's compiler too, use a temporal convolution",
    "TRANSPOSE_CONV": "use RESIZE_NEAREST_NEIGHBOR and CONV_2D",
    "TRANSPOSE": "order the axes in training so that no transposition is needed",
    "QUANTIZE": "only the model's edges may be cast from or to float32 and uint8",
    "DEQUANTIZE": "convert the whole model to int8",
    "VAR_HANDLE": "a variable needs exactly one read and one assignment of int8 values",
    "READ_VARIABLE": "a variable needs exactly one read and one assignment of int8 values",
    "ASSIGN_VARIABLE": "a variable needs exactly one read and one assignment of int8 values",
    "SPLIT": "the axis and the sizes must be constants that add up",
    "SPLIT_V": "the axis and the sizes must be constants that add up",
}


def eight_bit(case: Case) -> Finding | None:
    """Inputs and results are int8 (softmax, sigmoid and tanh included)."""
    for tensor in (*case.data, case.result):
        if tensor.dtype != "int8":
            advice = "convert the model with full integer quantization to int8"
            return Finding(f"tensor {tensor.name!r} of type {tensor.dtype}", "int8", advice)
    return None


def quantized_per_tensor(case: Case) -> Finding | None:
    """Inputs and results have one scale and one zero point each."""
    for tensor in (*case.data, case.result):
        scales = 0 if tensor.quant is None else tensor.quant.scales.size
        if scales != 1:
            advice = "quantize activations per tensor"
            return Finding(f"{scales} scales for tensor {tensor.name!r}", "1", advice)
        if tensor.quant is not None and not -128 <= tensor.quant.zero_point <= 127:
            found = f"zero point {tensor.quant.zero_point} of tensor {tensor.name!r}"
            return Finding(found, "-128 to 127", "convert the model to int8 again")
    return None


def tensor_shape(case: Case) -> Finding | None:
    """Tensors have 1 to 4 dimensions, none of them empty, and at most 65,535 elements a side."""
    for tensor in (*case.data, case.result):
        if not 1 <= len(tensor.shape) <= 4 or min(tensor.shape) < 1:
            return Finding(
                f"shape {list(tensor.shape)}", "1 to 4 non-empty dimensions", "reshape the tensor"
            )
        if max(tensor.shape) > MAX_EXTENT:
            return Finding(
                f"shape {list(tensor.shape)}", f"at most {MAX_EXTENT} a side", "split it"
            )
    return None


def map_sides(case: Case) -> Finding | None:
    """Maps are at most 1,024 high and wide; those of convolutions any height and 2,060 wide."""
    code = case.op.code
    if code == "FULLY_CONNECTED" or (len(case.result.shape) < 3 and code in CPU_OPERATORS):
        return None
    computed = [i for i in case.op.inputs if i >= 0 and case.model.constant(i) is None]
    seen = [case.seen(number) for number in (*computed, case.op.outputs[0])]
    width, height = max(d.width for d in seen), max(d.height for d in seen)
    widest = DOCUMENTED_EXTENT if code in _NARROW else MAX_WIDTH
    if width > widest:
        return Finding(f"width {width}", f"at most {widest}", "transpose, split or subsample")
    if code in _NARROW and code not in _ANY_HEIGHT and height > DOCUMENTED_EXTENT:
        allowed = f"at most {DOCUMENTED_EXTENT}"
        return Finding(f"height {height}", allowed, "transpose, split or subsample")
    return None


def computed_operand(case: Case) -> Finding | None:
    """The first operand is computed: the model's input or another operator's result."""
    model, first = case.model, case.op.inputs[0]
    inputs = {model.root(number) for number in model.inputs}
    if first < 0 or (model.root(first) not in inputs and model.producer(first) is None):
        return Finding("a constant first operand", "a computed one", "fold constants")
    return None


def map_channels(case: Case) -> Finding | None:
    """Maps have 1,023 channels at most, 1,024 to 2,048 in convolutions, 2,048 in pools."""
    code = case.op.code
    if code == "FULLY_CONNECTED" or len(case.result.shape) < 3 or code in CPU_OPERATORS:
        return None
    if not case.data:
        return None  # computed_operand reports it
    taken = max(dims_of(tensor.shape).channels for tensor in case.data)
    given = dims_of(case.result.shape).channels
    most = _MOST_CHANNELS.get(code, (MAX_CHANNELS, MAX_CHANNELS))
    if taken > most[0] or given > most[1]:
        found = f"{taken} channels to {given}"
        return Finding(found, f"at most {most[0]} to {most[1]}", "split the layer by channels")
    return None


def single_batch(case: Case) -> Finding | None:
    """The batch is 1, except between space-to-batch and batch-to-space."""
    if case.op.code not in _SINGLE_BATCH:
        return None
    for tensor in (*case.data, case.result):
        if len(tensor.shape) == 4 and tensor.shape[0] != 1:
            return Finding(f"batch {tensor.shape[0]}", "1", "convert the model with batch size 1")
    return None


def known_activation(case: Case) -> Finding | None:
    """The fused activation is none, ReLU or ReLU6."""
    activation = case.op.attributes.get("fused_activation_function", "NONE")
    if activation not in ("NONE", "RELU", "RELU6"):
        return Finding(
            activation, "NONE, RELU or RELU6", "use ReLU, or a separate TANH or LOGISTIC"
        )
    if activation != "NONE" and case.op.code in ("CONCATENATION", "MAX_POOL_2D"):
        return Finding(activation, "NONE", "apply the activation to the inputs instead")
    return None


def relu6_saturates(case: Case) -> Finding | None:
    """ReLU6 needs an output scale at which code 127 is at most 6: nothing else clamps at 6."""
    if case.op.attributes.get("fused_activation_function") != "RELU6":
        return None
    quant = case.result.quant
    if quant is None:
        return None
    if case.int32_output:
        return None  # notes() tells that nothing clamps there
    six = round(6.0 / float(quant.scale)) + quant.zero_point
    if six < 127:
        return Finding(f"6 at code {six}", "6 at code 127 or above", "use ReLU or calibrate to 6")
    return None


# Convolutions, fully connected


def constant_weights(case: Case) -> Finding | None:
    """Weights and bias are constants: int8 with zero point 0, and int32."""
    weights = case.tensor(1) if len(case.op.inputs) > 1 and case.op.inputs[1] >= 0 else None
    advice = "convert the model with full integer quantization to int8"
    if weights is None or weights.data is None or weights.quant is None:
        return Finding("no constant quantized weights", "constant int8 weights", advice)
    if weights.dtype != "int8" or np.any(weights.quant.zero_points != 0):
        found = f"{weights.dtype} weights, zero point {int(weights.quant.zero_points[0])}"
        return Finding(found, "int8 weights with zero point 0", advice)
    if len(case.op.inputs) > 2 and case.op.inputs[2] >= 0:
        bias = case.tensor(2)
        if bias.data is None or bias.dtype != "int32":
            return Finding(f"{bias.dtype} bias", "a constant int32 bias", advice)
    return None


def weight_shape(case: Case) -> Finding | None:
    """Weights fit input and output: no channel multiplier, no groups, 1 scale or 1 a channel."""
    weights, result = case.tensor(1), case.result
    shape = weights.shape
    inputs = case.tensor(0).shape[-1]
    outputs = result.shape[-1]
    if case.op.code == "DEPTHWISE_CONV_2D":
        multiplier = int(case.op.attributes["depth_multiplier"])
        inputs, outputs = (dims_of(t.shape).channels for t in (case.tensor(0), result))
        fits = len(shape) == 4 and shape[0] == 1 and shape[3] == outputs
        if multiplier != 1 and fits:
            advice = "repeat the input channels, or use a full convolution"
            return Finding(f"channel multiplier {multiplier}", "1", advice)
        expected, fits = [1, "h", "w", inputs], fits and inputs == outputs
    elif case.op.code == "CONV_2D":
        expected = [outputs, "h", "w", inputs]
        fits = len(shape) == 4 and (shape[0], shape[3]) == (outputs, inputs)
    else:
        elements = case.tensor(0).elements
        expected = [outputs, elements]
        fits = len(shape) == 2 and shape[0] == outputs and shape[1] > 0
        fits = (
            fits and elements % shape[1] == 0 and result.elements == elements // shape[1] * outputs
        )
    if not fits:
        return Finding(
            f"weights {list(shape)}", f"{expected}", "use a plain convolution, no groups"
        )
    return _channel_counts(case, outputs)


def _channel_counts(case: Case, outputs: int) -> Finding | None:
    quant, bias = case.tensor(1).quant, case.op.inputs[2:3]
    if quant is not None and quant.scales.size not in (1, outputs):
        return Finding(f"{quant.scales.size} weight scales", f"1 or {outputs}", "convert again")
    if bias and bias[0] >= 0 and case.tensor(2).elements != outputs:
        return Finding(f"{case.tensor(2).elements} biases", f"{outputs}", "convert again")
    return None


def filter_size(case: Case) -> Finding | None:
    """Filters are at most 16 by 16 (on a map 1 high: 1 by 32), dilation included."""
    height, width = window_extent(case.model, case.op)
    seen = case.turned(Dims(height, width, 1))
    line = case.turned(dims_of(case.tensor(0).shape)).height == seen.height == 1
    widest = MAX_FILTER_WIDTH_1D if line else MAX_FILTER
    if seen.height > MAX_FILTER or seen.width > widest:
        advice = "use a smaller filter or several in a row"
        return Finding(f"{seen.height}x{seen.width}", f"{MAX_FILTER}x{widest}", advice)
    return None


def stride_size(case: Case) -> Finding | None:
    """Strides are 1 to 31."""
    strides = [case.op.attributes["stride_h"], case.op.attributes["stride_w"]]
    if case.op.code == "AVERAGE_POOL_2D" and _spans(case) and max(strides) < 256:
        return None
    if not all(1 <= stride <= MAX_STRIDE for stride in strides):
        return Finding(
            f"stride {max(strides, key=abs)}", f"1 to {MAX_STRIDE}", "subsample in two steps"
        )
    return None


def window_geometry(case: Case) -> Finding | None:
    """The result has the extent that window, stride and padding give."""
    attributes, extent = case.op.attributes, dims_of(case.tensor(0).shape)
    if min(attributes["stride_h"], attributes["stride_w"]) < 1:
        return None  # stride_size reports it
    window = window_extent(case.model, case.op)
    pads = window_pads(case.model, case.op)
    given = dims_of(case.result.shape)
    wanted = window_outputs(extent, window, pads, case.op)
    sides = (wanted.height, wanted.width, wanted.batch)
    if min(*window, *sides) < 1 or sides != (given.height, given.width, given.batch):
        found = f"result {given.height}x{given.width}"
        return Finding(found, f"{wanted.height}x{wanted.width}", "convert the model again")
    if max(pads.left, pads.right, pads.top, pads.bottom) > 255:
        return Finding(f"padding {pads}", "at most 255 a side", "pad less")
    return None


def padding_fits(case: Case) -> Finding | None:
    """Padding is at most 15 a side, above the filter's height in threes, below under the result."""
    pads = window_pads(case.model, case.op)
    if case.options.transpose:
        pads = Pads(left=pads.top, right=pads.bottom, top=pads.left, bottom=pads.right)
    height, width = window_extent(case.model, case.op)
    window = case.turned(Dims(height, width, 1))
    extent, result = (case.turned(dims_of(t.shape)) for t in (case.tensor(0), case.result))
    widest = max(pads.left, pads.right, pads.top, pads.bottom)
    if not all(used_taps(case.model, case.op, axis) for axis in (1, 2)):
        return Finding("windows that only meet padding", "windows on the map", "remove the layer")
    if widest > MAX_PADDING:
        return Finding(f"padding {widest}", f"at most {MAX_PADDING} a side", "pad less")
    above = -(-window.height // PADDED_ROWS) * PADDED_ROWS
    if pads.top > above:
        advice = "pad less, or use a taller filter"
        return Finding(f"{pads.top} rows of padding above", f"at most {above}", advice)
    if result.height <= pads.bottom and extent.height <= window.height:
        advice = "use a lower filter or VALID padding; Nordic's code generator refuses this"
        return Finding(f"{pads.bottom} rows of padding below", f"less than {result.height}", advice)
    return None


def aligned_per_channel_vector(case: Case) -> Finding | None:
    """Behind a map, a fully connected layer with per-channel weights takes 4n inputs."""
    quant, source = case.tensor(1).quant, case.model.root(case.op.inputs[0])
    channels = dims_of(case.model.tensors[source].shape).channels
    inputs = case.tensor(1).shape[-1]
    behind_map = channels > 1 and case.model.producer(source) is not None
    if quant is not None and quant.scales.size > 1 and behind_map and inputs % 4:
        advice = "quantize this layer per tensor or use a multiple of 4 channels"
        return Finding(f"{inputs} inputs", "a multiple of 4", advice)
    return None


def dense_rows(case: Case) -> Finding | None:
    """Over several rows, a fully connected layer takes 1,024 inputs and gives 2,048 outputs."""
    outputs, inputs = case.tensor(1).shape
    several = case.tensor(0).elements > inputs
    if several and (inputs > MAX_CONVOLUTION_INPUTS or outputs > MOST_CHANNELS):
        allowed = f"at most {MAX_CONVOLUTION_INPUTS} to {MOST_CHANNELS}"
        return Finding(f"{inputs} inputs to {outputs}", allowed, "split the layer")
    return None


def dense_size(case: Case) -> Finding | None:
    """From 1,024 inputs on, a fully connected layer has 1,024 outputs at most, 512 of 32 bits."""
    weights = case.tensor(1)
    outputs, inputs = weights.shape
    if case.result.elements == outputs and needs_blocks(outputs, inputs):
        advice = "use fewer inputs or outputs, or int8 output; Nordic's code generator errs there"
        allowed = f"{LONGEST_RESULT} int8 outputs, {MOST_OUTPUTS} others"
        return Finding(f"{inputs} inputs to {outputs}", allowed, advice)
    return None


# Pooling


def pool_size(case: Case) -> Finding | None:
    """Pooling windows are at most 32x32, unless they span the map."""
    window, extent = window_extent(case.model, case.op), dims_of(case.tensor(0).shape)
    spans = case.op.code == "AVERAGE_POOL_2D" and window == (extent.height, extent.width)
    if max(window) > MAX_POOL and not spans:
        return Finding(f"{window[0]}x{window[1]}", f"{MAX_POOL}x{MAX_POOL}", "pool in two steps")
    return None


def _spans(case: Case) -> bool:
    """Whether a pool becomes one value per channel, or per row or column."""
    extent, result = dims_of(case.tensor(0).shape), dims_of(case.result.shape)
    return spans_map(extent, result, window_extent(case.model, case.op))


def local_maximum(case: Case) -> Finding | None:
    """A max pool leaves more than one row or column: Nordic's code generator sums what it spans."""
    window = window_extent(case.model, case.op)
    if sums_up(dims_of(case.result.shape), window):
        advice = "use average pooling, or leave a 2-wide result and slice it"
        return Finding(f"a {window[0]}x{window[1]} maximum over the whole side", "a part", advice)
    return None


def window_within(case: Case) -> Finding | None:
    """A max pool's window is at most as high as the map, and one wider."""
    extent = case.turned(dims_of(case.tensor(0).shape))
    height, width = window_extent(case.model, case.op)
    window = case.turned(Dims(height, width, 1))
    if window.height > extent.height or window.width > extent.width + 1:
        found = f"{window.height}x{window.width} on {extent.height}x{extent.width}"
        return Finding(found, f"{extent.height}x{extent.width + 1}", "use a smaller window")
    return None


def first_batch_only(case: Case) -> Finding | None:
    """Between space-to-batch and batch-to-space stand convolutions: other layers see one batch."""
    batch = dims_of(case.result.shape).batch
    if batch != 1:
        advice = "move the layer out, or use a dilated convolution"
        return Finding(f"{case.op.code} on {batch} batches", "convolutions", advice)
    return None


def average_without_padding(case: Case) -> Finding | None:
    """Average pooling has no padding."""
    pads = window_pads(case.model, case.op)
    if any((pads.left, pads.right, pads.top, pads.bottom)):
        return Finding(f"padding {case.op.attributes['padding']}", "VALID", "use VALID padding")
    return None


def mean_axes(case: Case) -> Finding | None:
    """The mean goes over height, width or both."""
    axes = case.model.constant(case.op.inputs[1]) if len(case.op.inputs) > 1 else None
    rank = len(case.tensor(0).shape)
    if axes is None:
        return Finding("computed axes", "constant axes", "give the axes as a constant")
    valid = axes.size > 0 and all(-rank <= int(axis) < rank for axis in axes.ravel())
    named = {axis_of(int(axis), rank) for axis in axes.ravel()} if valid else {None}
    if not valid or not named <= {Axis.HEIGHT, Axis.WIDTH}:
        return Finding(f"axes {axes.ravel().tolist()}", "height and width", "use a 1x1 convolution")
    return None


# Two operands


def two_operands(case: Case) -> Finding | None:
    """The operation has two operands, at least one of them computed."""
    if len(case.op.inputs) != 2 or min(case.op.inputs) < 0 or not case.data:
        return Finding(f"{len(case.data)} computed operands", "1 or 2", "fold constants")
    return None


def int8_constant(case: Case) -> Finding | None:
    """A constant operand is int8 with one scale."""
    tensor = case.tensor(1)
    if tensor.data is None:
        return None
    if tensor.dtype != "int8" or tensor.quant is None or tensor.quant.scales.size != 1:
        return Finding(f"a {tensor.dtype} constant", "int8 with one scale", "convert again")
    return None


def broadcast(case: Case) -> Finding | None:
    """Operands have the same channels; height and width are equal, or 1 on one side."""
    if max(len(case.tensor(0).shape), len(case.tensor(1).shape)) > 4:
        return None  # tensor_shape reports it
    a, b, result = (dims_of(t.shape) for t in (case.tensor(0), case.tensor(1), case.result))
    pairs = ((a.height, b.height), (a.width, b.width))
    sides = all(x == y or 1 in (x, y) for x, y in pairs)
    sides = sides and {x < y for x, y in pairs if x != y} != {True, False}
    scalar = 1 if case.tensor(1).data is not None and b.elements == 1 else a.channels
    grown = (max(a.height, b.height), max(a.width, b.width), a.channels)
    if (
        not sides
        or b.channels not in (a.channels, scalar)
        or grown != (result.height, result.width, result.channels)
    ):
        advice = "repeat the smaller operand in the model"
        return Finding(f"{list(a.shape)} with {list(b.shape)}", "equal, or 1 high or wide", advice)
    return None


def constant_within(case: Case) -> Finding | None:
    """A constant operand is no larger than the computed one."""
    a, b = dims_of(case.tensor(0).shape), dims_of(case.tensor(1).shape)
    if case.tensor(1).data is not None and (b.height > a.height or b.width > a.width):
        advice = "repeat the computed operand in the model"
        found = f"a constant {list(b.shape)} beside {list(a.shape)}"
        return Finding(found, "a constant no larger", advice)
    return None


def one_value_sum(case: Case) -> Finding | None:
    """A single computed value is not added to a vector, where a layer follows."""
    a, b = dims_of(case.tensor(0).shape), dims_of(case.tensor(1).shape)
    pixels = [(extent.height, extent.width) == (1, 1) for extent in (a, b)]
    ends = not case.model.consumers(case.op.outputs[0])
    if case.tensor(1).data is None and pixels[0] != pixels[1] and not ends:
        advice = "repeat the value in the model; Nordic's code generator never ends on it"
        return Finding(f"{list(a.shape)} with {list(b.shape)}", "operands of one size", advice)
    return None


def linear_sides(case: Case) -> Finding | None:
    """Sums and products are at most 1,020 high and wide; of two equal sizes a product is 1,024."""
    extent = case.seen(case.op.outputs[0])
    sizes = {dims_of(case.model.tensors[i].shape) for i in case.op.inputs}
    widest = DOCUMENTED_EXTENT if case.op.code == "MUL" and len(sizes) == 1 else MAX_LINEAR_SIDE
    if extent.width > widest:
        return Finding(f"width {extent.width}", f"at most {widest}", "split or subsample")
    if extent.height > MAX_LINEAR_SIDE:
        allowed = f"at most {MAX_LINEAR_SIDE}"
        return Finding(f"height {extent.height}", allowed, "split or subsample")
    return None


def concatenated_alike(case: Case) -> Finding | None:
    """Concatenated tensors are quantized as the result is, and not joined along the batch."""
    rank = len(case.result.shape)
    if axis_of(case.op.attributes["axis"], rank) is None:
        return Finding("the batch axis", "height, width or channels", "join another axis")
    if case.result.quant is None or len(case.data) != len(case.op.inputs):
        return Finding("a constant operand", "computed operands", "fold constants")
    for tensor in case.data:
        if tensor.quant is None or not tensor.quant.same_as(case.result.quant):
            advice = "let the converter give all operands one scale"
            return Finding(f"another scale for {tensor.name!r}", "one scale", advice)
        if len(tensor.shape) != rank:
            return Finding(f"rank {len(tensor.shape)}", f"rank {rank}", "reshape the operand")
    return None


# Data movement


def channel_padding(case: Case) -> Finding | None:
    """Padding of height and width stands before a convolution; padding of channels stands alone."""
    table = paddings(case.model, case.op)
    if table is None or table.min() < 0 or table.max() > 255:
        return Finding("computed or large padding", "constants of 0 to 255", "pad less")
    if table[0].any():
        return Finding("padding of the batch", "none", "remove it")
    if table[1:3].any():
        advice = "move the padding before a convolution, or pad in the layer itself"
        return Finding("padding of height or width without a convolution behind it", "none", advice)
    return None


def slice_parameters(case: Case) -> Finding | None:
    """Slices have constant begin, end and stride, a stride of 1 to 31, and keep the batch."""
    attributes = case.op.attributes
    if "begin" not in attributes:
        advice = "use constant, positive strides and no new axis or ellipsis"
        return Finding("computed or reversed parameters", "constants", advice)
    begin, end, stride = attributes["begin"], attributes["end"], attributes["stride"]
    shape = case.tensor(0).shape
    if max(stride) > MAX_STRIDE:
        return Finding(f"stride {max(stride)}", f"at most {MAX_STRIDE}", "slice in two steps")
    inside = all(0 <= b < e <= n for b, e, n in zip(begin, end, shape, strict=True))
    extents = [-(-(e - b) // s) for b, e, s in zip(begin, end, stride, strict=True)]
    if not inside or int(np.prod(extents)) != case.result.elements:
        return Finding(f"{begin} to {end} of {list(shape)}", "a part of the input", "convert again")
    return None


def resize_output(case: Case) -> Finding | None:
    """A resized map is int8: it can not be an int32 model output."""
    if case.int32_output:
        advice = "compile with int8 output or end the model in another layer"
        return Finding("an int32 output", "int8", advice)
    return None


def resize_pixels(case: Case) -> Finding | None:
    """Half-pixel centres do nothing on the device, so they must not change the pixel taken."""
    if not case.op.attributes["half_pixel_centers"]:
        return None
    before, after = dims_of(case.tensor(0).shape), dims_of(case.result.shape)
    for count, size in ((before.height, after.height), (before.width, after.width)):
        if not np.array_equal(_nearest(count, size, True), _nearest(count, size, False)):
            advice = "resize by a whole factor, or without half_pixel_centers"
            return Finding(f"{count} to {size} with half-pixel centres", "a whole factor", advice)
    return None


def _nearest(count: int, size: int, half_pixel: bool) -> npt.NDArray[np.int64]:
    positions = (np.arange(size) + (0.5 if half_pixel else 0.0)) * np.float32(count / size)
    return np.asarray(np.minimum(np.floor(positions), count - 1), np.int64)


def block_parameters(case: Case) -> Finding | None:
    """Space-to-batch and batch-to-space have a constant 2-D block and pads or crops of 0 to 255."""
    tables = [case.model.constant(i) for i in case.op.inputs[1:3]]
    fits = (
        len(tables) == 2
        and all(table is not None for table in tables)
        and len(case.tensor(0).shape) == 4
    )
    if fits:
        block, margins = (np.asarray(table) for table in tables)
        fits = block.shape == (2,) and margins.shape == (2, 2)
        fits = fits and block.min() > 0 and margins.min() >= 0 and margins.max() <= 255
    if not fits:
        return Finding("other parameters", "a constant block of height and width", "convert again")
    return None


# On the CPU


def softmax_last(case: Case) -> Finding | None:
    """Softmax ends the model."""
    if case.model.consumers(case.op.outputs[0]):
        advice = "end the model there; behind a softmax Nordic's simulator does not return"
        return Finding("a layer that reads its result", "none", advice)
    return None


def fixed_activation_output(case: Case) -> Finding | None:
    """Sigmoid has the output scale 1/256 and zero point -128, tanh 1/128 and 0."""
    scale, zero = _FIXED_OUTPUT[case.op.code]
    quant = case.result.quant
    if quant is None:
        return None
    if abs(float(quant.scale) - scale) > 1e-7 or quant.zero_point != zero:
        found = f"scale {float(quant.scale):.6g}, zero point {quant.zero_point}"
        return Finding(found, f"{scale:.6g}, {zero}", "convert the model again")
    return None


def whole_rows(case: Case) -> Finding | None:
    """Sigmoid and tanh over several rows have a width other than 1, 5, 9, 13 and so on."""
    extent = case.seen(case.op.outputs[0])
    if extent.width % 4 == 1 and extent.height * extent.channels > 1:
        advice = "make the rows longer, or transpose; Nordic's CPU code reads their padding"
        return Finding(f"width {extent.width}", "no 4n + 1", advice)
    return None


EVERYWHERE: Final[tuple[Constraint, ...]] = (
    supported_operator,
    eight_bit,
    quantized_per_tensor,
    computed_operand,
    tensor_shape,
    map_sides,
    map_channels,
    single_batch,
    known_activation,
    relu6_saturates,
)

_CONVOLUTION: Final = (
    constant_weights,
    weight_shape,
    filter_size,
    stride_size,
    window_geometry,
    padding_fits,
)
_PAIR: Final = (two_operands, int8_constant, broadcast, constant_within)

CONSTRAINTS: Final[dict[str, tuple[Constraint, ...]]] = {
    "ADD": (*_PAIR, one_value_sum, linear_sides, first_batch_only),
    "AVERAGE_POOL_2D": (
        pool_size,
        stride_size,
        average_without_padding,
        window_geometry,
        first_batch_only,
    ),
    "BATCH_TO_SPACE_ND": (block_parameters,),
    "CONCATENATION": (concatenated_alike,),
    "CONV_2D": _CONVOLUTION,
    "DEPTHWISE_CONV_2D": _CONVOLUTION,
    "FULLY_CONNECTED": (
        constant_weights,
        weight_shape,
        aligned_per_channel_vector,
        dense_rows,
        dense_size,
    ),
    "LOGISTIC": (fixed_activation_output, whole_rows),
    "MAX_POOL_2D": (
        pool_size,
        stride_size,
        window_geometry,
        local_maximum,
        window_within,
        first_batch_only,
    ),
    "MEAN": (mean_axes, first_batch_only),
    "MUL": (*_PAIR, linear_sides, first_batch_only),
    "PAD": (channel_padding,),
    "RESIZE_NEAREST_NEIGHBOR": (resize_output, resize_pixels),
    "SOFTMAX": (softmax_last,),
    "SPACE_TO_BATCH_ND": (block_parameters,),
    "STRIDED_SLICE": (slice_parameters,),
    "TANH": (fixed_activation_output, whole_rows),
}


def check(model: Model, options: CompileOptions) -> tuple[Violation, ...]:
    """Everything that is wrong with a legal model, in operator order; empty when it compiles."""
    return (
        *_whole_model(model),
        *(v for op in model.operators for v in _judge(model, op, options)),
    )


def _judge(model: Model, op: Operator, options: CompileOptions) -> Iterator[Violation]:
    """An operator that is not well formed is not asked about its finer points."""
    case = Case(model, op, options)
    malformed = not op.inputs or len(op.outputs) != 1
    first = (supported_operator,) if op.code not in LOWERINGS else EVERYWHERE
    if malformed and op.code in LOWERINGS:
        yield Violation(op.index, op.code, "Operators have operands and one result.",
                        f"{len(op.inputs)} operands, {len(op.outputs)} results", "one result",
                        "convert the model again")  # fmt: skip
        return
    basic = list(_findings(case, first))
    yield from basic
    if not basic:
        yield from _findings_until_first(case)


def _findings(case: Case, constraints: tuple[Constraint, ...]) -> Iterator[Violation]:
    for constraint in constraints:
        finding = constraint(case)
        if finding is not None:
            yield _violation(case.op, constraint, finding)


def _findings_until_first(case: Case) -> Iterator[Violation]:
    """Shapes are checked before what is computed from them; the first flaw hides the rest."""
    shapes = (constant_weights, weight_shape, two_operands, broadcast)
    for constraint in CONSTRAINTS.get(case.op.code, ()):
        finding = constraint(case)
        if finding is not None:
            yield _violation(case.op, constraint, finding)
            if constraint in shapes:
                return


def _violation(op: Operator, constraint: Constraint, finding: Finding) -> Violation:
    rule = (constraint.__doc__ or "").strip()
    return Violation(op.index, op.code, rule, finding.found, finding.allowed, finding.advice)


def _whole_model(model: Model) -> Iterator[Violation]:
    """Limits on the graph as a whole."""

    def broken(rule: str, found: Any, allowed: str, advice: str) -> Violation:
        return Violation(-1, "", rule, str(found), allowed, advice)

    if len(model.inputs) != 1:
        advice = "join the inputs into one tensor and slice it inside the model"
        yield broken("A model has one input.", f"{len(model.inputs)} inputs", "1", advice)
    if len(model.outputs) > MAX_OUTPUTS:
        found = f"{len(model.outputs)} outputs"
        yield broken("A model has at most 20 outputs.", found, "20", "join outputs")
    if any(model.producer(output) is None for output in model.outputs):
        found = "an output that is an input or a constant"
        yield broken("A model's outputs are computed.", found, "computed outputs", "drop it")
    if any(_batch(model, output) > 1 for output in model.outputs):
        advice = "go back from batches to space inside the model"
        yield broken("An output has batch 1.", "an output of several batches", "batch 1", advice)
    if not model.operators:
        yield broken("A model computes something.", "no operators", "at least 1", "convert again")
    source = model.tensors[model.inputs[0]]
    if source.dtype != "int8":
        found, advice = (
            f"{source.dtype} input",
            "convert with int8 input (full integer quantization)",
        )
        yield broken("The model's input is int8.", found, "int8", advice)
    if len(source.shape) > 1 and source.shape[0] != 1:
        yield broken(
            "The batch is 1.", f"batch {source.shape[0]}", "1", "convert with batch size 1"
        )


def _batch(model: Model, tensor: int) -> int:
    shape = model.tensors[model.root(tensor)].shape
    return shape[0] if len(shape) == 4 else 1


def notes(model: Model, options: CompileOptions) -> Iterator[str]:
    """What compiles, and yet deserves a second look."""
    for op in model.operators:
        case = Case(model, op, options)
        if case.int32_output and op.attributes.get("fused_activation_function") == "RELU6":
            yield f"{op}: nothing clamps its int32 output at 6, ReLU6 acts as ReLU there"
        if case.int32_output and op.code in _MOVES_CODES:
            yield f"{op}: its int32 output holds the int8 codes, not real units"
        limit = DOCUMENTED_VECTOR if op.code == "FULLY_CONNECTED" else DOCUMENTED_EXTENT
        for number in (*op.inputs[:1], *op.outputs[:1]):
            shape = model.tensors[number].shape
            if shape and max(shape) > limit:
                yield (
                    f"{op}: {max(shape)} elements a side is beyond the documented {limit}; "
                    "compiler 1.4.0 accepts it"
                )
                break
