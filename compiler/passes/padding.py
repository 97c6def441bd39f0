"""A spatial PAD becomes the padding of the convolutions that read it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from compiler.dims import dims_of
from compiler.ir import Dims, Pads
from compiler.model import Model, Operator
from compiler.passes.identity import widening


def fold_padding(model: Model) -> Model:
    """Fold where every reader is a convolution; other PADs stay, for the constraints to judge."""
    for op in reversed(model.operators):
        if op.code != "PAD" or spatial_pads(model, op) is None:
            continue
        readers = model.consumers(op.outputs[0])
        foldable = all(_takes_pads(model, op, reader) for reader in readers)
        if readers and foldable and not model.is_output(op.outputs[0]):
            model = _fold(model, op, readers)
    return model


def pad_channels_behind(model: Model) -> Model:
    """Channels only behind: a 1x1 convolution, for the NPU's own padding fills the wrong one."""
    for op in model.operators:
        table = paddings(model, op) if op.code == "PAD" else None
        if table is None or table[:3].any() or table.min() < 0 or table.max() > 255:
            continue
        if table[3, 0] or len(model.tensors[op.inputs[0]].shape) not in (3, 4):
            continue
        model, wider = widening(model, op.index, op.inputs[0], op.outputs[0], 0)
        model = model.replaced(op, wider)
    return model


def _takes_pads(model: Model, pad: Operator, reader: Operator) -> bool:
    """A convolution that sees the padded tensor in the shape in which it was padded."""
    if reader.code not in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        return False
    shapes = (model.tensors[i].shape for i in (pad.outputs[0], reader.inputs[0]))
    return len({dims_of(shape) for shape in shapes}) == 1


def paddings(model: Model, op: Operator) -> np.ndarray[tuple[int, int], np.dtype[np.int64]] | None:
    """[4][2] of batch, height, width, channel; None when not constant or of another rank."""
    table = model.constant(op.inputs[1]) if len(op.inputs) > 1 else None
    if table is None or table.ndim != 2 or table.shape[1] != 2 or table.shape[0] not in (3, 4):
        return None
    full = np.zeros((4, 2), np.int64)
    full[4 - table.shape[0] :] = table
    return full


def spatial_pads(model: Model, op: Operator) -> Pads | None:
    """The pads of a purely spatial PAD, else None."""
    table = paddings(model, op)
    if table is None or table[0].any() or table[3].any() or table.min() < 0 or table.max() > 255:
        return None
    (top, bottom), (left, right) = table[1].tolist(), table[2].tolist()
    return Pads(left, right, top, bottom)


def _fold(model: Model, op: Operator, readers: tuple[Operator, ...]) -> Model:
    outer = spatial_pads(model, op)
    assert outer is not None
    for reader in readers:
        own = window_pads(model, reader)
        pads = Pads(
            outer.left + own.left,
            outer.right + own.right,
            outer.top + own.top,
            outer.bottom + own.bottom,
        )
        moved = replace(reader, inputs=(op.inputs[0], *reader.inputs[1:]))
        model = model.replaced(reader, moved.with_attributes(pads=pads))
    return model.without(op)


def window_pads(model: Model, op: Operator) -> Pads:
    """The pads of a convolution or pool, from its own attribute or from SAME / VALID."""
    if "pads" in op.attributes:
        pads: Pads = op.attributes["pads"]
        return pads
    if op.attributes["padding"] == "VALID":
        return Pads()
    extent = dims_of(model.tensors[op.inputs[0]].shape)
    height, width = window_extent(model, op)
    top, bottom = _same(extent.height, height, op.attributes["stride_h"])
    left, right = _same(extent.width, width, op.attributes["stride_w"])
    return Pads(left, right, top, bottom)


def window_extent(model: Model, op: Operator) -> tuple[int, int]:
    """(height, width) of the window, dilation included."""
    if "filter_height" in op.attributes:
        return op.attributes["filter_height"], op.attributes["filter_width"]
    weights = dims_of(model.tensors[op.inputs[1]].shape)
    return (
        (weights.height - 1) * op.attributes["dilation_h_factor"] + 1,
        (weights.width - 1) * op.attributes["dilation_w_factor"] + 1,
    )


def _same(extent: int, window: int, stride: int) -> tuple[int, int]:
    """TensorFlow's SAME: as many outputs as ceil(extent / stride), the odd pad at the end."""
    total = max(window - (extent % stride or stride), 0)
    return total // 2, total - total // 2


def window_outputs(extent: Dims, window: tuple[int, int], pads: Pads, op: Operator) -> Dims:
    """Extent of the result of a window operation (channels as the input's)."""
    height = (extent.height + pads.top + pads.bottom - window[0]) // op.attributes["stride_h"] + 1
    width = (extent.width + pads.left + pads.right - window[1]) // op.attributes["stride_w"] + 1
    return Dims(height, width, extent.channels, 1, extent.batch)
