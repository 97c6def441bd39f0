"""How often the latency gates raise a false alarm, and which slow-downs they find.

    python benchmarks/regression_power.py [--nights N] [--rounds N] [--seed S]

Simulated nights: lognormal noise (0.3 %), 2 % of outliers (up to 30 % slower), every start of the
firmware at a level of its own (0.1 %), every night too (0.3 %), and a drift within the night (up to
0.5 % in either direction). Resampled nights: consecutive rounds of the firmware as a process of
this machine (`host`), measured now, with the slow-down multiplied onto one side. Both say what the
gates do with such noise; neither is a measurement of a board.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.nightly.latency import BASELINE, CANDIDATE, order
from harness.regression.change_points import change_points
from harness.regression.two_sample import PAST_NIGHTS, against_past, confirmed, median_us, shift

FloatArray = npt.NDArray[np.float64]
SLOW_DOWNS = (0.0, 0.005, 0.01, 0.02, 0.05)
ROUNDS, INPUTS, BASE_US = 6, 20, 1000.0
NIGHTS_AFTER = 15
BEFORE = 30


@dataclass(frozen=True, slots=True)
class Night:
    """The rounds of a night: first measurement and re-run, [2 * side][round][input]."""

    candidate: FloatArray
    baseline: FloatArray
    again_candidate: FloatArray
    again_baseline: FloatArray


Draw = Callable[[np.random.Generator, float], Night]


def simulated(random: np.random.Generator, slow_down: float) -> Night:
    """A night with made-up noise; the candidate is slower by `slow_down`."""
    night = random.normal(0.0, 0.003)
    slope = random.uniform(-0.005, 0.005)
    sides = order(ROUNDS, with_baseline=True)
    rounds = []
    for number in range(2 * len(sides)):
        level = night + random.normal(0.0, 0.001) + slope * number / (2 * len(sides))
        values = random.normal(level, 0.003, INPUTS)
        outliers = random.random(INPUTS) < 0.02
        values[outliers] += random.uniform(0.0, 0.3, int(outliers.sum()))
        rounds.append(BASE_US * np.exp(values))
    return _split(np.array(rounds), slow_down)


def resampled(measured: FloatArray) -> Draw:
    """Nights from consecutive measured rounds. measured: us, [rounds][inputs]."""

    def draw(random: np.random.Generator, slow_down: float) -> Night:
        size = 4 * ROUNDS
        start = int(random.integers(0, len(measured) - size + 1))
        return _split(measured[start : start + size], slow_down)

    return draw


def _split(rounds: FloatArray, slow_down: float) -> Night:
    sides = np.array(order(ROUNDS, with_baseline=True))
    first, again = rounds[: len(sides)], rounds[len(sides) :]
    factor = 1.0 + slow_down
    return Night(
        candidate=first[sides == CANDIDATE] * factor,
        baseline=first[sides == BASELINE],
        again_candidate=again[sides == CANDIDATE] * factor,
        again_baseline=again[sides == BASELINE],
    )


def measure_host(rounds: int) -> FloatArray:
    """Rounds of the embedded model on the `host` firmware, us, [rounds][inputs]."""
    from harness.board import load_boards
    from harness.layout import to_program
    from harness.nightly.images import keep_image
    from harness.nightly.latency import Reach, measure
    from harness.run import RunRequest, prepare

    prepared = prepare(RunRequest(limit=INPUTS))
    maps = to_program(prepared.dataset.inputs, prepared.program.input_dims, transposed=False)
    reach = Reach(load_boards()["host"])
    with tempfile.TemporaryDirectory() as folder:
        image = keep_image(reach.board, prepared.program, Path(folder) / "image")
        return np.array(measure(reach, image, None, maps, rounds).candidate)


def with_image(night: Night) -> tuple[bool, bool]:
    """(alert of the first measurement alone, alert after the re-run)."""
    first = shift(night.baseline.tolist(), night.candidate.tolist())
    again = shift(night.again_baseline.tolist(), night.again_candidate.tolist())
    return first.alerts(), confirmed(first, again)


def without_image(past: Sequence[Night], night: Night) -> tuple[bool, bool]:
    """The same against the last nights, with no baseline image."""
    rounds = [item.baseline.tolist() for item in past]
    first, limits = against_past(rounds, night.candidate.tolist())
    again, _ = against_past(rounds, night.again_candidate.tolist())
    return first.alerts(limits), confirmed(first, again, limits)


def rates(
    draw: Draw, nights: int, slow_down: float, seed: int, *, image: bool
) -> tuple[float, float]:
    """Shares of nights with an alert: first measurement alone, and with the re-run."""
    random = np.random.default_rng(seed)
    alerts = []
    past = [draw(random, 0.0) for _ in range(PAST_NIGHTS)]
    for _ in range(nights):
        night = draw(random, slow_down)
        alerts.append(with_image(night) if image else without_image(past, night))
        past = [*past[1:], draw(random, 0.0)]
    first, after = np.mean(np.array(alerts, float), axis=0)
    return float(first), float(after)


def level_alarms(draw: Draw, nights: int, seed: int) -> int:
    """Change points that a history without any change reports in so many nights."""
    random = np.random.default_rng(seed)
    values: list[float] = []
    seen: list[int] = []
    for _ in range(nights):
        values.append(median_us(draw(random, 0.0).candidate.tolist()))
        for point in change_points(values):
            if all(abs(point.index - index) > 3 for index in seen):
                seen.append(point.index)
    return len(seen)


def level_found(draw: Draw, trials: int, slow_down: float, seed: int) -> tuple[float, float]:
    """Share of slow-downs that the history shows within 15 nights, and the median delay."""
    delays = []
    for trial in range(trials):
        random = np.random.default_rng((seed, trial))
        levels = [0.0] * BEFORE + [slow_down] * NIGHTS_AFTER
        values = [median_us(draw(random, level).candidate.tolist()) for level in levels]
        found = (
            count
            for count in range(1, NIGHTS_AFTER + 1)
            if any(abs(p.index - BEFORE) <= 3 for p in change_points(values[: BEFORE + count]))
        )
        delays.append(next(found, 0))
    hits = [delay for delay in delays if delay]
    return len(hits) / trials, float(np.median(hits)) if hits else float("nan")


def report(name: str, draw: Draw, nights: int, seed: int) -> None:
    """Print one table."""
    print(f"\n{name}: {nights} nights for each figure, seed {seed}")
    print("slow-down   image: first / confirmed   past nights: first / confirmed   new level")
    for slow_down in SLOW_DOWNS:
        image = rates(draw, nights, slow_down, seed, image=True)
        past = rates(draw, nights, slow_down, seed, image=False)
        if slow_down:
            share, delay = level_found(draw, max(20, nights // 10), slow_down, seed)
            level = f"{share:7.1%} ({delay:g} nights)"
        else:
            level = f"{level_alarms(draw, nights, seed)} alarms in {nights} nights"
        print(
            f"{slow_down:9.1%}   {image[0]:12.2%} / {image[1]:8.2%}   "
            f"{past[0]:18.2%} / {past[1]:8.2%}   {level}"
        )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--nights", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=600, help="measured rounds; 0: only simulate")
    parser.add_argument("--seed", type=int, default=1)
    words = parser.parse_args()
    report("simulated", simulated, words.nights, words.seed)
    if words.rounds:
        measured = measure_host(words.rounds)
        medians = np.median(measured, axis=1)
        print(
            f"\nhost: {words.rounds} rounds of {INPUTS} inferences, median "
            f"{np.median(medians):.0f} us, rounds' medians scatter by {np.std(np.log(medians)):.2%}"
        )
        report("resampled from the host", resampled(measured), words.nights, words.seed)


if __name__ == "__main__":
    main()
