"""Which output or layer of a program is which tensor of the TFLite model.

An Axon program carries no tensor names. Its outputs and layers are recognised by extent and
quantization, and among equals by order; a layer that cannot be told apart is left out rather than
guessed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from compiler import AxonProgram, dequantize_output
from harness.compare import LayerPair, Side, Steps, in_steps
from harness.errors import ConfigError
from harness.golden import TensorInfo, TracedTensor
from harness.layout import from_program

Array = npt.NDArray[Any]

_SCALE_TOLERANCE: Final = 1e-4
"""A program stores scales as multiplier and shift, and the vendor's rounding adds up to 1e-5."""
_FUSED: Final = frozenset({"RELU", "RELU6", "RELU_N1_TO_1", "LEAKY_RELU"})
"""Operators that become part of the layer before them."""
_RESHAPES: Final = frozenset({"RESHAPE", "SQUEEZE", "EXPAND_DIMS"})


@dataclass(frozen=True, slots=True)
class OutputPair:
    """One output. position: in `program.output_layers`; layer: its index in the program."""

    position: int
    layer: int
    tensor: TensorInfo


def pair_outputs(
    program: AxonProgram, tensors: Sequence[TensorInfo], *, transposed: bool = False
) -> tuple[OutputPair, ...]:
    """The program's output for each of the model's outputs, in the model's order.

    Raises ConfigError when some output has no counterpart.
    """
    free = list(enumerate(program.output_layers))
    pairs = []
    for tensor in tensors:
        fits = [item for item in free if _extent(program, item[1], transposed) == _model(tensor)]
        exact = [item for item in fits if same_quantization(program, item[1], tensor)]
        if not fits:
            raise ConfigError(
                f"no output of the program has the extent of the model's output '{tensor.name}', "
                f"{list(tensor.shape)}"
            )
        chosen = (exact or fits)[0]
        free.remove(chosen)
        pairs.append(OutputPair(*chosen, tensor))
    return tuple(pairs)


def pair_layers(
    program: AxonProgram,
    layers: Sequence[Array],
    traced: Sequence[TracedTensor],
    *,
    transposed: bool = False,
) -> tuple[LayerPair, ...]:
    """Layers of the program beside the tensors that TFLite computed, for one sample.

    layers: `Execution.layers` of one sample, [batch, C, H, W]; traced: of the same sample.
    Layers whose extent and quantization occur a different number of times on both sides are left
    out, and so are those in other units (before a softmax, 32-bit outputs).
    """
    candidates = _stored(traced)
    keys = [
        (_extent(program, index, transposed), *_quantization(program, index))
        for index in range(len(layers))
    ]
    pairs = []
    for index, values in enumerate(layers):
        ours = [i for i, key in enumerate(keys) if _alike(key, keys[index])]
        theirs = [
            tensor
            for tensor in candidates
            if tensor.values.dtype == values.dtype
            and _alike((_model(tensor.info), *_steps(tensor.info)), keys[index])
        ]
        if len(ours) == len(theirs):
            tensor = theirs[ours.index(index)]
            maps = from_program(values, transposed=transposed).reshape(tensor.info.shape)
            op = program.layers[index].op.name.lower()
            pairs.append(LayerPair(index, op, tensor.info.name, tensor.values, maps))
    return tuple(pairs)


def same_quantization(program: AxonProgram, layer: int, tensor: TensorInfo) -> bool:
    """Whether a layer's integers mean what the tensor's do."""
    scale, zero_point = _quantization(program, layer)
    return zero_point == tensor.zero_point and math.isclose(
        scale, tensor.scale, rel_tol=_SCALE_TOLERANCE
    )


def real_output(program: AxonProgram, layer: int, raw: Array) -> Array:
    """An output layer's integers as real values, float64 of the same shape."""
    # The program's own output scale describes its last output better than the layer's field does.
    last = layer == program.output_layers[-1]
    return dequantize_output(program, raw, None if last else layer)


def device_side(
    name: str, program: AxonProgram, pairs: Sequence[OutputPair], outputs: Sequence[Array]
) -> Side:
    """A device's raw outputs (in the model's order) in the steps of the model's outputs.

    Integers of the same quantization are taken as they are; others go through real values.
    """
    aligned = []
    for pair, raw in zip(pairs, outputs, strict=True):
        if raw.dtype.name == pair.tensor.dtype and same_quantization(
            program, pair.layer, pair.tensor
        ):
            aligned.append(raw)
        else:
            real = real_output(program, pair.layer, raw)
            aligned.append(in_steps(real, steps_of(pair.tensor), pair.tensor.dtype))
    return Side(name, tuple(aligned), tuple(steps_of(pair.tensor) for pair in pairs))


def steps_of(tensor: TensorInfo) -> Steps:
    """The quantization of a tensor."""
    return Steps(tensor.scale, tensor.zero_point)


def _stored(traced: Sequence[TracedTensor]) -> list[TracedTensor]:
    """Without what a program never stores: tensors that an activation takes over at once, and
    reshapes that only add or drop axes of extent 1."""
    kept = []
    for before, tensor, after in zip(
        [None, *traced[:-1]], traced, [*traced[1:], None], strict=True
    ):
        extent = _model(tensor.info)
        fused = after is not None and after.operator in _FUSED and _model(after.info) == extent
        renamed = tensor.operator in _RESHAPES and before and _model(before.info) == extent
        if not (fused or renamed):
            kept.append(tensor)
    return kept


def _extent(program: AxonProgram, index: int, transposed: bool) -> tuple[int, ...]:
    dims = program.layers[index].output_dims
    height, width = (dims.width, dims.height) if transposed else (dims.height, dims.width)
    return tuple(n for n in (dims.batch, height, width, dims.channels) if n != 1)


def _model(tensor: TensorInfo) -> tuple[int, ...]:
    return tuple(n for n in tensor.shape if n != 1)


def _steps(tensor: TensorInfo) -> tuple[float, int]:
    return tensor.scale, tensor.zero_point


def _quantization(program: AxonProgram, index: int) -> tuple[float, int]:
    """Scale and zero point of a layer's integers, from what 0 and 1 mean."""
    low, high = dequantize_output(program, np.array([0, 1]), index)
    scale = float(high - low)
    return (scale, round(-float(low) / scale)) if scale else (0.0, 0)


def _alike(
    left: tuple[tuple[int, ...], float, int], right: tuple[tuple[int, ...], float, int]
) -> bool:
    return (
        left[0] == right[0]
        and left[2] == right[2]
        and math.isclose(left[1], right[1], rel_tol=_SCALE_TOLERANCE)
    )
