"""Sections about the last night: verdict, jobs, findings, gaps, provenance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Final

from harness.history import Finding, Job, Result, Status, Verdict
from harness.markup import Markup, element, text
from harness.report.document import source_words
from harness.report.nights.facts import HistoryFacts
from harness.report.nights.words import HistoryPage, change, shown
from harness.report.parts import (
    Column,
    Section,
    card,
    cards,
    code,
    facts,
    lines,
    paragraph,
    section,
    table,
)

KEY_METRICS: Final[Mapping[str, str]] = {
    "agreement.top1": "top-1 agreement",
    "accuracy.device": "accuracy, device",
    "latency.us": "latency, us",
    "emulated.instructions": "instructions",
    "vendor.cycles": "cycles, Nordic's simulator",
    "estimate.cycles": "cycles (estimated)",
    "memory.ram_bytes": "RAM bytes (estimated)",
    "memory.flash_bytes": "flash bytes (estimated)",
}
"""Columns of last night's table, and their titles."""

_MOST_FINDINGS: Final = 300


def summary(page: HistoryPage) -> Section:
    """The verdict and the counts."""
    found = page.facts
    by_verdict = Counter(item.verdict for item in found.findings)
    by_status = Counter(item.status for item in found.results)
    worse, failed = by_verdict[Verdict.REGRESSION], by_status[Status.FAILED]
    if worse:
        kind, words = "apart", f"{_count(worse, 'regression')} last night"
    elif failed:
        kind, words = "differs", f"No regression, but {_count(failed, 'job')} failed last night"
    elif not by_status[Status.OK]:
        kind, words = "differs", "Nothing ran last night"
    else:
        kind, words = "", "No regression last night"
    note = "" if found.last.finished else " The night was cut off, or is still running."
    told = f"{words}: {by_status[Status.OK]} of {len(found.results)} jobs ran.{note}"
    strong = element("p", element("strong", told))
    counts = {
        "jobs that ran": by_status[Status.OK],
        "jobs that failed": failed,
        "jobs skipped": by_status[Status.SKIPPED],
        "regressions": worse,
        "improvements": by_verdict[Verdict.IMPROVEMENT],
        "other changes": by_verdict[Verdict.CHANGED],
    }
    origin = page.origin(f"history, night {found.last.id}")
    return section(
        "summary",
        "Last night",
        element("div", strong, class_=f"verdict {kind}".strip()),
        cards([card(name, str(count), origin) for name, count in counts.items()]),
    )


def jobs(page: HistoryPage) -> Section | None:
    """One table for each source: figures of different sources never share a column."""
    ran = [item for item in page.facts.results if item.status is not Status.SKIPPED]
    ran.sort(key=lambda item: (item.source or "", item.job))
    tables = [
        _source_table(page, source, tuple(items))
        for source, items in groupby(ran, lambda item: item.source or "")
    ]
    if not tables:
        return None
    words = (
        "In brackets: the change since the last night that has the figure from the same source. "
        "Cycles, RAM and flash marked as estimated are never measurements."
    )
    return section("jobs", "Jobs of last night", paragraph(words), *tables)


def _source_table(page: HistoryPage, source: str, results: Sequence[Result]) -> Markup:
    figures = _figures_of(results)
    columns = (
        *(Column(name) for name in ("model", "board", "variant", "status")),
        *(
            Column(KEY_METRICS[name] + ("" if label == source else f", {label}"), number=True)
            for name, label in figures
        ),
    )
    rows = [
        (
            _link(item.job.model, page.folder_of(item)),
            item.job.board,
            item.job.variant,
            _ending(page.facts, item),
            *(_cell(page.facts, item.job, name, label) for name, label in figures),
        )
        for item in results
    ]
    title = source_words(source) if source else "no figures"
    return table(f"Source: {title}", columns, rows)


