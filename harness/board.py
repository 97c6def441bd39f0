"""A board is data: one YAML file each, shipped in harness/boards or in a folder of the user's.

`resolve` turns what a user typed (a name, an alias, a family) into one board. Files are strict: an
unknown key is an error that names the nearest known one.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final

from compiler import ModelFormatError, load_yaml
from harness.errors import BoardNotFound, ConfigError
from harness.strict_mapping import Fields

FOLDER: Final = Path(__file__).parent / "boards"
FOLDER_VARIABLE: Final = "AXONRIG_BOARDS"
FLASHERS: Final = ("nrfutil", "jlink", "pynrfjprog", "west", "virtual")
TOOLCHAINS: Final = ("zig", "gcc", "west")
FEATURES: Final = ("cpu", "npu")

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,30}")
_PIN: Final = re.compile(r"P([0-3])\.(\d\d)")
_MACRO: Final = re.compile(r"[A-Z][A-Z0-9_]*")


class BoardKind(Enum):
    """What stands behind a board's name."""

    HARDWARE = "hardware"
    EMULATED = "emulated"
    PROCESS = "process"
    SIMULATOR = "simulator"


@dataclass(frozen=True, slots=True)
class Identity:
    """A 32-bit register and the value that only this chip has there."""

    address: int
    value: int


@dataclass(frozen=True, slots=True)
class Soc:
    """The chip. device_versions: beginnings of the names that debug tools give it, upper case."""

    name: str
    core: str
    clock_hz: int
    device_versions: tuple[str, ...]
    identity: Identity | None = None


@dataclass(frozen=True, slots=True)
class Memory:
    """What firmware may use, in bytes.

    receive_bytes: what may arrive unread on the link. slot_bytes: the end of flash that is kept
    for an uploaded model.
    """

    flash_start: int
    flash_bytes: int
    ram_start: int
    ram_bytes: int
    stack_bytes: int
    receive_bytes: int
    slot_bytes: int = 0

    @property
    def slot_start(self) -> int:
        """Address of the model slot in flash."""
        return self.flash_start + self.flash_bytes - self.slot_bytes


@dataclass(frozen=True, slots=True)
class Pin:
    """A pin of the chip: P1.04 is port 1, number 4."""

    port: int
    number: int

    @property
    def selector(self) -> int:
        """The value of a PSEL register."""
        return self.port << 5 | self.number


@dataclass(frozen=True, slots=True)
class FirmwareTarget:
    """How firmware for the board is built.

    port: folder in firmware/ports. target and cpu: the cross compiler's names, None for this
    machine. chip: preprocessor symbol. zephyr_board: Zephyr's board target.
    """

    port: str
    toolchain: str
    target: str | None = None
    cpu: str | None = None
    chip: str | None = None
    pins: Mapping[str, Pin] | None = None
    crystal_load_ff: int = 0
    dcdc: bool = False
    zephyr_board: str | None = None


@dataclass(frozen=True, slots=True)
class FlasherChoice:
    """Default flasher and the names that some need."""

    default: str
    jlink_device: str | None = None


@dataclass(frozen=True, slots=True)
class ProbeMatch:
    """How the board is found on USB.

    kit_versions: board numbers as the probe reports them (PCA10156). serial_port: which of the
    probe's virtual COM ports carries the link, counted from 0.
    """

    kit_versions: tuple[str, ...]
    usb_vendor: int
    serial_port: int


@dataclass(frozen=True, slots=True)
class LinkRates:
    """Rates of the serial link; `bauds` are tried from the first on. 0: the link has no rate."""

    default_baud: int
    bauds: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Emulation:
    """How emulated instructions become time: see docs/virtual-board.md."""

    time_model: str
    cycles_per_instruction: float


@dataclass(frozen=True, slots=True)
class BoardSpec:
    """One board file. Parts that a kind of board does not have are None."""

    name: str
    title: str
    kind: BoardKind
    features: tuple[str, ...]
    file: Path
    aliases: tuple[str, ...] = ()
    family: str | None = None
    soc: Soc | None = None
    memory: Memory | None = None
    firmware: FirmwareTarget | None = None
    flasher: FlasherChoice | None = None
    probe: ProbeMatch | None = None
    link: LinkRates | None = None
    emulation: Emulation | None = None
    runs_image_of: str | None = None

    @property
    def has_npu(self) -> bool:
        """Whether the board has (or simulates) the Axon NPU."""
        return "npu" in self.features


