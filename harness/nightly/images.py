"""Firmware images that a night keeps, so that a later one can measure against them.

A folder holds `image.json` and the files it names: the program of this machine (`host`), or the
HEX and ELF files of a chip. `open_image` flashes or starts one and greets it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from compiler import AxonProgram, load_yaml
from harness.artefacts import json_bytes, sha256, write_together
from harness.board import BoardKind, BoardSpec
from harness.errors import ConfigError
from harness.firmware.board_image import Target, build_board_image
from harness.session import Expected, Session, SessionPlan, not_flashed
from harness.strict_mapping import Fields
from harness.transport import Transport, open_port

SCHEMA: Final = 1
FACTS: Final = "image.json"
_FILES: Final = ("firmware", "firmware.hex", "firmware.elf")
_MAX_BYTES: Final = 64 << 20
_HEX: Final = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class KeptImage:
    """An image of a board in a folder. files: the names that are there."""

    folder: Path
    board: str
    expected: Expected
    files: tuple[str, ...]


def keep_image(
    board: BoardSpec, program: AxonProgram, folder: Path, target: Target = "cpu"
) -> KeptImage:
    """Build (or take from the cache) the image of `program` and copy it into `folder`.

    Raises HarnessError as the build does, OSError when the folder cannot be written.
    """
    from harness.firmware.build import firmware_model
    from harness.firmware.host_build import build_host

    if board.kind is BoardKind.PROCESS:
        model = firmware_model(program)
        host = build_host(model)
        expected = Expected(host.build_id, model.model_hash)
        data = {"firmware": host.path.read_bytes()}
    else:
        image = build_board_image(board, program, target=target)
        expected = Expected(image.build_id, image.model_hash)
        data = {"firmware.hex": image.hex.read_bytes(), "firmware.elf": image.elf.read_bytes()}
    facts = {
        "schema": SCHEMA,
        "board": board.name,
        "build_id": expected.build_id.hex(),
        "model_hash": expected.model_hash.hex(),
        "files": {name: sha256(content) for name, content in data.items()},
    }
    folder.mkdir(parents=True, exist_ok=True)
    files = {**data, FACTS: json_bytes(facts)}
    write_together({folder / name: content for name, content in files.items()})
    return KeptImage(folder, board.name, expected, tuple(data))


def read_image(folder: Path) -> KeptImage:
    """An image that `keep_image` wrote. Raises ConfigError when it is damaged or no such folder."""
    path = folder / FACTS
    try:
        fields = Fields(load_yaml(path.read_bytes()[:_MAX_BYTES], path), str(path))
        fields.number("schema", SCHEMA, SCHEMA)
        files = fields.words("files")
        image = KeptImage(
            folder,
            fields.text("board"),
            Expected(_hash(fields, "build_id"), _hash(fields, "model_hash")),
            tuple(files),
        )
        fields.close()
        for name, digest in files.items():
            if name not in _FILES or sha256((folder / name).read_bytes()) != digest:
                raise ConfigError(f"{folder / name} is not the file that {FACTS} names")
    except OSError as error:
        raise ConfigError(f"{error.filename} cannot be read: {error.strerror}") from error
    return image


def open_image(image: KeptImage, board: BoardSpec, port: str | None, probe: str | None) -> Session:
    """Flash or start the image, greet it and raise the rate; the caller closes the session.

    Raises ConfigError when the image is of another board, else BoardError or ToolchainError.
    """
    if image.board != board.name:
        raise ConfigError(f"{image.folder} holds an image of {image.board}, not of {board.name}")
    if board.kind is BoardKind.PROCESS:
        session = Session(_process_plan(image))
    else:
        session = Session(_hardware_plan(image, board, port, probe))
    session.start()
    return session


def _process_plan(image: KeptImage) -> SessionPlan:
    from harness.transport.process import start_process

    program = image.folder / "firmware"
    program.chmod(0o755)
    return SessionPlan(
        image.board, lambda: image.expected, not_flashed, lambda: start_process(program)
    )


def _hardware_plan(
    image: KeptImage, board: BoardSpec, port: str | None, number: str | None
) -> SessionPlan:
    from harness.flasher import FlashJob, choose_flasher, choose_probe, flash

    assert board.link is not None  # a board with an image has one
    flasher = choose_flasher(board, None)
    probe = choose_probe(board, flasher.probes(), number)
    index = board.probe.serial_port if board.probe else 0
    line = port or (probe.ports[index] if index < len(probe.ports) else None)
    if line is None:
        raise ConfigError(f"probe {probe.serial_number} shows no serial port {index}: name 'port'")
    baud = board.link.default_baud
    job = FlashJob(
        board,
        probe.serial_number,
        image.folder / "firmware.hex",
        image.folder / "firmware.elf",
        image.folder,
    )

    def connect() -> Transport:
        return open_port(line, baud)

    return SessionPlan(
        board.name,
        lambda: image.expected,
        lambda: flash(job, flasher),
        connect,
        baud,
        board.link.bauds,
    )


def _hash(fields: Fields, key: str) -> bytes:
    return bytes.fromhex(fields.text(key, _HEX))
