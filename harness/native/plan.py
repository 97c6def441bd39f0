"""An Axon program becomes a plan: nodes for src/run.c, constants, and an arena layout.

A tensor lies [batch, H, W, C]. Where a layer sees a split or another shape of its producer, a move
comes before it. Tensors share the arena by lifetime; nothing else is shared between threads.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from compiler import (
    EXTERNAL_INPUT,
    Activation,
    AxonProgram,
    Dims,
    Layer,
    LayerInput,
    Op,
    UnsupportedError,
    execute_layer,
    operand_shapes,
    verify,
    view_operand,
    zero_point_of,
)
from harness.native import abi
from harness.native.build import Traits
from harness.native.moves import Indices, Moved, moved, numbered, viewed
from harness.native.pack import Constants, Linear, pack_convolution, pack_depthwise, rescale

Array = npt.NDArray[Any]

ELEMENT: Final = MappingProxyType({1: np.int8, 2: np.int16, 4: np.int32})
ALIGNMENT: Final = 64
MAX_ELEMENTS: Final = 1 << 26
"""Elements of all layers; tables for more would take too much memory."""

_SLACK: Final = 192  # kernels read whole groups and vectors past the end of an image
_SOFTMAX_TOP: Final = 31182
_SOFTMAX_LOW: Final = -34070
_INT32: Final = 1 << 31
_MAX_ZERO_POINT: Final = 128


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tensor lies in the arena, and its extent."""

    offset: int
    dims: Dims

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """[batch, H, W, C], as it lies there."""
        return (self.dims.batch, self.dims.height, self.dims.width, self.dims.channels)


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A program ready to run.

    record: axr_plan_t. slots: the layers whose outputs a run stores, in slot order. state: places
    of the persistent variables, by layer. `constants` and `nodes` own what the record points to.
    """

    record: abi.Plan
    nodes: Any
    constants: Constants
    arena_bytes: int
    input_dims: Dims
    slots: tuple[int, ...]
    output_dims: tuple[Dims, ...]
    state: Mapping[int, Place]


def build_plan(program: AxonProgram, traits: Traits, keep: Sequence[int]) -> Plan:
    """Verify a program and plan its execution.

    keep: layers whose outputs are stored. Raises VerifyError, and UnsupportedError for an
    operation without a definition or a program beyond `MAX_ELEMENTS`.
    """
    verify(program)
    if reason := obstacle(program):
        raise UnsupportedError(reason)
    draft = _Draft(program, traits)
    for index, layer in enumerate(program.layers):
        _ADD[layer.op](draft, index, layer)
    variables = _take_over(draft)
    return draft.finish(tuple(keep), variables)


def obstacle(program: AxonProgram) -> str | None:
    """Why the native engine cannot run a verified program; None where it can."""
    if sum(layer.output_dims.elements for layer in program.layers) > MAX_ELEMENTS:
        return (
            f"the layers of '{program.name}' have more than {MAX_ELEMENTS} elements, too many for "
            "the native engine"
        )
    if abs(program.input_quantization.zero_point) > _MAX_ZERO_POINT:
        return f"the input's zero point {program.input_quantization.zero_point} is no int8"
    return None


@dataclass(slots=True)
class _Tensor:
    """Extent, and the first and last step that need it."""

    dims: Dims
    first: int
    last: int

    @property
    def nbytes(self) -> int:
        return self.dims.elements * self.dims.byte_width


@dataclass(slots=True)
class _Step:
    """A node before its places are known: tensors by number. layer: whose output it is."""

    node: abi.Node
    sources: tuple[int, ...]
    target: int
    layer: int | None


@dataclass(slots=True)
class _Draft:
    """A plan while it grows."""

    program: AxonProgram
    traits: Traits
    constants: Constants = field(default_factory=Constants)
    tensors: list[_Tensor] = field(default_factory=list)
    steps: list[_Step] = field(default_factory=list)
    tensor_of: dict[int, int] = field(default_factory=dict)
    scratch_bytes: int = abi.SUMS_BYTES + _SLACK

    def __post_init__(self) -> None:
        self.tensor_of[EXTERNAL_INPUT] = self.tensor(self.program.input_dims)

    def tensor(self, dims: Dims) -> int:
        """A new tensor, written by the step that comes next."""
        at = len(self.steps)
        self.tensors.append(_Tensor(dims, at, at))
        return len(self.tensors) - 1

    def add(
        self, node: abi.Node, sources: Sequence[int], dims: Dims, layer: int | None = None
    ) -> int:
        """Append a step; return the tensor that it writes."""
        target = self.tensor(dims)
        for source in sources:
            self.tensors[source].last = len(self.steps)
        self.steps.append(_Step(node, tuple(sources), target, layer))
        if layer is not None:
            self.tensor_of[layer] = target
        return target

    def places(self, operand: LayerInput) -> Indices:
        """[batch, C, H, W] of where an operand's elements lie in its producer's tensor."""
        dims = self.tensors[self.tensor_of[operand.producer]].dims
        whole: Indices = numbered((dims.batch, *dims.shape))
        return view_operand(whole, operand).astype(np.int32, copy=False)

    def operand(self, operand: LayerInput, shape: tuple[int, ...] | None = None) -> int:
        """The tensor that a layer sees, after a move where it differs from its producer's."""
        tensor = self.tensor_of[operand.producer]
        wanted = operand.dims.shape if shape is None else shape
        if self.tensors[tensor].dims.shape == wanted:
            return tensor
        seen = viewed(self.places(operand).reshape(-1, *wanted))
        if seen.is_copy:
            return tensor
        return self.move(seen, [tensor], _dims(wanted, operand.dims))

    def move(
        self,
        what: Moved,
        sources: Sequence[int],
        dims: Dims,
        layer: int | None = None,
        fill: int = 0,
    ) -> int:
        """Append a move."""
        node = abi.Node(
            kind=abi.NodeKind.MOVE,
            in_bytes=self.tensors[sources[0]].dims.byte_width,
            out_bytes=dims.byte_width,
            pad_value=fill,
            source_count=len(sources),
            count=len(what.runs),
            table=self.constants.address(what.runs),
        )
        return self.add(node, sources, dims, layer)

    def finish(self, keep: tuple[int, ...], variables: Mapping[int, int]) -> Plan:
        """Place the tensors and write the nodes."""
        end = len(self.steps)
        for tensor in variables.values():
            self.tensors[tensor].first, self.tensors[tensor].last = -1, end
        self.tensors[self.tensor_of[EXTERNAL_INPUT]].first = -1
        offsets, arena_bytes = _allocate(self.tensors)
        slots = {layer: slot for slot, layer in enumerate(keep)}
        nodes = (abi.Node * max(1, end))()
        for index, step in enumerate(self.steps):
            node = step.node
            target = self.tensors[step.target]
            node.target, node.target_bytes = offsets[step.target], target.nbytes
            node.keep = slots.get(step.layer, -1) if step.layer is not None else -1
            for position, source in enumerate(step.sources):
                node.source[position] = offsets[source]
            nodes[index] = node
        dims = self.program.input_dims
        record = abi.Plan(
            nodes=ctypes.addressof(nodes),
            node_count=end,
            input=offsets[self.tensor_of[EXTERNAL_INPUT]],
            batch=dims.batch,
            height=dims.height,
            width=dims.width,
            channels=dims.channels,
            scratch=arena_bytes,
        )
        return Plan(
            record=record,
            nodes=nodes,
            constants=self.constants,
            arena_bytes=arena_bytes + self.scratch_bytes,
            input_dims=dims,
            slots=keep,
            output_dims=tuple(self.program.layers[layer].output_dims for layer in keep),
            state=MappingProxyType(
                {
                    layer: Place(offsets[tensor], self.tensors[tensor].dims)
                    for layer, tensor in variables.items()
                }
            ),
        )