def _figures_of(results: Sequence[Result]) -> list[tuple[str, str]]:
    """(metric, source) of the columns: a device's result also has figures of other sources."""
    found = {(item.name, item.source) for result in results for item in result.metrics}
    return [(key, source) for key in KEY_METRICS for name, source in sorted(found) if name == key]


def _ending(found: HistoryFacts, result: Result) -> Markup:
    word = found.endings.get(result.job, {}).get(found.last.id, str(result.status))
    return text(word) if word == Status.OK else element("strong", word)


def _cell(found: HistoryFacts, job: Job, metric: str, source: str) -> object:
    item = found.trend(job, metric)
    point = None if item is None else item.at(found.last.id)
    if item is None or point is None or point.source != source:
        return "-"
    before = item.before(point)
    return lines([shown(metric, point.value), f"({change(before, point)})"])


def findings(page: HistoryPage) -> Section:
    """What the gates said, with what a change comes from."""
    found = page.facts
    parts: list[Markup] = []
    if found.findings:
        order = {Verdict.REGRESSION: 0, Verdict.CHANGED: 1, Verdict.IMPROVEMENT: 2}
        listed = sorted(found.findings, key=lambda item: order[item.verdict])
        parts.append(_finding_table(found, "Findings of last night", listed))
    else:
        parts.append(paragraph("Last night nothing changed that a gate speaks of."))
    if found.earlier:
        some = found.earlier[:_MOST_FINDINGS]
        title = f"The {len(some)} latest findings of {len(found.earlier)} before last night"
        drawn = _finding_table(found, title, some)
        opener = element("summary", "Findings of earlier nights")
        parts.append(element("details", opener, drawn))
    return section("findings", "Findings", *parts)


def _finding_table(found: HistoryFacts, title: str, items: Iterable[Finding]) -> Markup:
    columns = tuple(
        Column(name) for name in ("night", "job", "metric", "source", "verdict", "gate", "what")
    )
    rows = [
        (
            item.night if item.since is None else f"{item.night}, since {item.since}",
            item.job.name,
            item.metric,
            found.source(item.job, item.metric, item.night) or "-",
            str(item.verdict),
            str(item.gate),
            item.text,
        )
        for item in items
    ]
    return table(title, columns, rows)


def missing(page: HistoryPage) -> Section | None:
    """Jobs that failed or were skipped, and why; None when every job ran."""
    absent = [item for item in page.facts.results if item.status is not Status.OK]
    if not absent:
        return None
    columns = tuple(Column(name) for name in ("model", "board", "variant", "status", "reason"))
    rows = [
        (
            _link(item.job.model, page.folder_of(item)),
            item.job.board,
            item.job.variant,
            str(item.status),
            item.reason or "not told",
        )
        for item in absent
    ]
    return section("missing", "Not measured", table("Jobs without figures", columns, rows))


def provenance(page: HistoryPage) -> Section:
    """What ran where, with which versions, under which conditions."""
    found = page.facts
    last = found.last
    what = {
        "night": last.id,
        "begun": last.begun,
        "finished": last.finished or "no: cut off, or still running",
        "host": last.host,
        "commit": "not a checkout" if last.revision is None else code(last.revision),
        "source files, sha256": code(last.code),
        "job file, sha256": code(last.matrix),
        "history": element("a", found.name, href=page.address),
    }
    listed = table(
        "Conditions of the jobs of last night",
        tuple(Column(name) for name in ("job", "conditions", "manifest sha256")),
        [
            (
                item.job.name,
                lines(f"{key}: {value}" for key, value in item.conditions.items()),
                "none" if item.manifest is None else code(item.manifest),
            )
            for item in found.results
            if item.status is Status.OK
        ],
    )
    return section(
        "provenance",
        "Environment and provenance",
        facts("The last night", what),
        facts("Versions", last.versions),
        listed,
    )


def _link(words: str, address: str | None) -> object:
    return words if address is None else element("a", words, href=address)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
