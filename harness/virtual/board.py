"""The emulated board as a transport: bytes in and out, time by its own clock."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from harness.board import BoardKind, BoardSpec
from harness.errors import BoardError, ConfigError
from harness.firmware.image import LoadedElf, load_elf
from harness.virtual.chip import CLOCK_HZ, SerialLine
from harness.virtual.machine import Machine
from harness.virtual.register_map import read_register_map

_POLL_SECONDS: Final = 0.01
_READ_BYTES: Final = 1 << 16


class VirtualBoard:
    """An emulated board that runs an image. A `Transport` (harness/transport).

    `now` and the timeouts of `read` are in the board's virtual time, so a busy host does not make
    them expire early.
    """

    def __init__(self, machine: Machine, name: str) -> None:
        self.machine = machine
        self._name = name
        self._closed = False

    @property
    def name(self) -> str:
        """See `Transport`."""
        return self._name

    @property
    def executed_instructions(self) -> int:
        """Instructions since the start; a millisecond of idling counts as 128,000."""
        return self.machine.executed_instructions

    def read(self, timeout_s: float) -> bytes:
        """See `Transport`. Raises BoardError when the emulation ended."""
        line = self.machine.line
        until = self.now() + timeout_s
        with line.changed:
            while not line.host_has_input:
                self._check()
                if self.now() >= until:
                    return b""
                line.changed.wait(_POLL_SECONDS)
            return line.host_takes(_READ_BYTES)

    def write(self, data: bytes) -> None:
        """See `Transport`."""
        self._check()
        self.machine.line.host_writes(data)

    def set_baud(self, baud: int) -> bool:
        """See `Transport`. The emulated line takes every rate: it has none of its own."""
        return baud > 0

    def now(self) -> float:
        """Virtual seconds since the start."""
        return self.machine.executed_instructions / CLOCK_HZ

    def fileno(self) -> int | None:
        """See `Transport`."""
        return None if self._closed else self.machine.line.readable_fd

    def close(self) -> None:
        """See `Transport`."""
        if not self._closed:
            self._closed = True
            self.machine.stop()
            self.machine.line.close()

    def _check(self) -> None:
        if self._closed:
            raise BoardError(f"{self._name} was closed; open it again")
        self.machine.check()


def open_virtual_board(
    board: BoardSpec, image_of: BoardSpec, elf: Path, *, realtime: bool = False
) -> VirtualBoard:
    """Load `elf`, built for `image_of`, into the emulated `board`, and start it.

    realtime: hold virtual time back when it runs ahead of real time. Raises ConfigError when the
    file is no image for this chip.
    """
    machine = load_machine(board, image_of, load_elf(elf), realtime=realtime)
    machine.start()
    return VirtualBoard(machine, board.name)


def load_machine(
    board: BoardSpec, image_of: BoardSpec, elf: LoadedElf, *, realtime: bool = False
) -> Machine:
    """The emulated board with the image in its memory, not started. Raises ConfigError."""
    memory, target = image_of.memory, image_of.firmware
    if board.kind is not BoardKind.EMULATED or memory is None or target is None:
        raise ConfigError(f"'{board.name}' is no emulated board")
    end = memory.slot_start
    for segment in elf.segments:
        if not memory.flash_start <= segment.address <= end - len(segment.data):
            raise ConfigError(
                f"the image has {len(segment.data)} bytes at {segment.address:#010x}, outside of "
                f"the {end - memory.flash_start} bytes of flash for an image of {image_of.name}"
            )
    if memory.flash_start not in {segment.address for segment in elf.segments}:
        raise ConfigError(f"the image has no vector table at {memory.flash_start:#010x}")
    registers = read_register_map(target.chip or "")
    return Machine(elf, memory, registers, SerialLine(), realtime=realtime)
