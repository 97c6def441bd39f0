"""Cheaper layers: the same integers, fewer cycles, accepted by the vendor's code generator."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from compiler import Activation, AxonProgram, CompileOptions, Op, compile_model, interpret, verify
from compiler.cost import estimate
from compiler.substitution import substitute
from harness.compiled import Source, gather
from harness.vendor.codegen import generate
from tests.support.random_programs import random_inputs, random_program
from tests.support.tflite_builder import ModelBuilder
from tests.support.vendor_sdk import real_sdk


def lenet(*, per_channel: bool = True, activation: str | None = "RELU") -> bytes:
    """The last convolution covers its whole map."""
    b = ModelBuilder("lenet")
    x = b.input(1, 14, 14, 1)
    y = b.pool("AVERAGE_POOL_2D", b.conv(x, 6, (5, 5)), (2, 2), (2, 2))
    y = b.conv(y, 16, (3, 3), padding="VALID", activation="RELU")
    y = b.conv(y, 60, (5, 5), padding="VALID", activation=activation, per_channel=per_channel)
    return b.build([x], [b.dense(b.reshape(y, 1, 60), 10)])


def pixels() -> bytes:
    """Two 1x1 convolutions behind a mean."""
    b = ModelBuilder("pixels")
    x = b.input(1, 8, 8, 3)
    y = b.mean(b.conv(x, 24), [1, 2])
    y = b.conv(y, 40, (1, 1), activation="RELU", per_channel=False)
    return b.build([x], [b.conv(y, 10, (1, 1), per_channel=False)])


def constants() -> bytes:
    """Operands that repeat over rows, and over columns when transposed."""
    b = ModelBuilder("constants")
    x = b.input(1, 12, 10, 4)
    y = b.pair("ADD", b.conv(x, 6), b.constant(1, 12, 1, 6))
    y = b.pair("MUL", y, b.constant(1, 1, 10, 6))
    return b.build([x], [b.conv(y, 3, (1, 1))])


MODELS = {"lenet": lenet(), "lenet, one scale": lenet(per_channel=False), "pixels": pixels()}
MODELS["constants"] = constants()


def both(
    data: bytes, *, transpose: bool = False, output: str = "int8"
) -> tuple[AxonProgram, AxonProgram]:
    """(as usual, with cheaper layers)."""
    options = CompileOptions("m", "int32" if output == "int32" else "int8", transpose=transpose)
    changed = replace(options, cheaper_layers=True)
    return compile_model(data, options), compile_model(data, changed)


@pytest.mark.parametrize("output", ["int8", "int32"])
@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_outputs_stay_and_cycles_fall(name: str, transpose: bool, output: str) -> None:
    plain, cheaper = both(MODELS[name], transpose=transpose, output=output)
    verify(cheaper)
    inputs = random_inputs(plain, 5, count=8)
    for left, right in zip(
        interpret(plain, inputs).layers, interpret(cheaper, inputs).layers, strict=True
    ):
        assert np.array_equal(left.ravel(), right.ravel())
    assert cheaper.output_layers == plain.output_layers
    for layer in plain.output_layers:
        assert cheaper.layers[layer].output_dims == plain.layers[layer].output_dims
    saved = estimate(plain).cycles - estimate(cheaper).cycles
    assert saved > 0 or (name == "constants" and not transpose)


def test_a_vector_stays_packed_between_fully_connected_layers() -> None:
    cheaper = both(MODELS["pixels"])[1]
    first, second = cheaper.layers[-2:]
    assert (first.op, second.op) == (Op.FULLY_CONNECTED, Op.FULLY_CONNECTED)
    assert first.output_dims.shape == (1, 1, 40)
    assert second.output_dims.shape == (10, 1, 1)


def test_a_shift_for_every_multiplier_or_one_for_all() -> None:
    for name, count in [("lenet", 60), ("lenet, one scale", 1)]:
        layer = both(MODELS[name])[1].layers[3]
        assert layer.op is Op.FULLY_CONNECTED
        assert layer.multipliers is not None
        assert layer.shifts is not None
        assert (layer.multipliers.size, layer.shifts.size) == (count, count)


def test_what_has_no_equal_stays() -> None:
    plain, cheaper = both(MODELS["lenet"])
    convolution = plain.layers[3]
    assert convolution.op is Op.CONV2D
    leaky = replace(convolution, activation=Activation.LEAKY_RELU)
    padded = replace(convolution, pads=replace(convolution.pads, right=1))
    for layer in (leaky, padded):
        program = replace(plain, layers=(*plain.layers[:3], layer, *plain.layers[4:]))
        assert substitute(program).layers[3] is layer
    assert cheaper.layers[1] is not None
    alone = replace(plain, layers=(plain.layers[0],))
    assert substitute(alone).layers[0].op is plain.layers[0].op


def test_random_programs_keep_their_integers() -> None:
    changed = 0
    for seed in range(6000, 6300):
        program = random_program(seed)
        cheaper = substitute(program)
        changed += any(a is not b for a, b in zip(program.layers, cheaper.layers, strict=True))
        verify(cheaper)
        inputs = random_inputs(program, seed, count=1)
        for left, right in zip(
            interpret(program, inputs).layers, interpret(cheaper, inputs).layers, strict=True
        ):
            assert np.array_equal(left.ravel(), right.ravel())
    assert changed >= 5


@pytest.mark.parametrize("name", MODELS)
def test_the_vendors_simulator_agrees(name: str) -> None:
    sdk = real_sdk()
    ticks = []
    for program in both(MODELS[name], transpose=name == "constants"):
        options = CompileOptions(name="m")
        found = generate(gather("m", program, options, Source("m", b"")), sdk)
        assert not found.disagreements
        ticks.append(found.ticks)
    assert ticks[1] < ticks[0]
