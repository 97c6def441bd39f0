"""The page of `axonrig mlperf`: its figures, its rules, and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from harness.artefacts import write_manifest
from harness.cli import main
from harness.integrity import State, check_folder, read_manifest
from harness.report.mlperf_html import MlperfPage, render_mlperf
from tests.support.html_page import EVIL, Page, hostile
from tests.support.mlperf_data import write_mlperf


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mlperf")
    write_mlperf(root)
    return root / "out"


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "out"))


@pytest.fixture(scope="module")
def report(finished: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((finished / "report.json").read_text())
    return content


def rendered(report: dict[str, Any]) -> Page:
    return Page(render_mlperf(MlperfPage(report, {})))


def test_the_page_joins_the_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(folder)]) == 0
    assert capsys.readouterr().out == f"report: {folder / 'report.html'}\n"
    (check,) = check_folder(folder)
    assert (check.kind, check.state, check.extra) == ("mlperf", State.WHOLE, ())
    page = Page((folder / "report.html").read_text("utf-8"))
    listed = [item["href"] or "" for item in page.all("a")]
    assert all((folder / link).is_file() for link in listed if link.startswith("./"))


def test_figures_equal_the_json(report: dict[str, Any]) -> None:
    page = rendered(report)
    for item in report["benchmarks"]:
        assert f"{item['performance']['latency_ms']:,.3f} ms" in page.text
        assert f"{item['performance']['throughput']:,.2f} inferences/s" in page.text
        assert item["model"]["sha256"] in page.text
    kws, ad = (item["accuracy"] for item in report["benchmarks"])
    assert f"{kws['value']:.1f} %" in page.text
    assert f"AUC {ad['value']:.3f}" in page.text


def test_an_estimate_says_so_wherever_time_is_shown(report: dict[str, Any]) -> None:
    page = rendered(report)
    assert "MLPerf Tiny on sim (estimated)" in page.text
    assert "latency, ms (estimated)" in page.text
    assert "inferences/s by window (estimated)" in page.text
    assert page.text.count("source: sim, time estimated") >= 4


def test_every_rule_has_its_result_and_its_reason(report: dict[str, Any]) -> None:
    page = rendered(report)
    for item in report["benchmarks"]:
        for rule in item["rules"]:
            assert rule["text"] in page.text
            assert rule["citation"] in page.text
            if rule["result"] != "met":
                assert rule["evidence"] in page.text
    assert "A rule that decides is not met" in page.text
    assert "This is no submission" in page.text
    assert all(line in page.text for line in report["skipped"])


def test_a_run_without_accuracy_and_with_the_checker(report: dict[str, Any]) -> None:
    other = json.loads(json.dumps(report))
    other |= {"met": True, "fallback": "no board", "skipped": []}
    other["checker"] = {"passed": False, "said": ["ic01 is missing"]}
    other["benchmarks"][0] |= {"accuracy": None, "energy": None}
    other["benchmarks"][1]["performance"] = None
    page = rendered(other)
    assert "No rule that decides was broken." in page.text
    assert "Note: no board" in page.text
    assert "did not pass" in page.text
    assert "Checker: ic01 is missing" in page.text


def test_no_string_of_a_report_is_markup(report: dict[str, Any]) -> None:
    page = rendered(hostile(report) | {"versions": {EVIL: EVIL}})
    assert not page.all("script")
    assert not page.all("img")
    assert "<script>alert(1)</script>" in page.text


def test_charts_as_files(folder: Path, tmp_path: Path) -> None:
    assert main(["report", str(folder), "--charts", str(tmp_path / "charts")]) == 0
    names = sorted(path.name for path in (tmp_path / "charts").iterdir())
    assert names == ["windows-0.svg", "windows-1.svg"]


@pytest.mark.parametrize(
    ("kind", "content", "words"),
    [
        ("verify", "{}", "is of the kind 'verify'; 'axonrig report' makes pages of"),
        ("mlperf", '{"schema": 1}', "is no report of this version"),
        ("mlperf", "[]", "holds no JSON object"),
    ],
)
def test_other_kinds_and_damage_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], kind: str, content: str, words: str
) -> None:
    (folder / "report.json").write_text(content)
    names = list(read_manifest(folder / "manifest.json").files)
    write_manifest(folder, names, {"schema": 1, "kind": kind})
    assert main(["report", str(folder)]) == 3
    assert words in capsys.readouterr().err
    assert not (folder / "report.html").exists()


def test_a_result_without_its_report_is_told(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_manifest(folder, [], {"schema": 1, "kind": "mlperf"})
    assert main(["report", str(folder)]) == 3
    assert "manifest.json does not list report.json; measure again" in capsys.readouterr().err
