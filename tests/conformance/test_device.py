"""What every device must do, whatever it is made of: one body for all of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from compiler import AxonProgram, CompileOptions, compile_model, decode, encode, interpret
from harness.artefacts import sha256
from harness.device import Device
from harness.errors import BoardError, ConfigError
from harness.model_file import DEFAULT_MODEL

Opener = Callable[[AxonProgram], Device]

GOLDEN = Path(__file__).parents[2].parent / "shared" / "golden"
SOURCES = {"board", "emulated", "sim", "vendor-sim", "replay"}
RECORDED = (
    "ad_int8",
    "add_bcast_i8",
    "avgpool_i8",
    "concat_c_i32",
    "conv_odd_t",
    "dwconv_i8",
    "fc_pc_i32",
    "ic_int8",
    "kws_t_int8",
    "leaky_i8",
    "maxpool_i8",
    "mul_const_i8",
    "multi_out3_w8_i8",
    "pad_spatial_i8",
    "reshape_cpu_i8",
    "resize_nn_i8",
    "s2b_conv2_i8",
    "sslice_i8",
    "tanh_sig_w8_i8",
    "vww_int8",
)


@pytest.fixture(scope="module")
def digits() -> AxonProgram:
    return compile_model(DEFAULT_MODEL.read_bytes(), CompileOptions(name="digits"))


def samples(program: AxonProgram, count: int) -> np.ndarray:
    shape = (count, *program.input_dims.shape)
    return np.random.default_rng(count).integers(-128, 128, shape, dtype=np.int8)


def test_info_says_what_runs(open_device: Opener, digits: AxonProgram) -> None:
    info = open_device(digits).info
    assert info.source in SOURCES
    assert info.board
    assert info.backend
    assert info.model == "digits"
    assert info.model_sha256 == sha256(encode(digits))
    assert info.clock_hz is None or info.clock_hz > 0
    assert ("firmware_build" in info.versions) == info.backend.startswith("firmware")
    assert ("sdk_edge_ai_version" in info.versions) == (info.source == "vendor-sim")


def test_outputs_equal_the_definition(open_device: Opener, digits: AxonProgram) -> None:
    inputs = samples(digits, 3)
    outputs = open_device(digits).infer(inputs).outputs
    expected = interpret(digits, inputs).outputs
    assert len(outputs) == len(digits.output_layers) == 1
    assert outputs[0].dtype == expected[0].dtype
    assert np.array_equal(outputs[0], expected[0])


@pytest.mark.skipif(not GOLDEN.is_dir(), reason="the recorded golden models are not here")
@pytest.mark.parametrize("name", RECORDED)
def test_recorded_vectors(open_device: Opener, name: str) -> None:
    program = decode((GOLDEN / f"{name}.bin").read_bytes())
    with np.load(GOLDEN / f"{name}.npz") as recorded:
        inputs = np.stack([recorded[f"test_input_vector_{k}"] for k in range(3)])
        expected = np.stack([recorded[f"expected_output_vector_{k}"] for k in range(3)])
        layers = [recorded[f"expected_output_vector_0_layer_{i}"] for i in program.output_layers]
    outputs = open_device(program).infer(inputs).outputs
    assert np.array_equal(outputs[0], expected)
    for output, layer in zip(outputs, layers, strict=True):
        assert np.array_equal(output[0], layer)


def test_samples_do_not_depend_on_their_batch(open_device: Opener, digits: AxonProgram) -> None:
    inputs = samples(digits, 4)
    device = open_device(digits)
    whole = device.infer(inputs).outputs[0]
    for index in (3, 0):
        alone = device.infer(inputs[index : index + 1]).outputs[0]
        assert np.array_equal(alone[0], whole[index])


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((1, 3, 32, 32), np.uint8),
        np.zeros((1, 3, 32, 32), np.float32),
        np.zeros((1, 32, 32, 3), np.int8),
        np.zeros((3, 32, 32), np.int8),
        np.zeros((0, 3, 32, 32), np.int8),
    ],
)
def test_inputs_that_do_not_fit_are_refused_and_harmless(
    open_device: Opener, digits: AxonProgram, wrong: np.ndarray
) -> None:
    device = open_device(digits)
    with pytest.raises(ConfigError, match=r"the program takes int8 \[N, 3, 32, 32\]"):
        device.infer(wrong)
    inputs = samples(digits, 1)
    assert np.array_equal(device.infer(inputs).outputs[0], interpret(digits, inputs).outputs[0])


def test_a_closed_device_says_so(open_device: Opener, digits: AxonProgram) -> None:
    device = open_device(digits)
    device.close()
    device.close()
    with pytest.raises(BoardError, match="closed"):
        device.infer(samples(digits, 1))


def test_counts_carry_their_source(open_device: Opener, digits: AxonProgram) -> None:
    result = open_device(digits).infer(samples(digits, 2))
    assert (result.cycles is None) == (result.latency_source is None)
    if result.cycles is not None:
        assert result.cycles.shape == (2,)
        assert (result.cycles > 0).all()
    if result.layer_cycles is not None:
        assert result.layer_cycles.shape == (2, len(digits.layers))


def test_progress_ends_with_every_sample(open_device: Opener, digits: AxonProgram) -> None:
    calls: list[tuple[int, int]] = []
    open_device(digits).infer(samples(digits, 5), lambda *step: calls.append(step))
    assert calls[-1] == (5, 5)
    assert calls == sorted(calls)
