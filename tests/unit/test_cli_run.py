"""`axonrig run`, as a user types it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler import decode
from harness.artefacts import sha256
from harness.cli import main
from harness.errors import ExitCode
from harness.model_file import DEFAULT_DATA, DEFAULT_MODEL
from tests.support.operator_models import build_model

SHARED = Path(__file__).parents[2].parent / "shared"
needs_shared = pytest.mark.skipif(
    not SHARED.is_dir(), reason="the recorded golden models are not here"
)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AXONRIG_CACHE", str(tmp_path / "cache"))


def report(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return content


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    status = main(["run", *words])
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("axonrig: ")
    assert captured.err.count("\n") == 1
    assert "Traceback" not in captured.err
    return status, captured.err


def test_the_embedded_model_agrees(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["run", "--board", "sim", "--limit", "40", "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "top-1 agreement" in shown
    assert "source: sim" in shown
    result = report(out)
    assert (result["schema"], result["source"], result["board"]) == (1, "sim", "sim")
    assert result["samples"] == 40
    assert result["agreement"]["top1"] == 1.0
    assert result["agreement"]["exact"] == round(40 * result["agreement"]["exact_fraction"])
    assert sum(result["agreement"]["histogram_lsb"].values()) == 400
    assert result["accuracy"]["golden"] == result["accuracy"]["device"]
    assert result["accuracy"]["golden"] > 0.95
    assert result["latency"]["source"] is None
    assert result["model"]["sha256"] == sha256(DEFAULT_MODEL.read_bytes())
    assert result["data"]["origin"] == "embedded"
    assert {"axonrig", "python", "numpy", "ai-edge-litert", "tflite"} <= set(result["versions"])
    assert result["layers"]["compared"] == 14
    assert result["fallback"] is None


def test_every_artefact_is_in_the_manifest(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["run", "--limit", "5", "--golden", "both", "--out", str(out)]) == 0
    manifest = json.loads((out / "manifest.json").read_text())
    names = {path.name for path in out.iterdir()} - {"manifest.json"}
    assert set(manifest["files"]) == names
    for name, facts in manifest["files"].items():
        data = (out / name).read_bytes()
        assert facts == {"bytes": len(data), "sha256": sha256(data)}
    program = (out / "digits_resnet8.bin").read_bytes()
    assert decode(program).name == "digits_resnet8"
    assert json.loads((out / "digits_resnet8.json").read_text())["kind"] == "compiled-program"
    assert report(out)["model"]["program"]["sha256"] == sha256(program)
    with np.load(out / "inputs.npz") as inputs, np.load(out / "outputs.npz") as outputs:
        assert inputs["x"].shape == (5, 32, 32, 3)
        assert inputs["y"].shape == (5,)
        assert outputs["output_0"].shape == (5, 10)
    with np.load(out / "golden.npz") as golden:
        assert set(golden.files) == {"reference_output_0", "optimised_output_0"}


@pytest.mark.parametrize("name", ["report", "manifest"])
def test_a_model_may_be_called_like_our_files(name: str, tmp_path: Path) -> None:
    model, out = tmp_path / f"{name}.tflite", tmp_path / "out"
    model.write_bytes(DEFAULT_MODEL.read_bytes())
    assert main(["run", "--model", str(model), "--limit", "1", "--out", str(out)]) == 0
    manifest = json.loads((out / "manifest.json").read_text())
    assert f"{name}_model.json" in manifest["files"]
    for file, facts in manifest["files"].items():
        assert facts["sha256"] == sha256((out / file).read_bytes())
    assert report(out)["data"]["origin"] == "embedded"


def test_same_inputs_same_report_but_for_the_run_section(tmp_path: Path) -> None:
    results = []
    for name in ("a", "b"):
        assert main(["run", "--limit", "5", "--out", str(tmp_path / name)]) == 0
        results.append(report(tmp_path / name))
    first, second = (result.pop("run") for result in results)
    assert results[0] == results[1]
    assert (first["golden_from_cache"], second["golden_from_cache"]) == (False, True)
    for file in ("inputs.npz", "outputs.npz", "golden.npz", "digits_resnet8.bin"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_both_goldens_are_three_comparisons(tmp_path: Path) -> None:
    assert main(["run", "--limit", "40", "--golden", "both", "--out", str(tmp_path / "o")]) == 0
    result = report(tmp_path / "o")
    assert [(item["left"], item["right"]) for item in result["comparisons"]] == [
        ("tflite-reference", "sim"),
        ("tflite-optimised", "sim"),
        ("tflite-reference", "tflite-optimised"),
    ]
    assert result["agreement"]["with"] == "tflite-reference"
    assert result["comparisons"][2]["max_lsb"] > 0


def test_own_data_and_labels(tmp_path: Path) -> None:
    with np.load(DEFAULT_DATA) as archive:
        np.save(tmp_path / "x.npy", archive["x"][:6].astype(np.float32))
        np.save(tmp_path / "y.npy", np.eye(10, dtype=np.int8)[archive["y"][:6]])
    words = ["--data", str(tmp_path / "x.npy"), "--labels", str(tmp_path / "y.npy")]
    assert main(["run", *words, "--out", str(tmp_path / "own")]) == 0
    assert main(["run", "--limit", "6", "--out", str(tmp_path / "default")]) == 0
    own, default = report(tmp_path / "own"), report(tmp_path / "default")
    assert own["data"]["sha256"] == default["data"]["sha256"]
    assert own["data"]["origin"] == "file"
    assert own["accuracy"] == default["accuracy"]


@needs_shared
def test_a_model_without_data_gets_random_samples(tmp_path: Path) -> None:
    model = SHARED / "golden" / "conv_odd.tflite"
    assert main(["run", "--model", str(model), "--limit", "9", "--out", str(tmp_path / "o")]) == 0
    result = report(tmp_path / "o")
    assert result["samples"] == 9
    assert result["data"]["origin"] == "random"
    assert result["accuracy"] == {"golden": None, "device": None}
    assert result["agreement"]["max_lsb"] <= 1


@needs_shared
@pytest.mark.parametrize(
    "words",
    [
        ["--output", "int32"],
        ["--transpose"],
        ["--skip-softmax"],
        ["--transpose", "--output", "int32", "--skip-softmax"],
    ],
)
def test_variants_agree_with_the_same_golden(words: list[str], tmp_path: Path) -> None:
    model = SHARED / "golden" / "kws.tflite"
    out = tmp_path / "o"
    status = main(["run", "--model", str(model), "--limit", "8", "--out", str(out), *words])
    assert status == 0
    result = report(out)
    assert result["agreement"]["top1"] == 1.0
    # Logits spread a rounding difference less than the softmax behind them does.
    assert result["agreement"]["max_lsb"] <= (3 if "--skip-softmax" in words else 30)
    assert result["layers"]["first_differing"]["max_lsb"] == 1


def test_min_agreement_is_the_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--limit", "4", "--min-agreement", "1"]) == ExitCode.OK
    monkeypatch.setattr("harness.run.device_side", _shifted)
    assert main(["run", "--limit", "4", "--out", str(tmp_path / "o")]) == ExitCode.OK
    assert main(["run", "--limit", "4", "--min-agreement", "0.9"]) == ExitCode.NO
    assert "is below --min-agreement 0.9" in capsys.readouterr().out
    assert report(tmp_path / "o")["agreement"]["top1"] == 0.0
    assert len(report(tmp_path / "o")["agreement"]["worst"]) == 4


def _shifted(name: str, program: Any, pairs: Any, outputs: Any) -> Any:
    """A device whose classes are all one too high."""
    from harness.pairing import device_side

    return device_side(name, program, pairs, [np.roll(output, 1, axis=-1) for output in outputs])


def test_fallback_is_said_everywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "o"
    assert main(["run", "--board", "nrf54", "--limit", "2", "--out", str(out)]) == 0
    result = report(out)
    assert (result["board_asked"], result["board"], result["source"]) == ("nrf54", "sim", "sim")
    assert "the simulator stands in" in result["fallback"]
    shown = " ".join(capsys.readouterr().out.split())
    assert "asked: nrf54" in shown
    assert "the simulator stands in" in shown


def test_required_hardware_is_an_infrastructure_error(capsys: pytest.CaptureFixture[str]) -> None:
    status, text = refused(capsys, "--board", "nrf54", "--require-hardware")
    assert status == ExitCode.INFRASTRUCTURE
    assert "no board that fits 'nrf54' is connected" in text
    status, text = refused(capsys, "--require-hardware")
    assert status == ExitCode.INFRASTRUCTURE
    assert "the board is 'sim'" in text


def test_several_int32_outputs_agree(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Convolutions whose shifts differ: one radix has to serve both."""
    model = tmp_path / "two.tflite"
    model.write_bytes(build_model("two_outputs"))
    words = ["--model", str(model), "--limit", "8", "--output", "int32", "--out", str(tmp_path)]
    assert main(["run", *words]) == ExitCode.OK
    assert report(tmp_path)["agreement"]["max_lsb"] <= 1
    capsys.readouterr()


