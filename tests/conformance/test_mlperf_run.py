"""`axonrig mlperf` on firmware: the same answers as the simulator, time by the device's clock, and
trees that the official checker reads."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler import CompileOptions, compile_model
from harness.firmware.build import firmware_model
from harness.firmware.host_build import build_host
from harness.mlperf.benchmarks import BENCHMARKS, Benchmark
from harness.mlperf.checker import VARIABLE, find_checker, run_checker
from harness.mlperf.dut import SimDut, TextDut
from harness.mlperf.plan import MlperfRequest
from harness.mlperf.run import run_mlperf
from harness.mlperf.stimuli import random_stimuli
from harness.transport.memory import load_memory
from tests.support.mlperf_data import KWS, small_kws, write_folder


@pytest.fixture(autouse=True)
def _no_checker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


CHECKOUT = os.environ.get(VARIABLE)
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("file", "name"), [("ic", "ic01"), ("kws", "kws01"), ("ad", "ad01")])
def test_firmware_and_simulator_give_the_same_vectors(
    shared_dir: Path, file: str, name: str
) -> None:
    benchmark = BENCHMARKS[name]
    data = (shared_dir / "golden" / f"{file}.tflite").read_bytes()
    program = compile_model(data, CompileOptions(name=file))
    line = load_memory(build_host(firmware_model(program, profile=name), "memory").path)
    dut = TextDut(line, benchmark, [])
    dut.greet()
    items = [item.windows[0] for item in random_stimuli(benchmark, 3).items]
    assert dut.answer(items) == SimDut(program, benchmark, 1.0, []).answer(items)
    dut.close()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    (folder / "kws.tflite").write_bytes(small_kws())
    write_folder(folder, KWS, [number % 12 for number in range(24)])
    return folder


def report_on(board: str, small: Path, out: Path, **changes: Any) -> dict[str, Any]:
    request = MlperfRequest(
        out=out,
        board=board,
        benchmarks="kws01",
        data=small,
        models=(str(small),),
        aim_s=0.05,
        **changes,
    )
    return run_mlperf(request).report


def rule(report: dict[str, Any], name: str) -> str:
    rules = report["benchmarks"][0]["rules"]
    return str(next(item["result"] for item in rules if item["rule"] == name))


def test_the_firmware_as_a_process(small: Path, tmp_path: Path) -> None:
    report = report_on("host", small, tmp_path / "host")
    assert report["title"].startswith("MLPerf Tiny on this machine")
    assert report["time"] == "measured on this machine"
    windows = report["benchmarks"][0]["performance"]["windows"]
    assert all(item["executed"] == item["iterations"] >= 10 for item in windows)
    assert rule(report, "duration") == "not met"  # windows of 0.05 s
    assert rule(report, "system") == "not applicable"
    expected = report_on("sim", small, tmp_path / "sim")
    assert report["benchmarks"][0]["accuracy"] == expected["benchmarks"][0]["accuracy"]
    log = (tmp_path / "host/submission/closed/your_organization/results/host_this_machine/kws"
           "/performance/log.txt").read_text()  # fmt: skip
    assert log.startswith("name%\nm-name-dut-[axonrig]\nprofile%\n")


def test_the_emulated_board(small: Path, tmp_path: Path) -> None:
    report = report_on("virt-nrf54l15", small, tmp_path / "out", limit=3)
    again = report_on("virt-nrf54l15", small, tmp_path / "again", limit=3)
    assert report["title"] == "MLPerf Tiny on virt-nrf54l15 (emulated)"
    assert report["benchmarks"][0]["energy"] is None
    windows = report["benchmarks"][0]["performance"]["windows"]
    assert all(item["executed"] == 10 <= item["iterations"] for item in windows)
    first, second = (item["benchmarks"][0]["performance"]["windows"] for item in (report, again))
    for one, other in zip(first, second, strict=True):  # equal but for the clock's microsecond
        assert one["throughput"] == pytest.approx(other["throughput"], rel=2e-3)
    expected = report_on("sim", small, tmp_path / "sim", limit=3)
    assert report["benchmarks"][0]["accuracy"] == expected["benchmarks"][0]["accuracy"]


def test_a_window_extrapolates_what_a_long_one_takes(shared_dir: Path) -> None:
    """Ten inferences, and a hundred: the same time for each, within 0.1 %."""
    from harness.board import load_boards
    from harness.board_device import BoardChoice, open_line

    data = (shared_dir / "golden" / "ad.tflite").read_bytes()
    program = compile_model(data, CompileOptions(name="ad"))
    board = load_boards()["virt-nrf54l15"]
    benchmark = BENCHMARKS["ad01"]
    dut = TextDut(open_line(board, program, BoardChoice(profile="ad01")), benchmark, [])
    dut.greet()
    item = random_stimuli(benchmark).items[0].windows[0]
    short, long = dut.measure(item, 10, 0), dut.measure(item, 100, 10)
    dut.close()
    assert long.elapsed_us / 100 == pytest.approx(short.elapsed_us / 10, rel=1e-3)


def perfect_data(folder: Path, model: Path, benchmark: Benchmark) -> None:
    """Inputs labelled with what the model says, so that the target is met."""
    program = compile_model(model.read_bytes(), CompileOptions(name="m"))
    write_folder(folder, benchmark, [0] * 24)
    items = [(folder / benchmark.name / f"t_{n}.bin").read_bytes() for n in range(24)]
    vectors = SimDut(program, benchmark, 1.0, []).answer(items)
    labels = [int(np.argmax(vector)) for vector in vectors]
    shutil.rmtree(folder / benchmark.name)
    write_folder(folder, benchmark, labels)


@pytest.mark.skipif(CHECKOUT is None, reason=f"{VARIABLE} names no checkout of mlcommons/tiny")
@pytest.mark.skipif(importlib.util.find_spec("pandas") is None, reason="pandas is not installed")
def test_the_official_checker_reads_the_tree(small: Path, tmp_path: Path) -> None:
    assert CHECKOUT is not None
    model = small / "kws.tflite"
    perfect_data(tmp_path / "data", model, KWS)
    out = tmp_path / "out"
    request = MlperfRequest(
        out=out, data=tmp_path / "data", models=(str(small),), benchmarks="kws01",
        checker=Path(CHECKOUT),
    )  # fmt: skip
    said = run_mlperf(request).report["checker"]
    assert said["passed"], said
    assert said["said"][-1].endswith("SUMMARY: submission looks OK")
    results = out / "submission/closed/your_organization/results/sim_estimated/kws"
    text = (results / "accuracy" / "results.txt").read_text()
    (results / "accuracy" / "results.txt").write_text(text.replace("100.0", "89.9"))
    script = find_checker(Path(CHECKOUT))
    assert script is not None
    assert not run_checker(script, out / "submission").passed
    assert json.loads((results / "performance" / "results.json").read_text())[0]["mode"] == "p"


MISSING = [
    name for name in ("matplotlib", "sklearn", "usb", "yaml") if not importlib.util.find_spec(name)
]
LAUNCHER = """
import runpy, sys
sys.path.insert(0, sys.argv[1])
import matplotlib, serial.tools.list_ports, usb.core
matplotlib.use("Agg")
port = type("Port", (), {"device": sys.argv[2], "vid": 0x0483, "pid": 0x374B, "description": ""})
serial.tools.list_ports.comports = lambda *_: [port]
usb.core.find = lambda **_: []
sys.argv = ["main.py", *sys.argv[3:]]
runpy.run_path(sys.path[0] + "/main.py", run_name="__main__")
"""
"""Starts the official runner, which looks for USB devices, on a pseudo-terminal."""


def official_runner(folder: Path, runner: Path, data: Path, mode: str, script: Path) -> str:
    """What the official runner of a checkout says at the end, about the board behind `dut`."""
    words = [
        *("-d", str(runner / "devices_kws_ic_vww.yaml"), "-t", str(script)),
        *("-s", str(data), "-m", mode),
    ]
    command = [sys.executable, "-B", "-c", LAUNCHER, str(runner), str(folder / "dut"), *words]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@contextlib.contextmanager
def served(board: str, model: Path, folder: Path) -> Iterator[None]:
    words = ["serve", "--board", board, "--model", model, "--profile", "kws01"]
    command = [sys.executable, "-m", "harness", *map(str, words), "--pty", str(folder / "dut")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline().startswith("listening on")
            yield
        finally:
            process.terminate()


@pytest.mark.skipif(CHECKOUT is None, reason=f"{VARIABLE} names no checkout of mlcommons/tiny")
@pytest.mark.skipif(bool(MISSING), reason=f"the official runner needs {', '.join(MISSING)}")
def test_the_official_runner_finds_the_same(small: Path, shared_dir: Path, tmp_path: Path) -> None:
    """Within 1 %: the emulated board's time is its own. At least 10 s, the runner insists."""
    assert CHECKOUT is not None
    runner = Path(CHECKOUT) / "benchmark" / "runner"
    model = shared_dir / "golden" / "kws.tflite"
    request = MlperfRequest(
        out=tmp_path / "out", board="virt-nrf54l15", benchmarks="kws01", data=small,
        models=(f"kws01={model}",),
    )  # fmt: skip
    ours = run_mlperf(request).report["benchmarks"][0]
    iterations = ours["performance"]["iterations"]
    script = tmp_path / "performance.yaml"
    script.write_text(
        "kws01:\n  name: kws\n  model: kws01\n  truth_file: y_labels.csv\n  script:\n"
        f"    - loop 5:\n      - download\n      - infer {iterations} 0\n"
    )
    with served("virt-nrf54l15", model, tmp_path):
        performance = official_runner(tmp_path, runner, small, "p", script)
        accuracy = official_runner(tmp_path, runner, small, "a", runner / "tests_accuracy.yaml")
    median = re.search(r"Median throughput is\s+([\d.]+) inf", performance)
    top1 = re.search(r"Top 1% = ([\d.]+)", accuracy)
    area = re.search(r"AUC = ([\d.]+)", accuracy)
    assert median is not None, performance[-1000:]
    assert top1 is not None
    assert area is not None
    assert float(median[1]) == pytest.approx(ours["performance"]["throughput"], rel=0.01)
    assert float(top1[1]) == pytest.approx(ours["accuracy"]["value"], abs=0.05)
    assert float(area[1]) == pytest.approx(ours["accuracy"]["auc"], abs=0.0005)
