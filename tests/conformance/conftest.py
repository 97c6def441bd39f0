"""The devices that the conformance body runs on. A new device is one line here."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from compiler import AxonProgram
from harness.board import load_boards
from harness.board_device import open_board_device
from harness.device import Device, SimDevice
from harness.vendor.sdk import VARIABLE

Opener = Callable[[AxonProgram], Device]


def _board(name: str) -> Opener:
    return lambda program: open_board_device(load_boards()[name], program)


DEVICES: dict[str, Opener] = {
    "sim": SimDevice,
    "host": _board("host"),
    "virt-nrf54l15": _board("virt-nrf54l15"),
    "vendor-sim": _board("vendor-sim"),
}


@pytest.fixture(params=DEVICES)
def open_device(request: pytest.FixtureRequest) -> Iterator[Opener]:
    """Opens the device under test with a program; all of them are closed at the end."""
    if request.param == "vendor-sim" and not os.environ.get(VARIABLE):
        pytest.skip(f"{VARIABLE} is not set: no simulator of Nordic's")
    opened: list[Device] = []

    def opener(program: AxonProgram) -> Device:
        opened.append(DEVICES[request.param](program))
        return opened[-1]

    yield opener
    for device in opened:
        device.close()
