"""Fully connected layers over several rows: the NPU computes them as a 1x1 convolution.

Its operand is then a map with a channel for each input, its result one with a channel for each
output, while TFLite's [rows, outputs] would lie as a map of one channel. So both get their true
shape: that of the map whose pixels the rows are, where a reshape took it apart, else one row.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import numpy as np

from compiler.dims import dims_of
from compiler.ir import Dims
from compiler.model import Model, Operator
from compiler.passes.identity import PLAIN
from compiler.passes.lines import TURNED
from compiler.passes.reshapes import RESHAPES


def lay_out_rows(model: Model) -> Model:
    """Maps in front of such a layer and behind it, with reshapes to what its neighbours expect."""
    for op in model.operators:
        weights = model.constant(op.inputs[1]) if op.code == "FULLY_CONNECTED" else None
        if weights is None or weights.ndim != 2 or 0 in weights.shape or len(op.outputs) != 1:
            continue
        elements, inputs = model.tensors[op.inputs[0]].elements, weights.shape[1]
        if elements > inputs and elements % inputs == 0:
            model = _lay_out(model, op, elements // inputs, inputs)
    return model


def _lay_out(model: Model, op: Operator, rows: int, inputs: int) -> Model:
    source = _before_reshapes(model, op.inputs[0])
    shape = model.tensors[source].shape
    result = model.tensors[op.outputs[0]]
    steps: list[Operator] = []
    if not 3 <= len(shape) <= 4 or shape[-1] != inputs or dims_of(shape).batch != 1:
        line = (1, rows, inputs)
        if shape != line:
            model, flat = model.with_tensor(replace(model.tensors[source], shape=line, data=None))
            steps.append(Operator(op.index, "RESHAPE", (source,), (flat,), TURNED))
            source = flat
        shape = line
    layer = replace(op, inputs=(source, *op.inputs[1:]))
    if dims_of(shape) != Dims(1, rows, inputs):
        model, layer = _as_convolution(model, layer)
    target = (*shape[:-1], result.elements // rows)
    if result.shape != target:
        model, laid = model.with_tensor(replace(result, shape=target))
        layer = replace(layer, outputs=(laid,))
        steps += [layer, Operator(op.index, "RESHAPE", (laid,), op.outputs, TURNED)]
    else:
        steps.append(layer)
    return model.replaced(op, *steps)


def _before_reshapes(model: Model, tensor: int) -> int:
    producer = model.producer(tensor)
    while producer is not None and producer.code in RESHAPES and len(producer.outputs) == 1:
        if producer.code == "PACK" and len(producer.inputs) > 1:
            break
        tensor = producer.inputs[0]
        producer = model.producer(tensor)
    return tensor


def _as_convolution(model: Model, op: Operator) -> tuple[Model, Operator]:
    weights = model.tensors[op.inputs[1]]
    outputs, inputs = weights.shape
    kernel = np.asarray(weights.data).reshape(outputs, 1, 1, inputs)
    model, number = model.with_tensor(replace(weights, shape=kernel.shape, data=kernel))
    attributes = MappingProxyType({**PLAIN, **op.attributes})
    operands = (op.inputs[0], number, *op.inputs[2:])
    return model, replace(op, code="CONV_2D", inputs=operands, attributes=attributes)
