"""Where a series of nights changes its level: PELT (Killick, Fearnhead and Eckley 2012), as in the
library `ruptures`, on robustly scaled values.

A single night that stands out is no new level: values are clipped to their neighbourhood, and a
level takes at least `MIN_NIGHTS` nights. So a change is found at the earliest that many nights
after it began. The penalty is set by the false-alarm rate that benchmarks/regression_power.py
measures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from harness.regression.packages import check_packages

FloatArray = npt.NDArray[np.float64]

MIN_NIGHTS: Final = 4
MOST_NIGHTS: Final = 120
PENALTY: Final = 6.0
"""Cost of a change point in units of log(nights) and of the noise's variance."""

_CLIP: Final = 3.0
_NEIGHBOURS: Final = 7
_LEAST_NOISE: Final = 2e-4
"""Relative noise that is always assumed: a counter has steps."""


@dataclass(frozen=True, slots=True)
class ChangePoint:
    """index: first value of the new level. before, after: medians of the levels around it."""

    index: int
    before: float
    after: float

    @property
    def effect(self) -> float:
        """Relative change, above 0 is more."""
        return self.after / self.before - 1.0


def change_points(values: Sequence[float], min_effect: float = 0.004) -> tuple[ChangePoint, ...]:
    """Changes of level by at least `min_effect`, oldest first; of the last 120 values.

    values: positive, oldest first. Raises ToolchainError when ruptures is not installed.
    """
    offset = max(0, len(values) - MOST_NIGHTS)
    series = np.log(np.asarray(values[offset:], np.float64))
    if len(series) < 2 * MIN_NIGHTS:
        return ()
    bounds = [0, *_pelt(_clipped(series)), len(series)]
    found = []
    for start, end in zip(bounds, bounds[2:], strict=False):
        point = _refined(series, start, end)
        before, after = np.median(series[start:point]), np.median(series[point:end])
        long_enough = min(point - start, end - point) >= MIN_NIGHTS
        if long_enough and abs(np.expm1(after - before)) >= min_effect:
            found.append(ChangePoint(offset + point, float(np.exp(before)), float(np.exp(after))))
    return tuple(found)


def _refined(series: FloatArray, start: int, end: int) -> int:
    """Where two levels between `start` and `end` meet: least sum of distances from the medians.

    PELT keeps to the least length of a level and so puts a fresh change too early.
    """
    costs = [
        sum(
            float(np.abs(part - np.median(part)).sum()) for part in np.split(series[start:end], [k])
        )
        for k in range(1, end - start)
    ]
    return start + 1 + int(np.argmin(costs))


def _clipped(series: FloatArray) -> FloatArray:
    """Scaled to unit noise, single outliers brought near to their neighbours."""
    steps = np.diff(series)
    noise = 1.4826 * float(np.median(np.abs(steps - np.median(steps)))) / np.sqrt(2.0)
    scaled = (series - np.median(series)) / max(noise, _LEAST_NOISE)
    half = _NEIGHBOURS // 2
    padded = np.pad(scaled, half, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, _NEIGHBOURS)
    local = np.median(windows, axis=1)
    return np.asarray(np.clip(scaled, local - _CLIP, local + _CLIP), np.float64)


def _pelt(series: FloatArray) -> list[int]:
    """Indices at which a level begins, without 0."""
    check_packages()
    import ruptures

    model = ruptures.Pelt(model="l2", min_size=MIN_NIGHTS, jump=1)
    penalty = PENALTY * float(np.log(len(series)))
    ends: list[int] = model.fit(series.reshape(-1, 1)).predict(pen=penalty)
    return [int(end) for end in ends[:-1]]
