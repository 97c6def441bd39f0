"""Accuracy figures: against definitions, published values and, where installed, scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest

from harness.errors import ConfigError
from harness.mlperf.metrics import (
    auc,
    auc_interval,
    auc_one_against_rest,
    normalized,
    wilson,
)


def test_wilson_equals_the_published_examples() -> None:
    # R. G. Newcombe, Statistics in Medicine 17 (1998), table I, method 3
    for successes, trials, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        interval = wilson(successes, trials)
        assert (round(interval.low, 4), round(interval.high, 4)) == (low, high)


def test_wilson_at_the_ends() -> None:
    assert wilson(0, 200).low == pytest.approx(0.0, abs=1e-12)
    assert wilson(200, 200).high == pytest.approx(1.0, abs=1e-12)
    assert 0.97 < wilson(200, 200).low < 1.0


def test_auc_counts_pairs() -> None:
    random = np.random.default_rng(1)
    for _ in range(20):
        scores = random.integers(0, 6, 40) / 4  # many ties
        positive = random.random(40) < 0.4
        high, low = scores[positive], scores[~positive]
        pairs = [(a > b) + 0.5 * (a == b) for a in high for b in low]
        assert auc(scores, positive) == pytest.approx(np.mean(pairs), abs=1e-12)


def test_auc_equals_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    random = np.random.default_rng(2)
    labels = random.integers(0, 4, 300)
    results = normalized(np.round(random.random((300, 4)) + np.eye(4)[labels], 3))
    wanted = metrics.roc_auc_score(labels, results, multi_class="ovr")
    assert auc_one_against_rest(results, labels) == pytest.approx(wanted, abs=1e-12)
    binary = (labels == 1).astype(int)
    wanted = metrics.roc_auc_score(binary, results[:, :1])
    assert auc(results[:, 0], binary == 1) == pytest.approx(wanted, abs=1e-12)


def test_a_missing_class_has_no_auc() -> None:
    results = np.full((3, 3), 1 / 3)
    assert auc_one_against_rest(results, np.array([0, 1, 1])) is None
    with pytest.raises(ConfigError, match="one kind is missing"):
        auc(np.array([1.0, 2.0]), np.array([True, True]))


def test_the_interval_of_the_auc_covers_the_truth() -> None:
    """Normal scores one deviation apart: the area is 0.7602; 95 % of the intervals hold it."""
    random = np.random.default_rng(3)
    positive = np.arange(248) < 108
    held = 0
    for _ in range(400):
        interval = auc_interval(random.normal(0, 1, 248) + positive, positive)
        held += interval.low <= 0.76025 <= interval.high
    assert 0.92 <= held / 400 <= 0.98


def test_the_interval_of_a_perfect_order_is_no_point() -> None:
    interval = auc_interval(np.array([1.0, 2.0, 3.0, 4.0]), np.array([False, False, True, True]))
    assert interval.low < 0.6
    assert interval.high == 1.0
    one = auc_interval(np.array([1.0, 2.0, 1.5]), np.array([False, True, False]))
    assert one.low < one.high == 1.0


def test_rows_of_zeros_stay() -> None:
    assert normalized(np.array([[0.0, 0.0], [1.0, 3.0]])).tolist() == [[0.0, 0.0], [0.25, 0.75]]
