"""Random layers through Nordic's simulator beside the cycle model: a test set it was not made from.

    SDK_EDGE_AI_PATH=... python benchmarks/draw_cycles.py [--seed N] [--layers N] [--operator NAME]

Each draw is a small program: 1x1 convolutions that produce the operands, then one layer. Its cost
is the ticks with the layer less the ticks without it. The same seed draws the same layers for an
operator, whichever others are drawn. Layers that the code generator refuses, or that its simulator
counts as nothing, are counted and left out, as are those that the model flags as stalling. Outputs
of 32 bits have a line of their own.
"""

from __future__ import annotations

import argparse
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

ROOT: Final = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from compiler import (  # noqa: E402  # needs the path above
    EXTERNAL_INPUT,
    AxonProgram,
    CompileOptions,
    Dims,
    Layer,
    LayerInput,
    Op,
    Pads,
    Quantization,
    UnsupportedError,
)
from compiler.arch import Arch, load_arch  # noqa: E402
from compiler.cycles import LayerShape, layer_parts, may_stall  # noqa: E402
from compiler.ir import Activation, Axis, IntArray  # noqa: E402
from compiler.shapes import layer_shape  # noqa: E402
from harness.compiled import Source, gather  # noqa: E402
from harness.errors import HarnessError  # noqa: E402
from harness.vendor.codegen import generate  # noqa: E402
from harness.vendor.sdk import Sdk, find_sdk  # noqa: E402

MOST_BYTES: Final = 60_000
"""Of a layer's input or output, so that everything fits the interlayer buffer."""
MOST_MACS: Final = 3_000_000
WIDE_CHANCE: Final = 0.2
"""Of a 32-bit output, where the operator has one."""
_NONE: Final = Quantization(1, 0, 0)
_Q3_12: Final = 12


