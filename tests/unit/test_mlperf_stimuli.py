"""Folders of benchmark inputs: what is read, and what is refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from harness.data.manifest import load_manifest
from harness.errors import ConfigError
from harness.mlperf.benchmarks import BENCHMARKS, select_benchmarks
from harness.mlperf.stimuli import find_folder, random_stimuli, read_stimuli
from tests.support.mlperf_data import AD, KWS, write_folder


def test_a_folder_is_read_in_its_order(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, KWS, [3, 11, 0])
    found = read_stimuli(folder, KWS, None)
    assert [(item.file, item.label) for item in found.items] == [
        ("t_0.bin", 3),
        ("t_1.bin", 11),
        ("t_2.bin", 0),
    ]
    assert found.items[1].windows == ((folder / "t_1.bin").read_bytes(),)
    lines = [
        f"{hashlib.sha256((folder / f't_{n}.bin').read_bytes()).hexdigest()}  t_{n}.bin\n"
        for n in range(3)
    ]
    assert found.set_sha256 == hashlib.sha256("".join(lines).encode()).hexdigest()
    assert found.published is None
    assert found.intact is None


def test_windows_of_a_sound_overlap(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, AD, [0, 1], extra=1024 + 508)
    windows = read_stimuli(folder, AD, None).items[0].windows
    data = (folder / "t_0.bin").read_bytes()
    assert len(windows) == 3  # (2560 + 1532 - 2560) // 512 + 1, as the official runner cuts
    assert windows[1] == data[512 : 512 + 2560]


def test_a_part_is_spread_over_the_set(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, KWS, list(range(10)))
    stimuli = read_stimuli(folder, KWS, None)
    part = stimuli.part(4)
    assert [item.label for item in part.items] == [0, 2, 5, 7]
    assert part.total == 10
    assert stimuli.part(None) is stimuli.part(10) is stimuli


def test_spaces_as_in_the_training_scripts(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, KWS, [1])
    (folder / "y_labels.csv").write_text("t_0.bin, 12, 1\n\n")
    assert read_stimuli(folder, KWS, None).items[0].label == 1


def test_published_sets_are_known_by_their_labels(tmp_path: Path) -> None:
    entry = load_manifest().datasets["kws01"]
    folder = write_folder(tmp_path, KWS, [1])
    assert read_stimuli(folder, KWS, entry).published is None
    for name in BENCHMARKS:
        assert load_manifest().datasets[name].stimuli


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "names no file"),
        ("t_0.bin,12\n", "expected FILE,CLASSES,CLASS"),
        ("t_0.bin,12,x\n", "expected FILE,CLASSES,CLASS"),
        ("t_0.bin,12,1,2560,512\n", "expected FILE,CLASSES,CLASS"),
        ("t_0.bin,10,1\n", "class 1 of 10"),
        ("t_0.bin,12,12\n", "class 12 of 12"),
        ("../t_0.bin,12,1\n", "no bare file name"),
        ("/etc/passwd,12,1\n", "no bare file name"),
        (".hidden,12,1\n", "no bare file name"),
        ("t_0.bin,12,1\nt_0.bin,12,1\n", "names a file twice"),
        ("t_9.bin,12,1\n", "t_9.bin cannot be read"),
        (f"t_0.bin,12,{'9' * 5000}\n", "expected FILE,CLASSES,CLASS"),
        ("t_0.bin,12,-1\n", "expected FILE,CLASSES,CLASS"),
        ("t_é.bin,12,1\n", "no comma-separated table"),
        ('"t_0.bin,12,1\n', "no comma-separated table"),
    ],
)
def test_labels_that_are_not_sound(text: str, part: str, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, KWS, [1])
    (folder / "y_labels.csv").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=part):
        read_stimuli(folder, KWS, None)


def test_files_that_are_not_sound(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, KWS, [1])
    (folder / "t_0.bin").write_bytes(bytes(489))
    with pytest.raises(ConfigError, match=r"t_0\.bin has 489 bytes; expected 490"):
        read_stimuli(folder, KWS, None)
    (folder / "y_labels.csv").write_bytes(b"x" * ((4 << 20) + 1))
    with pytest.raises(ConfigError, match="at most 4194304 bytes are read"):
        read_stimuli(folder, KWS, None)


@pytest.mark.parametrize(
    ("line", "data", "part"),
    [
        ("t_0.bin,2,1,2560,511", bytes(2560), "windows of 2560 bytes every 511"),
        ("t_0.bin,2,1,2556,512", bytes(2556), "windows of 2556 bytes"),
        ("t_0.bin,2,1,2560,0", bytes(2560), "every 0"),
        ("t_0.bin,2,1,2560,512", bytes(2556), "at least one window"),
        ("t_0.bin,2,1,2560,512", bytes(2561), "expected floats"),
        (
            "t_0.bin,2,1,2560,512",
            np.full(640, np.nan, "<f4").tobytes(),
            "NaN or infinite",
        ),
    ],
)
def test_spectrograms_that_are_not_sound(line: str, data: bytes, part: str, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, AD, [1])
    (folder / "y_labels.csv").write_text(line + "\n")
    (folder / "t_0.bin").write_bytes(data)
    with pytest.raises(ConfigError, match=part):
        read_stimuli(folder, AD, None)


def test_windows_of_a_set_are_bounded(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, AD, [1])
    (folder / "y_labels.csv").write_text("t_0.bin,2,1,2560,4\n")
    (folder / "t_0.bin").write_bytes(bytes(1 << 20))
    with pytest.raises(ConfigError, match="asks for 261505 inferences; at most 131072"):
        read_stimuli(folder, AD, None)


def test_where_a_folder_is_looked_for(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, KWS, [1])
    assert find_folder(tmp_path, KWS, only=False) == folder
    assert find_folder(folder, KWS, only=True) == folder
    assert find_folder(folder, KWS, only=False) is None


def test_random_inputs_repeat() -> None:
    for benchmark in BENCHMARKS.values():
        first, again = random_stimuli(benchmark), random_stimuli(benchmark)
        assert first.items == again.items
        assert len({item.windows for item in first.items}) == 5
        assert all(len(item.windows[0]) == benchmark.item_bytes for item in first.items)


def test_names_of_benchmarks() -> None:
    assert [item.name for item in select_benchmarks("kws01,ic01,kws01")] == ["kws01", "ic01"]
    assert len(select_benchmarks("all")) == 4
    with pytest.raises(ConfigError, match="unknown benchmark 'sww01'"):
        select_benchmarks("ic01,sww01")
