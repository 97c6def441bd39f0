"""`axonrig scan`: every violation at once, placements, exit status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tflite

from harness.cli import main
from harness.model_file import DEFAULT_MODEL

GOLDEN = Path(__file__).parents[2].parent / "shared" / "golden"


def with_wide_strides(folder: Path) -> Path:
    """The embedded model with a stride of 40 in each of its convolutions."""
    data = bytearray(DEFAULT_MODEL.read_bytes())
    model = tflite.Model.GetRootAsModel(bytes(data), 0)
    graph = model.Subgraphs(0)
    for index in range(graph.OperatorsLength()):
        operator = graph.Operators(index)
        if operator.BuiltinOptionsType() != tflite.BuiltinOptions.Conv2DOptions:
            continue
        options = tflite.Conv2DOptions()
        table = operator.BuiltinOptions()
        options.Init(table.Bytes, table.Pos)
        for field in (6, 8):  # stride_w, stride_h
            offset = options._tab.Offset(field)
            assert offset, "the model stores its strides"
            at = options._tab.Pos + offset
            data[at : at + 4] = (40).to_bytes(4, "little")
    path = folder / "wide.tflite"
    path.write_bytes(data)
    return path


def test_a_supported_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scan", str(DEFAULT_MODEL)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "digits_resnet8.tflite: supported"
    assert lines[1] == "operators:"
    assert "CONV_2D" in lines[2]
    assert "NPU (layer 0)" in lines[2]
    assert any("SOFTMAX" in line and "NPU, then CPU" in line for line in lines)
    assert any(line.startswith("transposed variant: ") for line in lines)


def test_json_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scan", str(DEFAULT_MODEL), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["supported"] is True
    assert report["violations"] == []
    assert report["model"]["bytes"] == DEFAULT_MODEL.stat().st_size
    assert [item["operator_index"] for item in report["placements"]] == list(
        range(len(report["placements"]))
    )


def test_every_violation_is_listed_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = with_wide_strides(tmp_path)
    assert main(["scan", str(path), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    strided = {item["operator_index"] for item in report["violations"]}
    convolutions = {
        item["operator_index"] for item in report["placements"] if item["operator"] == "CONV_2D"
    }
    assert len(convolutions) >= 9
    assert convolutions <= strided
    assert all(
        item[key] for item in report["violations"] for key in ("rule", "found", "allowed", "advice")
    )
    assert main(["scan", str(path)]) == 1
    text = capsys.readouterr().out
    assert text.startswith("wide.tflite: not supported, ")
    assert text.count("    change:  ") == len(report["violations"])
    assert "found:   " in text
    assert "40" in text


def test_without_a_final_softmax(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scan", str(DEFAULT_MODEL), "--skip-softmax", "--output", "int32"]) == 0
    assert "NPU, then CPU" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "part"),
    [(None, "cannot be read"), (b"", "is empty"), (b"x" * 100, "is no .tflite model")],
)
def test_bad_files(
    content: bytes | None, part: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model.bin"
    if content is not None:
        path.write_bytes(content)
    assert main(["scan", str(path)]) == 3
    message = capsys.readouterr().err
    assert part in message
    assert message.count("\n") == 1


def test_a_truncated_model_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cut.tflite"
    path.write_bytes(DEFAULT_MODEL.read_bytes()[:5000])
    assert main(["scan", str(path)]) == 3
    message = capsys.readouterr().err
    assert message.startswith("axonrig: ")
    assert message.count("\n") == 1


@pytest.mark.parametrize("name", ["ic", "kws", "vww", "ad"])
def test_the_benchmark_models_are_supported(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    if not GOLDEN.is_dir():
        pytest.skip("no recorded models beside the project")
    assert main(["scan", str(GOLDEN / f"{name}.tflite")]) == 0
    assert "supported" in capsys.readouterr().out


def test_recorded_refusals_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    if not GOLDEN.is_dir():
        pytest.skip("no recorded models beside the project")
    rewritten = ("neg_avgpool_same", "neg_dw_mult2")
    for path in sorted(GOLDEN.glob("neg_*.tflite")):
        if path.stem in rewritten:
            continue
        assert main(["scan", str(path)]) == 1, path.name
        assert "not supported" in capsys.readouterr().out
