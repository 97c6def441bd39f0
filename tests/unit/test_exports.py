"""Exports of a night: well-formed, escaped, and complete."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

from harness.history import Finding, Gate, Job, Kind, Metric, Night, Result, Status, Verdict
from harness.history.exports import (
    FORMATS,
    Exported,
    bencher,
    junit,
    markdown,
    table,
    write_exports,
)

NASTY = "<b>&\"'|`[x](y)\x00\n=1+1"
GOOD, SLOW = Job("m", "sim", "int8"), Job("slow", "sim", "int8")
DEAD, GONE = Job("dead", "desk", "int8"), Job("gone", "desk", "int8")
METRICS = (
    Metric("estimate.cycles", 1010, "cycles", Kind.EXACT, "sim"),
    Metric("layer.000.cycles", 7, "cycles", Kind.EXACT, "sim"),
    Metric("program.sha256", "=ab", "", Kind.EXACT, "compiler"),
)
LATENCY = Metric("latency.us", 12.5, "us", Kind.MEASURED, "host")
DATA = Exported(
    Night("n1", "2026-01-01T02:00:00+00:00", NASTY, "c0de", "0a", {}),
    (
        Result(DEAD, Status.FAILED, "now", NASTY),
        Result(GONE, Status.SKIPPED, "now", "not connected"),
        Result(GOOD, Status.OK, "now", source="sim", metrics=METRICS),
        Result(SLOW, Status.OK, "now", source="sim", metrics=METRICS),
    ),
    (Finding("n1", SLOW, "estimate.cycles", Gate.EXACT, Verdict.REGRESSION, f"1 -> 2 {NASTY}"),),
)


def test_junit_tells_regressions_from_infrastructure() -> None:
    (suite,) = ElementTree.fromstring(junit(DATA))  # noqa: S314  # our own text
    counts = {key: suite.get(key) for key in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "4", "failures": "1", "errors": "1", "skipped": "1"}
    cases = {case.get("name"): case for case in suite.iter("testcase")}
    failure = cases["slow[int8]"].find("failure")
    assert failure is not None
    assert "estimate.cycles (exact): 1 -> 2 <b>" in (failure.text or "")
    assert len(cases["m[int8]"]) == 1  # properties only
    source = cases["m[int8]"].find("properties/property[@name='source']")
    assert source is not None
    assert source.get("value") == "sim"


def test_markdown_is_a_table_whatever_the_texts_are() -> None:
    text = markdown(DATA)
    assert text.startswith("### Nightly n1: 1 regression\n")
    assert "<b>" not in text
    assert "\\[x\\](y)" in text
    rows = [line for line in text.splitlines() if line.startswith("| ") and "dead" in line]
    assert len(rows) == 1
    assert rows[0].replace("\\|", "").count("|") == 8


def test_markdown_says_when_nothing_ran_and_where_a_latency_is_from() -> None:
    absent = Exported(DATA.night, DATA.results[1:2], ())
    assert markdown(absent).startswith("### Nightly n1: nothing ran (infrastructure)\n")
    measured = replace(DATA.results[2], metrics=(*METRICS, LATENCY))
    data = Exported(DATA.night, (measured,), ())
    assert "| 12.5 (host) |" in markdown(data)
    assert json.loads(bencher(data))["m@sim@int8 [host]"] == {"latency.us (us)": {"value": 12.5}}


def test_bencher_has_the_numbers_of_whole_programs() -> None:
    found = json.loads(bencher(DATA))
    assert found == {
        f"{job}@sim@int8 [sim]": {"estimate.cycles (cycles)": {"value": 1010}}
        for job in ("m", "slow")
    }


def test_csv_has_every_metric_and_every_job_and_no_formula() -> None:
    rows = list(csv.DictReader(io.StringIO(table(DATA))))
    assert len(rows) == 3 + 3 + 2
    values = {row["value"] for row in rows if row["metric"] == "program.sha256"}
    assert values == {"'=ab"}
    assert {row["status"] for row in rows} == {"ok", "failed", "skipped"}


def test_each_format_has_its_file(tmp_path: Path) -> None:
    paths = write_exports(DATA, [*FORMATS, "csv"], tmp_path)
    assert [path.name for path in paths] == [
        "junit.xml",
        "summary.md",
        "bencher.json",
        "metrics.csv",
    ]
    assert all(path.stat().st_size for path in paths)
