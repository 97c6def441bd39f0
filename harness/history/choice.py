"""Which results of a history a user means: `NIGHT`, `COMMIT`, `NIGHT:JOB` or `COMMIT:JOB`."""

from __future__ import annotations

import re

from harness.errors import ConfigError
from harness.history import History, Recorded, Status

_COMMIT = re.compile(r"[0-9a-f]{4,64}")


def pair_up(history: History, before: str, after: str) -> tuple[tuple[Recorded, Recorded], ...]:
    """The results to compare: of the jobs that both words mean; two named jobs form one pair.

    Raises ConfigError when a word means nothing, or when there is no pair.
    """
    left, right = chosen(history, before), chosen(history, after)
    if ":" in before and ":" in after:
        return ((left[0], right[0]),)
    others = {item.result.job: item for item in right}
    pairs = tuple((a, others[a.result.job]) for a in left if a.result.job in others)
    if not pairs:
        raise ConfigError(f"'{before}' and '{after}' have no job in common that ran in both")
    return pairs


def chosen(history: History, word: str) -> tuple[Recorded, ...]:
    """The complete results that a word means. Raises ConfigError when there are none."""
    name, _, job = word.partition(":")
    night = _night(history, name)
    results = [item for item in history.results(night) if item.status is Status.OK]
    found = [item for item in results if job in ("", item.job.name)]
    if not found:
        known = ", ".join(item.job.name for item in results) or "none"
        raise ConfigError(f"the night {night} has no complete job '{job}'; it has {known}")
    return tuple(Recorded(night, item) for item in found)


def _night(history: History, name: str) -> str:
    nights = history.nights()
    if any(night.id == name for night in nights):
        return name
    meant = _COMMIT.fullmatch(name)
    of_commit = [night for night in nights if meant and (night.revision or "").startswith(name)]
    commits = sorted({(night.revision or "").removesuffix("-dirty") for night in of_commit})
    if len(commits) > 1:
        raise ConfigError(f"'{name}' is the beginning of {' and '.join(commits)}: name one of them")
    if of_commit:
        return of_commit[-1].id
    latest = ", ".join(night.id for night in nights[-5:]) or "none"
    raise ConfigError(f"'{name}' is no night and no commit of the history; the latest are {latest}")
