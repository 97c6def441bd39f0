"""Differences of deterministic metrics: any difference is a change; a tolerance forgives a small
worsening. The layers say where a total comes from."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from harness.history import Kind, Metric, Value, Verdict
from harness.regression.direction import verdict

Metrics = Mapping[str, Metric]

ABSENT: Final = "absent"
"""The value of a metric that one side lacks."""

_LAYER: Final = re.compile(r"layer\.(\d+)\.(.+)")
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_TOTALS: Final = {"estimate.cycles": "cycles", "emulated.instructions": "instructions"}
"""Totals that the layers explain, and the layers' word for them."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One metric that differs. relative: change as a share of `before`, None for texts and 0."""

    metric: str
    before: Value
    after: Value
    unit: str
    verdict: Verdict
    forgiven: bool = False

    @property
    def relative(self) -> float | None:
        """See the class."""
        if isinstance(self.before, str) or isinstance(self.after, str) or not self.before:
            return None
        return (self.after - self.before) / self.before

    @property
    def text(self) -> str:
        """`1000 -> 1010 cycles (+1.00 %)`; hashes are cut."""
        share = "" if self.relative is None else f" ({self.relative:+.2%})"
        unit = f" {self.unit}" if self.unit else ""
        return f"{shown(self.before)} -> {shown(self.after)}{unit}{share}"


@dataclass(frozen=True, slots=True)
class LayerShare:
    """A layer's part in the change of a total. before, after: 0 where a side lacks the layer."""

    index: int
    op: str
    before: int
    after: int


def differences(
    before: Metrics, after: Metrics, tolerance: Callable[[str], float] = lambda _: 0.0
) -> tuple[Difference, ...]:
    """Every exact metric that differs, by name. tolerance: forgiven worsening, as a share."""
    found = []
    for name in sorted({*before, *after}):
        left, right = before.get(name), after.get(name)
        if any(side is not None and side.kind is not Kind.EXACT for side in (left, right)):
            continue
        values = tuple(ABSENT if side is None else side.value for side in (left, right))
        if values[0] != values[1]:
            unit = (left or right or _NOTHING).unit
            found.append(_difference(name, values[0], values[1], unit, tolerance(name)))
    return tuple(found)


def totals(found: tuple[Difference, ...]) -> tuple[Difference, ...]:
    """The differences without those of single layers."""
    return tuple(item for item in found if not _LAYER.fullmatch(item.metric))


def first_checksum(found: tuple[Difference, ...]) -> Difference | None:
    """The first layer whose values differ while both sides have it."""
    sums = (item for item in found if item.metric.startswith("layer.") and _is_checksum(item))
    return next((item for item in sums if ABSENT not in (item.before, item.after)), None)


def attribution(total: str, before: Metrics, after: Metrics) -> tuple[LayerShare, ...]:
    """The layers whose count differs, the largest change first; empty for other metrics.

    Layers are told apart by their index: after an inserted layer all later ones differ.
    """
    word = _TOTALS.get(total)
    if word is None:
        return ()
    left, right = _counts(before, word), _counts(after, word)
    shares = [
        LayerShare(index, _op(index, after, before), left.get(index, 0), right.get(index, 0))
        for index in sorted({*left, *right})
    ]
    changed = [share for share in shares if share.before != share.after]
    return tuple(sorted(changed, key=lambda share: -abs(share.after - share.before)))


def attribution_text(shares: tuple[LayerShare, ...], most: int = 3) -> str:
    """`layer 3 (conv2d) +200, layer 7 (softmax) -10 and 2 more`; empty without layers."""
    parts = [f"layer {item.index} ({item.op}) {item.after - item.before:+d}" for item in shares]
    more = f" and {len(parts) - most} more" if len(parts) > most else ""
    return ", ".join(parts[:most]) + more


def shown(value: Value) -> str:
    """A value for a sentence."""
    if isinstance(value, str):
        return value[:12]
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def condition_text(value: str) -> str:
    """A condition's value for a sentence: hashes are cut."""
    return value[:12] if _HASH.fullmatch(value) else value[:80]


_NOTHING: Final = Metric("", "", "", Kind.EXACT, "")


def _difference(name: str, before: Value, after: Value, unit: str, tolerance: float) -> Difference:
    item = Difference(name, before, after, unit, verdict(name, before, after))
    share = item.relative
    forgiven = item.verdict is Verdict.REGRESSION and share is not None and abs(share) <= tolerance
    return Difference(name, before, after, unit, item.verdict, forgiven)


def _is_checksum(item: Difference) -> bool:
    return item.metric.endswith(".sha256")


def _counts(metrics: Metrics, word: str) -> dict[int, int]:
    found = {}
    for name, metric in metrics.items():
        match = _LAYER.fullmatch(name)
        if match and match[2] == word and isinstance(metric.value, int):
            found[int(match[1])] = metric.value
    return found


def _op(index: int, *sides: Metrics) -> str:
    name = f"layer.{index:03d}.op"
    return next((str(side[name].value) for side in sides if name in side), "?")
