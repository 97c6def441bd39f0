"""How far a measured latency is off the estimate, in one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def against_estimate(report: Mapping[str, Any]) -> str | None:
    """The sentence, or None when nothing was measured on a board's NPU."""
    latency, estimate = report["latency"], report.get("estimate")
    micros = latency["median_us"]
    measured = latency["source"] == "board" and "npu" in report["backend"].lower()
    if not measured or micros is None or estimate is None:
        return None
    time = estimate["device_time"]
    low, high = time["low_us"], time["high_us"]
    if low <= micros <= high:
        place = "within the band"
    else:
        edge = low if micros < low else high
        place = f"{abs(micros - edge):,.0f} us outside the band"
    off = 100 * (micros - time["us"]) / time["us"]
    return (
        f"measured {micros:,.0f} us is {off:+.1f} % off the {time['label']}, {place} of "
        f"{low:,.0f} to {high:,.0f} us"
    )
