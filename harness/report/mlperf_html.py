"""The page of `axonrig mlperf`: its table, the rules with their results, windows and accuracy.

Every figure is taken from report.json; the title says whether time was measured, emulated or
estimated, and so does every figure that rests on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from harness.charts.bars import Bar, horizontal_bars
from harness.markup import Markup, element
from harness.report.document import document, source_words
from harness.report.parts import (
    Column,
    Origin,
    Section,
    address,
    card,
    cards,
    code,
    facts,
    figure,
    file_table,
    paragraph,
    section,
    table,
)

_RUNNER: Final = "runner"
"""The rule that only the official runner can meet."""

Benchmark = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class MlperfPage:
    """report: as in report.json. files, prefix: as in `harness.report.html.PageInputs`."""

    report: Mapping[str, Any]
    files: Mapping[str, Mapping[str, Any]]
    prefix: str = ""

    def origin(self, label: str) -> Origin:
        """A source label with a link to report.json."""
        return Origin(label, "report.json", address(self.prefix, "report.json"))

    @property
    def time(self) -> str:
        """The label of everything that rests on a clock."""
        return f"{self.report['source']}, time {self.report['time']}"


def render_mlperf(page: MlperfPage) -> str:
    """The page as HTML text. Raises KeyError, TypeError or ValueError for a damaged report."""
    report = page.report
    sections = [_summary(page), _results(page), _rules(page)]
    sections += [_benchmark(page, item) for item in report["benchmarks"]]
    sections.append(_provenance(page))
    told = (
        f"mode {report['mode']}; {source_words(report['source'])}; time: {report['time']}; "
        f"{report['run']['created']}"
    )
    version = str(report["versions"].get("axonrig", ""))
    return document(str(report["title"]), told, sections, version)


def mlperf_charts(report: Mapping[str, Any]) -> dict[str, Markup]:
    """Every chart of the page by a name of its own."""
    return {
        f"windows-{number}": _windows_chart(item, report["time"])
        for number, item in enumerate(report["benchmarks"])
        if item["performance"] is not None
    }


def _summary(page: MlperfPage) -> Section:
    report = page.report
    if not report["benchmarks"]:
        kind, words = "apart", "No benchmark ran."
    elif report["met"]:
        kind, words = "", "No rule that decides was broken."
    else:
        kind, words = "apart", "A rule that decides is not met: see the rules."
    by_runner = any(
        rule["rule"] == _RUNNER and rule["result"] != "met"
        for item in report["benchmarks"]
        for rule in item["rules"]
    )
    parts: list[Markup] = [element("p", element("strong", words))]
    if by_runner:
        parts.append(paragraph("This is no submission: the official runner did not measure it."))
    if report["fallback"]:
        parts.append(paragraph(f"Note: {report['fallback']}"))
    items = [
        card(
            f"{item['name']}, latency",
            f"{item['performance']['latency_ms']:,.3f} ms",
            page.origin(page.time),
            f"{item['performance']['throughput']:,.2f} inferences/s, median of "
            f"{len(item['performance']['windows'])} windows",
        )
        for item in report["benchmarks"]
        if item["performance"] is not None
    ]
    verdict = element("div", *parts, class_=f"verdict {kind}".strip())
    return section("summary", "Summary", verdict, cards(items))


def _results(page: MlperfPage) -> Section:
    columns = (
        Column("benchmark"),
        *(
            Column(name, number=True)
            for name in (
                f"latency, ms ({page.report['time']})",
                f"inferences/s ({page.report['time']})",
                "accuracy",
                "interval",
                "target",
                "energy, uJ (estimated)",
            )
        ),
        Column("deciding rules met"),
    )
    rows = [
        (
            f"{item['name']} {item['title']}",
            _of(item["performance"], "latency_ms", ",.3f"),
            _of(item["performance"], "throughput", ",.2f"),
            *_accuracy_cells(item["accuracy"]),
            _of(item["energy"], "uj", ",.1f"),
            "yes" if item["met"] else "no",
        )
        for item in page.report["benchmarks"]
    ]
    parts = [table(str(page.report["title"]), columns, rows)]
    if page.report["skipped"]:
        parts.append(element("h3", "What did not run"))
        parts.append(element("ul", *(element("li", line) for line in page.report["skipped"])))
    return section("results", "Results", *parts)


def _of(values: Mapping[str, Any] | None, key: str, form: str) -> str:
    return "-" if values is None else format(values[key], form)


def _accuracy_cells(accuracy: Mapping[str, Any] | None) -> tuple[str, str, str]:
    if accuracy is None:
        return "-", "-", "-"
    interval = accuracy["interval"]
    if accuracy["metric"] == "auc":
        low, high = interval["low"], interval["high"]
        return f"AUC {accuracy['value']:.3f}", f"{low:.3f} to {high:.3f}", f"{accuracy['target']:g}"
    low, high = interval["low"], interval["high"]
    return f"{accuracy['value']:.1f} %", f"{low:.1f} to {high:.1f} %", f"{accuracy['target']:g} %"


def _rules(page: MlperfPage) -> Section:
    """A row for each rule, a column for each benchmark; then why one is not met."""
    benchmarks = page.report["benchmarks"]
    names: dict[str, Mapping[str, Any]] = {}
    for item in benchmarks:
        for rule in item["rules"]:
            names.setdefault(rule["rule"], rule)
    columns = (
        Column("rule"),
        *(Column(str(item["name"])) for item in benchmarks),
        Column("stated in"),
    )
    rows = [
        (
            str(rule["text"]) + (" (decides)" if rule["decides"] else ""),
            *(_result_of(item, name) for item in benchmarks),
            rule["citation"],
        )
        for name, rule in names.items()
    ]
    reasons = [
        (str(item["name"]), rule["text"], rule["result"], rule["evidence"])
        for item in benchmarks
        for rule in item["rules"]
        if rule["result"] != "met"
    ]
    why = table(
        "Rules that are not met or do not apply, and why",
        tuple(Column(name) for name in ("benchmark", "rule", "result", "evidence")),
        reasons,
    )
    return section("rules", "Rules", table("Rules and results", columns, rows), why)


def _result_of(item: Benchmark, name: str) -> object:
    result = next((rule["result"] for rule in item["rules"] if rule["rule"] == name), "-")
    return element("strong", result) if result == "not met" else result


def _benchmark(page: MlperfPage, item: Benchmark) -> Section:
    key = f"benchmark-{page.report['benchmarks'].index(item)}"
    model, data = item["model"], item["data"]
    what = {
        "device": item["device"],
        "model": model["file"],
        "model sha256": code(model["sha256"]),
        "published reference": "yes" if model["published"] else "no",
        "program sha256": code(model["program_sha256"]),
        "data": f"{data['name']} ({data['origin']}), {data['files']} files",
        "data set sha256": "-" if data["set_sha256"] is None else code(data["set_sha256"]),
    }
    parts: list[Markup] = []
    if item["performance"] is not None:
        drawn = _windows_chart(item, page.report["time"])
        windows = _windows_table(item["performance"]["windows"])
        parts.append(figure(drawn, page.origin(page.time), windows))
    if item["accuracy"] is not None:
        found = item["accuracy"]
        value, interval, target = _accuracy_cells(found)
        words = (
            f"Accuracy: {value} on {found['samples']} samples; {found['interval']['method']}: "
            f"{interval}; target {target}. "
        )
        words += f"Source: {page.report['source']}."
        parts.append(paragraph(words))
    parts.append(facts(f"What {item['name']} ran", what))
    return section(key, f"{item['name']}: {item['title']}", *parts)


def _windows_chart(item: Benchmark, time: str) -> Markup:
    bars = [
        Bar(
            f"{number}: {window['file'] or 'random input'}",
            window["throughput"],
            f"{window['throughput']:,.2f} in {window['seconds']:,.1f} s",
        )
        for number, window in enumerate(item["performance"]["windows"], 1)
    ]
    return horizontal_bars(bars, f"{item['name']}: inferences/s by window ({time})")


def _windows_table(windows: Sequence[Mapping[str, Any]]) -> Markup:
    keys = ("iterations", "executed", "seconds", "throughput")
    columns = (Column("input"), *(Column(name, number=True) for name in keys))
    rows = [
        (window["file"] or "random", *(f"{window[key]:,.10g}" for key in keys))
        for window in windows
    ]
    return table("Windows", columns, rows)


def _provenance(page: MlperfPage) -> Section:
    report = page.report
    checker = report["checker"]
    said = "not run" if checker is None else "passed" if checker["passed"] else "did not pass"
    files = file_table("Files of this result", page.files, page.prefix)
    ran = {
        "board": f"{report['board']} (asked: {report['board_asked']})",
        "source": source_words(report["source"]),
        "submission checker": said,
        "host": report["run"]["host"],
        "created": report["run"]["created"],
    }
    lines = () if checker is None else checker["said"]
    return section(
        "provenance",
        "Environment and provenance",
        facts("What ran", ran),
        *(paragraph(f"Checker: {line}") for line in lines),
        facts("Versions", report["versions"]),
        files,
    )
