"""Files of a result folder: each is written whole or not at all, and the manifest comes last."""

from __future__ import annotations

import hashlib
import io
import json
import os
import secrets
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from harness.errors import ConfigError

MANIFEST: Final = "manifest.json"


def sha256(data: bytes) -> str:
    """Hex digest of `data`."""
    return hashlib.sha256(data).hexdigest()


def write_bytes(path: Path, data: bytes) -> None:
    """Write through a temporary file beside `path`, then rename over it. Raises OSError."""
    write_together({path: data})


def write_together(files: Mapping[Path, bytes]) -> None:
    """Write each through a temporary file beside it; rename only once all are stored whole.

    Raises OSError; no temporary file is left.
    """
    staged: dict[Path, Path] = {}
    try:
        for path, data in files.items():
            temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
            staged[temporary] = path
            with temporary.open("xb") as stream:
                stream.write(data)
        for temporary, path in staged.items():
            temporary.replace(path)
    except BaseException:
        for temporary in staged:
            temporary.unlink(missing_ok=True)
        raise


def check_writable(path: Path) -> None:
    """Raise ConfigError unless a file can be written at `path`; nothing is created."""
    if path.is_dir():
        raise ConfigError(f"{path} is a folder; name a file in it")
    if not path.parent.is_dir():
        raise ConfigError(f"{path} cannot be written: the folder {path.parent} does not exist")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise ConfigError(f"{path} cannot be written: the folder {path.parent} is not writable")


def npz_bytes(arrays: Mapping[str, npt.NDArray[np.generic]]) -> bytes:
    """An .npz archive with these arrays; the same arrays give the same bytes."""
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=False, **arrays)
    return stream.getvalue()


def npy_bytes(array: npt.NDArray[np.generic]) -> bytes:
    """An .npy file with this array."""
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


def json_bytes(value: Mapping[str, Any]) -> bytes:
    """Indented JSON with a final newline. NaN and infinity are our own mistake: ValueError."""
    return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()


def open_folder(path: Path) -> Path:
    """Make `path` a writable result folder and mark it incomplete (no manifest).

    Raises ConfigError when it cannot be created or written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        (path / MANIFEST).unlink(missing_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise ConfigError(
            f"the output folder {path} cannot be written ({error.strerror}): choose another "
            "with --out"
        ) from error
    return path


def file_entries(folder: Path, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Size and sha256 of each named file. Raises OSError."""
    files = {}
    for name in names:
        data = (folder / name).read_bytes()
        files[name] = {"bytes": len(data), "sha256": sha256(data)}
    return files


def write_manifest(folder: Path, names: Iterable[str], facts: Mapping[str, Any]) -> None:
    """Write the manifest: `facts`, then size and sha256 of each named file. Raises OSError."""
    manifest = {**facts, "files": file_entries(folder, names)}
    write_bytes(folder / MANIFEST, json_bytes(manifest))
