"""Advice: it names the layer and the change, and its savings are those of the changed model."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from compiler import (
    EXTERNAL_INPUT,
    Activation,
    AxonProgram,
    CompileOptions,
    Dims,
    Layer,
    LayerInput,
    Op,
    Pads,
    Quantization,
    compile_model,
)
from compiler.advice import Advice, advise, row_waste, transposed
from compiler.arch import load_arch
from compiler.cost import estimate
from compiler.cycles import Broadcast, LayerShape, layer_parts
from compiler.substitution import substitute
from tests.support.golden import GOLDEN_DIR, golden_names, golden_run
from tests.support.random_programs import random_program
from tests.support.tflite_builder import ModelBuilder

recorded_runs = pytest.mark.skipif(not golden_names(), reason=f"no recorded runs at {GOLDEN_DIR}")


def program(*layers: Layer) -> AxonProgram:
    none = Quantization(1, 0, 0)
    return AxonProgram("m", layers, none, none)


def layer(op: Op, source: Dims, out: Dims, producer: int = EXTERNAL_INPUT, **kw: object) -> Layer:
    return Layer(op, (LayerInput(producer, source),), out, **kw)  # type: ignore[arg-type]  # by name


def only(model: AxonProgram, kind: str) -> Advice:
    (found,) = (advice for advice in advise(model) if advice.kind == kind)
    return found


@recorded_runs
def test_transposing_keyword_spotting_is_advised_for_what_it_saves() -> None:
    """The vendor's simulator gives 596,295 cycles, and 533,520 transposed: 10.5 % less."""
    advice = only(golden_run("kws_int8").program, "transpose")
    assert re.fullmatch(
        r"layer 2 pointwise_conv2d: width 5 wastes 38 % of each row; "
        r"transposing the model saves 1\d\.\d % \(\d+ cycles\)",
        advice.text,
    )
    assert advice.keeps_outputs
    assert advice.saved_cycles == pytest.approx(596295 - 533520, rel=0.06)
    turned = estimate(golden_run("kws_t_int8").program)
    here = estimate(golden_run("kws_int8").program)
    assert advice.saved_cycles == pytest.approx(here.cycles - turned.cycles, abs=40)
    assert not [a for a in advise(golden_run("kws_t_int8").program) if a.kind == "transpose"]


def test_waste_is_the_padding_of_a_row() -> None:
    assert row_waste(5) == pytest.approx(0.375)
    assert row_waste(8) == 0
    assert row_waste(1) == 0.75


def test_transposing_twice_changes_nothing() -> None:
    shape = LayerShape(
        Op.CONV2D, 5, 9, 3, 4, 8, 6, kernel_h=2, kernel_w=3, stride_h=1, stride_w=2, pad_left=1
    )
    assert transposed(shape) != shape
    assert transposed(transposed(shape)) == shape
    row = LayerShape(Op.ADD, 4, 6, 2, 4, 6, 2, broadcast=Broadcast.ROW)
    assert transposed(row).broadcast is Broadcast.COLUMN
    joined = LayerShape(Op.CONCATENATE, 4, 6, 2, 8, 6, 2, parts=((2, 4, 6), (2, 4, 6)), axis=1)
    assert (transposed(joined).axis, transposed(joined).parts[0]) == (2, (2, 6, 4))
    vector = LayerShape(Op.FULLY_CONNECTED, 1, 40, 1, 1, 4, 1)
    assert transposed(vector) == vector


def test_a_kernel_that_starts_a_tile_is_named() -> None:
    source, out = Dims(16, 16, 4), Dims(16, 16, 8)
    model = program(
        layer(
            Op.CONV2D,
            source,
            out,
            filter_dims=Dims(5, 5, 4),
            pads=Pads(2, 2, 2, 2),
            stride_x=1,
            stride_y=1,
        )
    )
    advice = only(model, "kernel")
    assert advice.text.startswith("layer 0 conv2d: a 5x5 kernel takes 4 tiles of 3x3; 3x3 saves ")
    small = replace(model.layers[0], filter_dims=Dims(3, 3, 4), pads=Pads(1, 1, 1, 1))
    assert advice.saved_cycles == pytest.approx(
        estimate(model).cycles - estimate(program(small)).cycles, rel=0.01
    )
    assert not advice.keeps_outputs


def test_channels_above_a_multiple_of_six_are_named() -> None:
    model = program(
        layer(
            Op.POINTWISE_CONV2D,
            Dims(16, 16, 8),
            Dims(16, 16, 32),
            filter_dims=Dims(1, 1, 8),
            stride_x=1,
            stride_y=1,
        )
    )
    text = only(model, "channels").text
    assert "8 input channels take 2 passes of six, the last for 2; 6 channels save" in text


def test_one_more_strip_is_named() -> None:
    def same(rows: int) -> Layer:
        d, pads = Dims(rows, 16, 8), Pads(1, 1, 1, 1)
        return layer(Op.CONV2D, d, d, filter_dims=Dims(3, 3, 8), pads=pads)

    model = program(same(33))
    text = only(model, "strips").text
    assert "33 output rows of 16 take 2 strips of 32; 32 rows save" in text
    assert not [a for a in advise(program(same(32))) if a.kind == "strips"]


