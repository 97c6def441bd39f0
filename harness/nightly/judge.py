"""The gates and budgets applied to a night of the history."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from harness.history import (
    Finding,
    Gate,
    History,
    Job,
    Metric,
    Result,
    Samples,
    Status,
    Value,
    Verdict,
)
from harness.nightly.figures import LATENCY, REFUSED
from harness.nightly.latency import AGAIN, BASELINE, CANDIDATE
from harness.nightly.matrix import Budget, Matrix
from harness.regression.change_points import change_points
from harness.regression.exact import (
    Difference,
    attribution,
    attribution_text,
    condition_text,
    differences,
    first_checksum,
    totals,
)
from harness.regression.two_sample import (
    DEFAULT_LIMITS,
    PAST_NIGHTS,
    Limits,
    Shift,
    against_past,
    confirmed,
    shift,
)

_RECENT: Final = 3
"""Change points this many nights apart are the same one."""

_HOST_FREE: Final = ("compiler", "file")
"""Sources of metrics that depend on neither device nor data."""

Rounds = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class _Side:
    """Two results of a job that are compared."""

    before: Result
    after: Result

    @property
    def changed_conditions(self) -> tuple[str, ...]:
        """Conditions that both state, differently; those of the latency apart."""
        left, right = self.before.conditions, self.after.conditions
        shared = {key for key in left if key in right and not key.startswith("latency.")}
        return tuple(sorted(key for key in shared if left[key] != right[key]))


def judge(history: History, night: str, matrix: Matrix) -> tuple[Finding, ...]:
    """What is to be said of a night. Raises ToolchainError when a gate's package is missing."""
    found: list[Finding] = []
    for result in history.results(night):
        before = previous(history, night, result.job)
        if result.status is Status.OK:
            found += _exact(night, before, result, matrix)
            found += _latency(history, night, result)
            found += _levels(history, night, result.job)
            found += _budgets(night, result, matrix)
        elif result.conditions.get("failure") == REFUSED and before is not None:
            found.append(_refused(night, result))
    return tuple(found)


def previous(history: History, night: str, job: Job) -> Result | None:
    """The last complete result of a job before this night."""
    nights = _earlier(history, night, job)
    return history.result(nights[-1], job) if nights else None


def suspicious(history: History, night: str, result: Result, samples: tuple[Samples, ...]) -> bool:
    """Whether a measured latency must be measured again before an alert."""
    first = _first_shift(history, night, result, samples)
    return first is not None and first[0].alerts(first[1])


def rounds_of(samples: tuple[Samples, ...], side: str) -> Rounds:
    """The rounds of one side of the latency, in order; without those of a counter that stood."""
    named = {
        item.run: item.values
        for item in samples
        if item.metric == LATENCY and item.values and min(item.values) > 0
    }
    return tuple(named[run] for run in sorted(named) if run.rpartition("-")[0] == side)


def _earlier(history: History, night: str, job: Job) -> list[str]:
    """Nights before this one with a complete result of the job, oldest first."""
    this = history.night(night)
    points = history.series(job, "program.sha256")
    return [p.night for p in points if this is None or (p.begun, p.night) < (this.begun, night)]


def _refused(night: str, result: Result) -> Finding:
    text = f"ran before; now {result.reason}"
    return Finding(night, result.job, "status", Gate.EXACT, Verdict.REGRESSION, text)


# ---- exact ----


def _exact(night: str, before: Result | None, after: Result, matrix: Matrix) -> Iterator[Finding]:
    if before is None:
        return
    side = _Side(before, after)
    left, right = _by_name(before), _by_name(after)
    if changed := side.changed_conditions:
        yield _conditions(night, side, changed)
        left, right = (_device_free(metrics) for metrics in (left, right))
    found = differences(left, right, lambda name: _tolerance(matrix, after.job, name))
    for item in totals(found):
        where = attribution_text(attribution(item.metric, left, right))
        yield _difference(night, after.job, item, item.metric, f": {where}" if where else "")
    first = first_checksum(found)
    if first is not None:
        index = int(first.metric.split(".")[1])
        op = right.get(f"layer.{index:03d}.op")
        words = f" first at layer {index} ({op.value if op else '?'})"
        yield _difference(night, after.job, first, "layer.sha256", words)


def _conditions(night: str, side: _Side, changed: tuple[str, ...]) -> Finding:
    words = "; ".join(
        f"{key}: {condition_text(side.before.conditions[key])} -> "
        f"{condition_text(side.after.conditions[key])}"
        for key in changed
    )
    text = f"not comparable with the night before, only what the compiler makes is ({words})"
    return Finding(night, side.after.job, "conditions", Gate.EXACT, Verdict.CHANGED, text)


def _difference(night: str, job: Job, item: Difference, metric: str, more: str) -> Finding:
    forgiven = " (within the tolerance)" if item.forgiven else ""
    return Finding(
        night=night,
        job=job,
        metric=metric,
        gate=Gate.EXACT,
        verdict=Verdict.CHANGED if item.forgiven else item.verdict,
        text=item.text + more + forgiven,
        before=item.before,
        after=item.after,
        unit=item.unit,
        effect=item.relative,
    )


def _by_name(result: Result) -> dict[str, Metric]:
    return {item.name: item for item in result.metrics}


