"""`axonrig mlperf` as a user runs it, on the simulator; and what it refuses."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.artefacts import file_entries
from harness.cli import main
from harness.errors import DeviceFault, ExitCode
from harness.mlperf import checker
from harness.mlperf.dut import Lap, SimDut
from tests.support.mlperf_data import AD, KWS, small_autoencoder, small_kws, write_folder


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AXONRIG_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(checker.VARIABLE, raising=False)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "kws.tflite").write_bytes(small_kws())
    (folder / "ad01.tflite").write_bytes(small_autoencoder())
    return folder


def mlperf(out: Path, *words: object) -> tuple[int, dict[str, Any]]:
    status = main(["mlperf", "--out", str(out), *(str(word) for word in words)])
    report: dict[str, Any] = json.loads((out / "report.json").read_text())
    return status, report


def rules(report: dict[str, Any], benchmark: str) -> dict[str, str]:
    item = next(item for item in report["benchmarks"] if item["name"] == benchmark)
    return {rule["rule"]: rule["result"] for rule in item["rules"]}


def test_a_run_on_the_simulator(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_folder(tmp_path / "data", KWS, [3] * 6 + [1] * 6)
    write_folder(tmp_path / "data", AD, [0, 0, 1, 1], extra=512)
    out = tmp_path / "out"
    status, report = mlperf(out, "--models", models, "--data", tmp_path / "data", "--supply", "1.8")
    assert status == ExitCode.NO  # random inputs are not recognised
    assert report["title"] == "MLPerf Tiny on sim (estimated)"
    assert (report["source"], report["time"], report["kind"]) == ("sim", "estimated", "mlperf")
    kws, ad = report["benchmarks"]
    assert kws["performance"]["latency_ms"] == pytest.approx(
        kws["performance"]["device_time"]["us"] / 1e3, rel=1e-6
    )
    assert kws["accuracy"]["samples"] == 12
    assert kws["accuracy"]["metric"] == "top-1"
    assert ad["accuracy"]["metric"] == "auc"
    assert ad["energy"]["supply_v"] == 1.8
    assert "estimated" in ad["energy"]["label"]
    found = rules(report, "kws01")
    assert found["duration"] == found["inferences"] == "not applicable to an estimate"
    assert found["windows"] == found["median"] == found["same code"] == "met"
    assert found["model"] == found["accuracy set"] == found["runner"] == "not met"
    printed = capsys.readouterr().out
    assert "MLPerf Tiny on sim (estimated)" in printed
    assert "no model for ic01 (pretrainedResnet_quant.tflite), vww01" in printed


def test_the_folder_is_complete_and_repeats(models: Path, tmp_path: Path) -> None:
    write_folder(tmp_path, KWS, list(range(12)))
    contents = []
    for name in ("a", "b"):
        out = tmp_path / name
        mlperf(out, "--models", models, "--data", tmp_path, "--benchmark", "kws01")
        manifest = json.loads((out / "manifest.json").read_text())
        names = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
        assert set(manifest["files"]) == names - {"manifest.json"}
        assert manifest["files"] == file_entries(out, manifest["files"])
        contents.append({item: manifest["files"][item] for item in manifest["files"]
                         if item != "report.json"})  # fmt: skip
    assert contents[0] == contents[1]
    base = out / "submission/closed/your_organization/results/sim_estimated/kws"
    for mode in ("performance", "accuracy"):
        assert sorted(path.name for path in (base / mode).iterdir()) == [
            "log.txt",
            "results.json",
            "results.txt",
        ]
    system = out / "submission/closed/your_organization/systems/sim_estimated.json"
    assert json.loads(system.read_text())["Status"] == "rdi"
    assert "Nothing was measured" in (out / "submission/READ_FIRST.txt").read_text()


def test_performance_without_data(models: Path, tmp_path: Path) -> None:
    status, report = mlperf(tmp_path / "out", "--models", models, "--mode", "performance")
    assert status == ExitCode.OK
    assert report["benchmarks"][0]["data"]["origin"] == "random"
    assert rules(report, "kws01")["inputs"] == "not met"
    assert rules(report, "kws01")["target"] == "not applicable"
    assert any("no inputs for kws01" in text for text in report["skipped"])


def test_a_limit_is_spread_and_noted(models: Path, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, AD, [0] * 6 + [1] * 6)
    words = ("--models", f"ad01={models / 'ad01.tflite'}", "--benchmark", "ad01", "--limit", "4")
    _, report = mlperf(tmp_path / "out", "--data", folder, "--mode", "accuracy", *words)
    item = report["benchmarks"][0]
    assert (item["accuracy"]["samples"], item["data"]["files"]) == (4, 12)
    assert item["performance"] is None
    assert rules(report, "ad01")["accuracy set"] == "not met"


@pytest.mark.parametrize(
    ("words", "status", "part"),
    [
        ((), 3, "axonrig data models"),
        (("--models", "nowhere"), 3, "expected an existing folder, or NAME=FILE"),
        (("--models", "ic01=nowhere.tflite"), 3, "nowhere.tflite cannot be read"),
        (("--models", "MODELS", "--benchmark", "ic01,kws01"), 3, "no model for ic01"),
        (("--models", "MODELS", "--benchmark", "sww01"), 3, "unknown benchmark 'sww01'"),
        (("--models", "MODELS", "--mode", "accuracy"), 3, "no inputs for kws01"),
        (("--models", "MODELS", "--supply", "12"), 3, "expected 1 to 6 volts"),
        (("--models", "MODELS", "--limit", "0"), 3, "expected at least 1 file"),
        (("--models", "MODELS", "--window", "60"), 3, "expected 0.01 to 20 seconds"),
        (("--models", "MODELS", "--submitter", "../x"), 3, "it becomes a folder's name"),
        (("--models", "MODELS", "--checker", "."), 3, "no checkout of mlcommons/tiny"),
        (("--models", "MODELS", "--board", "nobody"), 3, "nobody"),
        (("--models", "MODELS", "--board", "vendor-sim"), 3, "use --board sim"),
        (("--models", "MODELS", "--require-hardware"), 4, "hardware is required"),
        (("--models", "kws01=MODELS/ad01.tflite"), 3, "it is no model of this benchmark"),
    ],
)
def test_refusals(
    words: tuple[str, ...],
    status: int,
    part: str,
    models: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = tuple(word.replace("MODELS", str(models)) for word in words)
    assert main(["mlperf", "--out", str(tmp_path / "out"), *words]) == status
    error = capsys.readouterr().err
    assert part in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_auc_needs_both_classes(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_folder(tmp_path, AD, [0, 0, 0])
    words = ["--models", str(models), "--data", str(tmp_path), "--out", str(tmp_path / "out")]
    assert main(["mlperf", *words]) == ExitCode.INPUT
    assert "are all of class 0" in capsys.readouterr().err


def test_an_older_tree_is_not_mixed_with_a_new_one(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--models", str(models), "--mode", "performance", "--out", str(tmp_path / "out")]
    assert main(["mlperf", *words]) == ExitCode.OK
    assert main(["mlperf", *words]) == ExitCode.INPUT
    assert "choose another folder" in capsys.readouterr().err
    assert main(["verify-result", str(tmp_path / "out")]) == ExitCode.OK  # still whole


def test_a_device_that_fails_leaves_the_others(
    models: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fails(self: SimDut, item: bytes, iterations: int, warmups: int) -> Lap:
        if self.benchmark.name == "kws01":
            raise DeviceFault("it fell from the desk")
        return measure(self, item, iterations, warmups)

    measure = SimDut.measure
    monkeypatch.setattr(SimDut, "measure", fails)
    words = ("--models", models, "--mode", "performance")
    status, report = mlperf(tmp_path / "out", *words)
    assert status == ExitCode.INFRASTRUCTURE
    assert [item["name"] for item in report["benchmarks"]] == ["ad01"]
    assert report["failed"] == ["kws01 failed: it fell from the desk"]
    assert "it fell from the desk" in capsys.readouterr().out
    alone = ["--benchmark", "kws01", "--out", str(tmp_path / "alone")]
    assert main(["mlperf", *map(str, words), *alone]) == ExitCode.INFRASTRUCTURE
    assert "it fell from the desk" in capsys.readouterr().err
    assert not (tmp_path / "alone" / "manifest.json").exists()


def checkout(folder: Path, script: str) -> Path:
    path = folder / checker.SCRIPT
    path.parent.mkdir(parents=True)
    path.write_text(script)
    return folder


def test_what_a_checker_says_is_kept(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object())
    script = "import sys\nprint('INFO:main:fine', file=sys.stderr)\n"
    tiny = checkout(tmp_path / "tiny", f"{script}print('function main() returned 0')\n")
    words = ("--models", models, "--mode", "performance", "--checker", tiny)
    _, report = mlperf(tmp_path / "out", *words)
    assert report["checker"] == {"passed": True, "said": ["INFO fine"]}


def test_a_checker_that_breaks(
    models: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object())
    tiny = checkout(tmp_path / "tiny", "raise SystemExit('broken')\n")
    monkeypatch.setenv(checker.VARIABLE, str(tiny))
    words = ["--models", str(models), "--mode", "performance", "--out", str(tmp_path / "out")]
    assert main(["mlperf", *words]) == ExitCode.TOOL
    assert "gave no verdict" in capsys.readouterr().err
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert not report["checker"]["passed"]  # what was measured is kept
    assert main(["verify-result", str(tmp_path / "out")]) == ExitCode.OK


def test_the_checker_needs_pandas(
    models: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    tiny = checkout(tmp_path / "tiny", "")
    words = ["--models", str(models), "--checker", str(tiny), "--out", str(tmp_path / "out")]
    assert main(["mlperf", *words]) == ExitCode.TOOL
    assert "pip install '.[mlperf]'" in capsys.readouterr().err


def test_the_command_starts_without_heavy_imports() -> None:
    script = (
        "import sys; from harness.cli import main\n"
        "try: main(['mlperf', '--help'])\n"
        "except SystemExit: pass\n"
        "sys.exit(any(name in sys.modules for name in ('unicorn', 'ai_edge_litert', 'serial')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr.decode()