def _dims(shape: tuple[int, ...], like: Dims) -> Dims:
    channels, height, width = shape
    return Dims(height, width, channels, like.byte_width, like.batch)


def _allocate(tensors: Sequence[_Tensor]) -> tuple[list[int], int]:
    """Offsets of the tensors, first fit by lifetime, and the bytes that they take together."""
    offsets = [0] * len(tensors)
    placed: list[int] = []
    end = 0
    for index in sorted(range(len(tensors)), key=lambda i: tensors[i].first):
        tensor = tensors[index]
        size = _aligned(tensor.nbytes)
        offset = 0
        for other in placed:  # by offset
            if tensors[other].last < tensor.first or tensors[other].first > tensor.last:
                continue
            if offset + size <= offsets[other]:
                break
            offset = max(offset, offsets[other] + _aligned(tensors[other].nbytes))
        offsets[index] = offset
        placed.append(index)
        placed.sort(key=offsets.__getitem__)
        end = max(end, offset + size)
    return offsets, end


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


# --- layers -------------------------------------------------------------------------------------


def _node(kind: abi.NodeKind, layer: Layer, source: Dims) -> abi.Node:
    """A node with the extents of a layer."""
    out, window, pads = layer.output_dims, layer.filter_dims, layer.pads
    return abi.Node(
        kind=kind,
        batch=out.batch,
        in_height=source.height,
        in_width=source.width,
        in_channels=source.channels,
        out_height=out.height,
        out_width=out.width,
        out_channels=out.channels,
        window_height=window.height,
        window_width=window.width,
        stride_y=max(layer.stride_y, 1),
        stride_x=max(layer.stride_x, 1),
        dilation_y=layer.dilation_y,
        dilation_x=layer.dilation_x,
        pad_top=pads.top,
        pad_bottom=pads.bottom,
        pad_left=pads.left,
        pad_right=pads.right,
        in_bytes=source.byte_width,
        out_bytes=out.byte_width,
        source_count=1,
    )


