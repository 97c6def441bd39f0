"""Writing an image to a board: find the probe, look at the chip, program, read back, reset.

A `Flasher` is one tool. `flash` holds the probe, checks the chip and only then programs. Adding a
tool is one file and one line in `FLASHERS`.
"""

from harness.flasher.base import (
    ChipIdentity,
    ChipLocked,
    Flasher,
    FlashJob,
    Probe,
    ProbeBusy,
)
from harness.flasher.procedure import (
    FLASHERS,
    choose_flasher,
    choose_probe,
    flash,
    flash_checked,
)

__all__ = [
    "FLASHERS",
    "ChipIdentity",
    "ChipLocked",
    "FlashJob",
    "Flasher",
    "Probe",
    "ProbeBusy",
    "choose_flasher",
    "choose_probe",
    "flash",
    "flash_checked",
]
