"""report.json of `axonrig mlperf` (docs/mlperf.md defines every key)."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from harness.mlperf.accuracy import Accuracy
from harness.mlperf.checker import CheckerResult
from harness.mlperf.dut import Clock
from harness.mlperf.models import BenchmarkModel
from harness.mlperf.performance import Performance
from harness.mlperf.rules import Finding, Verdict
from harness.mlperf.stimuli import StimulusSet
from harness.report.versions import versions
from harness.selection import Selection

SCHEMA: Final = 1
TITLES: Final = {
    Clock.MEASURED: "MLPerf Tiny on {board}, measured by axonrig",
    Clock.HOST: "MLPerf Tiny on this machine (firmware as a process, no board)",
    Clock.EMULATED: "MLPerf Tiny on {board} (emulated)",
    Clock.ESTIMATED: "MLPerf Tiny on {board} (estimated)",
}


@dataclass(frozen=True, slots=True, eq=False)
class BenchmarkFacts:
    """What one benchmark gave. estimate: of `estimate_program`, on the simulator only."""

    model: BenchmarkModel
    program_sha256: str
    stimuli: StimulusSet
    device: str
    performance: Performance | None
    accuracy: Accuracy | None
    estimate: dict[str, Any] | None
    findings: tuple[Finding, ...]

    @property
    def met(self) -> bool:
        """Whether no rule that decides was broken."""
        return not any(item.decides and item.verdict is Verdict.NOT_MET for item in self.findings)


@dataclass(frozen=True, slots=True, eq=False)
class RunFacts:
    """What a run gave. skipped, failed: sentences about what did not run, and what broke off."""

    selection: Selection
    clock: Clock
    mode: str
    benchmarks: tuple[BenchmarkFacts, ...]
    skipped: tuple[str, ...]
    failed: tuple[str, ...]
    checked: CheckerResult | None
    created: datetime

    @property
    def met(self) -> bool:
        """Whether no rule that decides was broken."""
        return all(item.met for item in self.benchmarks)


def build_report(facts: RunFacts) -> dict[str, Any]:
    """The content of report.json. Everything outside `run` follows from models, data and versions
    where time is virtual."""
    return {
        "schema": SCHEMA,
        "kind": "mlperf",
        "title": TITLES[facts.clock].format(board=facts.selection.name),
        "source": facts.selection.source,
        "time": facts.clock.value,
        "board": facts.selection.name,
        "board_asked": facts.selection.asked,
        "target": facts.selection.target,
        "fallback": facts.selection.fallback,
        "mode": facts.mode,
        "met": facts.met,
        "benchmarks": [_benchmark(item) for item in facts.benchmarks],
        "skipped": list(facts.skipped),
        "failed": list(facts.failed),
        "checker": None
        if facts.checked is None
        else {"passed": facts.checked.passed, "said": list(facts.checked.lines)},
        "versions": versions(),
        "run": {
            "created": facts.created.isoformat(timespec="seconds"),
            "host": f"{platform.system()} {platform.machine()}",
        },
    }


def _benchmark(item: BenchmarkFacts) -> dict[str, Any]:
    benchmark, stimuli = item.model.benchmark, item.stimuli
    return {
        "name": benchmark.name,
        "title": benchmark.title,
        "device": item.device,
        "met": item.met,
        "model": {
            "file": item.model.file.path.name,
            "sha256": item.model.file.sha256,
            "published": item.model.published,
            "program_sha256": item.program_sha256,
        },
        "data": {
            "origin": stimuli.origin,
            "name": stimuli.name,
            "files": stimuli.total,
            "published": stimuli.published is not None,
            "intact": stimuli.intact,
            "labels_sha256": stimuli.labels_sha256,
            "set_sha256": stimuli.set_sha256,
        },
        "performance": None if item.performance is None else _performance(item),
        "accuracy": None if item.accuracy is None else _accuracy(item.accuracy, benchmark.target),
        "energy": None if item.estimate is None else item.estimate["energy"],
        "rules": [
            {
                "rule": finding.rule,
                "text": finding.text,
                "citation": finding.citation,
                "result": finding.verdict.value,
                "evidence": finding.evidence,
                "decides": finding.decides,
            }
            for finding in item.findings
        ],
    }


def _performance(item: BenchmarkFacts) -> dict[str, Any]:
    done = item.performance
    assert done is not None  # the caller asked
    return {
        "time": done.clock.value,
        "latency_ms": round(done.latency_ms, 6),
        "throughput": round(done.throughput, 6),
        "iterations": done.iterations,
        "warmups": done.warmups,
        "windows": [
            {
                "file": window.file,
                "iterations": window.iterations,
                "executed": window.executed,
                "seconds": round(window.seconds, 6),
                "throughput": round(window.throughput, 6),
            }
            for window in done.windows
        ],
        "device_time": None if item.estimate is None else item.estimate["device_time"],
    }


def _accuracy(done: Accuracy, target: float) -> dict[str, Any]:
    return {
        "metric": done.metric.value,
        "value": round(done.value, 6),
        "target": target,
        "samples": done.samples,
        "correct": done.correct,
        "interval": {
            "low": round(done.interval.low, 6),
            "high": round(done.interval.high, 6),
            "method": done.interval.method,
        },
        "auc": None if done.auc is None else round(done.auc, 6),
    }
