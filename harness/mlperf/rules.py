"""The rules that a result must meet, one function each, with the place that states them.

`RULES` is the text of Rules 1.2 (MLPerfTiny_Rules.adoc, its section numbers); `RUNNER` is the
official runner in benchmark/runner; `DATA` is benchmark/evaluation/datasets/README.md, all of
mlcommons/tiny; `EEMBC` is the README of eembc/energyrunner, which the runner replaces.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from harness.mlperf.accuracy import Accuracy
from harness.mlperf.benchmarks import Benchmark, Metric
from harness.mlperf.dut import Clock
from harness.mlperf.performance import MIN_INFERENCES, MIN_WINDOW_S, WINDOWS, Performance
from harness.mlperf.stimuli import StimulusSet

RULES: Final = "MLPerf Tiny Inference Rules 1.2"
RUNNER: Final = "mlcommons/tiny, benchmark/runner"
DATA: Final = "mlcommons/tiny, benchmark/evaluation/datasets/README.md"
EEMBC: Final = "eembc/energyrunner, README"


class Verdict(Enum):
    """Result of a rule."""

    MET = "met"
    NOT_MET = "not met"
    NOT_APPLICABLE = "not applicable"
    ESTIMATE = "not applicable to an estimate"


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule's result. decides: whether "not met" makes the whole run's answer a no."""

    rule: str
    text: str
    citation: str
    verdict: Verdict
    evidence: str
    decides: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """What the rules judge. performance, accuracy: None when that mode did not run."""

    benchmark: Benchmark
    stimuli: StimulusSet
    clock: Clock
    published_model: bool
    program_sha256: str
    performance: Performance | None
    accuracy: Accuracy | None


def check_rules(facts: Facts) -> tuple[Finding, ...]:
    """Every rule in the order of the rules document."""
    return tuple(check(facts) for check in _CHECKS)


def _verdict(met: bool) -> Verdict:
    return Verdict.MET if met else Verdict.NOT_MET


def _timed(clock: Clock, met: bool) -> Verdict:
    return Verdict.ESTIMATE if clock is Clock.ESTIMATED else _verdict(met)


_NO_PERFORMANCE: Final = "performance mode did not run"
_NO_ACCURACY: Final = "accuracy mode did not run"


def _windows(facts: Facts) -> Finding:
    """Five windows are taken."""
    done = facts.performance
    return Finding(
        "windows",
        f"performance: exactly {WINDOWS} windows",
        f"{RUNNER}/script.py (error 1); {EEMBC}, Median Performance",
        Verdict.NOT_APPLICABLE if done is None else _verdict(len(done.windows) == WINDOWS),
        _NO_PERFORMANCE if done is None else f"{len(done.windows)} windows",
        decides=True,
    )


def _inputs(facts: Facts) -> Finding:
    """Each window has an input of its own, out of the published set."""
    done = facts.performance
    verdict, evidence = Verdict.NOT_APPLICABLE, _NO_PERFORMANCE
    if done is not None:
        different = len({window.file for window in done.windows})
        published = facts.stimuli.published is not None
        verdict = _verdict(published and different == WINDOWS)
        evidence = f"{different} of {_data_name(facts.stimuli)}"
    return Finding(
        "inputs",
        f"performance: {WINDOWS} different inputs of the benchmark's set",
        f"{RULES}, section 7; {RUNNER}/tests_performance.yaml",
        verdict,
        evidence,
    )


def _duration(facts: Facts) -> Finding:
    """Each window lasts long enough."""
    done = facts.performance
    verdict, evidence = Verdict.NOT_APPLICABLE, _NO_PERFORMANCE
    if done is not None:
        shortest = min(window.seconds for window in done.windows)
        evidence = f"shortest {shortest:.3f} s by {_clock_words(done.clock)}"
        verdict = _timed(done.clock, shortest >= MIN_WINDOW_S)
    return Finding(
        "duration",
        f"performance: each window at least {MIN_WINDOW_S:g} s",
        f"{RUNNER}/main.py (Runtime requirements); {EEMBC}, minimum measurement requirements",
        verdict,
        evidence,
        decides=True,
    )


def _inferences(facts: Facts) -> Finding:
    """Each window has enough inferences."""
    done = facts.performance
    verdict, evidence = Verdict.NOT_APPLICABLE, _NO_PERFORMANCE
    if done is not None:
        fewest = min(window.iterations for window in done.windows)
        executed = min(window.executed for window in done.windows)
        evidence = f"fewest {fewest}"
        if executed != fewest:
            evidence += f", of which {executed} ran: each takes the same time"
        verdict = _timed(done.clock, fewest >= MIN_INFERENCES)
    return Finding(
        "inferences",
        f"performance: each window at least {MIN_INFERENCES} inferences",
        f"{EEMBC}, minimum measurement requirements",
        verdict,
        evidence,
        decides=True,
    )


def _median(facts: Facts) -> Finding:
    """The result is the median."""
    done = facts.performance
    return Finding(
        "median",
        "performance: the median inferences/s is the result",
        f"{RUNNER}/main.py",
        Verdict.NOT_APPLICABLE if done is None else Verdict.MET,
        _NO_PERFORMANCE if done is None else f"{done.throughput:.3f} inferences/s",
    )


