"""What to change in a model to make it cheaper on the NPU, with what each change would save.

    for advice in advise(program):
        print(advice.text)       # "layer 4 conv2d: width 5 wastes 38 % of each row; ..."

Each piece of advice is a layer's shape changed on paper and costed again by `compiler.cycles`, so
savings are estimates of the same kind as the costs. Whether a change is legal or keeps the model's
accuracy is for its owner to judge, unless the advice says that it keeps the outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from compiler.arch import Arch, load_arch
from compiler.cycles import (
    GROUP,
    TILE,
    WORD,
    Broadcast,
    LayerShape,
    ceil_div,
    layer_parts,
    may_stall,
)
from compiler.ir import Activation, Axis, AxonProgram, Layer, Op
from compiler.shapes import layer_shape, program_shapes
from compiler.substitution import substitute

MIN_SHARE: Final = 0.005
"""Share of the model's cycles below which a saving is not worth a sentence."""
WASTE: Final = 0.2
"""Share of a padded row from which its padding is worth a sentence."""
NAMED_LAYERS: Final = 3
"""Layers with constant channels that are named; the others are counted."""

_WEIGHTED: Final = (Op.CONV2D, Op.DEPTHWISE_CONV2D, Op.POINTWISE_CONV2D, Op.FULLY_CONNECTED)
_MAPS: Final = (Op.CONV2D, Op.DEPTHWISE_CONV2D, Op.POINTWISE_CONV2D, Op.AVERAGE_POOL, Op.MAX_POOL)


@dataclass(frozen=True, slots=True)
class Advice:
    """One change worth thinking about.

    layer: index, or None for the whole model. kind: a stable word for the kind of change.
    text: one sentence naming the layer and the change. saved_cycles: estimated; 0 where the gain is
    not one of NPU cycles. keeps_outputs: whether the model computes the same values afterwards.
    """

    layer: int | None
    kind: str
    text: str
    saved_cycles: int
    keeps_outputs: bool = False


def advise(program: AxonProgram, arch: Arch | None = None) -> tuple[Advice, ...]:
    """Advice for a program, the largest saving first; warnings that save nothing come last."""
    arch = arch or load_arch()
    shapes = program_shapes(program)
    costs = [layer_parts(s, arch).cycles for s in shapes]
    total = sum(costs)
    found: list[Advice] = []
    found += _transpose_advice(shapes, costs, arch)
    found += _cheaper_layers(program, costs, arch)
    found += _constant_channels(program)
    for index, (s, cycles) in enumerate(zip(shapes, costs, strict=True)):
        for rule in _RULES:
            found += [
                advice
                for advice in rule(index, s, cycles, total, arch)
                if advice.saved_cycles == 0 or advice.saved_cycles >= MIN_SHARE * total
            ]
    return tuple(sorted(found, key=lambda advice: -advice.saved_cycles))


def transposed(s: LayerShape) -> LayerShape:
    """The shape with height and width exchanged. Vectors keep theirs, as do fully connected layers
    that read one; one that reads a map reads the transposed map."""
    if s.op is Op.FULLY_CONNECTED:
        return s if s.in_c == 1 else replace(s, in_h=s.in_w, in_w=s.in_h)
    turned = {int(Axis.HEIGHT): int(Axis.WIDTH), int(Axis.WIDTH): int(Axis.HEIGHT)}
    kinds = {Broadcast.ROW: Broadcast.COLUMN, Broadcast.COLUMN: Broadcast.ROW}
    if s.in_h == s.out_h == 1 and s.in_c == 1 and s.op not in _MAPS:
        return s
    return replace(
        s,
        in_h=s.in_w,
        in_w=s.in_h,
        out_h=s.out_w,
        out_w=s.out_h,
        kernel_h=s.kernel_w,
        kernel_w=s.kernel_h,
        stride_h=s.stride_w,
        stride_w=s.stride_h,
        pad_top=s.pad_left,
        pad_left=s.pad_top,
        dilation_h=s.dilation_w,
        dilation_w=s.dilation_h,
        parts=tuple((c, w, h) for c, h, w in s.parts),
        axis=turned.get(s.axis, s.axis),
        broadcast=kinds.get(s.broadcast, s.broadcast),
    )


def row_waste(width: int) -> float:
    """Share of a row in memory that is padding to whole words."""
    return 1.0 - width / (WORD * ceil_div(width, WORD))


def _name(index: int, s: LayerShape) -> str:
    return f"layer {index} {s.op.name.lower()}"


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "0 %"


