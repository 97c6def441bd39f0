"""One small model for each operator, and for each way of lowering it that deserves a test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tests.support.tflite_builder import ModelBuilder, Value

Body = Callable[[ModelBuilder, Value], Value | list[Value]]
MAP: Final = (1, 8, 12, 4)
_MARGIN: Final = [[0, 0], [1, 2], [2, 1], [0, 0]]


def _conv(x: ModelBuilder, v: Value, channels: int = 6) -> Value:
    return x.conv(v, channels, (1, 1))


def _se(b: ModelBuilder, x: Value) -> Value:
    gate = b.dense(b.mean(x, [1, 2], keep=False), 4, "RELU")
    gate = b.unary("LOGISTIC", b.dense(gate, x.shape[3]))
    return b.pair("MUL", x, b.reshape(gate, 1, 1, 1, x.shape[3]))


def _silu(b: ModelBuilder, x: Value) -> Value:
    y = _conv(b, x)
    return b.pair("MUL", y, b.unary("LOGISTIC", y))


def _add_mean(b: ModelBuilder, x: Value) -> Value:
    y = _conv(b, x)
    return b.pair("ADD", y, b.mean(y, [1]))


def _multiply_mean(b: ModelBuilder, x: Value) -> Value:
    y = _conv(b, x)
    return b.pair("MUL", b.mean(y, [2]), y)


def _output_also_read(b: ModelBuilder, x: Value) -> list[Value]:
    y = _conv(b, x)
    return [y, b.conv(y, 3)]


def _split_equal(b: ModelBuilder, x: Value) -> Value:
    left, right = b.split(_conv(b, x), [3, 3], 3)
    return b.pair("ADD", b.conv(left, 4), b.conv(right, 4))


def _dilated(b: ModelBuilder, x: Value) -> Value:
    spread = b.space_to_batch(_conv(b, x), 2, [[2, 2], [2, 2]])
    return b.batch_to_space(b.conv(spread, 5, (3, 3), padding="VALID"), 2, [[0, 0], [0, 0]])


def _dilated_depthwise(b: ModelBuilder, x: Value) -> Value:
    spread = b.space_to_batch(x, 2, [[2, 2], [2, 2]])
    layer = b.conv(spread, 0, (3, 3), padding="VALID", depthwise=True)
    return b.batch_to_space(layer, 2, [[0, 0], [0, 0]])


def _keras_pool(b: ModelBuilder, x: Value) -> Value:
    y = b.reshape(b.conv(b.reshape(x, 1, 1, 96, 4), 6, (1, 3)), 1, 96, 1, 6)
    return b.conv(b.reshape(b.pool("MAX_POOL_2D", y, (2, 1), (2, 1)), 1, 1, 48, 6), 3, (1, 3))


def _state(b: ModelBuilder, x: Value) -> Value:
    y = _conv(b, x)
    handle, before = b.variable(y)
    b.assign(handle, y)
    return b.conv(b.concat([before, y], 1), 3, (2, 1), padding="VALID")


MODELS: Final[dict[str, tuple[tuple[int, ...], Body]]] = {
    "conv": (MAP, lambda b, x: b.conv(x, 5, (3, 5), activation="RELU")),
    "conv_stride_valid": (MAP, lambda b, x: b.conv(x, 5, (4, 2), stride=(3, 2), padding="VALID")),
    "conv_per_tensor": (MAP, lambda b, x: b.conv(x, 5, per_channel=False)),
    "conv_dilated": (MAP, lambda b, x: b.conv(x, 5, dilation=(2, 3))),
    "conv_relu6": (MAP, lambda b, x: b.conv(x, 5, activation="RELU6")),
    "conv1d": ((1, 1, 40, 3), lambda b, x: b.conv(x, 6, (1, 20), stride=(1, 2))),
    "pointwise_stride": (MAP, lambda b, x: b.conv(x, 7, (1, 1), stride=(2, 3))),
    "depthwise": (MAP, lambda b, x: b.conv(x, 0, (3, 3), stride=(2, 2), depthwise=True)),
    "depthwise_dilated": (MAP, lambda b, x: b.conv(x, 0, dilation=(1, 2), depthwise=True)),
    "dense": ((1, 37), lambda b, x: b.dense(b.dense(x, 20, "RELU", per_channel=True), 9)),
    "dense_behind_map": (MAP, lambda b, x: b.dense(b.reshape(_conv(b, x), 1, 576), 9)),
    "dense_behind_single_channel": (
        (1, 6, 7, 2),
        lambda b, x: b.dense(b.reshape(_conv(b, x, 1), 1, 42), 9),
    ),
    "average_pool": (MAP, lambda b, x: b.pool("AVERAGE_POOL_2D", x, (2, 3), (2, 3))),
    "average_pool_whole": (MAP, lambda b, x: b.pool("AVERAGE_POOL_2D", x, (8, 12), (8, 12))),
    "max_pool_same": (MAP, lambda b, x: b.pool("MAX_POOL_2D", x, (3, 3), (2, 2), "SAME")),
    "max_pool_of_sequence": ((1, 96, 4), _keras_pool),
    "mean_height": (MAP, lambda b, x: b.mean(x, [1])),
    "mean_width": (MAP, lambda b, x: b.mean(x, [-2])),
    "mean_both_dropped": (MAP, lambda b, x: b.dense(b.mean(x, [1, 2], keep=False), 5)),
    "mean_width_dropped": (MAP, lambda b, x: b.mean(x, [2], keep=False)),
    "relu_alone": (MAP, lambda b, x: b.unary("RELU", b.pool("MAX_POOL_2D", x, (2, 2), (2, 2)))),
    "relu_fused": (MAP, lambda b, x: b.unary("RELU", _conv(b, x))),
    "relu6_alone": (MAP, lambda b, x: b.unary("RELU6", x)),
    "leaky_relu": (MAP, lambda b, x: b.unary("LEAKY_RELU", _conv(b, x), alpha=0.2)),
    "leaky_relu_alone": (MAP, lambda b, x: b.unary("LEAKY_RELU", x, alpha=0.1)),
    "sigmoid": (MAP, lambda b, x: b.unary("LOGISTIC", _conv(b, x))),
    "tanh": (MAP, lambda b, x: b.unary("TANH", _conv(b, x))),
    "silu": (MAP, _silu),
    "softmax": ((1, 24), lambda b, x: b.unary("SOFTMAX", b.dense(x, 10), beta=1.0)),
    "softmax_beta": ((1, 24), lambda b, x: b.unary("SOFTMAX", b.dense(x, 10), beta=0.5)),
    "softmax_behind_relu": (
        (1, 24),
        lambda b, x: b.unary("SOFTMAX", b.dense(x, 10, "RELU"), beta=1.0),
    ),
    "add": (MAP, lambda b, x: b.pair("ADD", _conv(b, x), b.conv(x, 6), "RELU6")),
    "add_model_input": (MAP, lambda b, x: b.pair("ADD", b.conv(x, 4), x)),
    "add_broadcast_height": (
        MAP,
        _add_mean,
    ),
    "add_constant_channels": (MAP, lambda b, x: b.pair("ADD", x, b.constant(4))),
    "add_constant_column": (
        MAP,
        lambda b, x: b.pair("ADD", b.constant(1, 8, 1, 4), _conv(b, x, 4)),
    ),
    "add_constant_scalar": (MAP, lambda b, x: b.pair("ADD", x, b.constant(1))),
    "multiply": (MAP, lambda b, x: b.pair("MUL", _conv(b, x), b.conv(x, 6))),
    "multiply_broadcast_width": (
        MAP,
        _multiply_mean,
    ),
    "multiply_constant_row": (MAP, lambda b, x: b.pair("MUL", x, b.constant(1, 1, 12, 1))),
    "squeeze_and_excite": (MAP, lambda b, x: _se(b, _conv(b, x, 8))),
    "pad_folded": (
        MAP,
        lambda b, x: b.conv(b.pad(x, [[0, 0], [1, 2], [3, 0], [0, 0]]), 5, padding="VALID"),
    ),
    "pad_before_same": (MAP, lambda b, x: b.conv(b.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]]), 5)),
    "pad_before_pointwise": (
        MAP,
        lambda b, x: b.conv(b.pad(_conv(b, x), [[0, 0], [1, 0], [0, 2], [0, 0]]), 5, (1, 1)),
    ),
    "pad_channels": (MAP, lambda b, x: _conv(b, b.pad(x, [[0, 0], [0, 0], [0, 0], [2, 3]]))),
    "pad_channels_last": (
        MAP,
        lambda b, x: b.pad(_conv(b, x), [[0, 0], [0, 0], [0, 0], [1, 0]]),
    ),
    "slice": (
        MAP,
        lambda b, x: b.slice(_conv(b, x), [0, 1, 2, 0], [1, 8, 11, 6], [1, 2, 3, 2]),
    ),
    "split_equal": (
        MAP,
        _split_equal,
    ),
    "split_unequal": (
        MAP,
        lambda b, x: [b.conv(p, 4) for p in b.split(_conv(b, x), [3, 1, 4], 1)],
    ),
    "concat_channels": (
        MAP,
        lambda b, x: b.concat([x, b.pool("MAX_POOL_2D", x, (3, 3), (1, 1), "SAME")], 3),
    ),
    "concat_three": (
        MAP,
        lambda b, x: _conv(
            b, b.concat([x, b.pool("MAX_POOL_2D", x, (1, 3), (1, 1), "SAME"), x], 2)
        ),
    ),
    "reshape_moves": (MAP, lambda b, x: b.conv(b.reshape(_conv(b, x), 1, 4, 24, 6), 5)),
    "reshape_end": (MAP, lambda b, x: b.reshape(_conv(b, x), 1, 576)),
    "resize": (MAP, lambda b, x: b.resize(_conv(b, x), 16, 24)),
    "resize_corners": (MAP, lambda b, x: b.resize(_conv(b, x), 13, 17, alignCorners=True)),
    "space_to_batch": (MAP, _dilated),
    "variable": (MAP, _state),
    "two_outputs": (MAP, lambda b, x: [_conv(b, x), b.conv(x, 3, stride=(2, 2))]),
    "output_also_read": (
        MAP,
        _output_also_read,
    ),
    # What Nordic's code generator refuses or computes wrongly in the obvious form.
    "input_twice": (MAP, lambda b, x: b.conv(b.concat([x, x], 3), 3)),
    "input_shared_with_mean": (MAP, lambda b, x: [b.mean(x, [1]), b.conv(x, 3)]),
    "input_shared_with_pointwise": (MAP, lambda b, x: [_conv(b, x), b.conv(x, 3)]),
    "conv_higher_than_map": ((1, 1, 12, 4), lambda b, x: b.conv(x, 5, (3, 3))),
    "conv_many_inputs": (MAP, lambda b, x: _conv(b, b.conv(x, 516, (1, 2)), 3)),
    "max_pool_higher_than_map": (
        (1, 1, 12, 4),
        lambda b, x: b.pool("MAX_POOL_2D", x, (3, 3), (1, 2), "SAME"),
    ),
    "pad_channels_behind": (MAP, lambda b, x: b.conv(b.pad(x, [[0, 0]] * 3 + [[0, 3]]), 3)),
    "leaky_dense_per_channel": (
        (1, 24),
        lambda b, x: b.unary("LEAKY_RELU", b.dense(x, 10, per_channel=True), alpha=0.2),
    ),
    "softmax_of_sum": (
        (1, 24),
        lambda b, x: b.unary("SOFTMAX", b.pair("ADD", b.dense(x, 10), b.dense(x, 10)), beta=1.0),
    ),
    "softmax_of_mean": (
        MAP,
        lambda b, x: b.unary("SOFTMAX", b.mean(_conv(b, x), [1, 2], keep=False), beta=1.0),
    ),
    "softmax_before_conv": (
        MAP,
        lambda b, x: [b.unary("SOFTMAX", b.conv(x, 4), beta=1.0), b.conv(x, 3)],
    ),
    "add_pixel": (MAP, lambda b, x: b.conv(b.pair("ADD", b.conv(x, 4), b.mean(x, [1, 2])), 3)),
    "depthwise_of_resized": (
        (1, 3, 5, 4),
        lambda b, x: b.conv(b.resize(x, 6, 10), 0, depthwise=True),
    ),
    # Beyond Nordic's front end: rewritten for the NPU.
    "subtract": (MAP, lambda b, x: b.pair("SUB", _conv(b, x), b.conv(x, 6), "RELU6")),
    "subtract_model_input": (MAP, lambda b, x: b.pair("SUB", x, b.conv(x, 4))),
    "subtract_from_constant": (MAP, lambda b, x: b.pair("SUB", b.constant(4), _conv(b, x, 4))),
    "add_itself": (MAP, lambda b, x: b.conv(b.pair("ADD", x, x), 3)),
    "average_pool_same": (MAP, lambda b, x: b.pool("AVERAGE_POOL_2D", x, (3, 3), (2, 2), "SAME")),
    "average_pool_same_dense": (
        MAP,
        lambda b, x: b.pool("AVERAGE_POOL_2D", _conv(b, x), (3, 5), (1, 1), "SAME"),
    ),
    "average_pool_stepping_columns": (
        MAP,
        lambda b, x: b.pool("AVERAGE_POOL_2D", x, (8, 1), (8, 3)),
    ),
    "pad_before_max_pool": (
        MAP,
        lambda b, x: b.pool("MAX_POOL_2D", b.pad(_conv(b, x), _MARGIN), (3, 3), (2, 2)),
    ),
    "pad_of_relu_before_max_pool": (
        MAP,
        lambda b, x: b.pool(
            "MAX_POOL_2D", b.pad(b.conv(x, 6, activation="RELU"), _MARGIN), (3, 3), (2, 2)
        ),
    ),
    "pad_space_and_channels": (
        MAP,
        lambda b, x: b.pair("MUL", b.pad(x, [*_MARGIN[:3], [1, 2]]), b.constant(1)),
    ),
    "max_pool_whole": (MAP, lambda b, x: b.pool("MAX_POOL_2D", x, (8, 12), (8, 12))),
    "max_pool_whole_height": (
        MAP,
        lambda b, x: b.pool("MAX_POOL_2D", _conv(b, x), (8, 1), (8, 2)),
    ),
    "reduce_max": (MAP, lambda b, x: b.dense(b.maximum(_conv(b, x), [1, 2]), 5)),
    "reduce_max_height": (MAP, lambda b, x: b.maximum(x, [1], keep=True)),
    "pad_with_lowest_before_max_pool": (
        MAP,
        lambda b, x: b.pool("MAX_POOL_2D", b.pad(x, _MARGIN, fill=-128), (3, 3), (2, 2)),
    ),
    "pad_with_zero_point": (MAP, lambda b, x: b.conv(b.pad(x, _MARGIN, fill=3), 4)),
    "depthwise_multiplier": (
        MAP,
        lambda b, x: b.conv(x, 0, stride=(2, 2), depthwise=True, multiplier=3),
    ),
    "depthwise_multiplier_of_one": (
        (1, 8, 12, 1),
        lambda b, x: b.conv(x, 0, (3, 5), depthwise=True, multiplier=5, activation="RELU"),
    ),
    "depthwise_in_odd_batches": ((1, 8, 10, 3), _dilated_depthwise),
    "mean_channels": (MAP, lambda b, x: b.mean(x, [3])),
    "mean_rows_and_channels": (MAP, lambda b, x: b.mean(_conv(b, x), [1, 3], keep=False)),
    "mean_channels_of_large_map": ((1, 3, 20, 4), lambda b, x: b.mean(x, [2, 3])),
    "sigmoid_of_five_columns": (
        (1, 3, 5, 4),
        lambda b, x: b.pair("MUL", x, b.unary("LOGISTIC", b.conv(x, 4))),
    ),
    "sigmoid_of_one_column": ((1, 6, 1, 4), lambda b, x: b.unary("LOGISTIC", b.conv(x, 3))),
    "dense_over_rows": (
        (1, 3, 5, 4),
        lambda b, x: b.pair("ADD", b.dense(b.reshape(_conv(b, x), 15, 6), 5), b.constant(1)),
    ),
    "dense_over_rows_of_map": (
        (1, 3, 5, 4),
        lambda b, x: b.conv(b.reshape(b.dense(b.reshape(_conv(b, x), 15, 6), 5), 1, 3, 5, 5), 4),
    ),
    "dense_over_cut_rows": (
        (1, 3, 8, 4),
        lambda b, x: b.dense(b.reshape(_conv(b, x), 6, 24), 5, "RELU"),
    ),
    "dense_in_blocks": (
        (1, 1024),
        lambda b, x: b.dense(b.dense(x, 600, "RELU", per_channel=True), 9),
    ),
    "tanh_of_odd_rows": ((1, 3, 7, 4), lambda b, x: b.unary("TANH", _conv(b, x))),
}


def build_model(name: str) -> bytes:
    """The file of one of `MODELS`."""
    shape, body = MODELS[name]
    builder = ModelBuilder(name)
    source = builder.input(*shape)
    results = body(builder, source)
    return builder.build([source], results if isinstance(results, list) else [results])
