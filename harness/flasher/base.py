"""What every flasher offers, and what can go wrong with probes and chips."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from harness.board import BoardSpec
from harness.errors import BoardError, FlashError


class ChipLocked(FlashError):
    """The chip's access port protection is on: only erasing everything opens it."""


class ProbeBusy(BoardError):
    """Another process holds the probe."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A debug probe on USB. ports: serial ports of the probe, in the order of its interfaces."""

    serial_number: str
    kit_version: str | None = None
    ports: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ChipIdentity:
    """What a tool says of the chip behind a probe.

    device_version: the tool's name of the chip, None when it was not asked. part: value of the
    identity register, None when it was not read. A locked chip may tell neither.
    """

    device_version: str | None = None
    part: int | None = None
    locked: bool = False


@dataclass(frozen=True, slots=True)
class FlashJob:
    """What is written where. hex and elf hold the same image; west_build: Zephyr's build folder."""

    board: BoardSpec
    serial_number: str
    hex: Path
    elf: Path
    log_folder: Path
    west_build: Path | None = field(default=None)


class Flasher(Protocol):
    """One tool that programs chips. All failures are BoardError or ToolchainError."""

    @property
    def name(self) -> str:
        """As in board files and on the command line."""

    def probes(self) -> tuple[Probe, ...]:
        """All probes that the tool sees."""

    def identify(self, board: BoardSpec, serial_number: str) -> ChipIdentity:
        """Look at the chip without changing it."""

    def erase_all(self, board: BoardSpec, serial_number: str) -> None:
        """Erase everything on the chip, which also unlocks it."""

    def program(self, job: FlashJob) -> None:
        """Write the image, read it back, and reset the chip. Raises FlashError."""
