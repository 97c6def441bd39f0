"""The inputs of a benchmark as its runners read them: `y_labels.csv` and one `.bin` per line.

A folder is untrusted: names must be bare, sizes must be the benchmark's, and nothing is read
beyond fixed bounds.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from harness.artefacts import sha256
from harness.data.manifest import DatasetEntry, StimuliEntry
from harness.errors import ConfigError
from harness.mlperf.benchmarks import Benchmark, Conversion

LABELS: Final = "y_labels.csv"
MAX_LABELS_BYTES: Final = 4 << 20
MAX_ITEM_BYTES: Final = 1 << 20
MAX_WINDOWS: Final = 1 << 17
"""Inferences of one set: the published one of ad01 has 48,608. Overlapping windows of a small file
could fill the memory otherwise."""
_NUMBER: Final = re.compile(r"[0-9]{1,9}")
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,127}")


@dataclass(frozen=True, slots=True)
class Stimulus:
    """One file. label: its class. windows: the bytes of each inference; one, but for ad01."""

    file: str
    label: int
    windows: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class StimulusSet:
    """The inputs of one benchmark, in the order of the labels file.

    origin: "folder" or "random". labels_sha256: of the labels file; set_sha256: see `digest_of`.
    published: the published set that these labels are, or None. total: files of the whole set, of
    which `items` may be a part.
    """

    origin: str
    name: str
    items: tuple[Stimulus, ...]
    total: int
    labels_sha256: str | None = None
    set_sha256: str | None = None
    published: StimuliEntry | None = None

    def part(self, limit: int | None) -> StimulusSet:
        """`limit` files spread evenly over the set, so that every class is among them."""
        if limit is None or limit >= len(self.items):
            return self
        chosen = [self.items[number * len(self.items) // limit] for number in range(limit)]
        return replace(self, items=tuple(chosen))

    @property
    def intact(self) -> bool | None:
        """Whether the files are the published ones; None when no hash of them is known."""
        if self.published is None or self.published.set_sha256 is None:
            return None
        return self.set_sha256 == self.published.set_sha256


@dataclass(frozen=True, slots=True)
class LabelLine:
    """One line of a labels file. stride: bytes from window to window; 0 without windows."""

    file: str
    label: int
    stride: int


def find_folder(data: Path, benchmark: Benchmark, *, only: bool) -> Path | None:
    """DATA/BENCHMARK, or DATA itself when `only` this benchmark is asked for; None without one."""
    for folder in (data / benchmark.name, *([data] if only else [])):
        if (folder / LABELS).is_file():
            return folder
    return None


def read_stimuli(folder: Path, benchmark: Benchmark, entry: DatasetEntry | None) -> StimulusSet:
    """The inputs of `folder`, checked.

    entry: what the manifest knows of the benchmark's data. Raises ConfigError for a file that is
    missing, of another size, or named as no file of a set is.
    """
    table = read_bounded(folder / LABELS, MAX_LABELS_BYTES)
    lines = parse_labels(table, folder / LABELS, benchmark)
    digest = sha256(table)
    known = () if entry is None else entry.stimuli
    published = next((item for item in known if item.labels.sha256 == digest), None)
    contents = [(line, _content(folder / line.file, benchmark)) for line in lines]
    windows = sum(_window_count(len(data), line, benchmark) for line, data in contents)
    if windows > MAX_WINDOWS:
        raise ConfigError(
            f"{folder / LABELS} asks for {windows} inferences; at most {MAX_WINDOWS} are taken "
            "from one set: name fewer files, or state a longer stride"
        )
    return StimulusSet(
        origin="folder",
        name=folder.name,
        items=tuple(
            Stimulus(line.file, line.label, _windows(data, line, benchmark, folder))
            for line, data in contents
        ),
        total=len(lines),
        labels_sha256=digest,
        set_sha256=digest_of((line.file, data) for line, data in contents),
        published=published,
    )


def parse_labels(table: bytes, where: Path, benchmark: Benchmark) -> list[LabelLine]:
    """The lines of a labels file, checked. Raises ConfigError that names `where`."""
    try:
        rows = list(csv.reader(io.StringIO(table.decode("ascii")), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{where} is no comma-separated table: {error}") from error
    lines = [_line(row, f"{where}, line {at}", benchmark) for at, row in enumerate(rows, 1) if row]
    if not lines:
        raise ConfigError(f"{where} names no file")
    if len({line.file for line in lines}) != len(lines):
        raise ConfigError(f"{where} names a file twice")
    return lines


def digest_of(files: Iterable[tuple[str, bytes]]) -> str:
    """SHA-256 over the lines "HASH  NAME\\n" of (name, bytes) pairs, as `sha256sum` prints them."""
    text = "".join(f"{sha256(data)}  {name}\n" for name, data in files)
    return sha256(text.encode("ascii"))


def random_stimuli(benchmark: Benchmark, count: int = 5, seed: int = 0) -> StimulusSet:
    """Made-up inputs without labels, for timing alone; the same seed gives the same."""
    generator = np.random.default_rng(seed)
    items = []
    for number in range(count):
        if benchmark.conversion is Conversion.FLOATS:
            values = generator.normal(-40.0, 10.0, benchmark.item_bytes // 4)
            data = values.astype("<f4").tobytes()
        else:
            data = generator.integers(0, 256, benchmark.item_bytes, dtype=np.uint8).tobytes()
        items.append(Stimulus(f"random_{number:03d}.bin", 0, (data,)))
    return StimulusSet("random", f"{count} random inputs, seed {seed}", tuple(items), count)


def _line(row: list[str], where: str, benchmark: Benchmark) -> LabelLine:
    cells = [cell.strip() for cell in row]
    wanted = "FILE,CLASSES,CLASS" + (",WINDOW_BYTES,STRIDE_BYTES" if benchmark.reconstructs else "")
    if len(cells) != wanted.count(",") + 1 or not all(map(_NUMBER.fullmatch, cells[1:])):
        raise ConfigError(f"{where}: expected {wanted}, found '{','.join(row)[:80]}'")
    file, classes, label = cells[0], int(cells[1]), int(cells[2])
    if not _NAME.fullmatch(file):
        raise ConfigError(f"{where}: '{file[:80]}' is no bare file name")
    if classes != benchmark.classes or label >= classes:
        raise ConfigError(
            f"{where}: class {label} of {classes}; {benchmark.name} has the classes "
            f"0..{benchmark.classes - 1}"
        )
    if not benchmark.reconstructs:
        return LabelLine(file, label, 0)
    window, stride = int(cells[3]), int(cells[4])
    if window != benchmark.item_bytes or not 4 <= stride <= window or stride % 4:
        raise ConfigError(
            f"{where}: windows of {window} bytes every {stride}; expected {benchmark.item_bytes} "
            "and a stride of whole floats within them"
        )
    return LabelLine(file, label, stride)


def _content(path: Path, benchmark: Benchmark) -> bytes:
    data = read_bounded(path, MAX_ITEM_BYTES)
    if benchmark.reconstructs:
        if len(data) < benchmark.item_bytes or len(data) % 4:
            raise ConfigError(
                f"{path} has {len(data)} bytes; expected floats, at least one window of "
                f"{benchmark.item_bytes}"
            )
    elif len(data) != benchmark.item_bytes:
        raise ConfigError(f"{path} has {len(data)} bytes; expected {benchmark.item_bytes}")
    return data


def _window_count(file_bytes: int, line: LabelLine, benchmark: Benchmark) -> int:
    """Inferences of a file."""
    if not benchmark.reconstructs:
        return 1
    return (file_bytes - benchmark.item_bytes) // line.stride + 1


def _windows(data: bytes, line: LabelLine, benchmark: Benchmark, folder: Path) -> tuple[bytes, ...]:
    if not benchmark.reconstructs:
        return (data,)
    if not np.isfinite(np.frombuffer(data, "<f4")).all():
        raise ConfigError(f"{folder / line.file} holds values that are NaN or infinite")
    size = benchmark.item_bytes
    return tuple(data[at : at + size] for at in range(0, len(data) - size + 1, line.stride))


def read_bounded(path: Path, most: int) -> bytes:
    """A file of at most `most` bytes. Raises ConfigError."""
    try:
        with path.open("rb") as stream:
            data = stream.read(most + 1)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > most:
        raise ConfigError(f"{path} is too large: at most {most} bytes are read")
    return data
