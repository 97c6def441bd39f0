"""The random programs that engines are compared on: valid, varied, repeatable; and the reference
against integer arithmetic done one element at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest

from compiler import (
    EXTERNAL_INPUT,
    Activation,
    AxonProgram,
    Dims,
    Layer,
    Op,
    decode,
    differences,
    encode,
    interpret,
    verify,
)
from tests.support.random_programs import FEATURES, random_inputs, random_program

SEEDS = range(1000)
CHECKED_PER_LAYER = 6
LINEAR = (Op.CONV2D, Op.POINTWISE_CONV2D, Op.DEPTHWISE_CONV2D)

Array = npt.NDArray[np.integer]


@pytest.fixture(scope="module")
def programs() -> list[AxonProgram]:
    return [random_program(seed) for seed in SEEDS]


def test_every_program_is_valid_and_survives_the_binary(programs: list[AxonProgram]) -> None:
    for program in programs:
        verify(program)
        assert list(differences(program, decode(encode(program)))) == []


def test_the_same_seed_gives_the_same_program(programs: list[AxonProgram]) -> None:
    for seed in (0, 7, 999):
        assert encode(random_program(seed)) == encode(programs[seed])
        first, second = (random_inputs(programs[seed], seed, 2) for _ in range(2))
        np.testing.assert_array_equal(first, second)
    assert encode(programs[0]) != encode(programs[len(FEATURES)])


def test_every_operation_and_kind_of_requantization_occurs(programs: list[AxonProgram]) -> None:
    seen = Counter(kind for program in programs for kind in _kinds(program))
    expected = {op.name for op in Op if op is not Op.LSTM}
    expected |= {activation.name for activation in Activation}
    expected |= {"int8", "int16", "int32", "split", "reshaped", "constant", "broadcast"}
    expected |= {"dilation", "stride", "pads", "shift per channel", "one shift", "no bias"}
    expected |= {"several outputs", "batch", "shift 0", "negative multiplier"}
    assert expected - seen.keys() == set()
    assert min(seen[kind] for kind in expected) >= 5


def _kinds(program: AxonProgram) -> Iterator[str]:
    if len(program.output_layers) > 1:
        yield "several outputs"
    for layer in program.layers:
        yield layer.op.name
        yield layer.activation.name
        yield f"int{8 * layer.output_dims.byte_width}"
        yield from _features(program, layer)


def _features(program: AxonProgram, layer: Layer) -> Iterator[str]:
    for operand in layer.inputs:
        whole = _dims_of(program, operand.producer)
        if operand.dims.elements != whole.elements:
            yield "split"
        elif operand.dims.shape != whole.shape:
            yield "reshaped"
        if operand.dims.batch > 1:
            yield "batch"
    if layer.op in (Op.ADD, Op.MULTIPLY):
        yield "constant" if layer.filter is not None else "two layers"
        if layer.filter_dims.shape != layer.output_dims.shape:
            yield "broadcast"
    if layer.op in LINEAR:
        yield "dilation" if layer.dilation_x > 1 else "no dilation"
        yield "stride" if layer.stride_y > 1 else "no stride"
        yield "pads" if layer.pads.left != layer.pads.right else "no pads"
        yield "no bias" if layer.bias is None else "bias"
    assert layer.shifts is not None
    assert layer.multipliers is not None
    yield "shift per channel" if layer.shifts.size > 1 else "one shift"
    if layer.op in LINEAR and layer.shifts.min() == 0:
        yield "shift 0"
    if layer.multipliers.min() < 0:
        yield "negative multiplier"


def _dims_of(program: AxonProgram, producer: int) -> Dims:
    if producer == EXTERNAL_INPUT:
        return program.input_dims
    return program.layers[producer].output_dims


# --- the reference, element by element ----------------------------------------------------------


def test_linear_layers_equal_plain_integer_arithmetic(programs: list[AxonProgram]) -> None:
    """Python's own integers and fractions, one output element at a time."""
    rng = np.random.default_rng(0)
    checked = 0
    for seed in range(0, len(programs), 2):
        program = programs[seed]
        inputs = random_inputs(program, seed)
        layers = interpret(program, inputs).layers
        for index, layer in enumerate(program.layers):
            producer = layer.inputs[0].producer
            if layer.op not in LINEAR or layer.inputs[0].dims != _dims_of(program, producer):
                continue
            source = inputs if producer == EXTERNAL_INPUT else layers[producer]
            for _ in range(CHECKED_PER_LAYER):
                at = tuple(int(rng.integers(0, extent)) for extent in layers[index].shape)
                assert int(layers[index][at]) == _element(layer, source[at[0]], at[1:])
                checked += 1
    assert checked > 3000


def _element(layer: Layer, image: Array, at: tuple[int, ...]) -> int:
    channel, y, x = at
    assert layer.filter is not None
    assert layer.multipliers is not None
    assert layer.shifts is not None
    weights = layer.filter[channel]
    total = 0 if layer.bias is None else int(layer.bias[channel])
    for tap in np.ndindex(weights.shape):
        i, j = tap[-2:]
        source = channel if layer.op is Op.DEPTHWISE_CONV2D else tap[0]
        row = y * layer.stride_y + i * layer.dilation_y - layer.pads.top
        column = x * layer.stride_x + j * layer.dilation_x - layer.pads.left
        inside = 0 <= row < image.shape[1] and 0 <= column < image.shape[2]
        value = int(image[source, row, column]) if inside else layer.input_zero_point
        total += int(weights[tap]) * value
    leaky = layer.activation is Activation.LEAKY_RELU
    multipliers = layer.multipliers.reshape(-1, 2 if leaky else 1)
    pair = multipliers[channel if len(multipliers) > 1 else 0]
    product = total * int(pair[1 if leaky and total >= 0 else 0])
    if layer.activation is Activation.PREPARE_SOFTMAX:
        product = min(max(product, -(2**31)), 2**31 - 1)
    shift = int(layer.shifts[channel if layer.shifts.size > 1 else 0])
    zero_point = layer.output_zero_point
    result = round(Fraction(product + zero_point * 2**shift, 2**shift))
    if layer.activation is Activation.RELU:
        result = max(result, zero_point)
    most = 2 ** (8 * layer.output_dims.byte_width - 1) - 1
    return int(min(max(result, -most - 1), most))
