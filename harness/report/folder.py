"""A result folder as `axonrig run` wrote it, read back: complete and undamaged, or refused."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from harness.artefacts import MANIFEST, sha256
from harness.errors import ConfigError
from harness.integrity import Manifest, parse_object, read_manifest

Array = npt.NDArray[Any]

PAGE: Final = "report.html"
_MAX_BYTES: Final = 2 << 30


@dataclass(frozen=True, slots=True, eq=False)
class ResultFolder:
    """report: the content of report.json. inputs: int8 [N, ...] in the model's layout. cycles:
    int64 [N] where they were counted. files: sha256 and size by name, as in the manifest."""

    path: Path
    report: Mapping[str, Any]
    inputs: Array
    cycles: Array | None
    files: Mapping[str, Mapping[str, Any]]


def read_contents(path: Path) -> tuple[Manifest, Mapping[str, bytes]]:
    """The manifest of a result folder and every file that it lists, checked against it.

    Raises ConfigError when the folder is incomplete or a file differs from the manifest.
    """
    if not path.is_dir():
        raise ConfigError(
            f"there is no result folder {path}: give the --out folder of a run, or a history"
        )
    _require(path / MANIFEST, path)
    manifest = read_manifest(path / MANIFEST)
    contents = {name: _verified(path, name, facts) for name, facts in manifest.files.items()}
    return manifest, contents


def read_folder(path: Path) -> ResultFolder:
    """Read and check the result folder of a run.

    Raises ConfigError as `read_contents` does, and when it is not the result of a run.
    """
    return run_folder(*read_contents(path))


def run_folder(manifest: Manifest, contents: Mapping[str, bytes]) -> ResultFolder:
    """The result of a run from the contents of its folder.

    Raises ConfigError for another kind of result, or when something is missing.
    """
    path = manifest.path.parent
    if manifest.kind != "run":
        raise ConfigError(
            f"{manifest.path} is of the kind '{manifest.kind}'; expected the result of "
            "'axonrig run'"
        )
    for name in ("report.json", "inputs.npz", "outputs.npz"):
        if name not in contents:
            raise ConfigError(f"{path / MANIFEST} does not list {name}; run the model again")
    report = parse_object(contents["report.json"], path / "report.json")
    return ResultFolder(
        path=path,
        report=report,
        inputs=_array(contents["inputs.npz"], "x", path / "inputs.npz"),
        cycles=_optional(contents["outputs.npz"], "cycles", path / "outputs.npz"),
        files=manifest.files,
    )


def _require(path: Path, folder: Path) -> None:
    if not path.is_file():
        raise ConfigError(
            f"{folder} has no {path.name}: the run was cut off or is not finished; run it again"
        )


def _read(path: Path, folder: Path) -> bytes:
    _require(path, folder)
    if path.stat().st_size > _MAX_BYTES:
        raise ConfigError(f"{path} has {path.stat().st_size} bytes; at most {_MAX_BYTES} are read")
    return path.read_bytes()


def _verified(folder: Path, name: str, facts: Mapping[str, Any]) -> bytes:
    data = _read(folder / name, folder)
    if name != PAGE and sha256(data) != facts.get("sha256"):
        raise ConfigError(
            f"{folder / name} is not the file that the run wrote (its sha256 differs from "
            f"{MANIFEST}); run the model again"
        )
    return data


def _array(data: bytes, key: str, path: Path) -> Array:
    found = _optional(data, key, path)
    if found is None:
        raise ConfigError(f"{path} has no array '{key}'; run the model again")
    return found


def _optional(data: bytes, key: str, path: Path) -> Array | None:
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            return np.asarray(archive[key]) if key in archive.files else None
    except (ValueError, OSError, BadZipFile, EOFError) as error:
        raise ConfigError(f"{path} is damaged: {error}") from error
