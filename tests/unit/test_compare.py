"""Comparison figures on arrays whose answers are known by hand."""

from __future__ import annotations

import numpy as np
import pytest

from harness.compare import (
    LayerPair,
    Side,
    Steps,
    classify,
    compare,
    first_difference,
    in_steps,
    layer_difference,
)
from harness.errors import ConfigError

STEPS = Steps(scale=0.5, zero_point=-1)


def side(name: str, *rows: list[int]) -> Side:
    return Side(name, (np.array(rows, np.int8),), (STEPS,))


LEFT = side("golden", [5, 1, 0], [0, 9, 0], [1, 2, 3])
RIGHT = side("device", [5, 1, 0], [0, 7, 1], [4, 2, 3])


def test_counts() -> None:
    result = compare(LEFT, RIGHT, np.array([0, 1, 2]))
    assert (result.left, result.right, result.samples) == ("golden", "device", 3)
    assert result.top1 == pytest.approx(2 / 3)
    assert result.exact == 1
    assert result.exact_fraction == pytest.approx(1 / 3)
    assert result.max_lsb == 3
    assert result.mean_abs_lsb == pytest.approx((2 + 1 + 3) / 9)
    assert result.histogram == ((-2, 1), (0, 6), (1, 1), (3, 1))
    assert result.accuracy_left == 1.0
    assert result.accuracy_right == pytest.approx(2 / 3)


def test_accuracy_needs_labels() -> None:
    result = compare(LEFT, RIGHT)
    assert result.accuracy_left is None
    assert result.accuracy_right is None
    assert {sample.label for sample in result.worst} == {None}


def test_worst_samples_come_largest_first_and_equal_ones_not_at_all() -> None:
    worst = compare(LEFT, RIGHT, np.array([0, 1, 2])).worst
    assert [(s.index, s.max_lsb, s.left_class, s.right_class, s.label) for s in worst] == [
        (2, 3, 2, 0, 2),
        (1, 2, 1, 1, 1),
    ]
    assert compare(LEFT, LEFT).worst == ()


def test_at_most_ten_worst_samples_ties_by_sum_then_index() -> None:
    left = Side("a", (np.zeros((30, 2), np.int8),), (STEPS,))
    values = np.ones((30, 2), np.int8)
    values[::2, 1] = 0
    worst = compare(left, Side("b", (values,), (STEPS,))).worst
    assert [sample.index for sample in worst] == list(range(1, 21, 2))


def test_cosine_is_of_real_values() -> None:
    # Real values are (q + 1) / 2: [3, 0] against [0, 3], and zero vectors.
    left = Side("a", (np.array([[5, -1], [-1, -1], [-1, -1]], np.int8),), (STEPS,))
    right = Side("b", (np.array([[-1, 5], [-1, -1], [3, -1]], np.int8),), (STEPS,))
    result = compare(left, right)
    assert result.cosine_min == 0.0
    assert result.cosine_mean == pytest.approx((0 + 1 + 0) / 3)
    assert compare(LEFT, LEFT).cosine_min == pytest.approx(1.0)


def test_int8_extremes_do_not_wrap() -> None:
    result = compare(side("a", [-128, 0]), side("b", [127, 0]))
    assert result.max_lsb == 255
    assert result.histogram == ((0, 1), (255, 1))


def test_several_outputs_count_together_and_the_first_classifies() -> None:
    first = np.array([[1, 2], [2, 1]], np.int8)
    left = Side("a", (first, np.zeros((2, 2, 2), np.int8)), (STEPS, STEPS))
    right = Side("b", (first, np.ones((2, 2, 2), np.int8)), (STEPS, STEPS))
    result = compare(left, right)
    assert result.top1 == 1.0
    assert result.exact == 0
    assert result.histogram == ((0, 4), (1, 8))


def test_unequal_shapes_are_one_sentence() -> None:
    with pytest.raises(ConfigError, match="golden gave outputs of the shapes"):
        compare(LEFT, side("device", [1, 2, 3]))


def test_class_is_the_first_of_the_largest() -> None:
    values = np.array([[3, 3, 1], [0, 2, 2]], np.int8)
    assert classify(values, STEPS).tolist() == [0, 1]


def test_single_value_is_binary_at_one_half() -> None:
    values = np.array([[-1], [0], [1]], np.int8)  # real 0, 0.5, 1
    assert classify(values, STEPS).tolist() == [0, 0, 1]


def test_in_steps_rounds_to_even_and_saturates() -> None:
    real = np.array([0.0, 0.25, 0.75, -0.25, 100.0, -100.0])
    assert in_steps(real, STEPS).tolist() == [-1, -1, 1, -1, 127, -128]
    assert in_steps(real, STEPS).dtype == np.int8


def layer(index: int, left: list[list[int]], right: list[list[int]]) -> LayerPair:
    return LayerPair(index, "conv2d", "t", np.array(left, np.int8), np.array(right, np.int8))


def test_first_differing_layer_has_position_and_both_values() -> None:
    layers = [
        layer_difference(layer(0, [[1, 2]], [[1, 2]])),
        layer_difference(layer(3, [[1, 2], [3, -128]], [[1, 2], [5, 127]])),
        layer_difference(layer(4, [[0]], [[9]])),
    ]
    found = first_difference(layers)
    assert found is not None
    assert (found.index, found.values, found.differing, found.max_lsb) == (3, 4, 2, 255)
    assert (found.position, found.left_value, found.right_value) == ((1, 0), 3, 5)
    assert first_difference(layers[:1]) is None


def test_layers_of_unequal_shape_are_one_sentence() -> None:
    with pytest.raises(ConfigError, match=r"layer 2 \(conv2d\) has the shape"):
        layer_difference(layer(2, [[1]], [[1, 2]]))


def test_confusion_counts_labels_against_the_device() -> None:
    result = compare(LEFT, RIGHT, np.array([0, 1, 2]))
    assert result.confusion == ((1, 0, 0), (0, 1, 0), (1, 0, 0))
    assert compare(LEFT, RIGHT).confusion == ((1, 0, 0), (0, 1, 0), (1, 0, 0))
    assert compare(LEFT, RIGHT, np.array([0, 1, 3])).confusion == (
        (1, 0, 0, 0),
        (0, 1, 0, 0),
        (0, 0, 0, 0),
        (1, 0, 0, 0),
    )


def test_no_confusion_for_very_many_classes() -> None:
    many = Side("a", (np.zeros((2, 101), np.int8),), (STEPS,))
    assert compare(many, many).confusion is None


def test_disagreements_come_before_what_both_get_wrong() -> None:
    found = compare(LEFT, RIGHT, np.array([1, 1, 2])).disagreements
    assert [(s.index, s.left_class, s.right_class, s.label) for s in found] == [
        (2, 2, 0, 2),
        (0, 0, 0, 1),
    ]
    assert [s.index for s in compare(LEFT, RIGHT).disagreements] == [2]