def _device_free(metrics: Mapping[str, Metric]) -> dict[str, Metric]:
    """What does not depend on the device or the data."""
    words = ("estimate.", "memory.", "program.", "model.")
    return {
        name: item
        for name, item in metrics.items()
        if item.source in _HOST_FREE
        or name.startswith(words)
        or (name.startswith("layer.") and name.endswith(".cycles"))
    }


def _tolerance(matrix: Matrix, job: Job, metric: str) -> float:
    shares = [
        item.worse for item in matrix.tolerances if item.metric == metric and item.rule.covers(job)
    ]
    return max(shares, default=0.0)


# ---- measured latencies ----


def _latency(history: History, night: str, result: Result) -> Iterator[Finding]:
    samples = history.samples(night, result.job)
    first = _first_shift(history, night, result, samples)
    if first is None or not first[0].alerts(first[1]):
        return
    found, limits, reference = first
    again = rounds_of(samples, AGAIN + CANDIDATE)
    if not again:
        return
    base = rounds_of(samples, AGAIN + BASELINE) or reference
    if not confirmed(found, shift(base, again), limits):
        return
    with_image = bool(rounds_of(samples, BASELINE))
    against = "the baseline image" if with_image else f"the last nights ({len(reference)} rounds)"
    yield Finding(
        night=night,
        job=result.job,
        metric=LATENCY,
        gate=Gate.TWO_SAMPLE,
        verdict=Verdict.REGRESSION if found.effect > 0 else Verdict.IMPROVEMENT,
        text=(
            f"{found.before_us:.6g} -> {found.after_us:.6g} us ({found.effect:+.2%}, "
            f"p {found.p_value:.2g}, confirmed by a re-run) against {against}"
        ),
        before=found.before_us,
        after=found.after_us,
        unit="us",
        p_value=found.p_value,
        effect=found.effect,
    )


def _first_shift(
    history: History, night: str, result: Result, samples: tuple[Samples, ...]
) -> tuple[Shift, Limits, Rounds] | None:
    """The first measurement against its reference, with the limits that hold for it."""
    candidate, baseline = rounds_of(samples, CANDIDATE), rounds_of(samples, BASELINE)
    if not candidate:
        return None
    if baseline:
        return shift(baseline, candidate), DEFAULT_LIMITS, baseline
    past = _past(history, night, result)
    if not past:
        return None
    found, limits = against_past(past, candidate)
    return found, limits, tuple(values for rounds in past for values in rounds)


def _past(history: History, night: str, result: Result) -> tuple[Rounds, ...]:
    """Rounds of the last nights that were measured under the same conditions."""
    found: list[Rounds] = []
    for name in reversed(_earlier(history, night, result.job)):
        before = history.result(name, result.job)
        if before is None or before.conditions != result.conditions:
            break
        rounds = rounds_of(history.samples(name, result.job), CANDIDATE)
        found += [rounds] if rounds else []
        if len(found) == PAST_NIGHTS:
            break
    return tuple(found)


# ---- levels ----


def _levels(history: History, night: str, job: Job) -> Iterator[Finding]:
    """A change of level that no earlier night reported."""
    points = history.series(job, LATENCY)
    if not points or points[-1].night != night:
        return
    last = points[-1]
    points = tuple(p for p in points if p.source == last.source and _is_latency(p.value))
    names = [point.night for point in points]
    seen = {
        names.index(item.since)
        for item in history.changes(job, LATENCY)
        if item.gate is Gate.CHANGE_POINT and item.since in names and item.night != night
    }
    values = [float(point.value) for point in points]
    for change in change_points(values):
        if any(abs(change.index - index) <= _RECENT for index in seen):
            continue
        yield Finding(
            night=night,
            job=job,
            metric=LATENCY,
            gate=Gate.CHANGE_POINT,
            verdict=Verdict.REGRESSION if change.effect > 0 else Verdict.IMPROVEMENT,
            text=(
                f"a new level since {names[change.index]}: {change.before:.6g} -> "
                f"{change.after:.6g} us ({change.effect:+.2%})"
            ),
            before=change.before,
            after=change.after,
            unit="us",
            since=names[change.index],
            effect=change.effect,
        )


def _is_latency(value: Value) -> bool:
    """A history is a file: it may hold anything."""
    return not isinstance(value, str) and value > 0


# ---- budgets ----


def _budgets(night: str, result: Result, matrix: Matrix) -> Iterator[Finding]:
    for budget in matrix.budgets:
        metric = result.metric(budget.metric)
        if metric is None or not budget.rule.covers(result.job) or isinstance(metric.value, str):
            continue
        bound = _broken_bound(budget, metric.value)
        if bound is not None:
            yield _over(night, result.job, budget, metric, bound)


def _broken_bound(budget: Budget, value: float) -> tuple[str, float] | None:
    if budget.least is not None and value < budget.least:
        return "least", budget.least
    if budget.most is not None and value > budget.most:
        return "most", budget.most
    return None


def _over(
    night: str, job: Job, budget: Budget, metric: Metric, bound: tuple[str, float]
) -> Finding:
    value: Value = metric.value
    return Finding(
        night=night,
        job=job,
        metric=budget.metric,
        gate=Gate.BUDGET,
        verdict=Verdict.REGRESSION,
        text=f"{value} {metric.unit} but at {bound[0]} {bound[1]:g}: {budget.rule.reason}",
        before=bound[1],
        after=value,
        unit=metric.unit,
    )