@dataclass(frozen=True, slots=True)
class Connected:
    """A board that is there. serial_number: of its probe, None for boards without one."""

    board: str
    serial_number: str | None = None


def load_boards(folders: Sequence[Path] | None = None) -> dict[str, BoardSpec]:
    """Every known board by name: the shipped ones, then those in $AXONRIG_BOARDS.

    Raises ConfigError for a file that is not a board, and for a name or alias given twice.
    """
    boards: dict[str, BoardSpec] = {}
    owners: dict[str, Path] = {}
    for folder in folders if folders is not None else _folders():
        if not folder.is_dir():
            raise ConfigError(f"{FOLDER_VARIABLE} names {folder}, which is no folder")
        for path in sorted(folder.glob("*.yaml")):
            board = load_board(path)
            for name in (board.name, *board.aliases):
                if name in owners:
                    raise ConfigError(
                        f"{path}: the name '{name}' is also in {owners[name]}; rename one of them"
                    )
                owners[name] = path
            boards[board.name] = board
    for board in boards.values():
        _check_image_owner(board, boards)
    return boards


def load_board(path: Path) -> BoardSpec:
    """Read one board file. Raises ConfigError, naming file, key and what was expected."""
    try:
        data = load_yaml(path.read_bytes(), path)
    except ModelFormatError as error:
        raise ConfigError(str(error)) from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    fields = Fields(data, str(path))
    board = _board(fields, path)
    fields.close()
    _check_parts(board)
    return board


def image_board(board: BoardSpec, boards: Mapping[str, BoardSpec]) -> BoardSpec:
    """The board whose firmware image `board` runs: itself, or the one that it emulates."""
    return boards[board.runs_image_of] if board.runs_image_of else board


def resolve(
    name: str, boards: Mapping[str, BoardSpec], connected: Iterable[Connected] = ()
) -> BoardSpec:
    """The board of this name, alias or family.

    A family resolves to its connected member; of several, to the only one with the NPU. Raises
    ConfigError for an unknown name, BoardNotFound when no member is connected or two fit.
    """
    wanted = name.lower()
    for board in boards.values():
        if wanted == board.name or wanted in board.aliases:
            return board
    members = [board for board in boards.values() if board.family == wanted]
    if not members:
        raise ConfigError(_unknown(name, boards))
    return _member(name, members, {item.board for item in connected})


def _member(family: str, members: list[BoardSpec], connected: set[str]) -> BoardSpec:
    names = ", ".join(sorted(board.name for board in members))
    there = [board for board in members if board.name in connected]
    if not there:
        raise BoardNotFound(
            f"no board of the family '{family}' is connected (it has {names}): plug one in, or "
            "name the board; `axonrig doctor` looks for it step by step"
        )
    fitting = [board for board in there if board.has_npu] or there
    if len(fitting) > 1:
        found = " and ".join(sorted(board.name for board in fitting))
        raise BoardNotFound(f"'{family}' fits {found}, which are all connected: name one of them")
    return fitting[0]


def _unknown(name: str, boards: Mapping[str, BoardSpec]) -> str:
    names = {alias for board in boards.values() for alias in (board.name, *board.aliases)}
    names |= {board.family for board in boards.values() if board.family}
    near = difflib.get_close_matches(name.lower(), sorted(names), 1)
    hint = f"; did you mean '{near[0]}'?" if near else ";"
    return f"unknown board '{name}'{hint} the known ones are {', '.join(sorted(names))}"


def _folders() -> list[Path]:
    named = os.environ.get(FOLDER_VARIABLE, "")
    return [FOLDER, *(Path(part) for part in named.split(os.pathsep) if part)]


def _check_image_owner(board: BoardSpec, boards: Mapping[str, BoardSpec]) -> None:
    owner = board.runs_image_of
    if owner is not None and (owner not in boards or boards[owner].memory is None):
        raise ConfigError(
            f"{board.file}: runs_image_of names '{owner}', which is no board with a memory map"
        )


_PARTS: Final[Mapping[BoardKind, tuple[str, ...]]] = {
    BoardKind.HARDWARE: ("soc", "memory", "firmware", "flasher", "probe", "link"),
    BoardKind.EMULATED: ("runs_image_of", "flasher", "emulation", "link"),
    BoardKind.PROCESS: ("firmware", "link"),
    BoardKind.SIMULATOR: (),
}


def _check_parts(board: BoardSpec) -> None:
    for part in _PARTS[board.kind]:
        if getattr(board, part) is None:
            raise ConfigError(
                f"{board.file}: the key '{part}' is missing; a board of kind "
                f"'{board.kind.value}' needs it"
            )


