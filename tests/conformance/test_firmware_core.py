"""The firmware's kernels equal the reference, bit for bit, in every layer of every program.

Built for this machine with sanitizers (portable kernels), and for an emulated Cortex-M33 (dual-MAC
kernels). AXONRIG_RANDOM_PROGRAMS sets the number of random programs, 1,000 by default.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from compiler import AxonProgram, CompileOptions, Op, UnsupportedError, compile_model
from compiler.image import build_image
from compiler.reference import Execution, interpret
from tests.support.firmware_host import EMBEDDED, SUPPORT, Driver, IntArray, Trace, build
from tests.support.golden import golden_parameters, golden_run
from tests.support.m33 import Core, build_core
from tests.support.operator_models import MODELS, build_model
from tests.support.random_programs import random_inputs, random_program

_BATCH = 100
_PROGRAMS = int(os.environ.get("AXONRIG_RANDOM_PROGRAMS", "1000"))
_INPUTS = 2
_IMAGES = 20


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    folder = tmp_path_factory.mktemp("driver")
    with Driver(build(folder, "core_driver", SUPPORT / "core_driver.c").executable) as running:
        yield running


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Core:
    return Core(build_core(tmp_path_factory.mktemp("m33"), "zig"))


def _one(values: np.ndarray[Any, Any], position: int, inputs: int) -> IntArray:
    """The images of one input out of those of all."""
    each = len(values) // inputs
    return values[position * each : (position + 1) * each]


def _assert_equal(
    program: AxonProgram, expected: Execution, trace: Trace, position: int, inputs: int
) -> None:
    for index, layer in enumerate(program.layers):
        if layer.op is Op.PERSISTENT_VARIABLE:
            continue  # its value is read during the inference and replaced at its end
        want = _one(expected.layers[index], position, inputs)
        np.testing.assert_array_equal(
            trace.layers[index],
            want,
            err_msg=f"{program.name} input {position} layer {index} {layer.op.name}",
        )
    outputs = [_one(output, position, inputs) for output in expected.outputs]
    packed = [np.ascontiguousarray(output.transpose(0, 2, 3, 1)).tobytes() for output in outputs]
    assert trace.outputs == b"".join(packed), f"{program.name} input {position}: outputs"


def _compare(driver: Driver, program: AxonProgram, inputs: IntArray) -> None:
    expected = interpret(program, inputs)
    traces = list(driver.run(build_image(program), inputs))
    assert len(traces) == len(inputs)
    for position, trace in enumerate(traces):
        _assert_equal(program, expected, trace, position, len(inputs))


@pytest.mark.parametrize("name", golden_parameters())
def test_recorded_program(driver: Driver, name: str) -> None:
    run = golden_run(name)
    _compare(driver, run.program, run.inputs)


@pytest.mark.parametrize("output", ["int8", "int32"])
def test_embedded_model(driver: Driver, output: Literal["int8", "int32"]) -> None:
    data = (EMBEDDED / "digits_resnet8.tflite").read_bytes()
    program = compile_model(data, CompileOptions(name="digits", output=output))
    with np.load(EMBEDDED / "digits_test.npz", allow_pickle=False) as stored:
        pixels = stored["x"][:_IMAGES]
    inputs = (pixels.astype(np.int16) - 128).astype(np.int8).transpose(0, 3, 1, 2)
    _compare(driver, program, inputs)


@pytest.mark.parametrize("first", range(0, _PROGRAMS, _BATCH))
def test_random_programs(driver: Driver, first: int) -> None:
    for seed in range(first, min(first + _BATCH, _PROGRAMS)):
        program = random_program(seed)
        _compare(driver, program, random_inputs(program, seed, _INPUTS))


@pytest.mark.parametrize("output", ["int8", "int32"])
def test_operator_models(driver: Driver, output: Literal["int8", "int32"]) -> None:
    """Every rewrite of the compiler, negative multipliers of a subtraction among them."""
    for name in MODELS:
        try:
            program = compile_model(build_model(name), CompileOptions(name=name, output=output))
        except UnsupportedError:
            assert output == "int32", name
            continue
        _compare(driver, program, random_inputs(program, 0, _INPUTS))


def test_subtractions_on_cortex_m33(core: Core) -> None:
    for name in ("subtract", "subtract_from_constant", "average_pool_same"):
        program = compile_model(build_model(name), CompileOptions(name=name))
        inputs = random_inputs(program, 0, 1)
        trace, _ = core.run(build_image(program), inputs[0])
        _assert_equal(program, interpret(program, inputs), trace, 0, 1)


@pytest.mark.parametrize("name", golden_parameters())
def test_recorded_program_on_cortex_m33(core: Core, name: str) -> None:
    run = golden_run(name)
    inputs = run.inputs[:1]
    trace, _ = core.run(build_image(run.program), inputs[0])
    _assert_equal(run.program, interpret(run.program, inputs), trace, 0, 1)


@pytest.mark.parametrize("first", range(0, 300, _BATCH))
def test_random_programs_on_cortex_m33(core: Core, first: int) -> None:
    for seed in range(first, first + _BATCH):
        program = random_program(seed)
        inputs = random_inputs(program, seed, 1)
        trace, _ = core.run(build_image(program), inputs[0])
        _assert_equal(program, interpret(program, inputs), trace, 0, 1)


def test_instruction_counts_repeat(core: Core) -> None:
    program = random_program(0)
    item = random_inputs(program, 0, 1)[0]
    image = build_image(program)
    counts = [core.run(image, item)[1] for _ in range(2)]
    assert counts[0] == counts[1]
    assert len(counts[0]) == len(program.layers)


def test_resnet8_stays_below_the_published_instruction_count(core: Core, shared_dir: Path) -> None:
    """CMSIS-NN takes 2.19 per MAC on these nine convolutions; see docs/firmware-core.md."""
    run = golden_run("ic_int8")
    assert shared_dir.is_dir()
    _, counts = core.run(build_image(run.program), run.inputs[0])
    macs = instructions = 0
    for index, layer in enumerate(run.program.layers):
        if layer.op in (Op.CONV2D, Op.POINTWISE_CONV2D):
            window = layer.filter_dims
            work = window.height * window.width * window.channels
            macs += layer.output_dims.elements * work
            instructions += counts[index]
    assert macs == 12_500_992
    assert instructions / macs < 1.25
