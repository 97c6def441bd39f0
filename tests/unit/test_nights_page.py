"""The page of a history: what is on it, where it comes from, and what it refuses."""

from __future__ import annotations

import math
import re
import shutil
import sqlite3
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest

from harness.charts.nights import Row, night_grid
from harness.charts.spread import Group, quantile, spread
from harness.charts.trend import Line, Mark, axis_number, round_range, trend
from harness.cli import main
from harness.history import Job, Kind, Metric, Night, Result, Status, Verdict, open_history
from harness.report.nights.facts import HistoryFacts, drawable
from harness.report.nights.page import read_history, write_history_page
from harness.report.nights.words import change, shown
from tests.support.html_page import Page
from tests.support.nights import LEVEL_CHANGE, job_names, write_nights

MOST_BYTES = 3_000_000
EVIL = "<script>alert('x')</script>\x00\"&\u202e"


def parsed(drawn: str) -> ElementTree.Element:
    return ElementTree.fromstring(drawn)  # noqa: S314  # our own text


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 nights of 8 jobs."""
    path = tmp_path_factory.mktemp("nights") / "history.db"
    write_nights(path, nights=40, jobs=8)
    return path


@pytest.fixture(scope="module")
def found(database: Path) -> HistoryFacts:
    return read_history(database)


@pytest.fixture(scope="module")
def page(database: Path) -> Page:
    return Page(write_history_page(database).read_text(encoding="utf-8"))


@pytest.fixture
def copy(database: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(database, tmp_path / "history.db"))


def test_verdict_and_counts_of_the_last_night(page: Page, found: HistoryFacts) -> None:
    ran = sum(item.status is Status.OK for item in found.results)
    assert f"1 regression last night: {ran} of 8 jobs ran." in page.text
    assert f"regressions 1 source: history, night {found.last.id}" in page.text


def test_a_change_of_last_night_is_told_with_its_cause(page: Page) -> None:
    assert "100000 -> 104000 cycles (+4.00 %): layer 3 (conv2d) +4000" in page.text
    assert "104,000 (+4.00 %)" in page.text


def test_sources_never_share_a_table(page: Page, found: HistoryFacts) -> None:
    captions = re.findall(r"Source: (\S+)", page.text)
    assert captions == sorted({item.source for item in found.results if item.source})
    # Nor a column: what is estimated for an emulated board is of the simulator, and says so.
    assert "cycles (estimated), sim" in page.text
    assert "top-1 agreement, " not in page.text


def test_a_change_of_level_is_marked_where_it_began(database: Path, found: HistoryFacts) -> None:
    drawn = write_history_page(database).read_text(encoding="utf-8")
    since = found.nights[40 - 10].id
    assert f"regression {100 * LEVEL_CHANGE:+.1f} %" in drawn
    assert f"a new level since {since}" in drawn


def test_unchanged_figures_get_no_chart(page: Page, found: HistoryFacts) -> None:
    names = [str(item["aria-label"]) for item in page.all("svg")]
    (sim, *_) = job_names(8)
    assert f"{sim.name}: estimate.cycles" in names
    assert not any("memory.ram_bytes" in name for name in names)
    trend = found.trend(sim, "memory.ram_bytes")
    assert trend is not None
    assert not trend.varies


def test_levels_are_in_the_table(page: Page, found: HistoryFacts) -> None:
    assert "Levels of latency.us" in page.text
    assert "Levels of estimate.cycles" in page.text
    first, before = found.nights[0].id, found.nights[-2].id
    assert f"{first} {before} " in page.text


def test_every_job_and_every_reason_is_there(page: Page, found: HistoryFacts) -> None:
    for result in found.results:
        assert result.job.name in page.text
        if result.status is not Status.OK:
            assert str(result.reason) in page.text
    for name, version in found.last.versions.items():
        assert f"{name} {version}" in page.text
    assert found.last.code in page.text


def test_results_that_are_there_are_linked(copy: Path, found: HistoryFacts) -> None:
    ok = next(item for item in found.results if item.status is Status.OK)
    assert ok.folder is not None
    folder = copy.parent / ok.folder
    folder.mkdir(parents=True)
    (folder / "report.html").write_text("the page")
    (copy.parent / "pages").mkdir()
    written = write_history_page(copy, copy.parent / "pages" / "p.html")
    links = [item["href"] or "" for item in Page(written.read_text("utf-8")).all("a")]
    files = {(written.parent / unquote(link)).resolve() for link in links if link[0] != "#"}
    assert files == {copy.resolve(), (folder / "report.html").resolve()}


def test_command_writes_page_and_charts(
    copy: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["report", str(copy), "--charts", str(tmp_path / "charts")]) == 0
    told = capsys.readouterr().out
    assert f"report: {copy.with_suffix('.html')}" in told
    names = sorted(path.name for path in (tmp_path / "charts").iterdir())
    assert names[0] == "000-nights.svg"
    assert "_estimate.cycles.svg" in " ".join(names)
    for path in (tmp_path / "charts").iterdir():
        parsed(path.read_text(encoding="utf-8"))


def test_the_same_history_gives_the_same_page(copy: Path) -> None:
    first = write_history_page(copy).read_bytes()
    assert write_history_page(copy).read_bytes() == first


def test_two_hundred_nights_of_twenty_jobs_stay_small(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    write_nights(path, nights=200, jobs=20)
    assert write_history_page(path).stat().st_size < MOST_BYTES


def test_refusals(copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.db").write_text("no database at all")
    empty = tmp_path / "empty.db"
    with open_history(empty, create=True):
        pass
    for words, told in (
        ([str(tmp_path / "text.db")], "is no undamaged history"),
        ([str(empty)], "has no night yet"),
        ([str(copy), "-o", str(copy)], "is the history itself"),
        ([str(copy), "-o", str(tmp_path / "no" / "p.html")], "does not exist"),
        ([str(copy), "-o", str(tmp_path)], "is a folder"),
        ([str(tmp_path / "none")], "there is no result folder"),
    ):
        assert main(["report", *words]) == 3
        assert told in capsys.readouterr().err


def test_a_night_that_was_cut_off_says_so(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    job = Job("m", "sim", "int8")
    failed = Result(job, Status.FAILED, "2026-01-01T03:00", "the process was killed")
    with open_history(path, create=True) as history:
        history.begin(Night("n1", "2026-01-01T02:00", "h", "c", "m", {}))
        history.record("n1", failed)
    text = Page(write_history_page(path).read_text("utf-8")).text
    assert "1 job failed last night: 0 of 1 jobs ran. The night was cut off" in text
    assert "the process was killed" in text
    assert "no figures" in text
    with open_history(path) as history:
        history.record("n1", replace(failed, status=Status.SKIPPED))
    text = Page(write_history_page(path).read_text("utf-8")).text
    assert "Nothing ran last night: 0 of 1 jobs ran." in text


def test_sources_of_one_metric_have_lines_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    job = Job("m", "nrf54", "int8")
    with open_history(path, create=True) as history:
        for number, source in enumerate(("sim", "sim", "board", "board")):
            night = f"n{number}"
            history.begin(Night(night, f"2026-01-0{number + 1}", "h", "c", "m", {}))
            metric = Metric("latency.us", 500.0 - 100 * number, "us", Kind.MEASURED, source)
            done = Result(job, Status.OK, "x", source=source, metrics=(metric,))
            history.record(night, done)
            history.finish(night, "x", ())
    found = read_history(path)
    item = found.trend(job, "latency.us")
    assert item is not None
    first_on_board, last = item.points[2], item.points[3]
    assert item.before(first_on_board) is None
    assert change(item.before(last), last) == "-33.33 %"
    text = Page(write_history_page(path).read_text("utf-8")).text
    assert "● sim" in text
    assert "● board" in text


@pytest.fixture
def evil_history(tmp_path: Path) -> Path:
    """A file in which every text is an attack, made by hand: nothing checked it."""
    path = tmp_path / "evil.db"
    write_nights(path, nights=3, jobs=2)
    connection = sqlite3.connect(path)
    for name, columns in {
        "night": ("host", "code", "matrix", "revision", "begun"),
        "result": ("reason", "folder", "manifest", "source"),
        "metric": ("unit", "source"),
        "finding": ("text", "unit"),
    }.items():
        for column in columns:
            connection.execute(f"UPDATE {name} SET {column} = ?", (EVIL + "/x",))  # noqa: S608  # constants
    connection.execute("UPDATE metric SET value = 9e999 WHERE name = 'memory.ram_bytes'")
    connection.execute("UPDATE metric SET value = ? WHERE name = 'program.bytes'", (EVIL,))
    connection.execute("UPDATE metric SET value = x'00ff' WHERE name = 'agreement.max_lsb'")
    connection.execute("UPDATE metric SET name = ? WHERE name = 'estimate.cpu_cycles'", (EVIL,))
    connection.commit()
    connection.close()
    return path


def test_nothing_in_a_history_is_markup(evil_history: Path) -> None:
    written = Page(write_history_page(evil_history).read_text("utf-8"))
    assert not written.all("script")
    assert not [e for _, e in written.elements if any(key.startswith("on") for key in e)]
    assert all((item["href"] or "").startswith(("#", "./")) for item in written.all("a"))
    assert "<script>alert('x')</script>" in written.text


@pytest.mark.parametrize(
    ("metric", "value", "unit", "words"),
    [
        ("estimate.cycles", 2327534, "cycles", "2,327,534 cycles"),
        ("accuracy.device", 0.99, "", "99.00 %"),
        ("latency.us", 1234.56789, "us", "1,234.568 us"),
        ("program.sha256", "0123456789abcdef", "", "0123456789ab"),
        ("latency.us", math.inf, "us", "inf"),
    ],
)
def test_figures_are_shown_as_a_reader_wants_them(
    metric: str, value: float | str, unit: str, words: str
) -> None:
    assert shown(metric, value, unit) == words


def test_what_no_chart_can_show() -> None:
    assert not drawable("3")
    assert not drawable(math.nan)
    assert not drawable(1e300)
    assert drawable(0)


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (499.5, 512.1), (5, 5), (0, 0), (0.99, 0.99), (-3, 7), (1e14, 1e14)]
)
def test_axis_reaches_both_ends_in_round_steps(low: float, high: float) -> None:
    ticks = round_range(low, high)
    assert ticks[0] <= low
    assert ticks[-1] >= high
    assert 2 <= len(ticks) <= 7
    steps = {round(b - a, 9) for a, b in pairwise(ticks)}
    assert len(steps) == 1
    assert min(steps) > 0


def test_axis_numbers_are_short() -> None:
    assert [axis_number(v) for v in (0, 2_327_534.0, 512.5, 0.99, 1e-5)] == [
        "0",
        "2,327,534",
        "512.5",
        "0.99",
        "1e-05",
    ]


def test_quantiles_lie_between_the_values() -> None:
    assert [quantile([1.0, 2.0, 4.0], share) for share in (0, 0.25, 0.5, 1)] == [1, 1.5, 2, 4]
    assert quantile([7.0], 0.9) == 7


def test_a_line_of_steps_moves_only_where_the_value_does() -> None:
    line = Line("sim", [(0, 5.0), (1, 5.0), (2, 6.0), (3, 6.0)], steps=True)
    drawn = parsed(trend([line], [], ["a", "b", "c", "d"], "t"))
    (path, _) = (item.get("d") or "" for item in drawn.iter("{http://www.w3.org/2000/svg}path"))
    assert path.count("V") == 1


def test_new_charts_are_well_formed_with_hostile_names_and_without_values() -> None:
    mark = Mark(0, EVIL, EVIL, bad=True)
    for drawn in (
        trend([Line(EVIL, [(0, 1.0)])], [mark, mark, mark], [EVIL], EVIL, EVIL),
        trend([], [], [], "t"),
        spread([Group(EVIL, [1.0])], EVIL, EVIL),
        spread([], "t", "us"),
        night_grid([Row(EVIL, ["ok", "", "failed", "worse"])], [EVIL] * 4, EVIL),
        night_grid([], [], "t"),
    ):
        assert not list(parsed(drawn).iter("{http://www.w3.org/2000/svg}script"))


def test_endings_put_a_regression_first(found: HistoryFacts) -> None:
    job = job_names(1)[0]
    assert found.endings[job][found.last.id] == "regression"
    assert found.findings[0].verdict is Verdict.REGRESSION
