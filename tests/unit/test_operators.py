"""Every supported operator: the program computes what TFLite's reference kernels compute."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from compiler import CompileOptions, UnsupportedError, interpret, swapped_layers, translate, verify
from harness.layout import from_program, to_program
from tests.support.operator_models import MODELS, build_model

SAMPLES = 8
# TFLite rounds twice per requantization, the NPU once; a second operator amplifies that.
SINGLE_OPERATOR_LSB = 1
CHAINED_LSB = 6
# A padded average is rounded, then multiplied by up to 1.5 twice and rounded each time.
PADDED_AVERAGE_LSB = 3
# TFLite feeds softmax, sigmoid and tanh from int8, the NPU from 12 fraction bits.
FIXED_POINT_LSB = 16
FED_FROM_FIXED_POINT = {
    "sigmoid",
    "tanh",
    "silu",
    "softmax",
    "softmax_beta",
    "squeeze_and_excite",
    "softmax_of_sum",
    "softmax_of_mean",
    "softmax_before_conv",
    "sigmoid_of_five_columns",
    "tanh_of_odd_rows",
    "sigmoid_of_one_column",
}
# Models whose transposed variant is refused, and a part of the reason.
NOT_TRANSPOSABLE = {
    "dense_over_cut_rows": "reshape",
    "dense_over_rows": "reshape",
    "conv1d": "found 20x1",
    "dense_behind_single_channel": "reshape",
    "reshape_moves": "reshape",
}


def _tflite(data: bytes, inputs: npt.NDArray[np.int8]) -> list[list[npt.NDArray[Any]]]:
    """Outputs per sample and graph output, in one session, so that variables keep their state."""
    interpreter = Interpreter(
        model_content=data, experimental_op_resolver_type=OpResolverType.BUILTIN_REF
    )
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]
    results = []
    for sample in inputs:
        interpreter.set_tensor(source["index"], sample.reshape(source["shape"]))
        interpreter.invoke()
        details = interpreter.get_output_details()
        results.append([interpreter.get_tensor(detail["index"]).copy() for detail in details])
    return results


def _inputs(name: str, data: bytes) -> npt.NDArray[np.int8]:
    shape = MODELS[name][0][1:]
    seed = len(data)
    return np.random.default_rng(seed).integers(-128, 128, (SAMPLES, *shape)).astype(np.int8)


def _program(
    data: bytes, inputs: npt.NDArray[np.int8], *, transpose: bool
) -> list[npt.NDArray[Any]]:
    """The program's outputs in TFLite's layout, by graph output."""
    translation = translate(data, CompileOptions("m", transpose=transpose))
    program = translation.program
    verify(program)
    swapped = swapped_layers(program) if transpose else (False,) * len(program.layers)
    first = next(i for i, x in enumerate(program.layers) if x.inputs[0].producer == -1)
    execution = interpret(
        program, to_program(inputs, program.input_dims, transposed=transpose and swapped[first])
    )
    return [
        from_program(execution.layers[layer], transposed=swapped[layer])
        for layer in translation.output_layers
    ]


def _bound(name: str, operators: int) -> int:
    if name in FED_FROM_FIXED_POINT:
        return FIXED_POINT_LSB
    if name == "average_pool_same":
        return PADDED_AVERAGE_LSB
    return SINGLE_OPERATOR_LSB if operators == 1 else CHAINED_LSB


@pytest.mark.parametrize("transpose", [False, True], ids=["plain", "transposed"])
@pytest.mark.parametrize("name", MODELS)
def test_program_computes_what_tflite_computes(name: str, transpose: bool) -> None:
    data = build_model(name)
    inputs = _inputs(name, data)
    expected = _tflite(data, inputs)
    if transpose and name in NOT_TRANSPOSABLE:
        with pytest.raises(UnsupportedError, match=NOT_TRANSPOSABLE[name]):
            translate(data, CompileOptions("m", transpose=True))
        return
    operators = len(translate(data, CompileOptions("m")).source.operators)
    outputs = _program(data, inputs, transpose=transpose)
    worst = 0
    for number, output in enumerate(outputs):
        for sample, result in zip(expected, output, strict=True):
            difference = result.ravel().astype(int) - sample[number].ravel().astype(int)
            worst = max(worst, int(np.abs(difference).max()))
            assert np.unique(result).size > 1, "the test model saturates"
    assert worst <= _bound(name, operators), f"{worst} LSB"
