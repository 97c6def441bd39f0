"""The native engine gives the reference's integers, layer by layer, on whatever it is built for."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compiler import (
    EXTERNAL_INPUT,
    Activation,
    AxonProgram,
    CompileOptions,
    Op,
    compile_model,
    interpret,
)
from harness.errors import ToolchainError
from harness.model_file import DEFAULT_DATA, DEFAULT_MODEL
from harness.native.build import FLAGS, Library, Traits, load
from harness.native.engine import NativeEngine
from harness.native.together import TOGETHER, together
from tests.support.engines import assert_same_as_reference, vector_program
from tests.support.golden import golden_names, golden_parameters, golden_run
from tests.support.operator_models import MODELS, build_model
from tests.support.random_programs import FEATURES, random_inputs, random_program

RANDOM_PROGRAMS = 1000
SLICES = 10
_COMMON = ("-ffp-contract=off", "-fPIC", "-shared")
_TRAP = ("-O1", *_COMMON, "-fsanitize=undefined", "-fsanitize-trap=undefined")
PLAIN = {Activation.NONE, Activation.RELU}
REQUANTIZING = {
    Op.CONV2D,
    Op.DEPTHWISE_CONV2D,
    Op.POINTWISE_CONV2D,
    Op.FULLY_CONNECTED,
    Op.AVERAGE_POOL,
    Op.MEAN,
    Op.ADD,
    Op.MULTIPLY,
}
X86 = platform.machine().lower() in ("x86_64", "amd64")

# Every way that the kernels are written in, as far as this machine can run it.
BUILDS: dict[str, tuple[str, ...]] = {
    "undefined behaviour": (*_TRAP, "-mcpu=native"),
    "bytes as for Arm": ("-O2", *_COMMON, "-mcpu=baseline", "-DAXR_PLAIN_BYTES"),
    **({"avx2": ("-O2", *_COMMON, "-mcpu=x86_64_v3")} if X86 else {}),
    **({"portable, undefined behaviour": (*_TRAP, "-mcpu=x86_64")} if X86 else {}),
}


@pytest.fixture(scope="module")
def native() -> Library:
    return load()


@pytest.fixture(scope="module", params=BUILDS)
def other_build(request: pytest.FixtureRequest) -> Library:
    if "avx2" in request.param and "avx2" not in _processor_flags():
        pytest.skip("this processor has no AVX2")
    return load(BUILDS[request.param])


def _processor_flags() -> str:
    path = Path("/proc/cpuinfo")
    return path.read_text() if path.is_file() else ""


def assert_same(library: Library, program: AxonProgram, inputs: np.ndarray) -> None:
    assert_same_as_reference(NativeEngine(library, threads=1), program, inputs)


@pytest.mark.parametrize("part", range(SLICES))
def test_random_programs(native: Library, part: int) -> None:
    for seed in range(part, RANDOM_PROGRAMS, SLICES):
        program = random_program(seed)
        assert_same(native, program, random_inputs(program, seed, count=2))


def test_operator_models(native: Library) -> None:
    for name in MODELS:
        program = compile_model(build_model(name), CompileOptions(name=name))
        assert_same(native, program, random_inputs(program, 0, count=2))


@pytest.mark.parametrize("name", golden_parameters())
def test_recorded_programs(native: Library, name: str) -> None:
    run = golden_run(name)
    assert_same(native, run.program, run.inputs)
    noise = np.random.default_rng(7).integers(-128, 128, (3, *run.program.input_dims.shape))
    assert_same(native, run.program, noise.astype(np.int8))


def test_embedded_model(native: Library) -> None:
    program = compile_model(DEFAULT_MODEL.read_bytes(), CompileOptions(name="digits"))
    with np.load(DEFAULT_DATA) as archive:
        images = (np.asarray(archive["x"][:40]) ^ 128).view(np.int8).transpose(0, 3, 1, 2)
    assert_same(native, program, images)


def test_a_build_is_what_it_was_asked_for() -> None:
    names = {text: load(flags).traits.name for text, flags in BUILDS.items() if "avx2" not in text}
    assert names["undefined behaviour"] == load().traits.name
    assert names["bytes as for Arm"] in ("portable bytes", "neon dotprod")
    assert names.get("portable, undefined behaviour", "portable") == "portable"


def test_other_builds_on_random_programs(other_build: Library) -> None:
    for seed in range(2000, 2000 + 8 * len(FEATURES)):
        program = random_program(seed)
        assert_same(other_build, program, random_inputs(program, seed))


def test_other_builds_on_recorded_programs(other_build: Library) -> None:
    if not golden_names():
        pytest.skip("no recorded runs beside this checkout")
    for name in golden_names():
        run = golden_run(name)
        assert_same(other_build, run.program, run.inputs[:1])


def _requantizations() -> Iterator[tuple[str, int, int]]:
    """Multipliers and shifts around every border between the three ways of computing."""
    for shift in (0, 1, 8, 21, 30, 31, 44, 45, 46, 52, 62, 63):
        for multiplier in (1, 3, -5, 32767, 1 << 20, (1 << 31) - 1, -(1 << 31)):
            yield f"{multiplier} / 2**{shift}", multiplier, shift


def _first_layers() -> Iterator[AxonProgram]:
    """One program of one layer for each operation that requantizes what an input holds."""
    found: set[Op] = set()
    for seed in range(400):
        program = random_program(seed)
        layer = program.layers[0]
        external = all(operand.producer == EXTERNAL_INPUT for operand in layer.inputs)
        if layer.op in REQUANTIZING - found and external and layer.activation in PLAIN:
            found.add(layer.op)
            yield replace(program, layers=(layer,))
    assert found == REQUANTIZING


@pytest.mark.parametrize("width", [1, 2, 4])
def test_every_requantization(native: Library, width: int) -> None:
    for program in _first_layers():
        layer = program.layers[0]
        inputs = random_inputs(program, 11, count=2)
        count = 2 if layer.op is Op.ADD else 1
        for text, multiplier, shift in _requantizations():
            changed = replace(
                layer,
                output_dims=replace(layer.output_dims, byte_width=width),
                output_zero_point=-7,
                multipliers=np.array([multiplier] * count, np.int32),
                shifts=np.array([shift], np.int8),
            )
            one = replace(program, name=f"{text}, {width} bytes", layers=(changed,))
            assert_same(native, one, inputs)


def test_ties_go_to_the_even_neighbour_after_the_zero_point(native: Library) -> None:
    program = random_program(6)
    layer = replace(
        program.layers[0],
        bias=None,
        multipliers=np.array([1], np.int32),
        shifts=np.array([1], np.int8),
    )
    for zero_point in (-128, -3, -2, 0, 1, 127):
        one = replace(program, layers=(replace(layer, output_zero_point=zero_point),))
        assert_same(native, one, random_inputs(one, 3, count=8))


def test_batches_over_threads_keep_their_order(native: Library) -> None:
    program = compile_model(DEFAULT_MODEL.read_bytes(), CompileOptions(name="digits"))
    inputs = np.random.default_rng(3).integers(-128, 128, (301, *program.input_dims.shape))
    images = inputs.astype(np.int8)
    expected = interpret(program, images[:40], keep_layers=False).outputs[0]
    one = NativeEngine(native, threads=1).run(program, images).outputs[0]
    three = NativeEngine(native, threads=3).run(program, images).outputs[0]
    assert np.array_equal(one[:40], expected)
    assert np.array_equal(one, three)


@pytest.mark.parametrize("count", [1, TOGETHER - 1, TOGETHER, 3 * TOGETHER + 5])
def test_vectors_run_together(native: Library, other_build: Library, count: int) -> None:
    program = vector_program()
    inputs = random_inputs(program, count, count)
    for library in (native, other_build):
        assert_same(library, program, inputs)
    three = NativeEngine(native, threads=3).run(program, inputs[:, :, :, ::-1])
    assert np.array_equal(three.outputs[0], interpret(program, inputs[:, :, :, ::-1]).outputs[0])


def test_only_vectors_run_together() -> None:
    block = together(vector_program(), 7)
    assert block is not None
    assert [layer.output_dims.batch for layer in block.layers] == [7] * 4
    assert together(compile_model(DEFAULT_MODEL.read_bytes(), CompileOptions("digits")), 7) is None
    assert together(vector_program(), 1 << 20) is None


def test_inputs_lie_in_any_order(native: Library) -> None:
    program = random_program(0)
    images = random_inputs(program, 5, count=9)
    expected = interpret(program, images[::2]).outputs[0]
    channels_last = np.ascontiguousarray(images.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    for same in (
        images[::2],
        channels_last[::2],
        images[:, ::-1, ::-1, ::-1][::2, ::-1, ::-1, ::-1],
    ):
        assert np.array_equal(NativeEngine(native).run(program, same).outputs[0], expected)


def test_state_continues_from_call_to_call(native: Library) -> None:
    seed = [feature.__name__ for feature in FEATURES].index("_persistent")
    for program in (random_program(seed), random_program(seed + len(FEATURES))):
        inputs = random_inputs(program, seed, count=6)
        whole = interpret(program, inputs)
        engine = NativeEngine(native)
        first = engine.run(program, inputs[:4])
        second = engine.run(program, inputs[4:], first.state)
        for left, a, b in zip(whole.outputs, first.outputs, second.outputs, strict=True):
            assert np.array_equal(np.concatenate([a, b]), left)
        for layer, value in whole.state.items():
            assert np.array_equal(second.state[layer], value)
        fresh = engine.run(program, inputs[:1])
        assert np.array_equal(fresh.outputs[0], whole.outputs[0][: len(fresh.outputs[0])])


def test_nothing_depends_on_or_writes_memory_outside(
    native: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever lies in the arena before a run changes nothing, and nothing lands behind it."""
    from harness.native import engine as module

    made: list[np.ndarray] = []

    def noisy(size: int) -> np.ndarray:
        rng = np.random.default_rng(size)
        room = rng.integers(0, 256, size + 4096 + 64).astype(np.uint8)
        start = -room.ctypes.data % 64
        room[start + size :] = 0xA5
        made.append(room[start + size :])
        return np.asarray(room[start:][:size])

    monkeypatch.setattr(module, "_arena", noisy)
    for seed in range(3000, 3000 + 6 * len(FEATURES)):
        program = random_program(seed)
        assert_same(native, program, random_inputs(program, seed))
    assert all((rest == 0xA5).all() for rest in made)


def test_plans_need_only_what_a_build_says(native: Library) -> None:
    assert native.traits.group in (2, 4)
    assert native.traits.flip in (0, 128)
    assert Traits("x", 4, 0, fast_float=False).element_bytes == 1
    assert "-mcpu=native" in FLAGS


def test_a_build_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(ToolchainError, match="cannot be compiled"):
        load(("-O1", "--no-such-option"), tmp_path)
    assert not list(tmp_path.iterdir())
