"""The documents' links lead somewhere and their commands exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from harness.cli import COMMANDS, build_parser, main
from tests.support.documents import DOCUMENTS, ROOT, commands, is_synopsis

EMBEDDED = ROOT / "harness" / "embedded"
MAKE_TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


AXONRIG = [
    pytest.param(command, id=f"{document.name}: {command}")
    for document in DOCUMENTS
    for command in commands(document, "axonrig")
]
SCRIPT = re.compile(r"python3? (?:-m )?(benchmarks[\w./]+)")
SCRIPTS = sorted(
    {
        (document.name, script)
        for document in DOCUMENTS
        for script in SCRIPT.findall(document.read_text(encoding="utf-8"))
    }
)
MAKE = [
    pytest.param(command, id=f"{document.name}: {command}")
    for document in DOCUMENTS
    for command in commands(document, "make")
]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        if "://" not in target:
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


@pytest.mark.parametrize("command", AXONRIG)
def test_commands_and_options_exist(command: str) -> None:
    words = shlex.split(command)[1:]
    if is_synopsis(command):
        words = [word for word in words if word in COMMANDS]
        assert words, command
        return
    try:
        build_parser(next(word for word in words if word in COMMANDS)).parse_args(words)
    except SystemExit as stop:
        pytest.fail(f"{command}: exit {stop.code}")


@pytest.mark.parametrize(("document", "script"), SCRIPTS)
def test_scripts_exist(document: str, script: str) -> None:
    path = script if script.endswith(".py") else script.replace(".", "/") + ".py"
    assert (ROOT / path).is_file(), f"{document} names {script}"


@pytest.mark.parametrize("command", MAKE)
def test_make_targets_exist(command: str) -> None:
    for word in command.split()[1:]:
        assert word in MAKE_TARGETS or "=" in word, f"{command}: no target {word}"


def test_the_readme_way_with_the_embedded_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = str(EMBEDDED / "digits_resnet8.tflite")
    assert main(["scan", model]) == 0
    assert main(["compile", model, "-o", "build"]) == 0
    assert main(["run", "--model", model, "--limit", "8", "--out", "report"]) == 0
    np.save("x.npy", np.load("report/inputs.npz")["x"])
    program = "build/digits_resnet8.bin"
    words = ["--input", "x.npy", "--raw", "--output", "y.npy", "--layers", "layers.npz"]
    assert main(["simulate", program, *words]) == 0
    outputs = np.load("report/outputs.npz")
    assert np.array_equal(np.load("y.npy").ravel(), outputs[outputs.files[0]].ravel())
    capsys.readouterr()
    assert Path("report/report.json").is_file()
    assert Path("build/digits_resnet8.txt").read_text().startswith("program digits_resnet8")
