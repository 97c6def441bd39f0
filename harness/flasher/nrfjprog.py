"""pynrfjprog, for nRF52, nRF53 and nRF91 only: archived by Nordic, an optional extra."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from harness.board import BoardSpec
from harness.errors import ConfigError, FlashError, ToolchainError
from harness.flasher.base import ChipIdentity, FlashJob, Probe

FAMILIES: Final = ("NRF52", "NRF53", "NRF91")
_PROTECTION_ERROR: Final = -90
"""NOT_AVAILABLE_BECAUSE_PROTECTION."""


@dataclass(frozen=True, slots=True)
class NrfJprog:
    """See `Flasher`."""

    name: str = "pynrfjprog"

    def probes(self) -> tuple[Probe, ...]:
        """See `Flasher`."""
        with _api() as (_, api):
            return tuple(Probe(str(number)) for number in api.get_connected_probes())

    def identify(self, board: BoardSpec, serial_number: str) -> ChipIdentity:
        """See `Flasher`."""
        versions = board.soc.device_versions if board.soc else ()
        if not any(version.startswith(FAMILIES) for version in versions):
            raise ConfigError(
                f"pynrfjprog does not know the chip of '{board.name}'; use --flasher nrfutil"
            )
        with _api() as (module, api):
            try:
                probe = module.DebugProbe(api, int(serial_number))
                name = getattr(probe.get_device_info().device_type, "name", None)
            except Exception as error:
                if _number(error) == _PROTECTION_ERROR:
                    return ChipIdentity(locked=True)
                raise FlashError(f"probe {serial_number}: pynrfjprog says: {error}") from error
            return ChipIdentity(device_version=str(name) if name else None)

    def erase_all(self, board: BoardSpec, serial_number: str) -> None:
        """See `Flasher`."""
        del board
        with _api() as (module, api), _mapped("erasing"):
            module.DebugProbe(api, int(serial_number)).recover()

    def program(self, job: FlashJob) -> None:
        """See `Flasher`."""
        with _api() as (module, api), _mapped("programming"):
            options = module.ProgramOptions(
                verify=module.VerifyAction.VERIFY_READ,
                erase_action=module.EraseAction.ERASE_SECTOR,
                reset=module.ResetAction.RESET_SYSTEM,
            )
            probe = module.DebugProbe(api, int(job.serial_number))
            probe.program(str(job.hex), program_options=options)


@contextlib.contextmanager
def _api() -> Iterator[tuple[Any, Any]]:
    try:
        from pynrfjprog import HighLevel
    except ImportError:
        raise ToolchainError(
            "the package 'pynrfjprog' is missing: pip install '.[nrfjprog]' in a checkout of "
            "axonrig (it knows nRF52, nRF53 and nRF91 only), or use --flasher nrfutil"
        ) from None
    with _mapped("opening the J-Link library"), HighLevel.API() as api:
        yield HighLevel, api


@contextlib.contextmanager
def _mapped(what: str) -> Iterator[None]:
    try:
        yield
    except (FlashError, ConfigError, ToolchainError):
        raise
    except Exception as error:  # the package's own exceptions share no other base
        raise FlashError(f"{what} failed; pynrfjprog says: {error}") from error


def _number(error: BaseException) -> int | None:
    value = getattr(error, "err_code", None)
    return value if isinstance(value, int) else None
