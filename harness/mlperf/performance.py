"""Five timed windows on five inputs; the median inferences per second is the result."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from harness.errors import DeviceFault
from harness.mlperf.benchmarks import Benchmark
from harness.mlperf.dut import Clock, Dut, Lap, Vector
from harness.mlperf.stimuli import Stimulus
from harness.progress import Progress

WINDOWS: Final = 5
MIN_WINDOW_S: Final = 10.0
MIN_INFERENCES: Final = 10
AIM_S: Final = 11.0
"""Length that iteration counts aim at: above the least one by more than a device's jitter."""
LONGEST_COMMAND_S: Final = 25.0
"""The official runner waits 30 s for a line, so neither warm-up nor window may last longer."""
EXECUTED: Final = 10
"""Inferences of a window that an emulated board really executes; each takes the same time."""
_PROBE_S: Final = 0.2
_MOST_ITERATIONS: Final = 1_000_000
_TRIES: Final = 4


@dataclass(frozen=True, slots=True)
class Window:
    """One window. executed: inferences that ran for it; fewer than `iterations` where time is
    virtual and every inference takes the same. elapsed_us: of `iterations`."""

    file: str
    iterations: int
    executed: int
    elapsed_us: float
    vector: Vector

    @property
    def seconds(self) -> float:
        """Length of the window."""
        return self.elapsed_us / 1e6

    @property
    def throughput(self) -> float:
        """Inferences per second."""
        return self.iterations / self.seconds


@dataclass(frozen=True, slots=True)
class Performance:
    """clock: what the time is. warmups: inferences before each window, untimed."""

    clock: Clock
    iterations: int
    warmups: int
    windows: tuple[Window, ...]

    @property
    def throughput(self) -> float:
        """Median inferences per second."""
        return statistics.median(window.throughput for window in self.windows)

    @property
    def latency_ms(self) -> float:
        """The inverse of the median throughput."""
        return 1e3 / self.throughput


def measure_performance(
    dut: Dut,
    benchmark: Benchmark,
    inputs: Sequence[Stimulus],
    clock: Clock,
    *,
    aim_s: float = AIM_S,
    progress: Progress | None = None,
) -> Performance:
    """Tune the iterations to the device, then take one window on each of the first five inputs.

    aim_s: length of a window. An input with several windows (ad01) gives its first, as the
    official runner does. Raises BoardError as `Dut.measure` does.
    """
    inputs = inputs[:WINDOWS]
    inference_us = _inference_us(dut, inputs[0].windows[0], clock)
    iterations = _iterations(inference_us, aim_s)
    warmups = min(benchmark.warmups, int(LONGEST_COMMAND_S * 1e6 / inference_us))
    windows: list[Window] = []
    for stimulus in inputs:
        if clock.virtual:
            windows.append(_virtual_window(dut, stimulus, iterations))
        else:
            windows.append(_timed_window(dut, stimulus, iterations, warmups, aim_s))
            iterations = max(iterations, windows[-1].iterations)
        if progress:
            progress(len(windows), len(inputs))
    return Performance(clock, iterations, 0 if clock.virtual else warmups, tuple(windows))


def _inference_us(dut: Dut, item: bytes, clock: Clock) -> float:
    """Time of one inference, from a run long enough to be read off the device's clock."""
    iterations = 1
    while True:
        lap = dut.measure(item, iterations, 0)
        enough = lap.elapsed_us > 0 if clock.virtual else lap.elapsed_us >= _PROBE_S * 1e6
        if enough:
            return lap.elapsed_us / iterations
        if iterations >= _MOST_ITERATIONS:
            raise _still(lap)
        iterations = min(4 * iterations, _MOST_ITERATIONS)


def _still(lap: Lap) -> DeviceFault:
    return DeviceFault(
        f"{lap.iterations} inferences took {lap.elapsed_us:g} us by the device's clock: it stands "
        "still"
    )


def _timed(lap: Lap) -> Lap:
    """The lap. Raises DeviceFault when no time passed."""
    if lap.elapsed_us <= 0:
        raise _still(lap)
    return lap


def _iterations(inference_us: float, aim_s: float) -> int:
    return max(MIN_INFERENCES, math.ceil(aim_s * 1e6 / inference_us))


def _virtual_window(dut: Dut, stimulus: Stimulus, iterations: int) -> Window:
    executed = min(EXECUTED, iterations)
    lap = _timed(dut.measure(stimulus.windows[0], executed, 0))
    elapsed_us = lap.elapsed_us * iterations / executed
    return Window(stimulus.file, iterations, executed, elapsed_us, lap.vector)


def _timed_window(
    dut: Dut, stimulus: Stimulus, iterations: int, warmups: int, aim_s: float
) -> Window:
    """A window that turns out short, because the device ran faster than before, is repeated."""
    least_us = min(aim_s, MIN_WINDOW_S) * 1e6
    for _ in range(_TRIES):
        lap = _timed(dut.measure(stimulus.windows[0], iterations, warmups))
        if lap.elapsed_us >= least_us:
            break
        iterations = _iterations(lap.elapsed_us / iterations, aim_s)
    return Window(stimulus.file, lap.iterations, lap.iterations, lap.elapsed_us, lap.vector)