def test_per_channel_vectors_and_packed_maps_are_named() -> None:
    vector = layer(
        Op.FULLY_CONNECTED,
        Dims(1, 64, 1),
        Dims(1, 32, 1),
        shifts=np.array([8, 9] * 16, np.int8),
    )
    assert "quantizing them per tensor saves" in only(program(vector), "per-tensor").text
    pixel = layer(Op.MEAN, Dims(4, 4, 64), Dims(1, 1, 64), stride_x=4, stride_y=4)
    packed = layer(Op.FULLY_CONNECTED, Dims(1, 64, 1), Dims(1, 10, 1), 0)
    assert "layer 1 fully_connected" in only(program(pixel, packed), "repack").text


def test_broadcasts_by_rows_are_named() -> None:
    d, column = Dims(16, 16, 4), Dims(16, 1, 4)
    narrow = layer(Op.MEAN, d, column, stride_x=16, stride_y=1)
    both = (LayerInput(EXTERNAL_INPUT, d), LayerInput(0, column))
    advice = only(program(narrow, Layer(Op.ADD, both, d)), "broadcast")
    assert "repeated over every column" in advice.text
    assert not advice.keeps_outputs


def test_a_cheaper_layer_is_named_with_what_the_option_saves() -> None:
    d = Dims(16, 16, 4)
    constant = np.ones((4, 16, 1), np.int8)
    repeated = program(layer(Op.ADD, d, d, filter_dims=Dims(16, 1, 4), filter=constant))
    b = ModelBuilder("window")
    x = b.input(1, 8, 8, 3)
    y = b.conv(b.conv(x, 16, (3, 3)), 40, (8, 8), padding="VALID", per_channel=False)
    window = compile_model(b.build([x], [y]), CompileOptions("window"))
    for model, text in [
        (repeated, "layer 0 add: with its repeated constant written out in full it saves "),
        (window, "layer 1 conv2d: as fully_connected it saves "),
    ]:
        advice, cheaper = only(model, "cheaper-layer"), substitute(model)
        assert advice.text.startswith(text)
        assert advice.text.endswith("compile with --cheaper-layers")
        assert advice.keeps_outputs
        assert advice.saved_cycles == pytest.approx(
            estimate(model).cycles - estimate(cheaper).cycles, abs=2
        )
        assert not [a for a in advise(cheaper) if a.kind == "cheaper-layer"]
    assert not [a for a in advise(repeated) if a.kind == "broadcast"]


def test_channels_with_a_multiplier_of_0_are_one_sentence() -> None:
    d = Dims(4, 4, 3)

    def pointwise(producer: int, multipliers: list[int], kind: Activation) -> Layer:
        weights, scales = np.ones((3, 3, 1, 1), np.int8), np.array(multipliers, np.int32)
        fields = {"filter_dims": Dims(1, 1, 3), "filter": weights, "multipliers": scales}
        return layer(Op.POINTWISE_CONV2D, d, d, producer, activation=kind, **fields)

    drawn = [[5, 0, 7], [5, 6, 7], [0, 5, 0, 0, 0, 0], [0], [0, 0, 7]]
    kinds = [Activation.LEAKY_RELU if len(m) == 6 else Activation.NONE for m in drawn]
    layers = [pointwise(i - 1, *pair) for i, pair in enumerate(zip(drawn, kinds, strict=True))]
    advice = only(program(*layers), "constant-channels")
    assert advice.text == (
        "3 of 3 channels of layer 3, 2 of 3 channels of layer 2, 2 of 3 channels of layer 4, "
        "and 1 in 1 more layer have a multiplier of 0: their outputs are constant"
    )
    assert (advice.layer, advice.saved_cycles) == (3, 0)
    one = only(program(layers[0]), "constant-channels")
    assert (
        one.text == "1 of 3 channels of layer 0 have a multiplier of 0: their outputs are constant"
    )
    assert not [
        a
        for a in advise(program(replace(layers[1], inputs=layers[0].inputs)))
        if a.kind == "constant-channels"
    ]


def test_cpu_layers_and_stalls_are_warnings_without_savings() -> None:
    d = Dims(7, 1, 9)
    narrow = layer(Op.CONV2D, Dims(7, 1, 64), d, filter_dims=Dims(5, 5, 64), pads=Pads(2, 2, 2, 2))
    model = program(narrow, layer(Op.TANH, d, d, 0), layer(Op.SOFTMAX, d, d, 1))
    warnings = [a for a in advise(model) if a.saved_cycles == 0]
    assert [(a.layer, a.kind) for a in warnings] == [(0, "stall"), (1, "cpu")]
    assert "65,536 cycles per plane" in warnings[0].text


@pytest.mark.parametrize("seed", range(40))
def test_advice_is_ordered_positive_and_about_layers_that_exist(seed: int) -> None:
    model = random_program(seed)
    found = advise(model)
    savings = [a.saved_cycles for a in found]
    assert savings == sorted(savings, reverse=True)
    assert all(s >= 0 for s in savings)
    assert all(a.layer is None or 0 <= a.layer < len(model.layers) for a in found)
    assert all(a.text and a.text == a.text.strip() for a in found)
    total = sum(item.cycles for item in estimate(model).layers)
    assert all(s <= total for s in savings)


def test_saved_cycles_are_those_of_the_formula() -> None:
    arch = load_arch()
    shape = LayerShape(Op.FULLY_CONNECTED, 1, 64, 1, 1, 32, 1, per_channel=True)
    common = replace(shape, per_channel=False)
    saved = layer_parts(shape, arch).cycles - layer_parts(common, arch).cycles
    model = program(
        layer(
            Op.FULLY_CONNECTED, Dims(1, 64, 1), Dims(1, 32, 1), shifts=np.array([8] * 32, np.int8)
        )
    )
    assert only(model, "per-tensor").saved_cycles == round(saved)
