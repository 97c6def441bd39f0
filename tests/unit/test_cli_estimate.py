"""`axonrig estimate`, `tune`, `calibrate`: labelled figures that add up, proofs that hold."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler import CompileOptions, compile_model, encode
from harness.artefacts import write_manifest
from harness.calibration import Calibration, Line, Measurement, store
from harness.cli import main
from harness.errors import ConfigError, ExitCode
from harness.model_file import DEFAULT_MODEL
from harness.run import RunRequest, run
from harness.tune import Trial, best_of, prove

GOLDEN = Path(__file__).parents[2].parent / "shared" / "golden"
RECORDED = ("ic_int8", "kws_int8", "kws_t_int8", "vww_int8", "ad_int8")


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("AXONRIG_CACHE", str(tmp_path / "cache"))


def estimates(capsys: pytest.CaptureFixture[str], *words: object) -> list[dict[str, Any]]:
    assert main(["estimate", "--json", *(str(word) for word in words)]) == 0
    content: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return content


def binary(folder: Path) -> Path:
    path = folder / "digits.bin"
    options = CompileOptions(name="digits")
    path.write_bytes(encode(compile_model(DEFAULT_MODEL.read_bytes(), options)))
    return path


def job(folder: Path, **keys: object) -> Path:
    shutil.copy(DEFAULT_MODEL, folder / "m.tflite")
    lines = [f"  {key}: {value}" for key, value in keys.items()]
    text = "\n".join(["digits:", "  model_name: digits", "  tflite_model: m.tflite", *lines])
    path = folder / "job.yaml"
    path.write_text(text + "\n")
    return path


def test_json_is_one_object_per_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = binary(tmp_path)
    found = estimates(capsys, DEFAULT_MODEL, program)
    assert [item["file"] for item in found] == [str(DEFAULT_MODEL), str(program)]
    assert found[0]["cycles"] == found[1]["cycles"] > 100_000
    assert found[0]["layers"] == found[1]["layers"]


def test_figures_add_up(capsys: pytest.CaptureFixture[str]) -> None:
    (found,) = estimates(capsys, DEFAULT_MODEL)
    layers = found["layers"]
    assert [layer["index"] for layer in layers] == list(range(15))
    assert layers[0]["op"] == "conv2d"
    assert layers[0]["shape"] == "16, 32, 32"
    assert layers[0]["macs"] == 32 * 32 * 16 * 3 * 3 * 3
    assert sum(layer["cycles"] for layer in layers) == pytest.approx(found["cycles"], abs=40)
    assert sum(layer["macs"] for layer in layers) == found["macs"]
    assert sum(layer["share"] for layer in layers) == pytest.approx(1, abs=1e-3)
    assert {layer["runs_on"] for layer in layers} == {"npu", "cpu"}
    memory = found["memory"]
    assert memory["ram_bytes"] == (
        memory["interlayer_bytes"] + memory["psum_bytes"] + memory["persistent_bytes"]
    )
    assert memory["flash_bytes"] == memory["constant_bytes"] + memory["command_bytes"]
    peak = max(tensor["offset"] + tensor["size"] for tensor in memory["tensors"])
    assert peak == memory["interlayer_bytes"]
    time, energy = found["device_time"], found["energy"]
    assert time["low_us"] < time["us"] < time["high_us"]
    assert energy["low_uj"] < energy["uj"] < energy["high_uj"]
    assert energy["uj"] == pytest.approx(
        time["us"] * energy["current_ma"] * energy["supply_v"] / 1000, rel=1e-3
    )


def test_every_figure_has_a_label_and_a_source(capsys: pytest.CaptureFixture[str]) -> None:
    (found,) = estimates(capsys, DEFAULT_MODEL)
    for key in ("npu", "cpu", "device_time", "energy", "memory"):
        assert "estimated" in found[key]["label"], key
        assert found[key]["source"], key
    assert found["npu"]["label"] == "NPU cycles (estimated)"
    assert (
        found["device_time"]["label"] == "device time (estimated from 1 published measurement log)"
    )


def test_documented_keys(capsys: pytest.CaptureFixture[str]) -> None:
    text = (Path(__file__).parents[2] / "docs" / "estimate.md").read_text(encoding="utf-8")
    (found,) = estimates(capsys, DEFAULT_MODEL)
    for key, value in found.items():
        assert f"`{key}`" in text, key
        for inner in value if isinstance(value, dict) else ():
            assert f"`{inner}`" in text or f"`{key}.{inner}`" in text, f"{key}.{inner}"
    for key in (*found["layers"][0], *found["memory"]["tensors"][0]):
        assert f"`{key}`" in text, key


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_programs(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = GOLDEN / f"{name}.bin"
    if not path.is_file():
        pytest.skip(f"no recorded runs at {GOLDEN}")
    recorded = json.loads((GOLDEN / f"{name}.json").read_text())
    (found,) = estimates(capsys, path)
    assert found["cycles"] == pytest.approx(recorded["profiling_ticks"], rel=0.01)
    wanted = recorded["memory_footprint"]
    assert found["memory"]["interlayer_bytes"] == wanted["interlayer_buffer_size"]


def test_advice_names_the_layer_and_the_change(capsys: pytest.CaptureFixture[str]) -> None:
    path = GOLDEN / "kws_int8.bin"
    if not path.is_file():
        pytest.skip(f"no recorded runs at {GOLDEN}")
    (found,) = estimates(capsys, path)
    first = found["advice"][0]
    assert first.startswith("layer ")
    assert "transposing the model saves 10." in first
    assert first.endswith("; the outputs stay the same")
    assert main(["estimate", str(path)]) == 0
    assert f"advice: {first}" in capsys.readouterr().out


def test_supply_scales_the_energy(capsys: pytest.CaptureFixture[str]) -> None:
    (at_two,) = estimates(capsys, "--supply", "2", DEFAULT_MODEL)
    (at_three,) = estimates(capsys, "--supply", "3", DEFAULT_MODEL)
    assert at_three["energy"]["uj"] == pytest.approx(1.5 * at_two["energy"]["uj"], rel=1e-3)
    assert main(["estimate", "--supply", "12", str(DEFAULT_MODEL)]) == 3
    assert "expected 1 to 6 volts" in capsys.readouterr().err


def test_job_files_give_one_object_per_variant(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = estimates(capsys, job(tmp_path, transpose_kernel="[False, True]"))
    assert len(found) == 2
    assert len({item["variant"] for item in found}) == 2


@pytest.mark.parametrize("command", ["estimate", "compile"])
def test_a_buffer_above_the_jobs_limit_is_an_error_that_names_the_layer(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = job(tmp_path, interlayer_buffer_size=20000)
    assert main([command, str(path)]) == 1
    message = capsys.readouterr().err
    assert "the limit is 20000" in message
    assert "layer " in message


def test_terminal_shows_layers_totals_and_the_buffer(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", "--buffer", str(DEFAULT_MODEL)]) == 0
    text = capsys.readouterr().out
    for words in (
        "MAC/cycle",
        "conv2d",
        "NPU cycles (estimated)",
        "1 published measurement log",
        "energy of one inference (estimated)",
        "interlayer buffer: bytes upwards",
        "A  input: ",
        "compute",
    ):
        assert words in text, words


def test_a_calibrated_board_has_its_own_label(capsys: pytest.CaptureFixture[str]) -> None:
    point = Measurement("0" * 64, "m", 1000, 10.0)
    store(Calibration("myboard", (point, point), Line(2.0, 100.0, 0.05)))
    (found,) = estimates(capsys, "--board", "myboard", DEFAULT_MODEL)
    time = found["device_time"]
    assert time["label"] == "device time (estimated from 2 of your own measurements)"
    assert time["us"] == pytest.approx(found["cycles"] * 2 / 128 + 100, rel=1e-3)
    assert time["high_us"] == pytest.approx(1.05 * time["us"], rel=1e-3)
    (plain,) = estimates(capsys, DEFAULT_MODEL)
    assert "published" in plain["device_time"]["label"]


def test_run_reports_the_same_estimate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    run(RunRequest(limit=8, out=out))
    report = json.loads((out / "report.json").read_text())
    (found,) = estimates(capsys, DEFAULT_MODEL)
    assert report["estimate"] == {
        key: value for key, value in found.items() if key not in ("file", "variant")
    }
    page = (out / "report.html").read_text(encoding="utf-8")
    assert f"{found['cycles']:,}" in page
    for label in ("npu", "device_time", "energy", "memory"):
        assert found[label]["label"] in page


# --- tune ----------------------------------------------------------------------------------------


def test_tune_proves_what_it_recommends(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tune", "--json", "--samples", "3", str(DEFAULT_MODEL)]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["file"] == DEFAULT_MODEL.name
    assert found["label"] == "NPU cycles (estimated)"
    trials = {trial["name"]: trial for trial in found["trials"]}
    proof = trials["transposed"]["proof"]
    assert trials["transposed"]["unchanged"]
    assert proof["samples"] == 5
    assert proof["values"] == 50
    assert proof["layers"] == proof["layers_equal"] == 15
    better = [t["cycles"] for t in found["trials"] if t["cycles"] < found["cycles"]]
    assert found["saved_cycles"] == (found["cycles"] - min(better) if better else 0)


def test_tune_finds_the_transposed_keyword_model(capsys: pytest.CaptureFixture[str]) -> None:
    model = GOLDEN / "kws.tflite"
    if not model.is_file():
        pytest.skip(f"no recorded runs at {GOLDEN}")
    assert main(["tune", str(model)]) == 0
    text = capsys.readouterr().out
    assert "best: transposed" in text
    assert "proof: 216 output values of 18 samples" in text
    assert "12 of 12 layers value by value" in text


def test_changed_outputs_are_never_recommended() -> None:
    old = (np.array([[1, 2], [3, 4]], np.int8),)
    new = (np.array([[1, 2], [3, 2]], np.int8),)
    inputs = np.zeros((2, 4), np.int8)
    changed, equal = prove(old, new, inputs, "d"), prove(old, old, inputs, "d")
    assert (changed.values, changed.differing, changed.largest) == (4, 1, 2)
    assert not changed.unchanged
    assert equal.unchanged
    assert changed.outputs_sha256 != equal.outputs_sha256
    trials = [
        Trial("fast but wrong", 10, changed),
        Trial("refused", None, None, refusal="no"),
        Trial("slower", 120, equal),
    ]
    assert best_of(trials, 100) is None
    good = Trial("good", 90, equal)
    assert best_of([*trials, good], 100) is good


def test_proof_needs_equal_shapes() -> None:
    with pytest.raises(ConfigError, match="other shapes"):
        prove([np.zeros((1, 2))], [np.zeros((1, 3))], np.zeros((1, 1)), "d")


def test_tune_takes_ones_own_samples(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.zeros((4, 32, 32, 3), np.int8))
    assert main(["tune", "--data", str(path), "--json", str(DEFAULT_MODEL)]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["trials"][0]["proof"]["samples"] == 4
    assert found["trials"][0]["proof"]["data"] == "x.npy"


@pytest.mark.parametrize(
    ("words", "message"),
    [(["--samples", "0"], "expected at least 1"), (["--data", "none.npy"], "none.npy")],
)
def test_tune_refusals(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tune", *words, str(DEFAULT_MODEL)]) == 3
    assert message in capsys.readouterr().err


def test_tune_needs_the_model_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tune", str(binary(tmp_path))]) == 3
    assert "is an Axon binary" in capsys.readouterr().err


# --- calibrate -----------------------------------------------------------------------------------


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    """A result folder that says that a board's NPU took 20 ms."""
    out = tmp_path / "measured"
    run(RunRequest(limit=4, out=out))
    report = json.loads((out / "report.json").read_text())
    report |= {"board": "nrf54lm20dk", "source": "board", "backend": "npu"}
    report["latency"] |= {"source": "board", "median_us": 20_000.0}
    rewrite(out, report)
    return out


