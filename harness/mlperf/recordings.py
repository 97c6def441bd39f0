"""ToyCar recordings of DCASE 2020 task 2 (a folder or the published zip) as inputs of ad01."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

from harness.data.manifest import DatasetEntry
from harness.errors import ConfigError
from harness.mlperf.benchmarks import BENCHMARKS
from harness.mlperf.layout import LaidOut, published_labels, write_stimuli
from harness.mlperf.spectrogram import log_mel, read_wave
from harness.mlperf.stimuli import parse_labels

_SUFFIX: Final = "_hist_librosa.bin"
_MAX_WAVE_BYTES: Final = 8 << 20
_FOLDERS: Final = ("test", "ToyCar/test", "dev_data/ToyCar/test", ".")


class Recordings(Protocol):
    """Where WAV files come from."""

    def read(self, name: str) -> bytes:
        """The file of that bare name. Raises ConfigError when it is missing or too large."""


class _Folder:
    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, name: str) -> bytes:
        for folder in _FOLDERS:
            path = self._path / folder / name
            if path.is_file():
                if path.stat().st_size > _MAX_WAVE_BYTES:
                    raise ConfigError(f"{path} has more than {_MAX_WAVE_BYTES} bytes")
                return path.read_bytes()
        raise ConfigError(
            f"{self._path} holds no {name}, nor do {', '.join(_FOLDERS[:-1])} in it: pass the "
            "folder of the development set's ToyCar recordings"
        )


class _Archive:
    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self._path = path
        self._archive = archive
        self._members = {
            item.filename.rpartition("/")[2]: item
            for item in archive.infolist()
            if "/test/" in f"/{item.filename}"
        }

    def read(self, name: str) -> bytes:
        member = self._members.get(name)
        if member is None:
            raise ConfigError(f"{self._path} holds no test/{name}: is it dev_data_ToyCar.zip?")
        if member.file_size > _MAX_WAVE_BYTES:
            raise ConfigError(f"{self._path}: {member.filename} claims {member.file_size} bytes")
        try:
            return self._archive.read(member)
        except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError) as error:
            raise ConfigError(f"{self._path}: {member.filename} is damaged: {error}") from error


def write_ad01_stimuli(
    source: Path, out: Path, entry: DatasetEntry, labels: Path | None
) -> LaidOut:
    """Spectrograms of the recordings that the published labels name, to OUT/ad01.

    labels: the user's copy of the labels file, else it is downloaded. Raises ConfigError.
    """
    benchmark = BENCHMARKS["ad01"]
    table = published_labels(entry, labels)
    lines = parse_labels(table, labels or Path("y_labels.csv"), benchmark)
    with _open(source) as recordings:
        files = [(line.file, _spectrogram(recordings, line.file)) for line in lines]
    return write_stimuli(out / benchmark.name, files, table, benchmark, entry)


def _spectrogram(recordings: Recordings, file: str) -> bytes:
    if not file.endswith(_SUFFIX):
        raise ConfigError(f"the labels name '{file}'; expected a name that ends in {_SUFFIX}")
    name = f"{file.removesuffix(_SUFFIX)}.wav"
    return log_mel(read_wave(recordings.read(name), name), name).astype("<f4").tobytes()


@contextmanager
def _open(source: Path) -> Iterator[Recordings]:
    if source.is_dir():
        yield _Folder(source)
        return
    try:
        with zipfile.ZipFile(source) as archive:
            yield _Archive(source, archive)
    except OSError as error:
        raise ConfigError(f"{source} cannot be read: {error.strerror or error}") from error
    except zipfile.BadZipFile as error:
        raise ConfigError(f"{source} is no whole zip archive: {error}") from error
