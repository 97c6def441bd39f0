"""`axonrig verify`, as a user types it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler import Op
from harness.artefacts import sha256
from harness.cli import main
from harness.errors import ExitCode
from harness.model_file import DEFAULT_MODEL
from harness.verify import case as case_module
from tests.support.operator_models import build_model
from tests.support.tflite_builder import ModelBuilder
from tests.support.wrong_parties import translate_wrongly

MODEL = str(DEFAULT_MODEL)


@pytest.fixture(autouse=True)
def _no_vendor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AXONRIG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("AXONRIG_ENGINE", "reference")
    monkeypatch.delenv("SDK_EDGE_AI_PATH", raising=False)


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    status = main(["verify", *words])
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("axonrig: ")
    assert captured.err.count("\n") == 1
    return status, captured.err


def test_the_embedded_model_is_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["verify", MODEL, "--limit", "16", "--out", str(out)]) == ExitCode.OK
    shown = capsys.readouterr().out
    assert "verdict: kernel difference (tflite-reference and definition)" in shown
    assert "SDK_EDGE_AI_PATH is not set" in shown
    report = json.loads((out / "verify.json").read_text())
    assert (report["schema"], report["kind"]) == (1, "verify")
    assert report["verdict"]["between"] == ["tflite-reference", "definition"]
    assert report["verdict"]["layer"]["index"] == 0
    states = {item["name"]: item["state"] for item in report["parties"]}
    assert states["vendor-sim"] == "not there"
    assert states["definition"] == "ran"
    assert len(report["own_layers"]["tflite-reference"]) == 15
    assert report["model"]["sha256"] == sha256(DEFAULT_MODEL.read_bytes())
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["kind"] == "verify"
    assert set(manifest["files"]) == {path.name for path in out.iterdir()} - {"manifest.json"}
    with np.load(out / "outputs.npz") as outputs:
        assert outputs["definition_output_0"].shape == (16, 10)


def test_two_runs_give_the_same_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "m.tflite"
    model.write_bytes(build_model("conv"))
    reports: list[dict[str, Any]] = []
    for _ in range(2):
        assert main(["verify", str(model), "--json", "--limit", "3"]) == ExitCode.OK
        reports.append(json.loads(capsys.readouterr().out))
        del reports[-1]["run"]
    assert reports[0] == reports[1]
    assert reports[0]["data"]["origin"] == "random"


def test_a_wrong_program_exits_with_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "m.tflite"
    model.write_bytes(build_model("add"))
    monkeypatch.setattr(case_module, "translate", translate_wrongly(Op.CONV2D))
    assert main(["verify", str(model), "--limit", "2"]) == ExitCode.NO
    shown = capsys.readouterr().out
    assert "verdict: compiler fault" in shown
    assert "beyond its bound first: layer" in shown
    assert "(conv2d)" in shown


def test_an_absent_board_is_listed_and_is_an_infrastructure_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "m.tflite"
    model.write_bytes(build_model("max_pool_same"))
    words = ["verify", str(model), "--limit", "2", "--board", "nrf54l15dk"]
    assert main(words) == ExitCode.INFRASTRUCTURE
    shown = capsys.readouterr().out
    assert "no board that fits 'nrf54l15dk' is connected" in shown
    assert "verdict: equal" in shown


def test_bad_input_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    noise = tmp_path / "noise.tflite"
    noise.write_bytes(b"TFL3" * 30)
    binary = tmp_path / "program.bin"
    binary.write_bytes(bytes(100))
    filled = tmp_path / "file"
    filled.write_bytes(b"in the way")
    cases = {
        "missing.tflite": (["missing.tflite"], ExitCode.INPUT),
        "is damaged": ([str(noise)], ExitCode.INPUT),
        "is no TFLite model": ([str(binary)], ExitCode.INPUT),
        "--limit is 0": ([MODEL, "--limit", "0"], ExitCode.INPUT),
        "the simulator always takes part": ([MODEL, "--board", "sim"], ExitCode.INPUT),
        "NPU": ([MODEL, "--board", "virt-nrf54l15", "--target", "npu"], ExitCode.INPUT),
        "nrf45": ([MODEL, "--board", "nrf45"], ExitCode.INPUT),
        "without data": ([MODEL, "--labels", "y.npy"], ExitCode.INPUT),
        "output folder": ([MODEL, "--out", str(filled)], ExitCode.INPUT),
    }
    for text, (words, expected) in cases.items():
        status, message = refused(capsys, *words)
        assert status == expected, message
        assert text in message
    model = tmp_path / "pool.tflite"
    model.write_bytes(_refused_model())
    status, message = refused(capsys, str(model))
    assert (status, "pool.tflite" in message) == (ExitCode.NO, True)


def test_a_files_name_moves_no_cursor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "a\x1b[2J\nb`c`.tflite"
    model.write_bytes(build_model("conv"))
    assert main(["verify", str(model), "--limit", "1"]) == ExitCode.OK
    shown = capsys.readouterr().out
    assert shown.startswith("a\\x1b[2J\\nb`c`.tflite: 1 samples")
    assert "\x1b" not in shown
    _, message = refused(capsys, str(tmp_path / "gone\x1b[2J.tflite"))
    assert "gone\\x1b[2J.tflite" in message


def _refused_model() -> bytes:
    b = ModelBuilder("refused")
    x = b.input(1, 8, 8, 3)
    return b.build([x], [b.unary("HARD_SWISH", x)])
