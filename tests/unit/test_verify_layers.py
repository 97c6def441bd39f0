"""Layers beside TFLite's tensors, one at a time, and the bounds of their differences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from compiler import Op, interpret
from harness.golden import KernelSet, trace
from harness.layout import to_program
from harness.model_file import DEFAULT_MODEL
from harness.verify import case as case_module
from harness.verify.bounds import EXACT, deviation_of
from harness.verify.case import Case, make_candidate
from harness.verify.layers import by_number, own_differences, pair_with_host
from tests.support.operator_models import MODELS, build_model
from tests.support.wrong_parties import translate_wrongly

SHARED = Path(__file__).parents[2].parent / "shared"


def case_of(name: str, data: bytes, samples: int = 1) -> Case:
    empty = make_candidate(name, data, np.zeros((0,), np.int8))
    shape = empty.graph.input.shape
    inputs = np.random.default_rng(3).integers(-128, 128, (samples, *shape), dtype=np.int8)
    return make_candidate(name, data, inputs)


def own(case: Case, kernels: KernelSet = KernelSet.REFERENCE) -> list[tuple[int, int, int, int]]:
    """(index, largest difference, bound, values beyond) of each layer."""
    traced = by_number(trace(case.model.data, case.inputs[:1], kernels))
    found = own_differences(case.program, case.graph, case.places, case.inputs[:1], traced)
    return [(x.difference.index, x.difference.max_lsb, x.bound, x.beyond) for x in found]


@pytest.mark.parametrize("name", MODELS)
def test_every_operator_is_within_its_bound(name: str) -> None:
    case = case_of(name, build_model(name))
    found = own(case, KernelSet.OPTIMISED if len(name) % 2 else KernelSet.REFERENCE)
    assert found
    assert not any(beyond for _, _, _, beyond in found), found
    assert all(largest <= bound for _, largest, bound, _ in found), found
    assert case.pairs[-1].tensor.elements > 0


def test_the_embedded_model_has_all_its_layers() -> None:
    case = case_of("digits", DEFAULT_MODEL.read_bytes())
    found = own(case)
    assert [index for index, *_ in found] == list(range(15))
    assert max(largest for _, largest, _, _ in found) == 1
    # Along the model the same rounding grows.
    traced = by_number(trace(case.model.data, case.inputs))
    layers = interpret(case.program, to_program(case.inputs, case.program.input_dims)).layers
    pairs = pair_with_host(case.program, case.places, layers, traced)
    gaps = [np.abs(p.left.astype(int) - p.right.astype(int)).max() for p in pairs]
    assert max(gaps) > 1


def test_a_wrong_bias_is_beyond_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(case_module, "translate", translate_wrongly(Op.DEPTHWISE_CONV2D, 2))
    case = case_of("depthwise", build_model("depthwise"))
    ((_, largest, bound, beyond),) = own(case)
    assert 2 <= largest <= 3
    assert bound == 1
    assert beyond > 0


def test_bounds_follow_from_multipliers_and_activations() -> None:
    (conv,) = case_of("conv", build_model("conv")).program.layers
    alone = deviation_of(conv, [EXACT])
    assert (alone.rounding_bound, alone.bound.max()) == (1, 1)
    assert deviation_of(conv, [alone]).rounding_bound > 1  # what arrives is multiplied
    fused = own(case_of("relu_fused", build_model("relu_fused")))
    assert fused[0][2] > 1  # TFLite rounds once more, in front of the RELU
    pool = own(case_of("max_pool_same", build_model("max_pool_same")))
    assert pool[0][1:3] == (0, 0)  # nothing to round


@pytest.mark.skipif(not SHARED.is_dir(), reason="the recorded golden models are not here")
def test_vanishing_channels_are_explained_by_their_multipliers() -> None:
    """MobileNet's dead channels: weights of 1e-20, a bias of 2^31, and 23 fraction bits."""
    case = case_of("vww", (SHARED / "golden" / "vww.tflite").read_bytes())
    traced = by_number(trace(case.model.data, case.inputs))
    found = own_differences(case.program, case.graph, case.places, case.inputs, traced)
    coarse = [item for item in found if item.coarse]
    assert len(coarse) == 8
    assert max(item.difference.max_lsb for item in coarse) > 20
    assert not any(item.beyond for item in found)
    for item in coarse:
        layer = case.program.layers[item.difference.index]
        bounds = deviation_of(layer, [EXACT]).bound
        assert layer.multipliers is not None
        assert (layer.multipliers[bounds > 1] == 0).all()
        assert (bounds == 1).sum() > 0
