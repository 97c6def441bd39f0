"""What changed between two results: comparability first, then the metrics, then the layers.

Two results are what two folders, two commits or two boards left. What must be equal for a metric
to be compared depends on the metric: an estimate depends on the program alone, an agreement on the
samples too, a latency on everything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from harness.history import Kind, Metric, Result, Samples, Verdict
from harness.nightly.figures import LATENCY
from harness.nightly.judge import rounds_of
from harness.nightly.latency import CANDIDATE
from harness.regression.direction import verdict
from harness.regression.exact import (
    Difference,
    LayerShare,
    attribution,
    differences,
    first_checksum,
    totals,
)
from harness.regression.two_sample import NEEDED_ROUNDS, Shift, shift

_DEVICE: Final = ("latency.", "emulated.", "vendor.")
_DATA: Final = ("agreement.", "accuracy.", "outputs.", "layer-values")


@dataclass(frozen=True, slots=True)
class Condition:
    """What a difference of this condition does. refuses: prefixes of the metrics that are then not
    compared; () only flags."""

    refuses: tuple[str, ...]
    why: str


CONDITIONS: Final[dict[str, Condition]] = {
    "source": Condition(_DEVICE, "figures of different origin"),
    "board": Condition((), "another board"),
    "clock_hz": Condition(_DEVICE, "another clock"),
    "latency.clock_hz": Condition(_DEVICE, "another clock"),
    "latency.host": Condition(("latency.",), "measured on another machine"),
    "latency.baud": Condition((), "another rate of the link; it should not touch the counters"),
    "backend": Condition((), "another back end or SDK"),
    "data": Condition(_DATA, "other samples"),
    "golden": Condition((), "another runtime behind the goldens"),
}


@dataclass(frozen=True, slots=True)
class Flag:
    """A condition that differs. refused: the metrics that were not compared because of it."""

    condition: str
    before: str
    after: str
    why: str
    refused: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """A metric that differs, and the layers that explain it. shift: of a measured latency, when
    both sides have rounds enough for a test."""

    difference: Difference
    layers: tuple[LayerShare, ...] = ()
    shift: Shift | None = None

    @property
    def worse(self) -> bool:
        """Whether the metric got worse; a measured one only when the test says so."""
        measured = self.difference.metric == LATENCY
        certain = not measured or (self.shift is not None and self.shift.alerts())
        return certain and self.difference.verdict is Verdict.REGRESSION


@dataclass(frozen=True, slots=True)
class Changes:
    """Two results side by side. equal: how many metrics are equal. first_layer: the first layer
    whose values differ, for the same sample."""

    before: Result
    after: Result
    flags: tuple[Flag, ...]
    changes: tuple[Change, ...]
    equal: int
    first_layer: str | None

    @property
    def worse(self) -> bool:
        """Whether any metric got worse."""
        return any(change.worse for change in self.changes)


def compare_results(
    before: Result,
    after: Result,
    samples: tuple[tuple[Samples, ...], tuple[Samples, ...]] = ((), ()),
) -> Changes:
    """Compare two results; samples: raw latencies of both."""
    flags = _flags(before, after)
    refused = {name for flag in flags for name in flag.refused}
    left, right = _taken(before, refused), _taken(after, refused)
    found = differences(left, right)
    changes = [Change(item, attribution(item.metric, left, right)) for item in totals(found)]
    latency = _latency(left.get(LATENCY), right.get(LATENCY), samples)
    shared = {name for name in left if name in right}
    first = None if "layer-values" in refused else first_checksum(found)
    return Changes(
        before=before,
        after=after,
        flags=flags,
        changes=(*changes, *latency),
        equal=sum(left[name].value == right[name].value for name in shared),
        first_layer=None if first is None else first.metric.split(".")[1],
    )


def _flags(before: Result, after: Result) -> tuple[Flag, ...]:
    names = sorted({*(item.name for item in before.metrics), *(m.name for m in after.metrics)})
    found = []
    for key, rule in CONDITIONS.items():
        left, right = before.conditions.get(key), after.conditions.get(key)
        if left is None or right is None or left == right:
            continue
        refused = tuple(name for name in names if name.startswith(rule.refuses or ("\0",)))
        refused += ("layer-values",) if "layer-values" in rule.refuses else ()
        found.append(Flag(key, left, right, rule.why, refused))
    return tuple(found)


def _taken(result: Result, refused: set[str]) -> dict[str, Metric]:
    values = "layer-values" in refused
    return {
        item.name: item
        for item in result.metrics
        if item.name not in refused
        and not (values and item.name.startswith("layer.") and item.name.endswith(".sha256"))
    }


def _latency(
    before: Metric | None,
    after: Metric | None,
    samples: tuple[tuple[Samples, ...], tuple[Samples, ...]],
) -> tuple[Change, ...]:
    if before is None or after is None or before.value == after.value:
        return ()
    if Kind.EXACT in (before.kind, after.kind):
        return ()
    item = Difference(
        LATENCY, before.value, after.value, "us", verdict(LATENCY, before.value, after.value)
    )
    rounds = tuple(rounds_of(side, CANDIDATE) for side in samples)
    enough = min(len(side) for side in rounds) >= NEEDED_ROUNDS
    return (Change(item, shift=shift(rounds[0], rounds[1]) if enough else None),)
