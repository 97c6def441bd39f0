"""J-Link Commander. Its own verification is not trusted: the image is read back and compared."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.board import BoardSpec
from harness.errors import BoardNotFound, ConfigError, FlashError
from harness.firmware.image import load_elf
from harness.flasher.base import ChipIdentity, FlashJob, Probe
from harness.tool_process import ToolRun, find_tool, run_logged

HINT: Final = "install SEGGER's J-Link software, or choose another --flasher"
_EMULATOR: Final = re.compile(r"J-Link\[\d+\]:.*?Serial number:\s*(\d+)", re.IGNORECASE)
_WORD: Final = re.compile(r"^([0-9A-F]{8}) = ([0-9A-F]{8})", re.MULTILINE)
_LOCKED: Final = ("is locked", "is secured", "protected", "locked device")
_ABSENT: Final = ("no emulators connected", "cannot connect to j-link", "failed to open")
_LOOK_S: Final = 30.0
_WRITE_S: Final = 180.0


@dataclass(frozen=True, slots=True)
class JLink:
    """See `Flasher`."""

    name: str = "jlink"

    def probes(self) -> tuple[Probe, ...]:
        """See `Flasher`. J-Link does not know the kit."""
        run = _commander(["ShowEmuList USB", "exit"], [], _LOOK_S)
        return tuple(Probe(number) for number in _EMULATOR.findall(run.stdout))

    def identify(self, board: BoardSpec, serial_number: str) -> ChipIdentity:
        """See `Flasher`: reads the identity register of the board file."""
        wanted = board.soc.identity if board.soc else None
        if wanted is None:
            raise ConfigError(
                f"{board.file}: J-Link cannot tell which chip it sees, because the file has no "
                "soc.identity; use --flasher nrfutil, or add the register"
            )
        run = _connected(board, serial_number, [f"mem32 {wanted.address:#x} 1"], _LOOK_S)
        if _says(run, _LOCKED):
            return ChipIdentity(locked=True)
        values = {int(at, 16): int(value, 16) for at, value in _WORD.findall(run.stdout)}
        if wanted.address not in values:
            _refuse_absent(run, serial_number)
            raise FlashError(run.failure(f"probe {serial_number}: the chip does not answer"))
        return ChipIdentity(part=values[wanted.address])

    def erase_all(self, board: BoardSpec, serial_number: str) -> None:
        """See `Flasher`."""
        run = _connected(board, serial_number, ["unlock nRF", "erase"], _WRITE_S)
        if run.status or _says(run, _LOCKED):
            raise FlashError(run.failure(f"probe {serial_number}: the chip could not be erased"))

    def program(self, job: FlashJob) -> None:
        """See `Flasher`."""
        segments = load_elf(job.elf).segments
        with tempfile.TemporaryDirectory(prefix="axonrig-jlink-") as name:
            copies = [Path(name) / f"segment{index}.bin" for index in range(len(segments))]
            reads = [
                f'savebin "{copy}", {segment.address:#x}, {len(segment.data):#x}'
                for copy, segment in zip(copies, segments, strict=True)
            ]
            steps = ["r", "h", f'loadfile "{job.hex}"', *reads, "r", "g"]
            log = job.log_folder / "jlink.log"
            run = _connected(job.board, job.serial_number, steps, _WRITE_S, log)
            if run.status:
                raise FlashError(run.failure(f"programming the {job.board.title} failed"))
            for copy, segment in zip(copies, segments, strict=True):
                _compare(copy, segment.address, segment.data, run)


def _compare(copy: Path, address: int, wanted: bytes, run: ToolRun) -> None:
    found = copy.read_bytes() if copy.is_file() else b""
    if found == wanted:
        return
    differs = (i for i, (a, b) in enumerate(zip(found, wanted, strict=False)) if a != b)
    at = address + next(differs, min(len(found), len(wanted)))
    raise FlashError(
        run.failure(
            f"the image that was read back differs from the one written, first at {at:#010x} "
            f"({len(found)} of {len(wanted)} bytes came back)"
        )
    )


def _connected(
    board: BoardSpec,
    serial_number: str,
    steps: list[str],
    timeout_s: float,
    log: Path | None = None,
) -> ToolRun:
    device = board.flasher.jlink_device if board.flasher else None
    if device is None:
        raise ConfigError(f"{board.file}: flasher.jlink_device is missing; J-Link needs it")
    options = ["-ExitOnError", "1", "-AutoConnect", "1", "-If", "SWD", "-Speed", "4000"]
    options += ["-Device", device, "-SelectEmuBySN", serial_number.lstrip("0")]
    run = _commander([*steps, "exit"], options, timeout_s, log)
    _refuse_absent(run, serial_number)
    return run


def _refuse_absent(run: ToolRun, serial_number: str) -> None:
    if _says(run, _ABSENT):
        raise BoardNotFound(run.failure(f"J-Link cannot reach probe {serial_number}"))


def _commander(
    steps: list[str], options: list[str], timeout_s: float, log: Path | None = None
) -> ToolRun:
    tool = find_tool("JLinkExe", HINT)
    with tempfile.TemporaryDirectory(prefix="axonrig-jlink-") as name:
        script = Path(name) / "commands.jlink"
        script.write_text("\n".join(steps) + "\n", encoding="utf-8")
        command = [tool, "-NoGui", "1", *options, "-CommandFile", str(script)]
        return run_logged(command, timeout_s=timeout_s, log=log)


def _says(run: ToolRun, phrases: tuple[str, ...]) -> bool:
    text = (run.stdout + run.stderr).lower()
    return any(phrase in text for phrase in phrases)
