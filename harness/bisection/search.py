"""The search: git's bisection over commits, each judged by the value of one metric.

A commit is bad when its value is on the bad end's side: for numbers beyond the middle of the two
ends' values, for hashes when it is not the good end's. A commit that does not run is skipped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from harness.bisection.probe import Probe, try_value
from harness.bisection.repository import Clone, Commit, cloned, resolve
from harness.errors import ConfigError, HarnessError
from harness.history import Value

ON_SIMULATORS: Final = {"latency.us": ("estimate.cycles", "emulated.instructions")}
"""Metrics that need a board, and the deterministic ones that are looked at first."""


@dataclass(frozen=True, slots=True)
class Step:
    """One tested commit. word: good, bad or skip; value: None when it did not run, reason: why."""

    commit: str
    word: str
    value: Value | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """The outcome. commits: the first bad commit; several when those between were skipped.
    before: value of the first bad commit's parent, None when it was not tested."""

    metric: str
    good: Value
    bad: Value
    commits: tuple[Commit, ...]
    before: Value | None
    after: Value | None
    steps: tuple[Step, ...]


Observe = Callable[[Step], None]


def bisect(probe: Probe, good: str, bad: str, observe: Observe = lambda _: None) -> Found:
    """Find the commit between `good` and `bad` that changed the first metric of `probe` that
    differs between the two.

    Raises ConfigError when an end does not run, when no metric differs, or when `bad` does not
    follow `good`; ToolchainError when git is missing or fails.
    """
    ends = tuple(resolve(probe.repository, revision) for revision in (good, bad))
    with cloned(probe.repository) as clone:
        if clone.count(*ends) == 0:
            raise ConfigError(f"'{bad}' has no commit that '{good}' lacks; are they swapped?")
        metric, values = _differing(clone, probe, ends)
        steps = _search(clone, probe, metric, ends, values, observe)
        known: dict[str, Value | None] = dict(zip(ends, values, strict=True))
        known.update((step.commit, step.value) for step in steps)
        suspects = clone.first_bad()
        parent = clone.parent(suspects[-1])
        return Found(
            metric=metric,
            good=values[0],
            bad=values[1],
            commits=tuple(clone.commit(name) for name in suspects),
            before=known.get(parent) if parent else None,
            after=known.get(suspects[0]),
            steps=steps,
        )


def _differing(
    clone: Clone, probe: Probe, ends: tuple[str, ...]
) -> tuple[str, tuple[Value, Value]]:
    """The first metric that differs between the ends, with its two values."""
    results = []
    for end in ends:
        clone.check_out(end)
        try:
            results.append(probe.result(clone.path))
        except HarnessError as error:
            raise ConfigError(f"{end[:12]} cannot be an end of the search: {error}") from error
    equal = []
    for name in probe.metrics:
        sides = [result.metric(name) for result in results]
        if sides[0] is None or sides[1] is None:
            equal.append(f"{name} is missing")
        elif sides[0].value == sides[1].value:
            equal.append(f"{name} is {sides[0].value} at both")
        else:
            return name, (sides[0].value, sides[1].value)
    raise ConfigError(
        f"nothing to search between {ends[0][:12]} and {ends[1][:12]} on {probe.board}: "
        f"{'; '.join(equal)}"
    )


def _search(
    clone: Clone,
    probe: Probe,
    metric: str,
    ends: tuple[str, ...],
    values: tuple[Value, Value],
    observe: Observe,
) -> tuple[Step, ...]:
    steps: list[Step] = []
    if clone.count(*ends) == 1:
        clone.start(*ends)
        return ()
    commit: str | None = clone.start(*ends)
    while commit is not None:
        clone.check_out(commit)
        value = try_value(probe, clone.path, metric)
        if isinstance(value, HarnessError):
            step = Step(commit, "skip", None, " ".join(str(value).split()))
        else:
            step = Step(commit, "bad" if _is_bad(value, *values) else "good", value)
        observe(step)
        steps.append(step)
        commit = clone.tell(step.word, commit)
    return tuple(steps)


def _is_bad(value: Value, good: Value, bad: Value) -> bool:
    if isinstance(value, str) or isinstance(good, str) or isinstance(bad, str):
        return value != good
    return abs(value - bad) < abs(value - good)
