"""The history: what is acknowledged stays, through kills, torn journals and many writers."""

from __future__ import annotations

import multiprocessing
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import ConfigError
from harness.history import (
    Finding,
    Gate,
    History,
    Job,
    Kind,
    Metric,
    Night,
    Result,
    Samples,
    Status,
    Verdict,
    open_history,
)
from harness.history.lines import from_lines, to_lines

JOB = Job("digits", "sim", "int8")


def night(name: str = "2026-01-01", begun: str = "2026-01-01T02:00:00+00:00") -> Night:
    return Night(name, begun, "Linux x86_64", "c0de", "0a", {"axonrig": "0.1.0"}, "abc1234")


def result(job: Job = JOB, status: Status = Status.OK, cycles: int = 1000) -> Result:
    return Result(
        job=job,
        status=status,
        ended="2026-01-01T02:01:00+00:00",
        reason=None if status is Status.OK else "the board\nsaid no",
        source="sim",
        folder="out/digits",
        manifest="ab" * 32,
        conditions={"clock_hz": "128000000"},
        metrics=(
            Metric("estimate.cycles", cycles, "cycles", Kind.EXACT, "sim"),
            Metric("latency", 12.5, "us", Kind.MEASURED, "board"),
            Metric("program.sha256", "cd" * 32, "", Kind.EXACT, "sim"),
        ),
    )


def finding(name: str = "2026-01-01") -> Finding:
    return Finding(
        night=name,
        job=JOB,
        metric="estimate.cycles",
        gate=Gate.CHANGE_POINT,
        verdict=Verdict.REGRESSION,
        text="1000 -> 1010 cycles",
        before=1000,
        after=1010,
        unit="cycles",
        since="2026-01-01",
        p_value=1e-9,
        effect=0.01,
    )


SAMPLES = (Samples("latency", "candidate", "us", (12.0, 12.5, 1e-300)),)


def filled(path: Path) -> None:
    with open_history(path, create=True) as history:
        for number in (2, 1):
            name = f"2026-01-0{number}"
            history.begin(night(name, f"{name}T02:00:00+00:00"))
            assert history.record(name, result(cycles=1000 * number), SAMPLES)
            assert history.record(name, result(Job("other", "host", "int8"), Status.FAILED))
            history.finish(name, f"{name}T03:00:00+00:00", [finding(name)])


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    filled(path)
    with open_history(path) as history:
        assert [item.id for item in history.nights()] == ["2026-01-01", "2026-01-02"]
        assert history.nights()[0].finished == "2026-01-01T03:00:00+00:00"
        assert history.jobs() == (JOB, Job("other", "host", "int8"))
        assert history.results("2026-01-01")[0] == result()
        assert history.result("2026-01-01", JOB) == result()
        assert history.result("2026-01-01", Job("no", "such", "job")) is None
        assert history.samples("2026-01-02", JOB) == SAMPLES
        assert history.metrics(JOB) == ("estimate.cycles", "latency", "program.sha256")
        points = history.series(JOB, "estimate.cycles")
        assert [(point.night, point.value) for point in points] == [
            ("2026-01-01", 1000),
            ("2026-01-02", 2000),
        ]
        assert isinstance(history.series(JOB, "latency")[0].value, float)
        assert history.series(Job("other", "host", "int8"), "latency") == ()  # it failed
        assert history.findings("2026-01-02") == (finding("2026-01-02"),)
        assert len(history.changes(JOB, "estimate.cycles")) == 2
        assert history.night("1999") is None


def test_a_job_ends_once_and_a_failure_gives_way(tmp_path: Path) -> None:
    with open_history(tmp_path / "h.db", create=True) as history:
        first = history.begin(night())
        assert history.begin(replace(night(), host="elsewhere")) == first
        assert history.record(first.id, result(status=Status.SKIPPED))
        assert history.record(first.id, result(cycles=1), SAMPLES)
        assert not history.record(first.id, result(cycles=2))
        (only,) = history.results(first.id)
        assert only == result(cycles=1)
        assert history.samples(first.id, JOB) == SAMPLES