def _board(fields: Fields, path: Path) -> BoardSpec:
    name = fields.text("name", _NAME)
    if name != path.stem:
        raise ConfigError(f"{path}: the board is called '{name}'; call the file {name}.yaml")
    return BoardSpec(
        name=name,
        title=fields.text("title"),
        kind=BoardKind(fields.choice("kind", [kind.value for kind in BoardKind])),
        features=fields.choices("features", FEATURES),
        file=path,
        aliases=fields.texts("aliases", _NAME, default=()),
        family=fields.optional_text("family", _NAME),
        soc=fields.part("soc", _soc),
        memory=fields.part("memory", _memory),
        firmware=fields.part("firmware", _firmware),
        flasher=fields.part("flasher", _flasher),
        probe=fields.part("probe", _probe),
        link=fields.part("link", _link),
        emulation=fields.part("emulation", _emulation),
        runs_image_of=fields.optional_text("runs_image_of", _NAME),
    )


def _soc(fields: Fields) -> Soc:
    return Soc(
        name=fields.text("name"),
        core=fields.text("core"),
        clock_hz=fields.number("clock_hz", 1, 10**10),
        device_versions=fields.texts("device_versions"),
        identity=fields.part("identity", _identity),
    )


def _identity(fields: Fields) -> Identity:
    return Identity(
        address=fields.number("address", 0, 2**32 - 4), value=fields.number("value", 0, 2**32 - 1)
    )


def _memory(fields: Fields) -> Memory:
    return Memory(
        flash_start=fields.number("flash_start", 0, 2**32 - 1),
        flash_bytes=fields.number("flash_bytes", 1024, 2**30),
        ram_start=fields.number("ram_start", 0, 2**32 - 1),
        ram_bytes=fields.number("ram_bytes", 1024, 2**30),
        stack_bytes=fields.number("stack_bytes", 1024, 2**20),
        receive_bytes=fields.number("receive_bytes", 512, 2**16),
        slot_bytes=fields.number("slot_bytes", 0, 2**24, default=0),
    )


def _firmware(fields: Fields) -> FirmwareTarget:
    return FirmwareTarget(
        port=fields.text("port", _NAME),
        toolchain=fields.choice("toolchain", TOOLCHAINS),
        target=fields.optional_text("target"),
        cpu=fields.optional_text("cpu"),
        chip=fields.optional_text("chip", _MACRO),
        pins=fields.part("pins", _pins),
        crystal_load_ff=fields.number("crystal_load_ff", 5500, 17000, default=0),
        dcdc=fields.flag("dcdc", default=False),
        zephyr_board=fields.optional_text("zephyr_board"),
    )


def _pins(fields: Fields) -> dict[str, Pin]:
    pins = {"tx": _pin(fields.text("tx", _PIN)), "rx": _pin(fields.text("rx", _PIN))}
    rts = fields.optional_text("rts", _PIN)
    return {**pins, "rts": _pin(rts)} if rts else pins


def _pin(text: str) -> Pin:
    return Pin(int(text[1]), int(text[3:]))


def _flasher(fields: Fields) -> FlasherChoice:
    return FlasherChoice(
        default=fields.choice("default", FLASHERS),
        jlink_device=fields.optional_text("jlink_device"),
    )


def _probe(fields: Fields) -> ProbeMatch:
    return ProbeMatch(
        kit_versions=fields.texts("kit_versions"),
        usb_vendor=fields.number("usb_vendor", 1, 0xFFFF),
        serial_port=fields.number("serial_port", 0, 7),
    )


def _link(fields: Fields) -> LinkRates:
    return LinkRates(
        default_baud=fields.number("default_baud", 0, 10**8),
        bauds=fields.numbers("bauds", 300, 10**8),
    )


def _emulation(fields: Fields) -> Emulation:
    return Emulation(
        time_model=fields.text("time_model"),
        cycles_per_instruction=fields.real("cycles_per_instruction", 0.1, 100.0),
    )


def describe(board: BoardSpec) -> dict[str, Any]:
    """The facts that `axonrig boards --json` prints."""
    soc = board.soc
    return {
        "name": board.name,
        "title": board.title,
        "kind": board.kind.value,
        "aliases": list(board.aliases),
        "family": board.family,
        "features": list(board.features),
        "soc": soc.name if soc else None,
        "clock_hz": soc.clock_hz if soc else None,
        "flasher": board.flasher.default if board.flasher else None,
        "file": str(board.file),
    }
