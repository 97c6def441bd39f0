"""Axon layers -> records of the model image, one function per family of operations.

Tensors are [batch][height][width][channel]. A program that `compiler.verify` accepts is lowered,
or refused with UnsupportedError where the firmware has no kernel for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from compiler.errors import UnsupportedError
from compiler.image import layout, weights
from compiler.image.draft import Draft, RecordDraft, TensorDraft
from compiler.image.layout import Flag, ImageOp
from compiler.ir import (
    EXTERNAL_INPUT,
    Activation,
    Axis,
    AxonProgram,
    Layer,
    LayerInput,
    Op,
)
from compiler.reference import nearest_indices, operand_shapes, zero_point_of

_Indices = npt.NDArray[np.int64]
_FILL: Final = -1
_NARROW_LIMIT: Final = 1 << 30
_Extent = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Site:
    """A layer on its way into the draft."""

    draft: Draft
    program: AxonProgram
    index: int

    @property
    def layer(self) -> Layer:
        """The layer itself."""
        return self.program.layers[self.index]

    @property
    def where(self) -> str:
        """How messages name it."""
        return f"layer {self.index} ({self.layer.op.name.lower()})"

    @property
    def extent(self) -> _Extent:
        """(height, width, channels) of the output."""
        dims = self.layer.output_dims
        return (dims.height, dims.width, dims.channels)

    def tensor(self, index: int) -> TensorDraft:
        """A tensor of the draft."""
        return self.draft.tensors[index]

    def output(self, batch: int) -> int:
        """The tensor of the layer's output, new or made by an earlier record of the layer."""
        if self.index not in self.draft.values:
            width_bytes = self.layer.output_dims.byte_width
            self.draft.values[self.index] = self.draft.new_tensor(self.extent, batch, width_bytes)
        return self.draft.values[self.index]

    def minimum(self) -> int:
        """Lower clamp: the zero point under ReLU, else the least value of the output's type."""
        if self.layer.activation is Activation.RELU:
            return self.layer.output_zero_point
        return -1 << (8 * self.layer.output_dims.byte_width - 1)


def lower(program: AxonProgram) -> Draft:
    """All records of a program, in order; initial values of variables first, updates last.

    Raises UnsupportedError for what the kernels do not execute.
    """
    draft = Draft()
    dims = program.input_dims
    extent = (dims.height, dims.width, dims.channels)
    draft.values[EXTERNAL_INPUT] = draft.new_tensor(extent, dims.batch, dims.byte_width)
    for index, layer in enumerate(program.layers):
        if layer.op is Op.PERSISTENT_VARIABLE:
            _initial_value(Site(draft, program, index))
    for index, layer in enumerate(program.layers):
        site = Site(draft, program, index)
        if layer.op is Op.PERSISTENT_VARIABLE:
            continue
        if layer.op not in _LOWERINGS:
            raise UnsupportedError(
                f"{site.where}: the CPU firmware has no kernel for it; run it on the NPU, or in "
                "the simulator"
            )
        _LOWERINGS[layer.op](site)
    for index, layer in enumerate(program.layers):
        if layer.op is Op.PERSISTENT_VARIABLE:
            _update(Site(draft, program, index))
    return draft


def _record(  # noqa: PLR0913  # the columns of one table row
    site: Site,
    op: ImageOp,
    operands: tuple[int, ...],
    output: int,
    fields: Mapping[str, int],
    *,
    constants: bytes = b"",
    channels: bytes = b"",
    flags: Flag = Flag(0),  # noqa: B008  # an immutable enum member
    scratch_bytes: int = 0,
    lead_bytes: Mapping[int, int] | None = None,
) -> None:
    for name, value in fields.items():
        _check_field(site, name, value)
    common = {"output_zero_point": site.layer.output_zero_point, "minimum": site.minimum()}
    site.draft.records.append(
        RecordDraft(
            op=op,
            flags=flags,
            program_layer=site.index,
            operands=operands,
            output=output,
            weights=constants,
            channels=channels,
            scratch_bytes=scratch_bytes,
            fields=common | dict(fields),
            lead_bytes=dict(lead_bytes or {}),
        )
    )


def _check_field(site: Site, name: str, value: int) -> None:
    """Extents and strides stay in their fields; an absurd one is the model's fault, not ours."""
    limit = {"stride_y": layout.MAX_STRIDE, "stride_x": layout.MAX_STRIDE}.get(
        name, 32_767 if name.startswith("pad") else None
    )
    if name.startswith(("window", "extent")):
        limit = layout.MAX_EXTENT
    if limit is not None and value > limit:
        raise UnsupportedError(
            f"{site.where}: {name.replace('_', ' ')} is {value}, the firmware takes at most {limit}"
        )


