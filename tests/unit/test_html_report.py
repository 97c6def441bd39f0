"""The page of a run: one file, escaped, readable, and equal to report.json."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest

from harness.cli import main
from harness.report.html import PageInputs, render
from harness.run import RunRequest, run
from tests.support.html_page import EVIL, Page

SECTIONS = ["summary", "estimate", "agreement", "confusion", "gallery", "layers", "provenance"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AXONRIG_CACHE", str(tmp_path_factory.mktemp("cache")))
        out = tmp_path_factory.mktemp("result") / "run"
        run(RunRequest(limit=40, out=out))
    return out


@pytest.fixture(scope="module")
def report(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return content


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def rendered(report: Mapping[str, Any], count: int = 40, **more: Any) -> Page:
    inputs = np.zeros((count, 4, 4, 3), np.int8)
    return Page(render(PageInputs(report, inputs, more.pop("cycles", None), {}, **more)))


def copied(report: Mapping[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(json.dumps(report))
    return content


def test_nothing_is_loaded_from_anywhere(folder: Path, page: Page) -> None:
    assert not page.all("script")
    for attributes in (*page.all("img"), *page.all("image"), *page.all("link")):
        address = attributes.get("src") or attributes.get("href") or ""
        assert address.startswith("data:")
    source = (folder / "report.html").read_text(encoding="utf-8")
    assert "@import" not in source
    assert "url(" not in source
    (policy,) = [
        item["content"]
        for item in page.all("meta")
        if item.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", source)


def test_figures_equal_the_json(page: Page, report: dict[str, Any]) -> None:
    agreement = report["agreement"]
    for shown in (
        f"{100 * agreement['top1']:.2f} %",
        f"{100 * agreement['exact_fraction']:.2f} %",
        f"{agreement['max_lsb']} LSB",
        f"{100 * report['accuracy']['device']:.2f} %",
        report["model"]["sha256"],
        report["model"]["program"]["sha256"],
        report["data"]["sha256"],
        report["versions"]["numpy"],
    ):
        assert shown in page.text


def test_sections_headings_and_navigation(page: Page) -> None:
    present = [item["id"] for item in page.all("section")]
    assert [key for key in SECTIONS if key in present] == present
    assert {"summary", "agreement", "confusion", "layers", "provenance"} <= set(present)
    assert len(page.all("h1")) == 1
    links = {item["href"] for item in page.all("a")}
    assert {f"#{key}" for key in present} <= links
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_readable_without_eyes_and_mouse(page: Page) -> None:
    tables, captions = page.all("table"), page.all("caption")
    assert len(tables) == len(captions) >= 5
    assert all(item.get("scope") in ("col", "row") for item in page.all("th"))
    assert all(item.get("alt") for item in page.all("img"))
    drawings = page.all("svg")
    assert drawings
    assert all(item.get("role") == "img" and item.get("aria-label") for item in drawings)
    ids = [item["id"] for _, item in page.elements if "id" in item]
    assert len(ids) == len(set(ids))
    (html,) = page.all("html")
    assert html["lang"] == "en"
    regions = [item for item in page.all("div") if item.get("role") == "region"]
    assert all(item.get("tabindex") == "0" and item.get("aria-label") for item in regions)


def test_every_figure_has_a_source_and_a_link_to_a_file_that_exists(
    folder: Path, page: Page
) -> None:
    figures = len(page.all("figure"))
    cards = page.text.count("source: ")
    assert cards >= figures + 5
    files = [item["href"] or "" for item in page.all("a") if (item["href"] or "").startswith("./")]
    assert files
    for address in files:
        assert (folder / unquote(address)).is_file(), address


def test_style_serves_dark_mode_print_and_small_screens(folder: Path, page: Page) -> None:
    source = (folder / "report.html").read_text(encoding="utf-8")
    for rule in ("prefers-color-scheme:dark", "@media print", "@media (max-width"):
        assert rule in source
    assert any(item.get("name") == "viewport" for item in page.all("meta"))


def test_names_from_outside_are_text(report: dict[str, Any]) -> None:
    evil = copied(report)
    evil["board"] = evil["fallback"] = evil["backend"] = evil["source"] = EVIL
    evil["model"]["file"] = evil["model"]["name"] = EVIL
    evil["model"]["labels"] = [f"{EVIL}{i}" for i in range(10)]
    evil["data"]["name"] = evil["data"]["origin"] = EVIL
    evil["versions"] = {EVIL: EVIL}
    evil["comparisons"][0]["left"] = EVIL
    for layer in evil["layers"]["all"]:
        layer["op"] = layer["tensor"] = EVIL
    for layer in (evil.get("estimate") or {"layers": []})["layers"]:
        layer["op"] = EVIL
    source = render(
        PageInputs(
            evil,
            np.zeros((40, 4, 4, 3), np.int8),
            None,
            {f"a b#?{EVIL}": {"bytes": 1, "sha256": EVIL}},
            prefix=EVIL,
        )
    )
    found = Page(source)
    assert not found.all("script")
    assert not [item for _, item in found.elements if any(key.startswith("on") for key in item)]
    assert all((item.get("src") or "").startswith("data:") for item in found.all("img"))
    assert "<script>alert(1)</script>" in found.text
    for item in found.all("a"):
        assert (item["href"] or "").startswith(("#", "./"))


def test_measured_cycles_are_shown_with_their_source(report: dict[str, Any]) -> None:
    timed = copied(report)
    timed["latency"] = {
        "source": "board",
        "cycles": {"min": 1000, "median": 1100.0, "max": 1300},
        "clock_hz": 128_000_000,
        "median_us": 8.59375,
    }
    cycles = np.array([1000, 1100, 1100, 1300], np.int64)
    found = rendered(timed, cycles=cycles)
    assert "8.6 µs 1,100 cycles source: board" in found.text
    assert "128 MHz" in found.text
    assert "latency" in [item["id"] for item in found.all("section")]


def test_equal_outputs_give_no_gallery(report: dict[str, Any]) -> None:
    equal = copied(report)
    equal["agreement"] |= {"worst": [], "disagreements": [], "exact": 40, "top1": 1.0}
    equal["layers"]["first_differing"] = None
    equal["agreement"]["confusion"] = None
    found = rendered(equal)
    present = [item["id"] for item in found.all("section")]
    assert "gallery" not in present
    assert "confusion" not in present
    assert "exactly what host TFLite gives" in found.text
    assert "Every compared layer equals host TFLite" in found.text


def test_a_report_without_an_estimate_has_no_such_section(report: dict[str, Any]) -> None:
    older = copied(report)
    del older["estimate"]
    found = rendered(older)
    assert "estimate" not in [item["id"] for item in found.all("section")]
    assert "estimate" in [item["id"] for item in rendered(report).all("section")]


def test_advice_and_notes_are_shown(report: dict[str, Any]) -> None:
    advised = copied(report)
    advised["estimate"] |= {"notes": ["a note"], "advice": [f"layer 1: {EVIL}"]}
    text = rendered(advised).text
    assert "a note" in text
    assert f"Advice layer 1: {EVIL}" in text


def test_disagreements_come_first_and_are_marked(report: dict[str, Any]) -> None:
    apart = copied(report)
    sample = {"index": 3, "max_lsb": 9, "left_class": 1, "right_class": 2, "label": 1}
    apart["agreement"] |= {"disagreements": [sample], "top1": 39 / 40}
    found = rendered(apart)
    assert "another class for 1 samples" in found.text
    assert "sample 3 golden: 1 device: 2 label: 1 differs by 9 LSB classes differ" in found.text
    assert [item for item in found.all("li") if item.get("class") == "apart"]


def test_command_writes_the_same_page_and_keeps_the_manifest_true(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    before = (copy / "report.html").read_bytes()
    (copy / "report.html").write_text("old")
    assert main(["report", str(copy)]) == 0
    assert (copy / "report.html").read_bytes() == before
    assert (copy / "manifest.json").read_bytes() == (folder / "manifest.json").read_bytes()
    assert str(copy / "report.html") in capsys.readouterr().out


def test_page_elsewhere_links_back(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "a run: 100 %"
    shutil.copytree(folder, copy)
    target = tmp_path / "pages" / "p.html"
    target.parent.mkdir()
    assert main(["report", str(copy), "-o", str(target)]) == 0
    found = Page(target.read_text(encoding="utf-8"))
    files = [item["href"] or "" for item in found.all("a") if (item["href"] or "").startswith("./")]
    assert files
    assert all((target.parent / unquote(address)).is_file() for address in files)


def test_charts_as_files(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "charts"
    page = str(tmp_path / "p.html")
    assert main(["report", str(folder), "-o", page, "--charts", str(target)]) == 0
    names = {path.name for path in target.iterdir()}
    assert {"differences.svg", "layers.svg", "confusion.svg", "gallery.svg"} <= names
    for path in target.iterdir():
        assert path.read_text(encoding="utf-8").startswith("<svg ")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("manifest.json", None, "was cut off"),
        ("manifest.json", "{", "is no JSON"),
        ("manifest.json", "[]", "no JSON object"),
        ("manifest.json", '{"schema": 1, "kind": "job", "files": {}}', "of the kind 'job'"),
        ("manifest.json", '{"schema": 1, "kind": "run", "files": {"../x": {}}}', "no file of"),
        ("manifest.json", '{"schema": 1, "kind": "run", "files": {}}', "does not list"),
        ("inputs.npz", "changed", "is not the file that the run wrote"),
        ("golden.npz", None, "was cut off"),
    ],
)
def test_incomplete_and_damaged_folders_are_refused(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    content: str | None,
    words: str,
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    if content is None:
        (copy / name).unlink()
    else:
        (copy / name).write_text(content)
    assert main(["report", str(copy)]) == 3
    assert words in capsys.readouterr().err


def test_other_refusals(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path / "none")]) == 3
    assert "there is no result folder" in capsys.readouterr().err
    assert main(["report", str(folder), "-o", str(folder / "report.json")]) == 3
    assert "is an artefact of the run" in capsys.readouterr().err
    assert main(["report", str(folder), "-o", str(tmp_path / "no" / "p.html")]) == 3
    assert "does not exist" in capsys.readouterr().err


def test_a_report_of_another_form_is_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from harness.artefacts import write_manifest

    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / "report.json").write_text('{"schema": 1}')
    names = [path.name for path in copy.iterdir() if path.name != "manifest.json"]
    write_manifest(copy, names, {"schema": 1, "kind": "run"})
    assert main(["report", str(copy)]) == 3
    assert "is no report of this version" in capsys.readouterr().err


def test_the_terminal_shows_tables_charts_and_pictures(
    folder: Path, report: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert main(["report", str(folder), "--terminal"]) == 0
    told = capsys.readouterr().out
    assert f"{report['estimate']['npu']['cycles']:,}" in told
    assert "interlayer buffer: bytes upwards, layers to the right" in told
    assert "samples worth looking at" in told
    assert f"sample {report['agreement']['worst'][0]['index']}" in told
    assert set(" ░▒▓█") <= set(told)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_the_terminal_writes_no_file(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(folder), "--terminal", "-o", str(tmp_path / "p.html")]) == 3
    assert "--terminal writes no file" in capsys.readouterr().err
    assert main(["report", str(tmp_path / "none"), "--terminal"]) == 3


def test_page_stays_small(folder: Path) -> None:
    assert (folder / "report.html").stat().st_size < 500_000
