"""Layers of a program beside the tensors of host TFLite: along the model, and one at a time.

The compiler keeps tensor numbers through its rewrites, so most layers know which TFLite tensor they
compute. Compared along the model, one step of rounding in an early layer is in every later one.
Compared one at a time, each layer gets what TFLite computed for its operands: what then remains is
the layer's own difference, and that has a known bound (`harness.verify.bounds`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from compiler import (
    EXTERNAL_INPUT,
    Activation,
    AxonProgram,
    Layer,
    Op,
    Translation,
    execute_layer,
    view_operand,
)
from harness.compare import LayerDifference, LayerPair, Steps, in_steps, layer_difference
from harness.golden import Graph, TensorInfo, TracedTensor
from harness.layout import from_program, to_program
from harness.verify.bounds import EXACT, Deviation, activation_bound, deviation_of

Array = npt.NDArray[Any]

_FINE_STEP: Final = 2.0**-12
"""One step of a layer that feeds a softmax, sigmoid or tanh."""


@dataclass(frozen=True, slots=True)
class Counterpart:
    """The TFLite tensor that a layer computes.

    fine_step: real value of one step of the layer, where it has more bits than the tensor; else 0.
    """

    tensor: TensorInfo
    fine_step: float = 0.0


@dataclass(frozen=True, slots=True)
class OwnDifference:
    """A layer on TFLite's operands against TFLite's result.

    bound: steps that rounding explains. coarse: values beyond it that the few bits of their
    channel's multiplier explain. beyond: values that nothing explains; beyond_lsb: the largest
    difference among them.
    """

    difference: LayerDifference
    bound: int
    coarse: int
    beyond: int
    beyond_lsb: int


def counterparts(translation: Translation, graph: Graph) -> dict[int, Counterpart]:
    """The TFLite tensor of each layer, by layer; layers without one are left out."""
    found = {}
    for index, layer in enumerate(translation.program.layers):
        tensors = _tensors_of(translation, graph, index)
        if tensors:
            fine_step = _fine_step(translation, layer, tensors[0].index)
            found[index] = Counterpart(tensors[0], fine_step)
    return found


def tensor_values(
    translation: Translation, graph: Graph, layers: Sequence[Array]
) -> dict[int, Array]:
    """TFLite's tensors, by number, with the values of a program's layers (one sample, raw).

    Tensors that no layer has as int8 are left out.
    """
    return {
        tensor.index: from_program(values).reshape(tensor.shape)
        for index, values in enumerate(layers)
        if values.dtype == np.int8
        for tensor in _tensors_of(translation, graph, index)
    }


def pair_with_host(
    program: AxonProgram,
    places: Mapping[int, Counterpart],
    layers: Sequence[Array],
    traced: Mapping[int, Array],
) -> tuple[LayerPair, ...]:
    """Each layer of one sample beside TFLite's tensor, both in the tensor's steps and layout.

    layers: by index, raw, [batch, C, H, W]. traced: TFLite's tensors by number.
    """
    return tuple(
        _pair(program, index, place, traced[place.tensor.index], layers[index])
        for index, place in places.items()
    )


def pair_programs(
    program: AxonProgram, left: Sequence[Array], right: Sequence[Array]
) -> tuple[LayerPair, ...]:
    """The raw layers of two executors of one program for one sample, as [batch, H, W, C]."""
    return tuple(
        LayerPair(index, layer.op.name.lower(), "", from_program(a), from_program(b))
        for index, (layer, a, b) in enumerate(zip(program.layers, left, right, strict=True))
    )


def by_number(traced: Sequence[TracedTensor]) -> dict[int, Array]:
    """Traced values by the number of their tensor."""
    return {tensor.info.index: tensor.values for tensor in traced}


def pair_traces(
    left: Sequence[TracedTensor], right: Sequence[TracedTensor]
) -> tuple[LayerPair, ...]:
    """TFLite's int8 tensors from two sets of kernels; the index is the place in the trace."""
    return tuple(
        LayerPair(place, a.operator.lower(), a.info.name, a.values, b.values)
        for place, (a, b) in enumerate(zip(left, right, strict=True))
        if a.info.dtype == "int8"
    )


