"""A night: strict job files, isolated jobs, one end for each job, resumption, gates, exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from rich.console import Console

from harness.board import load_boards
from harness.cli import main
from harness.errors import BoardError, ConfigError, ToolchainError
from harness.history import (
    Finding,
    Gate,
    History,
    Job,
    Kind,
    Metric,
    Night,
    Recorded,
    Result,
    Samples,
    Status,
    Verdict,
    open_history,
)
from harness.integrity import State, check_folder
from harness.nightly import launch, night, worker
from harness.nightly.images import open_image, read_image
from harness.nightly.judge import previous, rounds_of
from harness.nightly.lanes import Put, run_lanes, sequence
from harness.nightly.latency import order
from harness.nightly.launch import Order, carry_out, finished
from harness.nightly.matrix import DEFAULT_FILE, NUMBER, BoardEntry, Matrix, load_matrix
from harness.nightly.night import NightRequest, NightStatus, run_night
from harness.nightly.table import print_night
from tests.support.kit import plug_in
from tests.support.operator_models import build_model

MATRIX = """
schema: 1
models:
  - {name: digits, file: embedded, limit: 4}
boards:
  - {name: sim}
  - {name: host, limit: 4, round_pairs: 3, round_inputs: 2}
variants:
  - {name: int8}
budgets:
  - {metric: estimate.cycles, most: 3000000, reason: fast enough}
tolerances:
  - {metric: program.bytes, worse: 0.1, reason: alignment}
