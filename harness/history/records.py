"""The records of a history (`harness.history`): plain facts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

Value = int | float | str

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,79}")
"""Night ids and the three names of a job: they become folder names."""


class Status(StrEnum):
    """How a job ended."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"


class Kind(StrEnum):
    """Whether a metric follows from the inputs alone, or scatters."""

    EXACT = "exact"
    MEASURED = "measured"


class Gate(StrEnum):
    """Which rule a finding comes from."""

    EXACT = "exact"
    TWO_SAMPLE = "two-sample"
    CHANGE_POINT = "change-point"
    BUDGET = "budget"


class Verdict(StrEnum):
    """What a finding says. `changed`: a difference that is neither better nor worse."""

    REGRESSION = "regression"
    IMPROVEMENT = "improvement"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True, order=True)
class Job:
    """A cell of the matrix."""

    model: str
    board: str
    variant: str

    @property
    def name(self) -> str:
        """One word for folders, tables and messages."""
        return f"{self.model}@{self.board}@{self.variant}"


@dataclass(frozen=True, slots=True)
class Night:
    """begun, finished: UTC, ISO 8601; finished None: cut off, or still running. revision: commit
    of the source tree when it is one. code, matrix: sha256 of the sources and of the job file."""

    id: str
    begun: str
    host: str
    code: str
    matrix: str
    versions: Mapping[str, str]
    revision: str | None = None
    finished: str | None = None


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure or a hash of one result. unit: "" for a pure number or a hash."""

    name: str
    value: Value
    unit: str
    kind: Kind
    source: str


@dataclass(frozen=True, slots=True)
class Samples:
    """Raw values of a measured metric. run: which series, e.g. "candidate" or "baseline"."""

    metric: str
    run: str
    unit: str
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """How one job ended. reason: why it failed or was skipped. source: of its figures. folder,
    manifest: the result folder as it was named, and the sha256 of its manifest. conditions: what
    must be equal for two results to be comparable (clock, baud, SDK, back end, data ...)."""

    job: Job
    status: Status
    ended: str
    reason: str | None = None
    source: str | None = None
    folder: str | None = None
    manifest: str | None = None
    conditions: Mapping[str, str] = field(default_factory=dict)
    metrics: tuple[Metric, ...] = ()

    def metric(self, name: str) -> Metric | None:
        """The metric of this name."""
        return next((item for item in self.metrics if item.name == name), None)


@dataclass(frozen=True, slots=True)
class Point:
    """One metric of one job in one night."""

    night: str
    begun: str
    value: Value
    unit: str
    kind: Kind
    source: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What a gate said in a night about one metric of one job.

    before, after: the values compared. since: first night of the new level (change points).
    p_value: of the test, effect: relative change of the median (0.01 is 1 % more), where tested.
    """

    night: str
    job: Job
    metric: str
    gate: Gate
    verdict: Verdict
    text: str
    before: Value | None = None
    after: Value | None = None
    unit: str = ""
    since: str | None = None
    p_value: float | None = None
    effect: float | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """A result with its night and its raw values."""

    night: str
    result: Result
    samples: tuple[Samples, ...] = ()


Record = Night | Recorded | Finding


@dataclass(frozen=True, slots=True)
class Merged:
    """Records of another history that were stored, and those that were here already."""

    stored: int
    kept: int
