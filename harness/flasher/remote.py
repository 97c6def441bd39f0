"""A flasher on another host: its tools are run there, by a command such as `ssh lab1 ...`.

`AXONRIG_FLASHER_COMMAND` holds the command (words as a shell splits them, run without a shell) that
starts `python -m harness.flasher.remote_end` on the host with the probe; axonrig and the flash tool
are installed there. Each action is one start: its words are arguments, the image goes through
stdin, the answer comes as JSON. The board itself is then reached by a serial URL (`--port`).
"""

from __future__ import annotations

import base64
import json
import os
import shlex
import subprocess
from dataclasses import dataclass
from typing import Any, Final

from harness.board import BoardSpec
from harness.errors import BoardError, ConfigError, ExitCode, FlashError, ToolchainError
from harness.flasher.base import ChipIdentity, FlashJob, Probe
from harness.strict_mapping import Fields

VARIABLE: Final = "AXONRIG_FLASHER_COMMAND"
_TIMEOUT_S: Final = 600.0
_MAX_ANSWER: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class RemoteFlasher:
    """See `Flasher`. board: its name; the other host chooses that board's tool."""

    command: tuple[str, ...]
    board: str
    name: str = "remote"

    def probes(self) -> tuple[Probe, ...]:
        """See `Flasher`. Ports of the other host mean nothing here, so there are none."""
        fields = self._ask("probes")
        found = fields.parts("probes", _probe)
        fields.close()
        return found

    def identify(self, board: BoardSpec, serial_number: str) -> ChipIdentity:
        """See `Flasher`."""
        del board
        fields = self._ask("identify", serial_number)
        part = fields.value("part")
        identity = ChipIdentity(
            device_version=fields.optional_text("device_version"),
            part=part if isinstance(part, int) else None,
            locked=fields.flag("locked", default=False),
        )
        fields.close()
        return identity

    def erase_all(self, board: BoardSpec, serial_number: str) -> None:
        """See `Flasher`."""
        del board
        self._ask("erase-all", serial_number).close()

    def program(self, job: FlashJob) -> None:
        """See `Flasher`."""
        files = {"hex": job.hex.read_bytes(), "elf": job.elf.read_bytes()}
        image = {name: base64.b64encode(data).decode() for name, data in files.items()}
        self._ask("program", job.serial_number, image=image).close()

    def _ask(self, action: str, *words: str, image: dict[str, str] | None = None) -> Fields:
        command = [*self.command, action, self.board, *words]
        try:
            done = subprocess.run(
                command,
                input=json.dumps(image or {}).encode(),
                capture_output=True,
                timeout=_TIMEOUT_S,
                check=False,
            )
        except OSError as error:
            raise ToolchainError(
                f"'{command[0]}' of {VARIABLE} cannot be started: {error.strerror}"
            ) from error
        except subprocess.TimeoutExpired as error:
            raise BoardError(
                f"the flasher '{shlex.join(self.command)}' did not end within {_TIMEOUT_S:.0f} s"
            ) from error
        if done.returncode:
            raise _failure(done.returncode, self.command, done.stderr)
        return Fields(_answer(done.stdout, self.command), f"the answer of {self.command[0]}")


def remote_flasher(board: BoardSpec) -> RemoteFlasher | None:
    """The remote flasher, when the environment names one. Raises ConfigError for no command."""
    text = os.environ.get(VARIABLE)
    if text is None:
        return None
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ConfigError(f"{VARIABLE} is no command ({error}): {text}") from error
    if not words:
        raise ConfigError(f"{VARIABLE} is empty: unset it, or name the command")
    return RemoteFlasher(tuple(words), board.name)


def _probe(fields: Fields) -> Probe:
    return Probe(fields.text("serial_number"), fields.optional_text("kit_version"))


def _answer(data: bytes, command: tuple[str, ...]) -> Any:
    try:
        return json.loads(data[:_MAX_ANSWER])
    except (ValueError, RecursionError) as error:
        text = data[:200].decode("utf-8", "replace")
        raise ToolchainError(
            f"'{shlex.join(command)}' did not answer as axonrig's remote end does: {text!r}"
        ) from error


def _failure(status: int, command: tuple[str, ...], stderr: bytes) -> Exception:
    text = " ".join(stderr.decode("utf-8", "replace").split())[-500:] or "it printed nothing"
    kinds = {ExitCode.INFRASTRUCTURE: FlashError, ExitCode.INPUT: ConfigError}
    kind = next((kinds[code] for code in kinds if code == status), ToolchainError)
    return kind(f"the flasher '{shlex.join(command)}' ended with status {status}: {text}")
