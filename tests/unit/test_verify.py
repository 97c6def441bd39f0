"""What a program must satisfy, and what damaged binaries do: one sentence each, nothing else."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from compiler import (
    Activation,
    AxonProgram,
    CompilerError,
    Dims,
    Layer,
    LayerInput,
    ModelFormatError,
    Op,
    Pads,
    Quantization,
    UnsupportedError,
    VerifyError,
    decode,
    encode,
    interpret,
    verify,
)
from compiler.abi import HEADER, LAYER
from tests.support.golden import GOLDEN_DIR, golden_parameters, golden_run
from tests.support.programs import convolution, layer_of, program_of
from tests.support.random_programs import random_program

MUTATIONS = 700
"""Of each binary; six binaries where the recorded ones are present, else three."""


@pytest.mark.parametrize("name", golden_parameters())
def test_recorded_programs_are_valid(name: str) -> None:
    verify(golden_run(name).program)


# --- every rule once ----------------------------------------------------------------------------

SOURCE = Dims(4, 5, 2)


def sample() -> Layer:
    """A valid convolution 2x4x5 -> 3x4x5."""
    return convolution(
        SOURCE,
        np.ones((3, 2, 3, 3), np.int8).tolist(),
        Dims(4, 5, 3),
        pads=Pads(1, 1, 1, 1),
        bias=np.zeros(3, np.int32),
    )


def refused(program: AxonProgram, message: str) -> None:
    with pytest.raises(VerifyError, match=message):
        verify(program)


def test_the_sample_is_valid() -> None:
    verify(program_of(sample()))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"output_dims": Dims(4, 6, 3)}, r"layer 0 \(conv2d\): output width is 6, expected 5"),
        ({"output_dims": Dims(0, 5, 3)}, "output height is 0, expected 1 to 65535"),
        ({"output_dims": Dims(4, 5, 3, 3)}, "output byte width is 3, expected 1 or 2 or 4"),
        ({"output_dims": Dims(4, 5, 3, 1, 2)}, "output batch is 2, expected 1"),
        ({"output_dims": Dims(60000, 60000, 3)}, "larger than 16777216 elements"),
        ({"stride_x": 0}, "stride over width is 0, expected 1 to 255"),
        ({"dilation_y": 0}, "dilation y is 0"),
        ({"dilation_y": 4}, "output height is 4, expected -2"),
        ({"pads": Pads(1, 300, 1, 1)}, "right pad is 300, expected 0 to 255"),
        ({"filter": None}, "filter is absent"),
        ({"filter": np.ones((3, 2, 3, 2), np.int8)}, r"filter shape is \(3, 2, 3, 2\)"),
        ({"filter": np.ones((3, 2, 3, 3), np.int32)}, "type of filter is int32, expected int8"),
        ({"filter_dims": Dims(9, 3, 2, 1, 0)}, "filter shape is"),
        ({"bias": np.zeros(2, np.int32)}, "count of biases is 2, expected 3"),
        ({"bias": np.full(3, 2**31 - 1, np.int32)}, "accumulator can reach 2147485951"),
        ({"multipliers": None}, "multipliers are absent"),
        ({"multipliers": np.ones(2, np.int32)}, "count of multipliers is 2, expected 1 or 3"),
        ({"multipliers": np.ones(1)}, "type of multipliers is float64"),
        ({"multipliers": np.array([1 << 31])}, "a multiplier is 2147483648"),
        ({"activation": Activation.LEAKY_RELU}, "count of multipliers is 1, expected 2 or 6"),
        ({"shifts": np.ones(2, np.int8)}, "count of shifts is 2, expected 1 or 3"),
        ({"shifts": np.array([-1], np.int8)}, "a shift is -1, expected 0 to 63"),
        ({"shifts": np.array([64], np.int8)}, "a shift is 64, expected 0 to 63"),
        ({"output_zero_point": 200}, "output zero point is 200, expected -128 to 127"),
        ({"op": Op.POINTWISE_CONV2D}, r"filter extent is \(3, 3\), expected \(1, 1\)"),
        ({"op": Op.DEPTHWISE_CONV2D}, "output channels is 3, expected 2"),
        ({"op": Op.FULLY_CONNECTED}, "filter shape is"),
        ({"inputs": ()}, "input count is 0, expected 1"),
        ({"inputs": (LayerInput(0, SOURCE),)}, "input producer is 0, expected -1 to -1"),
        ({"inputs": (LayerInput(-1, replace(SOURCE, byte_width=2)),)}, "byte width"),
        ({"inputs": (LayerInput(-1, SOURCE, 3),)}, "input split axis is 3, expected 0 to 2"),
        ({"inputs": (LayerInput(-1, SOURCE, 0, 1),)}, "split offset of a whole tensor is 1"),
    ],
)
def test_a_broken_field_is_named(fields: dict[str, Any], message: str) -> None:
    refused(program_of(replace(sample(), **fields)), message)


@pytest.mark.parametrize(
    ("operand", "message"),
    [
        (LayerInput(0, Dims(4, 5, 2), 0, 2), "input 2x4x5 at 2 along channel does not fit"),
        (LayerInput(0, Dims(4, 4, 2), 0, 0), "does not fit its producer's 3x4x5"),
        (LayerInput(0, Dims(4, 5, 2, 1, 2), 0, 0), "input batch is 2, expected 1"),
        (LayerInput(1, Dims(4, 5, 2), 0, 0), "input producer is 1, expected -1 to 0"),
    ],
)
def test_an_input_is_at_most_its_producers_output(operand: LayerInput, message: str) -> None:
    reader = replace(sample(), inputs=(operand,))
    refused(program_of(sample(), reader), message)
    verify(program_of(sample(), replace(sample(), inputs=(LayerInput(0, SOURCE, 0, 1),))))


ONE = Dims(1, 1, 1)
SLICE = np.array([0, 0, 0, 2, 4, 5, 1, 1, 1], np.int32)


def sliced(at: int, value: int) -> npt.NDArray[np.int32]:
    parameters = SLICE.copy()
    parameters[at] = value
    return parameters


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (layer_of(Op.ADD, SOURCE, SOURCE, multiplier=[1, 1]), "constant operand is absent"),
        (
            layer_of(Op.ADD, SOURCE, SOURCE, filter=np.ones((1, 1, 1), np.int8)),
            "count of multipliers is 1, expected 2",
        ),
        (
            layer_of(Op.MULTIPLY, SOURCE, SOURCE, filter=np.ones((2, 2, 1), np.int8)),
            "output height is 4, the operands are 2x4x5 and 2x2x1",
        ),
        (
            layer_of(Op.MULTIPLY, SOURCE, SOURCE, filter=np.ones(4, np.int8)),
            "rank of the constant is 1, expected 3",
        ),
        (layer_of(Op.CHANNEL_PAD, SOURCE, SOURCE, pads=Pads(top=1)), "output shape is"),
        (layer_of(Op.CONCATENATE, SOURCE, SOURCE, concat_axis=3), "concatenate axis is 3"),
        (layer_of(Op.CONCATENATE, SOURCE, Dims(4, 5, 3)), r"output shape is \(3, 4, 5\)"),
        (layer_of(Op.STRIDED_SLICE, SOURCE, SOURCE), "filter is absent"),
        (layer_of(Op.STRIDED_SLICE, SOURCE, SOURCE, filter=SLICE[:8]), "count of slice"),
        (
            layer_of(Op.STRIDED_SLICE, SOURCE, SOURCE, filter=sliced(0, 2)),
            "begin over channel is 2",
        ),
        (
            layer_of(Op.STRIDED_SLICE, SOURCE, SOURCE, filter=sliced(7, 0)),
            "stride over height is 0",
        ),
        (layer_of(Op.STRIDED_SLICE, SOURCE, SOURCE, filter=sliced(4, 3)), "output height is 4"),
        (layer_of(Op.RESHAPE, SOURCE, Dims(4, 5, 3)), "output elements is 60, expected 40"),
        (
            layer_of(Op.SPACE_TO_BATCH, SOURCE, SOURCE, filter_dims=Dims(2, 2, 1)),
            "output batch is 1, expected 4",
        ),
        (layer_of(Op.SPACE_TO_BATCH, SOURCE, SOURCE), "block height is 0"),
        (
            layer_of(Op.BATCH_TO_SPACE, SOURCE, SOURCE, filter_dims=Dims(2, 2, 1)),
            "input batch is 1, expected 4",
        ),
        (layer_of(Op.RESIZE_NEAREST, SOURCE, SOURCE), "CPU attributes is absent"),
        (layer_of(Op.SOFTMAX, SOURCE, SOURCE), "input byte width is 1, expected 4"),
        (layer_of(Op.TANH, SOURCE, SOURCE), "input byte width is 1, expected 2"),
        (
            layer_of(Op.RESHAPE, SOURCE, SOURCE, activation=Activation.RELU),
            "a fused ReLU is not defined",
        ),
        (
            layer_of(Op.RESHAPE, SOURCE, SOURCE, activation=Activation.PREPARE_SOFTMAX),
            "cannot prepare a softmax",
        ),
        (
            layer_of(Op.MEAN, SOURCE, SOURCE, activation=Activation.LEAKY_RELU),
            "leaky ReLU is only defined after",
        ),
        (
            layer_of(
                Op.AVERAGE_POOL,
                SOURCE,
                Dims(4, 5, 1),
                filter_dims=Dims(1, 1, 2),
                stride_x=1,
                stride_y=1,
                pads=Pads(1),
            ),
            r"padding is \(1, 0, 0, 0\)",
        ),
        (
            layer_of(Op.MAX_POOL, SOURCE, SOURCE, filter_dims=Dims(5, 1, 0)),
            "filter height is 5, expected 1 to 4",
        ),
        (layer_of(Op.PERSISTENT_VARIABLE, SOURCE, SOURCE, producer=0), "the layer itself"),
    ],
)
def test_a_broken_layer_is_named(layer: Layer, message: str) -> None:
    refused(program_of(layer), message)


@pytest.mark.parametrize(
    ("multiplier", "shift", "defined"),
    [(1 << 29, 17, True), (3, 11, True), (1 << 29, 18, False), (1 << 28, 17, False)],
)
@pytest.mark.parametrize("op", [Op.SIGMOID, Op.TANH])
def test_an_input_that_nordics_generator_converts_is_refused(
    op: Op, multiplier: int, shift: int, defined: bool
) -> None:
    out = Dims(4, 5, 3)
    wide = replace(out, byte_width=2)
    source = replace(sample(), output_dims=wide, output_multiplier=multiplier, output_shift=shift)
    program = program_of(source, layer_of(op, wide, out, producer=0))
    if defined:
        verify(program)
        return
    message = (
        rf"layer 1 \({op.name.lower()}\): the scale of its input is stored as {multiplier} / "
        rf"2\^{shift}, expected 2\^12"
    )
    refused(program, message)
    with pytest.raises(VerifyError, match=message):
        verify(decode(encode(program)))


def test_program_wide_rules() -> None:
    program = program_of(sample())
    refused(replace(program, layers=()), "no layers")
    refused(replace(program, input_quantization=Quantization(0, 1, 0)), "multiplier is 0")
    refused(replace(program, output_dequantization=Quantization(1, 64, 0)), "shift is 64")
    loop = (
        layer_of(Op.PERSISTENT_VARIABLE, ONE, ONE, producer=1),
        layer_of(Op.RESHAPE, ONE, ONE, producer=0),
    )
    refused(program_of(*loop), "no output")
    with pytest.raises(UnsupportedError, match="layer 0: sequence LSTM"):
        verify(program_of(layer_of(Op.LSTM, ONE, ONE)))


def test_work_and_memory_are_bounded() -> None:
    wide = Dims(1024, 1024, 16)
    pool = layer_of(
        Op.MAX_POOL, wide, wide, filter_dims=Dims(101, 101, 0), stride_x=1, stride_y=1,
        pads=Pads(50, 50, 50, 50),
    )  # fmt: skip
    refused(program_of(pool), "padded input 16x1124x1124 is larger")
    half = Dims(1024, 1024, 8)
    pool = layer_of(
        Op.MAX_POOL, half, half, filter_dims=Dims(101, 101, 0), stride_x=1, stride_y=1,
        pads=Pads(50, 50, 50, 50),
    )  # fmt: skip
    refused(program_of(pool), "the program takes 85572190208 operations")
    copies = [layer_of(Op.RESHAPE, wide, replace(wide, byte_width=4), producer=-1)] * 17
    refused(program_of(*copies), "the layers produce 1140850688 bytes")


# --- damaged binaries ---------------------------------------------------------------------------

Damage = Callable[[np.random.Generator, bytearray], None]


def _flip_a_bit(rng: np.random.Generator, data: bytearray) -> None:
    data[_anywhere_but_weights(rng, data)] ^= 1 << int(rng.integers(0, 8))


def _set_a_byte(rng: np.random.Generator, data: bytearray) -> None:
    data[_anywhere_but_weights(rng, data)] = int(rng.choice([0, 1, 127, 128, 255]))


def _set_a_word(rng: np.random.Generator, data: bytearray) -> None:
    at = _anywhere_but_weights(rng, data) & ~3
    word = int(rng.choice([0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, len(data)]))
    data[at : at + 4] = word.to_bytes(4, "little")


def _swap_layers(rng: np.random.Generator, data: bytearray) -> None:
    start, count = _layers(data)
    first, second = (start + LAYER.itemsize * int(rng.integers(0, count)) for _ in range(2))
    data[first : first + LAYER.itemsize] = data[second : second + LAYER.itemsize]


def _truncate(rng: np.random.Generator, data: bytearray) -> None:
    del data[int(rng.integers(0, len(data))) :]


def _cut_out(rng: np.random.Generator, data: bytearray) -> None:
    at = int(rng.integers(0, len(data)))
    del data[at : at + int(rng.integers(1, 64))]


DAMAGES: tuple[Damage, ...] = (
    _flip_a_bit,
    _flip_a_bit,
    _set_a_byte,
    _set_a_byte,
    _set_a_word,
    _swap_layers,
    _truncate,
    _cut_out,
)


def _layers(data: bytearray) -> tuple[int, int]:
    header = np.frombuffer(bytes(data[: HEADER.itemsize]), HEADER)[0]
    return int(header["layers"]["offset"]), int(header["layers"]["length"]) // LAYER.itemsize


def _anywhere_but_weights(rng: np.random.Generator, data: bytearray) -> int:
    """Mostly in the layer records, sometimes in the header or at the end."""
    start, count = _layers(data)
    region = int(rng.integers(0, 10))
    if region == 0:
        return int(rng.integers(0, min(start, len(data))))
    if region == 1:
        return int(rng.integers(max(0, len(data) - 100), len(data) - 4))
    return start + int(rng.integers(0, count * LAYER.itemsize))


def damaged(original: bytes, seed: int) -> bytes:
    """One to three injuries; the same for a seed."""
    rng = np.random.default_rng(seed)
    data = bytearray(original)
    for _ in range(int(rng.integers(1, 4))):
        if len(data) < len(original) // 2 or _layers(data)[1] == 0:
            break
        try:
            DAMAGES[int(rng.integers(0, len(DAMAGES)))](rng, data)
        except (IndexError, ValueError):
            break  # an earlier injury moved the records out of the file
    return bytes(data)


def outcome(data: bytes) -> str:
    """What decoding, verifying and (if small) running leads to; any other exception escapes."""
    try:
        program = decode(data)
        verify(program)
    except CompilerError as error:
        sentence = "\n" not in str(error) and len(str(error)) < 300
        return type(error).__name__ if sentence else f"not a sentence: {error}"
    size = sum(layer.output_dims.elements for layer in program.layers)
    weights = sum(layer.filter.size for layer in program.layers if layer.filter is not None)
    if size > 1 << 19 or weights * size > 1 << 36:
        return "valid, large"
    dims = program.input_dims
    interpret(program, np.zeros((dims.batch, *dims.shape), np.int8))
    return "ran"


def binary(name: str) -> bytes:
    if name.startswith("random"):
        return encode(random_program(int(name.removeprefix("random_"))))
    path = GOLDEN_DIR / f"{name}.bin"
    if not path.is_file():
        pytest.skip(f"no recorded runs at {GOLDEN_DIR}")
    return path.read_bytes()


OUTCOMES = {
    ModelFormatError.__name__,
    VerifyError.__name__,
    UnsupportedError.__name__,
    "ran",
    "valid, large",
}
BINARIES = ("random_14", "random_15", "random_33", "s2b_conv2_i8", "ic_int8", "multi_out3_w8_i8")


@pytest.mark.parametrize("name", BINARIES)
def test_damaged_binaries_end_in_one_sentence_or_run(name: str) -> None:
    original = binary(name)
    outcomes = Counter(outcome(damaged(original, seed)) for seed in range(MUTATIONS))
    assert sum(outcomes.values()) == MUTATIONS
    assert outcomes.keys() <= OUTCOMES
    for kind in (ModelFormatError.__name__, VerifyError.__name__, "ran"):
        assert outcomes[kind] >= 20, outcomes


def perturbed(program: AxonProgram, rng: np.random.Generator) -> AxonProgram:
    """One field of one layer a little off."""
    index = int(rng.integers(0, len(program.layers)))
    layer = program.layers[index]
    step = int(rng.choice([-2, -1, 1, 2]))
    kind = int(rng.integers(0, 6))
    if kind <= 1:
        name = ("output_dims", "filter_dims")[kind]
        fields: dict[str, Any] = {name: _stretched(getattr(layer, name), rng, step)}
        changed = replace(layer, **fields)
    elif kind == 2:
        slot = int(rng.integers(0, len(layer.inputs)))
        operands = list(layer.inputs)
        choices: list[dict[str, Any]] = [
            {"dims": _stretched(operands[slot].dims, rng, step)},
            {"producer": operands[slot].producer + step},
            {"split_offset": abs(operands[slot].split_offset + step)},
            {"split_axis": int(rng.integers(0, 3))},
        ]
        operands[slot] = replace(operands[slot], **choices[int(rng.integers(0, 4))])
        changed = replace(layer, inputs=tuple(operands))
    elif kind == 3:
        name = ("left", "right", "top", "bottom")[int(rng.integers(0, 4))]
        pads = replace(layer.pads, **{name: abs(getattr(layer.pads, name) + step)})
        changed = replace(layer, pads=pads)
    elif kind == 4:
        names = ("stride_x", "stride_y", "dilation_x", "dilation_y", "concat_axis")
        name = names[int(rng.integers(0, 5))]
        changed = replace(layer, **{name: max(0, getattr(layer, name) + step)})
    else:
        changed = replace(layer, op=Op(int(rng.choice([op.value for op in Op]))))
    layers = [*program.layers]
    layers[index] = changed
    return replace(program, layers=tuple(layers))


def _stretched(dims: Dims, rng: np.random.Generator, step: int) -> Dims:
    name = ("height", "width", "channels", "batch")[int(rng.integers(0, 4))]
    return replace(dims, **{name: max(0, getattr(dims, name) + step)})


def test_what_is_accepted_runs_and_has_the_declared_shapes() -> None:
    accepted = 0
    for seed in range(3000):
        rng = np.random.default_rng(seed)
        program = perturbed(random_program(seed % 400), rng)
        try:
            verify(program)
        except CompilerError:
            continue
        accepted += 1
        dims = program.input_dims
        execution = interpret(program, rng.integers(-128, 128, (dims.batch, *dims.shape), np.int8))
        for layer, values in zip(program.layers, execution.layers, strict=True):
            out = layer.output_dims
            assert values.shape == (out.batch, *out.shape)
            assert values.dtype.itemsize == out.byte_width
    assert accepted > 300


def test_damaged_binaries_do_not_exhaust_memory() -> None:
    original = encode(random_program(14))
    tracemalloc.start()
    try:
        for seed in range(150):
            outcome(damaged(original, seed))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 200 << 20


def test_huge_dimensions_are_refused_before_anything_is_allocated() -> None:
    data = bytearray(encode(program_of(sample())))
    start, _ = _layers(data)
    for field in ("input_dims", "output_dims", "filter_dims"):
        at = start + dict(zip(LAYER.names or (), _offsets(), strict=True))[field]
        huge = bytearray(data)
        huge[at : at + 6] = b"\xff" * 6
        with pytest.raises(CompilerError):
            verify(decode(bytes(huge)))


def _offsets() -> list[int]:
    assert LAYER.fields is not None
    return [LAYER.fields[name][1] for name in LAYER.names or ()]