# --- operands -----------------------------------------------------------------------------------


def _operand(site: Site, operand: LayerInput) -> int:
    """The tensor that a layer reads: its producer's, a view of it, or a copy of a part."""
    whole = site.draft.values[operand.producer]
    tensor = site.tensor(whole)
    dims = operand.dims
    extent = (dims.height, dims.width, dims.channels)
    if tensor.elements // tensor.batch == dims.height * dims.width * dims.channels:
        return _reshaped(site, whole, extent)
    part = site.draft.new_tensor(extent, tensor.batch, tensor.width_bytes)
    position = _POSITION[Axis(operand.split_axis)]
    height, width, channels = (
        indices + (operand.split_offset if axis == position else 0)
        for axis, indices in enumerate(_all(extent))
    )
    _copy(site, whole, part, (height, width, channels))
    return part


_POSITION: Final = MappingProxyType({Axis.HEIGHT: 0, Axis.WIDTH: 1, Axis.CHANNEL: 2})


def _memory_order(height: int, width: int, channels: int) -> _Indices:
    """Where element i of [C][H][W] order lies in [H][W][C] memory."""
    positions = np.arange(height * width * channels, dtype=np.int64)
    return positions.reshape(height, width, channels).transpose(2, 0, 1).ravel()


def _reshaped(site: Site, whole: int, extent: _Extent) -> int:
    """Another shape, keeping [C][H][W] order: a view where memory agrees, else a reordering."""
    tensor = site.tensor(whole)
    if (tensor.height, tensor.width, tensor.channels) == extent:
        return whole
    source = _memory_order(tensor.height, tensor.width, tensor.channels)
    target = _memory_order(*extent)
    if np.array_equal(source, target):
        return site.draft.new_tensor(extent, tensor.batch, tensor.width_bytes, tensor.storage)
    if source.size > layout.MAX_EXTENT:
        raise UnsupportedError(
            f"{site.where}: reordering a tensor of {source.size} elements, the firmware takes at "
            f"most {layout.MAX_EXTENT}"
        )
    order = np.empty_like(source)
    order[target] = source
    flat = site.draft.new_tensor((1, 1, source.size), tensor.batch, tensor.width_bytes)
    flat_source = site.draft.new_tensor(
        (1, 1, source.size), tensor.batch, tensor.width_bytes, tensor.storage
    )
    zero = np.zeros(1, np.int64)
    _copy(site, flat_source, flat, (zero, zero, order))
    storage = site.tensor(flat).storage
    return site.draft.new_tensor(extent, tensor.batch, tensor.width_bytes, storage)


# --- linear layers ------------------------------------------------------------------------------


def _window_fields(site: Site, height: int, width: int) -> dict[str, int]:
    layer = site.layer
    return {
        "window_height": height,
        "window_width": width,
        "stride_y": max(layer.stride_y, 1),
        "stride_x": max(layer.stride_x, 1),
        "pad_top": layer.pads.top,
        "pad_left": layer.pads.left,
        "input_zero_point": layer.input_zero_point,
    }


def _convolution(site: Site) -> None:
    source = _operand(site, site.layer.inputs[0])
    target = site.output(site.tensor(source).batch)
    whole = weights.dilated(site.layer)
    fields = _window_fields(site, *whole.shape[-2:])
    channels, flags = weights.pack_channels(site.layer, whole.shape[0], site.where)
    _convolve(site, source, target, whole, fields, channels, flags)


