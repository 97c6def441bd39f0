"""What a program needs in memory, and where its tensors live in the interlayer buffer.

    plan(program)                 each tensor's offset, size, and first and last layer
    footprint(program)            interlayer, psum, constants, commands, persistent variables: bytes

The allocation is the vendor's code generator's, read off the addresses that it prints: tensors are
placed at the lowest free address; the rows of a tensor are padded to 32 bits, the external input is
packed; some operators may write over their input. docs/cycle-model.md has the rules and what they
were checked on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from compiler.arch import Arch, CommandCosts, load_arch
from compiler.cycles import (
    WORD,
    Broadcast,
    LayerShape,
    ceil_div,
    fc_words,
    npu_runs,
    pointwise_tiles,
    strips,
    words,
)
from compiler.errors import CompilerError
from compiler.ir import EXTERNAL_INPUT, Activation, AxonProgram, Dims, Op
from compiler.shapes import program_shapes

SCRATCH: Final = "scratch"
TENSOR: Final = "tensor"
INPUT: Final = "input"


@dataclass(frozen=True, slots=True)
class Slot:
    """A stretch of the interlayer buffer that is in use from one layer to another, inclusive.

    layer: the layer that writes it; -1 for the external input. kind: "input", "tensor" (a layer's
    output) or "scratch" (a layer's own working memory). Offset and size in bytes.
    """

    layer: int
    kind: str
    offset: int
    size: int
    first_layer: int
    last_layer: int


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Where everything lives. `uncertain` names the layers whose working memory is not known
    exactly; when there are any, `interlayer_bytes` is an estimate and the bound is an upper one."""

    slots: tuple[Slot, ...]
    interlayer_bytes: int
    bound_bytes: int
    uncertain: tuple[int, ...] = ()

    @property
    def exact(self) -> bool:
        """Whether the size follows the vendor's rules throughout."""
        return not self.uncertain


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes that a program needs, in the vendor's categories.

    command_bytes: estimated, as on the chip; the vendor's library reports twice as many, because
    it counts the words of its 64-bit host.
    """

    interlayer_bytes: int
    psum_bytes: int
    constant_bytes: int
    command_bytes: int
    persistent_bytes: int
    interlayer_exact: bool


def round_up(size: int) -> int:
    """`size`, padded to whole words."""
    return words(size) * WORD


def tensor_bytes(dims: Dims, *, packed: bool = False) -> int:
    """Bytes of a tensor in the interlayer buffer: rows padded to words, or packed throughout."""
    if packed:
        return round_up(dims.elements * dims.byte_width)
    return dims.batch * dims.channels * dims.height * round_up(dims.width * dims.byte_width)


@dataclass(slots=True)
class _Buffer:
    """Live stretches of the buffer while a program is walked."""

    live: dict[int, tuple[int, int]] = field(default_factory=dict)
    top: int = 0

    def fits(self, offset: int, size: int, without: int | None = None) -> bool:
        """Whether [offset, offset + size) meets no live stretch, one of them left out."""
        return all(
            offset + size <= start or end <= offset
            for key, (start, end) in self.live.items()
            if key != without
        )

    def first_fit(self, size: int) -> int:
        """The lowest address where `size` bytes are free."""
        ends = [0, *(end for _, end in self.live.values())]
        return min(offset for offset in ends if self.fits(offset, size))

    def take(self, key: int, offset: int, size: int) -> None:
        """Mark a stretch as live, replacing what the key held."""
        self.live[key] = (offset, offset + size)
        self.top = max(self.top, offset + size)


_SCRATCH_KEY: Final = 1 << 30
"""Keys of the buffer are layer indices; working memory counts up from here."""


def plan(program: AxonProgram) -> MemoryPlan:
    """Place every tensor of the program in the interlayer buffer."""
    shapes = program_shapes(program)
    last = _last_uses(program)
    buffer = _Buffer()
    first_input = tensor_bytes(program.input_dims, packed=True)
    buffer.take(EXTERNAL_INPUT, 0, first_input)
    slots = [Slot(EXTERNAL_INPUT, INPUT, 0, first_input, 0, last[EXTERNAL_INPUT])]
    uncertain: list[int] = []
    for index, layer in enumerate(program.layers):
        needs = scratch_bytes(shapes[index])
        if needs is None:
            uncertain.append(index)
            needs = ()
        for number, size in enumerate(needs):
            offset = buffer.first_fit(size)
            buffer.take(_SCRATCH_KEY + number, offset, size)
            slots.append(Slot(index, SCRATCH, offset, size, index, index))
        size = tensor_bytes(layer.output_dims, packed=layer.op in _PACKED_OUTPUT)
        offset = _place(program, shapes[index], index, size, buffer, last)
        slots.append(Slot(index, TENSOR, offset, size, index, last[index]))
        buffer.take(index, offset, size)
        dead = [key for key in buffer.live if key >= _SCRATCH_KEY or last[key] <= index]
        for key in dead:
            if key != index or last[index] < index:
                buffer.live.pop(key)
    bound = sum(slot.size for slot in slots) if uncertain else buffer.top
    return MemoryPlan(tuple(slots), buffer.top, bound, tuple(uncertain))


_PACKED_OUTPUT: Final = (Op.RESHAPE, Op.RESIZE_NEAREST)
"""Operators whose output the generator sizes without row padding."""


def _last_uses(program: AxonProgram) -> dict[int, int]:
    """The last layer that needs each tensor; the outputs of the program stay to the end."""
    last = {index: index for index in range(-1, len(program.layers))}
    for index, layer in enumerate(program.layers):
        for operand in layer.inputs:
            last[operand.producer] = index
    for index in program.output_layers:
        last[index] = len(program.layers)
    return last


def _place(
    program: AxonProgram,
    s: LayerShape,
    index: int,
    size: int,
    buffer: _Buffer,
    last: dict[int, int],
) -> int:
    """Where the output of a layer goes.

    The lowest free address; or, if that is lower, the address of the first input, where the
    operator may write over an input that nothing needs later. An addition or multiplication of two
    whole tensors gives the others' room free before.
    """
    sources = [operand.producer for operand in program.layers[index].inputs]
    overwrite = _may_overwrite(s, program.layers[index].inputs[0].dims)
    if not overwrite:
        return buffer.first_fit(size)
    for source in sources[1:]:
        if source != sources[0] and last[source] == index:
            buffer.live.pop(source, None)
    free = buffer.first_fit(size)
    first = sources[0]
    if last[first] == index and first in buffer.live:
        own, end = buffer.live[first]
        grows = s.op is not Op.DEPTHWISE_CONV2D or own + size <= end
        if own < free and grows and buffer.fits(own, size, without=first):
            return own
    return free


def _may_overwrite(s: LayerShape, first: Dims) -> bool:
    """Whether the generator lets the operator write over its first input."""
    rule = _OVERWRITE.get(s.op)
    return rule is not None and rule(s, first)


def _same_rows(s: LayerShape, first: Dims) -> bool:
    del first
    return s.out_bytes == 1 and words(s.out_w) == words(s.in_w)


def _whole_operands(s: LayerShape, first: Dims) -> bool:
    del first
    if s.out_bytes != 1:
        return False
    if s.constant:
        return s.op is Op.MULTIPLY
    if s.op is Op.MULTIPLY and s.out_h == s.out_w == 1:
        return False
    return s.broadcast is Broadcast.FULL or (s.op is Op.MULTIPLY and s.broadcast is Broadcast.ROW)


def _narrower_vector(s: LayerShape, first: Dims) -> bool:
    outputs = s.out_w * s.out_c
    return s.out_bytes == 1 and (outputs <= first.elements or outputs <= 512)


def _unstrided_pointwise(s: LayerShape, first: Dims) -> bool:
    del first
    if s.in_h == 1 and s.in_w == 1 and s.out_c > s.in_c:
        return False
    return s.out_bytes == 1 and s.stride_h == 1 and s.stride_w == 1


_OVERWRITE: Final[dict[Op, Callable[[LayerShape, Dims], bool]]] = {
    Op.AVERAGE_POOL: _same_rows,
    Op.MEAN: _same_rows,
    Op.ADD: _whole_operands,
    Op.MULTIPLY: _whole_operands,
    Op.FULLY_CONNECTED: _narrower_vector,
    Op.POINTWISE_CONV2D: _unstrided_pointwise,
    Op.DEPTHWISE_CONV2D: lambda s, _: s.out_bytes == 1 and s.out_h <= s.in_h and s.out_w <= s.in_w,
    Op.SOFTMAX: lambda s, _: s.out_bytes <= 4,
}


def scratch_bytes(s: LayerShape) -> tuple[int, ...] | None:
    """Sizes of a layer's working memory in the interlayer buffer, in the order of allocation;
    None when the operator's needs are not known."""
    if s.op in (Op.MEAN, Op.AVERAGE_POOL, Op.MAX_POOL):
        return (s.out_c * s.out_h * s.out_w * WORD,) if _reduces(s) else ()
    if s.op is Op.CONV2D and s.dilated:
        return (_dilation_scratch(s),)
    if s.op is Op.POINTWISE_CONV2D and s.in_h == 1 and s.in_w == 1:
        return (round_up(s.in_c),)
    if s.op is Op.FULLY_CONNECTED:
        return _fc_scratch(s)
    if s.op is Op.ADD and not s.constant:
        return _add_scratch(s)
    if s.op is Op.MULTIPLY:
        return (_wide_bytes(s, (s.out_h, s.out_w, s.out_c)) + _wide_bytes(s, _operand(s)),)
    return None if s.op in (Op.LSTM, Op.PERSISTENT_VARIABLE) else ()


def _reduces(s: LayerShape) -> bool:
    """Whether a pool takes in whole rows, columns or maps, which goes through 32-bit sums."""
    whole = all(
        window == 1 or left == 1 for window, left in ((s.kernel_h, s.out_h), (s.kernel_w, s.out_w))
    )
    return whole and (s.kernel_h * s.kernel_w > 1 or s.out_h * s.out_w == 1)


def _dilation_scratch(s: LayerShape) -> int:
    """The input as a dilated kernel meets it, gathered to be dense."""
    if s.dilation_w > 1:
        rows = s.out_h * s.kernel_h
        if s.kernel_h == 1 and s.out_h > 1:
            rows *= 2
        return s.in_c * rows * round_up(s.kernel_w)
    return s.in_c * s.in_h * round_up(s.in_w) * (2 if s.kernel_w > 1 else 1)


def _spread(s: LayerShape) -> Broadcast:
    """How the generator sees the second tensor: one column is a broadcast even to one column."""
    if s.broadcast is Broadcast.FULL and not s.constant and s.out_w == 1:
        return Broadcast.COLUMN if s.out_h > 1 else Broadcast.CHANNEL
    return s.broadcast


def _fc_scratch(s: LayerShape) -> tuple[int, ...]:
    """The packed input of a map of width 1; a 32-bit sum per output when channels have their own
    shift or the inputs do not fit one command."""
    weight_words, packed = fc_words(s)
    outputs = s.out_w * s.out_c
    needs = [round_up(packed)] if packed else []
    if (s.per_channel and outputs > 1) or weight_words > FC_COMMAND_WORDS:
        needs.append(WORD * outputs)
    return tuple(needs)


FC_COMMAND_WORDS: Final = 255
"""Weight words per output of one fully connected command."""


def _add_scratch(s: LayerShape) -> tuple[int, ...]:
    """A broadcast over the width is spread out to 32 bits, one channel at a time."""
    spread = _spread(s)
    if spread in (Broadcast.CHANNEL, Broadcast.SCALAR):
        return (s.out_h * WORD * s.out_w + WORD,)
    if spread is Broadcast.COLUMN:
        return (s.out_h * WORD * s.out_w + round_up(s.out_h),)
    return ()


def _operand(s: LayerShape) -> tuple[int, int, int]:
    """Extent (height, width, channels) of the second operand."""
    return {
        Broadcast.SCALAR: (1, 1, 1),
        Broadcast.CHANNEL: (1, 1, s.out_c),
        Broadcast.ROW: (1, s.out_w, s.out_c),
        Broadcast.COLUMN: (s.out_h, 1, s.out_c),
    }.get(s.broadcast, (s.out_h, s.out_w, s.out_c))


def _wide_bytes(s: LayerShape, extent: tuple[int, int, int]) -> int:
    """The 16-bit copy of an operand."""
    del s
    h, w, c = extent
    return c * h * round_up(2 * w)


def constant_bytes(s: LayerShape) -> int:
    """Bytes of a layer's weights in the model's constants; requantization is in the commands.

    A fully connected layer's biases are constants too, and its weights follow its input: rows
    padded to words, except the last of each output.
    """
    if s.op in (Op.CONV2D, Op.POINTWISE_CONV2D):
        return round_up(s.kernel_h * s.kernel_w * s.in_c * s.out_c)
    if s.op is Op.DEPTHWISE_CONV2D:
        return round_up(s.kernel_h * s.kernel_w * s.out_c)
    if s.op is Op.FULLY_CONNECTED:
        outputs = s.out_w * s.out_c
        values = s.in_h * s.in_w * s.in_c
        if not (s.in_h == 1 and s.in_c == 1) and s.in_w > 1:
            values = s.in_c * s.in_h * round_up(s.in_w) - round_up(s.in_w) + s.in_w
        return round_up(values * outputs) + WORD * outputs
    if s.op in (Op.ADD, Op.MULTIPLY) and s.constant:
        h, w, c = _operand(s)
        return round_up(h * w * c)
    return 0


def command_bytes(s: LayerShape, arch: Arch, previous: LayerShape | None = None) -> int:
    """Estimated bytes of a layer's commands: so many per layer, output channel and strip."""
    c = arch.commands
    if s.op.on_cpu:
        return c.cpu_layer
    family = _COMMANDS.get(s.op)
    estimate = family(s, arch) if family else c.cpu_layer
    estimate += c.activation * (s.activation in (Activation.RELU, Activation.LEAKY_RELU))
    estimate += c.softmax_preparation * (s.activation == Activation.PREPARE_SOFTMAX)
    same = previous is not None and previous.op is s.op is Op.FULLY_CONNECTED
    estimate -= c.repeated_layer * same
    return estimate if s.op is Op.POINTWISE_CONV2D else estimate * s.batch


def _channel_extra(s: LayerShape, c: CommandCosts) -> int:
    """Bytes per output channel for shifts of its own or a slope."""
    if s.activation == Activation.LEAKY_RELU:
        return c.leaky_output
    prepared = s.activation == Activation.PREPARE_SOFTMAX and s.op is not Op.FULLY_CONNECTED
    return c.per_channel_shift if s.mixed_shifts or prepared else 0


def _convolution_commands(s: LayerShape, arch: Arch) -> int:
    c = arch.commands
    extra = _channel_extra(s, c)
    if s.single_plane:
        return c.plane_layer + s.out_c * (c.plane_output + extra)
    pieces = len(strips(s.out_h, s.out_w, arch.geometry))
    each = c.two_plane_output if s.in_c == 2 else c.convolution_output
    each += c.convolution_strip * (pieces - 1) + extra
    return c.convolution_layer + s.out_c * each


def _depthwise_commands(s: LayerShape, arch: Arch) -> int:
    c = arch.commands
    return c.plane_layer + (s.out_c - 1) * (c.plane_output + _channel_extra(s, c))


def _pointwise_commands(s: LayerShape, arch: Arch) -> int:
    c = arch.commands
    each = s.out_c * (c.plane_output + _channel_extra(s, c))
    if s.in_h == 1 and s.in_w == 1:
        return c.pixel_layer + each
    pieces = len(pointwise_tiles(s, arch.geometry))
    return c.pointwise_layer + pieces * each + c.pointwise_tile * (pieces - 1)


def _mean_commands(s: LayerShape, arch: Arch) -> int:
    c, limit = arch.commands, arch.geometry.pool_window
    return c.mean_layer + c.mean_part * (
        ceil_div(s.kernel_h, limit) * ceil_div(s.kernel_w, limit) - 1
    )


def _fc_commands(s: LayerShape, arch: Arch) -> int:
    c = arch.commands
    weight_words, packed = fc_words(s)
    outputs = s.out_w * s.out_c
    total = c.fully_connected_layer + c.repack * (packed > 0)
    if s.per_channel and outputs > 1:
        return total + c.channel_layer + outputs * (c.plane_output + _channel_extra(s, c))
    total += c.fully_connected_chunk * (ceil_div(weight_words, FC_COMMAND_WORDS) - 1)
    return total + c.fully_connected_chunk * (ceil_div(outputs, arch.geometry.fc_outputs) - 1)


def _add_commands(s: LayerShape, arch: Arch) -> int:
    c = arch.commands
    if s.broadcast is Broadcast.ROW:
        return c.add_channel_layer + c.add_row * s.out_c
    if s.broadcast is Broadcast.COLUMN:
        return c.add_channel_layer + s.out_c * (c.add_column * s.out_h + 5 * c.add_column)
    if s.broadcast is Broadcast.CHANNEL and s.constant:
        return c.add_channel_layer + c.add_row * s.out_c
    return c.add_channel_layer if s.broadcast is Broadcast.CHANNEL else c.add_layer


def _multiply_commands(s: LayerShape, arch: Arch) -> int:
    c = arch.commands
    if s.broadcast is Broadcast.COLUMN:
        return c.multiply_layer + c.multiply_row * s.out_h
    return c.multiply_layer + c.multiply_spread * (s.broadcast is not Broadcast.FULL)


_COMMANDS: Final[dict[Op, Callable[[LayerShape, Arch], int]]] = {
    Op.CONV2D: _convolution_commands,
    Op.DEPTHWISE_CONV2D: _depthwise_commands,
    Op.POINTWISE_CONV2D: _pointwise_commands,
    Op.FULLY_CONNECTED: _fc_commands,
    Op.MEAN: _mean_commands,
    Op.ADD: _add_commands,
    Op.AVERAGE_POOL: lambda _, arch: arch.commands.pool_layer,
    Op.MAX_POOL: lambda _, arch: arch.commands.pool_layer,
    Op.MULTIPLY: _multiply_commands,
    Op.CONCATENATE: lambda _, arch: arch.commands.concat_layer,
    Op.STRIDED_SLICE: lambda _, arch: arch.commands.slice_layer,
    Op.CHANNEL_PAD: lambda _, arch: arch.commands.channel_pad_layer,
}


def footprint(program: AxonProgram, arch: Arch | None = None) -> Footprint:
    """What the program needs in memory. No operator that is known uses the psum buffer."""
    arch = arch or load_arch()
    shapes = program_shapes(program)
    previous: Sequence[LayerShape | None] = [None, *shapes[:-1]]
    commands = sum(
        command_bytes(s, arch, before) for s, before in zip(shapes, previous, strict=True)
    )
    where = plan(program)
    return Footprint(
        where.interlayer_bytes,
        0,
        sum(constant_bytes(s) for s in shapes),
        arch.commands.run * npu_runs(shapes) + commands,
        sum(_persistent_bytes(program, index) for index in range(len(shapes))),
        where.exact,
    )


def _persistent_bytes(program: AxonProgram, index: int) -> int:
    layer = program.layers[index]
    return tensor_bytes(layer.output_dims) if layer.op is Op.PERSISTENT_VARIABLE else 0


def check_limits(program: AxonProgram, interlayer_limit: int, psum_limit: int) -> None:
    """Raise CompilerError naming the layer when a buffer would be larger than its limit.

    A psum limit of 0 means that no limit is set, as programs that need none are written so.
    """
    where = plan(program)
    if where.interlayer_bytes > interlayer_limit:
        peak = max(where.slots, key=lambda slot: slot.offset + slot.size)
        index = max(peak.layer, 0)
        raise CompilerError(
            f"layer {index} {program.layers[index].op.name.lower()} needs the interlayer buffer "
            f"up to {where.interlayer_bytes} bytes, the limit is {interlayer_limit}; raise "
            "interlayer_buffer_size or make this layer's tensors smaller"
        )
    needed = footprint(program).psum_bytes
    if psum_limit and needed > psum_limit:
        raise CompilerError(f"the psum buffer needs {needed} bytes, the limit is {psum_limit}")