"""
SIM, HOST = Job("digits", "sim", "int8"), Job("digits", "host", "int8")


def matrix(tmp_path: Path, text: str = MATRIX) -> tuple[Matrix, Path]:
    path = tmp_path / "nightly.yaml"
    path.write_text(text)
    return load_matrix(path), path


def request(tmp_path: Path, text: str = MATRIX) -> NightRequest:
    parsed, path = matrix(tmp_path, text)
    return NightRequest(parsed, path, tmp_path / "out", jobs=2)


# ---- the job file ----


def test_the_shipped_job_file_is_valid() -> None:
    plans = load_matrix(DEFAULT_FILE).plans
    assert {plan.job.board for plan in plans} >= {"sim", "host", "virt-nrf54l15", "nrf54lm20dk"}
    assert len({plan.job for plan in plans}) == len(plans)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("schema: 1", "schema: 2", "'schema' is 2"),
        ("name: sim", "nmae: sim", "unknown key 'nmae'|'name' is missing"),
        ("name: sim", "name: ../sim", "'name' is '../sim'"),
        ("{name: host, ", "{name: sim, ", "two entries with the name 'sim'"),
        ("round_pairs: 3", "round_pairs: 2", "expected 0 or at least 3"),
        ("limit: 4}", "limit: 0}", "'limit' is 0"),
        ("metric: estimate.cycles, most: 3000000", "metric: m", "expected 'least', 'most' or both"),
        ("most: 3000000", "most: many", "'most' is 'many'; expected a number"),
        ("most: 3000000", "most: .nan", "'most' is nan; expected a number"),
        ("metric: estimate.cycles", "metric: estimate.cycels", "'metric' is 'estimate.cycels'"),
        ("metric: program.bytes", "metric: program.sha256", "'metric' is 'program.sha256'"),
        (", reason: fast enough", "", "'reason' is missing"),
        ("reason: fast enough", "boards: [simm], reason: x", "'boards' has 'simm'"),
        ("worse: 0.1", "worse: 7", "'worse' is 7"),
        ("limit: 4, round", "target: gpu, round", "'target' is 'gpu'; expected cpu or npu"),
        ("{name: int8}", "{name: int8, output: int9}", "'output' is 'int9'"),
        ("variants:\n  - {name: int8}", "variants: []", "'variants' lists nothing"),
        ("budgets:", "exclude: [{reason: all}]\nbudgets:", "0 jobs; expected 1"),
        ("boards:", "boards: {", ""),
    ],
)
def test_a_bad_job_file_is_refused(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert old in MATRIX
    path = tmp_path / "nightly.yaml"
    path.write_text(MATRIX.replace(old, new, 1))
    options = ["--history", str(tmp_path / "h.db"), "--out", str(tmp_path / "out")]
    assert main(["nightly", str(path), *options]) == NightStatus.INFRASTRUCTURE
    if words:
        with pytest.raises(ConfigError, match=words):
            load_matrix(path)


def test_names_that_make_no_file_name_are_refused(tmp_path: Path) -> None:
    long = "n" * 80
    text = MATRIX.replace("name: digits", f"name: {long}").replace("name: int8", f"name: {long}")
    text = text.replace("{name: sim}", f"{{name: {long}, board: sim}}")
    with pytest.raises(ConfigError, match="has a name of 242 characters; expected at most 200"):
        matrix(tmp_path, text)


def test_exclusions_take_jobs_out(tmp_path: Path) -> None:
    text = MATRIX + "exclude:\n  - {boards: [host], reason: not here}\n"
    assert [plan.job for plan in matrix(tmp_path, text)[0].plans] == [SIM]


# ---- whole nights, with real workers ----


def test_a_night_from_end_to_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = "  - {name: torn, file: torn.tflite}\n  - {name: gone, file: gone.tflite}\nboards:"
    text = MATRIX.replace("boards:", bad, 1) + (
        "exclude: [{models: [torn, gone], boards: [host], reason: once is enough}]\n"
    )
    (tmp_path / "torn.tflite").write_bytes(b"no model")
    first = request(tmp_path, text)
    database = tmp_path / "h.db"
    with open_history(database, create=True) as history:
        result = run_night(history, replace(first, name="one"))
        by_job = {item.job: item for item in result.results}
        assert result.status is NightStatus.INFRASTRUCTURE
        metrics = [metric for item in result.results for metric in item.metrics]
        numbers = [metric.name for metric in metrics if not isinstance(metric.value, str)]
        assert "latency.us" in numbers
        assert all(NUMBER.fullmatch(name) for name in numbers)
        torn, gone = by_job[Job("torn", "sim", "int8")], by_job[Job("gone", "sim", "int8")]
        assert (torn.status, torn.conditions["failure"]) == (Status.FAILED, "input")
        assert gone.status is Status.SKIPPED
        assert "gone.tflite is not there" in (gone.reason or "")
        sim, host = by_job[SIM], by_job[HOST]
        assert sim.metric("agreement.top1") == Metric("agreement.top1", 1.0, "", Kind.EXACT, "sim")
        assert sim.metric("program.sha256") == host.metric("program.sha256")
        assert sim.metric("outputs.sha256").value == host.metric("outputs.sha256").value  # type: ignore[union-attr]  # both ran
        latency = host.metric("latency.us")
        assert latency is not None
        assert (latency.kind, latency.source) == (Kind.MEASURED, "host")
        assert len(history.samples("one", HOST)) == 6
        assert read_image(result.folder / "images" / HOST.name).board == "host"
        print_night(result, Console(width=200))
    printed = capsys.readouterr().out
    assert "1 failed" in printed
    assert "gone.tflite is not there" in printed
    options = ["--history", str(database), "--out", str(tmp_path / "out"), "--night", "two"]
    (tmp_path / "nightly.yaml").write_text(MATRIX)
    baseline = ["--baseline", str(result.folder)]
    monkeypatch.setattr(night, "carry_out", _in_process)
    assert main(["nightly", str(first.matrix_file), *options, *baseline]) in (0, 1)
    checks = check_folder(tmp_path / "out" / "two")
    assert [check.kind for check in checks] == ["nightly", "run", "run"]
    assert all(check.state is State.WHOLE and not check.extra for check in checks)
    with open_history(database) as history:
        runs = {item.run for item in history.samples("two", HOST)}
    assert {"candidate-05", "baseline-05"} <= runs
    assert main(["nightly", str(first.matrix_file), *options, "--baseline", str(tmp_path)]) == 2


def test_a_board_is_measured_in_turns_with_a_baseline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, history: History
) -> None:
    """A kit on the desk, flashed by a stand-in of nrfutil; its chip is the emulated one."""
    kit = plug_in(tmp_path, monkeypatch, "nrfutil")
    monkeypatch.setattr("harness.nightly.images.open_port", kit.open_port)
    monkeypatch.setattr("harness.nightly.matrix.LEAST_PAIRS", 1)
    monkeypatch.setattr(night, "carry_out", _in_process)
    (tmp_path / "small.tflite").write_bytes(build_model("conv"))
    text = MATRIX.replace("file: embedded", "file: small.tflite")
    text = text.replace("{name: host, limit: 4,", "{name: nrf54l15dk, limit: 1,")
    wanted = request(tmp_path, text.replace("round_pairs: 3, round_inputs: 2", "round_pairs: 1"))
    first = run_night(history, replace(wanted, name="one"))
    board = Job("digits", "nrf54l15dk", "int8")
    (result,) = (item for item in first.results if item.job == board)
    assert (result.status, result.source) == (Status.OK, "board"), result.reason
    assert result.conditions["latency.clock_hz"] == "128000000"
    baseline = replace(wanted, name="two", baseline=first.folder)
    second = run_night(history, baseline)
    runs = [item.run for item in history.samples("two", board)]
    assert len(runs) == 4
    values = {item.values for item in history.samples("two", board)}
    assert len(values) == 1, "the emulated clock scatters"
    assert second.status is NightStatus.FINE
    folder = first.folder / "images" / board.name
    spec = load_boards()["host"]
    with pytest.raises(ConfigError, match="holds an image of nrf54l15dk, not of host"):
        open_image(read_image(folder), spec, None, None)
    (folder / "firmware.hex").write_text("other")
    with pytest.raises(ConfigError, match=r"firmware.hex is not the file that image.json names"):
        read_image(folder)
    (folder / "image.json").unlink()
    with pytest.raises(ConfigError, match=r"image.json cannot be read"):
        read_image(folder)


def _in_process(order: Order) -> Recorded:
    """A job without a process of its own."""
    words = [str(order.matrix), order.sha256, order.job.name, str(order.night)]
    words += [f"--baseline={order.baseline}"] if order.baseline else []
    assert worker.main(words) == 0
    return launch.read_outcome(order.outcome, order.job)


def _order(tmp_path: Path, timeout_s: int = 20) -> Order:
    parsed, path = matrix(tmp_path)
    (tmp_path / "night").mkdir()
    return Order(path, parsed.sha256, SIM, tmp_path / "night", timeout_s)


@pytest.mark.parametrize(
    ("program", "words", "failure"),
    [
        ("import os; print('last words', flush=True); os.kill(os.getpid(), 9)", "signal 9", "died"),
        ("import sys; sys.exit('last words')", "status 1: last words", "died"),
        ("pass", "left no outcome", "died"),
        ("import time; time.sleep(60)", "no end within 1 s", "timeout"),
    ],
)
def test_a_worker_that_dies_or_hangs_is_a_failed_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, words: str, failure: str
) -> None:
    monkeypatch.setattr(launch, "_command", lambda _: [sys.executable, "-c", program])
    result = carry_out(_order(tmp_path, 1 if failure == "timeout" else 20)).result
    assert result.status is Status.FAILED
    assert words in (result.reason or "")
    assert result.conditions == {"failure": failure}


def test_an_interrupt_stops_the_workers_and_begins_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = _order(tmp_path, 60)
    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    monkeypatch.setattr(launch, "_command", lambda _: sleep)

    def quick(put: Put) -> None:
        while not launch._running:
            time.sleep(0.01)
        put(wanted, outcome(SIM))

    lanes = [sequence([wanted, wanted], carry_out), quick]
    running = run_lanes(lanes, 2)
    assert next(running)[1] == outcome(SIM)
    started = time.monotonic()
    running.close()  # type: ignore[attr-defined]  # a generator
    assert time.monotonic() - started < 30
    assert not launch._running


def test_a_board_rests_while_its_last_outcome_is_judged(tmp_path: Path) -> None:
    begun: list[Order] = []

    def work(order: Order) -> Recorded:
        begun.append(order)
        return outcome(order.job)

    wanted = _order(tmp_path, 60)
    for number, _ in enumerate(run_lanes([sequence([wanted] * 3, work)], 2), 1):
        time.sleep(0.02)  # as a confirming re-run on the same board would take
        assert len(begun) == number


def test_a_job_that_ended_before_the_crash_is_taken_over(tmp_path: Path) -> None:
    wanted = _order(tmp_path)
    assert finished(wanted) is None
    outcome = carry_out(wanted)
    assert outcome.result.status is Status.OK
    assert finished(wanted) == outcome
    manifest = Path(outcome.result.folder or "") / "manifest.json"
    manifest.write_text("{}")
    assert finished(wanted) is None
    stale = carry_out(replace(wanted, sha256="0" * 64))
    assert "changed during the night" in (stale.result.reason or "")


def test_a_killed_night_leaves_no_worker_and_is_resumed(tmp_path: Path) -> None:
    exclusion = "exclude: [{boards: [host], reason: one worker is enough}]\n"
    matrix(tmp_path, MATRIX + exclusion)
    words = ["--history", "h.db", "--out", "out", "--jobs", "1"]
    command = [sys.executable, "-m", "harness", "nightly", "nightly.yaml", *words]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    killed = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while not (logs := list(tmp_path.glob("out/*/*.log"))) and time.monotonic() < deadline:
        time.sleep(0.01)
    killed.kill()
    killed.communicate()
    assert logs
    with open_history(tmp_path / "h.db") as history:
        (begun,) = history.nights()
    assert begun.finished is None
    assert subprocess.run(command, cwd=tmp_path, env=environment, check=False).returncode == 0
    with open_history(tmp_path / "h.db") as history:
        assert [night.id for night in history.nights()] == [begun.id]
        assert [item.status for item in history.results(begun.id)] == [Status.OK]
    assert not list(tmp_path.glob("out/*/.*.part")), "the killed worker's folder was left"


# ---- the flow, with made-up outcomes ----


def outcome(
    job: Job, *, cycles: int = 1000, us: float | None = None, failure: str | None = None
) -> Recorded:
    if failure:
        return Recorded(
            "", Result(job, Status.FAILED, "now", "why", conditions={"failure": failure})
        )
    metrics = [
        Metric("program.sha256", f"{cycles:064x}", "", Kind.EXACT, "compiler"),
        Metric("estimate.cycles", cycles, "cycles", Kind.EXACT, "sim"),
        Metric("layer.000.op", "conv2d", "", Kind.EXACT, "compiler"),
        Metric("layer.000.cycles", cycles, "cycles", Kind.EXACT, "sim"),
        Metric("layer.000.sha256", f"{cycles:016x}", "", Kind.EXACT, "sim"),
    ]
    samples: tuple[Samples, ...] = ()
    if us is not None:
        metrics.append(Metric("latency.us", us, "us", Kind.MEASURED, "host"))
        samples = _rounds(us)
    conditions = {"source": "sim", "board": job.board}
    result = Result(
        job, Status.OK, "now", source="sim", conditions=conditions, metrics=tuple(metrics)
    )
    return Recorded("", result, samples)


BEGUN = Night("n", "2026-01-01", "h", "c0de", "0a", {})


def _levels_of(measured: Recorded, order: Order) -> Recorded:
    return measured if order.job == HOST else outcome(order.job)


def _failing(order: Order, failure: str) -> Recorded:
    return outcome(order.job, failure=failure)


def _rounds(us: float, prefix: str = "") -> tuple[Samples, ...]:
    """Six rounds whose medians scatter by 0.01 %."""
    return tuple(
        Samples("latency.us", f"{prefix}candidate-{k:02d}", "us", (us * (1 + k * 1e-5),) * 3)
        for k in range(6)
    )


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    with open_history(tmp_path / "h.db", create=True) as opened:
        yield opened


Work = Callable[[Order], Recorded]


def _night(
    history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, work: Work, name: str
) -> night.NightResult:
    monkeypatch.setattr(night, "carry_out", work)
    return run_night(history, replace(request(tmp_path), name=name))


def test_exact_changes_are_found_and_put_down_to_layers(
    history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        result = _night(history, tmp_path, monkeypatch, lambda o: outcome(o.job), name)
        assert (result.status, result.findings) == (NightStatus.FINE, ())
    result = _night(history, tmp_path, monkeypatch, lambda o: outcome(o.job, cycles=1010), "c")
    assert result.status is NightStatus.REGRESSION
    found = {(f.job, f.metric): f for f in result.findings}
    cycles = found[SIM, "estimate.cycles"]
    assert (cycles.verdict, cycles.gate) == (Verdict.REGRESSION, Gate.EXACT)
    assert cycles.text == "1000 -> 1010 cycles (+1.00%): layer 0 (conv2d) +10"
    assert found[SIM, "program.sha256"].verdict is Verdict.CHANGED
    assert "first at layer 0 (conv2d)" in found[SIM, "layer.sha256"].text
    result = _night(history, tmp_path, monkeypatch, lambda o: outcome(o.job, cycles=990), "d")
    assert result.status is NightStatus.FINE
    assert {f.verdict for f in result.findings} == {Verdict.IMPROVEMENT, Verdict.CHANGED}


def test_a_broken_budget_is_a_regression_every_night(
    history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        result = _night(
            history, tmp_path, monkeypatch, lambda o: outcome(o.job, cycles=4_000_000), name
        )
        assert result.status is NightStatus.REGRESSION
        assert {f.gate for f in result.findings} == {Gate.BUDGET}
        assert "at most 3e+06: fast enough" in result.findings[0].text


def test_a_refused_model_that_ran_before_is_a_regression_other_failures_are_infrastructure(
    history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ok = _night(history, tmp_path, monkeypatch, lambda o: outcome(o.job), "a")
    assert ok.status is NightStatus.FINE
    for failure, status in (
        ("refused", NightStatus.REGRESSION),
        ("died", NightStatus.INFRASTRUCTURE),
    ):
        work = partial(_failing, failure=failure)
        result = _night(history, tmp_path, monkeypatch, work, failure)
        assert result.status is status


def test_a_slower_latency_alerts_only_when_a_re_run_confirms_it(
    history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(us: float, again: float | None = None) -> Work:
        def carry(order: Order) -> Recorded:
            if order.again:
                assert again is not None, "measured again without a reason"
                return Recorded("", outcome(order.job).result, _rounds(again, "again-"))
            return outcome(order.job, us=us if order.job == HOST else None)

        return carry

    for k in range(6):
        calm = _night(history, tmp_path, monkeypatch, work(100.0 + 0.01 * (k % 3)), f"n{k}")
        assert calm.status is NightStatus.FINE
    chance = _night(history, tmp_path, monkeypatch, work(103.0, again=100.0), "chance")
    assert (chance.status, chance.findings) == (NightStatus.FINE, ())
    slow = _night(history, tmp_path, monkeypatch, work(103.0, again=103.0), "slow")
    assert slow.status is NightStatus.REGRESSION
    (finding,) = slow.findings
    assert (finding.gate, finding.job) == (Gate.TWO_SAMPLE, HOST)
    assert finding.effect == pytest.approx(0.03, abs=0.002)
    assert "confirmed by a re-run" in finding.text


def test_a_new_level_is_reported_once_with_its_first_night(
    history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change that only many nights show."""
    found: list[Finding] = []
    for k in range(19):
        us = (100.0 if k < 12 else 101.0) * (1 + 1e-3 * ((k * 7) % 5 - 2) / 2)
        made_up = Recorded("", outcome(HOST, us=us).result)  # without rounds: only levels judge
        if k < 14:
            history.begin(replace(BEGUN, id=f"n{k:02d}", begun=f"2026-01-{k + 1:02d}"))
            history.record(f"n{k:02d}", made_up.result)
            continue
        work = partial(_levels_of, made_up)
        found += _night(history, tmp_path, monkeypatch, work, f"n{k:02d}").findings
    (finding,) = found
    assert (finding.gate, finding.since) == (Gate.CHANGE_POINT, "n12")
    assert finding.effect == pytest.approx(0.01, abs=0.002)


