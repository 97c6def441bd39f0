"""From USB to the echo, one step after the other: which one fails, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.board import BoardKind, BoardSpec, image_board
from harness.board_device import runs_vendor_simulator
from harness.connected import link_port, usb_probes
from harness.errors import BoardError, BoardNotFound, HarnessError
from harness.firmware.prepared import BuildChoice, prepare_image
from harness.flasher import Probe, ProbeBusy, choose_flasher, choose_probe
from harness.flasher.procedure import check_chip, is_busy
from harness.link import Link, LinkOptions
from harness.transport import Transport, open_port

_BOOT_SECONDS: Final = 0.2
_SILENCE_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one step. found: what it saw or why it failed. advice: None when it is well."""

    step: str
    found: str
    advice: str | None = None

    @property
    def is_well(self) -> bool:
        """Whether the next step makes sense."""
        return self.advice is None


@dataclass(slots=True)
class _State:
    """What earlier steps found."""

    board: BoardSpec
    boards: Mapping[str, BoardSpec]
    serial_number: str | None
    model: Path
    probe: Probe | None = None
    port: str = ""
    transport: Transport | None = None
    link: Link | None = None


_Step = tuple[str, Callable[[_State], str], str]


def examine(
    board: BoardSpec, boards: Mapping[str, BoardSpec], model: Path, serial_number: str | None = None
) -> Iterator[Finding]:
    """Findings in order; the last is the first that is not well, or the last step."""
    state = _State(board, boards, serial_number, model)
    try:
        for step, look, advice in _steps_of(board):
            try:
                yield Finding(step, look(state))
            except HarnessError as error:
                yield Finding(step, str(error), advice)
                return
    finally:
        if state.transport is not None:
            state.transport.close()


def _steps_of(board: BoardSpec) -> tuple[_Step, ...]:
    sdk: tuple[_Step, ...] = (("sdk", _sdk, _USE_SDK),) if runs_vendor_simulator(board) else ()
    return sdk + _STEPS[board.kind]


def _sdk(_: _State) -> str:
    from harness.vendor.sdk import find_sdk

    sdk = find_sdk()
    return (
        f"sdk-edge-ai {sdk.version}: compiler library {sdk.compiler_version}, driver "
        f"{sdk.driver_version}, Axon binary {sdk.ir_version}"
    )


def _usb(state: _State) -> str:
    probes = usb_probes(state.boards)
    if not probes:
        raise BoardNotFound("no debug probe of a known kit is on USB")
    return "probes on USB: " + ", ".join(probe.serial_number for probe in probes)


def _probe(state: _State) -> str:
    flasher = choose_flasher(state.board)
    state.probe = choose_probe(state.board, flasher.probes(), state.serial_number)
    if is_busy(state.probe.serial_number):
        raise ProbeBusy(f"probe {state.probe.serial_number} is in use by another process")
    kit = f" on kit {state.probe.kit_version}" if state.probe.kit_version else ""
    return f"{flasher.name} sees probe {state.probe.serial_number}{kit}"


def _chip(state: _State) -> str:
    assert state.probe is not None
    number = state.probe.serial_number
    identity = choose_flasher(state.board).identify(state.board, number)
    check_chip(state.board, number, identity)
    if identity.locked:
        return "the chip is locked; flashing needs --allow-erase-all"
    return f"the chip is {identity.device_version or state.board.name}"


def _port(state: _State) -> str:
    assert state.probe is not None
    number = state.probe.serial_number.lstrip("0")
    known = [p for p in usb_probes(state.boards) if p.serial_number.lstrip("0") == number]
    port = next((link_port(state.board, probe) for probe in (*known, state.probe)), None)
    if port is None:
        raise BoardNotFound(f"probe {number} shows no serial port for the link")
    state.port = port
    rate = state.board.link.default_baud if state.board.link else 115200
    state.transport = open_port(port, rate)
    return f"{port} is open"


def _image(state: _State) -> str:
    from harness.virtual.board import open_virtual_board

    image = prepare_image(state.board, state.boards, BuildChoice(state.model))
    owner = image_board(state.board, state.boards)
    state.transport = open_virtual_board(state.board, owner, image.elf)
    return f"{image.toolchain} built {image.memory.flash_bytes} bytes; the emulated board runs them"


def _process(state: _State) -> str:
    from compiler import CompileOptions
    from harness.firmware.build import firmware_model
    from harness.firmware.host_build import build_host
    from harness.model_file import read_model
    from harness.program import load_program
    from harness.transport.process import start_process

    file = read_model(state.model)
    program = load_program(file, CompileOptions(name=file.name, output="int8"))
    if runs_vendor_simulator(state.board):
        from harness.vendor.driver import generate_for
        from harness.vendor.firmware import build_vendor_host

        built, _ = build_vendor_host(program, generate_for(program))
    else:
        built = build_host(firmware_model(program))
    state.transport = start_process(built.path)
    return "the firmware was built for this machine and runs"


def _hello(state: _State) -> str:
    assert state.transport is not None
    state.transport.read(_BOOT_SECONDS)
    rate = state.board.link.default_baud if state.board.link else 0
    state.link = Link(state.transport, LinkOptions(silence_s=_SILENCE_SECONDS), baud=rate)
    hello = state.link.hello()
    name = hello.board.rstrip(b"\0").decode("ascii", "replace")
    model = hello.model_name.rstrip(b"\0").decode("ascii", "replace")
    return f"firmware for {name}, protocol level {hello.level}, model '{model}'"


def _baud(state: _State) -> str:
    assert state.link is not None
    rates = state.board.link.bauds if state.board.link else ()
    rate = state.link.raise_baud(rates)
    return f"{rate} baud is clean" if rate else "the link has no rate of its own"


def _echo(state: _State) -> str:
    assert state.link is not None
    lost = state.link.echo_burst()
    if lost:
        raise BoardError(f"{lost} of 8 echo frames did not come back whole")
    return "8 frames of echo came back whole"


_USE_CABLE: Final = (
    "plug the kit in with a data cable, switch it on, and on Linux install the udev rules of "
    "nRF Util"
)
_USE_TOOL: Final = (
    "install nRF Util with its `device` command; with several kits name one by --serial-number"
)
_USE_CHIP: Final = "check --board, and that nothing else is wired to the debug connector"
_USE_PORT: Final = (
    "close other programs that use the port; on Linux join the group that owns it (dialout)"
)
_USE_HELLO: Final = "flash the firmware: axonrig flash --board BOARD"
_USE_LINE: Final = "use another cable or USB port without a hub; the link falls back to lower rates"
_USE_SDK: Final = "docs/vendor-backend.md says what is needed; --board sim needs none of it"
_USE_BUILD: Final = "pip install ziglang, or install arm-none-eabi-gcc"
_TALK: Final[tuple[_Step, ...]] = (
    ("hello", _hello, _USE_HELLO),
    ("baud", _baud, _USE_LINE),
    ("echo", _echo, _USE_LINE),
)
_STEPS: Final[Mapping[BoardKind, tuple[_Step, ...]]] = {
    BoardKind.HARDWARE: (
        ("usb", _usb, _USE_CABLE),
        ("probe", _probe, _USE_TOOL),
        ("chip", _chip, _USE_CHIP),
        ("port", _port, _USE_PORT),
        *_TALK,
    ),
    BoardKind.EMULATED: (("image", _image, _USE_BUILD), *_TALK),
    BoardKind.PROCESS: (("image", _process, _USE_BUILD), *_TALK),
    BoardKind.SIMULATOR: (("simulator", lambda _: "needs nothing but this package", ""),),
}
