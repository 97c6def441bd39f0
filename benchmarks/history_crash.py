"""Kill the history's writers at random and count what is missing; then time reading and writing.

    python benchmarks/history_crash.py [--kills N] [--writers N] [--seed S]

Each writer appends results of 40 metrics and says so after each. The count at the end must be: no
acknowledged result missing, none doubled.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness.history import Job, Kind, Metric, Night, Result, Samples, Status, open_history

NIGHT = Night("n", "2026-01-01T00:00:00+00:00", "h", "c", "m", {})
METRICS, NIGHTS, JOBS = 40, 200, 20


def result(job: Job, value: int) -> Result:
    """A result of 40 metrics."""
    metrics = tuple(
        Metric(f"m{k:02d}", value + k, "cycles", Kind.EXACT, "sim") for k in range(METRICS)
    )
    return Result(job, Status.OK, "now", source="sim", metrics=metrics)


def write_forever(path: Path, writer: int, first: int) -> None:
    """Append results and print the number of each that is stored."""
    with open_history(path) as history:
        for number in range(first, 1 << 30):
            history.record(NIGHT.id, result(Job(f"j{number}", f"w{writer}", "int8"), number))
            print(number, flush=True)


def start(path: Path, writer: int, first: int) -> subprocess.Popen[str]:
    """A writer as a process of its own."""
    command = [sys.executable, __file__, "--write", str(path), str(writer), str(first)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def crash(path: Path, writers: int, kills: int, seed: int) -> None:
    """Kill and restart writers at random; print what was acknowledged and what is there."""
    source = random.Random(seed)  # noqa: S311  # which writer dies when is no secret
    with open_history(path, create=True) as history:
        history.begin(NIGHT)
    running = {number: start(path, number, 0) for number in range(writers)}
    acknowledged: dict[int, set[int]] = {number: set() for number in running}
    for kill in range(kills):
        time.sleep(source.uniform(0.3, 1.0))
        victims = list(running) if kill == kills - 1 else [source.randrange(writers)]
        for number in victims:
            running[number].kill()
            out, _ = running[number].communicate()
            acknowledged[number] |= {int(word) for word in out.split("\n")[:-1]}
            first = max(acknowledged[number], default=-1) + 1
            if kill < kills - 1:
                running[number] = start(path, number, first)
    with open_history(path) as history:
        found = [(item.job.board, item.job.model) for item in history.results(NIGHT.id)]
        whole = sum(len(item.metrics) == METRICS for item in history.results(NIGHT.id))
    told = {(f"w{n}", f"j{k}") for n, numbers in acknowledged.items() for k in numbers}
    print(
        f"{writers} writers, {kills} kills, seed {seed}: {len(told)} acknowledged, "
        f"{len(told - set(found))} missing, {len(found) - len(set(found))} doubled, "
        f"{len(found) - whole} torn, {len(set(found) - told)} stored but killed before they said so"
    )


def load(path: Path) -> None:
    """Time 200 nights of 20 jobs."""
    begun = time.perf_counter()
    with open_history(path, create=True) as history:
        for number in range(NIGHTS):
            night = f"n{number:03d}"
            history.begin(Night(night, night, "h", "c", "m", {}))
            for k in range(JOBS):
                samples = Samples("latency.us", "candidate-00", "us", (float(number),) * 20)
                history.record(night, result(Job(f"j{k}", "sim", "int8"), number), [samples])
            history.finish(night, night, [])
        written = time.perf_counter()
        points = sum(
            len(history.series(job, metric))
            for job in history.jobs()
            for metric in ("m00", "m01", "m02")
        )
        read = time.perf_counter()
    count = NIGHTS * JOBS
    print(
        f"{NIGHTS} nights of {JOBS} jobs: {path.stat().st_size / 1e6:.1f} MB, "
        f"{(written - begun) / count * 1e3:.1f} ms for each result, "
        f"{points} points of 60 series read in {read - written:.2f} s"
    )


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--writers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", nargs=3, help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.write:
        write_forever(Path(words.write[0]), int(words.write[1]), int(words.write[2]))
        return
    with tempfile.TemporaryDirectory() as folder:
        crash(Path(folder) / "crash.db", words.writers, words.kills, words.seed)
        load(Path(folder) / "load.db")


if __name__ == "__main__":
    main()