def _transpose_advice(
    shapes: Sequence[LayerShape], costs: Sequence[float], arch: Arch
) -> Iterator[Advice]:
    """Transposing the whole model, named by the layer that gains most from it."""
    gains = [
        cost - layer_parts(transposed(s), arch).cycles
        for s, cost in zip(shapes, costs, strict=True)
    ]
    saved, total = sum(gains), sum(costs)
    if saved < MIN_SHARE * total:
        return
    best = max(range(len(gains)), key=gains.__getitem__)
    s = shapes[best]
    waste = row_waste(s.in_w)
    why = f"width {s.in_w} wastes {waste:.0%} of each row".replace("%", " %")
    if waste < WASTE:
        why = f"rows of {s.in_w} are short for a map {s.in_h} high"
    text = (
        f"{_name(best, s)}: {why}; transposing the model saves {_percent(saved, total)} "
        f"({round(saved)} cycles)"
    )
    reorders = any(s.op is Op.RESHAPE for s in shapes)  # a reshape moves other values when turned
    yield Advice(best, "transpose", text, round(saved), keeps_outputs=not reorders)


def _cheaper_layers(program: AxonProgram, costs: Sequence[float], arch: Arch) -> Iterator[Advice]:
    """The layers that `CompileOptions.cheaper_layers` replaces."""
    changed, total = substitute(program, arch), sum(costs)
    for index, (before, after) in enumerate(zip(program.layers, changed.layers, strict=True)):
        saved = round(costs[index] - layer_parts(layer_shape(changed, index), arch).cycles)
        if after is before or saved < MIN_SHARE * total:
            continue
        how = "with its repeated constant written out in full"
        if after.op is not before.op:
            how = f"as {after.op.name.lower()}"
        text = (
            f"layer {index} {before.op.name.lower()}: {how} it saves "
            f"{_percent(saved, total)} ({saved} cycles); compile with --cheaper-layers"
        )
        yield Advice(index, "cheaper-layer", text, saved, keeps_outputs=True)


def _constant_channels(program: AxonProgram) -> Iterator[Advice]:
    """Channels that requantization multiplies by 0: one sentence for the whole model."""
    constant = [_zero_multipliers(layer) for layer in program.layers]
    worst = sorted(
        (i for i, zeros in enumerate(constant) if any(zeros)), key=lambda i: -sum(constant[i])
    )
    if not worst:
        return
    named = [
        f"{sum(constant[i])} of {len(constant[i])} channels of layer {i}"
        for i in worst[:NAMED_LAYERS]
    ]
    others = worst[NAMED_LAYERS:]
    if others:
        rest, plural = sum(sum(constant[i]) for i in others), "s" if len(others) > 1 else ""
        named.append(f"and {rest} in {len(others)} more layer{plural}")
    text = f"{', '.join(named)} have a multiplier of 0: their outputs are constant"
    yield Advice(worst[0], "constant-channels", text, 0)


def _zero_multipliers(layer: Layer) -> list[bool]:
    """For each output channel of a layer with weights, whether its multiplier is 0."""
    if layer.op not in _WEIGHTED or layer.filter is None or layer.multipliers is None:
        return []
    per_channel = 2 if layer.activation is Activation.LEAKY_RELU else 1
    zeros = np.all(layer.multipliers.reshape(-1, per_channel) == 0, axis=1)
    return [bool(zero) for zero in np.broadcast_to(zeros, len(layer.filter))]


def _saving(
    index: int, s: LayerShape, change: LayerShape, arch: Arch, cycles: float
) -> tuple[str, int]:
    """(the layer's name, cycles saved) when the shape becomes `change`."""
    return _name(index, s), round(cycles - layer_parts(change, arch).cycles)


def _kernel_tiles(
    index: int, s: LayerShape, cycles: float, total: float, arch: Arch
) -> Iterator[Advice]:
    """A kernel that begins a tile of the array without filling it."""
    if s.op not in (Op.CONV2D, Op.DEPTHWISE_CONV2D) or s.dilated or s.single_plane:
        return
    high, wide = _trimmed(s.kernel_h), _trimmed(s.kernel_w)
    if (high, wide) == (s.kernel_h, s.kernel_w):
        return
    smaller = replace(
        s,
        kernel_h=high,
        kernel_w=wide,
        pad_top=min(s.pad_top, high - 1),
        pad_left=min(s.pad_left, wide - 1),
    )
    name, saved = _saving(index, s, smaller, arch, cycles)
    tiles = ceil_div(s.kernel_h, TILE) * ceil_div(s.kernel_w, TILE)
    text = (
        f"{name}: a {s.kernel_h}x{s.kernel_w} kernel takes {tiles} tiles of 3x3; {high}x{wide} "
        f"saves {_percent(saved, total)} ({saved} cycles)"
    )
    yield Advice(index, "kernel", text, max(saved, 0))


def _trimmed(extent: int) -> int:
    """The kernel extent without a tile that is begun and not filled; 1 and 2 stay."""
    return extent - extent % TILE if extent > TILE else extent


