"""Comparing the native engine with the reference."""

from __future__ import annotations

import numpy as np

from compiler import AxonProgram, interpret
from harness.native.engine import NativeEngine


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
