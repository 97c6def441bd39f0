"""A night for other tools: JUnit XML, Markdown for a pull request, Bencher metrics, CSV.

JUnit: a test case for each job; a regression is a failure, an infrastructure failure an error.
Bencher: the Bencher Metric Format, {benchmark: {measure: {value, lower_value, upper_value}}}, with
the numbers only (https://bencher.dev/docs/reference/bencher-metric-format/).
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

from harness.artefacts import write_bytes
from harness.history import Finding, Gate, Night, Result, Status, Verdict

_LAYER: Final = "layer."
_XML_REFUSES: Final = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_COLUMNS: Final = {
    "agreement.top1": "top-1",
    "estimate.cycles": "cycles (estimated)",
    "latency.us": "latency us",
}
_MARKS: Final = {
    Verdict.REGRESSION: "regression",
    Verdict.IMPROVEMENT: "improvement",
    Verdict.CHANGED: "changed",
}


@dataclass(frozen=True, slots=True)
class Exported:
    """A night as the exports see it."""

    night: Night
    results: Sequence[Result]
    findings: Sequence[Finding]


def write_exports(data: Exported, formats: Sequence[str], folder: Path) -> tuple[Path, ...]:
    """Write each format into `folder` under its usual name; return the paths. Raises OSError."""
    paths = []
    for name in dict.fromkeys(formats):
        file, render = FORMATS[name]
        write_bytes(folder / file, render(data).encode())
        paths.append(folder / file)
    return tuple(paths)


def figure(item: Result, name: str, title: str) -> str:
    """A metric for a cell of the column `title`, `-` when there is none: with its source where the
    title does not say "estimated" and the source is not the job's."""
    metric = item.metric(name)
    if metric is None:
        return "-"
    number = f"{metric.value:.6g}" if isinstance(metric.value, float) else str(metric.value)
    known = "estimated" in title or metric.source == item.source
    return number if known else f"{number} ({metric.source})"


def junit(data: Exported) -> str:
    """JUnit XML."""
    cases = [_case(data, item) for item in data.results]
    counts = {
        "tests": len(cases),
        "failures": sum(case.find("failure") is not None for case in cases),
        "errors": sum(case.find("error") is not None for case in cases),
        "skipped": sum(case.find("skipped") is not None for case in cases),
    }
    facts = {"name": "axonrig nightly", "timestamp": data.night.begun, "hostname": data.night.host}
    suite = ElementTree.Element(
        "testsuite", {key: _plain(str(value)) for key, value in {**facts, **counts}.items()}
    )
    suite.append(_properties({"night": data.night.id, "revision": data.night.revision or ""}))
    suite.extend(cases)
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return "<?xml version='1.0' encoding='utf-8'?>\n" + _xml(root)


def markdown(data: Exported) -> str:
    """A summary for a pull request: the findings first, then the jobs."""
    worse = sum(item.verdict is Verdict.REGRESSION for item in data.findings)
    lines = [f"### Nightly {_cell(data.night.id)}: {_headline(worse, data.results)}", ""]
    if data.findings:
        lines += ["| | job | metric | gate | what |", "|---|---|---|---|---|"]
        order = sorted(data.findings, key=lambda item: list(_MARKS).index(item.verdict))
        lines += [
            _row(_MARKS[f.verdict], f.job.name, f.metric, f.gate.value, f.text) for f in order
        ]
        lines.append("")
    lines += [_row("job", "status", "source", *_COLUMNS.values(), "")]
    lines += ["|---|---|---|" + "---:|" * len(_COLUMNS) + "---|"]
    lines += [_job_row(item) for item in data.results]
    lines += ["", f"Host {_cell(data.night.host)}, code {_cell(data.night.code[:12])}.", ""]
    return "\n".join(lines)


def bencher(data: Exported) -> str:
    """Bencher Metric Format: whole-program numbers, a benchmark for each job and source."""
    found: dict[str, dict[str, Any]] = {}
    for item in data.results:
        for metric in item.metrics:
            if isinstance(metric.value, str) or metric.name.startswith(_LAYER):
                continue
            measure = f"{metric.name} ({metric.unit})" if metric.unit else metric.name
            measures = found.setdefault(f"{item.job.name} [{metric.source}]", {})
            measures[measure] = {"value": metric.value}
    return json.dumps(found, indent=1, allow_nan=False) + "\n"


