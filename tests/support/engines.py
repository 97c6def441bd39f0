"""Comparing the native engine with the reference."""

from __future__ import annotations

import numpy as np

from compiler import AxonProgram, CompileOptions, compile_model, interpret
from harness.native.engine import NativeEngine
from tests.support.tflite_builder import ModelBuilder


def vector_program() -> AxonProgram:
    """Fully connected layers and a softmax, which the engine runs for many inferences at once."""
    b = ModelBuilder("vectors")
    x = b.input(1, 45)
    y = b.dense(b.dense(x, 83, "RELU", per_channel=True), 21)
    y = b.unary("SOFTMAX", b.dense(y, 10), beta=1.0)
    return compile_model(b.build([x], [y]), CompileOptions(name="vectors"))


def assert_same_as_reference(
    engine: NativeEngine, program: AxonProgram, inputs: np.ndarray
) -> None:
    """Every layer, every output and every persistent variable, bit by bit."""
    expected = interpret(program, inputs)
    found = engine.run(program, inputs, keep_layers=True)
    for index, (left, right) in enumerate(zip(expected.layers, found.layers, strict=True)):
        where = f"{program.name}, layer {index} {program.layers[index].op.name}"
        assert right.dtype == left.dtype, where
        np.testing.assert_array_equal(right, left, err_msg=where)
    for left, right in zip(expected.outputs, found.outputs, strict=True):
        np.testing.assert_array_equal(right, left)
    assert found.state.keys() == expected.state.keys()
    for layer, left in expected.state.items():
        np.testing.assert_array_equal(found.state[layer], left)
