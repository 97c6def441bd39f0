"""Device time from NPU cycles, refined by what was measured on the user's own board.

    time = cycles * scale / clock + launch

Without own measurements the figures of `compiler.load_arch` hold. Own measurements are kept per
board in `$XDG_CONFIG_HOME/axonrig/calibration` (`~/.config` by default), one JSON file each.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from harness.artefacts import json_bytes, write_bytes
from harness.errors import ConfigError

SCHEMA: Final = 1
LEAST_BAND: Final = 0.01
"""A board repeats itself no better than this from run to run."""
FEW_BAND: Final = 0.03
"""Band of a line through fewer points than would show its error."""
_FEW: Final = 3
_BOARD: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_SCALES: Final = (0.2, 5.0)


@dataclass(frozen=True, slots=True)
class Measurement:
    """One program on one board. us: median measured time of an inference."""

    program_sha256: str
    model: str
    npu_cycles: int
    us: float


@dataclass(frozen=True, slots=True)
class Line:
    """time in us = cycles * scale / clock + launch_us, within `relative_band` of it."""

    scale: float
    launch_us: float
    relative_band: float

    def time_us(self, cycles: int, clock_hz: int) -> float:
        """Device time of `cycles`."""
        return cycles * self.scale * 1e6 / clock_hz + self.launch_us


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a board measured, and the line through it."""

    board: str
    measurements: tuple[Measurement, ...]
    line: Line


def fit(measurements: Sequence[Measurement], clock_hz: int, launch_us: float) -> Line:
    """The line that makes the relative errors smallest (least squares).

    With fewer than two different programs the launch time stays `launch_us` and only the scale is
    fitted. Raises ConfigError without measurements, or when the scale is not within 0.2 to 5: then
    the figures are of another clock or another program.
    """
    if not measurements:
        raise ConfigError("there is nothing to calibrate with; give at least one result folder")
    ideal = [item.npu_cycles * 1e6 / clock_hz for item in measurements]
    times = [item.us for item in measurements]
    if len({item.npu_cycles for item in measurements}) < 2:
        launch = min(launch_us, 0.5 * min(times))
        scale = _mean([(t - launch) / x for x, t in zip(ideal, times, strict=True)])
    else:
        scale, launch = _weighted_line(ideal, times)
    if not _SCALES[0] <= scale <= _SCALES[1]:
        raise ConfigError(
            f"measured times are {scale:.3g} times the estimated ones; expected "
            f"{_SCALES[0]:g} to {_SCALES[1]:g}: is the clock {clock_hz / 1e6:g} MHz, and did the "
            "NPU run these programs?"
        )
    errors = [abs(scale * x + launch - t) / t for x, t in zip(ideal, times, strict=True)]
    least = FEW_BAND if len(measurements) < _FEW else LEAST_BAND
    return Line(scale, launch, max(least, 2 * math.sqrt(_mean([e * e for e in errors]))))


def _weighted_line(ideal: Sequence[float], times: Sequence[float]) -> tuple[float, float]:
    """Minimise sum(((scale * x + launch) / t - 1)^2), launch at least 0."""
    a = [x / t for x, t in zip(ideal, times, strict=True)]
    b = [1 / t for t in times]
    aa, ab, bb = _dot(a, a), _dot(a, b), _dot(b, b)
    determinant = aa * bb - ab * ab
    launch = (aa * sum(b) - ab * sum(a)) / determinant if determinant > 0 else 0.0
    if launch <= 0:
        return sum(a) / aa, 0.0
    return (sum(a) - launch * ab) / aa, launch


def _dot(left: Sequence[float], right: Sequence[float]) -> float:
    return sum(x * y for x, y in zip(left, right, strict=True))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def merged(old: Iterable[Measurement], new: Iterable[Measurement]) -> tuple[Measurement, ...]:
    """Both, a new one in place of an old one of the same program."""
    found = {item.program_sha256: item for item in (*old, *new)}
    return tuple(found.values())


def file_of(board: str) -> Path:
    """The file of a board's calibration.

    Raises ConfigError for a name that is no board's, and where there is no home folder.
    """
    if not _BOARD.fullmatch(board):
        raise ConfigError(f"'{board[:80]}' is no board name; 'axonrig boards' lists them")
    base = os.environ.get("XDG_CONFIG_HOME")
    try:
        folder = Path(base) if base else Path.home() / ".config"
    except RuntimeError as error:
        raise ConfigError("there is no home folder: set XDG_CONFIG_HOME") from error
    return folder / "axonrig" / "calibration" / f"{board}.json"


def load(board: str) -> Calibration | None:
    """A board's calibration, None when there is none. Raises ConfigError for a damaged file."""
    path = _readable_file(board)
    if path is None:
        return None
    try:
        content = json.loads(path.read_bytes())
        if content["schema"] != SCHEMA or content["board"] != board:
            raise ValueError("another schema or board")
        measurements = tuple(_measurement(item) for item in content["measurements"])
        line = Line(**{key: _number(value, key) for key, value in content["line"].items()})
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise ConfigError(f"{path} is damaged ({error}): remove it and calibrate again") from error
    return Calibration(board, measurements, line)


def _readable_file(board: str) -> Path | None:
    """Nothing is calibrated where there is no home, and a run needs none."""
    if not os.environ.get("XDG_CONFIG_HOME"):
        try:
            Path.home()
        except RuntimeError:
            return None
    path = file_of(board)
    return path if path.is_file() else None


def store(calibration: Calibration) -> Path:
    """Write a board's calibration; return the file. Raises ConfigError when it cannot be."""
    path = file_of(calibration.board)
    content = {
        "schema": SCHEMA,
        "board": calibration.board,
        "line": asdict(calibration.line),
        "measurements": [asdict(item) for item in calibration.measurements],
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, json_bytes(content))
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error
    return path


def _measurement(item: dict[str, Any]) -> Measurement:
    cycles, us = _number(item["npu_cycles"], "npu_cycles"), _number(item["us"], "us")
    if cycles < 1 or us <= 0:
        raise ValueError(f"a measurement of {cycles} cycles in {us} us")
    return Measurement(str(item["program_sha256"]), str(item["model"]), int(cycles), us)


def _number(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e15:
        raise ValueError(f"{name} is {value!r}")
    return float(value)