def test_refuses_what_it_cannot_keep(tmp_path: Path) -> None:
    with open_history(tmp_path / "h.db", create=True) as history:
        with pytest.raises(ConfigError, match="no night '2026-01-01'; begin it first"):
            history.record("2026-01-01", result())
        history.begin(night())
        for value, words in ((float("nan"), "finite"), (1 << 63, "64 bits")):
            metric = Metric("m", value, "", Kind.EXACT, "sim")
            with pytest.raises(ConfigError, match=words):
                history.record("2026-01-01", replace(result(), metrics=(metric,)))
        assert history.results("2026-01-01") == ()


def _foreign(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t (a)")
    connection.close()


def _newer(path: Path) -> None:
    filled(path)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()


def _no_application(path: Path) -> None:
    filled(path)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA application_id = 7")
    connection.close()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (Path.exists, "there is no history"),
        (lambda path: path.write_bytes(b"not a database, but long enough" * 40), "no undamaged"),
        (_foreign, "of another program"),
        (_no_application, "of another program"),
        (_newer, "schema 99; this axonrig knows up to 1: update it"),
    ],
)
def test_files_that_are_no_history(
    tmp_path: Path, make: Callable[[Path], None], words: str
) -> None:
    path = tmp_path / "h.db"
    make(path)
    with pytest.raises(ConfigError, match=words), open_history(path):
        pass


def test_unknown_words_and_damaged_rows_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    filled(path)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE finding SET gate = 'odd' WHERE night = '2026-01-01'")
        connection.execute("UPDATE night SET versions = '[' WHERE id = '2026-01-02'")
        connection.execute("UPDATE sample SET data = x'00'")
    connection.close()
    with open_history(path) as history:
        with pytest.raises(ConfigError, match="unknown word: 'odd'"):
            history.findings("2026-01-01")
        with pytest.raises(ConfigError, match="record of night 2026-01-02 is damaged"):
            history.nights()
        with pytest.raises(ConfigError, match="samples in the history are damaged"):
            history.samples("2026-01-01", JOB)


# ---- JSON lines ----


def test_lines_carry_everything(tmp_path: Path) -> None:
    filled(tmp_path / "a.db")
    with open_history(tmp_path / "a.db") as history:
        lines = list(to_lines(history.records()))
    with open_history(tmp_path / "b.db", create=True) as copy:
        merged = copy.merge(from_lines(lines, "a.jsonl"))
        assert (merged.stored, merged.kept) == (8, 0)
        assert list(to_lines(copy.records())) == lines
        merged = copy.merge(from_lines(lines, "a.jsonl"))
        assert merged.kept == 6  # failed results are stored again
        assert list(to_lines(copy.records())) == lines


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda lines: [*lines[:-1], lines[-1][:-9]], "line 9 is no JSON, or was cut off"),
        (lambda lines: lines[1:], "line 1: a history begins with its head"),
        (lambda lines: lines[:0], "is empty"),
        (lambda lines: [lines[0], lines[0]], "line 2: a history begins with its head"),
        (lambda lines: [lines[0].replace("1", "2")], "'schema' is 2; expected an integer"),
        (lambda lines: [lines[0], '{"record":"night"}'], "line 2: the key 'id' is missing"),
        (lambda lines: [lines[0], lines[1].replace("begun", "begin")], "unknown key|is missing"),
        (lambda lines: [*lines[:2], lines[2].replace("12.5", "NaN")], "NaN is no number"),
        (lambda lines: [*lines[:2], lines[2].replace('"sim"', '"../x"')], "'board' is '../x'"),
        (lambda lines: [lines[0], *lines[2:]], "no night '2026-01-01'; begin it first"),
    ],
)
def test_bad_lines_store_nothing(
    tmp_path: Path, change: Callable[[list[str]], list[str]], words: str
) -> None:
    filled(tmp_path / "a.db")
    with open_history(tmp_path / "a.db") as history:
        lines = change(list(to_lines(history.records())))
    with open_history(tmp_path / "b.db", create=True) as copy:
        with pytest.raises(ConfigError, match=words):
            copy.merge(from_lines(lines, "a.jsonl"))
        assert copy.nights() == ()