def own_differences(
    program: AxonProgram,
    graph: Graph,
    places: Mapping[int, Counterpart],
    sample: Array,
    traced: Mapping[int, Array],
) -> tuple[OwnDifference, ...]:
    """Every layer with a counterpart, by definition on what TFLite computed for its operands.

    sample: int8 [1, *input shape]. A layer without a counterpart passes on what it computes;
    persistent variables hold their first value.
    """
    values: dict[int, Array] = {EXTERNAL_INPUT: to_program(sample, program.input_dims)}
    deviations: dict[int, Deviation] = {EXTERNAL_INPUT: EXACT}
    paired = {place.tensor.index for place in places.values()}
    found = []
    for index, layer in enumerate(program.layers):
        values[index] = result = _execute(program, layer, values)
        known = [deviations.get(item.producer, EXACT) for item in layer.inputs]
        deviations[index] = deviation = deviation_of(layer, known)
        if (place := places.get(index)) is None:
            continue
        given = traced[place.tensor.index]
        pair = _pair(program, index, place, given, result)
        fused = activation_bound(graph, place.tensor, paired)
        found.append(_judge(pair, deviation.rounding_bound + fused, deviation.bound + fused))
        values[index], deviations[index] = _as_layer(layer, place, given, like=result), EXACT
    return tuple(found)


def _tensors_of(translation: Translation, graph: Graph, index: int) -> list[TensorInfo]:
    """The tensors of the file that hold a layer's elements, under one shape or several."""
    legal, known = translation.legal, len(translation.source.tensors)
    root = legal.operators[index].outputs[0]
    numbers = (root, *(alias for alias in legal.aliases if legal.root(alias) == root))
    tensors = [graph.tensors[n] for n in numbers if n < known and n in graph.tensors]
    elements = translation.program.layers[index].output_dims.elements
    return [t for t in tensors if t.dtype == "int8" and t.elements == elements]


def _fine_step(translation: Translation, layer: Layer, tensor: int) -> float:
    """2^-12 of what the activation computes with; a softmax's beta is in the multipliers."""
    if layer.activation is not Activation.PREPARE_SOFTMAX and layer.output_dims.byte_width != 2:
        return 0.0
    readers = translation.source.consumers(tensor)
    beta = [op.attributes["beta"] for op in readers if op.code == "SOFTMAX"]
    return _FINE_STEP / float(beta[0]) if beta else _FINE_STEP


def _execute(program: AxonProgram, layer: Layer, values: Mapping[int, Array]) -> Array:
    dims = layer.output_dims
    if layer.op is Op.PERSISTENT_VARIABLE:
        return np.full((dims.batch, *dims.shape), layer.output_zero_point, np.int8)
    operands = [view_operand(values[operand.producer], operand) for operand in layer.inputs]
    return execute_layer(program, layer, operands)


def _judge(pair: LayerPair, bound: int, wide: npt.NDArray[np.int64]) -> OwnDifference:
    """wide: the bound of each channel (the last axis), or of all of them."""
    gaps = np.abs(pair.right.astype(np.int64) - pair.left.astype(np.int64))
    beyond = gaps > wide
    coarse = (gaps > bound) & ~beyond
    return OwnDifference(
        difference=layer_difference(pair),
        bound=bound,
        coarse=int(np.count_nonzero(coarse)),
        beyond=int(np.count_nonzero(beyond)),
        beyond_lsb=int(gaps[beyond].max(initial=0)),
    )


def _pair(
    program: AxonProgram, index: int, place: Counterpart, left: Array, right: Array
) -> LayerPair:
    layer, info = program.layers[index], place.tensor
    maps = from_program(right).reshape(info.shape)
    if place.fine_step:
        steps = Steps(info.scale, info.zero_point)
        maps = in_steps(maps * place.fine_step, steps)
        # What exceeds the layer's range is cut on both sides.
        left = in_steps(_fine(layer, place, left) * place.fine_step, steps)
    return LayerPair(index, layer.op.name.lower(), info.name, left, maps)


def _as_layer(layer: Layer, place: Counterpart, values: Array, like: Array) -> Array:
    """TFLite's values as the layer's output: its units, its layout."""
    codes = _fine(layer, place, values) if place.fine_step else values
    dims = layer.output_dims
    maps = codes.reshape(len(like), dims.height, dims.width, dims.channels)
    return np.ascontiguousarray(maps.transpose(0, 3, 1, 2).astype(like.dtype))


def _fine(layer: Layer, place: Counterpart, values: Array) -> Array:
    """TFLite's codes in the layer's finer steps, saturated, float64."""
    real = (values.astype(np.float64) - place.tensor.zero_point) * place.tensor.scale
    limit = math.ldexp(1.0, 8 * layer.output_dims.byte_width - 1)
    return np.clip(np.rint(real / place.fine_step), -limit, limit - 1)
