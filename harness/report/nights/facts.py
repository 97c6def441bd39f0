"""What the page shows, read from the history in one go."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeGuard

from harness.errors import ConfigError
from harness.history import (
    Finding,
    History,
    Job,
    Night,
    Point,
    Result,
    Samples,
    Status,
    Value,
    Verdict,
)

_LARGEST: Final = 1e15
"""Values up to which a chart is drawn."""

_DETAILS: Final = ("layer.",)
"""Metrics that are too many for a page; findings quote them."""


@dataclass(frozen=True, slots=True)
class Trend:
    """One metric of one job. points: not empty, oldest first. changes: findings on it."""

    job: Job
    metric: str
    points: tuple[Point, ...]
    changes: tuple[Finding, ...]

    @property
    def varies(self) -> bool:
        """Whether any two nights differ, or anything was said of it."""
        return bool(self.changes) or len({(p.value, p.source) for p in self.points}) > 1

    def at(self, night: str) -> Point | None:
        """The value of a night."""
        return next((point for point in reversed(self.points) if point.night == night), None)

    def before(self, point: Point) -> Point | None:
        """The last earlier value from the same source."""
        place = self.points.index(point)
        earlier = reversed(self.points[:place])
        return next((item for item in earlier if item.source == point.source), None)


@dataclass(frozen=True, slots=True)
class HistoryFacts:
    """nights: not empty, oldest first. results, findings: of the last night. earlier: findings of
    the nights before, newest first. trends: by job, then by metric. endings: by job, then by night.
    samples: raw values of the last night by job."""

    name: str
    nights: tuple[Night, ...]
    results: tuple[Result, ...]
    findings: tuple[Finding, ...]
    earlier: tuple[Finding, ...]
    trends: Mapping[Job, tuple[Trend, ...]]
    endings: Mapping[Job, Mapping[str, str]]
    samples: Mapping[Job, tuple[Samples, ...]]

    @property
    def last(self) -> Night:
        """The last night."""
        return self.nights[-1]

    def trend(self, job: Job, metric: str) -> Trend | None:
        """The trend of one metric of one job."""
        return next((item for item in self.trends.get(job, ()) if item.metric == metric), None)

    def source(self, job: Job, metric: str, night: str) -> str | None:
        """Where a figure of a night comes from; None where the night has none."""
        item = self.trend(job, metric)
        point = None if item is None else item.at(night)
        return None if point is None else point.source


def gather_history(history: History) -> HistoryFacts:
    """Read everything that the page shows. Raises ConfigError when there is no night yet."""
    nights = history.nights()
    if not nights:
        raise ConfigError(f"the history {history.path} has no night yet: run 'axonrig nightly'")
    last = nights[-1].id
    results = history.results(last)
    found = [(night.id, history.findings(night.id)) for night in reversed(nights)]
    return HistoryFacts(
        name=history.path.name,
        nights=nights,
        results=results,
        findings=found[0][1],
        earlier=tuple(item for _, items in found[1:] for item in items),
        trends={job: _trends(history, job) for job in history.jobs()},
        endings=_endings(history, dict(found)),
        samples={item.job: history.samples(last, item.job) for item in results},
    )


def drawable(value: Value) -> TypeGuard[int | float]:
    """Whether a chart can show the value. A history is a file: it may hold anything."""
    if not isinstance(value, int | float):
        return False
    return math.isfinite(value) and abs(value) < _LARGEST


def _trends(history: History, job: Job) -> tuple[Trend, ...]:
    names = (name for name in history.metrics(job) if not name.startswith(_DETAILS))
    found = (
        Trend(job, name, history.series(job, name), history.changes(job, name)) for name in names
    )
    return tuple(trend for trend in found if trend.points)


def _endings(
    history: History, findings: Mapping[str, tuple[Finding, ...]]
) -> dict[Job, dict[str, str]]:
    """A job with a regression ended in it, whatever else it did."""
    worse = {
        (night, item.job)
        for night, items in findings.items()
        for item in items
        if item.verdict is Verdict.REGRESSION
    }
    found: dict[Job, dict[str, str]] = {}
    for night, job, status in history.endings():
        regressed = (night, job) in worse and status is not Status.SKIPPED
        found.setdefault(job, {})[night] = "regression" if regressed else str(status)
    return found
