"""A result folder as `axonrig run` wrote it, read back: complete and undamaged, or refused."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Final
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from harness.artefacts import MANIFEST, sha256
from harness.errors import ConfigError

Array = npt.NDArray[Any]

SCHEMA: Final = 1
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


def read_folder(path: Path) -> ResultFolder:
    """Read and check a result folder.

    Raises ConfigError when it is incomplete, when a file differs from the manifest, or when it is
    not the result of a run.
    """
    manifest = _json(_read(path / MANIFEST, path), path / MANIFEST)
    if manifest.get("schema") != SCHEMA or manifest.get("kind") != "run":
        raise ConfigError(
            f"{path / MANIFEST} is of the kind {manifest.get('kind')!r}, schema "
            f"{manifest.get('schema')!r}; expected the result of 'axonrig run', schema {SCHEMA}"
        )
    files = _checked_names(manifest.get("files"), path)
    contents = {name: _verified(path, name, facts) for name, facts in files.items()}
    for name in ("report.json", "inputs.npz", "outputs.npz"):
        if name not in contents:
            raise ConfigError(f"{path / MANIFEST} does not list {name}; run the model again")
    report = _json(contents["report.json"], path / "report.json")
    return ResultFolder(
        path=path,
        report=report,
        inputs=_array(contents["inputs.npz"], "x", path / "inputs.npz"),
        cycles=_optional(contents["outputs.npz"], "cycles", path / "outputs.npz"),
        files=files,
    )


def _read(path: Path, folder: Path) -> bytes:
    if not folder.is_dir():
        raise ConfigError(f"{folder} is no folder; give the --out folder of 'axonrig run'")
    if not path.is_file():
        raise ConfigError(
            f"{folder} has no {path.name}: the run was cut off or is not finished; run it again"
        )
    if path.stat().st_size > _MAX_BYTES:
        raise ConfigError(f"{path} has {path.stat().st_size} bytes; at most {_MAX_BYTES} are read")
    return path.read_bytes()


def _json(data: bytes, path: Path) -> Mapping[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{path} holds no JSON object; run the model again")
    return value


def _checked_names(files: object, folder: Path) -> Mapping[str, Mapping[str, Any]]:
    """The manifest's files; each is a plain name inside the folder."""
    if not isinstance(files, dict):
        raise ConfigError(f"{folder / MANIFEST} lists no files; run the model again")
    for name, facts in files.items():
        plain = PurePath(name).name == name and name not in ("", ".", "..") and "\\" not in name
        if not plain or not isinstance(facts, dict):
            raise ConfigError(f"{folder / MANIFEST} lists {name!r}, which is no file of the folder")
    return files


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
