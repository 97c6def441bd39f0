"""Which board a run uses: the one that was asked for, or the simulator with the reason said.

The fallback to the simulator never hides: whoever asked gets a `Selection` whose `fallback` is a
sentence for the header, the report and every result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness.errors import BoardNotFound

if TYPE_CHECKING:  # Resolving 'sim' must stay cheap: pytest does it in every project.
    from collections.abc import Mapping

    from compiler import AxonProgram
    from harness.board import BoardSpec
    from harness.board_device import BoardChoice
    from harness.device import Device
    from harness.firmware.board_image import Target

SIMULATOR: Final = "sim"


@dataclass(frozen=True, slots=True)
class Selection:
    """asked: the user's word; name: the board that runs; source: its label.

    fallback: None, or the sentence that says why the simulator stands in. serial_number, port:
    which board, when several fit. target: what runs the model on a real board. layer_times: the
    board times layers, too.
    """

    asked: str
    name: str
    source: str
    fallback: str | None = None
    serial_number: str | None = None
    port: str | None = None
    target: Target = "cpu"
    layer_times: bool = False


def select_board(
    asked: str,
    *,
    require_hardware: bool = False,
    serial_number: str | None = None,
    port: str | None = None,
    target: Target = "cpu",
) -> Selection:
    """Resolve a board name.

    Emulated boards and the firmware as a process are always there. A real board that is not
    connected falls back to the simulator; with a port given it counts as connected. Raises
    ConfigError for an unknown name (the sentence lists the known ones) and for the NPU on a board
    without one, and BoardNotFound when two boards fit or when hardware is required and there is
    none.
    """
    if asked == SIMULATOR:
        if require_hardware:
            raise BoardNotFound(_not_hardware(asked))
        return Selection(asked, SIMULATOR, "sim")
    from harness.board import BoardKind, load_boards
    from harness.board_device import SOURCES
    from harness.firmware.board_image import check_target

    boards = load_boards()
    board = _connected_member(asked, boards, reachable=port is not None)
    if board is not None and board.kind is BoardKind.SIMULATOR:
        return select_board(SIMULATOR, require_hardware=require_hardware)
    if board is not None:
        if require_hardware and board.kind is not BoardKind.HARDWARE:
            raise BoardNotFound(_not_hardware(asked))
        if target == "npu":
            check_target(board, boards, target)
        return Selection(asked, board.name, SOURCES[board.kind], None, serial_number, port, target)
    missing = f"no board that fits '{asked}' is connected"
    if require_hardware:
        raise BoardNotFound(f"{missing}: plug one in, or leave out --require-hardware")
    return Selection(asked, SIMULATOR, "sim", f"{missing}, so the simulator stands in")


def _not_hardware(name: str) -> str:
    return (
        f"hardware is required, but the board is '{name}': name a board with --board, "
        "e.g. --board nrf54"
    )


def _connected_member(
    asked: str, boards: Mapping[str, BoardSpec], *, reachable: bool
) -> BoardSpec | None:
    """The board that is meant, or None when it is a real one that is not there."""
    from harness.board import BoardKind, Connected, resolve
    from harness.connected import find_connected

    found = [item for item in find_connected(boards) if item.board is not None]
    connected = [Connected(str(item.board), item.probe.serial_number) for item in found]
    names = {item.board for item in connected}
    try:
        board = resolve(asked, boards, connected)
    except BoardNotFound:
        if any(boards[name].family == asked.lower() for name in names):
            raise
        return None
    there = board.kind is not BoardKind.HARDWARE or board.name in names or reachable
    return board if there else None


def open_device(selection: Selection, program: AxonProgram) -> Device:
    """A device that runs `program` on the selected board; the caller closes it.

    Raises BoardError or ToolchainError of the step that failed.
    """
    if selection.name == SIMULATOR:
        from harness.device import SimDevice

        return SimDevice(program, board=selection.name)
    from harness.board import load_boards
    from harness.board_device import open_board_device

    return open_board_device(load_boards()[selection.name], program, _choice(selection))


def _choice(selection: Selection) -> BoardChoice:
    from harness.board_device import BoardChoice

    return BoardChoice(
        serial_number=selection.serial_number,
        port=selection.port,
        target=selection.target,
        layer_times=selection.layer_times,
    )
