"""Which boards are plugged in: USB serial ports first, Nordic's tool for what USB does not tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from harness.board import BoardKind, BoardSpec, Connected
from harness.errors import BoardError, ToolchainError
from harness.flasher.base import ChipIdentity, Probe
from harness.flasher.nrfutil import NrfUtil
from harness.flasher.procedure import check_chip, is_busy


@dataclass(frozen=True, slots=True)
class Found:
    """A probe on USB and the board behind it.

    board: None when it could not be told. port: serial port of the link, None when the board is
    unknown or the port missing. busy: another process holds the probe.
    """

    probe: Probe
    board: str | None
    port: str | None
    busy: bool


def usb_probes(boards: Mapping[str, BoardSpec]) -> tuple[Probe, ...]:
    """Probes by their USB serial ports, for vendors that a board file names."""
    from serial.tools import list_ports

    vendors = {board.probe.usb_vendor for board in boards.values() if board.probe}
    groups: dict[str, list[Any]] = {}
    for port in list_ports.comports():
        if port.vid in vendors and port.serial_number:
            groups.setdefault(str(port.serial_number), []).append(port)
    return tuple(
        Probe(number, ports=tuple(str(port.device) for port in sorted(ports, key=_interface)))
        for number, ports in sorted(groups.items())
    )


def _interface(port: Any) -> tuple[str, str]:
    """Ports of one probe in the order of their USB interfaces."""
    return str(port.location or ""), str(port.device)


def find_connected(boards: Mapping[str, BoardSpec]) -> tuple[Found, ...]:
    """Every probe on USB. A missing or failing nrfutil leaves boards unknown, nothing more."""
    tool = NrfUtil()
    try:
        seen = {probe.serial_number.lstrip("0"): probe for probe in tool.probes()}
    except (ToolchainError, BoardError):
        seen = {}
    known = {probe.serial_number.lstrip("0"): probe for probe in usb_probes(boards)}
    found = []
    for number in sorted({*seen, *known}):
        probe = seen.get(number) or known[number]
        if number in known and known[number].ports:
            probe = replace(probe, ports=known[number].ports)
        found.append(_found(probe, boards, tool))
    return tuple(found)


def _found(probe: Probe, boards: Mapping[str, BoardSpec], tool: NrfUtil) -> Found:
    busy = is_busy(probe.serial_number)
    board = _board_of(probe, boards, tool, may_ask=not busy)
    return Found(probe, board.name if board else None, link_port(board, probe), busy)


def _board_of(
    probe: Probe, boards: Mapping[str, BoardSpec], tool: NrfUtil, *, may_ask: bool
) -> BoardSpec | None:
    kit = probe.kit_version
    fitting = [
        board
        for board in boards.values()
        if board.kind is BoardKind.HARDWARE and board.probe and kit in board.probe.kit_versions
    ]
    if len(fitting) <= 1 or not may_ask:
        return fitting[0] if len(fitting) == 1 else None
    try:
        identity = tool.identify(fitting[0], probe.serial_number)
    except (ToolchainError, BoardError):
        return None
    matching = [board for board in fitting if _is_chip(board, probe, identity)]
    return matching[0] if len(matching) == 1 else None


def _is_chip(board: BoardSpec, probe: Probe, identity: ChipIdentity) -> bool:
    try:
        check_chip(board, probe.serial_number, identity)
    except BoardError:
        return False
    return identity.device_version is not None


def link_port(board: BoardSpec | None, probe: Probe) -> str | None:
    """The probe's serial port that carries the link, None when it has no such port."""
    if board is None or board.probe is None or board.probe.serial_port >= len(probe.ports):
        return None
    return probe.ports[board.probe.serial_port]


def as_connected(found: tuple[Found, ...]) -> tuple[Connected, ...]:
    """What `harness.board.resolve` needs of it."""
    return tuple(
        Connected(item.board, item.probe.serial_number) for item in found if item.board is not None
    )
