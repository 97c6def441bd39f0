"""A model of one operator with fewer channels, rows or columns, and its input cut to match."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from harness.verify.network import drop_unused_buffers, make_buffer, operator_name, pack, unpack

Array = npt.NDArray[Any]

_DTYPES: Final = {2: np.int32, 9: np.int8}
"""Element types by their number in the schema."""
_POOLS: Final = frozenset({"MAX_POOL_2D", "AVERAGE_POOL_2D"})
_ELEMENTWISE: Final = frozenset(
    {"ADD", "SUB", "MUL", "RELU", "RELU6", "RELU_N1_TO_1", "LEAKY_RELU", "LOGISTIC", "TANH"}
)
_SAME: Final = 0


class Extent(Enum):
    """What is made smaller."""

    OUTPUT_CHANNELS = "output channels"
    CHANNELS = "channels"
    INPUT_CHANNELS = "input channels"
    ROWS = "rows"
    COLUMNS = "columns"


@dataclass(frozen=True, slots=True, eq=False)
class _Site:
    """The only operator of a model. shape: of its input."""

    model: Any
    graph: Any
    operator: Any
    name: str
    shape: list[int]

    def tensor(self, number: int) -> Any:
        return self.graph.tensors[number]

    @property
    def output(self) -> Any:
        return self.tensor(self.operator.outputs[0])


def size_of(data: bytes, extent: Extent) -> int:
    """How many there are; 0 where the model cannot be narrowed that way."""
    site = _site(data)
    if site is None or not _fits(site, extent):
        return 0
    if extent is Extent.OUTPUT_CHANNELS:
        return int(site.output.shape[-1])
    return site.shape[_axis(site, extent)]


def narrow(
    data: bytes, inputs: Array, extent: Extent, start: int, stop: int
) -> tuple[bytes, Array]:
    """Keep `start` to `stop` of what `size_of` counts. inputs: [N, ...]; returned cut to match.

    Raises ValueError when nothing of the output would be left.
    """
    site = _site(data)
    assert site is not None  # size_of said so
    keep = slice(start, stop)
    if extent is Extent.OUTPUT_CHANNELS:
        _cut_weights(site, 0, keep)
        _set_extent(site.output, -1, stop - start)
        return _packed(site), inputs
    axis = _axis(site, extent)
    _cut_operands(site, extent, axis, keep)
    _set_extent(site.tensor(site.graph.inputs[0]), axis, stop - start)
    if extent is not Extent.INPUT_CHANNELS:
        _set_extent(site.output, axis, _result(site, axis, stop - start))
    cut = [slice(None)] * inputs.ndim
    cut[axis] = keep
    return _packed(site), np.ascontiguousarray(inputs[tuple(cut)])


def _packed(site: _Site) -> bytes:
    drop_unused_buffers(site.model)
    return pack(site.model)


def _cut_operands(site: _Site, extent: Extent, axis: int, keep: slice) -> None:
    """Constants that belong to what is cut away from the input."""
    if extent is Extent.INPUT_CHANNELS:
        _cut_constant(site, site.operator.inputs[1], -1, keep)
    elif extent is Extent.CHANNELS and site.name == "DEPTHWISE_CONV_2D":
        _cut_weights(site, -1, keep)
    elif site.name in _ELEMENTWISE:
        for number in site.operator.inputs:
            # A constant operand is aligned with the last axis; extent 1 is repeated.
            place = axis - len(site.shape) + len(site.tensor(number).shape)
            constant = site.tensor(number).buffer != 0
            if constant and place >= 0 and site.tensor(number).shape[place] > 1:
                _cut_constant(site, number, place, keep)


def _site(data: bytes) -> _Site | None:
    model = unpack(data)
    graph = model.subgraphs[0]
    if len(graph.operators) != 1:
        return None
    operator = graph.operators[0]
    shape = [int(n) for n in graph.tensors[graph.inputs[0]].shape]
    return _Site(model, graph, operator, operator_name(model, operator), shape)


def _fits(site: _Site, extent: Extent) -> bool:
    """Whether the operator's result follows from the part that stays."""
    maps = len(site.shape) == 4
    if site.name == "FULLY_CONNECTED":
        flat = len(site.shape) == 2
        return extent is Extent.OUTPUT_CHANNELS or (extent is Extent.INPUT_CHANNELS and flat)
    if site.name == "CONV_2D":
        return maps and extent is not Extent.CHANNELS
    if site.name == "DEPTHWISE_CONV_2D":
        single = site.operator.builtinOptions.depthMultiplier == 1
        spatial = extent in (Extent.ROWS, Extent.COLUMNS)
        return maps and (spatial or (single and extent is Extent.CHANNELS))
    if site.name in _POOLS or site.name in _ELEMENTWISE:
        same = site.name in _POOLS or list(site.output.shape) == site.shape
        return maps and same and extent not in (Extent.OUTPUT_CHANNELS, Extent.INPUT_CHANNELS)
    return False


def _axis(site: _Site, extent: Extent) -> int:
    return {Extent.ROWS: 1, Extent.COLUMNS: 2}.get(extent, len(site.shape) - 1)


def _result(site: _Site, axis: int, extent: int) -> int:
    """Extent of the output along an axis, for an input of this extent."""
    if site.name in _ELEMENTWISE or axis not in (1, 2):
        return extent
    options = site.operator.builtinOptions
    stride = int((options.strideH, options.strideW)[axis - 1])
    if options.padding == _SAME:
        return -(-extent // stride)
    if site.name in _POOLS:
        reach = int((options.filterHeight, options.filterWidth)[axis - 1])
    else:
        dilation = int((options.dilationHFactor, options.dilationWFactor)[axis - 1])
        reach = (int(site.tensor(site.operator.inputs[1]).shape[axis]) - 1) * dilation + 1
    result = (extent - reach) // stride + 1
    if result < 1:
        raise ValueError("the window does not fit any more")
    return result


def _cut_weights(site: _Site, axis: int, keep: slice) -> None:
    """Weights along an axis, and the bias, if there is one."""
    _cut_constant(site, site.operator.inputs[1], axis, keep)
    for number in site.operator.inputs[2:]:
        if number >= 0:
            _cut_constant(site, number, 0, keep)


def _cut_constant(site: _Site, number: int, axis: int, keep: slice) -> None:
    tensor = site.tensor(number)
    shape: Sequence[int] = [int(n) for n in tensor.shape]
    place = axis % len(shape)
    raw = np.asarray(site.model.buffers[tensor.buffer].data, np.uint8).tobytes()
    values = np.frombuffer(raw, _DTYPES[tensor.type]).reshape(shape)
    index = [slice(None)] * len(shape)
    index[place] = keep
    kept = values[tuple(index)]
    tensor.shape = list(kept.shape)
    tensor.buffer = len(site.model.buffers)
    site.model.buffers.append(make_buffer(kept))
    quantization = tensor.quantization
    if len(quantization.scale) == shape[place] > 1 and quantization.quantizedDimension == place:
        quantization.scale = quantization.scale[keep]
        quantization.zeroPoint = quantization.zeroPoint[keep]


def _set_extent(tensor: Any, axis: int, extent: int) -> None:
    shape = [int(n) for n in tensor.shape]
    shape[axis] = extent
    tensor.shape = shape
    tensor.shapeSignature = None