def table(data: Exported) -> str:
    """CSV: a row for each metric of each job, and one for each job without metrics."""
    stream = io.StringIO()
    rows = csv.writer(stream, lineterminator="\n")
    rows.writerow(CSV_COLUMNS)
    for item in data.results:
        job = (data.night.id, item.job.model, item.job.board, item.job.variant, item.status.value)
        reason = item.reason or ""
        for metric in item.metrics:
            facts = (metric.name, metric.value, metric.unit, metric.kind.value, metric.source)
            rows.writerow([_safe(cell) for cell in (*job, *facts, reason)])
        if not item.metrics:
            rows.writerow([_safe(cell) for cell in (*job, "", "", "", "", "", reason)])
    return stream.getvalue()


CSV_COLUMNS: Final = (
    "night",
    "model",
    "board",
    "variant",
    "status",
    "metric",
    "value",
    "unit",
    "kind",
    "source",
    "reason",
)

FORMATS: Final[Mapping[str, tuple[str, Callable[[Exported], str]]]] = {
    "junit": ("junit.xml", junit),
    "markdown": ("summary.md", markdown),
    "bencher": ("bencher.json", bencher),
    "csv": ("metrics.csv", table),
}
"""Format -> its usual file name, and what renders it."""


def _case(data: Exported, item: Result) -> ElementTree.Element:
    name = f"{item.job.model}[{item.job.variant}]"
    case = ElementTree.Element(
        "testcase", {"classname": f"nightly.{item.job.board}", "name": name, "time": "0"}
    )
    case.append(_properties({"source": item.source or "", "job": item.job.name}))
    reason = _plain(item.reason or "")
    refused = [f for f in data.findings if f.job == item.job and f.verdict is Verdict.REGRESSION]
    if refused:
        text = "\n".join(f"{f.metric} ({f.gate}): {f.text}" for f in refused)
        first = {"message": _plain(text.split("\n")[0]), "type": _type(refused)}
        ElementTree.SubElement(case, "failure", first).text = _plain(text)
    elif item.status is Status.FAILED:
        ElementTree.SubElement(case, "error", {"message": reason, "type": "infrastructure"})
    elif item.status is Status.SKIPPED:
        ElementTree.SubElement(case, "skipped", {"message": reason})
    return case


def _type(findings: Sequence[Finding]) -> str:
    return "budget" if all(item.gate is Gate.BUDGET for item in findings) else "regression"


def _properties(values: Mapping[str, str]) -> ElementTree.Element:
    parent = ElementTree.Element("properties")
    for name, value in values.items():
        ElementTree.SubElement(parent, "property", {"name": name, "value": _plain(value)})
    return parent


def _xml(root: ElementTree.Element) -> str:
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _plain(text: str) -> str:
    """Without the characters that XML cannot carry."""
    return _XML_REFUSES.sub("", text)


def _headline(worse: int, results: Sequence[Result]) -> str:
    if worse:
        return f"{worse} regression{'s' if worse > 1 else ''}"
    failures = sum(item.status is Status.FAILED for item in results)
    if failures:
        return f"{failures} failed (infrastructure)"
    ran = any(item.status is Status.OK for item in results)
    return "nothing got worse" if ran else "nothing ran (infrastructure)"


def _job_row(item: Result) -> str:
    cells = [figure(item, name, title) for name, title in _COLUMNS.items()]
    return _row(item.job.name, item.status.value, item.source or "-", *cells, item.reason or "")


def _row(*cells: str) -> str:
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def _cell(text: str) -> str:
    """Text in a Markdown table: one line, nothing of it markup."""
    line = " ".join(text.split())[:400]
    return re.sub(r"([\\`*_\[\]<>|~#&@])", r"\\\1", line)


def _safe(cell: object) -> object:
    """Text that a spreadsheet would run as a formula gets an apostrophe in front."""
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@", "\t") else cell
