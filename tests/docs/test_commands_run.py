"""Every `axonrig` command that a document shows is run: in a folder that has what the documents
name, with small files, against the emulated chip where a kit is meant.

A command of a new document runs by itself when it names the files of `scratch`. What cannot run
here stands in `NOT_RUN` with the reason; it is still parsed, in test_documents.py.
"""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from harness.cli import main
from tests.support.documents import DOCUMENTS, ROOT, commands, is_synopsis
from tests.support.fake_tools import install
from tests.support.kit import plug_in
from tests.support.mlperf_data import KWS, small_kws, write_folder
from tests.support.nights import write_nights

EMBEDDED: Final = ROOT / "harness" / "embedded"
SAMPLES: Final = 2

NOT_RUN: Final = (
    (r"--target npu|vendor-sim", "needs Nordic's SDK: tests/conformance/test_vendor_*.py"),
    (r"axonrig data (?!.*--from)", "downloads: tests/unit/test_data.py, test_mlperf_data.py"),
    (r"axonrig data ", "needs a published set: tests/unit/test_data.py, test_mlperf_data.py"),
    (r"axonrig serve ", "serves until it is stopped: tests/unit/test_serve.py"),
    (r"axonrig calibrate ", "needs a board's measurements: tests/unit/test_cli_estimate.py"),
    (r"compiler_sample_ic_input|ic01_accuracy", "downloaded files: tests/unit/test_cli_compile.py"),
    (r"axonrig (nightly|compare|history) ", "one after the other: test_nightly_document.py"),
    (r"axonrig bisect ", "walks through commits: tests/unit/test_bisection.py"),
    (r"axonrig mlperf .*(nrf54l15|--checker)", "takes long: tests/unit/test_cli_mlperf.py"),
)
"""(pattern, why the command is not run and where it is instead)."""

ENDS_IN_NO: Final = (r"axonrig mlperf .*--data",)
"""Commands whose answer is no on the small files of `scratch`: exit status 1."""

LIMITED: Final = ("run", "verify")
"""Commands that get a small --limit where the document gives none."""


def reason(command: str) -> str | None:
    """Why a command is not run."""
    if is_synopsis(command):
        return "shows a form: parsed only"
    return next((why for pattern, why in NOT_RUN if re.search(pattern, command)), None)


COMMANDS: Final = [
    pytest.param(command, id=f"{document.relative_to(ROOT)}: {command}")
    for document in DOCUMENTS
    for command in dict.fromkeys(commands(document, "axonrig"))
    if reason(command) is None
]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files and results of the names that the documents use."""
    folder = tmp_path_factory.mktemp("template")
    model = (EMBEDDED / "digits_resnet8.tflite").read_bytes()
    for name in ("model.tflite", "b.tflite"):
        (folder / name).write_bytes(model)
    with np.load(EMBEDDED / "digits_test.npz") as digits:
        images, labels = digits["x"][:SAMPLES], digits["y"][:SAMPLES]
    np.save(folder / "y.npy", labels)
    np.save(folder / "x.npy", images)
    np.savez(folder / "test.npz", x=images, y=labels)
    (folder / "job.yaml").write_text("one:\n  model_name: One\n  tflite_model: model.tflite\n")
    write_nights(folder / "history.db", nights=3, jobs=2)
    (folder / "models").mkdir()
    (folder / "models" / "kws_ref_model.tflite").write_bytes(small_kws())
    write_folder(folder / "data", KWS, [3, 1])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["compile", "model.tflite", "-o", "build"]) == 0
        assert main(["run", "--model", "model.tflite", "--data", "test.npz", "--out", "DIR"]) == 0
    for name in ("model.bin", "a.bin"):
        shutil.copy(folder / "build" / "model.bin", folder / name)
    for name in ("report", "result"):
        shutil.copytree(folder / "DIR", folder / name)
    return folder


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Firmware images, kept from one command to the next; the kit comes with one of them."""
    folder = tmp_path_factory.mktemp("images")
    with pytest.MonkeyPatch.context() as patch:
        tools = install(folder, patch)
        assert main(["build", "--board", "nrf54l15dk"]) == 0
        assert tools.calls == []
    return folder / "cache" / "firmware"


@pytest.fixture
def scratch(template: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the template as the working folder; a kit is plugged in."""
    folder = Path(shutil.copytree(template, tmp_path / "scratch"))
    (tmp_path / "desk").mkdir()
    kit = plug_in(tmp_path / "desk", monkeypatch, "nrfutil", "JLinkExe")
    (kit.cache / "firmware").symlink_to(images)
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_it_runs(scratch: Path, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    del scratch
    words = shlex.split(command)[1:]
    if words[0] in LIMITED and "--limit" not in words:
        words += ["--limit", str(SAMPLES)]
    expected = int(any(re.search(pattern, command) for pattern in ENDS_IN_NO))
    if words[0] == "simulate" and "--raw" in words:
        np.save("x.npy", np.load("x.npy").astype(np.int8))
    assert main(words) == expected, capsys.readouterr().err


def test_every_reason_is_needed() -> None:
    shown = [command for document in DOCUMENTS for command in commands(document, "axonrig")]
    for pattern, why in NOT_RUN:
        assert any(re.search(pattern, command) for command in shown), f"no command {pattern}"
        for name in re.findall(r"tests/\S+\.py|test_\w+\.py", why):
            assert list(ROOT.glob(f"**/{Path(name).name}")), name
