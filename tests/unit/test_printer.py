"""The printed program: literal text, stable, and different where programs differ.

The expected texts are tests/ir/dump_*.txt. After a wanted change of the format, write them anew
with `python -m tests.unit.test_printer`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from compiler import (
    Activation,
    AxonProgram,
    Dims,
    LayerInput,
    Op,
    Options,
    Pads,
    Quantization,
    decode,
    dump,
    encode,
    verify,
)
from tests.support.golden import golden_parameters, golden_run
from tests.support.programs import convolution, layer_of, program_of
from tests.support.random_programs import random_program

CASES_DIR: Final = Path(__file__).parents[1] / "ir"


def classifier() -> AxonProgram:
    """Convolutions, a fully connected layer and softmax, with labels."""
    first = convolution(
        Dims(8, 9, 2),
        (np.arange(54) - 27).reshape(3, 2, 3, 3).tolist(),
        Dims(4, 5, 3),
        multiplier=[30000, 20000, 10000],
        shift=20,
        stride_x=2,
        stride_y=2,
        pads=Pads(1, 1, 0, 1),
        bias=np.array([100, -200, 300], np.int32),
        activation=Activation.RELU,
        input_zero_point=-3,
        output_zero_point=-128,
        output_multiplier=330459,
        output_shift=23,
    )
    second = convolution(
        Dims(4, 5, 3),
        np.ones((3, 1, 2), np.int8).tolist(),
        Dims(4, 3, 3),
        producer=0,
        multiplier=[1, 2, 3, 4, 5, 6],
        shift=[2, 3, 4],
        dilation_x=2,
        activation=Activation.LEAKY_RELU,
        input_zero_point=-128,
        output_multiplier=1 << 20,
        output_shift=24,
    )
    logits = layer_of(
        Op.FULLY_CONNECTED,
        Dims(1, 36, 1),
        Dims(1, 2, 1, 4),
        producer=1,
        multiplier=4096,
        shift=4,
        filter=np.arange(72, dtype=np.int8).reshape(2, 36),
        filter_dims=Dims(2, 36, 1, 1, 0),
        activation=Activation.PREPARE_SOFTMAX,
        output_multiplier=1 << 29,
        output_shift=29,
    )
    softmax = layer_of(
        Op.SOFTMAX,
        Dims(1, 2, 1, 4),
        Dims(1, 2, 1),
        producer=2,
        multiplier=1 << 30,
        shift=22,
        output_zero_point=-128,
        output_multiplier=32769,
        output_shift=23,
    )
    return replace(
        program_of(first, second, logits, softmax, zero_point=-3, name="classifier"),
        labels=("CAT", "DOG"),
        input_quantization=Quantization(16502987, 19, -3),
        output_dequantization=Quantization(1 << 21, 29, -128),
    )


def elements() -> AxonProgram:
    """Two outputs, a constant operand, a broadcast operand and a split."""
    constant = layer_of(
        Op.ADD,
        Dims(2, 3, 4),
        Dims(2, 3, 4),
        multiplier=[16000, 12000],
        shift=14,
        filter=np.array([[[1]], [[2]], [[3]], [[4]]], np.int8),
        filter_dims=Dims(1, 1, 4, 1, 0),
        bias=np.array([-50000], np.int32),
        output_zero_point=7,
    )
    mean = layer_of(
        Op.MEAN,
        Dims(2, 3, 2),
        Dims(1, 1, 2),
        inputs=(LayerInput(0, Dims(2, 3, 2), 0, 2),),
        multiplier=700000,
        shift=22,
        filter_dims=Dims(2, 3, 0, 1, 0),
        stride_x=3,
        stride_y=2,
        bias=np.array([-42], np.int32),
        input_zero_point=7,
        output_zero_point=3,
    )
    operands = (LayerInput(1, Dims(1, 1, 2)), LayerInput(0, Dims(2, 3, 2), 0, 0))
    product = layer_of(
        Op.MULTIPLY,
        Dims(1, 1, 2),
        Dims(2, 3, 2, 4),
        inputs=operands,
        multiplier=123456,
        shift=8,
        filter_dims=Dims(1, 1, 2, 1, 0),
    )
    other = layer_of(
        Op.MAX_POOL,
        Dims(2, 3, 4),
        Dims(1, 2, 4),
        producer=0,
        filter_dims=Dims(2, 2, 0, 1, 0),
        stride_x=1,
        stride_y=1,
        input_zero_point=7,
    )
    return program_of(constant, mean, product, other, name="elements")


def movement() -> AxonProgram:
    """State, batches, slices and the other layers that only copy."""
    row = Dims(1, 3, 2)
    variable = layer_of(Op.PERSISTENT_VARIABLE, row, row, producer=2, output_zero_point=5)
    operands = (LayerInput(0, row), LayerInput(-1, row))
    join = layer_of(Op.CONCATENATE, row, Dims(2, 3, 2), inputs=operands, concat_axis=1)
    slices = layer_of(
        Op.STRIDED_SLICE,
        Dims(2, 3, 2),
        row,
        producer=1,
        filter=np.array([0, 1, 0, 2, 2, 3, 1, 1, 1], np.int32),
        filter_dims=Dims(1, 9, 1, 4, 0),
    )
    pad = layer_of(Op.CHANNEL_PAD, Dims(2, 3, 2), Dims(2, 3, 4), producer=1, pads=Pads(top=2))
    window = Dims(2, 2, 1, 1, 0)
    batches = layer_of(
        Op.SPACE_TO_BATCH,
        Dims(2, 3, 4),
        Dims(1, 2, 4, 1, 4),
        producer=3,
        filter_dims=window,
        pads=Pads(right=1),
    )
    back = layer_of(
        Op.BATCH_TO_SPACE,
        Dims(1, 2, 4, 1, 4),
        Dims(2, 3, 4),
        producer=4,
        filter_dims=window,
        pads=Pads(right=1),
    )
    resize = layer_of(
        Op.RESIZE_NEAREST,
        Dims(2, 3, 4),
        Dims(5, 5, 4),
        producer=5,
        cpu_attributes=np.array([1, 0, 175], np.int32),
    )
    shape = layer_of(Op.RESHAPE, Dims(5, 5, 4), Dims(10, 10, 1, 4), producer=6)
    program = program_of(variable, join, slices, pad, batches, back, resize, shape, name="movement")
    return replace(program, options=Options(40000, 1000, 3, 1, 20, 1))


CASES: Final = {program.__name__: program for program in (classifier, elements, movement)}


@pytest.mark.parametrize("name", CASES)
def test_the_text_is_literally_this(name: str) -> None:
    program = CASES[name]()
    verify(program)
    assert dump(program) == (CASES_DIR / f"dump_{name}.txt").read_text("utf-8")


def test_every_layer_is_one_line_and_every_constant_another() -> None:
    for seed in range(100):
        program = random_program(seed)
        lines = dump(program).splitlines()
        layers = [line for line in lines if line.startswith("%")]
        assert [line.split(" = ")[0] for line in layers] == [
            f"%{index}" for index in range(len(program.layers))
        ]
        constants = sum(
            array is not None
            for layer in program.layers
            for array in (
                layer.filter,
                layer.bias,
                layer.multipliers,
                layer.shifts,
                layer.cpu_attributes,
            )
        )
        assert sum(line.startswith("    ") for line in lines) == constants
        assert all(line.isprintable() and line == line.rstrip() for line in lines)


def test_the_text_survives_the_binary() -> None:
    for seed in range(100):
        program = random_program(seed)
        assert dump(decode(encode(program))) == dump(program)


@pytest.mark.parametrize("name", golden_parameters())
def test_recorded_programs_print(name: str) -> None:
    program = golden_run(name).program
    text = dump(program)
    assert text.startswith(f"program {program.name}\n")
    assert text == dump(decode(encode(program)))


def test_any_change_shows() -> None:
    program = classifier()
    first = program.layers[0]
    weights = first.filter
    assert weights is not None
    other_weights = weights.copy()
    other_weights[0, 0, 0, 0] += 1
    texts = {dump(program)}
    for changed in (
        replace(first, filter=other_weights),
        replace(first, filter_dims=Dims(3, 3, 2, 1, 1)),
        replace(first, filter_dims=Dims(3, 3, 2, 2, 0)),
        replace(first, stride_y=1),
        replace(first, dilation_x=0),
        replace(first, pads=Pads(1, 1, 1, 0)),
        replace(first, concat_axis=2),
        replace(first, concat_axis=7),
        replace(first, output_zero_point=0),
        replace(first, output_dims=Dims(4, 5, 3, 2)),
        replace(first, output_multiplier=330460),
        replace(first, activation=Activation.NONE),
        replace(first, inputs=(LayerInput(-1, Dims(8, 9, 2), 1, 0),)),
    ):
        texts.add(dump(replace(program, layers=(changed, *program.layers[1:]))))
    assert len(texts) == 14
    assert dump(replace(program, labels=())) != dump(program)
    assert dump(replace(program, options=Options(psum_limit=1))) != dump(program)


def write_cases() -> None:
    """Write the expected texts from what the printer says now."""
    for name, program in CASES.items():
        (CASES_DIR / f"dump_{name}.txt").write_text(dump(program()), "utf-8")


if __name__ == "__main__":
    write_cases()