def rewrite(folder: Path, report: dict[str, Any]) -> None:
    (folder / "report.json").write_text(json.dumps(report))
    names = [path.name for path in folder.iterdir() if path.name != "manifest.json"]
    write_manifest(folder, names, {"schema": 1, "kind": "run"})


def test_calibration_is_kept_and_used(measured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", str(measured)]) == 0
    text = capsys.readouterr().out
    assert "nrf54lm20dk: device time = " in text
    assert "from 1 of your own measurements" in text
    (found,) = estimates(capsys, "--board", "nrf54lm20dk", DEFAULT_MODEL)
    assert found["device_time"]["us"] == pytest.approx(20_000, rel=0.001)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"backend": "cpu"}, "needs the NPU's"),
        ({"latency": {"source": "sim", "median_us": 1.0}}, "needs a board's"),
        ({"latency": {"source": "board", "median_us": None}}, "no latency in microseconds"),
        ({"latency": {"source": "board", "median_us": 1e9}}, "is the clock 128 MHz"),
        ({"model": 3}, "no report of this version"),
        ({"board": "../x"}, "no board name"),
    ],
)
def test_calibration_refuses_what_is_no_measurement_of_the_npu(
    measured: Path, capsys: pytest.CaptureFixture[str], change: dict[str, Any], message: str
) -> None:
    report = json.loads((measured / "report.json").read_text())
    rewrite(measured, report | change)
    assert main(["calibrate", str(measured)]) == 3
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("command", ["estimate", "scan", "tune", "compile"])
def test_a_damaged_model_is_named(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = tmp_path / "cut.tflite"
    damaged.write_bytes(DEFAULT_MODEL.read_bytes()[:500])
    assert main([command, str(damaged)]) == ExitCode.INPUT
    assert f"axonrig: {damaged}: the TFLite file is damaged" in capsys.readouterr().err
