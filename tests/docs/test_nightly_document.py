"""The commands of docs/nightly.md, one after the other, as a reader types them."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Final

import pytest

from harness.cli import main, nightly_command
from harness.history import Recorded
from harness.nightly import night, worker
from harness.nightly.launch import Order, read_outcome
from tests.support.documents import ROOT, commands

DOCUMENT: Final = ROOT / "docs" / "nightly.md"
NIGHTS: Final = {"2026-11-21": "4ae128d" + "0" * 33, "2026-11-22": "a7c4b64" + "0" * 33}
MATRIX: Final = """
schema: 1
models: [{name: digits, file: embedded, limit: 2}]
boards: [{name: sim}, {name: host}]
variants: [{name: int8}]
"""


def in_process(order: Order) -> Recorded:
    """A job without a process of its own, which would take a second to start."""
    words = [str(order.matrix), order.sha256, order.job.name, str(order.night)]
    assert worker.main(words) == 0
    return read_outcome(order.outcome, order.job)


@pytest.fixture
def two_nights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A history with the nights, commits and jobs that the document names."""
    monkeypatch.chdir(tmp_path)
    Path("nightly.yaml").write_text(MATRIX)
    monkeypatch.setattr(nightly_command, "DEFAULT_FILE", Path("nightly.yaml"))
    monkeypatch.setattr(night, "carry_out", in_process)
    for name, revision in NIGHTS.items():
        monkeypatch.setattr(night, "_revision", lambda revision=revision: revision)
        words = ["--history", "history.db", "--out", "nights", "--night", name]
        assert main(["nightly", *words]) == 0


@pytest.mark.usefixtures("two_nights")
def test_every_command_runs(capsys: pytest.CaptureFixture[str]) -> None:
    ran = []
    for command in commands(DOCUMENT, "axonrig"):
        words = shlex.split(command)[1:]
        if (
            words[0] == "bisect" or "--dask" in words
        ):  # tests/unit: test_bisection, test_nightly_dask
            continue
        assert main(words) == 0, f"{command}: {capsys.readouterr().err}"
        ran.append(words[0])
    assert set(ran) == {"nightly", "compare", "history"}
    assert Path("history.jsonl").is_file()
    assert Path("junit.xml").is_file()
