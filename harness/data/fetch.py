"""Datasets as benchmarks want them: fetched or given, verified, converted, laid out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from harness.artefacts import npy_bytes, sha256, write_bytes
from harness.cache import cache_dir
from harness.data.cifar10 import one_hot, read_test_set
from harness.data.download import Progress, Wanted, download, file_sha256
from harness.data.manifest import DATA_FOLDER, DatasetEntry, Manifest, ModelEntry, RemoteFile
from harness.errors import ConfigError

Say = Callable[[str], None]
"""Called with one line for the user."""

WORKSPACE_JOBS: Final = ("ic01_compile.yaml", "ic01_accuracy.yaml")
"""The job files that a workspace gets: without and with the test section."""


@dataclass(frozen=True, slots=True)
class ArchiveChoice:
    """How the user overrides where an archive comes from, and what it must be."""

    file: Path | None = None
    url: str | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """What was written: paths, number of samples, and the archive's hash."""

    inputs: Path
    labels: Path
    samples: int
    archive_sha256: str


def obtain_archive(
    entry: DatasetEntry, choice: ArchiveChoice, progress: Progress | None = None
) -> Path:
    """A verified archive of the dataset: the user's file, or a download kept in the cache.

    Raises ConfigError when the file is missing, empty or not one of the known archives;
    DownloadError when a server does not give it.
    """
    known = [archive.sha256 for archive in entry.archives if archive.sha256]
    if choice.sha256 is not None:
        known = [choice.sha256.lower()]
    if choice.file is not None:
        return _verified(choice.file, known, entry)
    source = _source(entry, choice)
    assert source.sha256 is not None
    folder = cache_dir("downloads")
    if folder is None:
        raise ConfigError("there is no home folder to keep downloads in: set AXONRIG_CACHE")
    target = folder / f"{entry.name}-{source.sha256[:16]}"
    return download(Wanted(source.url, source.sha256, source.size_bytes), target, progress=progress)


def _source(entry: DatasetEntry, choice: ArchiveChoice) -> RemoteFile:
    """The archive to download: the manifest's first, or the user's address.

    An address that ends in the name of a listed archive is expected to be that one.
    """
    source = entry.archives[0]
    if choice.url is not None:
        name = choice.url.rpartition("/")[2]
        same = [item for item in entry.archives if item.url.rpartition("/")[2] == name]
        source = replace((same or [source])[0], url=choice.url)
    if choice.sha256 is not None:
        source = replace(source, sha256=choice.sha256.lower(), size_bytes=None)
    if source.sha256 is None:
        raise ConfigError(f"{entry.name}: no sha256 is known for {source.url}; pass --sha256")
    return source


def _verified(path: Path, known: list[str], entry: DatasetEntry) -> Path:
    try:
        size, found = path.stat().st_size, file_sha256(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    if size == 0:
        raise ConfigError(f"{path} is empty; expected an archive of {entry.title}")
    if found not in known:
        raise ConfigError(
            f"{path} has sha256 {found}, expected {' or '.join(known) or 'one given by --sha256'}: "
            f"it is no known archive of {entry.name}; download it again, or pass --sha256 for one "
            "that you trust"
        )
    return path


def write_ic01(archive: Path, folder: Path) -> Written:
    """Write x_test_ic.npy (uint8 [N, 32, 32, 3]) and y_test_ic.npy (float32 [N, 10], one-hot).

    As MLPerf Tiny's training script loads them. Raises ConfigError for an archive that is not
    sound or a folder that cannot be written.
    """
    images, labels = read_test_set(archive)
    make_folder(folder)
    written = Written(
        folder / "x_test_ic.npy", folder / "y_test_ic.npy", len(images), file_sha256(archive)
    )
    _write(written.inputs, npy_bytes(images))
    _write(written.labels, npy_bytes(one_hot(labels)))
    return written


def obtain_model(entry: ModelEntry, given: Path | None, say: Say) -> bytes:
    """The model's bytes: the user's file, else the benchmark's own, downloaded and verified."""
    if given is None:
        folder = cache_dir("downloads")
        if folder is None or entry.source.sha256 is None:
            raise ConfigError(f"the model of {entry.name} cannot be downloaded: pass --model FILE")
        target = folder / entry.file
        wanted = Wanted(entry.source.url, entry.source.sha256, entry.source.size_bytes)
        return download(wanted, target).read_bytes()
    try:
        data = given.read_bytes()
    except OSError as error:
        raise ConfigError(f"{given} cannot be read: {error.strerror}") from error
    if data[4:8] != b"TFL3":
        raise ConfigError(f"{given} is no .tflite file")
    if file_sha256(given) != entry.source.sha256:
        say(f"note: {given} is not the benchmark's own {entry.file}; it is used as given")
    return data


def write_models(folder: Path, manifest: Manifest, given: Path | None, say: Say) -> list[Path]:
    """Each of the manifest's models into `folder`: from the user's folder, else downloaded.

    In the user's folder they have their publisher's file names. Raises ConfigError as
    `obtain_model` does; a model that is there already and whole is not fetched again.
    """
    make_folder(folder)
    paths = []
    for entry in manifest.models.values():
        source = None if given is None else given / entry.file
        data = obtain_model(entry, source, say)
        paths.append(folder / entry.file)
        _write(paths[-1], data)
        say(f"{paths[-1]}: {entry.title}, sha256 {sha256(data)}")
    return paths


def write_workspace(folder: Path, manifest: Manifest, model: bytes, archive: Path) -> Written:
    """Lay `folder` out for the image-classification job files: model, data/, and two job files.

    Raises ConfigError as `write_ic01` does; then nothing was made.
    """
    written = write_ic01(archive, folder / "data")
    _write(folder / manifest.models["ic01"].file, model)
    for name in WORKSPACE_JOBS:
        _write(folder / name, (DATA_FOLDER / name).read_bytes())
    return written


def make_folder(folder: Path) -> None:
    """Create `folder`. Raises ConfigError when that cannot be done."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"the folder {folder} cannot be made: {error.strerror}") from error


def _write(path: Path, data: bytes) -> None:
    try:
        write_bytes(path, data)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error
