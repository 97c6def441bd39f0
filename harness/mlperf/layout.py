"""Benchmark inputs brought into the layout of the MLPerf Tiny runners, from what the user has."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from harness.artefacts import write_bytes
from harness.cache import cache_dir
from harness.data.cifar10 import Batch
from harness.data.dataset import load_array
from harness.data.download import Wanted, download
from harness.data.fetch import make_folder
from harness.data.manifest import DatasetEntry, RemoteFile, StimuliEntry
from harness.errors import ConfigError
from harness.mlperf.benchmarks import BENCHMARKS, Benchmark
from harness.mlperf.stimuli import (
    LABELS,
    MAX_LABELS_BYTES,
    LabelLine,
    StimulusSet,
    find_folder,
    parse_labels,
    read_bounded,
    read_stimuli,
)


@dataclass(frozen=True, slots=True)
class LaidOut:
    """What was written: the folder, and what is known of its files."""

    folder: Path
    stimuli: StimulusSet


def write_stimuli(
    folder: Path,
    files: Iterable[tuple[str, bytes]],
    labels: bytes,
    benchmark: Benchmark,
    entry: DatasetEntry | None,
) -> LaidOut:
    """Write files, then the labels; a folder without labels is an unfinished one.

    Raises ConfigError when something cannot be written, or does not read back as a sound set.
    """
    make_folder(folder)
    try:
        (folder / LABELS).unlink(missing_ok=True)
        for name, data in files:
            write_bytes(folder / name, data)
        write_bytes(folder / LABELS, labels)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written: {error.strerror}") from error
    return LaidOut(folder, read_stimuli(folder, benchmark, entry))


def copy_stimuli(source: Path, out: Path, benchmark: Benchmark, entry: DatasetEntry) -> LaidOut:
    """Check a folder of the user's and copy what its labels name to OUT/BENCHMARK.

    Raises ConfigError for a folder that holds no sound set, or whose labels are a published set's
    and whose files are known to be others.
    """
    found = find_folder(source, benchmark, only=True)
    if found is None:
        raise ConfigError(
            f"{source} holds no {LABELS}: pass the folder of the benchmark's inputs; {entry.recipe}"
        )
    stimuli = read_stimuli(found, benchmark, entry)
    if stimuli.intact is False:
        raise ConfigError(
            f"the files in {found} are not the published ones that its {LABELS} names: their "
            f"hashes give {stimuli.set_sha256}, expected "
            f"{stimuli.published and stimuli.published.set_sha256}"
        )
    target = out / benchmark.name
    if target.resolve() == found.resolve():
        return LaidOut(found, stimuli)
    contents = ((item.file, (found / item.file).read_bytes()) for item in stimuli.items)
    return write_stimuli(target, contents, (found / LABELS).read_bytes(), benchmark, entry)


def write_ic01_stimuli(
    batch: Batch, out: Path, entry: DatasetEntry, labels: Path | None, index: Path | None
) -> LaidOut:
    """The images that the benchmark publishes as its set, uint8 RGB, to OUT/ic01.

    Which images these are says their name where the archive has names (the python one), else the
    published index list. labels, index: the user's copies of the published files, else they are
    downloaded. Raises ConfigError when they do not fit the archive.
    """
    benchmark = BENCHMARKS["ic01"]
    table = published_labels(entry, labels)
    lines = parse_labels(table, labels or Path(LABELS), benchmark)
    numbers = _numbers(batch, lines, _published(entry), index)
    for line, number in zip(lines, numbers, strict=True):
        if line.label != batch.labels[number]:
            raise ConfigError(
                f"image {number} of the archive is of class {batch.labels[number]}, but the "
                f"labels say {line.label} for {line.file}: another archive, index list or labels "
                "file"
            )
    files = (
        (line.file, batch.images[number].tobytes())
        for line, number in zip(lines, numbers, strict=True)
    )
    return write_stimuli(out / benchmark.name, files, table, benchmark, entry)


def published_labels(entry: DatasetEntry, given: Path | None) -> bytes:
    """The published labels file: the user's copy, else downloaded. Raises ConfigError."""
    return read_bounded(given or _download(_published(entry).labels), MAX_LABELS_BYTES)


def _numbers(
    batch: Batch, lines: list[LabelLine], published: StimuliEntry, index: Path | None
) -> list[int]:
    """Numbers of the lines' images within the test batch."""
    if batch.names is not None:
        places = {Path(name).stem: number for number, name in enumerate(batch.names)}
        stems = [Path(line.file).stem for line in lines]
        missing = [stem for stem in stems if stem not in places]
        if missing:
            raise ConfigError(f"the archive has no image '{missing[0][:80]}' that the labels name")
        return [places[stem] for stem in stems]
    if published.index is None:
        raise ConfigError("the manifest names no index list of ic01, and the archive no images")
    values = load_array(index or _download(published.index), "inputs")
    if values.ndim != 1 or len(values) != len(lines) or values.dtype.kind not in "iu":
        raise ConfigError(
            f"the index list has the shape {list(values.shape)}; the labels name {len(lines)} files"
        )
    if values.min() < 0 or values.max() >= len(batch.labels):
        raise ConfigError(
            f"the index list reaches from {values.min()} to {values.max()}; the archive has "
            f"{len(batch.labels)} images"
        )
    return [int(value) for value in values]


def _published(entry: DatasetEntry) -> StimuliEntry:
    if not entry.stimuli:
        raise ConfigError(f"the manifest lists no stimuli of {entry.name}")
    return entry.stimuli[0]


def _download(remote: RemoteFile) -> Path:
    folder = cache_dir("downloads")
    if folder is None or remote.sha256 is None:
        raise ConfigError(f"{remote.url} cannot be kept or checked: pass a copy of your own")
    name = f"{remote.sha256[:16]}-{remote.url.rpartition('/')[2]}"
    return download(Wanted(remote.url, remote.sha256, remote.size_bytes), folder / name)