BAD: dict[str, tuple[list[str], str, ExitCode]] = {
    "board": (
        ["--board", "nrf99"],
        "did you mean 'nrf54'? the known ones are host, nrf54, ",
        ExitCode.INPUT,
    ),
    "model missing": (["--model", "none.tflite"], "No such file", ExitCode.INPUT),
    "model empty": (["--model", "empty.tflite"], "is empty", ExitCode.INPUT),
    "model noise": (["--model", "noise.tflite"], "axonrig: ", ExitCode.INPUT),
    "program": (["--model", "p.bin"], "is no TFLite model", ExitCode.INPUT),
    "data missing": (["--data", "none.npy"], "No such file", ExitCode.INPUT),
    "data shape": (["--data", "wrong.npy"], "the model takes [N, 32, 32, 3]", ExitCode.INPUT),
    "labels alone": (["--labels", "wrong.npy"], "without data", ExitCode.INPUT),
    "limit": (["--limit", "0"], "the limit is 0", ExitCode.INPUT),
    "agreement": (["--min-agreement", "98"], "a share from 0 to 1", ExitCode.INPUT),
    "out is a file": (["--limit", "1", "--out", "wrong.npy"], "cannot be written", ExitCode.INPUT),
    "out in a file": (
        ["--limit", "1", "--out", "wrong.npy/o"],
        "cannot be written",
        ExitCode.INPUT,
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_sentence(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.tflite").write_bytes(b"")
    Path("noise.tflite").write_bytes(bytes(range(256)) * 4)
    Path("p.bin").write_bytes(b"AXON" * 100)
    np.save("wrong.npy", np.zeros((2, 8, 8, 3), np.uint8))
    before = sorted(tmp_path.iterdir())
    words, pattern, status = BAD[name]
    found, text = refused(capsys, *words)
    assert pattern in text
    assert found == status
    assert sorted(set(tmp_path.iterdir()) - {tmp_path / "cache"}) == before


def test_a_failed_run_leaves_no_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "o"
    assert main(["run", "--limit", "1", "--out", str(out)]) == 0
    monkeypatch.setattr("harness.run.npz_bytes", _full_disk)
    assert main(["run", "--limit", "1", "--out", str(out)]) == ExitCode.INPUT
    assert not (out / "manifest.json").exists()


def _full_disk(_: object) -> bytes:
    raise OSError(28, "No space left on device")
