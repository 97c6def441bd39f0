"""The Axon program: what Nordic's code generator takes, as frozen Python data.

The fields mirror the Axon binary one to one (docs/axon-binary.md), so `encode(decode(b)) == b`.
Tensors on the device are [channel][height][width]. Arrays held by a program are read-only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from enum import IntEnum
from typing import Final

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.integer]

EXTERNAL_INPUT: Final = -1
"""`LayerInput.producer` of the model's own input."""


class Op(IntEnum):
    """Layer operations; values as in the binary. 100 and above run on the CPU."""

    FULLY_CONNECTED = 0
    CONV2D = 1
    DEPTHWISE_CONV2D = 2
    POINTWISE_CONV2D = 3
    AVERAGE_POOL = 4
    MAX_POOL = 5
    ADD = 6
    CHANNEL_PAD = 7
    PERSISTENT_VARIABLE = 8
    CONCATENATE = 9
    STRIDED_SLICE = 10
    MULTIPLY = 11
    LSTM = 12
    MEAN = 13
    SOFTMAX = 100
    SIGMOID = 101
    TANH = 102
    RESHAPE = 103
    SPACE_TO_BATCH = 104
    BATCH_TO_SPACE = 105
    RESIZE_NEAREST = 106

    @property
    def on_cpu(self) -> bool:
        """Whether the host CPU, not the NPU, executes the layer."""
        return self >= Op.SOFTMAX


class Activation(IntEnum):
    """What happens to an accumulator besides requantization; values as in the binary."""

    NONE = 0
    RELU = 1
    PREPARE_SOFTMAX = 2
    LEAKY_RELU = 3


class Axis(IntEnum):
    """Axis codes of concatenation and split; values as in the binary."""

    CHANNEL = 0
    HEIGHT = 1
    WIDTH = 2


@dataclass(frozen=True, slots=True)
class Dims:
    """Extent of a tensor or filter. `byte_width` is bytes per element (1, 2 or 4)."""

    height: int
    width: int
    channels: int
    byte_width: int = 1
    batch: int = 1

    @property
    def elements(self) -> int:
        """Elements of all batches, without row padding."""
        return self.batch * self.channels * self.height * self.width

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        return (self.channels, self.height, self.width)


@dataclass(frozen=True, slots=True)
class LayerInput:
    """One operand: the index of its producing layer, its extent, and where a split starts in it."""

    producer: int
    dims: Dims
    split_axis: int = 0
    split_offset: int = 0


@dataclass(frozen=True, slots=True)
class Pads:
    """Padding in elements. For `CHANNEL_PAD`, top and bottom are front and back channels."""

    left: int = 0
    right: int = 0
    top: int = 0
    bottom: int = 0


@dataclass(frozen=True, slots=True)
class Quantization:
    """At the input: quantized = real * multiplier / 2**shift + zero_point.
    At the output: real = (quantized - zero_point) * multiplier / 2**shift."""

    multiplier: int
    shift: int
    zero_point: int

    @property
    def factor(self) -> float:
        """multiplier / 2**shift."""
        return float(self.multiplier) / float(1 << self.shift)


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """One operation of the program.

    filter_dims: filter extent as (height, width, input channels); other operations use it as the
        binary does (block shape, reduced extent, parameter count).
    filter: int8 weights ([out][in][h][w], depthwise [c][h][w], fully connected [out][in], constant
        operand [c][h][w]), or int32[9] begin, end, stride of a strided slice; None when absent.
    bias: int32, the bias with the input zero point folded in ("bias prime"); None when absent.
    multipliers, shifts: requantization, int32 and int8; one common shift or one per output channel.
    output_scale: the real value of one step of the output, as multiplier and shift.
    cpu_attributes: int32 parameters of operations that run on the CPU.
    """

    op: Op
    inputs: tuple[LayerInput, ...]
    output_dims: Dims
    filter_dims: Dims = Dims(0, 0, 0, 1, 0)
    stride_x: int = 0
    stride_y: int = 0
    dilation_x: int = 0
    dilation_y: int = 0
    pads: Pads = Pads()
    concat_axis: int = 0
    input_zero_point: int = 0
    output_zero_point: int = 0
    output_multiplier: int = 0
    output_shift: int = 0
    activation: Activation = Activation.NONE
    filter: IntArray | None = None
    bias: IntArray | None = None
    multipliers: IntArray | None = None
    shifts: IntArray | None = None
    cpu_attributes: IntArray | None = None

    def __post_init__(self) -> None:
        for array in (self.filter, self.bias, self.multipliers, self.shifts, self.cpu_attributes):
            if array is not None:
                array.setflags(write=False)


@dataclass(frozen=True, slots=True)
class Options:
    """Limits and switches that travel in the binary. Sizes in bytes."""

    interlayer_limit: int = 125_000
    psum_limit: int = 0
    test_vector_count: int = 0
    conv2d_setting: int = 0
    log_level: int = 10
    psum_placement: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class AxonProgram:
    """A whole model for the NPU. Layers are in execution order; the last is the main output."""

    name: str
    layers: tuple[Layer, ...]
    input_quantization: Quantization
    output_dequantization: Quantization
    labels: tuple[str, ...] = ()
    options: Options = field(default=Options())

    @property
    def input_dims(self) -> Dims:
        """Extent of the external input."""
        for layer in self.layers:
            for operand in layer.inputs:
                if operand.producer == EXTERNAL_INPUT:
                    return operand.dims
        return self.layers[0].inputs[0].dims

    @property
    def output_layers(self) -> tuple[int, ...]:
        """Indices of the layers that no other layer reads, in program order."""
        read = {operand.producer for layer in self.layers for operand in layer.inputs}
        return tuple(i for i in range(len(self.layers)) if i not in read)


def differences(left: AxonProgram, right: AxonProgram) -> Iterator[str]:
    """One line per field or array in which two programs differ; nothing when they are equal."""
    for name in ("name", "labels", "input_quantization", "output_dequantization", "options"):
        if getattr(left, name) != getattr(right, name):
            yield f"{name}: {getattr(left, name)} != {getattr(right, name)}"
    if len(left.layers) != len(right.layers):
        yield f"layer count: {len(left.layers)} != {len(right.layers)}"
    for index, (a, b) in enumerate(zip(left.layers, right.layers, strict=False)):
        for item in fields(Layer):
            x, y = getattr(a, item.name), getattr(b, item.name)
            if isinstance(x, np.ndarray) or isinstance(y, np.ndarray):
                if x is None or y is None or not np.array_equal(np.ravel(x), np.ravel(y)):
                    yield f"layer {index} {a.op.name}.{item.name}: arrays differ"
            elif x != y:
                yield f"layer {index} {a.op.name}.{item.name}: {x} != {y}"
