"""Windows: iteration counts are tuned to the device, short windows repeated, virtual ones not
waited for. The device is a script."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from harness.errors import DeviceFault
from harness.mlperf.benchmarks import BENCHMARKS
from harness.mlperf.dut import Clock, Lap, Vector
from harness.mlperf.performance import measure_performance
from harness.mlperf.stimuli import random_stimuli
from harness.progress import Progress

IC = BENCHMARKS["ic01"]
INPUTS = random_stimuli(IC, 7).items


@dataclass
class ScriptedDut:
    """time_us: of one inference, by the number of the call."""

    time_us: Callable[[int], float]
    log: list[str] = field(default_factory=list)
    calls: list[tuple[bytes, int, int]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return "scripted"

    def measure(self, item: bytes, iterations: int, warmups: int) -> Lap:
        self.calls.append((item, iterations, warmups))
        return Lap(iterations, iterations * self.time_us(len(self.calls)), (1.0,))

    def answer(self, items: Sequence[bytes], progress: Progress | None = None) -> list[Vector]:
        raise NotImplementedError

    def close(self) -> None:
        """Nothing to release."""


def test_five_windows_on_five_inputs_of_eleven_seconds() -> None:
    dut = ScriptedDut(lambda _: 20_000.0)
    done = measure_performance(dut, IC, INPUTS, Clock.MEASURED)
    assert [window.file for window in done.windows] == [item.file for item in INPUTS[:5]]
    assert [item for item, _, _ in dut.calls[-5:]] == [item.windows[0] for item in INPUTS[:5]]
    assert {window.iterations for window in done.windows} == {550}
    assert done.warmups == 5
    assert done.windows[0].seconds == pytest.approx(11.0)
    assert done.throughput == pytest.approx(50.0)
    assert done.latency_ms == pytest.approx(20.0)


def test_the_median_is_the_result() -> None:
    times = {-5: 20.0, -4: 21.0, -3: 25.0, -2: 20.5, -1: 40.0}
    done = measure_performance(
        ScriptedDut(lambda call: 1e3 * (20.0 if call <= 3 else times[call - 9])),
        IC,
        INPUTS,
        Clock.MEASURED,
    )
    assert done.throughput == pytest.approx(1e3 / 21.0)


def test_a_slow_device_has_ten_inferences_and_few_warmups() -> None:
    done = measure_performance(ScriptedDut(lambda _: 9e6), IC, INPUTS, Clock.MEASURED)
    assert done.windows[0].iterations == 10
    assert done.warmups == 2  # 18 s, below the 30 s that the official runner waits for a line
    assert done.windows[0].seconds == 90.0


def test_a_short_window_is_repeated_with_more_inferences() -> None:
    """The device was slow when it was probed and then doubles its speed."""
    dut = ScriptedDut(lambda call: 20_000.0 if call <= 3 else 10_000.0)
    done = measure_performance(dut, IC, INPUTS, Clock.MEASURED)
    assert all(window.seconds >= 10.0 for window in done.windows)
    assert [iterations for _, iterations, _ in dut.calls[3:]] == [550, 1100, 1100, 1100, 1100, 1100]


def test_a_device_that_never_keeps_its_pace_ends_all_the_same() -> None:
    dut = ScriptedDut(lambda call: 1e6 / 3**call)
    done = measure_performance(dut, IC, INPUTS, Clock.MEASURED)
    assert done.windows[0].seconds < 10.0
    assert len(dut.calls) <= 1 + 5 * 4


def test_a_clock_that_stands_still() -> None:
    for clock in (Clock.MEASURED, Clock.EMULATED):
        with pytest.raises(DeviceFault, match="stands still"):
            measure_performance(ScriptedDut(lambda _: 0.0), IC, INPUTS, clock)


def test_a_clock_that_stops_on_the_way() -> None:
    dut = ScriptedDut(lambda call: 20_000.0 if call <= 4 else 0.0)
    with pytest.raises(DeviceFault, match="550 inferences took 0 us"):
        measure_performance(dut, IC, INPUTS, Clock.MEASURED)


def test_virtual_windows_run_ten_inferences_and_say_so() -> None:
    dut = ScriptedDut(lambda _: 122_362.0)
    done = measure_performance(dut, IC, INPUTS, Clock.EMULATED)
    window = done.windows[0]
    assert (window.iterations, window.executed) == (90, 10)
    assert window.seconds == pytest.approx(90 * 0.122362)
    assert max(iterations for _, iterations, _ in dut.calls) == 10
    assert done.warmups == 0


def test_a_window_of_another_length() -> None:
    done = measure_performance(
        ScriptedDut(lambda _: 20_000.0), IC, INPUTS, Clock.MEASURED, aim_s=1.0
    )
    assert done.windows[0].iterations == 50
