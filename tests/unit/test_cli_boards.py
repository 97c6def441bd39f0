"""`boards`, `build`, `flash` and `doctor`: with a stand-in for the kit, its probe and nRF Util."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.cli import main
from harness.errors import BoardNotFound, ExitCode
from harness.flasher.procedure import probe_lock
from harness.virtual.board import VirtualBoard
from tests.support.fake_tools import FakeTools, install
from tests.support.kit import SERIAL, Kit, plug_in


@pytest.fixture
def kit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kit:
    return plug_in(tmp_path, monkeypatch, "nrfutil")


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeTools:
    """No kit, no tools."""
    monkeypatch.setattr("serial.tools.list_ports.comports", list)
    return install(tmp_path, monkeypatch)


Output = Callable[[], tuple[str, str]]


def test_boards_without_a_kit(bare: FakeTools, capsys: pytest.CaptureFixture[str]) -> None:
    del bare
    assert main(["boards"]) == ExitCode.OK
    assert "not connected" in capsys.readouterr().out
    assert main(["boards", "--json"]) == ExitCode.OK
    facts = json.loads(capsys.readouterr().out)
    boards = {board["name"]: board for board in facts["boards"]}
    assert boards["sim"]["connected"]
    assert not boards["nrf54l15dk"]["connected"]
    assert facts["probes"] == []


def test_boards_with_a_kit(kit: Kit, capsys: pytest.CaptureFixture[str]) -> None:
    del kit
    with probe_lock(SERIAL):
        assert main(["boards", "--json"]) == ExitCode.OK
    facts = json.loads(capsys.readouterr().out)
    (mine,) = [board for board in facts["boards"] if board["name"] == "nrf54l15dk"]
    assert (mine["connected"], mine["busy"], mine["serial_numbers"]) == (True, True, [SERIAL])
    assert facts["probes"][0]["port"] == "/dev/ttyACM1"
    assert main(["boards"]) == ExitCode.OK
    assert f"connected ({SERIAL} at /dev/ttyACM1)" in capsys.readouterr().out


def test_build_copies_image_and_manifest(
    bare: FakeTools, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    del bare
    assert main(["build", "--board", "virt-nrf54l15", "-o", str(tmp_path / "out")]) == ExitCode.OK
    text = capsys.readouterr().out
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text("utf-8"))
    assert manifest["build_id"] in text
    assert f"arena {manifest['sizes']['arena_bytes']}" in text
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".elf", ".hex", ".json"}


@pytest.mark.parametrize(
    ("words", "status", "text"),
    [
        (["build", "--board", "sim"], ExitCode.INPUT, "runs no image"),
        (["build", "--board", "nrf54"], ExitCode.INFRASTRUCTURE, "no board of the family"),
        (["flash", "--board", "nrf54l15dk"], ExitCode.TOOL, "nrfutil install device"),
        (["flash", "--board", "sim"], ExitCode.INPUT, "is not flashed"),
        (["build", "--board", "nrf54l15dk", "--model", "absent"], ExitCode.INPUT, "absent"),
    ],
)
def test_refusals(
    bare: FakeTools,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    status: ExitCode,
    text: str,
) -> None:
    del bare
    assert main(words) == status
    assert text in capsys.readouterr().err


def test_flash_asks_the_firmware_what_it_is(kit: Kit, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["flash", "--board", "nrf54"]) == ExitCode.OK
    assert "reports the build id and model that were flashed" in capsys.readouterr().out
    assert kit.opened == ["/dev/ttyACM1"]
    assert sum(" program " in call for call in kit.tools.calls) == 1
    assert main(["flash", "--board", "nrf54l15dk", "--no-check"]) == ExitCode.OK
    assert len(kit.opened) == 1


def test_flash_stops_after_the_second_wrong_answer(
    kit: Kit, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["build", "--board", "nrf54l15dk", "--profile", "kws01"]) == ExitCode.OK
    old = kit.image
    monkeypatch.setattr(Kit, "image", property(lambda _: old))
    assert main(["flash", "--board", "nrf54l15dk"]) == ExitCode.INFRASTRUCTURE
    assert "not the one that was flashed, twice" in capsys.readouterr().err
    assert sum(" program " in call for call in kit.tools.calls) == 2


def test_flash_of_the_emulated_board(bare: FakeTools, capsys: pytest.CaptureFixture[str]) -> None:
    del bare
    assert main(["flash", "--board", "virt-nrf54l15"]) == ExitCode.OK
    assert "flashed    virt-nrf54l15" in capsys.readouterr().out


def steps(text: str) -> dict[str, str]:
    """Step -> ok or FAIL."""
    lines = [line.split() for line in text.splitlines()]
    return {words[1]: words[0] for words in lines if words and words[0] in ("ok", "FAIL")}


def test_doctor_walks_a_healthy_kit(kit: Kit, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", "--board", "nrf54l15dk"]) == ExitCode.OK
    assert main(["doctor"]) == ExitCode.OK
    found = steps(capsys.readouterr().out)
    assert list(found) == ["usb", "probe", "chip", "port", "hello", "baud", "echo"]
    assert set(found.values()) == {"ok"}
    assert kit.opened == ["/dev/ttyACM1"]


def test_doctor_without_a_kit_says_what_to_do(
    bare: FakeTools, capsys: pytest.CaptureFixture[str]
) -> None:
    del bare
    assert main(["doctor", "--board", "nrf54l15dk"]) == ExitCode.INFRASTRUCTURE
    text = capsys.readouterr().out
    assert steps(text) == {"usb": "FAIL"}
    assert "what to do: plug the kit in" in text
    assert main(["doctor"]) == ExitCode.OK
    assert list(steps(capsys.readouterr().out)) == ["image", "hello", "baud", "echo"]


@pytest.mark.parametrize(
    ("scenario", "step", "text"),
    [
        ("two_probes", "probe", "--serial-number"),
        ("none", "probe", "no Nordic nRF54L15 DK is connected"),
        ("wrong_chip", "chip", "NRF52840"),
    ],
)
def test_doctor_stops_at_the_step_that_fails(
    kit: Kit, capsys: pytest.CaptureFixture[str], scenario: str, step: str, text: str
) -> None:
    kit.tools.choose(scenario)
    assert main(["doctor", "--board", "nrf54l15dk"]) == ExitCode.INFRASTRUCTURE
    output = capsys.readouterr().out
    assert list(steps(output).items())[-1] == (step, "FAIL")
    assert text in output
    assert "what to do:" in output


def test_doctor_names_a_probe_in_use(kit: Kit, capsys: pytest.CaptureFixture[str]) -> None:
    del kit
    with probe_lock(SERIAL):
        assert main(["doctor", "--board", "nrf54l15dk"]) == ExitCode.INFRASTRUCTURE
    assert "in use by another process" in capsys.readouterr().out


def test_doctor_with_a_silent_or_closed_port(
    kit: Kit, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    del kit

    def refuse(name: str, baud: int) -> VirtualBoard:
        raise BoardNotFound(f"{name} at {baud} cannot be opened: busy")

    monkeypatch.setattr("harness.doctor.open_port", refuse)
    assert main(["doctor", "--board", "nrf54l15dk"]) == ExitCode.INFRASTRUCTURE
    output = capsys.readouterr().out
    assert list(steps(output).items())[-1] == ("port", "FAIL")
    assert "dialout" in output
