"""`axonrig flash`: build, program a board, and check that the firmware that answers is that one."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from rich.console import Console

from harness.board import BoardSpec, load_boards
from harness.cache import cache_dir
from harness.cli.firmware_arguments import (
    add_build_arguments,
    build_choice,
    resolve_board,
    show_image,
)
from harness.connected import find_connected, link_port
from harness.errors import BoardNotFound, ExitCode
from harness.firmware.build import FirmwareImage
from harness.firmware.prepared import prepare_image
from harness.flasher import (
    FlashJob,
    Probe,
    choose_flasher,
    choose_probe,
    flash,
    flash_checked,
)
from harness.flasher.procedure import probe_lock
from harness.link import Link
from harness.transport import Transport, open_port

_BOOT_SECONDS: Final = 0.5


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_build_arguments(parser)
    parser.add_argument("--flasher", help="default: the board's")
    parser.add_argument("--serial-number", help="of the probe, when several are connected")
    parser.add_argument("--port", help="serial port of the link (default: the probe's)")
    parser.add_argument(
        "--allow-erase-all", action="store_true", help="a locked chip may be erased whole"
    )
    parser.add_argument(
        "--no-check", action="store_true", help="do not ask the firmware what it is afterwards"
    )


def execute(arguments: argparse.Namespace) -> int:
    """Run the command. Raises HarnessError and CompilerError."""
    console = Console()
    boards = load_boards()
    board = resolve_board(arguments.board, boards)
    flasher = choose_flasher(board, arguments.flasher or _default_flasher(arguments.toolchain))
    probe = choose_probe(board, flasher.probes(), arguments.serial_number)
    image = prepare_image(board, boards, build_choice(arguments))
    show_image(image, console)
    job = FlashJob(
        board, probe.serial_number, image.hex, image.elf, _log_folder(image), image.west_build
    )

    def write() -> None:
        flash(job, flasher, allow_erase_all=arguments.allow_erase_all, holds_probe=True)

    with probe_lock(probe.serial_number):
        if arguments.no_check:
            write()
            said = "not asked what it is"
        else:
            port = arguments.port or _port(board, boards, probe)
            expected = (image.build_id, image.model_hash)
            flash_checked(write, lambda: _identity(board, boards, image, port), expected)
            said = "reports the build id and model that were flashed"
    console.print(
        f"flashed    {board.name} (probe {probe.serial_number}, {flasher.name}); the firmware "
        f"{said}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    return ExitCode.OK


def _default_flasher(toolchain: str | None) -> str | None:
    """A Zephyr build is flashed by west."""
    return "west" if toolchain == "west" else None


def _log_folder(image: FirmwareImage) -> Path:
    return (cache_dir("logs") or image.elf.parent) / image.build_id.hex()


def _port(board: BoardSpec, boards: Mapping[str, BoardSpec], probe: Probe) -> str:
    """Serial port of the link; empty for an emulated board."""
    if board.probe is None:
        return ""
    port = link_port(board, probe)
    if port is None:
        numbers = probe.serial_number.lstrip("0")
        same = (i for i in find_connected(boards) if i.probe.serial_number.lstrip("0") == numbers)
        port = next((link_port(board, item.probe) for item in same), None)
    if port is None:
        raise BoardNotFound(
            f"probe {probe.serial_number} has no serial port number {board.probe.serial_port}: "
            "name it with --port, or leave the check out with --no-check"
        )
    return port


@contextlib.contextmanager
def _open(
    board: BoardSpec, boards: Mapping[str, BoardSpec], image: FirmwareImage, port: str
) -> Iterator[Transport]:
    from harness.board import image_board
    from harness.virtual.board import open_virtual_board

    transport: Transport
    if board.probe is None:
        transport = open_virtual_board(board, image_board(board, boards), image.elf)
    else:
        transport = open_port(port, board.link.default_baud if board.link else 115200)
    try:
        yield transport
    finally:
        transport.close()


def _identity(
    board: BoardSpec, boards: Mapping[str, BoardSpec], image: FirmwareImage, port: str
) -> tuple[bytes, bytes]:
    """Build id and model hash from the firmware's hello."""
    with _open(board, boards, image, port) as transport:
        transport.read(_BOOT_SECONDS)  # what the firmware prints while it starts
        hello = Link(transport).hello()
        return hello.build_id, hello.model_hash
