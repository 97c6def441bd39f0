"""The report's JSON and the table that is made from it."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from harness.artefacts import json_bytes, npz_bytes, write_bytes
from harness.device import Inference
from harness.report.html import PageInputs, render
from harness.report.json_report import SCHEMA, build_report
from harness.report.table import print_report
from harness.report.twin import against_estimate
from harness.run import RunRequest, RunResult, run


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AXONRIG_CACHE", str(tmp_path_factory.mktemp("cache")))
        return run(RunRequest(limit=30))


def shown(report: dict[str, Any], width: int = 100) -> str:
    stream = io.StringIO()
    print_report(report, Console(file=stream, width=width))
    return stream.getvalue()


def test_report_is_plain_json(result: RunResult) -> None:
    assert json.loads(json_bytes(result.report)) == result.report
    assert result.report["schema"] == SCHEMA
    assert result.folder is None


def test_documented_keys(result: RunResult) -> None:
    text = (Path(__file__).parents[2] / "docs" / "report.md").read_text()
    for key, value in result.report.items():
        assert f"`{key}" in text, key
        if key in ("agreement", "accuracy", "latency", "model", "data", "layers", "run"):
            for inner in value:
                assert f"`{key}.{inner}`" in text, f"{key}.{inner}"


def test_measured_cycles_carry_source_and_clock(result: RunResult) -> None:
    from dataclasses import replace

    cycles = np.array([1000, 1300, 1100], np.int64)
    inference = Inference(result.facts.inference.outputs, cycles, None, "board")
    device = replace(result.facts.device, clock_hz=128_000_000)
    report = build_report(replace(result.facts, inference=inference, device=device))
    assert report["latency"] == {
        "source": "board",
        "cycles": {"min": 1000, "median": 1100.0, "max": 1300},
        "clock_hz": 128_000_000,
        "median_us": pytest.approx(8.59375),
        "layers": None,
    }
    assert "1100 cycles, 8.6 us (source: board)" in shown(report)


def test_times_of_layers_carry_source_and_how(result: RunResult) -> None:
    from dataclasses import replace

    counts = np.zeros((3, 15), np.int64)
    counts[:, 4] = (700, 900, 800)
    counts[:, 9] = 128
    inference = Inference(result.facts.inference.outputs, np.full(3, 1000), counts, "board")
    facts = replace(
        result.facts,
        inference=inference,
        device=replace(result.facts.device, clock_hz=128_000_000),
        selection=replace(result.facts.selection, target="npu"),
    )
    report = build_report(facts)
    layers = report["latency"]["layers"]
    assert (layers["source"], layers["how"], len(layers["all"])) == ("board", "alone", 15)
    assert layers["all"][9] == {"index": 9, "op": "conv2d", "cycles": 128.0, "us": 1.0}
    assert layers["all"][0] == {"index": 0, "op": "conv2d", "cycles": None, "us": None}
    text = " ".join(shown(report, 200).split())
    assert "4 conv2d 800 cycles, 9 conv2d 128 cycles (source: board, timed alone)" in text
    page = render(PageInputs(report, facts.dataset.inputs, inference.cycles, {}))
    assert "Cycles by layer, timed alone, source board" in page
    assert page.count("not timed") == 13
    nothing = build_report(replace(facts, inference=replace(inference, layer_cycles=0 * counts)))
    assert "none was timed (source: board)" in shown(nothing)


def test_a_measured_npu_is_held_against_the_estimate(result: RunResult) -> None:
    report = json.loads(json.dumps(result.report))
    assert against_estimate(report) is None
    time = report["estimate"]["device_time"]
    report["backend"] = "npu"
    report["latency"] |= {"source": "board", "median_us": time["high_us"] + 7}
    report["latency"]["cycles"] = {"min": 1, "median": 1.0, "max": 1}
    assert "7 us outside the band" in str(against_estimate(report))
    assert "against the estimate" in shown(report, width=160)
    report["latency"]["median_us"] = time["us"]
    assert "+0.0 % off the device time (estimated from 1" in str(against_estimate(report))
    assert "within the band" in str(against_estimate(report))


def test_table_shows_the_confusion_matrix(result: RunResult) -> None:
    text = shown(result.report)
    assert "samples by label (rows) and device (columns)" in text
    report = json.loads(json.dumps(result.report))
    report["agreement"]["confusion"] = [[0] * 13] * 13
    assert "samples by label" not in shown(report)


def test_table_shows_estimates_with_their_labels(result: RunResult) -> None:
    text = shown(result.report, width=160)
    estimate = result.report["estimate"]
    assert f"{estimate['cycles']:,}" in text
    for label in (
        "NPU cycles (estimated)",
        "device time (estimated)",
        "from 1 published measurement log",
        "energy (estimated)",
        "memory (estimated)",
    ):
        assert label in text


def test_table_tells_what_the_report_tells(result: RunResult) -> None:
    text = shown(result.report)
    exact = result.report["agreement"]["exact"]
    assert "board" in text
    assert f"sim (source: sim, {result.facts.device.backend})" in text
    assert "100.00 % (30 of 30)" in text
    assert f"({exact} of 30)" in text
    assert f"{result.report['agreement']['max_lsb']} LSB" in text
    assert "not measured" in text
    assert "first layer that differs from host TFLite" in text


def test_equal_outputs_need_no_difference_tables(result: RunResult) -> None:
    report = json.loads(json.dumps(result.report))
    report["agreement"]["worst"] = []
    report["layers"]["first_differing"] = None
    report["accuracy"] = {"golden": None, "device": None}
    text = shown(report)
    assert "largest differences" not in text
    assert "every compared layer equals host TFLite" in text
    assert "no labels" in text


def test_names_from_files_are_no_markup(result: RunResult) -> None:
    report = json.loads(json.dumps(result.report))
    report["model"]["file"] = "[red]m[/red].tflite"
    report["model"]["labels"] = ["[bold]zero[/bold]"] * 10
    report["data"]["name"] = "[/nothing]"
    text = shown(report, width=160)
    for name in ("[red]m[/red].tflite", "[bold]zero[/bold]", "[/nothing]"):
        assert name in text


def test_json_refuses_what_is_no_json() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_bytes({"a": float("nan")})


def test_files_are_whole_or_absent(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    write_bytes(path, b"first")
    write_bytes(path, b"second")
    assert path.read_bytes() == b"second"
    assert [item.name for item in tmp_path.iterdir()] == ["a.bin"]
    with pytest.raises(TypeError):
        write_bytes(path, "text")  # type: ignore[arg-type]  # a failure in mid-write
    assert path.read_bytes() == b"second"
    assert [item.name for item in tmp_path.iterdir()] == ["a.bin"]


def test_archives_repeat() -> None:
    arrays: dict[str, np.ndarray] = {"a": np.arange(5), "b": np.zeros((2, 2), np.int8)}
    assert npz_bytes(arrays) == npz_bytes(arrays)