def _linear(
    draft: _Draft, index: int, layer: Layer, node: abi.Node, taps: Linear, source: int,
    order: Array | None = None,
) -> None:  # fmt: skip
    """Complete a node of the convolution kind. order: output channels as they lie in memory."""
    constants = draft.constants
    node.groups = taps.groups
    node.weights = constants.address(taps.weights)
    node.bias = constants.padded(taps.bias, np.int32)
    node.offsets = constants.address(taps.offsets)
    node.pad_value = layer.input_zero_point
    node.rescale = rescale(layer, taps.bound, draft.traits, constants, order=order)
    draft.add(node, [source], layer.output_dims, index)


def _image(draft: _Draft, node: abi.Node) -> tuple[int, int]:
    """(elements of a padded row, bytes of the padded image and what kernels read past it)."""
    row = (node.in_width + node.pad_left + node.pad_right) * node.in_channels
    height = node.in_height + node.pad_top + node.pad_bottom
    return row, height * row * draft.traits.element_bytes + _SLACK


def _convolution(draft: _Draft, index: int, layer: Layer) -> None:
    assert layer.filter is not None
    operand = layer.inputs[0]
    source = draft.operand(operand)
    node = _node(abi.NodeKind.CONVOLUTION, layer, operand.dims)
    window, pads = layer.filter_dims, layer.pads
    strides = (layer.stride_y, layer.stride_x)
    if (window.height, window.width, *strides) == (1, 1, 1, 1) and not any(
        (pads.left, pads.right, pads.top, pads.bottom)
    ):
        # Nothing depends on where a row ends: all pixels are one row.
        node.in_width = node.out_width = operand.dims.height * operand.dims.width
        node.in_height = node.out_height = 1
    row, image_bytes = _image(draft, node)
    dilation = (layer.dilation_y, layer.dilation_x)
    taps = pack_convolution(layer.filter, layer.bias, row, dilation, draft.traits)
    draft.scratch_bytes = max(draft.scratch_bytes, abi.SUMS_BYTES + image_bytes)
    _linear(draft, index, layer, node, taps, source)


