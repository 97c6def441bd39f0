"""The NPU firmware as a process on Nordic's simulator, against what Nordic's own tools recorded."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from harness.board import load_boards
from harness.board_device import BoardChoice, open_board_device, open_line
from harness.link import RunOptions
from harness.transport import Transport
from tests.support.golden import GOLDEN_DIR, VECTORS, golden_parameters, golden_run
from tests.support.vendor_sdk import real_sdk


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Builds are kept for the module; skips without Nordic's SDK."""
    real_sdk()
    return tmp_path_factory.mktemp("firmware")


def test_mlperf_text(folder: Path) -> None:
    """The text protocol answers as the link does, dequantized."""
    if not GOLDEN_DIR.is_dir():
        pytest.skip(f"no recorded runs at {GOLDEN_DIR}")
    run = golden_run("kws_int8")
    choice = BoardChoice(profile="kws01", firmware_folder=folder)
    line = open_line(load_boards()["vendor-sim"], run.program, choice)
    try:
        item = run.inputs[0].transpose(1, 2, 0).tobytes()
        assert _ask(line, f"db load {len(item)}") == [f"m-[Expecting {len(item)} bytes]"]
        for at in range(0, len(item), 31):
            _ask(line, f"db {item[at : at + 31].hex()}")
        (results,) = [text for text in _ask(line, "infer 1 0") if text.startswith("m-results")]
    finally:
        line.close()
    values = [float(text) for text in results.removeprefix("m-results-[")[:-1].split(",")]
    factor = run.program.output_dequantization
    real = (run.output(0).ravel().astype(float) - factor.zero_point) * factor.factor
    assert np.allclose(values, real, atol=0.0006)


def _ask(line: Transport, command: str) -> list[str]:
    line.write(f"{command}%".encode())
    got = b""
    while not got.endswith(b"m-ready\r\n"):
        new = line.read(30.0)
        assert new, f"no m-ready after {got!r}"
        got += new
    return got.decode("ascii").split("\r\n")[:-2]


@pytest.mark.parametrize("name", golden_parameters())
def test_recorded_outputs_and_cycles(name: str, folder: Path) -> None:
    run = golden_run(name)
    facts = json.loads((GOLDEN_DIR / f"{name}.json").read_text())
    choice = BoardChoice(firmware_folder=folder)
    device = open_board_device(load_boards()["vendor-sim"], run.program, choice)
    try:
        info, result = device.info, device.infer(run.inputs)
    finally:
        device.close()
    assert info.source == "vendor-sim"
    assert info.backend.startswith("firmware, npu (Axon 1.")
    assert result.latency_source == "vendor-sim"
    assert result.cycles is not None
    assert result.cycles.tolist() == [facts["profiling_ticks"]] * VECTORS
    for position, outputs in enumerate(result.outputs):
        for vector in range(VECTORS):
            recorded = run.output(vector, position)
            assert np.array_equal(outputs[vector].ravel(), recorded.ravel()), (position, vector)


@pytest.mark.parametrize("name", ["ad_int8", "ic_int8", "kws_int8", "kws_int32", "vww_int8"])
def test_layer_models_run_and_leave_the_results_alone(name: str, folder: Path) -> None:
    """Each layer has a launch of its own; what it takes on this machine is nobody's figure."""
    if not (GOLDEN_DIR / f"{name}.bin").is_file():
        pytest.skip(f"no recorded run {name} at {GOLDEN_DIR}")
    run = golden_run(name)
    choice = BoardChoice(firmware_folder=folder, layer_times=True)
    with closing(open_board_device(load_boards()["vendor-sim"], run.program, choice)) as device:
        result = device.infer(run.inputs[:2])
        item = run.inputs[:1].transpose(0, 2, 3, 1).tobytes()
        (raw,) = device.session.infer(item, RunOptions(with_layers=True))
    assert result.layer_cycles is None
    assert len(raw.layer_cycles) == len(run.program.layers)
    assert min(raw.layer_cycles) > 0
    for position, outputs in enumerate(result.outputs):
        for vector in range(2):
            assert np.array_equal(outputs[vector].ravel(), run.output(vector, position).ravel())
