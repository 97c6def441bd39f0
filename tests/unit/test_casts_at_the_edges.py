"""Models whose input and output the host casts: float32 and uint8 outside, int8 inside."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.run import RunRequest, run
from tests.support.tflite_builder import ModelBuilder

EDGES = {
    "float input": ("float32", "int8"),
    "float output": ("int8", "float32"),
    "float both": ("float32", "float32"),
    "uint8 both": ("uint8", "uint8"),
}


def _model(source_type: str, result_type: str) -> bytes:
    builder = ModelBuilder(f"{source_type} {result_type}")
    inside = source = builder.input(1, 6, 8, 3)
    if source_type != "int8":
        zero = inside.zero_point + 128
        scale = inside.scale if source_type == "uint8" else None
        source = builder.tensor(inside.shape, scale, zero, source_type)
        builder.op("QUANTIZE", [source], [inside])
    result = builder.conv(inside, 5)
    if result_type != "int8":
        zero = result.zero_point + 128
        scale = result.scale if result_type == "uint8" else None
        cast = builder.tensor(result.shape, scale, zero, result_type)
        code = "QUANTIZE" if result_type == "uint8" else "DEQUANTIZE"
        result = builder.op(code, [result], [cast])
    return builder.build([source], [result])


@pytest.mark.parametrize("edge", EDGES)
def test_the_device_agrees_with_the_host(
    edge: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AXONRIG_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "model.tflite"
    path.write_bytes(_model(*EDGES[edge]))
    agreement = run(RunRequest(model=path, limit=6)).report["agreement"]
    assert agreement["max_lsb"] <= 1
    assert agreement["exact_fraction"] < 1 or agreement["max_lsb"] == 0
    assert sum(agreement["histogram_lsb"].values()) == 6 * 6 * 8 * 5
