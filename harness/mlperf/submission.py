"""The results tree of a submission: DIVISION/SUBMITTER/{results,systems}/SYSTEM/...

Forms are those that `tools/submission/submission_checker.py` of mlcommons/tiny reads: the lines
with "Top 1% =", "AUC =" and "Median throughput is" in `results.txt`, the keys of the system file,
and the names of folders and files. Each mode's folder is a session: log.txt, results.txt,
results.json.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from harness.mlperf.accuracy import Accuracy
from harness.mlperf.benchmarks import Benchmark, Metric
from harness.mlperf.performance import MIN_WINDOW_S, Performance

DIVISION: Final = "closed"
NOTICE: Final = "READ_FIRST.txt"
_RULE: Final = "---------------------------------------------------------"


@dataclass(frozen=True, slots=True)
class SystemFacts:
    """What the system file says. name: of its folder; notes: what the figures are."""

    submitter: str
    name: str
    board: str
    processor: str
    frequency: str
    accelerator: str
    framework: str
    notes: str


@dataclass(frozen=True, slots=True)
class BenchmarkSession:
    """What one benchmark did. logs: lines by mode ("accuracy", "performance")."""

    benchmark: Benchmark
    performance: Performance | None
    accuracy: Accuracy | None
    logs: dict[str, list[str]] = field(default_factory=dict)


def results_tree(
    system: SystemFacts, sessions: Sequence[BenchmarkSession], stamp: str
) -> dict[str, bytes]:
    """Bytes by path below the submission's root. stamp: begins each line of a result."""
    top = f"{DIVISION}/{system.submitter}"
    files = {
        NOTICE: f"{system.notes}\n".encode(),
        f"{top}/systems/{system.name}.json": _json(_system_file(system)),
    }
    for session in sessions:
        base = f"{top}/results/{system.name}/{session.benchmark.folder}"
        for mode, lines, content in _modes(session, stamp):
            log = [*session.logs.get(mode, []), *lines]
            files[f"{base}/{mode}/log.txt"] = _text(log)
            files[f"{base}/{mode}/results.txt"] = _text(lines)
            files[f"{base}/{mode}/results.json"] = _json(content)
    return files


def _modes(session: BenchmarkSession, stamp: str) -> list[tuple[str, list[str], Any]]:
    modes: list[tuple[str, list[str], Any]] = []
    if session.performance is not None:
        done = session.performance
        modes.append(("performance", performance_lines(done, stamp), _windows_json(done)))
    if session.accuracy is not None:
        judged = session.accuracy
        modes.append(("accuracy", accuracy_lines(judged, stamp), _answers_json(judged)))
    return modes


def performance_lines(done: Performance, stamp: str) -> list[str]:
    """The lines of results.txt, as the official runner words them."""
    lines = []
    for number, window in enumerate(done.windows, 1):
        lines += [
            f"Performance results for window {number}",
            f"    # Inferences : {window.iterations}",
            f"    Runtime: {window.seconds} sec.",
            f"    Throughput: {window.throughput} inf./sec.",
        ]
        if window.seconds > MIN_WINDOW_S:
            lines.append("    Runtime requirements have been met.")
    return [
        *lines,
        f"{stamp} ulp-mlperf: {_RULE}",
        f"{stamp} ulp-mlperf: Median throughput is {done.throughput:>10.3f} inf./sec.",
        f"{stamp} ulp-mlperf: {_RULE}",
    ]


def accuracy_lines(done: Accuracy, stamp: str) -> list[str]:
    """The lines of results.txt, as the official runner words them."""
    lines = []
    if done.metric is Metric.TOP1:
        lines.append(f"{stamp} ulp-mlperf: Top 1% = {done.value:2.1f}")
    if done.auc is not None:
        lines.append(f"{stamp} ulp-mlperf: AUC = {done.auc:.3f}")
    return lines


def _windows_json(done: Performance) -> list[dict[str, Any]]:
    return [
        {
            "file": window.file,
            "mode": "p",
            "infer": {
                "iterations": window.iterations,
                "warmups": done.warmups,
                "elapsed_time": window.elapsed_us,
                "throughput": window.throughput,
                "results": list(window.vector),
            },
        }
        for window in done.windows
    ]


def _answers_json(done: Accuracy) -> list[dict[str, Any]]:
    return [
        {
            "file": answer.file,
            "class": str(answer.label),
            "mode": "a",
            "infer": {
                "iterations": 1,
                "warmups": 0,
                "windows": len(answer.vectors),
                "results": list(answer.mean),
            },
        }
        for answer in done.answers
    ]


def _system_file(system: SystemFacts) -> dict[str, str]:
    """Keys as the checker reads them; empty ones are the submitter's to fill in."""
    return {
        "Submitter": system.submitter,
        "Status": "rdi",
        "Board Name": system.board,
        "Processor(s) Name": system.processor,
        "Processor(s) Frequencies": system.frequency,
        "Processor memory type and capacity": "",
        "Accelerator": system.accelerator,
        "Accelerator(s) Frequencies": system.frequency if system.accelerator else "",
        "Accelerator memory type and capacity": "",
        "Hardware Notes": system.notes,
        "Inference Framework": system.framework,
        "Software Libraries": "",
        "Software Notes": system.notes,
    }


def _text(lines: Sequence[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()
