"""Limits of the NPU and of Nordic's code generator: what lies within compiles, what lies beyond is
refused with the rule's name, the figure found and the figure allowed."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from compiler import CompileOptions, UnsupportedError, compile_model, scan_model, verify
from tests.support.tflite_builder import ModelBuilder, Value

Shape = tuple[int, ...]
Body = Callable[[ModelBuilder, Value], Value | list[Value]]


def _model(shape: Shape, body: Body) -> bytes:
    builder = ModelBuilder(f"limits {shape}")
    source = builder.input(*shape)
    results = body(builder, source)
    return builder.build([source], results if isinstance(results, list) else [results])


def _conv(kernel: tuple[int, int], *, depthwise: bool = False, padding: str = "VALID") -> Body:
    return lambda b, x: b.conv(x, 4, kernel, depthwise=depthwise, padding=padding)


def _strided(stride: tuple[int, int]) -> Body:
    return lambda b, x: b.conv(x, 4, (3, 3), stride=stride)


def _pool(kind: str, window: tuple[int, int]) -> Body:
    return lambda b, x: b.pool(kind, x, window, (2, 2))


def _padded(rows: tuple[int, int], columns: tuple[int, int]) -> Body:
    table = [[0, 0], list(rows), list(columns), [0, 0]]
    return lambda b, x: b.conv(b.pad(x, table), 4, (3, 3), padding="VALID")


def _padded_by(b: ModelBuilder, x: Value, rows: int) -> Value:
    return b.pad(x, [[0, 0], [rows, 0], [0, 0], [0, 0]])


def _sum(b: ModelBuilder, x: Value) -> Value:
    return b.pair("ADD", x, b.conv(x, x.shape[3], (1, 2)))


def _product(b: ModelBuilder, x: Value) -> Value:
    return b.pair("MUL", x, b.conv(x, x.shape[3], (1, 2)))


def _sigmoid(b: ModelBuilder, x: Value) -> Value:
    return b.unary("LOGISTIC", b.conv(x, 3, (1, 2)))


def _sliced(stride: int) -> Body:
    def body(b: ModelBuilder, x: Value) -> Value:
        return b.slice(x, [0, 0, 0, 0], list(x.shape), [1, 1, stride, 1])

    return body


def _constant_larger(b: ModelBuilder, x: Value) -> Value:
    return b.pair("ADD", b.mean(x, [1, 2]), b.constant(1, 6, 8, 4))


def _single_value(b: ModelBuilder, x: Value) -> Value:
    return b.dense(b.pair("ADD", b.dense(x, 6), b.dense(x, 1)), 3)


def _batches_out(b: ModelBuilder, x: Value) -> Value:
    return b.space_to_batch(x, 2, [[0, 0], [0, 0]])


WITHIN: dict[str, tuple[Shape, Body]] = {
    "filter 16x16": ((1, 20, 40, 3), _conv((16, 16))),
    "filter 1x32 on a line": ((1, 1, 40, 3), _conv((1, 32))),
    "stride 31": ((1, 40, 100, 3), _strided((31, 31))),
    "average pool 32": ((1, 40, 41, 3), _pool("AVERAGE_POOL_2D", (32, 32))),
    "max pool 32": ((1, 40, 41, 3), _pool("MAX_POOL_2D", (32, 32))),
    "padding 3 above a filter of 1": (
        (1, 10, 12, 3),
        lambda b, x: b.conv(_padded_by(b, x, 3), 4, (1, 2), padding="VALID"),
    ),
    "padding 6 above a filter of 4": (
        (1, 10, 12, 3),
        lambda b, x: b.conv(_padded_by(b, x, 6), 4, (4, 2), padding="VALID"),
    ),
    "padding 15": ((1, 10, 12, 3), _padded((3, 3), (15, 15))),
    "sum 1020 wide": ((1, 2, 1020, 2), _sum),
    "product 1024 wide": ((1, 2, 1024, 2), _product),
    "product 1020 wide": ((1, 2, 1020, 2), _product),
    "convolution 2060 wide": ((1, 2, 2060, 2), _conv((1, 3))),
    "convolution 4000 high": ((1, 4000, 2, 2), _conv((3, 1))),
    "depthwise 1023 channels": ((1, 2, 4, 1023), _conv((2, 2), depthwise=True)),
    "max pool 2048 channels": ((1, 2, 5, 2048), _pool("MAX_POOL_2D", (2, 2))),
    "concatenation to 2046 channels": ((1, 2, 4, 1023), lambda b, x: b.concat([x, x], 3)),
    "slice of 1024 channels": (
        (1, 2, 4, 1024),
        lambda b, x: b.slice(x, [0, 0, 0, 1], list(x.shape), [1, 1, 1, 1]),
    ),
    "dense 1023 to 2048": ((1, 1023), lambda b, x: b.dense(x, 2048)),
    "dense 1024 to 1024": ((1, 1024), lambda b, x: b.dense(x, 1024)),
    "stride 32 with one result": ((1, 6, 8, 3), _strided((32, 32))),
    "slice stride 32 with one element": ((1, 2, 8, 3), _sliced(32)),
    "convolution 1024 inputs": ((1, 2, 4, 1024), _conv((2, 2))),
    "sigmoid 7 wide": ((1, 3, 7, 4), _sigmoid),
    "slice stride 31": ((1, 2, 70, 3), _sliced(31)),
}

BEYOND: dict[str, tuple[Shape, Body, str]] = {
    "filter 17 high": ((1, 20, 40, 3), _conv((17, 3)), "found 17x3, allowed 16x16"),
    "filter 1x17 on a map": ((1, 20, 40, 3), _conv((1, 17)), "found 1x17, allowed 16x16"),
    "filter 1x33 on a line": ((1, 1, 40, 3), _conv((1, 33)), "found 1x33, allowed 16x32"),
    "stride 32": ((1, 40, 100, 3), _strided((1, 32)), "found stride 32, allowed 1 to 31"),
    "average pool 33": ((1, 40, 41, 3), _pool("AVERAGE_POOL_2D", (33, 2)), "found 33x2"),
    "max pool 33": ((1, 40, 41, 3), _pool("MAX_POOL_2D", (2, 33)), "found 2x33"),
    "padding 16": ((1, 10, 12, 3), _padded((0, 0), (16, 0)), "found padding 16"),
    "padding above the filter": ((1, 10, 12, 3), _padded((4, 0), (0, 0)), "4 rows of padding"),
    "padding above a filter of 2": (
        (1, 10, 12, 3),
        lambda b, x: b.conv(_padded_by(b, x, 4), 4, (2, 2), padding="VALID"),
        "4 rows of padding above, allowed at most 3",
    ),
    "padding below a low result": (
        (1, 3, 8, 3),
        lambda b, x: b.conv(x, 4, (5, 5), stride=(2, 2)),
        "2 rows of padding below",
    ),
    "max pool higher than the map": (
        (1, 3, 8, 3),
        lambda b, x: b.pool("MAX_POOL_2D", x, (5, 5), (1, 1), "SAME"),
        "found 5x5 on 3x8",
    ),
    "sum 1021 wide": ((1, 2, 1021, 2), _sum, "found width 1021"),
    "product 1021 high": ((1, 1021, 2, 2), _product, "found height 1021"),
    "depthwise 1025 wide": ((1, 2, 1025, 2), _conv((1, 3), depthwise=True), "found width 1025"),
    "leaky ReLU of a vector of 1025": (
        (1, 8),
        lambda b, x: b.unary("LEAKY_RELU", b.dense(x, 1025, per_channel=True), alpha=0.1),
        "found width 1025",
    ),
    "slice 1025 high": ((1, 1025, 4, 3), _sliced(2), "found height 1025"),
    "depthwise 1024 channels": ((1, 2, 4, 1024), _conv((2, 2), depthwise=True), "1024 channels"),
    "convolution 1025 inputs": ((1, 2, 4, 1025), _conv((2, 2)), "1025 channels"),
    "convolution 2061 wide": ((1, 2, 2061, 2), _conv((1, 3)), "found width 2061"),
    "slice stride 32": ((1, 2, 70, 3), _sliced(32), "found stride 32"),
    "constant larger than the map": ((1, 6, 8, 4), _constant_larger, "a constant"),
    "single value added to a vector": ((1, 8), _single_value, "operands of one size"),
    "several batches as output": ((1, 8, 8, 4), _batches_out, "an output of several batches"),
    "only padding under a filter": (
        (1, 6, 8, 4),
        lambda b, x: b.conv(_padded_by(b, x, 15), 4, (1, 1), stride=(31, 1)),
        "windows that only meet padding",
    ),
    "product 1021 wide with a column": (
        (1, 2, 1021, 2),
        lambda b, x: b.pair("MUL", x, b.mean(x, [2])),
        "found width 1021",
    ),
    "dense of 1025 over rows": (
        (1, 2, 1025),
        lambda b, x: b.dense(b.reshape(x, 2, 1025), 4),
        "found 1025 inputs to 4",
    ),
    "dense 1024 to 1025": ((1, 1024), lambda b, x: b.dense(x, 1025), "found 1024 inputs to 1025"),
    "softmax before a layer": (
        (1, 8),
        lambda b, x: b.dense(b.unary("SOFTMAX", b.dense(x, 6), beta=1.0), 3),
        "a layer that reads its result",
    ),
    "softmax of dense 1024 to 513": (
        (1, 1024),
        lambda b, x: b.unary("SOFTMAX", b.dense(x, 513), beta=1.0),
        "found 1024 inputs to 513",
    ),
}


@pytest.mark.parametrize("name", WITHIN)
def test_the_last_size_within_a_limit_compiles(name: str) -> None:
    shape, body = WITHIN[name]
    verify(compile_model(_model(shape, body), CompileOptions("m")))


@pytest.mark.parametrize("name", BEYOND)
def test_the_first_size_beyond_is_refused(name: str) -> None:
    shape, body, message = BEYOND[name]
    with pytest.raises(UnsupportedError, match=message):
        compile_model(_model(shape, body), CompileOptions("m"))


@pytest.mark.parametrize("name", BEYOND)
def test_scan_names_rule_and_remedy(name: str) -> None:
    shape, body, message = BEYOND[name]
    report = scan_model(_model(shape, body))
    assert not report.supported
    assert any(message in str(violation) for violation in report.violations)
    assert all(violation.rule.endswith(".") for violation in report.violations)
    assert all(violation.advice for violation in report.violations)


def test_a_map_of_one_row_becomes_a_column() -> None:
    """Only vectors behind a fully connected layer stay as they are in the transposed variant."""
    data = _model((1, 1, 9, 1), lambda b, x: b.unary("LOGISTIC", b.conv(x, 0, depthwise=True)))
    for transpose, layers in ((False, 2), (True, 4)):
        program = compile_model(data, CompileOptions("m", transpose=transpose))
        assert len(program.layers) == layers
    with pytest.raises(UnsupportedError, match="found width 1"):
        compile_model(data, CompileOptions("m", transpose=True, output="int32"))
    vector = _model((1, 8), lambda b, x: b.unary("LOGISTIC", b.dense(x, 9)))
    verify(compile_model(vector, CompileOptions("m", transpose=True)))


def test_limits_follow_the_transposed_variant() -> None:
    data = _model((1, 1, 40, 3), _conv((1, 20)))
    verify(compile_model(data, CompileOptions("m")))
    with pytest.raises(UnsupportedError, match="found 20x1"):
        compile_model(data, CompileOptions("m", transpose=True))
    lying = _model((1, 3, 5, 4), _sigmoid)
    verify(compile_model(lying, CompileOptions("m", transpose=True, output="int32")))
    with pytest.raises(UnsupportedError, match="found width 5"):
        compile_model(lying, CompileOptions("m", output="int32"))


def test_scan_advises_the_orientation_that_takes_fewer_cycles() -> None:
    tall = _model((1, 64, 6, 4), _conv((3, 3), padding="SAME"))
    advice = scan_model(tall).transpose_advice
    assert advice is not None
    assert re.fullmatch(r"the transposed variant takes \d+% fewer NPU cycles, by estimate", advice)
    assert scan_model(tall, CompileOptions("m", transpose=True)).transpose_advice is None


def test_scan_tells_when_only_the_other_orientation_compiles() -> None:
    column = _model((1, 40, 1, 3), _conv((20, 1)))
    report = scan_model(column)
    assert not report.supported
    assert report.transpose_advice == "the transposed variant compiles, this one does not"