def _convolve(  # shared by convolution and fully connected
    site: Site,
    source: int,
    target: int,
    whole: npt.NDArray[Any],
    fields: Mapping[str, int],
    channels: bytes,
    flags: Flag,
) -> None:
    image, out = site.tensor(source), site.tensor(target)
    columns = out.width
    if fields["window_width"] > 1:
        columns = (out.width - 1) * fields["stride_x"] + fields["window_width"]
    column_bytes = -(-fields["window_height"] * image.channels // 4) * 8
    _record(
        site,
        ImageOp.CONVOLUTION,
        (source,),
        target,
        fields,
        constants=weights.pack_convolution(whole),
        channels=channels,
        flags=flags,
        scratch_bytes=columns * column_bytes,
        lead_bytes=_window_leads(image, out, fields, rows_are_buffered=True),
    )


def _window_leads(
    image: TensorDraft, out: TensorDraft, fields: Mapping[str, int], *, rows_are_buffered: bool
) -> dict[int, int]:
    """How far the output must start below the image to be written over it, row after row.

    A kernel that widens its input rows before it writes an output row needs, for row y, only what
    row y + 1 still reads; one that reads as it goes needs what row y itself reads.
    """
    if image.batch != 1:
        return {}
    image_row = image.width * image.channels * image.width_bytes
    out_row = out.width * out.channels * out.width_bytes
    ahead = 1 if rows_are_buffered else 0
    rows = np.arange(out.height - ahead, dtype=np.int64)
    needed = np.clip((rows + ahead) * fields["stride_y"] - fields["pad_top"], 0, image.height)
    leads = (rows + 1) * out_row - needed * image_row
    return {0: max(0, int(leads.max(initial=0)))}


def _depthwise(site: Site) -> None:
    source = _operand(site, site.layer.inputs[0])
    image = site.tensor(source)
    target = site.output(image.batch)
    whole = weights.dilated(site.layer)
    height, width = whole.shape[-2:]
    fields = _window_fields(site, height, width)
    channels, flags = weights.pack_channels(site.layer, len(whole), site.where)
    _record(
        site,
        ImageOp.DEPTHWISE,
        (source,),
        target,
        fields,
        constants=weights.pack_depthwise(whole),
        channels=channels,
        flags=flags,
        scratch_bytes=(height * width + 1) // 2 * 8 + image.channels,
        lead_bytes=_window_leads(image, site.tensor(target), fields, rows_are_buffered=False),
    )


def _fully_connected(site: Site) -> None:
    """A 1x1 convolution of one pixel; columns and rows follow the memory order of both sides."""
    layer = site.layer
    assert layer.filter is not None
    source = _flat_operand(site, layer.inputs[0])
    image = site.tensor(source)
    count = image.elements // image.batch
    outputs = len(layer.filter)
    matrix = np.empty_like(layer.filter)
    matrix[:, _memory_order(image.height, image.width, image.channels)] = layer.filter
    order = np.argsort(_memory_order(*site.extent))
    channels, flags = weights.pack_channels(layer, outputs, site.where)
    rows = np.frombuffer(channels, layout.CHANNEL)[order]
    flat_source = site.draft.new_tensor((1, 1, count), image.batch, 1, image.storage)
    out = site.tensor(site.output(image.batch))
    flat_target = site.draft.new_tensor((1, 1, outputs), out.batch, out.width_bytes, out.storage)
    fields = {"window_height": 1, "window_width": 1, "stride_y": 1, "stride_x": 1, "pad_top": 0}
    cube = matrix[order].reshape(outputs, count, 1, 1)
    _convolve(site, flat_source, flat_target, cube, fields, rows.tobytes(), flags)


def _flat_operand(site: Site, operand: LayerInput) -> int:
    """A fully connected layer takes its operand in any shape: the weights follow its memory."""
    whole = site.draft.values[operand.producer]
    tensor = site.tensor(whole)
    dims = operand.dims
    if tensor.elements // tensor.batch == dims.height * dims.width * dims.channels:
        return whole
    return _operand(site, operand)


# --- pools and element-wise layers --------------------------------------------------------------


def _average(site: Site) -> None:
    layer = site.layer
    source = _operand(site, layer.inputs[0])
    image = site.tensor(source)
    target = site.output(image.batch)
    window = layer.filter_dims
    fields = _window_fields(site, window.height, window.width)
    fields |= {"pad_top": 0, "pad_left": 0, "extent_channels": max(window.channels, 1)}
    channels, flags = weights.pack_channels(layer, 1, site.where)
    _record(
        site,
        ImageOp.AVERAGE,
        (source,),
        target,
        fields,
        channels=channels,
        flags=flags,
        lead_bytes=_window_leads(image, site.tensor(target), fields, rows_are_buffered=False),
    )


def _max_pool(site: Site) -> None:
    """Padding never wins, so the search starts at the least value of the input, or ReLU's bound."""
    layer = site.layer
    source = _operand(site, layer.inputs[0])
    image = site.tensor(source)
    target = site.output(image.batch)
    fields = _window_fields(site, layer.filter_dims.height, layer.filter_dims.width)
    least = -1 << (8 * image.width_bytes - 1)
    if layer.activation is Activation.RELU:
        least = max(least, layer.output_zero_point)
    fields["minimum"] = least
    leads = _window_leads(image, site.tensor(target), fields, rows_are_buffered=False)
    _record(site, ImageOp.MAX_POOL, (source,), target, fields, lead_bytes=leads)


def _element_leads(site: Site, operands: tuple[int, ...], target: int) -> dict[int, int]:
    """An operand of the output's extent may be overwritten if its elements are as wide or wider."""
    out = site.tensor(target)
    return {
        position: 0
        for position, operand in enumerate(operands)
        if site.tensor(operand).elements == out.elements
        and site.tensor(operand).width_bytes >= out.width_bytes
    }


def _constant_operand(layer: Layer) -> tuple[bytes, dict[str, int]]:
    """The filter [c][h][w] as bytes in memory order, and its extents."""
    assert layer.filter is not None
    channels, height, width = layer.filter.shape
    data = np.ascontiguousarray(layer.filter.transpose(1, 2, 0).astype(np.int8)).tobytes()
    return data, {
        "extent_height": height,
        "extent_width": width,
        "extent_channels": channels,
    }


def _binary(site: Site, op: ImageOp, channels: bytes, fields: dict[str, int], flags: Flag) -> None:
    operands = tuple(
        _reshaped(site, _operand(site, operand), (height, width, depth))
        for operand, (depth, height, width) in zip(
            site.layer.inputs, operand_shapes(site.layer), strict=False
        )
    )
    target = site.output(max(site.tensor(operand).batch for operand in operands))
    constants = b""
    if len(operands) == 1:
        constants, extents = _constant_operand(site.layer)
        fields = fields | extents
        flags |= Flag.CONSTANT
    if op is ImageOp.ADD and _is_narrow(site, operands, target, fields, channels):
        flags |= Flag.NARROW
    _record(
        site,
        op,
        operands,
        target,
        fields,
        constants=constants,
        channels=channels,
        flags=flags,
        lead_bytes=_element_leads(site, operands, target),
    )


def _is_narrow(
    site: Site, operands: tuple[int, ...], target: int, fields: Mapping[str, int], channels: bytes
) -> bool:
    """Whether a sum of int8 tensors of one shape can be computed in 32 bits."""
    tensors = [site.tensor(index) for index in (*operands, target)]
    out = tensors[-1]
    shape = (out.height, out.width, out.channels, out.batch, 1)
    if any((t.height, t.width, t.channels, t.batch, t.width_bytes) != shape for t in tensors):
        return False
    if len(operands) == 1:
        extents = ("extent_height", "extent_width", "extent_channels")
        if tuple(fields[name] for name in extents) != shape[:3] or out.batch != 1:
            return False
    first, second = np.frombuffer(channels, layout.CHANNEL)
    shift = int(first["shift"])
    if not 1 <= shift <= 30:
        return False
    largest = 128 * (abs(int(first["multiplier"])) + abs(int(second["multiplier"])))
    offset = abs(int(first["bias"])) + (abs(site.layer.output_zero_point) << shift)
    return largest + offset + (1 << shift) < _NARROW_LIMIT


def _add(site: Site) -> None:
    layer = site.layer
    assert layer.multipliers is not None
    assert layer.shifts is not None
    multipliers = layer.multipliers[:2].astype(np.int64)
    bias = np.zeros(2, np.int64)
    bias[0] = 0 if layer.bias is None else int(layer.bias[0])
    zeros = np.zeros(2, np.int64)
    shifts = np.full(2, int(layer.shifts[0]), np.int64)
    channels = weights.channel_bytes(bias, multipliers, zeros, shifts, site.where)
    _binary(site, ImageOp.ADD, channels, {}, Flag(0))


def _multiply(site: Site) -> None:
    layer = site.layer
    zero_points = [zero_point_of(site.program, operand.producer) for operand in layer.inputs]
    zero_points.append(layer.input_zero_point)
    fields = {"input_zero_point": zero_points[0], "second_zero_point": zero_points[1]}
    assert layer.multipliers is not None
    assert layer.shifts is not None
    one = np.zeros(1, np.int64)
    multiplier = layer.multipliers[:1].astype(np.int64)
    shifts = layer.shifts[:1].astype(np.int64)
    channels = weights.channel_bytes(one, multiplier, one, shifts, site.where)
    _binary(site, ImageOp.MULTIPLY, channels, fields, Flag(0))


# --- CPU activations ----------------------------------------------------------------------------


def _softmax(site: Site) -> None:
    layer = site.layer
    source = _operand(site, layer.inputs[0])
    target = site.output(site.tensor(source).batch)
    dims = layer.output_dims
    length = dims.width if dims.channels == dims.height == 1 else dims.channels
    assert layer.multipliers is not None
    assert layer.shifts is not None
    scale = np.float32(layer.multipliers[0]) / np.float32(2.0 ** int(layer.shifts[0]))
    record = np.zeros(1, layout.CHANNEL)
    record["multiplier"] = np.array([scale], np.float32).view(np.int32)
    leads = _element_leads(site, (source,), target)
    fields = {"extent_channels": length}
    _record(
        site,
        ImageOp.SOFTMAX,
        (source,),
        target,
        fields,
        channels=record.tobytes(),
        lead_bytes=leads,
    )


def _curve(site: Site) -> None:
    source = _operand(site, site.layer.inputs[0])
    if site.tensor(source).width_bytes != 2:
        raise UnsupportedError(
            f"{site.where}: input elements of {site.tensor(source).width_bytes} bytes, expected 2"
        )
    target = site.output(site.tensor(source).batch)
    op = ImageOp.SIGMOID if site.layer.op is Op.SIGMOID else ImageOp.TANH
    _record(site, op, (source,), target, {}, lead_bytes=_element_leads(site, (source,), target))


# --- layers that move data ----------------------------------------------------------------------

_Axes = tuple[_Indices, _Indices, _Indices]


def _copy(  # source, target and what of each
    site: Site,
    source: int,
    target: int,
    indices: _Axes,
    *,
    origin: _Extent = (0, 0, 0),
    images: Iterator[tuple[int, int]] | None = None,
    flags: Flag = Flag(0),  # noqa: B008  # an immutable enum member
    leads: Mapping[int, int] | None = None,
) -> None:
    """out[origin + (y, x, c)] = in[indices[0][y], indices[1][x], indices[2][c]]; -1 fills.

    images: pairs (input image, output image) to copy; by default each to its own.
    """
    image, out = site.tensor(source), site.tensor(target)
    rows, columns, channels = indices
    row_step, column_step = image.width * image.channels, image.channels
    image_step = image.height * row_step
    for source_image, target_image in images or ((n, n) for n in range(out.batch)):
        start = source_image * image_step
        rows_at = np.where(rows < 0, _FILL, rows * row_step + start)
        columns_at = np.where(columns < 0, _FILL, columns * column_step)
        tables, runs = weights.copy_tables(rows_at, columns_at, channels)
        row = target_image * out.height + origin[0]
        _record(
            site,
            ImageOp.COPY,
            (source,),
            target,
            {
                "second_zero_point": site.layer.output_zero_point,
                "minimum": -128,  # unused: copies do not clamp
                "extent_height": len(rows),
                "extent_width": len(columns),
                "extent_channels": len(channels),
                "destination": (row * out.width + origin[1]) * out.channels + origin[2],
            },
            constants=tables,
            flags=flags | (Flag.CHANNEL_RUNS if runs else Flag(0)),
            lead_bytes=leads,
        )


def _all(extent: _Extent) -> _Axes:
    height, width, channels = (np.arange(length, dtype=np.int64) for length in extent)
    return height, width, channels


def _extent_of(tensor: TensorDraft) -> _Extent:
    return (tensor.height, tensor.width, tensor.channels)


def _channel_pad(site: Site) -> None:
    source = _operand(site, site.layer.inputs[0])
    image, pads = site.tensor(source), site.layer.pads
    rows, columns, channels = _all(_extent_of(image))
    indices = (
        rows,
        np.pad(columns, (pads.left, pads.right), constant_values=_FILL),
        np.pad(channels, (pads.top, pads.bottom), constant_values=_FILL),
    )
    _copy(site, source, site.output(image.batch), indices)


def _concatenate(site: Site) -> None:
    position = _POSITION[Axis(site.layer.concat_axis)]
    at = 0
    for operand in site.layer.inputs:
        source = _operand(site, operand)
        extent = _extent_of(site.tensor(source))
        origin = [0, 0, 0]
        origin[position] = at
        target = site.output(site.tensor(source).batch)
        _copy(site, source, target, _all(extent), origin=(origin[0], origin[1], origin[2]))
        at += extent[position]


def _strided_slice(site: Site) -> None:
    layer = site.layer
    assert layer.filter is not None
    source = _operand(site, layer.inputs[0])
    height, width, channels = _all(_extent_of(site.tensor(source)))
    begin, end, stride = layer.filter.reshape(3, 3).tolist()
    c, y, x = (slice(*axis) for axis in zip(begin, end, stride, strict=True))
    target = site.output(site.tensor(source).batch)
    _copy(site, source, target, (height[y], width[x], channels[c]))


def _reshape(site: Site) -> None:
    """Memory order is TFLite's, so every element stays where it is."""
    source = _operand(site, site.layer.inputs[0])
    image = site.tensor(source)
    view = site.draft.new_tensor(site.extent, image.batch, image.width_bytes, image.storage)
    target = site.output(image.batch)
    leads = _element_leads(site, (source,), target) if image.batch == 1 else {}
    _copy(site, view, target, _all(site.extent), leads=leads)


def _space_to_batch(site: Site) -> None:
    source = _operand(site, site.layer.inputs[0])
    image, block, pads = site.tensor(source), site.layer.filter_dims, site.layer.pads
    target = site.output(image.batch * block.height * block.width)
    height, width, channels = site.extent
    for by in range(block.height):
        for bx in range(block.width):
            rows = np.arange(height, dtype=np.int64) * block.height + by - pads.top
            columns = np.arange(width, dtype=np.int64) * block.width + bx - pads.left
            indices = (
                np.where((rows >= 0) & (rows < image.height), rows, _FILL),
                np.where((columns >= 0) & (columns < image.width), columns, _FILL),
                np.arange(channels, dtype=np.int64),
            )
            blocks = block.height * block.width
            images = ((n, n * blocks + by * block.width + bx) for n in range(image.batch))
            _copy(site, source, target, indices, images=images)


def _batch_to_space(site: Site) -> None:
    """Each output image gathers from the images of its block, which lie one after the other."""
    source = _operand(site, site.layer.inputs[0])
    image, block, pads = site.tensor(source), site.layer.filter_dims, site.layer.pads
    height, width, channels = site.extent
    blocks = block.height * block.width
    target = site.output(image.batch // blocks)
    y = np.arange(height, dtype=np.int64) + pads.top
    x = np.arange(width, dtype=np.int64) + pads.left
    # A block image is image.height rows further on; seen as columns, height * width further.
    rows = (y % block.height) * block.width * image.height + y // block.height
    columns = (x % block.width) * image.height * image.width + x // block.width
    indices = (rows, columns, np.arange(channels, dtype=np.int64))
    images = ((n * blocks, n) for n in range(image.batch // blocks))
    _copy(site, source, target, indices, images=images)


def _resize_nearest(site: Site) -> None:
    layer = site.layer
    assert layer.cpu_attributes is not None
    align_corners, half_pixel = (bool(flag) for flag in layer.cpu_attributes[:2])
    source = _operand(site, layer.inputs[0])
    image = site.tensor(source)
    height, width, channels = site.extent
    indices = (
        nearest_indices(image.height, height, align_corners, half_pixel),
        nearest_indices(image.width, width, align_corners, half_pixel),
        np.arange(channels, dtype=np.int64),
    )
    _copy(site, source, site.output(image.batch), indices)


# --- persistent variables -----------------------------------------------------------------------


def _initial_value(site: Site) -> None:
    target = site.output(site.layer.output_dims.batch)
    variable = site.tensor(target)
    site.draft.persistent.add(variable.storage)
    height, width, channels = site.extent
    nothing = np.full(height, _FILL, np.int64)
    indices = (nothing, np.arange(width, dtype=np.int64), np.arange(channels, dtype=np.int64))
    _copy(site, target, target, indices, flags=Flag.AT_OPEN)


def _update(site: Site) -> None:
    operand = site.layer.inputs[0]
    if site.program.layers[operand.producer].op is Op.PERSISTENT_VARIABLE:
        raise UnsupportedError(f"{site.where}: a variable that takes over another one's value")
    source = _operand(site, operand)
    _copy(site, source, site.draft.values[site.index], _all(site.extent))


_LOWERINGS: Final[Mapping[Op, Callable[[Site], None]]] = MappingProxyType(
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
        Op.MEAN: _average,
        Op.SOFTMAX: _softmax,
        Op.SIGMOID: _curve,
        Op.TANH: _curve,
        Op.RESHAPE: _reshape,
        Op.SPACE_TO_BATCH: _space_to_batch,
        Op.BATCH_TO_SPACE: _batch_to_space,
        Op.RESIZE_NEAREST: _resize_nearest,
    }
)
