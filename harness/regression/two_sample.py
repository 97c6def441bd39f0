"""Is a measured latency another one? Rank test on rounds, with a minimum effect.

A round is one start of the firmware. The values within it share that start and the temperature, so
they are no independent observations: a test on them all finds differences between any two starts.
What is compared are the medians of the rounds, by the exact two-sided Mann-Whitney test (Mann and
Whitney 1947). An alert needs all of: p at most `alpha`, a relative shift of the median of at least
`min_effect`, and the same again in a re-run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import log
from statistics import median
from typing import Final

from harness.errors import ConfigError
from harness.regression.packages import check_packages

Rounds = Sequence[Sequence[float]]


@dataclass(frozen=True, slots=True)
class Limits:
    """alpha: largest p of an alert. min_effect: smallest relative shift of an alert, 0.004 is
    0.4 %."""

    alpha: float = 0.01
    min_effect: float = 0.004


DEFAULT_LIMITS: Final = Limits()
NEEDED_ROUNDS: Final = 5
"""Of each side: with fewer, no order of the rounds has a p below 0.01 (5 and 5: 0.0079)."""

PAST_NIGHTS: Final = 10
"""Nights that stand in for a baseline image."""

_UNKNOWN_SPREAD: Final = 0.02


@dataclass(frozen=True, slots=True)
class Shift:
    """How `after` lies to `before`. effect: relative shift of the median, above 0 is slower."""

    before_us: float
    after_us: float
    p_value: float

    @property
    def effect(self) -> float:
        """See the class."""
        return self.after_us / self.before_us - 1.0

    def alerts(self, limits: Limits = DEFAULT_LIMITS) -> bool:
        """Whether it is large and certain enough."""
        return self.p_value <= limits.alpha and abs(self.effect) >= limits.min_effect


def median_us(rounds: Rounds) -> float:
    """Median of the rounds' medians."""
    return median(_medians(rounds))


def shift(before: Rounds, after: Rounds) -> Shift:
    """Compare two sets of rounds of positive values.

    Raises ConfigError for an empty one, ToolchainError when scipy is not installed.
    """
    check_packages()
    from scipy.stats import mannwhitneyu

    left, right = _medians(before), _medians(after)
    tied = len(set(left) | set(right)) < len(left) + len(right)
    test = mannwhitneyu(left, right, method="asymptotic" if tied else "exact")
    p_value = 1.0 if len(set(left) | set(right)) == 1 else float(test.pvalue)
    return Shift(median(left), median(right), p_value)


def confirmed(first: Shift, again: Shift, limits: Limits = DEFAULT_LIMITS) -> bool:
    """Whether a re-run found the same: both alert, in the same direction."""
    same_way = (first.effect > 0) == (again.effect > 0)
    return same_way and first.alerts(limits) and again.alerts(limits)


def against_past(past: Sequence[Rounds], after: Rounds) -> tuple[Shift, Limits]:
    """Compare with the pooled rounds of earlier nights, for want of a baseline image.

    Nights differ for no reason that concerns us (temperature, load), so the least effect of an
    alert grows by three times the scaled median absolute deviation of the nights' medians; while
    fewer than `PAST_NIGHTS` are known, by 2 %.
    """
    pooled = [values for rounds in past for values in rounds]
    limits = replace(DEFAULT_LIMITS, min_effect=DEFAULT_LIMITS.min_effect + _spread(past))
    return shift(pooled, after), limits


def _spread(past: Sequence[Rounds]) -> float:
    if len(past) < PAST_NIGHTS:
        return _UNKNOWN_SPREAD
    nights = [log(median_us(rounds)) for rounds in past]
    middle = median(nights)
    return 3.0 * 1.4826 * median(abs(night - middle) for night in nights)


def _medians(rounds: Rounds) -> list[float]:
    if not rounds or not all(len(values) for values in rounds):
        raise ConfigError("a latency cannot be compared: it has no rounds, or an empty one")
    return [median(values) for values in rounds]