@dataclass(slots=True)
class Draft:
    """A program under construction, and where its chance comes from."""

    random: np.random.Generator
    layers: list[Layer]

    def extent(self, most: int, least: int = 1) -> int:
        """Small extents as likely as large ones: uniform in the logarithm."""
        return int(np.exp(self.random.uniform(np.log(least), np.log(most + 1))))

    def number(self, low: int, high: int) -> int:
        """From low to high, both included."""
        return int(self.random.integers(low, high + 1))

    def chance(self, probability: float) -> bool:
        """Whether something happens that has this probability."""
        return bool(self.random.random() < probability)

    def width(self) -> int:
        """Bytes of an output value."""
        return 4 if self.chance(WIDE_CHANCE) else 1

    def zero_point(self) -> int:
        """Of a tensor; 0 now and then."""
        return 0 if self.chance(0.1) else self.number(-128, 127)

    def map(self, channels: int = 128, side: int = 64) -> Dims:
        """The extent of a map that fits."""
        while True:
            dims = Dims(self.extent(side), self.extent(side), self.extent(channels))
            if dims.channels * dims.height * (dims.width + 3) <= MOST_BYTES:
                return dims

    def produce(self, dims: Dims) -> LayerInput:
        """A layer whose output has this extent."""
        one = LayerInput(EXTERNAL_INPUT, Dims(dims.height, dims.width, 1))
        weights = np.ones((dims.channels, 1, 1, 1), np.int8)
        layer = Layer(Op.CONV2D, (one,), dims, Dims(1, 1, 1, 1, 0), 1, 1, 1, 1, filter=weights)
        self.layers.append(self.requantized(layer, dims.channels, dims.channels))
        return LayerInput(len(self.layers) - 1, dims)

    def reduce(self, operand: LayerInput, dims: Dims) -> LayerInput:
        """A mean of the operand over what is 1 in `dims`."""
        source = operand.dims
        kernel = (source.height // dims.height, source.width // dims.width)
        layer = Layer(Op.MEAN, (operand,), dims, Dims(*kernel, 1, 1, 0), kernel[1], kernel[0])
        self.layers.append(self.requantized(layer, 1))
        return LayerInput(len(self.layers) - 1, dims)

    def cut(self, operand: LayerInput, dims: Dims) -> LayerInput:
        """The first values of the operand, in a tensor of their own."""
        table = np.array([0, 0, 0, *dims.shape, 1, 1, 1], np.int32)
        layer = Layer(Op.STRIDED_SLICE, (operand,), dims, Dims(1, 9, 1, 4, 0), filter=table)
        self.layers.append(replace(self.requantized(layer, 1), bias=None))
        return LayerInput(len(self.layers) - 1, dims)

    def requantized(self, layer: Layer, outputs: int, factors: int = 1) -> Layer:
        """With a bias per output and `factors` multipliers."""
        source = layer.inputs[0].producer
        known = source != EXTERNAL_INPUT
        return replace(
            layer,
            bias=np.zeros(outputs, np.int32),
            multipliers=np.full(factors, 1 << 20, np.int32),
            shifts=np.array([28], np.int8),
            input_zero_point=self.layers[source].output_zero_point if known else 0,
            output_zero_point=self.zero_point() if layer.output_dims.byte_width == 1 else 0,
        )

    def mixed_shifts(self, layer: Layer, outputs: int) -> Layer:
        """With a shift per channel, not all the same."""
        shifts = self.random.integers(24, 29, outputs).astype(np.int8)
        shifts[0] = 29
        return replace(layer, multipliers=np.full(outputs, 1 << 20, np.int32), shifts=shifts)


def _side(draft: Draft, size: int, kernel: int, stride: int) -> tuple[int, int, int] | None:
    """(outputs, padding before, padding behind) of one side, or None when the kernel is too big."""
    if draft.chance(0.5):
        outputs = -(-size // stride)
        total = max(0, (outputs - 1) * stride + kernel - size)
        return outputs, total // 2, total - total // 2
    if kernel > size:
        return None
    return (size - kernel) // stride + 1, 0, 0


def _window(
    draft: Draft, source: Dims, kernel: tuple[int, int], stride: tuple[int, int]
) -> tuple[Dims, Pads] | None:
    rows = _side(draft, source.height, kernel[0], stride[0])
    columns = _side(draft, source.width, kernel[1], stride[1])
    if rows is None or columns is None:
        return None
    pads = Pads(top=rows[1], bottom=rows[2], left=columns[1], right=columns[2])
    return Dims(rows[0], columns[0], source.channels), pads


def _strides(draft: Draft, most: int) -> tuple[int, int]:
    if draft.chance(0.5):
        return 1, 1
    both = draft.number(2, most)
    return (both, both) if draft.chance(0.7) else (draft.number(1, most), draft.number(1, most))


def _convolution(draft: Draft) -> Layer | None:
    source = draft.map(48)
    kernel = (draft.number(1, 7), draft.number(1, 7))
    if draft.chance(0.5):
        kernel = (3, 3) if draft.chance(0.6) else (kernel[0], kernel[0])
    stride = _strides(draft, 3)
    found = _window(draft, source, kernel, stride)
    if found is None:
        return None
    out = replace(found[0], channels=draft.extent(64), byte_width=draft.width())
    macs = out.elements * kernel[0] * kernel[1] * source.channels
    if macs > MOST_MACS or kernel == (1, 1):
        return None
    weights = np.ones((out.channels, source.channels, *kernel), np.int8)
    return _convolved(draft, Op.CONV2D, source, out, weights, stride, found[1])


def _depthwise(draft: Draft) -> Layer | None:
    source = draft.map()
    kernel = (draft.number(1, 7), draft.number(1, 7))
    if draft.chance(0.5):
        kernel = (3, 3) if draft.chance(0.6) else (kernel[0], kernel[0])
    stride = _strides(draft, 4)
    found = _window(draft, source, kernel, stride)
    if found is None:
        return None
    out = replace(found[0], byte_width=draft.width())
    weights = np.ones((source.channels, *kernel), np.int8)
    return _convolved(draft, Op.DEPTHWISE_CONV2D, source, out, weights, stride, found[1])


def _pointwise(draft: Draft) -> Layer | None:
    source = draft.map(256)
    stride = _strides(draft, 2)
    out = Dims(
        -(-source.height // stride[0]),
        -(-source.width // stride[1]),
        draft.extent(256),
        draft.width(),
    )
    if out.elements * source.channels > MOST_MACS:
        return None
    weights = np.ones((out.channels, source.channels, 1, 1), np.int8)
    return _convolved(draft, Op.POINTWISE_CONV2D, source, out, weights, stride, Pads())


def _convolved(
    draft: Draft,
    op: Op,
    source: Dims,
    out: Dims,
    weights: IntArray,
    stride: tuple[int, int],
    pads: Pads,
) -> Layer | None:
    if out.elements * out.byte_width > MOST_BYTES:
        return None
    layer = Layer(
        op,
        (draft.produce(source),),
        out,
        Dims(weights.shape[-2], weights.shape[-1], source.channels, 1, 0),
        stride[1],
        stride[0],
        1,
        1,
        pads,
        activation=Activation.RELU if draft.chance(0.5) else Activation.NONE,
        filter=weights,
    )
    layer = draft.requantized(layer, out.channels, out.channels)
    mixed = out.channels > 1 and draft.chance(0.15)
    return draft.mixed_shifts(layer, out.channels) if mixed else layer


def _fully_connected(draft: Draft) -> Layer | None:
    vector = draft.chance(0.6)
    source = Dims(1, draft.extent(1020), 1) if vector else draft.map(64, 12)
    outputs, inputs = draft.extent(512), source.elements
    if inputs * outputs > 300_000 or inputs > 2000:
        return None
    operand = replace(draft.produce(source), dims=Dims(1, inputs, 1))
    layer = Layer(
        Op.FULLY_CONNECTED,
        (operand,),
        Dims(1, outputs, 1, draft.width()),
        Dims(outputs, inputs, 1, 1, 0),
        activation=Activation.RELU if draft.chance(0.4) else Activation.NONE,
        filter=np.ones((outputs, inputs), np.int8),
    )
    layer = draft.requantized(layer, outputs)
    return draft.mixed_shifts(layer, outputs) if outputs > 1 and draft.chance(0.2) else layer


def _pool(op: Op) -> Callable[[Draft], Layer | None]:
    def draw(draft: Draft) -> Layer | None:
        source = draft.map()
        kernel = (draft.number(1, 5), draft.number(1, 5))
        if draft.chance(0.6):
            kernel = (kernel[0], kernel[0])
        stride = kernel if draft.chance(0.6) else _strides(draft, 3)
        if kernel[0] > source.height or kernel[1] > source.width:
            return None
        rows, columns = (
            (size - k) // s + 1
            for size, k, s in zip((source.height, source.width), kernel, stride, strict=True)
        )
        width = draft.width() if op is Op.MAX_POOL else 1
        out = Dims(rows, columns, source.channels, width)
        if out.elements * out.byte_width > MOST_BYTES or kernel == (1, 1):
            return None
        window = Dims(*kernel, 0, 1, 0)
        layer = Layer(op, (draft.produce(source),), out, window, stride[1], stride[0])
        return draft.requantized(layer, 1)

    return draw


def _mean(draft: Draft) -> Layer:
    source = draft.map()
    high, wide = ((True, True), (True, False), (False, True))[draft.number(0, 2)]
    kernel = (source.height if high else 1, source.width if wide else 1)
    out = Dims(source.height // kernel[0], source.width // kernel[1], source.channels)
    window = Dims(*kernel, 1, 1, 0)
    layer = Layer(Op.MEAN, (draft.produce(source),), out, window, kernel[1], kernel[0])
    return draft.requantized(layer, 1)


def _pairwise(op: Op) -> Callable[[Draft], Layer]:
    def draw(draft: Draft) -> Layer:
        dims = draft.map()
        constant = draft.chance(0.4)
        kind = draft.number(0, 3) if constant else 0 if draft.chance(0.6) else draft.number(1, 3)
        second = (
            dims,
            Dims(1, 1, dims.channels),
            Dims(1, dims.width, dims.channels),
            Dims(dims.height, 1, dims.channels),
        )[kind]
        weights = np.ones(second.shape, np.int8) if constant else None
        operands = [draft.produce(dims)]
        if not constant and second == dims:
            operands.insert(0, draft.produce(second))
        elif not constant:
            operands.insert(0, draft.reduce(operands[0], second))
        factors = 2 if op is Op.ADD else 1
        window = replace(second, batch=0)
        layer = Layer(op, tuple(operands), dims, window, filter=weights)
        return draft.requantized(layer, 1, factors)

    return draw


def _concatenate(draft: Draft) -> Layer:
    source, axis = draft.map(64, 32), Axis(draft.number(0, 2))
    shape, other = list(source.shape), list(source.shape)
    other[axis] = draft.number(1, other[axis])
    shape[axis] += other[axis]
    first = draft.produce(source)
    operands = [first, draft.cut(first, Dims(other[1], other[2], other[0]))]
    out = Dims(shape[1], shape[2], shape[0])
    return replace(
        draft.requantized(Layer(Op.CONCATENATE, tuple(operands), out), 1),
        bias=None,
        concat_axis=int(axis),
    )


def _slice(draft: Draft) -> Layer:
    source = draft.map(64)
    begin = [draft.number(0, extent - 1) for extent in source.shape]
    end = [draft.number(b + 1, n) for b, n in zip(begin, source.shape, strict=True)]
    step = [draft.number(1, 3) if draft.chance(0.3) else 1 for _ in begin]
    shape = [-(-(e - b) // s) for b, e, s in zip(begin, end, step, strict=True)]
    table = np.array([*begin, *end, *step], np.int32)
    out, window = Dims(shape[1], shape[2], shape[0]), Dims(1, 9, 1, 4, 0)
    layer = Layer(Op.STRIDED_SLICE, (draft.produce(source),), out, window, filter=table)
    return replace(draft.requantized(layer, 1), bias=None)


def _channel_pad(draft: Draft) -> Layer:
    source = draft.map(64)
    front, behind = draft.number(0, 16), draft.number(0, 16)
    behind = behind or int(front == 0)
    out = replace(source, channels=source.channels + front + behind)
    pads, window = Pads(top=front, bottom=behind), Dims(4, 2, 1, 1, 0)
    layer = Layer(Op.CHANNEL_PAD, (draft.produce(source),), out, window, pads=pads)
    return replace(draft.requantized(layer, 1), bias=None)


def _conversion(op: Op) -> Callable[[Draft], Layer]:
    """A sigmoid or tanh behind a producer whose stored scale is not q3.12."""

    def draw(draft: Draft) -> Layer:
        dims = replace(draft.map(16), byte_width=2)
        if dims.elements * 2 > MOST_BYTES // 2:
            dims = replace(dims, channels=1)
        operand = draft.produce(dims)
        draft.layers[-1] = replace(
            draft.layers[-1], output_multiplier=3 << _Q3_12, output_shift=_Q3_12
        )
        layer = Layer(op, (operand,), replace(dims, byte_width=1), output_zero_point=-128)
        return replace(draft.requantized(layer, 1), bias=None)

    return draw


DRAWS: Final[dict[str, Callable[[Draft], Layer | None]]] = {
    "conv": _convolution,
    "dw": _depthwise,
    "pw": _pointwise,
    "fc": _fully_connected,
    "avg": _pool(Op.AVERAGE_POOL),
    "max": _pool(Op.MAX_POOL),
    "mean": _mean,
    "add": _pairwise(Op.ADD),
    "mul": _pairwise(Op.MULTIPLY),
    "concat": _concatenate,
    "slice": _slice,
    "cpad": _channel_pad,
    "sigmoid": _conversion(Op.SIGMOID),
}


@dataclass(frozen=True, slots=True)
class Drawn:
    """A drawn layer: its shape, and what it costs in Nordic's simulator."""

    shape: LayerShape
    cycles: int

    def error(self, arch: Arch) -> float:
        """predicted / counted - 1."""
        return layer_parts(self.shape, arch).cycles / self.cycles - 1.0

    def __str__(self) -> str:
        s = self.shape
        return (
            f"{s.in_h}x{s.in_w}x{s.in_c} kernel {s.kernel_h}x{s.kernel_w} stride "
            f"{s.stride_h},{s.stride_w} pad {s.pad_top},{s.pad_left} out "
            f"{s.out_h}x{s.out_w}x{s.out_c} {s.out_bytes} byte {s.broadcast.value}"
            f"{' mixed shifts' * s.mixed_shifts}: {self.cycles} cycles"
        )


def programs(operator: str, seed: int) -> Iterator[AxonProgram]:
    """Without end: programs whose last layer is of this operator."""
    random = np.random.default_rng((seed, zlib.crc32(operator.encode())))
    while True:
        draft = Draft(random, [])
        layer = DRAWS[operator](draft)
        if layer is not None:
            yield AxonProgram("drawn", (*draft.layers, layer), _NONE, _NONE)


def ticks(program: AxonProgram, sdk: Sdk) -> int:
    """Cycles of one inference in Nordic's simulator. Raises UnsupportedError when it refuses."""
    options = CompileOptions(name=program.name)
    return generate(gather(program.name, program, options, Source("", b"")), sdk).ticks


def measure(operator: str, seed: int, count: int, sdk: Sdk) -> tuple[list[Drawn], int, int]:
    """`count` layers, and how many others were refused and flagged as stalling."""
    drawn: list[Drawn] = []
    refused = stalling = 0
    for program in programs(operator, seed):
        shape = layer_shape(program, len(program.layers) - 1)
        if may_stall(shape):
            stalling += 1
            continue
        try:
            whole = ticks(program, sdk)
            rest = ticks(replace(program, layers=program.layers[:-1]), sdk)
        except UnsupportedError:
            whole = rest = 0
        if whole <= rest:
            refused += 1
            continue
        drawn.append(Drawn(shape, whole - rest))
        if len(drawn) == count:
            break
    return drawn, refused, stalling


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw, measure, and print one line per operator and its worst layers."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--layers", type=int, default=80, help="per operator")
    parser.add_argument("--operator", choices=DRAWS, action="append", help="all by default")
    parser.add_argument("--worst", type=int, default=1, help="layers to name per operator")
    options = parser.parse_args(arguments)
    try:
        sdk = find_sdk()
    except HarnessError as error:
        print(f"skipped: {error}", file=sys.stderr)
        return 0
    print("           layers  median %   p95 %  worst %")
    for operator in options.operator or DRAWS:
        drawn, refused, stalling = measure(operator, options.seed, options.layers, sdk)
        print(f"{operator:10} {refused} refused, {stalling} flagged as stalling")
        for width in (1, 4):
            mine = [item for item in drawn if item.shape.out_bytes == width]
            if mine:
                _report(f"  {8 * width} bits", mine, options.worst)
    return 0


def _report(name: str, drawn: list[Drawn], worst: int) -> None:
    arch = load_arch()
    errors = np.array([item.error(arch) * 100 for item in drawn])
    size = np.abs(errors)
    print(
        f"{name:10} {len(drawn):6} {np.median(size):9.2f} {np.percentile(size, 95):7.2f} "
        f"{size.max():8.1f}"
    )
    for index in np.argsort(-size)[:worst]:
        print(f"    {errors[index]:+6.1f} %  {drawn[index]}")


if __name__ == "__main__":
    raise SystemExit(main())
