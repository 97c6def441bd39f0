"""A kit on this desk, as far as the commands can tell: its chip is the emulated one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Final

import pytest

from harness.board import load_boards
from harness.transport import Transport
from harness.virtual.board import open_virtual_board
from tests.support.fake_tools import FakeTools, install

SERIAL: Final = "001057712345"
OPENERS: Final = ("harness.cli.flash_command", "harness.doctor", "harness.board_device")
"""Modules that open the kit's serial port."""


@dataclass(slots=True)
class Kit:
    """See the module. cache: where its images are built. opened: ports, in order."""

    tools: FakeTools
    cache: Path
    opened: list[str]

    @property
    def image(self) -> Path:
        """What was flashed last; on a fresh kit, what was built last."""
        flashed = self.tools.log.with_suffix(".flashed")
        if flashed.exists():
            return Path(flashed.read_text("utf-8")).with_suffix(".elf")
        images = self.cache.glob("firmware/nrf54l15dk-*/firmware.elf")
        return max(images, key=lambda path: path.stat().st_mtime_ns)

    def open_port(self, name: str, baud: int) -> Transport:
        """Instead of the serial port."""
        assert baud == 115200
        self.opened.append(name)
        boards = load_boards()
        return open_virtual_board(boards["virt-nrf54l15"], boards["nrf54l15dk"], self.image)


def plug_in(folder: Path, patch: pytest.MonkeyPatch, *tools: str) -> Kit:
    """A kit and these tools on the PATH, from now on."""
    installed = install(folder, patch, *tools)
    ports = [
        SimpleNamespace(device=f"/dev/ttyACM{i}", location=f"1-2:1.{2 * i}", vid=0x1366,
                        serial_number=SERIAL)
        for i in range(2)
    ]  # fmt: skip
    patch.setattr("serial.tools.list_ports.comports", lambda: ports)
    kit = Kit(installed, folder / "cache", [])
    for module in OPENERS:
        patch.setattr(f"{module}.open_port", kit.open_port)
    return kit
