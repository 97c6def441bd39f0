"""Firmware as a Zephyr application, built by `west` in an nRF Connect SDK environment.

The SDK brings compiler and drivers, so this build is kept by its inputs on our side (sources,
model, west's version) and not promised to be the same bytes with another SDK.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import Final

from harness.artefacts import json_bytes, sha256, write_bytes
from harness.board import BoardSpec
from harness.cache import cache_dir
from harness.errors import ConfigError, ToolchainError
from harness.firmware_build import FIRMWARE, IMAGE_NAME, SCHEMA, FirmwareImage
from harness.firmware_image import load_elf, memory_use
from harness.firmware_source import MODEL_FILE, FirmwareModel, render
from harness.tool_process import find_tool, run_logged

APPLICATION: Final = "ports/zephyr"
HINT: Final = (
    "install the nRF Connect SDK and run inside its environment, or build without an operating "
    "system: --toolchain zig"
)
_TIMEOUT_S: Final = 1800.0
_FOLDERS: Final = ("include", "core", "backends", "ports/zephyr")


def build_zephyr(
    board: BoardSpec, model: FirmwareModel, *, folder: Path | None = None
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
    build_id = _build_id(board.name, target, version, model)
    kept = (folder or cache_dir("firmware") or Path(tempfile.gettempdir())) / (
        f"{board.name}-zephyr-{build_id.hex()}"
    )
    if not (kept / "manifest.json").is_file():
        _build(west, version, board.name, target, model, build_id, kept)
    return FirmwareImage(
        board=board.name,
        elf=kept / f"{IMAGE_NAME}.elf",
        hex=kept / f"{IMAGE_NAME}.hex",
        manifest=kept / "manifest.json",
        build_id=build_id,
        model_hash=model.image[56:72] if model.image else bytes(16),
        memory=memory_use(load_elf(kept / f"{IMAGE_NAME}.elf")),
        toolchain=version,
        west_build=kept / "zephyr-build",
    )


def _build_id(board: str, target: str, version: str, model: FirmwareModel) -> bytes:
    digest = hashlib.sha256(repr((board, target, version)).encode())
    digest.update(render(model, bytes(16)).encode() + model.image)
    for name in _FOLDERS:
        for path in sorted((FIRMWARE / name).rglob("*")):
            if path.is_file():
                data = path.read_bytes()
                where = path.relative_to(FIRMWARE).as_posix()
                digest.update(f"{where} {len(data)}\n".encode() + data)
    return digest.digest()[:16]


def _build(
    west: str,
    version: str,
    board: str,
    target: str,
    model: FirmwareModel,
    build_id: bytes,
    kept: Path,
) -> None:
    generated = kept / "generated"
    shutil.rmtree(kept, ignore_errors=True)
    generated.mkdir(parents=True)
    (generated / MODEL_FILE).write_bytes(model.image)
    (generated / "axr_build.c").write_text(render(model, build_id), encoding="ascii")
    output = kept / "zephyr-build"
    run = run_logged(
        [
            *(west, "build", "--pristine", "--no-sysbuild", "--board", target),
            *("--build-dir", str(output), str(FIRMWARE / APPLICATION), "--"),
            *(f"-DAXR_GENERATED={generated}", f"-DAXR_BOARD={board}"),
            f"-DAXR_BACKEND={model.backend}",
        ],
        timeout_s=_TIMEOUT_S,
        log=kept / "west.log",
    )
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
        "board": board,
        "build_id": build_id.hex(),
        "toolchain": {"version": version, "zephyr_board": target},
        "files": hashes,
    }
    write_bytes(kept / "manifest.json", json_bytes(facts))
