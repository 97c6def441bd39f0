"""Building, choosing and planning the native engine."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compiler import (
    AxonProgram,
    Dims,
    InputError,
    Op,
    Pads,
    Quantization,
    UnsupportedError,
    VerifyError,
    interpret,
)
from harness import engine
from harness.device import SimDevice
from harness.engine import ReferenceEngine, choose_engine
from harness.errors import ConfigError, ToolchainError
from harness.native import abi, build, plan
from harness.native.build import Library, Traits, load, open_library
from harness.native.engine import NativeEngine
from harness.native.moves import moved, numbered, viewed
from harness.native.pack import pack_convolution, pack_depthwise
from harness.native.plan import build_plan, obstacle
from tests.support.programs import convolution, layer_of, program_of
from tests.support.random_programs import random_inputs, random_program

VNNI = Traits("test", group=4, flip=128, fast_float=True)
PAIRS = Traits("test", group=2, flip=0, fast_float=False)


@pytest.fixture
def forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Whether the library can be built is decided anew, and forgotten again."""
    engine._native_library.cache_clear()
    yield monkeypatch
    engine._native_library.cache_clear()


@pytest.fixture(scope="module")
def native() -> Library:
    return load()


def small() -> AxonProgram:
    source, out = Dims(2, 2, 1), Dims(1, 1, 1)
    return program_of(convolution(source, [[[[1, 2], [3, 4]]]], out))


# --- choosing -----------------------------------------------------------------------------------


def test_native_by_default_and_reference_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AXONRIG_ENGINE", raising=False)
    assert choose_engine(small()).name.startswith("native ")
    assert SimDevice(small()).info.backend.startswith("native ")
    monkeypatch.setenv("AXONRIG_ENGINE", "reference")
    assert choose_engine(small()).name == "numpy reference"
    assert SimDevice(small()).info.backend == "numpy reference"


def test_unknown_engine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AXONRIG_ENGINE", "quick")
    with pytest.raises(ConfigError, match="'quick'; expected native, reference or nothing"):
        choose_engine(small())