def _depthwise(draft: _Draft, index: int, layer: Layer) -> None:
    assert layer.filter is not None
    operand = layer.inputs[0]
    source = draft.operand(operand)
    node = _node(abi.NodeKind.DEPTHWISE, layer, operand.dims)
    row, image_bytes = _image(draft, node)
    row_groups = -(-layer.filter_dims.height // draft.traits.group)
    needed = abi.SUMS_BYTES + image_bytes + row_groups * row * 4 + _SLACK
    draft.scratch_bytes = max(draft.scratch_bytes, needed)
    _linear(
        draft, index, layer, node, pack_depthwise(layer.filter, layer.bias, draft.traits), source
    )


def _fully_connected(draft: _Draft, index: int, layer: Layer) -> None:
    """A convolution of a pixel per vector. The filter's columns and rows are in [C][H][W] order."""
    assert layer.filter is not None
    operand = layer.inputs[0]
    produced = draft.tensors[draft.tensor_of[operand.producer]].dims
    whole = operand.dims.elements == produced.elements
    source = draft.tensor_of[operand.producer] if whole else draft.operand(operand)
    columns = _memory_order(produced if whole else operand.dims)
    order = _memory_order(layer.output_dims)
    weights = layer.filter[order][:, columns]
    bias = None if layer.bias is None else layer.bias[order]
    node = _node(abi.NodeKind.CONVOLUTION, layer, Dims(1, 1, len(columns)))
    node.out_height = 1
    # The vectors of a batch lie behind each other, as the pixels of a row do.
    node.in_width = node.out_width = node.batch
    node.batch = 1
    node.out_channels = len(order)
    node.pad_top = node.pad_bottom = node.pad_left = node.pad_right = 0
    node.stride_y = node.stride_x = 1
    taps = pack_convolution(
        weights[:, :, np.newaxis, np.newaxis], bias, len(columns), (1, 1), draft.traits
    )
    # `rescale` puts everything in order itself, so it needs the bound as the layer has it.
    bound = np.empty_like(taps.bound)
    bound[order] = taps.bound
    draft.scratch_bytes = max(draft.scratch_bytes, abi.SUMS_BYTES + _image(draft, node)[1])
    _linear(draft, index, layer, node, replace(taps, bound=bound), source, order)


def _memory_order(dims: Dims) -> Array:
    """[C][H][W] index of each element as it lies in memory, [H][W][C]."""
    elements = dims.elements // dims.batch
    return np.arange(elements).reshape(dims.shape).transpose(1, 2, 0).ravel()


def _average(draft: _Draft, index: int, layer: Layer) -> None:
    operand = layer.inputs[0]
    source = draft.operand(operand)
    node = _node(abi.NodeKind.AVERAGE, layer, operand.dims)
    node.window_channels = max(layer.filter_dims.channels, 1)
    node.bias_scalar = 0 if layer.bias is None else int(layer.bias[0])
    area = node.window_channels * node.window_height * node.window_width
    bound = np.array([area * 128 + abs(node.bias_scalar)], np.int64)
    node.rescale = rescale(layer, bound, draft.traits, draft.constants)
    draft.add(node, [source], layer.output_dims, index)


def _max_pool(draft: _Draft, index: int, layer: Layer) -> None:
    operand = layer.inputs[0]
    source = draft.operand(operand)
    node = _node(abi.NodeKind.MAX_POOL, layer, operand.dims)
    clamped = layer.activation is Activation.RELU
    node.rescale.low = layer.output_zero_point if clamped else -_INT32
    draft.add(node, [source], layer.output_dims, index)


def _element_wise(draft: _Draft, index: int, layer: Layer) -> None:
    shapes = operand_shapes(layer)
    sources = [
        draft.operand(operand, shape) for operand, shape in zip(layer.inputs, shapes, strict=False)
    ]
    kind = abi.NodeKind.ADD if layer.op is Op.ADD else abi.NodeKind.MULTIPLY
    node = _node(kind, layer, layer.inputs[0].dims)
    if layer.filter is not None:
        node.weights = draft.constants.address(layer.filter.transpose(1, 2, 0))
    if all(shape == layer.output_dims.shape for shape in shapes) and (
        layer.filter is None or layer.output_dims.batch == 1
    ):
        node.count = layer.output_dims.elements
    else:
        _strides(node, layer, shapes)
    if layer.op is Op.ADD:
        _sum(draft, layer, node)
    else:
        _product(draft, layer, node)
    draft.add(node, sources, layer.output_dims, index)


def _strides(node: abi.Node, layer: Layer, shapes: Sequence[tuple[int, ...]]) -> None:
    """How far each operand moves per batch, row, pixel and channel; 0 where it is repeated."""
    for position, (channels, height, width) in enumerate(shapes):
        constant = position == 1 and layer.filter is not None
        node.batch_stride[position] = 0 if constant else channels * height * width
        node.row_stride[position] = width * channels if height > 1 else 0
        node.pixel_stride[position] = channels if width > 1 else 0
        node.channel_stride[position] = 1 if channels > 1 else 0
    if layer.output_dims.channels == 1:
        # The kernel's line is a pixel's channels; a row's pixels make a longer one.
        node.out_channels, node.out_width = layer.output_dims.width, 1
        node.channel_stride[:] = node.pixel_stride[:]


def _sum(draft: _Draft, layer: Layer, node: abi.Node) -> None:
    assert layer.multipliers is not None
    node.factor[:] = [int(multiplier) for multiplier in layer.multipliers[:2]]
    node.bias_scalar = 0 if layer.bias is None else int(layer.bias[0])
    bound = 128 * (abs(node.factor[0]) + abs(node.factor[1])) + abs(node.bias_scalar)
    node.groups = int(bound >= _INT32)
    node.rescale = rescale(
        layer,
        np.array([bound], np.int64),
        draft.traits,
        draft.constants,
        multipliers=np.ones(1, np.int64),
    )


def _product(draft: _Draft, layer: Layer, node: abi.Node) -> None:
    zero_points = [zero_point_of(draft.program, operand.producer) for operand in layer.inputs]
    node.factor[:] = [*zero_points, layer.input_zero_point][:2]
    bound = (128 + abs(node.factor[0])) * (128 + abs(node.factor[1]))
    node.rescale = rescale(layer, np.array([bound], np.int64), draft.traits, draft.constants)


def _move(draft: _Draft, index: int, layer: Layer) -> None:
    """Any layer that copies elements; it reads its producers directly."""
    views = [draft.places(operand) for operand in layer.inputs]
    sources = [draft.tensor_of[operand.producer] for operand in layer.inputs]
    what = moved(draft.program, layer, views)
    draft.move(what, sources, layer.output_dims, index, fill=layer.output_zero_point)


def _table(draft: _Draft, index: int, layer: Layer) -> None:
    """Sigmoid and tanh of 16 bits: the reference's value of every code."""
    source = draft.operand(layer.inputs[0])
    codes = np.arange(-(1 << 15), 1 << 15, dtype=np.int16).reshape(1, 1, 1, -1)
    values = execute_layer(draft.program, layer, [codes])
    node = _node(abi.NodeKind.TABLE, layer, layer.inputs[0].dims)
    node.count = layer.output_dims.elements
    node.table = draft.constants.address(values)
    draft.add(node, [source], layer.output_dims, index)


def _softmax(draft: _Draft, index: int, layer: Layer) -> None:
    source = draft.operand(layer.inputs[0])
    node = _node(abi.NodeKind.SOFTMAX, layer, layer.inputs[0].dims)
    out = layer.output_dims
    node.window_channels = out.width if out.channels == out.height == 1 else out.channels
    node.count = out.elements // node.window_channels
    exponents = np.arange(_SOFTMAX_LOW, _SOFTMAX_TOP + 1)
    node.table = draft.constants.address(np.floor(4096 * np.exp(exponents / 4096)).astype(np.int32))
    assert layer.multipliers is not None
    assert layer.shifts is not None
    node.scale = np.float32(layer.multipliers[0]) / np.float32(2.0 ** int(layer.shifts[0]))
    half = 1 << (8 * out.byte_width - 1)
    node.rescale = abi.Rescale(zero_point=layer.output_zero_point, low=-half, high=half - 1)
    draft.add(node, [source], out, index)


def _variable(draft: _Draft, index: int, layer: Layer) -> None:
    """The variable's own tensor, which `finish` keeps from inference to inference."""
    draft.add(abi.Node(kind=abi.NodeKind.NONE), [], layer.output_dims, index)


def _take_over(draft: _Draft) -> dict[int, int]:
    """After the last layer every variable takes its new value over; all at once, so by copies."""
    variables = {
        index: draft.tensor_of[index]
        for index, layer in enumerate(draft.program.layers)
        if layer.op is Op.PERSISTENT_VARIABLE
    }
    values = {}
    for index, tensor in variables.items():
        operand = draft.program.layers[index].inputs[0]
        dims = draft.tensors[tensor].dims
        seen = viewed(draft.places(operand).reshape(-1, *dims.shape))
        values[index] = draft.move(seen, [draft.tensor_of[operand.producer]], dims)
    for index, tensor in variables.items():
        dims = draft.tensors[tensor].dims
        copied = viewed(numbered((dims.batch, *dims.shape)))
        draft.move(copied, [values[index]], dims)
        draft.steps[-1].target = tensor
    return variables


_ADD: Final[Mapping[Op, Callable[[_Draft, int, Layer], None]]] = MappingProxyType(
    {
        Op.FULLY_CONNECTED: _fully_connected,
        Op.CONV2D: _convolution,
        Op.DEPTHWISE_CONV2D: _depthwise,
        Op.POINTWISE_CONV2D: _convolution,
        Op.AVERAGE_POOL: _average,
        Op.MAX_POOL: _max_pool,
        Op.ADD: _element_wise,
        Op.CHANNEL_PAD: _move,
        Op.PERSISTENT_VARIABLE: _variable,
        Op.CONCATENATE: _move,
        Op.STRIDED_SLICE: _move,
        Op.MULTIPLY: _element_wise,
        Op.MEAN: _average,
        Op.SOFTMAX: _softmax,
        Op.SIGMOID: _table,
        Op.TANH: _table,
        Op.RESHAPE: _move,
        Op.SPACE_TO_BATCH: _move,
        Op.BATCH_TO_SPACE: _move,
        Op.RESIZE_NEAREST: _move,
    }
)
