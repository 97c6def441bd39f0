"""Whether a result folder is whole: every file that its manifest lists is there, byte for byte.

A manifest is `manifest.json`, written last; in a folder that `axonrig compile` wrote it is each
NAME.json and each MODEL_NAME_report.json. It tells accidents, not forgery: it is not signed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Any, Final, NoReturn

from harness.artefacts import MANIFEST, write_manifest
from harness.errors import ConfigError

SCHEMA: Final = 1
"""Of every manifest."""

COMPILE_KINDS: Final = ("compiled-program", "compile-job")
"""Kinds of the JSON files that list what `axonrig compile` wrote."""

_NEEDED: Final[Mapping[str, tuple[str, ...]]] = {
    "run": ("report.json", "report.html", "inputs.npz", "golden.npz", "outputs.npz"),
    "verify": ("verify.json", "inputs.npz", "outputs.npz"),
    "mlperf": ("report.json",),
}
"""Files without which a result of that kind is none, whatever its manifest says."""

_MAX_MANIFEST_BYTES: Final = 64 << 20
_KIND: Final = re.compile(r"[a-z][a-z-]{0,39}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


class State(StrEnum):
    """What a result folder is worth."""

    WHOLE = "whole"
    DAMAGED = "damaged"
    INCOMPLETE = "incomplete"


@dataclass(frozen=True, slots=True)
class Manifest:
    """kind: what wrote the folder. files: size and sha256 by name, names relative to the folder."""

    path: Path
    kind: str
    files: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class FolderCheck:
    """kind: "" where no manifest says it. checked: files that were hashed. faults: a sentence for
    each file or manifest that is not as it should be. extra: files that no manifest lists."""

    folder: Path
    kind: str
    state: State
    checked: int
    faults: tuple[str, ...]
    extra: tuple[str, ...]


def read_manifest(path: Path) -> Manifest:
    """A manifest with its file names and hashes checked for form.

    Raises ConfigError when it is unreadable, too large, of another schema, or lists what cannot be
    a file of its folder.
    """
    value = read_object(path, _MAX_MANIFEST_BYTES)
    schema, kind, files = value.get("schema"), value.get("kind"), value.get("files")
    if schema != SCHEMA or isinstance(schema, bool):
        raise ConfigError(f"{path} has schema {schema!r:.40}; this axonrig knows {SCHEMA}")
    if not isinstance(kind, str) or not _KIND.fullmatch(kind):
        raise ConfigError(f"{path} does not say what kind of result it is: {kind!r:.80}")
    if not isinstance(files, dict):
        raise ConfigError(f"{path} lists no files")
    for name, facts in files.items():
        if not _is_inside(name):
            raise ConfigError(f"{path} lists {name!r:.200}, which is no file of the folder")
        if not _is_entry(facts):
            raise ConfigError(f"{path} lists {name!r:.200} without its size and sha256")
    return Manifest(path, kind, files)


def read_object(path: Path, most_bytes: int) -> dict[str, Any]:
    """A JSON object from a file of at most `most_bytes`. Raises ConfigError."""
    try:
        with path.open("rb") as stream:
            data = stream.read(most_bytes + 1)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > most_bytes:
        raise ConfigError(f"{path} has more than {most_bytes} bytes; expected a manifest or report")
    return parse_object(data, path)


def parse_object(data: bytes, path: Path) -> dict[str, Any]:
    """A JSON object. Raises ConfigError that names `path`."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{path} holds no JSON object")
    return value


def check_folder(folder: Path) -> tuple[FolderCheck, ...]:
    """Check a result folder, and every result folder inside it that has a manifest of its own.

    A folder that holds nothing but folders is none itself. Without a manifest.json, files that no
    compilation lists make it incomplete: they are what a run leaves that was cut off.
    Raises ConfigError when `folder` is no folder or cannot be listed.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder} is no folder; give a result folder of axonrig")
    parts = _parts(folder)
    if parts:
        return tuple(check for part in parts for check in check_folder(part))
    names, inner = _content(folder)
    return (_check(folder, names), *(check for part in inner for check in check_folder(part)))


def _parts(folder: Path) -> tuple[Path, ...]:
    """The folders inside a folder that holds nothing else."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        _refuse(error)
    only_folders = all(entry.is_dir() and not entry.is_symlink() for entry in entries)
    return tuple(entries) if only_folders else ()


