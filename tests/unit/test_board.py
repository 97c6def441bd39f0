"""Board files are strict data; names resolve to one board or to a sentence that says why not."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from harness import connected
from harness.board import (
    FOLDER,
    BoardKind,
    Connected,
    Pin,
    describe,
    image_board,
    load_board,
    load_boards,
    resolve,
)
from harness.connected import find_connected, link_port, usb_probes
from harness.errors import BoardNotFound, ConfigError
from tests.support.fake_tools import install

SHIPPED = sorted(FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_files_are_valid(path: Path) -> None:
    board = load_board(path)
    assert board.name == path.stem
    assert describe(board)["name"] == board.name
    if board.memory:
        assert board.memory.stack_bytes + 2 * board.memory.receive_bytes < board.memory.ram_bytes
    if board.link and board.link.bauds:
        assert list(board.link.bauds) == sorted(board.link.bauds, reverse=True)
        assert board.link.default_baud in board.link.bauds


def test_shipped_set_is_complete() -> None:
    boards = load_boards()
    assert set(boards) >= {"nrf54l15dk", "nrf54lm20dk", "virt-nrf54l15", "host", "sim"}
    assert boards["nrf54lm20dk"].has_npu
    assert not boards["nrf54lm20adk"].has_npu
    assert image_board(boards["virt-nrf54l15"], boards).name == "nrf54l15dk"
    assert boards["virt-nrf54l15"].kind is BoardKind.EMULATED
    pins = boards["nrf54l15dk"].firmware
    assert pins is not None
    assert pins.pins == {"tx": Pin(1, 4), "rx": Pin(1, 5), "rts": Pin(1, 6)}
    assert Pin(1, 4).selector == 36


def test_names_aliases_and_families() -> None:
    boards = load_boards()
    assert resolve("nRF54L15", boards).name == "nrf54l15dk"
    assert resolve("nrf54lm20b", boards).name == "nrf54lm20dk"
    only = [Connected("nrf54l15dk", "1")]
    assert resolve("nrf54", boards, only).name == "nrf54l15dk"
    both = [*only, Connected("nrf54lm20dk", "2")]
    assert resolve("nrf54", boards, both).name == "nrf54lm20dk"
    same_kind = [*only, Connected("nrf54lm20adk", "2")]
    with pytest.raises(BoardNotFound, match="nrf54l15dk and nrf54lm20adk"):
        resolve("nrf54", boards, same_kind)
    with pytest.raises(BoardNotFound, match=r"no board of the family 'nrf54'.*axonrig doctor"):
        resolve("nrf54", boards)
    with pytest.raises(ConfigError, match="did you mean 'nrf54l15dk'"):
        resolve("nrf54l15d", boards)


def edited(folder: Path, old: str, new: str) -> Path:
    """A copy of a shipped file under a new name, one thing changed."""
    text = (FOLDER / "nrf54l15dk.yaml").read_text("utf-8")
    text = text.replace("nrf54l15dk\n", "mine\n", 1).replace("aliases: [nrf54l15]", "aliases: []")
    assert old in text
    path = folder / "mine.yaml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("stack_bytes:", "stack_byte:", r"memory: unknown key|'stack_bytes' is missing"),
        ("dcdc: true", "dcdc: true\n  dcd: 1", r"firmware: unknown key 'dcd'; did you mean 'dcdc'"),
        ("kind: hardware", "kind: hard", "'kind' is 'hard'; expected one of hardware"),
        ("tx: P1.04", "tx: P9.04", "'tx' is 'P9.04'"),
        ("value: 0x00054B15", "value: -1", "'value' is -1; expected an integer from 0"),
        ("dcdc: true", "dcdc: 1", "'dcdc' is 1; expected true or false"),
        ("default: nrfutil", "default: openocd", "expected one of nrfutil"),
        ("name: mine", "name: other", "call the file other.yaml"),
        ("bauds: [", "bauds: 5 #", "'bauds' is 5; expected a list"),
        ("soc:", "socket:", "unknown key 'socket'|'soc' is missing"),
    ],
)
def test_mistakes_name_place_and_expectation(tmp_path: Path, old: str, new: str, text: str) -> None:
    with pytest.raises(ConfigError, match=text) as caught:
        load_board(edited(tmp_path, old, new))
    assert "mine.yaml" in str(caught.value)


def test_a_part_that_the_kind_needs_must_be_there(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\ntitle: t\nkind: process\nfeatures: [cpu]\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="'firmware' is missing; a board of kind 'process'"):
        load_board(path)
    path.write_text("- a list\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="expected keys with values, found a list"):
        load_board(path)
    path.write_text("a: [\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"mine\.yaml:2: not valid YAML"):
        load_board(path)


def test_users_add_boards_by_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edited(tmp_path, "title: Nordic", "title: My")
    monkeypatch.setenv("AXONRIG_BOARDS", str(tmp_path))
    assert load_boards()["mine"].title == "My nRF54L15 DK"
    (tmp_path / "sim.yaml").write_text((FOLDER / "sim.yaml").read_text("utf-8"), encoding="utf-8")
    with pytest.raises(ConfigError, match="the name 'sim' is also in"):
        load_boards()
    monkeypatch.setenv("AXONRIG_BOARDS", str(tmp_path / "absent"))
    with pytest.raises(ConfigError, match="AXONRIG_BOARDS names"):
        load_boards()


def usb_port(device: str, location: str, vid: int = 0x1366) -> SimpleNamespace:
    return SimpleNamespace(device=device, location=location, vid=vid, serial_number="001057712345")


def test_connected_boards_come_from_usb_and_nrfutil(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = [
        usb_port("/dev/ttyACM7", "1-2:1.2"),
        usb_port("/dev/ttyACM3", "1-2:1.0"),
        usb_port("/dev/ttyUSB0", "1-3:1.0", vid=0x0403),
    ]
    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: ports)
    boards = load_boards()
    (probe,) = usb_probes(boards)
    assert probe.ports == ("/dev/ttyACM3", "/dev/ttyACM7")
    assert link_port(boards["nrf54l15dk"], probe) == "/dev/ttyACM7"
    tools = install(tmp_path, monkeypatch)
    (unknown,) = find_connected(boards)
    assert (unknown.board, unknown.port, unknown.busy) == (None, None, False)
    del tools
    monkeypatch.undo()
    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: ports)
    (tmp_path / "second").mkdir()
    install(tmp_path / "second", monkeypatch, "nrfutil")
    (known,) = find_connected(boards)
    assert (known.board, known.port) == ("nrf54l15dk", "/dev/ttyACM7")
    assert connected.as_connected((known,)) == (Connected("nrf54l15dk", "001057712345"),)
