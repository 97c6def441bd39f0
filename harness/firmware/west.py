"""Firmware as a Zephyr application, built by `west` in an nRF Connect SDK environment.

The SDK brings compiler and drivers, so this build is kept by its inputs on our side (sources,
model, west's version) and not promised to be the same bytes with another SDK.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from harness.artefacts import json_bytes, sha256, write_bytes
from harness.board import BoardSpec
from harness.cache import cache_dir
from harness.errors import ConfigError, ToolchainError
from harness.firmware import FIRMWARE
from harness.firmware.build import IMAGE_NAME, SCHEMA, FirmwareImage
from harness.firmware.image import load_elf, memory_use
from harness.firmware.source import MODEL_FILE, FirmwareModel, render
from harness.tool_process import find_tool, run_logged

APPLICATION: Final = "ports/zephyr"
HINT: Final = (
    "install the nRF Connect SDK and run inside its environment, or build without an operating "
    "system: --toolchain zig"
)
_TIMEOUT_S: Final = 1800.0
_FOLDERS: Final = ("include", "core", "backends", "ports/zephyr")


@dataclass(frozen=True, slots=True)
class ZephyrAddition:
    """What a build takes besides the application.

    module: a Zephyr module; version: its version. fragment: name of a Kconfig fragment and a
    devicetree overlay of the application. files: generated ones, by name. settings: Kconfig symbols
    and numbers. facts: for the manifest.
    """

    module: Path
    version: str
    fragment: str
    files: Mapping[str, bytes]
    settings: Mapping[str, int]
    facts: Mapping[str, Any]

    def arguments(self) -> list[str]:
        """For CMake."""
        stem = FIRMWARE / APPLICATION / self.fragment
        return [
            f"-DEXTRA_ZEPHYR_MODULES={self.module}",
            f"-DEXTRA_CONF_FILE={stem}.conf",
            f"-DEXTRA_DTC_OVERLAY_FILE={stem}.overlay",
            *(f"-D{symbol}={value}" for symbol, value in sorted(self.settings.items())),
        ]


def build_zephyr(
    board: BoardSpec,
    model: FirmwareModel,
    *,
    addition: ZephyrAddition | None = None,
    folder: Path | None = None,
) -> FirmwareImage:
    """Build the Zephyr application of `board` for `model`, or take it from the cache.

    Raises ConfigError for a board that Zephyr does not know, ToolchainError with command, status,
    last lines and log when west is missing or fails.
    """
    target = board.firmware.zephyr_board if board.firmware else None
    if target is None:
        raise ConfigError(f"the board '{board.name}' has no zephyr_board; Zephyr cannot be built")
    west = find_tool("west", HINT)
    version = run_logged([west, "--version"], timeout_s=60.0).stdout.strip() or "west"
    job = _Job(west, version, board.name, target, model, addition)
    kept = (folder or cache_dir("firmware") or Path(tempfile.gettempdir())) / (
        f"{board.name}-zephyr-{job.build_id.hex()}"
    )
    if not (kept / "manifest.json").is_file():
        _build(job, kept)
    return FirmwareImage(
        board=board.name,
        elf=kept / f"{IMAGE_NAME}.elf",
        hex=kept / f"{IMAGE_NAME}.hex",
        manifest=kept / "manifest.json",
        build_id=job.build_id,
        model_hash=model.model_hash,
        memory=memory_use(load_elf(kept / f"{IMAGE_NAME}.elf")),
        toolchain=version,
        west_build=kept / "zephyr-build",
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    """west: the tool; version: its own. target: Zephyr's name of the board."""

    west: str
    version: str
    board: str
    target: str
    model: FirmwareModel
    addition: ZephyrAddition | None

    @property
    def build_id(self) -> bytes:
        """A hash of what is known to go in; the SDK's own files are not looked at."""
        digest = hashlib.sha256(repr((self.board, self.target, self.version)).encode())
        digest.update(render(self.model, bytes(16)).encode() + self.model.image)
        if self.addition is not None:
            digest.update(repr((self.addition.version, self.addition.settings)).encode())
        for where, data in (*self._own_files(), *self._added_files()):
            digest.update(f"{where} {len(data)}\n".encode() + data)
        return digest.digest()[:16]

    def _own_files(self) -> Iterator[tuple[str, bytes]]:
        for name in _FOLDERS:
            for path in sorted((FIRMWARE / name).rglob("*")):
                if path.is_file():
                    yield path.relative_to(FIRMWARE).as_posix(), path.read_bytes()

    def _added_files(self) -> Iterable[tuple[str, bytes]]:
        return sorted(self.addition.files.items()) if self.addition else ()

    def write_generated(self, folder: Path) -> None:
        """The files that the application's CMakeLists.txt looks for in AXR_GENERATED."""
        (folder / MODEL_FILE).write_bytes(self.model.image)
        (folder / "axr_build.c").write_text(render(self.model, self.build_id), encoding="ascii")
        for name, data in self._added_files():
            (folder / name).write_bytes(data)

    def command(self, generated: Path, output: Path) -> list[str]:
        """The call of west."""
        return [
            *(self.west, "build", "--pristine", "--no-sysbuild", "--board", self.target),
            *("--build-dir", str(output), str(FIRMWARE / APPLICATION), "--"),
            *(f"-DAXR_GENERATED={generated}", f"-DAXR_BOARD={self.board}"),
            *(self.addition.arguments() if self.addition else ()),
        ]


def _build(job: _Job, kept: Path) -> None:
    generated, output = kept / "generated", kept / "zephyr-build"
    shutil.rmtree(kept, ignore_errors=True)
    generated.mkdir(parents=True)
    job.write_generated(generated)
    run = run_logged(job.command(generated, output), timeout_s=_TIMEOUT_S, log=kept / "west.log")
    if run.status:
        raise ToolchainError(run.failure("the Zephyr application did not build"))
    hashes = {}
    for kind in ("elf", "hex"):
        built = output / "zephyr" / f"zephyr.{kind}"
        if not built.is_file():
            raise ToolchainError(run.failure(f"west reported success, but {built} is missing"))
        data = built.read_bytes()
        write_bytes(kept / f"{IMAGE_NAME}.{kind}", data)
        hashes[f"{IMAGE_NAME}.{kind}"] = {"bytes": len(data), "sha256": sha256(data)}
    facts = {
        "schema": SCHEMA,
        "kind": "firmware-build",
        "board": job.board,
        "build_id": job.build_id.hex(),
        "toolchain": {"version": job.version, "zephyr_board": job.target},
        **(job.addition.facts if job.addition else {}),
        "files": hashes,
    }
    write_bytes(kept / "manifest.json", json_bytes(facts))
