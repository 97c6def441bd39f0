"""The line through one's own measurements, and its file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.calibration import (
    FEW_BAND,
    LEAST_BAND,
    Calibration,
    Line,
    Measurement,
    file_of,
    fit,
    load,
    merged,
    store,
)
from harness.errors import ConfigError

CLOCK = 128_000_000


def at(cycles: int, us: float, name: str = "") -> Measurement:
    return Measurement(name or str(cycles), "m", cycles, us)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


def test_a_line_is_found_again() -> None:
    points = [at(c, 1.25 * c / 128 + 40) for c in (1280, 128_000, 1_280_000)]
    line = fit(points, CLOCK, 60.0)
    assert line.scale == pytest.approx(1.25)
    assert line.launch_us == pytest.approx(40)
    assert line.relative_band == LEAST_BAND
    assert line.time_us(128_000, CLOCK) == pytest.approx(1290)


def test_one_program_moves_the_scale_only() -> None:
    line = fit([at(128_000, 1260)], CLOCK, 60.0)
    assert line.scale == pytest.approx(1.2)
    assert (line.launch_us, line.relative_band) == (60.0, FEW_BAND)
    assert fit([at(1280, 20.0)], CLOCK, 60.0).launch_us == 10.0


def test_the_launch_is_never_negative() -> None:
    line = fit([at(128_000, 900), at(1_280_000, 11_000)], CLOCK, 60.0)
    assert line.launch_us == 0.0
    assert 0.9 < line.scale < 1.1
    assert line.relative_band > FEW_BAND


def test_absurd_times_are_refused() -> None:
    with pytest.raises(ConfigError, match="is the clock 128 MHz"):
        fit([at(128_000, 90_000)], CLOCK, 60.0)
    with pytest.raises(ConfigError, match="nothing to calibrate with"):
        fit([], CLOCK, 60.0)


def test_a_new_measurement_replaces_the_same_program() -> None:
    assert merged([at(1, 5, "a"), at(2, 6, "b")], [at(1, 7, "a")]) == (at(1, 7, "a"), at(2, 6, "b"))


def test_file_and_back() -> None:
    kept = Calibration("nrf54lm20dk", (at(128_000, 1260.5),), Line(1.2, 60.0, 0.03))
    assert load("nrf54lm20dk") is None
    path = store(kept)
    assert path == file_of("nrf54lm20dk")
    assert load("nrf54lm20dk") == kept


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 2},
        {"board": "other"},
        {"line": {"scale": -1, "launch_us": 0, "relative_band": 0}},
        {"line": {"scale": 1}},
        {"line": []},
        {"measurements": [{"program_sha256": "", "model": "", "npu_cycles": 0, "us": 1}]},
        {"measurements": [{}]},
        {"measurements": 3},
    ],
)
def test_damaged_files_are_refused(change: dict[str, object]) -> None:
    path = store(Calibration("b", (at(1, 1.0),), Line(1.0, 1.0, 0.1)))
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ConfigError, match="remove it and calibrate again"):
        load("b")


@pytest.mark.parametrize("name", ["../x", "", "A b", "x" * 65, "/etc/passwd"])
def test_board_names_are_no_paths(name: str) -> None:
    with pytest.raises(ConfigError, match="no board name"):
        load(name)


def test_without_a_home_nothing_is_calibrated(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("no home")

    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setattr(Path, "home", no_home)
    assert load("sim") is None
    with pytest.raises(ConfigError, match="set XDG_CONFIG_HOME"):
        store(Calibration("sim", (), Line(1.0, 1.0, 0.1)))