def test_a_night_resumes_after_a_crash_and_ends_each_job_once(
    history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(order: Order) -> Recorded:
        if order.job == HOST:  # runs after the others, alone
            raise KeyboardInterrupt
        return outcome(order.job)

    monkeypatch.setattr(night, "carry_out", crash)
    wanted = request(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run_night(history, wanted)
    (begun,) = history.nights()
    assert begun.finished is None
    left = tmp_path / "out" / begun.id / ".job.1.part"  # of a worker that was killed
    left.mkdir()
    ran: list[Job] = []

    def rest(order: Order) -> Recorded:
        ran.append(order.job)
        return outcome(order.job)

    monkeypatch.setattr(night, "carry_out", rest)
    elsewhere = night.choose_night(history, replace(wanted, out=tmp_path / "elsewhere"))
    assert elsewhere.id == f"{begun.id}.2"
    result = run_night(history, wanted)
    assert (result.night.id, ran) == (begun.id, [HOST])
    assert not left.exists()
    assert [item.status for item in result.results] == [Status.OK, Status.OK]
    assert run_night(history, wanted).night.id == f"{begun.id}.2"
    other = request(tmp_path, MATRIX.replace("limit: 4}", "limit: 5}"))
    with pytest.raises(ConfigError, match="ran another job file or other code"):
        run_night(history, replace(other, name=begun.id))


def test_two_processes_do_not_work_on_one_night(history: History, tmp_path: Path) -> None:
    wanted = replace(request(tmp_path), name="n")
    with night._held(tmp_path / "out" / "n"), pytest.raises(ConfigError, match="another axonrig"):
        run_night(history, wanted)
    (tmp_path / "out" / "m").write_text("in the way")
    with pytest.raises(ConfigError, match="cannot be written"):
        run_night(history, replace(wanted, name="m"))


def test_a_night_that_another_process_began_meanwhile_is_not_mixed(
    history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = replace(request(tmp_path), name="n")
    monkeypatch.setattr(night, "choose_night", night._new_night)
    history.begin(replace(BEGUN, id="n"))
    with pytest.raises(ConfigError, match="the night 'n' ran another job file"):
        run_night(history, wanted)
    assert history.results("n") == ()


def test_a_night_is_compared_with_earlier_ones_only(history: History) -> None:
    for name, begun in (("early", "2026-01-01"), ("tonight", "2026-01-02"), ("late", "2026-01-03")):
        history.begin(replace(BEGUN, id=name, begun=begun))
        if name != "tonight":
            history.record(name, outcome(SIM, cycles=1000 + len(name)).result)
    before = previous(history, "tonight", SIM)
    assert before is not None
    assert before.metric("estimate.cycles") == outcome(SIM, cycles=1005).result.metrics[1]


def test_a_counter_that_stands_gives_no_rounds() -> None:
    samples = (*_rounds(5.0), Samples("latency.us", "candidate-06", "us", (0.0, 1.0)))
    assert len(rounds_of(samples, "candidate")) == 6


def test_a_farm_manager_says_where_a_board_is(
    history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = "{name: desk, board: nrf54l15dk, place: lab-3, required: true}"
    text = MATRIX.replace("{name: sim}", board)
    events: list[str] = []

    @contextmanager
    def reserve(entry: BoardEntry) -> Iterator[BoardEntry]:
        events.append(f"reserve {entry.place}")
        yield replace(entry, port="socket://lab:4000", serial_number="7")
        events.append("release")

    def work(order: Order) -> Recorded:
        events.append(f"{order.port} {order.serial_number}")
        return outcome(order.job)

    monkeypatch.setattr(night, "carry_out", work)
    wanted = replace(request(tmp_path, text), reserve=reserve)
    assert run_night(history, wanted).status is NightStatus.FINE
    assert events[:3] == ["reserve lab-3", "socket://lab:4000 7", "release"]

    @contextmanager
    def none_free(_: BoardEntry) -> Iterator[BoardEntry]:
        raise BoardError("every board of the farm is taken")
        yield

    result = run_night(history, replace(wanted, reserve=none_free))
    assert result.status is NightStatus.INFRASTRUCTURE
    assert result.results[0].reason == "every board of the farm is taken"


def test_a_required_board_that_is_missing_is_infrastructure(
    history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(night, "carry_out", lambda o: outcome(o.job))
    text = MATRIX.replace("{name: sim}", "{name: desk, board: nrf54l15dk, required: true}")
    result = run_night(history, request(tmp_path, text))
    assert result.status is NightStatus.INFRASTRUCTURE
    assert result.results[0].reason == "required, but the board is not connected"
    assert result.results[0].status is Status.FAILED
    relaxed = run_night(history, request(tmp_path, text.replace(", required: true", "")))
    assert relaxed.status is NightStatus.FINE


def test_a_missing_package_is_said_before_anything_runs(
    history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.regression.packages.PACKAGES", ("numpy", "no_such_package"))
    with pytest.raises(ToolchainError, match="no_such_package not installed"):
        run_night(history, request(tmp_path))
    assert history.nights() == ()


def test_the_rounds_are_mirrored() -> None:
    sides = order(6, with_baseline=True)
    places = {side: [k for k, s in enumerate(sides) if s == side] for side in set(sides)}
    assert sum(places["candidate"]) == sum(places["baseline"])  # a steady drift cancels
    with pytest.raises(ConfigError, match="expected an even number"):
        order(5, with_baseline=True)
