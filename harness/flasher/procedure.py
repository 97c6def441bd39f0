"""The order of a flash: probe, lock, identity, programming; the same for every tool."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from harness.board import BoardSpec
from harness.cache import cache_dir
from harness.errors import BoardError, BoardNotFound, ConfigError, FlashError, WrongBoard
from harness.flasher.base import ChipIdentity, ChipLocked, Flasher, FlashJob, Probe, ProbeBusy
from harness.flasher.jlink import JLink
from harness.flasher.nrfjprog import NrfJprog
from harness.flasher.nrfutil import NrfUtil
from harness.flasher.remote import remote_flasher
from harness.flasher.virtual import VirtualLoader
from harness.flasher.west import West

FLASHERS: Final[Mapping[str, Callable[[], Flasher]]] = {
    "nrfutil": NrfUtil,
    "jlink": JLink,
    "pynrfjprog": NrfJprog,
    "west": West,
    "virtual": VirtualLoader,
}


def choose_flasher(board: BoardSpec, name: str | None = None) -> Flasher:
    """The flasher of this name, else the one on another host that the environment names
    (`harness.flasher.remote`), else the board's. Raises ConfigError."""
    if board.flasher is None:
        raise ConfigError(f"the board '{board.name}' is not flashed")
    if name is None and board.flasher.default != "virtual":
        remote = remote_flasher(board)
        if remote is not None:
            return remote
    wanted = name or board.flasher.default
    if wanted not in FLASHERS:
        raise ConfigError(f"unknown flasher '{wanted}'; known are {', '.join(FLASHERS)}")
    is_virtual = board.flasher.default == "virtual"
    if (wanted == "virtual") != is_virtual:
        raise ConfigError(f"the flasher '{wanted}' is not for the board '{board.name}'")
    return FLASHERS[wanted]()


def choose_probe(board: BoardSpec, probes: Sequence[Probe], serial_number: str | None) -> Probe:
    """The probe to use: the named one, or the only one that can be this board's.

    Raises BoardNotFound when there is none, or when several fit and none is named.
    """
    if serial_number is not None:
        wanted = serial_number.lstrip("0")
        for probe in probes:
            if probe.serial_number.lstrip("0") == wanted:
                return probe
        raise BoardNotFound(
            f"no probe has the serial number {serial_number}; connected are {_list(probes)}"
        )
    versions = board.probe.kit_versions if board.probe else ()
    fitting = [probe for probe in probes if probe.kit_version in (None, *versions)]
    if not fitting:
        raise BoardNotFound(
            f"no {board.title} is connected (probes: {_list(probes)}): check cable and power "
            f"switch; `axonrig doctor --board {board.name}` looks further"
        )
    if len(fitting) > 1:
        raise BoardNotFound(
            f"{len(fitting)} connected probes could be the {board.title}: {_list(fitting)}; "
            "name one with --serial-number"
        )
    return fitting[0]


def flash(
    job: FlashJob, flasher: Flasher, *, allow_erase_all: bool = False, holds_probe: bool = False
) -> None:
    """Check the chip and program it.

    allow_erase_all: a locked chip may be erased whole. holds_probe: the caller has the probe's
    lock. Raises ProbeBusy, WrongBoard, ChipLocked, FlashError, ToolchainError.
    """
    with contextlib.nullcontext() if holds_probe else probe_lock(job.serial_number):
        identity = flasher.identify(job.board, job.serial_number)
        check_chip(job.board, job.serial_number, identity)
        if identity.locked:
            if not allow_erase_all:
                raise ChipLocked(
                    f"the {job.board.title} behind probe {job.serial_number} is locked (access "
                    "port protection). Only erasing everything on it opens it: repeat with "
                    "--allow-erase-all if nothing on it must be kept"
                )
            flasher.erase_all(job.board, job.serial_number)
            check_chip(job.board, job.serial_number, flasher.identify(job.board, job.serial_number))
        flasher.program(job)


def check_chip(board: BoardSpec, serial_number: str, identity: ChipIdentity) -> None:
    """Raise WrongBoard unless the chip can be this board's. A locked chip that tells nothing
    passes: it is asked again once it is open."""
    soc = board.soc
    if soc is None:
        return
    found = identity.device_version
    if found is not None and not found.upper().startswith(soc.device_versions):
        raise WrongBoard(
            f"probe {serial_number} sees the chip {found}; the board '{board.name}' has a "
            f"{soc.name}: choose the right probe with --serial-number, or another --board"
        )
    wanted = soc.identity
    if wanted is not None and identity.part not in (None, wanted.value):
        raise WrongBoard(
            f"probe {serial_number}: the chip's identity register {wanted.address:#010x} is "
            f"{identity.part:#010x}; a {soc.name} has {wanted.value:#010x} there"
        )
    if found is None and identity.part is None and not identity.locked:
        raise WrongBoard(
            f"probe {serial_number} does not say which chip it sees; a {soc.name} is expected. "
            "Nothing was written: check the cable and the kit's power switch"
        )


def flash_checked(
    write: Callable[[], None],
    read_identity: Callable[[], tuple[bytes, bytes]],
    expected: tuple[bytes, bytes],
) -> None:
    """Flash until the firmware reports what was built: at most twice.

    read_identity: build id and model hash from the firmware's hello. Raises FlashError when the
    second attempt reports something else too, and the link's error when it does not answer at all.
    """
    seen = ""
    for attempt in (1, 2):
        write()
        try:
            found = read_identity()
        except BoardError:
            if attempt == 2:
                raise
            continue
        if found == expected:
            return
        seen = f"build {found[0].hex()}, model {found[1].hex()}"
    raise FlashError(
        f"the firmware that answers is not the one that was flashed, twice: it reports {seen}; "
        f"expected build {expected[0].hex()}, model {expected[1].hex()}"
    )


@contextlib.contextmanager
def probe_lock(serial_number: str) -> Iterator[None]:
    """Hold the probe against other processes. Raises ProbeBusy, naming the other process."""
    path = lock_path(serial_number)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="ascii") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            stream.seek(0)
            owner = stream.read().strip() or "unknown"
            raise ProbeBusy(
                f"probe {serial_number} is in use by process {owner}: wait for it, or end it"
            ) from None
        stream.truncate(0)
        stream.write(str(os.getpid()))
        stream.flush()
        yield


def is_busy(serial_number: str) -> bool:
    """Whether another process holds the probe."""
    path = lock_path(serial_number)
    if not path.exists():
        return False
    try:
        with probe_lock(serial_number):
            return False
    except ProbeBusy:
        return True


def lock_path(serial_number: str) -> Path:
    """The probe's lock file."""
    name = re.sub(r"[^0-9A-Za-z]", "_", serial_number)
    return (cache_dir("locks") or Path(tempfile.gettempdir())) / f"probe-{name}.lock"


def _list(probes: Sequence[Probe]) -> str:
    if not probes:
        return "none"
    return ", ".join(
        probe.serial_number + (f" ({probe.kit_version})" if probe.kit_version else "")
        for probe in probes
    )
