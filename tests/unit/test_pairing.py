"""Recognising outputs and layers of a program among TFLite's tensors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from compiler import AxonProgram, CompileOptions, Op, compile_model, decode, interpret
from harness.compare import layer_difference
from harness.errors import ConfigError
from harness.golden import TensorInfo, describe, golden_outputs, trace
from harness.layout import to_program
from harness.model_file import DEFAULT_MODEL
from harness.pairing import device_side, pair_layers, pair_outputs, same_quantization

GOLDEN = Path(__file__).parents[2].parent / "shared" / "golden"
needs_golden = pytest.mark.skipif(
    not GOLDEN.is_dir(), reason="the recorded golden models are not here"
)
MODEL = DEFAULT_MODEL.read_bytes()


@pytest.fixture(scope="module")
def digits() -> AxonProgram:
    return compile_model(MODEL, CompileOptions(name="digits"))


def test_every_layer_of_the_embedded_model_but_one_is_recognised(digits: AxonProgram) -> None:
    sample = np.full((1, 32, 32, 3), -128, np.int8)
    layers = interpret(digits, to_program(sample, digits.input_dims)).layers
    pairs = pair_layers(digits, layers, trace(MODEL, sample))
    # The layer before a softmax is in the softmax's own units, and stays out.
    expected = [i for i, layer in enumerate(digits.layers) if layer.op is not Op.FULLY_CONNECTED]
    assert [pair.index for pair in pairs] == expected
    for pair in pairs:
        assert layer_difference(pair).max_lsb <= 8  # wrong pairs differ by tens


def test_output_has_the_quantization_of_the_model(digits: AxonProgram) -> None:
    (pair,) = pair_outputs(digits, describe(MODEL).outputs)
    assert (pair.position, pair.layer) == (0, len(digits.layers) - 1)
    assert same_quantization(digits, pair.layer, pair.tensor)
    other = TensorInfo(0, "t", (10,), "int8", 0.00391, -128)
    assert not same_quantization(digits, pair.layer, other)


def test_an_output_without_counterpart_is_one_sentence(digits: AxonProgram) -> None:
    tensor = TensorInfo(0, "scores", (11,), "int8", 0.1, 0)
    with pytest.raises(ConfigError, match=r"model's output 'scores', \[11\]"):
        pair_outputs(digits, (tensor,))


@needs_golden
def test_several_outputs_are_told_apart_by_extent_and_quantization() -> None:
    program = decode((GOLDEN / "multi_out3_w8_i8.bin").read_bytes())
    outputs = describe((GOLDEN / "multi_out3_w8.tflite").read_bytes()).outputs
    pairs = pair_outputs(program, outputs)
    assert [pair.layer for pair in pairs] == [1, 4, 3]
    assert [pair.position for pair in pairs] == [0, 2, 1]


@needs_golden
@pytest.mark.parametrize("name", ["fc_pc_i32", "maxpool_i32", "sslice_i32"])
def test_wide_outputs_are_compared_in_the_steps_of_the_model(name: str) -> None:
    program = decode((GOLDEN / f"{name}.bin").read_bytes())
    model = (GOLDEN / f"{name.removesuffix('_i32')}.tflite").read_bytes()
    graph = describe(model)
    inputs = np.random.default_rng(1).integers(-128, 128, (8, *graph.input.shape), np.int8)
    golden = golden_outputs(model, inputs, use_cache=False)
    pairs = pair_outputs(program, graph.outputs)
    raw = interpret(program, to_program(inputs, program.input_dims)).outputs[0]
    assert raw.dtype == np.int32
    shaped = raw.transpose(0, 2, 3, 1).reshape(golden.outputs[0].shape)
    aligned = device_side("sim", program, pairs, (shaped,)).outputs[0]
    assert aligned.dtype == np.int8
    assert np.abs(aligned.astype(int) - golden.outputs[0]).max() <= 1