def _single_stream(_: Facts) -> Finding:
    """One sample after the other."""
    return Finding(
        "scenario",
        "single stream: one sample after the other",
        f"{RULES}, section 3",
        Verdict.MET,
        "one item is loaded, inferred and answered at a time",
    )


def _untimed(_: Facts) -> Finding:
    """Conversion of the input and of the output lie outside the window."""
    return Finding(
        "untimed",
        "pre- and post-processing are not timed and are the reference's",
        f"{RULES}, section 7.1",
        Verdict.MET,
        "items are converted before the first time stamp, vectors after the second",
    )


def _same_code(facts: Facts) -> Finding:
    """Accuracy and performance come from the same code."""
    both = facts.performance is not None and facts.accuracy is not None
    return Finding(
        "same code",
        "the same code runs in accuracy and performance mode",
        f"{RULES}, section 5.1, note",
        Verdict.MET if both else Verdict.NOT_APPLICABLE,
        f"program sha256 {facts.program_sha256[:16]} in one session" if both else "one mode ran",
    )


def _target(facts: Facts) -> Finding:
    """The quality target of the closed division."""
    benchmark, done = facts.benchmark, facts.accuracy
    percent = benchmark.metric is Metric.TOP1
    target = f"{benchmark.target:g} %" if percent else f"{benchmark.target:g}"
    verdict, evidence = Verdict.NOT_APPLICABLE, f"{benchmark.metric.value} of at least {target}"
    if done is None:
        evidence += f"; {_NO_ACCURACY}"
    else:
        verdict = _verdict(done.value >= benchmark.target)
        low, high = done.interval.low, done.interval.high
        if percent:
            figure = f"{done.value:.1f} % ({low:.1f} to {high:.1f} %)"
        else:
            figure = f"{done.value:.3f} ({low:.3f} to {high:.3f})"
        evidence += f"; found {figure} on {done.samples} samples"
        if low < benchmark.target <= high:
            evidence += "; the interval reaches across the target"
    return Finding(
        "target",
        "closed division: the quality target",
        f"{RULES}, section 4.1.1",
        verdict,
        evidence,
        decides=True,
    )


def _whole_set(facts: Facts) -> Finding:
    """The accuracy set is the published one, and all of it."""
    done, stimuli = facts.accuracy, facts.stimuli
    verdict, evidence = Verdict.NOT_APPLICABLE, _NO_ACCURACY
    if done is not None:
        whole = done.samples == stimuli.total
        verdict = _verdict(whole and stimuli.published is not None and stimuli.intact is not False)
        evidence = f"{done.samples} of {stimuli.total} files of {_data_name(stimuli)}"
        if stimuli.published is not None:
            evidence += {
                True: "; every file has its published hash",
                False: "; files differ from the published ones",
                None: "; no hashes of the files are published",
            }[stimuli.intact]
    return Finding(
        "accuracy set",
        "accuracy: the whole published set, unchanged",
        f"{RULES}, section 7; {DATA}",
        verdict,
        evidence,
    )


def _model(facts: Facts) -> Finding:
    """The closed division takes the reference weights."""
    return Finding(
        "model",
        "closed division: the reference model, quantized with calibration data only",
        f"{RULES}, sections 8.1 and 8.2",
        _verdict(facts.published_model),
        "the published int8 reference, by its sha256"
        if facts.published_model
        else "another file than the published int8 reference",
    )


def _official_runner(_: Facts) -> Finding:
    """A submission's figures come from the official runner."""
    return Finding(
        "runner",
        "a submission is measured by the MLCommons runner",
        f"{RULES}, section 5.1",
        Verdict.NOT_MET,
        "measured by axonrig; let the official runner measure through 'axonrig serve'",
    )


def _system(facts: Facts) -> Finding:
    """Results belong to a system that exists."""
    real = facts.clock is Clock.MEASURED
    return Finding(
        "system",
        "a result belongs to an identified system of hardware and software",
        f"{RULES}, section 9",
        Verdict.MET if real else Verdict.NOT_APPLICABLE,
        "a board" if real else f"no board: {_clock_words(facts.clock)}",
    )


def _energy(_: Facts) -> Finding:
    """Energy is optional and needs a power monitor."""
    return Finding(
        "energy",
        f"energy (optional): {WINDOWS} windows of at least {MIN_WINDOW_S:g} s on a power monitor",
        f"{RUNNER}/main.py",
        Verdict.NOT_APPLICABLE,
        "no energy was measured",
    )


_CHECKS: Final[tuple[Callable[[Facts], Finding], ...]] = (
    _single_stream,
    _target,
    _official_runner,
    _same_code,
    _whole_set,
    _untimed,
    _model,
    _system,
    _windows,
    _inputs,
    _duration,
    _inferences,
    _median,
    _energy,
)


def _clock_words(clock: Clock) -> str:
    return {
        Clock.MEASURED: "the device's clock",
        Clock.HOST: "this machine's clock, which says nothing about a board",
        Clock.EMULATED: "the emulated board's virtual clock",
        Clock.ESTIMATED: "an estimated inference time",
    }[clock]


def _data_name(stimuli: StimulusSet) -> str:
    if stimuli.published is not None:
        return f"the published set ({stimuli.published.samples} files)"
    return "random inputs" if stimuli.origin == "random" else "a set of your own"
