"""Accuracy figures as the official runner counts them, with their 95 % intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from harness.errors import ConfigError

Array = npt.NDArray[Any]
_Z: Final = 1.959963984540054
"""97.5 % point of the normal distribution."""
WILSON: Final = "Wilson score interval, 95 %"
DELONG: Final = "DeLong variance on the logit scale, 95 %"


@dataclass(frozen=True, slots=True)
class Interval:
    """A two-sided 95 % confidence interval. method: how it was computed."""

    low: float
    high: float
    method: str


def wilson(successes: int, trials: int) -> Interval:
    """The interval of a share (E. B. Wilson, JASA 22 (1927), p. 209), 0..1."""
    if not 0 <= successes <= trials or trials < 1:
        raise ValueError(f"{successes} of {trials}")
    share, weight = successes / trials, _Z * _Z / trials
    centre = (share + weight / 2) / (1 + weight)
    half = _Z * math.sqrt(share * (1 - share) / trials + weight / (4 * trials)) / (1 + weight)
    return Interval(max(0.0, centre - half), min(1.0, centre + half), WILSON)


def auc(scores: Array, positive: Array) -> float:
    """Area under the ROC curve: the share of (positive, negative) pairs in the right order.

    Ties count half, so it equals the trapezoid rule over all thresholds, which
    sklearn.metrics.roc_auc_score uses. positive: bool [N]. Raises ConfigError unless both classes
    are there.
    """
    above, _ = _placements(scores, positive)
    return float(above.mean())


def auc_interval(scores: Array, positive: Array) -> Interval:
    """The interval of `auc` (E. DeLong et al., Biometrics 44 (1988), p. 837).

    On the logit scale, so that it stays within 0..1. Without any variance (every pair in order, or
    one sample of a class) Wilson's interval of as many trials as the smaller class has samples.
    """
    above, below = _placements(scores, positive)
    area = float(above.mean())
    few = min(len(above), len(below))
    variance = 0.0
    if few > 1:
        variance = above.var(ddof=1) / len(above) + below.var(ddof=1) / len(below)
    if variance <= 0.0 or not 0.0 < area < 1.0:
        low_high = wilson(round(area * few), few)
        return Interval(low_high.low, low_high.high, f"{WILSON}, of the smaller class")
    centre = math.log(area / (1 - area))
    half = _Z * math.sqrt(variance) / (area * (1 - area))
    return Interval(_logistic(centre - half), _logistic(centre + half), DELONG)


def auc_one_against_rest(results: Array, labels: Array) -> float | None:
    """The mean of each class's `auc`, as the runner prints it beside top-1; None when undefined.

    results: [N, classes], each row made to sum to 1. With two classes, the second one's. The
    runner refuses a set in which a class is missing; here there is no figure then.
    """
    classes = [1] if results.shape[1] == 2 else list(range(results.shape[1]))
    present = set(labels.tolist())
    if present != set(range(results.shape[1])):
        return None
    return float(np.mean([auc(results[:, item], labels == item) for item in classes]))


def normalized(results: Array) -> Array:
    """Rows divided by their sum, as the runner does; a row of zeros stays (it would stop there)."""
    total = results.sum(axis=1, keepdims=True)
    return np.asarray(results / np.where(total == 0.0, 1.0, total))


def _placements(scores: Array, positive: Array) -> tuple[Array, Array]:
    """For each positive the share of negatives below it, for each negative that of positives above.

    Ties count half.
    """
    high, low = scores[positive], scores[~positive]
    if not len(high) or not len(low):
        raise ConfigError(
            "the area under the ROC curve needs normal and anomalous samples, and one kind is "
            "missing: use the whole set"
        )
    ordered_low, ordered_high = np.sort(low), np.sort(high)
    above = _midpoint(ordered_low, high) / len(low)
    below = 1.0 - _midpoint(ordered_high, low) / len(high)
    return above, below


def _midpoint(ordered: Array, values: Array) -> Array:
    left = np.searchsorted(ordered, values, side="left")
    right = np.searchsorted(ordered, values, side="right")
    return np.asarray((left + right) / 2.0)


def _logistic(value: float) -> float:
    return 1.0 / (1.0 + math.exp(-value))
