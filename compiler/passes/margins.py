"""Spatial PADs that no convolution takes over: of a max pool, or a layer of their own."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import numpy as np

from compiler.ir import Pads
from compiler.model import Model, Operator, Tensor
from compiler.options import CompileOptions
from compiler.passes.identity import PLAIN, with_weights
from compiler.passes.padding import paddings, spatial_pads, window_pads

LOWEST_CODE = -128


def plain_padding(model: Model) -> Model:
    """PADV2 that pads with real zero becomes PAD; space and channels are padded one by one."""
    for op in model.operators:
        if op.code == "PADV2" and _fill(model, op) == _zero_point(model, op):
            model = model.replaced(op, replace(op, code="PAD", inputs=op.inputs[:2]))
    for op in model.operators:
        if op.code == "PAD":
            model = _one_by_one(model, op)
    return model


def _one_by_one(model: Model, op: Operator) -> Model:
    """Channels first, so that a convolution behind can take the rest."""
    table = paddings(model, op)
    if table is None or not table[1:3].any() or not table[3].any():
        return model
    rank = len(model.tensors[op.inputs[0]].shape)
    space, depth = table[4 - rank :].copy(), table[4 - rank :].copy()
    space[-1], depth[:-1] = 0, 0
    source = model.tensors[op.inputs[0]]
    shape = (*source.shape[:-1], source.shape[-1] + int(table[3].sum()))
    model, between = model.with_tensor(replace(source, shape=shape))
    steps = []
    for values, ends in ((depth, (op.inputs[0], between)), (space, (between, op.outputs[0]))):
        constant = Tensor("pads", values.shape, "int32", None, values.astype(np.int32))
        model, number = model.with_tensor(constant)
        steps.append(replace(op, inputs=(ends[0], number), outputs=(ends[1],)))
    return model.replaced(op, *steps)


def pad_pools(model: Model) -> Model:
    """Padding with the least code in front of max pools is the pools' own, which never wins."""
    for op in reversed(model.operators):
        if op.code not in ("PAD", "PADV2") or spatial_pads(model, op) is None:
            continue
        readers = model.consumers(op.outputs[0])
        pools = readers and all(_takes_pads(model, op, reader) for reader in readers)
        if pools and _fill(model, op) == LOWEST_CODE and not model.is_output(op.outputs[0]):
            for reader in readers:
                model = _give(model, op, reader)
            model = model.without(op)
    return model


def _takes_pads(model: Model, pad: Operator, reader: Operator) -> bool:
    shapes = [model.tensors[i].shape for i in (pad.outputs[0], reader.inputs[0])]
    return reader.code == "MAX_POOL_2D" and shapes[0] == shapes[1] and len(shapes[0]) == 4


def _give(model: Model, pad: Operator, reader: Operator) -> Model:
    outer, own = spatial_pads(model, pad), window_pads(model, reader)
    assert outer is not None
    pads = Pads(
        outer.left + own.left,
        outer.right + own.right,
        outer.top + own.top,
        outer.bottom + own.bottom,
    )
    moved = replace(reader.with_attributes(pads=pads), inputs=(pad.inputs[0],))
    return model.replaced(reader, moved)


def pad_maps(model: Model, options: CompileOptions) -> Model:
    """A spatial PAD that is left becomes a depthwise convolution that copies, with its padding.

    Above the map the NPU pads no more rows than its filter has, so the filter has as many: a one,
    and zeros below it.
    """
    for op in model.operators:
        pads = spatial_pads(model, op) if op.code == "PAD" else None
        if pads is None or len(model.tensors[op.inputs[0]].shape) not in (3, 4):
            continue
        if any((pads.left, pads.right, pads.top, pads.bottom)):
            model = _as_layer(model, op, pads, options)
    return model


def _as_layer(model: Model, op: Operator, pads: Pads, options: CompileOptions) -> Model:
    channels = model.tensors[op.inputs[0]].shape[-1]
    above = max(pads.left if options.transpose else pads.top, 1)
    kernel = (1, above) if options.transpose else (above, 1)
    weights = np.zeros((1, *kernel, channels), np.int8)
    weights[0, 0, 0] = 1
    model, number, bias = with_weights(model, "margin", weights, channels)
    wider = Pads(pads.left, pads.right + kernel[1] - 1, pads.top, pads.bottom + kernel[0] - 1)
    attributes = MappingProxyType({**PLAIN, "depth_multiplier": 1, "pads": wider})
    operands = (op.inputs[0], number, bias)
    layer = Operator(op.index, "DEPTHWISE_CONV_2D", operands, op.outputs, attributes)
    return model.replaced(op, layer)


def _zero_point(model: Model, op: Operator) -> int | None:
    quant = model.tensors[op.inputs[0]].quant
    return None if quant is None else quant.zero_point


def _fill(model: Model, op: Operator) -> int | None:
    """The code that is padded with; None when it is computed."""
    if op.code == "PAD":
        return _zero_point(model, op)
    value = model.constant(op.inputs[2]) if len(op.inputs) > 2 else None
    return None if value is None or value.size != 1 else int(value.flat[0])
