"""A flasher behind a command: the same procedure, at the other end."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from harness.board import load_boards
from harness.errors import ConfigError, FlashError, HarnessError, ToolchainError
from harness.flasher import FlashJob, choose_flasher, flash
from harness.flasher.remote import VARIABLE
from tests.support.fake_tools import FakeTools, install

BOARD = load_boards()["nrf54l15dk"]
HERE = [sys.executable, "-m", "harness.flasher.remote_end"]


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeTools:
    """The stand-in of nrfutil; another host has a cache, and so locks, of its own."""
    there = ["/usr/bin/env", f"AXONRIG_CACHE={tmp_path / 'there'}", *HERE]
    monkeypatch.setenv(VARIABLE, shlex.join(there))
    return install(tmp_path, monkeypatch, "nrfutil")


def job(folder: Path, serial_number: str) -> FlashJob:
    paths = [folder / f"image.{kind}" for kind in ("hex", "elf")]
    for path in paths:
        path.write_bytes(path.name.encode())
    return FlashJob(BOARD, serial_number, paths[0], paths[1], folder)


def test_the_tool_runs_at_the_other_end(tools: FakeTools, tmp_path: Path) -> None:
    flasher = choose_flasher(BOARD)
    assert flasher.name == "remote"
    (probe,) = flasher.probes()
    assert probe.ports == ()
    flash(job(tmp_path, probe.serial_number), flasher)
    (program,) = (call for call in tools.calls if "program" in call)
    assert f"--serial-number {probe.serial_number}" in program
    assert str(tmp_path / "image.hex") not in program  # a copy that travelled
    assert choose_flasher(BOARD, "nrfutil").name == "nrfutil"


@pytest.mark.parametrize(
    ("command", "kind", "words"),
    [
        ("", ConfigError, "is empty"),
        ("'", ConfigError, "is no command"),
        ("/no/such/tool", ToolchainError, "cannot be started"),
        (shlex.join([sys.executable, "-c", "print('hi')"]), ToolchainError, "did not answer as"),
        (shlex.join([sys.executable, "-c", "exit('no route')"]), ToolchainError, "no route"),
        (shlex.join([sys.executable, "-c", "exit(4)"]), FlashError, "status 4"),
        (shlex.join([*HERE, "burn"]), ConfigError, "no board file for 'probes'"),
    ],
)
def test_what_can_go_wrong(
    command: str, kind: type[HarnessError], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, command)
    with pytest.raises(kind, match=words):
        choose_flasher(BOARD).probes()


def test_odd_serial_numbers_stop_at_the_other_end(tools: FakeTools, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected ACTION BOARD SERIAL"):
        choose_flasher(BOARD).program(job(tmp_path, "--all; rm"))
    assert not any("program" in call for call in tools.calls)
