"""The NPU firmware as a process on Nordic's simulator, against what Nordic's own tools recorded."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from harness.board import load_boards
from harness.board_device import BoardChoice, open_board_device
from tests.support.golden import GOLDEN_DIR, VECTORS, golden_parameters, golden_run
from tests.support.vendor_sdk import real_sdk


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Builds are kept for the module; skips without Nordic's SDK."""
    real_sdk()
    return tmp_path_factory.mktemp("firmware")


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
    assert (info.source, info.backend) == ("vendor-sim", "firmware, npu")
    assert result.latency_source == "vendor-sim"
    assert result.cycles is not None
    assert result.cycles.tolist() == [facts["profiling_ticks"]] * VECTORS
    for position, outputs in enumerate(result.outputs):
        for vector in range(VECTORS):
            recorded = run.output(vector, position)
            assert np.array_equal(outputs[vector].ravel(), recorded.ravel()), (position, vector)