def seal_folder(folder: Path, kind: str) -> None:
    """Write the manifest of everything in `folder`. Raises OSError.

    Of a folder inside that has a manifest of its own, that manifest is listed and nothing else.
    """
    files, inner = _content(folder)
    names = [name for name in files if name != MANIFEST and (folder / name).is_file()]
    names += [(part / MANIFEST).relative_to(folder).as_posix() for part in inner]
    write_manifest(folder, sorted(names), {"schema": SCHEMA, "kind": kind})


def _check(folder: Path, names: Sequence[str]) -> FolderCheck:
    try:
        manifests = _manifests(folder, names)
    except ConfigError as error:
        return FolderCheck(folder, "", State.DAMAGED, 0, (str(error),), ())
    listed = {name for manifest in manifests for name in manifest.files}
    listed |= {manifest.path.name for manifest in manifests}
    extra = tuple(name for name in names if name not in listed)
    kind = manifests[0].kind if manifests else ""
    faults = tuple(fault for manifest in manifests for fault in _faults(folder, manifest))
    state = State.DAMAGED if faults else State.WHOLE
    if MANIFEST not in names and (extra or not manifests):
        words = f"there is no {MANIFEST}: the run was cut off or has not finished; run it again"
        kind, faults, state = "", (words, *faults), State.INCOMPLETE
    checked = sum(len(manifest.files) for manifest in manifests)
    return FolderCheck(folder, kind, state, checked, faults, extra)


def _manifests(folder: Path, names: Sequence[str]) -> tuple[Manifest, ...]:
    """The folder's manifest, or, without one, what `axonrig compile` left as such."""
    if MANIFEST in names:
        return (read_manifest(folder / MANIFEST),)
    return tuple(
        read_manifest(folder / name)
        for name in names
        if "/" not in name and name.endswith(".json") and _is_compile_list(folder / name)
    )


def _is_compile_list(path: Path) -> bool:
    try:
        value = read_object(path, _MAX_MANIFEST_BYTES)
    except ConfigError:
        return False
    return value.get("kind") in COMPILE_KINDS and "files" in value


def _faults(folder: Path, manifest: Manifest) -> Iterator[str]:
    for name in _NEEDED.get(manifest.kind, ()):
        if name not in manifest.files:
            yield f"{manifest.path.name} does not list {name}"
    for name, facts in manifest.files.items():
        path = folder / name
        if not path.is_file():
            yield f"{name} is missing"
        elif (size := path.stat().st_size) != facts["bytes"]:
            yield f"{name} has {size} bytes; {manifest.path.name} says {facts['bytes']}"
        else:
            yield from _hash_faults(path, name, facts["sha256"])


def _hash_faults(path: Path, name: str, expected: str) -> Iterator[str]:
    try:
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        yield f"{name} cannot be read: {error.strerror}"
        return
    if found != expected:
        yield f"{name} was changed: its sha256 is {found}, expected {expected}"


def _content(folder: Path) -> tuple[list[str], list[Path]]:
    """(files relative to `folder`, folders with a manifest of their own), both sorted.

    Files of those folders are left to them. Links to folders count as files.
    """
    files: list[str] = []
    inner: list[Path] = []
    for root, folders, names in os.walk(folder, onerror=_refuse):
        here = Path(root)
        folders.sort()
        for name in tuple(folders):
            path = here / name
            if path.is_symlink():
                files.append(path.relative_to(folder).as_posix())
                folders.remove(name)
            elif (path / MANIFEST).is_file():
                inner.append(path)
                folders.remove(name)
        files += [(here / name).relative_to(folder).as_posix() for name in names]
    return sorted(files), sorted(inner)


def _refuse(error: OSError) -> NoReturn:
    raise ConfigError(f"{error.filename} cannot be read: {error.strerror}") from error


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    plain = path.as_posix() == name and not path.is_absolute() and ".." not in path.parts
    return plain and name not in ("", ".", MANIFEST) and not set(name) & {"\\", "\0"}


def _is_entry(facts: object) -> bool:
    if not isinstance(facts, dict):
        return False
    size, digest = facts.get("bytes"), facts.get("sha256")
    counted = isinstance(size, int) and not isinstance(size, bool) and size >= 0
    return counted and isinstance(digest, str) and _SHA256.fullmatch(digest) is not None
