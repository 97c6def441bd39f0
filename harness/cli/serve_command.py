"""`axonrig serve`: hold a board open for a client, e.g. an MLPerf Tiny runner."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.cli.board_arguments import add_connection_arguments, add_target_argument
from harness.errors import ConfigError, ExitCode

if TYPE_CHECKING:
    from harness.serve import Endpoint

_ANY_PORT: Final = "127.0.0.1:0"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--board", required=True, help="board, e.g. 'host' or 'virt-nrf54l15'")
    parser.add_argument(
        "--model",
        type=Path,
        metavar="M",
        help="int8 .tflite model or Axon binary (default: embedded)",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--tcp",
        metavar="HOST:PORT",
        help="listen here; PORT alone means loopback, port 0 a free one (default: %(default)s)",
        default=_ANY_PORT,
    )
    where.add_argument(
        "--pty", type=Path, metavar="LINK", help="make a pseudo-terminal and link it here"
    )
    parser.add_argument(
        "--realtime", action="store_true", help="hold an emulated board back to real time"
    )
    parser.add_argument(
        "--profile",
        metavar="P",
        help="MLPerf Tiny profile: ic01, kws01, vww01 or ad01 (default: from the model's name)",
    )
    parser.add_argument("--toolchain", choices=("zig", "gcc"), help="compiler (default: board's)")
    add_target_argument(parser)
    add_connection_arguments(parser)
    parser.add_argument(
        "--allow-erase-all", action="store_true", help="erase a locked chip whole if it must be"
    )


def execute(arguments: argparse.Namespace) -> int:
    """Serve until interrupted or terminated: 0 then."""
    from harness.board import load_boards, resolve
    from harness.board_device import BoardChoice, open_line
    from harness.firmware.source import PROFILES, profile_of
    from harness.model_file import DEFAULT_MODEL, read_model
    from harness.program import load_program
    from harness.serve import check_alive, drain, serve

    if arguments.profile not in (None, *PROFILES):
        raise ConfigError(
            f"unknown profile '{arguments.profile}'; expected one of {', '.join(PROFILES[1:])}"
        )
    boards = load_boards()
    board = resolve(arguments.board, boards)
    model = read_model(arguments.model or DEFAULT_MODEL)
    profile = profile_of(model.path.stem) if arguments.profile is None else arguments.profile
    choice = BoardChoice(
        serial_number=arguments.serial_number,
        port=arguments.port,
        toolchain=arguments.toolchain,
        target=arguments.target,
        allow_erase_all=arguments.allow_erase_all,
        realtime=arguments.realtime,
        profile=profile,
    )
    with contextlib.ExitStack() as stack:
        endpoint = _endpoint(arguments)
        stack.callback(endpoint.close)
        transport = open_line(board, load_program(model), choice)
        stack.callback(transport.close)
        check_alive(transport)
        drain(transport)
        signal.signal(signal.SIGTERM, _terminate)
        sys.stdout.write(f"listening on {endpoint.address}\n")
        sys.stdout.flush()
        with contextlib.suppress(KeyboardInterrupt):
            serve(transport, endpoint)
    return int(ExitCode.OK)


def _endpoint(arguments: argparse.Namespace) -> Endpoint:
    from harness.serve import listen_tcp, open_pty
    from harness.transport.tcp import parse_address

    if arguments.pty is not None:
        return open_pty(arguments.pty)
    text = arguments.tcp
    return listen_tcp(*parse_address(f"127.0.0.1:{text}" if text.isdigit() else text))


def _terminate(*_: object) -> None:
    raise KeyboardInterrupt
