"""What docs/troubleshooting.md quotes is what the commands print."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from harness.cli import main
from harness.model_file import DEFAULT_MODEL
from tests.support.documents import ROOT
from tests.support.fake_tools import install
from tests.support.hostile_models import aborting_model
from tests.support.tflite_builder import ModelBuilder

DOCUMENT: Final = ROOT / "docs" / "troubleshooting.md"
QUOTED: Final = [
    quote
    for line in DOCUMENT.read_text("utf-8").splitlines()
    if line.startswith("**")
    for quote in re.findall(r"\*\*`([^`]+)`\*\*", line)
]
NO_COMMAND: Final = "pytest --board"
MODEL: Final = ["--model", str(DEFAULT_MODEL)]


def _data(**arrays: object) -> list[str]:
    """Options for a run on these arrays: x for the inputs, y for the labels."""
    words = []
    for option, name in (("--data", "x"), ("--labels", "y")):
        if name in arrays:
            np.save(f"{name}.npy", np.asarray(arrays[name]))
            words += [option, f"{name}.npy"]
    return ["run", *MODEL, *words]


def _float_model() -> list[str]:
    builder = ModelBuilder("real")
    x = builder.tensor((1, 4, 4, 2), dtype="float32")
    Path("real.tflite").write_bytes(builder.build([x], [builder.unary("RELU", x)]))
    return ["compile", "real.tflite", "-o", "out"]


def _odd_model() -> list[str]:
    builder = ModelBuilder("odd")
    x = builder.input(1, 64, 64, 4)
    odd = builder.conv(x, 6, (1, 1), stride=(32, 32))
    Path("odd.tflite").write_bytes(builder.build([x], [odd]))
    return ["compile", "odd.tflite", "-o", "out"]


def _aborting_model() -> list[str]:
    Path("hostile.tflite").write_bytes(aborting_model())
    return ["run", "--model", "hostile.tflite", "--limit", "1"]


def _text(name: str, content: str, *words: str) -> list[str]:
    Path(name).write_text(content)
    return list(words)


def _program() -> list[str]:
    main(["compile", str(DEFAULT_MODEL), "-o", "build"])
    return ["run", "--model", "build/digits_resnet8.bin"]


def _broken_run(name: str, *words: str) -> list[str]:
    main(["run", *MODEL, "--limit", "1", "--out", "report"])
    if name == "manifest.json":
        Path("report", name).unlink()
    else:
        data = Path("report", name).read_bytes()
        Path("report", name).write_bytes(bytes([data[0] ^ 1]) + data[1:])
    return [*words, "report"]


IMAGES: Final = np.zeros((3, 32, 32, 3), np.uint8)
CAUSES: Final[dict[str, Callable[[], list[str]]]] = {
    "not a TFLite model": lambda: _text("no.tflite", "hello", "scan", "no.tflite"),
    "found float32": _float_model,
    "is no TFLite model": _program,
    "host TFLite crashed": _aborting_model,
    "operator N": _odd_model,
    "holds ... labels": lambda: _data(x=IMAGES, y=[1, 2]),
    "label ... is": lambda: _data(x=IMAGES, y=[1, 2, 10]),
    "has the shape": lambda: _data(x=IMAGES[:, :16]),
    "integers are taken": lambda: _data(x=IMAGES.astype(np.uint16) + 300),
    "has no manifest.json": lambda: _broken_run("manifest.json", "report"),
    "there is no manifest.json": lambda: _broken_run("manifest.json", "verify-result"),
    "was changed": lambda: _broken_run("inputs.npz", "verify-result"),
    "no debug probe": lambda: ["doctor", "--board", "nrf54l15dk"],
    "no board that fits": lambda: ["run", "--board", "nrf54l15dk", "--require-hardware"],
    "unknown board": lambda: ["run", "--board", "nrf55"],
    "SDK_EDGE_AI_PATH": lambda: ["compile", str(DEFAULT_MODEL), "--target", "npu", "-o", "out"],
    "unknown key": lambda: _text("j.yaml", "one:\n  tflite_modle: x\n", "compile", "j.yaml"),
}
"""How to get each symptom: the start of the quote, and what makes a command line that prints it."""


@pytest.mark.parametrize("quote", [quote for quote in QUOTED if NO_COMMAND not in quote])
def test_symptoms_are_quoted_as_they_are_printed(
    quote: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    install(tmp_path, monkeypatch)
    monkeypatch.setattr("serial.tools.list_ports.comports", list)
    monkeypatch.delenv("SDK_EDGE_AI_PATH", raising=False)
    monkeypatch.chdir(tmp_path)
    (cause,) = [made for start, made in CAUSES.items() if quote.startswith(start)]
    words = cause()
    capsys.readouterr()
    assert main(words) != 0
    shown = capsys.readouterr()
    told = " ".join((shown.out + shown.err).split())
    parts = re.split(r"\.\.\.|\bN \(X\)", quote)
    assert re.search(".*".join(re.escape(part.strip()) for part in parts), told), told
