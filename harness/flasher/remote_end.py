"""The other end of `harness.flasher.remote`, on the host with the probe:

python -m harness.flasher.remote_end probes|identify|erase-all|program BOARD [SERIAL]
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from compiler import CompilerError
from harness.board import BoardSpec, load_boards
from harness.errors import ConfigError, HarnessError
from harness.flasher.base import FlashJob
from harness.flasher.procedure import choose_flasher, flash
from harness.flasher.remote import VARIABLE

_SERIAL: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MAX_REQUEST: Final = 256 << 20


def main(argv: Sequence[str] | None = None) -> int:
    """Do one action; its answer is JSON on stdout, a failure a sentence on stderr."""
    words = list(sys.argv[1:] if argv is None else argv)
    os.environ.pop(VARIABLE, None)  # this is the end of the chain
    try:
        answer = _act(words)
    except (HarnessError, CompilerError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)  # noqa: T201  # read by the other end
        return int(getattr(error, "exit_code", 3))
    print(json.dumps(answer))  # noqa: T201  # the answer
    return 0


def _act(words: list[str]) -> dict[str, Any]:
    action, name, *rest = [*words, "", ""][: max(2, len(words))]
    boards = load_boards()
    if name not in boards:
        raise ConfigError(
            f"this host has no board file for '{name}'; known are {', '.join(boards)}"
        )
    board = boards[name]
    flasher = choose_flasher(board)
    if action == "probes" and not rest:
        found = [(probe.serial_number, probe.kit_version) for probe in flasher.probes()]
        return {"probes": [{"serial_number": s, "kit_version": kit} for s, kit in found]}
    if len(rest) != 1 or not _SERIAL.fullmatch(rest[0]):
        raise ConfigError(f"expected ACTION BOARD SERIAL, found {' '.join(words)}")
    if action == "identify":
        identity = flasher.identify(board, rest[0])
        facts = ("device_version", "part", "locked")
        return {key: getattr(identity, key) for key in facts}
    if action == "erase-all":
        flasher.erase_all(board, rest[0])
        return {}
    if action == "program":
        _program(board, rest[0])
        return {}
    raise ConfigError(f"unknown action '{action}'; known are probes, identify, erase-all, program")


def _program(board: BoardSpec, serial_number: str) -> None:
    """The whole procedure on this host: lock of the probe, identity of the chip, programming."""
    try:
        image = json.loads(sys.stdin.buffer.read(_MAX_REQUEST))
        files = {key: base64.b64decode(image[key], validate=True) for key in ("hex", "elf")}
    except (ValueError, KeyError, TypeError, RecursionError, binascii.Error) as error:
        raise ConfigError(f"the image did not arrive whole: {error!r}") from error
    with tempfile.TemporaryDirectory(prefix="axonrig-flash-") as name:
        paths = {key: Path(name) / f"firmware.{key}" for key in files}
        for key, path in paths.items():
            path.write_bytes(files[key])
        job = FlashJob(board, serial_number, paths["hex"], paths["elf"], Path(name))
        flash(job, choose_flasher(board))


if __name__ == "__main__":
    sys.exit(main())