# ---- crashes and crowds ----

WRITER = """
import sys, time
from pathlib import Path
from tests.unit.test_history import night, result
from harness.history import Job, open_history
with open_history(Path(sys.argv[1]), create=True) as history:
    history.begin(night())
    for number in range(100000):
        history.record("2026-01-01", result(Job(f"m{number}", sys.argv[2], "int8")))
        print(number, flush=True)
        time.sleep(0.001)  # the other one gets the lock, too
"""


def _start_writer(path: Path, board: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), board],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def _kill(writer: subprocess.Popen[str]) -> list[int]:
    """End it without warning; the records that it acknowledged."""
    writer.send_signal(signal.SIGKILL)
    out, _ = writer.communicate()
    return [int(word) for word in out.split("\n")[:-1]]


def _stored(history: History, board: str) -> set[int]:
    return {
        int(item.job.model[1:]) for item in history.results("2026-01-01") if item.job.board == board
    }


def test_killed_writers_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    with open_history(path, create=True):
        pass
    writers = {board: _start_writer(path, board) for board in ("a", "b")}
    first = {board: writer.stdout.readline() for board, writer in writers.items() if writer.stdout}
    assert all(first.values())
    for board, writer in writers.items():
        acknowledged = {0, *_kill(writer)}
        with open_history(path) as history:
            stored = _stored(history, board)
        assert acknowledged <= stored
        assert len(stored - acknowledged) <= 1  # stored, but killed before it could say so


def _append(path: Path, board: str, count: int) -> None:
    with open_history(path, create=True) as history:
        history.begin(night())
        for number in range(count):
            assert history.record("2026-01-01", result(Job(f"m{number}", board, "int8")))


def test_many_writers_at_once(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=_append, args=(path, f"b{i}", 20)) for i in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    with open_history(path) as history:
        assert len(history.results("2026-01-01")) == 60


def test_a_torn_journal_and_half_written_pages_are_rolled_back(tmp_path: Path) -> None:
    """A copy of both files in the middle of a transaction is what a power cut leaves."""
    path = tmp_path / "h.db"
    filled(path)
    whole = path.read_bytes()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA cache_size = 1")  # pages go to the file before the commit
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE metric SET value = 'torn' || zeroblob(3000)")
    half, journal = path.read_bytes(), Path(f"{path}-journal").read_bytes()
    connection.close()
    assert half != whole
    assert len(journal) > 512
    cases = [(half, journal), *((whole, journal[:cut]) for cut in (0, 7, 512, len(journal) // 2))]
    for number, (data, log) in enumerate(cases):
        copy = tmp_path / f"copy{number}.db"
        copy.write_bytes(data)
        Path(f"{copy}-journal").write_bytes(log)
        with open_history(copy) as history:
            assert history.result("2026-01-01", JOB) == result()
            assert history.result("2026-01-02", JOB) == result(cycles=2000)
            assert history.record("2026-01-02", result(Job("after", "sim", "int8")))


def test_a_full_disk_or_read_only_file_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    filled(path)
    with open_history(path) as history:
        history.connection.execute("PRAGMA max_page_count = 1")
        big = tuple(Metric(f"m{i}", "x" * 4000, "", Kind.EXACT, "sim") for i in range(50))
        with pytest.raises(ConfigError, match="cannot be used: database or disk is full"):
            history.record("2026-01-01", replace(result(Job("n", "sim", "int8")), metrics=big))
        assert len(history.results("2026-01-01")) == 2
    with pytest.raises(ConfigError, match="is no folder"), open_history(path / "x", create=True):
        pass
