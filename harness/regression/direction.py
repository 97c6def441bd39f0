"""Which way a metric gets better."""

from __future__ import annotations

from typing import Final

from harness.history import Value, Verdict

_MORE_IS_BETTER: Final = ("agreement.top1", "agreement.exact", "accuracy.device")
_LESS_IS_BETTER: Final = (
    "agreement.max_lsb",
    "program.bytes",
    "memory.",
    "estimate.",
    "emulated.",
    "vendor.",
    "latency.",
)


def direction(metric: str) -> int:
    """1 when more is better, -1 when less is, 0 for what is only equal or not."""
    if metric.startswith(_MORE_IS_BETTER):
        return 1
    counts = metric.startswith("layer.") and metric.endswith(("cycles", "instructions"))
    return -1 if counts or metric.startswith(_LESS_IS_BETTER) else 0


def verdict(metric: str, before: Value, after: Value) -> Verdict:
    """What a difference of this metric means."""
    way = direction(metric)
    if not way or isinstance(before, str) or isinstance(after, str):
        return Verdict.CHANGED
    return Verdict.IMPROVEMENT if (after - before) * way > 0 else Verdict.REGRESSION