def _channel_groups(
    index: int, s: LayerShape, cycles: float, total: float, arch: Arch
) -> Iterator[Advice]:
    """Pointwise input channels just above a multiple of six."""
    rest = s.in_c % GROUP
    if s.op is not Op.POINTWISE_CONV2D or s.in_c <= GROUP or not 0 < rest <= 2:
        return
    if s.in_h == s.in_w == 1:
        return
    name, saved = _saving(index, s, replace(s, in_c=s.in_c - rest), arch, cycles)
    text = (
        f"{name}: {s.in_c} input channels take {ceil_div(s.in_c, GROUP)} passes of six, the last "
        f"for {rest}; {s.in_c - rest} channels save {_percent(saved, total)} ({saved} cycles)"
    )
    yield Advice(index, "channels", text, max(saved, 0))


def _strips(index: int, s: LayerShape, cycles: float, total: float, arch: Arch) -> Iterator[Advice]:
    """A convolution that just needs one more strip."""
    if s.op is not Op.CONV2D or s.single_plane:
        return
    width = s.out_w + s.out_w % 2
    height = arch.geometry.partial_sums // width
    if height < 1 or not 0 < s.out_h % height <= max(1, height // 8) or s.out_h < height:
        return
    shorter = s.out_h - s.out_h % height
    change = replace(s, out_h=shorter, in_h=s.in_h - (s.out_h - shorter) * s.stride_h)
    name, saved = _saving(index, s, change, arch, cycles)
    text = (
        f"{name}: {s.out_h} output rows of {s.out_w} take {ceil_div(s.out_h, height)} strips of "
        f"{height}; {shorter} rows save {_percent(saved, total)} ({saved} cycles)"
    )
    yield Advice(index, "strips", text, max(saved, 0))


def _shifts(index: int, s: LayerShape, cycles: float, total: float, arch: Arch) -> Iterator[Advice]:
    """A fully connected layer whose outputs have a scale each."""
    if s.op is not Op.FULLY_CONNECTED or not s.per_channel or s.out_w * s.out_c < 2:
        return
    change = replace(s, per_channel=False, mixed_shifts=False)
    name, saved = _saving(index, s, change, arch, cycles)
    text = (
        f"{name}: per-channel weights run one output at a time; quantizing them per tensor saves "
        f"{_percent(saved, total)} ({saved} cycles)"
    )
    yield Advice(index, "per-tensor", text, max(saved, 0))


def _repacking(
    index: int, s: LayerShape, cycles: float, total: float, arch: Arch
) -> Iterator[Advice]:
    """A fully connected layer that reads a map of width 1, which has to be packed first."""
    values = s.in_h * s.in_c
    if s.op is not Op.FULLY_CONNECTED or s.in_w != 1 or s.in_c == 1:
        return
    name, saved = _saving(index, s, replace(s, in_h=1, in_w=values, in_c=1), arch, cycles)
    text = (
        f"{name}: a map of width 1 is packed before it is read; a pointwise convolution in its "
        f"place, or a wider map, saves up to {_percent(saved, total)} ({saved} cycles)"
    )
    yield Advice(index, "repack", text, max(saved, 0))


def _spreading(
    index: int, s: LayerShape, cycles: float, total: float, arch: Arch
) -> Iterator[Advice]:
    """A computed operand repeated along rows, which costs a command or more per row; a constant
    one is `_cheaper_layers`' business."""
    if s.constant or s.broadcast not in (Broadcast.ROW, Broadcast.COLUMN):
        return
    name, saved = _saving(index, s, replace(s, broadcast=Broadcast.FULL), arch, cycles)
    what = "every row" if s.broadcast is Broadcast.ROW else "every column"
    text = (
        f"{name}: an operand repeated over {what} costs commands per row; a whole operand saves "
        f"{_percent(saved, total)} ({saved} cycles)"
    )
    yield Advice(index, "broadcast", text, max(saved, 0))


def _cpu_layers(
    index: int, s: LayerShape, cycles: float, total: float, arch: Arch
) -> Iterator[Advice]:
    """An operator that leaves the NPU."""
    del cycles, total, arch
    if s.op.on_cpu and s.op is not Op.SOFTMAX:
        text = f"{_name(index, s)}: runs on the CPU, and the NPU waits for it"
        yield Advice(index, "cpu", text, 0)


def _stalling(
    index: int, s: LayerShape, cycles: float, total: float, arch: Arch
) -> Iterator[Advice]:
    """A layer whose recorded cost explodes."""
    del cycles, total, arch
    if may_stall(s):
        text = (
            f"{_name(index, s)}: a kernel {s.kernel_w} wide on a map {s.in_w} wide stalls in the "
            "vendor's simulator for 65,536 cycles per plane or more; cut the kernel's columns that "
            "only meet padding"
        )
        yield Advice(index, "stall", text, 0)


Rule = Callable[[int, LayerShape, float, float, Arch], Iterator[Advice]]

_RULES: Final[tuple[Rule, ...]] = (
    _kernel_tiles,
    _channel_groups,
    _strips,
    _shifts,
    _repacking,
    _spreading,
    _cpu_layers,
    _stalling,
)
