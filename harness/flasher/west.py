"""`west flash` for Zephyr builds. It identifies nothing itself, so nRF Util looks first."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from harness.board import BoardSpec
from harness.errors import ConfigError, FlashError
from harness.flasher.base import ChipIdentity, FlashJob, Probe
from harness.flasher.nrfutil import NrfUtil
from harness.tool_process import find_tool, run_logged

HINT: Final = "run inside an nRF Connect SDK environment, or choose another --flasher"
_WRITE_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class West:
    """See `Flasher`."""

    name: str = "west"
    _looks: NrfUtil = field(default_factory=NrfUtil)

    def probes(self) -> tuple[Probe, ...]:
        """See `Flasher`."""
        return self._looks.probes()

    def identify(self, board: BoardSpec, serial_number: str) -> ChipIdentity:
        """See `Flasher`."""
        return self._looks.identify(board, serial_number)

    def erase_all(self, board: BoardSpec, serial_number: str) -> None:
        """See `Flasher`."""
        self._looks.erase_all(board, serial_number)

    def program(self, job: FlashJob) -> None:
        """See `Flasher`."""
        if job.west_build is None:
            raise ConfigError(
                "west flashes a Zephyr build, and this image is none: build with --toolchain west"
            )
        run = run_logged(
            [
                *(find_tool("west", HINT), "flash", "--skip-rebuild"),
                *("--build-dir", str(job.west_build), "--dev-id", job.serial_number),
            ],
            timeout_s=_WRITE_S,
            log=job.log_folder / "west.log",
        )
        if run.status:
            raise FlashError(run.failure(f"west could not flash the {job.board.title}"))
