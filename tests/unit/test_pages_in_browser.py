"""The pages as a browser shows them: quiet, offline, readable by everybody, true to report.json."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from harness.report.html import PageInputs, render
from harness.report.nights.page import write_history_page
from harness.report.pages import write_page
from harness.run import RunRequest, run
from tests.support.browser import Browser, Tab, find_browser, open_browser
from tests.support.html_page import EVIL, hostile
from tests.support.mlperf_data import write_mlperf
from tests.support.nights import write_nights

PAGES: Final = ("run", "nights", "mlperf")

FAINT: Final = """(() => {
  const channels = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (text) => {
    const [r, g, b] = channels(text).map((v) => v / 255)
      .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (item) => {
    for (; item; item = item.parentElement) {
      const colour = getComputedStyle(item).backgroundColor;
      if ((channels(colour)[3] ?? 1) > 0) return colour;
    }
    return 'rgb(255, 255, 255)';
  };
  const faint = [];
  for (const item of document.querySelectorAll('body *')) {
    const own = [...item.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || item.closest('svg .on, title') || item.matches('.on')) continue;
    const style = getComputedStyle(item);
    const [a, b] = [light(item.closest('svg') ? style.fill : style.color), light(behind(item))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) faint.push(`${item.textContent.slice(0, 40)}: ${contrast.toFixed(2)}`);
  }
  return faint;
})()"""
"""Texts whose contrast is below what WCAG 2.2, 1.4.3 asks for."""

FOCUSED: Final = """(() => {
  const item = document.activeElement;
  const style = getComputedStyle(item);
  const shown = style.outlineStyle !== 'none' || item.matches('.skip');
  const label = item.getAttribute('aria-label') ?? item.textContent;
  return [item.tagName, item.getAttribute('href') ?? '', label, shown];
})()"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    try:
        find_browser()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    with open_browser(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("result") / "run"
    run(RunRequest(limit=40, out=out))
    return out


@pytest.fixture(scope="module")
def pages(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    history = tmp_path_factory.mktemp("nights") / "history.db"
    write_nights(history, nights=40, jobs=4)
    tiny = tmp_path_factory.mktemp("tiny")
    write_mlperf(tiny)
    return {
        "run": run_folder / "report.html",
        "nights": write_history_page(history),
        "mlperf": write_page(tiny / "out"),
    }


@pytest.fixture
def tab(browser: Browser) -> Tab:
    return browser.tab()


def nodes(tab: Tab, role: str) -> list[str]:
    """Names of the accessible nodes of a role."""
    tree = tab.send("Accessibility.getFullAXTree")["nodes"]
    return [
        item.get("name", {}).get("value", "")
        for item in tree
        if not item["ignored"] and item["role"]["value"] == role
    ]


def test_the_tests_would_see_a_request_and_an_error(tab: Tab, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<img src='http://127.0.0.1:9/x.png'><script>undefined.x</script>")
    tab.open(page)
    assert "http://127.0.0.1:9/x.png" in tab.requests()
    assert any("TypeError" in words for words in tab.complaints())


@pytest.mark.parametrize("name", PAGES)
def test_it_is_quiet_and_asks_for_nothing(tab: Tab, pages: dict[str, Path], name: str) -> None:
    tab.open(pages[name])
    asked = [address for address in tab.requests() if not address.startswith("data:")]
    assert asked == [pages[name].as_uri()]
    assert tab.complaints() == []
    assert tab.evaluate("document.scripts.length") == 0
    assert tab.evaluate("[...document.images].every((i) => i.complete && i.naturalWidth)")


def test_its_own_policy_refuses_requests_and_scripts(
    tab: Tab, pages: dict[str, Path], tmp_path: Path
) -> None:
    source = pages["run"].read_text(encoding="utf-8")
    more = "<img src='http://127.0.0.1:9/x.png'/><script>document.title = 'ran'</script></main>"
    (tmp_path / "page.html").write_text(source.replace("</main>", more), encoding="utf-8")
    tab.open(tmp_path / "page.html")
    assert tab.evaluate("document.title") != "ran"
    assert len([words for words in tab.complaints() if "Content Security Policy" in words]) >= 2
    failed = [event for event in tab.events if event["method"] == "Network.loadingFailed"]
    assert all(event["params"].get("blockedReason") == "csp" for event in failed)
    assert failed


def test_key_figures_equal_the_json(tab: Tab, run_folder: Path) -> None:
    tab.open(run_folder / "report.html")
    report: dict[str, Any] = json.loads((run_folder / "report.json").read_text())
    shown: dict[str, str] = tab.evaluate(
        "Object.fromEntries([...document.querySelectorAll('.cards li')].map((card) => "
        "[card.querySelector('.name').innerText, card.querySelector('.value').innerText]))"
    )
    agreement, accuracy, estimate = report["agreement"], report["accuracy"], report["estimate"]
    found = {name: float(re.sub(r"[^\d.]", "", value)) for name, value in shown.items()}
    assert found == pytest.approx(
        {
            "top-1 agreement": 100 * agreement["top1"],
            "exactly equal samples": 100 * agreement["exact_fraction"],
            "largest difference": agreement["max_lsb"],
            "accuracy, device": 100 * accuracy["device"],
            "accuracy, host TFLite": 100 * accuracy["golden"],
            estimate["npu"]["label"]: estimate["npu"]["cycles"],
            estimate["device_time"]["label"]: round(estimate["device_time"]["us"]),
            estimate["energy"]["label"]: round(estimate["energy"]["uj"], 1),
            estimate["memory"]["label"]: estimate["memory"]["ram_bytes"],
        }
    )


@pytest.mark.parametrize("name", PAGES)
def test_light_and_dark_are_both_legible(
    browser: Browser, pages: dict[str, Path], name: str
) -> None:
    papers = []
    for dark in (False, True):
        tab = browser.tab(dark=dark)
        tab.open(pages[name])
        papers.append(tab.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert tab.evaluate(FAINT) == []
    assert papers == ["rgb(255, 255, 255)", "rgb(13, 17, 23)"]


@pytest.mark.parametrize("name", PAGES)
def test_it_prints_on_white_paper_from_a_dark_screen(
    browser: Browser, pages: dict[str, Path], name: str
) -> None:
    tab = browser.tab(dark=True)
    tab.open(pages[name])
    printed = tab.pdf()
    assert printed.startswith(b"%PDF-")
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", printed)) <= 20
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    tab.send("Emulation.setEmulatedMedia", media="print", features=dark)
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert tab.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    assert tab.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    assert tab.evaluate(FAINT) == []


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("width", [320, 390])
def test_a_phone_needs_no_sideways_scrolling(
    browser: Browser, pages: dict[str, Path], name: str, width: int
) -> None:
    tab = browser.tab(width, 700)
    tab.open(pages[name])
    assert tab.evaluate("document.documentElement.clientWidth") == width
    assert tab.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.parametrize("name", PAGES)
def test_the_keyboard_reaches_everything_in_order(
    tab: Tab, pages: dict[str, Path], name: str
) -> None:
    tab.open(pages[name])
    wanted = tab.evaluate(
        "[...document.querySelectorAll('a[href], summary, [tabindex]')]"
        ".filter((item) => item.checkVisibility()).length"
    )
    reached = []
    for _ in range(wanted):
        tab.press("Tab")
        reached.append(tab.evaluate(FOCUSED))
    assert reached[0][:2] == ["A", "#main"]
    assert all(shown for *_, shown in reached), "the focus is not visible"
    links = tab.evaluate("[...document.links].filter((a) => a.checkVisibility())"
                         ".map((a) => a.getAttribute('href'))")  # fmt: skip
    assert [href for tag, href, *_ in reached if tag == "A"] == links


def test_the_first_link_skips_to_the_figures(tab: Tab, pages: dict[str, Path]) -> None:
    tab.open(pages["run"])
    tab.press("Tab")
    tab.press("Enter")
    assert tab.evaluate("location.hash") == "#main"


def test_tables_of_charts_open_by_keyboard(tab: Tab, pages: dict[str, Path]) -> None:
    tab.open(pages["run"])
    tab.evaluate("document.querySelector('summary').focus()")
    tab.press("Enter")
    assert tab.evaluate("document.querySelector('details').open")


@pytest.mark.parametrize("name", PAGES)
def test_a_screen_reader_finds_its_way(tab: Tab, pages: dict[str, Path], name: str) -> None:
    tab.open(pages[name])
    for landmark in ("banner", "main", "contentinfo"):
        assert len(nodes(tab, landmark)) == 1, landmark
    assert nodes(tab, "navigation") == ["Sections"]
    drawings = tab.evaluate("document.querySelectorAll('svg[role=img], img').length")
    named = [*nodes(tab, "image"), *nodes(tab, "img")]
    assert len(named) == drawings > 0
    assert all(named)
    assert all(nodes(tab, "region"))
    assert all(nodes(tab, "link"))
    levels = tab.evaluate(
        "[...document.querySelectorAll('h1,h2,h3,h4')].map((item) => Number(item.tagName[1]))"
    )
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_no_string_of_a_report_is_markup(tab: Tab, run_folder: Path, tmp_path: Path) -> None:
    report = hostile(json.loads((run_folder / "report.json").read_text()))
    report["versions"] = {EVIL: EVIL}
    report["model"]["labels"] = [EVIL] * 10
    files = {f"a b#?{EVIL}": {"bytes": 1, "sha256": EVIL}}
    inputs = np.zeros((40, 4, 4, 3), np.int8)
    page = tmp_path / "page.html"
    page.write_text(render(PageInputs(report, inputs, None, files, prefix=EVIL)), "utf-8")
    tab.open(page)
    assert tab.complaints() == []
    assert "Page.javascriptDialogOpening" not in tab.seen()
    assert tab.evaluate("document.scripts.length") == 0
    assert tab.evaluate("document.querySelectorAll('[onerror], body style').length") == 0
    assert tab.evaluate("document.title").startswith("</title></style><script>alert(1)")
    links = "[...document.links].map((a) => a.getAttribute('href'))"
    assert all(address.startswith(("#", "./")) for address in tab.evaluate(links))
