"""The reference executor: equal to every recorded value, exact, and right layer by layer."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest

from compiler import (
    Activation,
    AxonProgram,
    Dims,
    InputError,
    Layer,
    LayerInput,
    Op,
    Pads,
    Quantization,
    UnsupportedError,
    dequantize_output,
    interpret,
    quantize_input,
    verify,
)
from tests.support.golden import VECTORS, golden_parameters, golden_run
from tests.support.programs import convolution, layer_of, program_of
from tests.support.random_programs import random_inputs, random_program

Array = npt.NDArray[np.integer]

# Softmax is the one layer whose recorded values come from an approximation (of the exponential).
SOFTMAX_INT8_LSB = 1
SOFTMAX_RELATIVE = 6e-4
"""Of a 32-bit output, where the probability is at least 2**-11 of the largest."""
SOFTMAX_ABSOLUTE = 1.2e-4
"""Of a 32-bit output anywhere, against probability 1."""


def run(program: AxonProgram, inputs: Array) -> Array:
    """The single output of a verified program."""
    verify(program)
    (output,) = interpret(program, inputs).outputs
    return output


def one(*layers: Layer, values: list[int] | range, zero_point: int = 0) -> list[int]:
    """Flat output for one flat input."""
    program = program_of(*layers, zero_point=zero_point)
    image = np.array(list(values), np.int8).reshape(program.input_dims.shape)
    flat: list[int] = run(program, image).ravel().tolist()
    return flat


def row(width: int, byte_width: int = 1) -> Dims:
    return Dims(1, width, 1, byte_width)


# --- recorded runs ------------------------------------------------------------------------------


def assert_softmax(layer: Layer, found: Array, recorded: Array) -> None:
    """Within the stated bounds."""
    difference = np.abs(found.astype(np.int64) - recorded.astype(np.int64))
    if layer.output_dims.byte_width == 1:
        assert difference.max() <= SOFTMAX_INT8_LSB
        return
    assert layer.multipliers is not None
    assert layer.shifts is not None
    whole = float(layer.multipliers[0]) / 2.0 ** int(layer.shifts[0])
    assert difference.max() <= SOFTMAX_ABSOLUTE * whole
    large = found >= found.max() / 2048
    assert (difference[large] <= SOFTMAX_RELATIVE * found[large]).all()


def assert_recorded(layer: Layer, found: Array, recorded: Array) -> None:
    assert found.dtype == recorded.dtype
    found = found.reshape(recorded.shape)
    if layer.op is Op.SOFTMAX:
        assert_softmax(layer, found, recorded)
    else:
        np.testing.assert_array_equal(found, recorded)


@pytest.mark.parametrize("name", golden_parameters())
def test_equals_recorded_layers(name: str) -> None:
    recorded = golden_run(name)
    verify(recorded.program)
    execution = interpret(recorded.program, recorded.inputs[0])
    for index, layer in enumerate(recorded.program.layers):
        assert_recorded(layer, execution.layers[index], recorded.layer(index))


@pytest.mark.parametrize("name", golden_parameters())
def test_equals_recorded_outputs_of_every_vector(name: str) -> None:
    recorded = golden_run(name)
    execution = interpret(recorded.program, recorded.inputs, keep_layers=False)
    assert execution.layers == ()
    for position, index in enumerate(recorded.program.output_layers):
        layer = recorded.program.layers[index]
        per_vector = np.split(execution.outputs[position], VECTORS)
        for vector, found in enumerate(per_vector):
            assert_recorded(layer, found, recorded.output(vector, position))


# --- exactness ----------------------------------------------------------------------------------


@pytest.mark.parametrize("shift", [0, 1, 2, 5, 30, 31, 40, 63])
@pytest.mark.parametrize("zero_point", [-128, -3, 0, 6, 127])
def test_rounds_half_to_even_with_the_zero_point_inside(shift: int, zero_point: int) -> None:
    for multiplier in (1, 3, 2**12 + 1, -5, 2**31 - 1, -(2**31)):
        add = layer_of(
            Op.ADD,
            row(256),
            row(256, 4),
            multiplier=[multiplier, 0],
            shift=shift,
            filter=np.zeros((1, 1, 256), np.int8),
            output_zero_point=zero_point,
        )
        found = one(add, values=range(-128, 128))
        for value, result in zip(range(-128, 128), found, strict=True):
            exact = round(Fraction(value * multiplier + zero_point * 2**shift, 2**shift))
            assert result == min(max(exact, -(2**31)), 2**31 - 1)


def test_sums_beyond_float32_are_exact() -> None:
    """The bound from the weights chooses a wider float; an odd sum needs its last bit."""
    length = 4097
    weights = np.full((2, length), -128, np.int8)
    weights[1, 0] = -127
    layer = layer_of(
        Op.FULLY_CONNECTED, row(length), row(2, 4), filter=weights, bias=np.array([1, 1], np.int32)
    )
    assert one(layer, values=[-127] * length) == [127 * 128 * length + 1, 127 * 128 * length - 126]


def test_convolution_sums_beyond_float32_are_exact() -> None:
    source = Dims(12, 12, 15)
    weights = np.full((1, 15, 12, 12), 127, np.int8)
    weights[0, 0, 0, 0] = 126
    layer = convolution(source, weights.tolist(), Dims(1, 1, 1, 4))
    assert one(layer, values=[127] * 2160) == [127 * (127 * 2160 - 1)]


def test_a_leaky_accumulator_chooses_its_multiplier() -> None:
    weights = [[[[1]]], [[[-1]]]]
    layer = convolution(
        Dims(1, 1, 1),
        weights,
        Dims(1, 1, 2),
        multiplier=[1, 4, 2, 8],
        shift=2,
        activation=Activation.LEAKY_RELU,
    )
    assert one(layer, values=[40]) == [40, -20]
    assert one(layer, values=[-40]) == [-10, 80]


def test_products_saturate_at_32_bits_before_a_softmax_only() -> None:
    weights = np.array([[100]], np.int8)
    plain = layer_of(
        Op.FULLY_CONNECTED, row(1), row(1, 4), filter=weights, multiplier=1 << 19, shift=17
    )
    logits = replace(plain, activation=Activation.PREPARE_SOFTMAX)
    assert one(plain, values=[100]) == [40000]
    assert one(logits, values=[100]) == [16384]
    assert one(logits, values=[-100]) == [-16384]
    assert one(logits, values=[10]) == [4000]


def test_a_fused_relu_clamps_at_the_zero_point() -> None:
    layer = layer_of(
        Op.FULLY_CONNECTED,
        row(1),
        row(2),
        filter=np.array([[1], [-1]], np.int8),
        activation=Activation.RELU,
        output_zero_point=-10,
    )
    assert one(layer, values=[20]) == [10, -10]


# --- layer by layer -----------------------------------------------------------------------------


def test_convolution_pads_with_the_zero_point() -> None:
    layer = convolution(
        Dims(2, 2, 1),
        [[[[1, 2], [3, 4]]]],
        Dims(2, 2, 1),
        pads=Pads(left=1, right=0, top=0, bottom=1),
        input_zero_point=-1,
    )
    #  rows: -1 1 2 | -1 3 4 | -1 -1 -1
    assert one(layer, values=[1, 2, 3, 4]) == [10, 30, -2, 4]


def test_stride_and_dilation() -> None:
    layer = convolution(row(7), [[[[1, 10]]]], row(2), stride_x=3, dilation_x=2)
    assert one(layer, values=range(1, 8)) == [1 + 30, 4 + 60]


def test_depthwise_keeps_channels_apart() -> None:
    layer = convolution(Dims(1, 2, 2), [[[1, 1]], [[2, -2]]], Dims(1, 1, 2))
    assert one(layer, values=[3, 4, 5, 7]) == [7, -4]


def test_per_channel_shifts() -> None:
    layer = layer_of(
        Op.FULLY_CONNECTED,
        row(1),
        row(3),
        multiplier=[1, 1, 3],
        shift=[0, 1, 2],
        filter=np.array([[1], [1], [1]], np.int8),
    )
    assert one(layer, values=[5]) == [5, 2, 4]  # 5, 2.5 to even, 3.75


def test_max_pool_ignores_padding_and_clamps_at_its_field() -> None:
    layer = layer_of(
        Op.MAX_POOL,
        Dims(2, 2, 1),
        Dims(2, 2, 1),
        filter_dims=Dims(2, 2, 0, 1, 0),
        stride_x=1,
        stride_y=1,
        pads=Pads(0, 1, 0, 1),
    )
    assert one(layer, values=[-9, -8, -7, -6]) == [-6, -6, -6, -6]
    clamped = replace(layer, activation=Activation.RELU, output_zero_point=-7)
    assert one(clamped, values=[-9, -8, -9, -9]) == [-7, -7, -7, -7]


def test_average_pool_and_mean_divide_by_their_multiplier() -> None:
    layer = layer_of(
        Op.AVERAGE_POOL,
        row(4),
        row(2),
        shift=1,
        filter_dims=Dims(1, 2, 0, 1, 0),
        stride_x=2,
        stride_y=1,
        bias=np.array([2], np.int32),
    )
    assert one(layer, values=[1, 2, 3, 5]) == [2, 5]  # 2.5 and 5
    channels = replace(layer, op=Op.MEAN, filter_dims=Dims(1, 1, 2, 1, 0), stride_x=1)
    mean = replace(channels, inputs=(LayerInput(-1, Dims(1, 2, 2)),))
    assert one(mean, values=[1, 2, 3, 5]) == [3, 4]  # (1+3+2)/2, 4.5 to even


def test_mean_over_an_axis_too_long_for_its_stride() -> None:
    layer = layer_of(
        Op.MEAN, row(256), row(1, 4), filter_dims=Dims(1, 256, 1, 1, 0), stride_x=0, stride_y=1
    )
    assert one(layer, values=range(-128, 128)) == [-128]


def test_add_of_a_constant_and_of_a_broadcast_layer() -> None:
    constant = layer_of(
        Op.ADD,
        Dims(1, 2, 2),
        Dims(1, 2, 2),
        multiplier=[2, 3],
        filter=np.array([[[10]], [[20]]], np.int8),
        bias=np.array([-1], np.int32),
    )
    assert one(constant, values=[1, 2, 3, 4]) == [31, 33, 65, 67]
    rows = layer_of(
        Op.MEAN,
        Dims(2, 2, 1),
        Dims(1, 2, 1),
        filter_dims=Dims(2, 1, 1, 1, 0),
        stride_x=1,
        stride_y=2,
    )
    operands = (LayerInput(0, Dims(1, 2, 1)), LayerInput(-1, Dims(2, 2, 1)))
    added = layer_of(Op.ADD, row(1), Dims(2, 2, 1), multiplier=[1, 10], inputs=operands)
    added = replace(added, filter_dims=Dims(1, 2, 1, 1, 0))
    assert one(rows, added, values=[1, 2, 3, 4]) == [14, 26, 34, 46]


def test_a_vector_scales_channels() -> None:
    """The operand is stored 1x1x2, the filter dimensions say that it lies along the channels."""
    vector = layer_of(
        Op.FULLY_CONNECTED, row(4), row(2), filter=np.array([[1, 0, 0, 0], [0, 0, 1, 0]], np.int8)
    )
    vector = replace(vector, inputs=(LayerInput(-1, row(4)),))
    operands = (LayerInput(0, row(2)), LayerInput(1, Dims(1, 2, 2)))
    same = convolution(Dims(1, 2, 2), [[[1]], [[1]]], Dims(1, 2, 2))
    scaled = layer_of(Op.MULTIPLY, row(1), Dims(1, 2, 2), inputs=operands)
    scaled = replace(scaled, filter_dims=Dims(1, 1, 2, 1, 0))
    program = program_of(vector, same, scaled)
    image = np.array([2, 3, 5, 7], np.int8).reshape(1, 1, 4)
    assert run(program, image).ravel().tolist() == [4, 6, 25, 35]


def test_multiply_takes_zero_points_from_the_producers() -> None:
    pool = layer_of(
        Op.MAX_POOL,
        row(2),
        row(2),
        filter_dims=Dims(1, 1, 0, 1, 0),
        stride_x=1,
        stride_y=1,
        input_zero_point=4,
    )
    constant = np.array([[[13]]], np.int8)
    layer = layer_of(Op.MULTIPLY, row(2), row(2), producer=0, filter=constant, input_zero_point=10)
    assert one(pool, layer, values=[4, 9], zero_point=4) == [0, 15]


def test_channel_pad() -> None:
    layer = layer_of(
        Op.CHANNEL_PAD,
        Dims(1, 2, 1),
        Dims(1, 3, 3),
        pads=Pads(left=1, right=0, top=2, bottom=0),
        output_zero_point=-5,
    )
    assert one(layer, values=[1, 2]) == [-5] * 7 + [1, 2]


def test_concatenation_of_splits_reorders() -> None:
    whole = convolution(row(4), [[[[1]]]], row(4))
    parts = (LayerInput(0, row(3), 2, 1), LayerInput(0, row(1), 2, 0))
    layer = layer_of(Op.CONCATENATE, row(1), row(4), inputs=parts, concat_axis=2)
    assert one(whole, layer, values=[1, 2, 3, 4]) == [2, 3, 4, 1]


def test_strided_slice() -> None:
    layer = layer_of(
        Op.STRIDED_SLICE,
        Dims(2, 4, 2),
        Dims(1, 2, 1),
        filter=np.array([1, 0, 1, 2, 1, 2**31 - 1, 1, 1, 2], np.int32),
    )
    assert one(layer, values=range(16)) == [9, 11]


def test_reshape_keeps_channels_last_order() -> None:
    layer = layer_of(Op.RESHAPE, Dims(1, 2, 2), Dims(2, 2, 1))
    #  [c][w]: 1 2 | 3 4 is the sequence 1 3 2 4 with channels last
    assert one(layer, values=[1, 2, 3, 4]) == [1, 3, 2, 4]


def test_another_shape_of_the_same_tensor_keeps_the_device_order() -> None:
    source = Dims(1, 2, 2)
    first = convolution(source, [[[1]], [[1]]], source)
    layer = layer_of(
        Op.FULLY_CONNECTED, row(4), row(1), producer=0, filter=np.array([[0, 0, 1, 0]], np.int8)
    )
    assert one(first, layer, values=[1, 2, 3, 4]) == [3]


def test_space_to_batch_and_back() -> None:
    there = layer_of(
        Op.SPACE_TO_BATCH,
        Dims(2, 3, 1),
        Dims(1, 2, 1, 1, 4),
        filter_dims=Dims(2, 2, 1, 1, 0),
        pads=Pads(1, 0, 0, 0),
        output_zero_point=9,
    )
    back = layer_of(
        Op.BATCH_TO_SPACE,
        Dims(1, 2, 1, 1, 4),
        Dims(2, 2, 1),
        producer=0,
        filter_dims=Dims(2, 2, 1, 1, 0),
        pads=Pads(1, 1, 0, 0),
    )
    program = program_of(there, back)
    verify(program)
    images = np.arange(1, 13, dtype=np.int8).reshape(2, 1, 2, 3)
    execution = interpret(program, images)
    #  9 1 2 3 | 9 4 5 6: even rows and columns, then odd columns, then odd rows
    batches = execution.layers[0].reshape(2, 4, 2).tolist()
    assert batches[0] == [[9, 2], [1, 3], [9, 5], [4, 6]]
    assert batches[1] == [[9, 8], [7, 9], [9, 11], [10, 12]]
    assert execution.outputs[0].reshape(2, 4).tolist() == [[1, 2, 4, 5], [7, 8, 10, 11]]


@pytest.mark.parametrize(
    ("align_corners", "half_pixel", "expected"),
    [(0, 0, [1, 1, 2, 2, 3]), (1, 0, [1, 2, 2, 3, 3]), (0, 1, [1, 1, 2, 3, 3])],
)
def test_resize_nearest(align_corners: int, half_pixel: int, expected: list[int]) -> None:
    layer = layer_of(
        Op.RESIZE_NEAREST,
        row(3),
        row(5),
        cpu_attributes=np.array([align_corners, half_pixel, 175], np.int32),
    )
    assert one(layer, values=[1, 2, 3]) == expected


def logits(width: int, scale: int) -> Layer:
    """int8 to q11.12: each input times scale."""
    return layer_of(
        Op.FULLY_CONNECTED,
        row(width),
        row(width, 4),
        multiplier=scale,
        filter=np.eye(width, dtype=np.int8),
        activation=Activation.PREPARE_SOFTMAX,
    )


def test_softmax() -> None:
    eighth = layer_of(
        Op.SOFTMAX, row(2, 4), row(2), producer=0, multiplier=1 << 30, shift=22,
        output_zero_point=-128,
    )  # fmt: skip
    assert one(logits(2, 4096), eighth, values=[7, 7]) == [0, 0]
    assert one(logits(2, 4096), eighth, values=[1, 0]) == [59, -59]  # 1 / (1 + 1/e)
    wide = replace(eighth, output_dims=row(2, 4), shifts=np.array([2], np.int8))
    wide = replace(wide, output_zero_point=0)
    assert one(logits(2, 4096), wide, values=[-5, -5]) == [1 << 27, 1 << 27]
    assert one(logits(2, 4096), wide, values=[100, 0]) == [1 << 28, 0]


def test_softmax_of_a_map_runs_over_channels() -> None:
    prepare = replace(
        convolution(Dims(1, 2, 2), [[[[1]], [[0]]], [[[0]], [[1]]]], Dims(1, 2, 2, 4)),
        multipliers=np.array([4096], np.int32),
        activation=Activation.PREPARE_SOFTMAX,
    )
    layer = layer_of(
        Op.SOFTMAX, Dims(1, 2, 2, 4), Dims(1, 2, 2), producer=0, multiplier=256,
        output_zero_point=-128,
    )  # fmt: skip
    assert one(prepare, layer, values=[1, 0, 0, 20]) == [59, -128, -59, 127]


def q3_12(width: int) -> Layer:
    """int8 to q3.12 in steps of 1/16."""
    return replace(
        convolution(row(width), [[[[1]]]], row(width, 2)), multipliers=np.array([256], np.int32)
    )


SIGMOID = 1 / (1 + np.exp([0, -1, 1, -127 / 16]))
TANH = np.tanh([0, 1, -1, 127 / 16])


@pytest.mark.parametrize(
    ("op", "byte_width", "zero_point", "expected"),
    [
        (Op.SIGMOID, 1, -128, [0, 59, -59, 127]),
        (Op.SIGMOID, 2, 0, np.trunc(SIGMOID * 2**12).tolist()),
        (Op.SIGMOID, 4, 0, (SIGMOID * 2**30).tolist()),
        (Op.TANH, 1, 0, [0, 97, -97, 127]),
        (Op.TANH, 2, 0, np.trunc(TANH * 2**12).tolist()),
        (Op.TANH, 4, 0, (TANH * 2**30).tolist()),
    ],
)
def test_sigmoid_and_tanh(op: Op, byte_width: int, zero_point: int, expected: list[int]) -> None:
    layer = layer_of(op, row(4, 2), row(4, byte_width), producer=0, output_zero_point=zero_point)
    found = one(q3_12(4), layer, values=[0, 16, -16, 127])
    float32_steps = 2**30 / 2**23 if byte_width == 4 else 0
    np.testing.assert_allclose(found, expected, rtol=0, atol=float32_steps)


# --- state --------------------------------------------------------------------------------------


def running_sum(zero_point: int = 0) -> AxonProgram:
    """%0 holds the sum so far, %1 adds the input to it, %2 hands the sum out."""
    variable = layer_of(
        Op.PERSISTENT_VARIABLE, row(1), row(1), producer=1, output_zero_point=zero_point
    )
    operands = (LayerInput(0, row(1)), LayerInput(-1, row(1)))
    total = layer_of(Op.ADD, row(1), row(1), multiplier=[1, 1], inputs=operands)
    total = replace(total, filter_dims=Dims(1, 1, 1, 1, 0))
    return program_of(variable, total, convolution(row(1), [[[[1]]]], row(1), producer=1))


def vectors(*values: int) -> npt.NDArray[np.int8]:
    return np.array(values, np.int8).reshape(-1, 1, 1, 1)


def test_a_variable_gives_the_value_of_the_previous_inference() -> None:
    program = running_sum(5)
    verify(program)
    execution = interpret(program, vectors(1, 2, 3))
    assert execution.layers[0].ravel().tolist() == [5, 6, 8]
    assert execution.outputs[0].ravel().tolist() == [6, 8, 11]
    assert execution.state[0].ravel().tolist() == [11]


def test_state_carries_over_to_the_next_call() -> None:
    program = running_sum()
    first = interpret(program, vectors(1, 2), keep_layers=False)
    second = interpret(program, vectors(3), state=first.state, keep_layers=False)
    assert second.outputs[0].ravel().tolist() == [6]
    assert first.state[0].ravel().tolist() == [3]  # the earlier state is untouched


# --- the interface ------------------------------------------------------------------------------


STATELESS = [
    seed
    for seed in range(60)
    if all(layer.op is not Op.PERSISTENT_VARIABLE for layer in random_program(seed).layers)
]


@pytest.mark.parametrize("seed", STATELESS[::2])
def test_a_batch_equals_single_inputs(seed: int) -> None:
    program = random_program(seed)
    inputs = random_inputs(program, seed, 35)  # more than are run at once
    whole = interpret(program, inputs)
    for index in (0, 16, 34):
        single = interpret(program, inputs[index])
        for layer, ours, theirs in zip(program.layers, single.layers, whole.layers, strict=True):
            count = layer.output_dims.batch
            np.testing.assert_array_equal(ours, theirs[index * count : (index + 1) * count])
    outputs = interpret(program, inputs, keep_layers=False).outputs
    for ours, theirs in zip(outputs, whole.outputs, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_inputs_that_do_not_fit_are_refused() -> None:
    program = program_of(convolution(Dims(2, 3, 1), [[[[1]]]], Dims(2, 3, 1)))
    with pytest.raises(InputError, match=r"shape \[3, 2, 1\], expected \[N, 1, 2, 3\]"):
        interpret(program, np.zeros((3, 2, 1), np.int8))
    with pytest.raises(InputError, match="float32, expected int8"):
        interpret(program, np.zeros((1, 1, 2, 3), np.float32))
    with pytest.raises(InputError, match="0 inputs"):
        interpret(program, np.zeros((0, 1, 2, 3), np.int8))


def test_lstm_has_no_definition_yet() -> None:
    program = program_of(layer_of(Op.LSTM, row(1), row(1)))
    with pytest.raises(UnsupportedError, match="lstm"):
        interpret(program, vectors(1))


def test_quantize_input_rounds_as_asked() -> None:
    program = replace(
        program_of(convolution(row(6), [[[[1]]]], row(6))),
        input_quantization=Quantization(2 << 19, 19, 3),
    )
    real = np.array([0.25, -0.25, 0.2, -2.4, 1000, -1000])
    assert quantize_input(program, real).tolist() == [4, 2, 3, -2, 127, -128]
    assert quantize_input(program, real, "truncate").tolist() == [3, 2, 3, -1, 127, -128]
    with pytest.raises(InputError, match="NaN"):
        quantize_input(program, np.array([0.0, np.nan]))


def test_dequantize_output_knows_what_an_output_holds() -> None:
    copy = convolution(
        row(2), [[[[1]]]], row(2), output_multiplier=1, output_shift=2, output_zero_point=4
    )
    pool = layer_of(
        Op.MAX_POOL, row(2), row(2, 4), producer=0, filter_dims=Dims(1, 1, 0, 1, 0), stride_x=1,
        stride_y=1,
    )  # fmt: skip
    program = program_of(copy, pool)
    raw = np.array([4, 8], np.int32)
    assert dequantize_output(program, raw, 0).tolist() == [0, 1]
    assert dequantize_output(program, raw).tolist() == [0, 1]  # the codes of %0, 32 bits wide
    program = replace(program, layers=(copy,), output_dequantization=Quantization(3, 1, 2))
    assert dequantize_output(program, raw).tolist() == [3, 9]
    wide = layer_of(Op.SOFTMAX, row(2, 4), row(2, 4), multiplier=1 << 30, shift=2)
    tall = layer_of(Op.TANH, row(2, 2), row(2, 4))
    for layer, one_is in ((wide, 1 << 28), (tall, 1 << 30)):
        program = program_of(layer)
        assert dequantize_output(program, np.array([one_is, 0], np.int32)).tolist() == [1, 0]
