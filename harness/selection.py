"""Which board a run uses: the one that was asked for, or the simulator with the reason said.

The fallback to the simulator never hides: whoever asked gets a `Selection` whose `fallback` is a
sentence for the header, the report and every result.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from harness.errors import BoardNotFound, ConfigError

if TYPE_CHECKING:  # Resolving a name must stay cheap: pytest does it in every project.
    from compiler import AxonProgram
    from harness.device import Device

SIMULATOR: Final = "sim"

KNOWN_BOARDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        SIMULATOR: "bit-exact simulator on this machine",
        "nrf54": "any connected board of the nRF54 family",
        "nrf54l15dk": "nRF54L15 DK (CPU)",
        "nrf54lm20dk": "nRF54LM20 DK with the Axon NPU (nRF54LM20B)",
    }
)
"""Every name that `--board` takes, and what it means."""


@dataclass(frozen=True, slots=True)
class Selection:
    """asked: the user's word; name: the board that runs; source: its label.

    fallback: None, or the sentence that says why the simulator stands in.
    """

    asked: str
    name: str
    source: str
    fallback: str | None = None


def select_board(asked: str, *, require_hardware: bool = False) -> Selection:
    """Resolve a board name.

    Raises ConfigError for an unknown name (the sentence lists the known ones) and BoardNotFound
    when hardware is required and none is connected.
    """
    if asked not in KNOWN_BOARDS:
        raise ConfigError(f"unknown board '{asked}'; the known ones are {', '.join(KNOWN_BOARDS)}")
    if asked == SIMULATOR:
        if require_hardware:
            raise BoardNotFound(
                "hardware is required, but the board is 'sim': name a board with --board, "
                "e.g. --board nrf54"
            )
        return Selection(asked, SIMULATOR, "sim")
    missing = f"no board that fits '{asked}' is connected"
    if require_hardware:
        raise BoardNotFound(f"{missing}: plug one in, or leave out --require-hardware")
    return Selection(asked, SIMULATOR, "sim", f"{missing}, so the simulator stands in")


def open_device(selection: Selection, program: AxonProgram) -> Device:
    """A device that runs `program` on the selected board; the caller closes it."""
    from harness.device import SimDevice

    return SimDevice(program, board=selection.name)
