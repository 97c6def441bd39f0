"""How often the device is right on a benchmark's inputs, counted as the official runner does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.errors import ConfigError
from harness.mlperf.benchmarks import Benchmark, Metric
from harness.mlperf.dut import Dut, Vector
from harness.mlperf.metrics import (
    Interval,
    auc,
    auc_interval,
    auc_one_against_rest,
    normalized,
    wilson,
)
from harness.mlperf.stimuli import StimulusSet
from harness.progress import Progress


@dataclass(frozen=True, slots=True)
class Answer:
    """One file: its vectors, one per window, and their mean, which is judged."""

    file: str
    label: int
    vectors: tuple[Vector, ...]

    @property
    def mean(self) -> Vector:
        """The mean over the windows."""
        return tuple(float(value) for value in np.mean(self.vectors, axis=0))


@dataclass(frozen=True, slots=True)
class Accuracy:
    """value: percent for top-1, 0..1 for AUC; interval in the same unit.

    correct: files of the right class, None for AUC. auc: as the runner prints it; None when a
    class is missing.
    """

    metric: Metric
    value: float
    interval: Interval
    correct: int | None
    auc: float | None
    answers: tuple[Answer, ...]

    @property
    def samples(self) -> int:
        """Files judged."""
        return len(self.answers)


def measure_accuracy(
    dut: Dut, benchmark: Benchmark, stimuli: StimulusSet, progress: Progress | None = None
) -> Accuracy:
    """Infer every window of every file once and judge the answers.

    Raises BoardError as `Dut.answer` does, ConfigError when the answers cannot be judged.
    """
    items = [window for stimulus in stimuli.items for window in stimulus.windows]
    vectors = dut.answer(items, progress)
    answers = []
    at = 0
    for stimulus in stimuli.items:
        own = tuple(vectors[at : at + len(stimulus.windows)])
        answers.append(Answer(stimulus.file, stimulus.label, own))
        at += len(own)
    return judge(benchmark, answers)


def judge(benchmark: Benchmark, answers: list[Answer]) -> Accuracy:
    """The benchmark's metric over the answers. Raises ConfigError when it is not defined."""
    labels = np.array([answer.label for answer in answers])
    results = np.array([answer.mean for answer in answers])
    wanted = 1 if benchmark.reconstructs else benchmark.classes
    if results.shape[1] != wanted:
        raise ConfigError(
            f"the model gives {results.shape[1]} results; {benchmark.name} has {wanted}"
        )
    if benchmark.metric is Metric.AUC:
        area = auc(results[:, 0], labels == 1)
        interval = auc_interval(results[:, 0], labels == 1)
        return Accuracy(Metric.AUC, area, interval, None, area, tuple(answers))
    shares = normalized(results)
    correct = int((shares.argmax(axis=1) == labels).sum())
    share = wilson(correct, len(answers))
    return Accuracy(
        Metric.TOP1,
        100 * correct / len(answers),
        Interval(100 * share.low, 100 * share.high, share.method),
        correct,
        auc_one_against_rest(shares, labels),
        tuple(answers),
    )
