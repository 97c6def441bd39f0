"""The emulated board's loader: the image goes into its memory when the board is opened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from harness.board import BoardKind, BoardSpec, image_board, load_boards
from harness.errors import ConfigError
from harness.firmware.image import load_elf
from harness.flasher.base import ChipIdentity, FlashJob, Probe

SERIAL_NUMBER: Final = "virtual"


@dataclass(frozen=True, slots=True)
class VirtualLoader:
    """See `Flasher`."""

    name: str = "virtual"

    def probes(self) -> tuple[Probe, ...]:
        """See `Flasher`."""
        return (Probe(SERIAL_NUMBER),)

    def identify(self, board: BoardSpec, serial_number: str) -> ChipIdentity:
        """See `Flasher`."""
        del serial_number
        if board.kind is not BoardKind.EMULATED:
            raise ConfigError(f"'{board.name}' is no emulated board")
        soc = image_board(board, load_boards()).soc
        return ChipIdentity(device_version=soc.device_versions[0] if soc else None)

    def erase_all(self, board: BoardSpec, serial_number: str) -> None:
        """See `Flasher`: an emulated board starts empty."""

    def program(self, job: FlashJob) -> None:
        """Load the image once, to know that it can be. Raises ConfigError."""
        from harness.virtual.board import load_machine

        machine = load_machine(job.board, image_board(job.board, load_boards()), load_elf(job.elf))
        machine.line.close()
