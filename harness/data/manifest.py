"""What `benchmarks/data/manifest.yaml` says: where models and datasets come from, and hashes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from compiler import load_yaml
from harness.errors import ConfigError

SCHEMA: Final = 1
DATA_FOLDER: Final = Path(__file__).resolve().parents[2] / "benchmarks" / "data"
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file on a server. sha256 and size_bytes are None where nobody published them."""

    format: str
    url: str
    sha256: str | None
    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class StimuliEntry:
    """A published set of benchmark inputs.

    samples: number of files. labels: its y_labels.csv, which names them. set_sha256: of the list of
    the files' hashes, None where the files themselves are not published. index: numbers of its
    samples within the dataset's test set, None when names lead there.
    """

    samples: int
    labels: RemoteFile
    set_sha256: str | None
    index: RemoteFile | None


@dataclass(frozen=True, slots=True)
class DatasetEntry:
    """A dataset: its archives are alternatives or parts, as `recipe` says.

    converter: name of the conversion that `axonrig data` can do, None when there is none.
    stimuli: the sets of inputs that MLPerf Tiny publishes of it.
    """

    name: str
    title: str
    licence: str
    converter: str | None
    recipe: str
    archives: tuple[RemoteFile, ...]
    stimuli: tuple[StimuliEntry, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A model file of a benchmark."""

    name: str
    title: str
    licence: str
    file: str
    source: RemoteFile


@dataclass(frozen=True, slots=True)
class Manifest:
    """All entries by name."""

    models: dict[str, ModelEntry]
    datasets: dict[str, DatasetEntry]


def load_manifest(path: Path | None = None) -> Manifest:
    """The manifest at `path`, or the shipped one.

    Raises ConfigError for a file that is missing or lacks something, ModelFormatError for one that
    is not YAML.
    """
    path = path or DATA_FOLDER / "manifest.yaml"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"the manifest {path} cannot be read: {error.strerror}") from error
    root = _mapping(load_yaml(data, path), f"{path}: the manifest")
    if root.get("schema") != SCHEMA:
        raise ConfigError(f"{path}: schema is {root.get('schema')!r}, expected {SCHEMA}")
    models = _mapping(root.get("models") or {}, f"{path}: models")
    datasets = _mapping(root.get("datasets") or {}, f"{path}: datasets")
    return Manifest(
        {name: _model(name, item, f"{path}: models.{name}") for name, item in models.items()},
        {name: _dataset(name, item, f"{path}: datasets.{name}") for name, item in datasets.items()},
    )


def _model(name: str, item: object, where: str) -> ModelEntry:
    keys = _mapping(item, where)
    file = _text(keys, "file", where)
    if Path(file).name != file:
        raise ConfigError(f"{where}.file: expected a bare file name, found '{file}'")
    return ModelEntry(
        name,
        _text(keys, "title", where, name),
        _text(keys, "licence", where, "not stated"),
        file,
        _remote(keys, "tflite", where),
    )


def _dataset(name: str, item: object, where: str) -> DatasetEntry:
    keys = _mapping(item, where)
    archives = keys.get("archives")
    if not isinstance(archives, list) or not archives:
        raise ConfigError(f"{where}.archives: expected a list of at least one archive")
    converter = keys.get("converter")
    return DatasetEntry(
        name,
        _text(keys, "title", where, name),
        _text(keys, "licence", where, "not stated"),
        None if converter is None else str(converter),
        _text(keys, "recipe", where, "none given"),
        tuple(
            _remote(_mapping(archive, f"{where}.archives"), None, f"{where}.archives[{index}]")
            for index, archive in enumerate(archives)
        ),
        tuple(
            _stimuli(item, f"{where}.stimuli[{index}]")
            for index, item in enumerate(_list(keys.get("stimuli"), f"{where}.stimuli"))
        ),
    )


def _stimuli(item: object, where: str) -> StimuliEntry:
    keys = _mapping(item, where)
    samples, index = keys.get("samples"), keys.get("index")
    if not isinstance(samples, int) or samples < 1:
        raise ConfigError(f"{where}.samples: expected a positive integer, found {samples!r}")
    return StimuliEntry(
        samples,
        _remote(_mapping(keys.get("labels"), f"{where}.labels"), "csv", f"{where}.labels"),
        _digest(keys.get("set_sha256"), f"{where}.set_sha256"),
        None
        if index is None
        else _remote(_mapping(index, f"{where}.index"), "npy", f"{where}.index"),
    )


def _list(value: object, where: str) -> list[object]:
    if value is not None and not isinstance(value, list):
        raise ConfigError(f"{where}: expected a list")
    return value or []


def _remote(keys: dict[str, Any], form: str | None, where: str) -> RemoteFile:
    digest, size = _digest(keys.get("sha256"), f"{where}.sha256"), keys.get("bytes")
    if size is not None and not (isinstance(size, int) and size > 0):
        raise ConfigError(f"{where}.bytes: expected a positive integer, found {size!r}")
    return RemoteFile(form or _text(keys, "format", where), _text(keys, "url", where), digest, size)


def _digest(value: object, where: str) -> str | None:
    if value is not None and not (isinstance(value, str) and _SHA256.fullmatch(value)):
        raise ConfigError(f"{where}: expected 64 hex digits, found {value!r}")
    return value


def _mapping(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ConfigError(f"{where}: expected a mapping with words as keys")
    return value


def _text(keys: dict[str, Any], key: str, where: str, default: str | None = None) -> str:
    value = keys.get(key, default)
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{where}.{key}: expected text, found {value!r}")
    return value