def test_a_failed_build_is_noted_once_and_the_reference_stands_in(
    forgotten: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    forgotten.setattr(build, "COMPILER", (str(tmp_path / "no-compiler"),))
    forgotten.setenv("AXONRIG_CACHE", str(tmp_path / "cache"))
    forgotten.delenv("AXONRIG_ENGINE", raising=False)
    assert isinstance(choose_engine(small()), ReferenceEngine)
    assert isinstance(choose_engine(small()), ReferenceEngine)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert "building the native engine" in said[0]
    assert "cannot be compiled" in said[1]
    assert "the numpy reference" in said[1]
    forgotten.setenv("AXONRIG_ENGINE", "native")
    with pytest.raises(ToolchainError, match="asks for the native engine, but"):
        choose_engine(small())


def test_both_engines_give_the_same(native: Library) -> None:
    program = random_program(4)
    inputs = random_inputs(program, 4, count=5)
    for keep_layers in (False, True):
        left = ReferenceEngine().run(program, inputs, keep_layers=keep_layers)
        right = NativeEngine(native).run(program, inputs, keep_layers=keep_layers)
        assert len(left.layers) == len(right.layers)
        for a, b in zip(
            (*left.layers, *left.outputs), (*right.layers, *right.outputs), strict=True
        ):
            assert np.array_equal(a, b)


# --- building -----------------------------------------------------------------------------------


def test_a_build_is_kept_and_a_damaged_one_is_named(native: Library, tmp_path: Path) -> None:
    kept = tmp_path / native.path.name
    kept.write_bytes(native.path.read_bytes())
    told: list[str] = []
    assert load(folder=tmp_path, notice=told.append).path == kept
    assert told == []
    broken = tmp_path / "broken.so"
    broken.write_bytes(b"no library")
    with pytest.raises(ToolchainError, match="delete the file"):
        open_library(broken)


def test_builds_differ_by_flags_processor_and_sources(
    native: Library, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    key = build._key(build.FLAGS)
    assert key in native.path.name
    assert build._key(("-O0",)) != key
    with monkeypatch.context() as patch:
        patch.setattr(build, "_processor", lambda: "another")
        assert build._key(build.FLAGS) != key
    (tmp_path / "a.c").write_text("int a;")
    monkeypatch.setattr(build, "SOURCES", tmp_path)
    assert build._key(build.FLAGS) != key


def test_a_library_of_other_structures_is_refused(
    native: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(abi, "Node", abi.Rescale)
    with pytest.raises(ToolchainError, match="structures of"):
        open_library(native.path)


@pytest.mark.parametrize(
    ("system", "processor"),
    [
        ("aarch64-linux-gnu", "generic"),
        ("aarch64-linux-gnu", "cortex_a76"),
        ("x86_64-linux-gnu", "alderlake"),
        ("x86_64-linux-gnu", "icelake_server"),
    ],
)
def test_the_kernels_compile_for_other_processors(
    system: str, processor: str, tmp_path: Path
) -> None:
    flags = ("-O0", "-c", "-target", system, f"-mcpu={processor}")
    for source in sorted(build.SOURCES.glob("*.c")):
        command = [*build.COMPILER, *build.WARNINGS, *flags, str(source)]
        command += ["-o", str(tmp_path / "kernel.o")]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
def test_a_cache_that_cannot_be_written_is_no_obstacle(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert load(folder=tmp_path / "inside").traits.group in (2, 4)


# --- inputs and limits --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((1, 1, 2, 2), np.uint8),
        np.zeros((1, 1, 2, 3), np.int8),
        np.zeros((1, 2, 2), np.int8),
        np.zeros((0, 1, 2, 2), np.int8),
    ],
)
def test_inputs_that_do_not_fit_are_refused(native: Library, wrong: np.ndarray) -> None:
    with pytest.raises(InputError):
        NativeEngine(native).run(small(), wrong)


def test_an_invalid_program_is_not_planned() -> None:
    layer = replace(small().layers[0], multipliers=None)
    with pytest.raises(VerifyError, match="multipliers are absent"):
        build_plan(program_of(layer), VNNI, (0,))


def test_programs_beyond_the_limits_go_to_the_reference(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("AXONRIG_ENGINE", raising=False)
    monkeypatch.setattr(plan, "MAX_ELEMENTS", 0)
    assert obstacle(small()) is not None
    assert isinstance(choose_engine(small()), ReferenceEngine)
    assert (
        "too many for the native engine; the numpy reference stands in" in capsys.readouterr().err
    )
    with pytest.raises(UnsupportedError, match="too many"):
        build_plan(small(), VNNI, (0,))


def test_a_zero_point_out_of_range_goes_to_the_reference() -> None:
    odd = replace(small(), input_quantization=Quantization(1, 0, 1 << 20))
    assert "zero point 1048576" in str(obstacle(odd))


def test_arenas_share_memory_by_lifetime() -> None:
    source = Dims(16, 16, 4)
    one = convolution(source, np.ones((4, 1, 1), np.int8).tolist(), source)
    layers = [
        replace(one, inputs=(replace(one.inputs[0], producer=index - 1),)) for index in range(30)
    ]
    made = build_plan(program_of(*layers), VNNI, (29,))
    assert made.record.scratch <= 3 * 16 * 16 * 4


def test_state_of_another_shape_is_refused(native: Library) -> None:
    seed = 15
    program = random_program(seed)
    layer = next(i for i, x in enumerate(program.layers) if x.op is Op.PERSISTENT_VARIABLE)
    with pytest.raises(InputError, match=f"state of layer {layer} has the shape"):
        NativeEngine(native).run(
            program, random_inputs(program, seed), {layer: np.zeros((1, 9, 9, 99), np.int8)}
        )


# --- packing and moving -------------------------------------------------------------------------


def test_weights_of_a_convolution_in_groups_of_four() -> None:
    weights = np.arange(1 * 3 * 2 * 2, dtype=np.int8).reshape(1, 3, 2, 2)
    packed = pack_convolution(weights, np.array([5], np.int32), 30, (1, 1), VNNI)
    # A filter row is 2 pixels of 3 channels: 6 taps, so two groups, the second half empty.
    rows = weights.transpose(0, 2, 3, 1).reshape(2, 6)
    assert packed.groups == 4
    assert packed.offsets.tolist() == [0, 4, 30, 34]
    assert packed.weights.shape == (1, 4, 16, 4)
    assert packed.weights[0, :, 0].reshape(2, 8)[:, :6].tolist() == rows.tolist()
    assert not packed.weights[0, :, 0].reshape(2, 8)[:, 6:].any()
    assert not packed.weights[0, :, 1:].any()
    assert packed.bias.tolist() == [5 - 128 * int(weights.sum(dtype=int))]
    assert packed.bound.tolist() == [128 * int(weights.sum(dtype=int)) + 5]


def test_a_dilated_row_is_one_run_per_tap() -> None:
    weights = np.ones((2, 3, 1, 2), np.int8)
    packed = pack_convolution(weights, None, 30, (1, 4), PAIRS)
    assert packed.offsets.tolist() == [0, 4, 24, 28]  # bytes of 16-bit elements
    assert packed.bias.tolist() == [0, 0]


def test_depthwise_groups_run_down_a_column() -> None:
    weights = np.arange(6, dtype=np.int8).reshape(1, 3, 2)
    packed = pack_depthwise(weights, None, VNNI)
    assert packed.weights[0, :, 0].tolist() == [[0, 2, 4, 0], [1, 3, 5, 0]]
    assert pack_depthwise(weights, None, PAIRS).groups == 4


def test_a_move_is_written_as_runs() -> None:
    source = Dims(1, 2, 2)
    pad = layer_of(
        Op.CHANNEL_PAD, source, Dims(1, 2, 4), pads=Pads(0, 0, 1, 1), output_zero_point=-3
    )
    what = moved(program_of(pad), pad, [numbered((1, 2, 1, 2))])
    assert what.runs["source"].tolist() == [-1, 0, -1, 0, -1]
    assert what.runs["length"].tolist() == [1, 2, 2, 2, 1]
    assert what.runs["offset"][[1, 3]].tolist() == [0, 2]
    assert not what.is_copy


def test_neighbours_of_two_sources_stay_apart() -> None:
    source = Dims(1, 1, 2)
    layer = layer_of(Op.CONCATENATE, source, Dims(1, 1, 4), concat_axis=0)
    layer = replace(layer, inputs=layer.inputs * 2)
    what = moved(program_of(layer), layer, [numbered((1, 2, 1, 1))] * 2)
    assert what.runs["source"].tolist() == [0, 1]
    assert what.runs["length"].tolist() == [2, 2]


def test_a_view_that_changes_nothing_is_no_move() -> None:
    assert viewed(numbered((1, 3, 2, 2))).is_copy
    assert viewed(numbered((1, 6, 1, 1)).reshape(1, 3, 2, 1)).is_copy is False
    assert viewed(numbered((1, 6, 1, 1)).reshape(1, 1, 6, 1)).is_copy


def test_the_device_reports_progress_and_keeps_state(native: Library) -> None:
    program = random_program(15)
    inputs = random_inputs(program, 15, count=100)
    steps: list[tuple[int, int]] = []
    device = SimDevice(program, engine=NativeEngine(native))
    found = device.infer(inputs, lambda *step: steps.append(step)).outputs
    assert steps[-1] == (100, 100)
    assert len(steps) > 1
    expected = interpret(program, inputs, keep_layers=False).outputs
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
