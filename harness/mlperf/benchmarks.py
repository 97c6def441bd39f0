"""The benchmarks as data: what an input is, what counts as right, which rule asks for it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from harness.errors import ConfigError


class Metric(Enum):
    """How a benchmark's accuracy is counted; the value is the word of the results files."""

    TOP1 = "top-1"
    AUC = "auc"


class Conversion(Enum):
    """How the device makes int8 codes of an item's bytes (docs/protocol.md, profiles)."""

    AS_IS = "int8"
    PIXELS = "uint8 minus 128"
    FLOATS = "float32, quantized"


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One benchmark of the suite.

    name: the profile that the device reports, also the folder of its data. folder: its name in a
    submission. item_bytes: of one inference. classes: that the labels file states. target: least
    accuracy in the closed division, in percent for top-1. warmups: of the official runner's
    performance script, before each window.
    """

    name: str
    folder: str
    title: str
    item_bytes: int
    conversion: Conversion
    classes: int
    metric: Metric
    target: float
    warmups: int
    short_names: tuple[str, ...]

    @property
    def reconstructs(self) -> bool:
        """Whether the result is the error of a reconstruction, one number per window."""
        return self.conversion is Conversion.FLOATS


_ALL: Final = (
    Benchmark(
        "ic01", "ic", "image classification", 3072, Conversion.PIXELS, 10, Metric.TOP1, 85.0, 5,
        ("ic", "ic01"),
    ),
    Benchmark(
        "kws01", "kws", "keyword spotting", 490, Conversion.AS_IS, 12, Metric.TOP1, 90.0, 10,
        ("kws", "kws01"),
    ),
    Benchmark(
        "vww01", "vww", "visual wake words", 27648, Conversion.PIXELS, 2, Metric.TOP1, 80.0, 5,
        ("vww", "vww01"),
    ),
    Benchmark(
        "ad01", "ad", "anomaly detection", 2560, Conversion.FLOATS, 2, Metric.AUC, 0.85, 10,
        ("ad", "ad01"),
    ),
)  # fmt: skip
BENCHMARKS: Final = {item.name: item for item in _ALL}


def select_benchmarks(text: str) -> tuple[Benchmark, ...]:
    """The benchmarks of a comma-separated list, or all. Raises ConfigError for an unknown name."""
    if text == "all":
        return _ALL
    found = []
    for name in text.split(","):
        if name.strip() not in BENCHMARKS:
            known = ", ".join(BENCHMARKS)
            raise ConfigError(f"unknown benchmark '{name.strip()[:40]}'; known are {known} and all")
        found.append(BENCHMARKS[name.strip()])
    return tuple(dict.fromkeys(found))
