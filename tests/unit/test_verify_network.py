"""Parts of models compute what the whole computed there; narrowed ones, what is left of it."""

from __future__ import annotations

import numpy as np
import pytest

from harness.golden import describe, golden_outputs, trace
from harness.model_file import DEFAULT_MODEL
from harness.verify.layers import by_number
from harness.verify.narrowing import Extent, narrow, size_of
from harness.verify.network import Cut, cuts_of, extract, operator_names
from tests.support.operator_models import build_model
from tests.support.tflite_builder import ModelBuilder


def random_inputs(data: bytes, samples: int = 1) -> np.ndarray:
    shape = describe(data).input.shape
    return np.random.default_rng(2).integers(-128, 128, (samples, *shape), dtype=np.int8)


def output(data: bytes, inputs: np.ndarray) -> np.ndarray:
    return golden_outputs(data, inputs, use_cache=False).outputs[0]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(DEFAULT_MODEL.read_bytes(), id="digits"),
        *(
            pytest.param(build_model(name), id=name)
            for name in ("squeeze_and_excite", "concat_three", "split_equal", "softmax_of_sum")
        ),
    ],
)
def test_every_part_computes_what_the_whole_did(data: bytes) -> None:
    sample = random_inputs(data)
    graph = describe(data)
    recorded = by_number(trace(data, sample)) | {graph.input.index: sample[0]}
    cuts = cuts_of(data)
    assert [len(cut.operators) for cut in cuts] == sorted(len(cut.operators) for cut in cuts)
    assert len(cuts[-1].operators) <= len(operator_names(data))
    checked = [*cuts[:30], *cuts[30::9], cuts[-1]]
    for cut in checked:
        part = extract(data, cut, recorded)
        inputs = recorded[cut.source][None]
        assert np.array_equal(output(part, inputs)[0], recorded[cut.output]), cut
        assert len(operator_names(part)) == len(cut.operators)


def test_a_sum_is_cut_out_with_one_operand_frozen() -> None:
    names = operator_names(DEFAULT_MODEL.read_bytes())
    place = names.index("ADD")
    single = [cut for cut in cuts_of(DEFAULT_MODEL.read_bytes()) if cut.operators == (place,)]
    assert len(single) == 2
    assert all(len(cut.frozen) == 1 for cut in single)
    assert {cut.source for cut in single} == {cut.frozen[0] for cut in reversed(single)}


def test_parts_are_small() -> None:
    data = DEFAULT_MODEL.read_bytes()
    first = cuts_of(data)[0]
    assert isinstance(first, Cut)
    part = extract(data, first, by_number(trace(data, random_inputs(data))))
    assert len(part) < len(data) / 4
    assert part[4:8] == b"TFL3"


@pytest.mark.parametrize(
    ("name", "extent", "axis", "start", "stop"),
    [
        ("conv", Extent.OUTPUT_CHANNELS, 3, 1, 3),
        ("conv_per_tensor", Extent.OUTPUT_CHANNELS, 3, 4, 5),
        ("depthwise", Extent.CHANNELS, 3, 2, 4),
        ("average_pool", Extent.CHANNELS, 3, 0, 1),
        ("average_pool", Extent.ROWS, 1, 2, 6),
        ("average_pool", Extent.COLUMNS, 2, 3, 9),
        ("multiply_constant_row", Extent.CHANNELS, 3, 1, 2),
        ("multiply_constant_row", Extent.COLUMNS, 2, 5, 9),
        ("add_constant_channels", Extent.CHANNELS, 3, 1, 4),
        ("relu6_alone", Extent.ROWS, 1, 3, 4),
    ],
)
def test_a_narrowed_operator_keeps_its_values(
    name: str, extent: Extent, axis: int, start: int, stop: int
) -> None:
    data = build_model(name)
    inputs = random_inputs(data, 2)
    whole = output(data, inputs)
    small, cut = narrow(data, inputs, extent, start, stop)
    values = output(small, cut)
    stride = inputs.shape[axis] // whole.shape[axis] if extent is not Extent.OUTPUT_CHANNELS else 1
    wanted = whole.take(range(start // stride, stop // stride), axis)
    if extent is Extent.CHANNELS:
        wanted = whole.take(range(start, stop), axis)
    assert np.array_equal(values, wanted)
    assert len(small) <= len(data)
    assert size_of(small, extent) == stop - start


@pytest.mark.parametrize("extent", [Extent.INPUT_CHANNELS, Extent.ROWS, Extent.COLUMNS])
def test_a_narrowed_convolution_still_runs(extent: Extent) -> None:
    data = build_model("conv_stride_valid")
    inputs = random_inputs(data)
    small, cut = narrow(data, inputs, extent, 1, size_of(data, extent))
    assert output(small, cut).shape[-1] == 5
    if extent is not Extent.INPUT_CHANNELS:
        with pytest.raises(ValueError, match="does not fit"):
            narrow(data, inputs, extent, 0, 1)


def test_what_cannot_be_narrowed() -> None:
    dense = build_model("dense")  # two operators
    assert not any(size_of(dense, extent) for extent in Extent)
    b = ModelBuilder("one")
    x = b.input(1, 12)
    one = b.build([x], [b.dense(x, 7, per_channel=True)])
    assert [size_of(one, extent) for extent in Extent] == [7, 0, 12, 0, 0]
    small, cut = narrow(one, random_inputs(one), Extent.INPUT_CHANNELS, 3, 5)
    assert output(small, cut).shape == (1, 7)
    assert size_of(build_model("mean_height"), Extent.ROWS) == 0
