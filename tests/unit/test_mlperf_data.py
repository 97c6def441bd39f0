"""`axonrig data`: inputs in the layout of the MLPerf Tiny runners, and all models."""

from __future__ import annotations

import io
import pickle
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.cli import main
from harness.data.manifest import load_manifest
from harness.mlperf.stimuli import read_stimuli
from tests.support.mlperf_data import KWS, write_folder

LABELS = [3, 8, 0, 9, 1]
NAMES = [f"thing_s_{number:06d}.png" for number in range(5)]
PICKS = [4, 1, 3]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AXONRIG_CACHE", str(tmp_path / "cache"))


def planes() -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(5).integers(0, 256, (5, 3072), dtype=np.uint8)


def archive(folder: Path, *, pickled: bool) -> Path:
    path = folder / f"cifar-{pickled}.tar.gz"
    if pickled:
        name = "cifar-10-batches-py/test_batch"
        names = [item.encode() for item in NAMES]
        data = pickle.dumps({b"data": planes(), b"labels": LABELS, b"filenames": names}, 2)
    else:
        name = "cifar-10-batches-bin/test_batch.bin"
        rows = np.concatenate([np.array(LABELS, np.uint8)[:, None], planes()], axis=1)
        data = rows.tobytes()
    with tarfile.open(path, "w:gz") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
    return path


def published(folder: Path, picks: list[int] = PICKS) -> tuple[Path, Path]:
    """A labels file and an index list of three of the five images."""
    labels, index = folder / "labels.csv", folder / "index.npy"
    rows = [f"{Path(NAMES[number]).stem}.bin,10,{LABELS[number]}\n" for number in PICKS]
    labels.write_text("".join(rows))
    np.save(index, np.array(picks))
    return labels, index


def data_ic01(source: Path, out: Path, labels: Path, index: Path) -> int:
    import hashlib

    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    words = ["--from", source, "--sha256", digest, "--out", out, "--stimuli", "--labels", labels]
    return main(["data", "ic01", *(str(word) for word in words), "--index", str(index)])


@pytest.mark.parametrize("pickled", [True, False])
def test_the_published_images_by_name_or_by_index(pickled: bool, tmp_path: Path) -> None:
    labels, index = published(tmp_path)
    assert data_ic01(archive(tmp_path, pickled=pickled), tmp_path / "out", labels, index) == 0
    folder = tmp_path / "out" / "ic01"
    assert (folder / "y_labels.csv").read_bytes() == labels.read_bytes()
    for number in PICKS:
        image = planes()[number].reshape(3, 32, 32).transpose(1, 2, 0)
        assert (folder / f"{Path(NAMES[number]).stem}.bin").read_bytes() == image.tobytes()
    assert np.load(tmp_path / "out" / "x_test_ic.npy").shape == (5, 32, 32, 3)


def test_an_index_list_of_another_order_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels, index = published(tmp_path, [1, 4, 3])
    assert data_ic01(archive(tmp_path, pickled=False), tmp_path / "out", labels, index) == 3
    assert "image 1 of the archive is of class 8, but the labels say" in capsys.readouterr().err
    assert not (tmp_path / "out" / "ic01").exists()


@pytest.mark.parametrize(
    ("picks", "part"), [([0, 1], "the labels name 3 files"), ([0, 1, 5], "reaches from 0 to 5")]
)
def test_index_lists_that_do_not_fit(
    picks: list[int], part: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels, index = published(tmp_path, picks)
    assert data_ic01(archive(tmp_path, pickled=False), tmp_path / "out", labels, index) == 3
    assert part in capsys.readouterr().err


def test_names_that_the_archive_lacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels, index = published(tmp_path)
    labels.write_text("emu_s_002009.bin,10,2\n")
    assert data_ic01(archive(tmp_path, pickled=True), tmp_path / "out", labels, index) == 3
    assert "no image 'emu_s_002009'" in capsys.readouterr().err


def test_labels_never_lead_out_of_the_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels, index = published(tmp_path)
    labels.write_text(labels.read_text().replace("thing", "../thing"))
    assert data_ic01(archive(tmp_path, pickled=False), tmp_path / "out", labels, index) == 3
    assert "is no bare file name" in capsys.readouterr().err
    assert not list(tmp_path.glob("out/thing*"))


def test_a_folder_is_checked_and_copied(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_folder(tmp_path, KWS, [1, 2, 3])
    (source / "unrelated.txt").write_text("stays behind")
    assert main(["data", "kws01", "--from", str(source), "--out", str(tmp_path / "out")]) == 0
    assert "3 files, a set of your own" in capsys.readouterr().out
    copy = tmp_path / "out" / "kws01"
    assert read_stimuli(copy, KWS, None) == read_stimuli(source, KWS, None)
    assert not (copy / "unrelated.txt").exists()
    assert main(["data", "kws01", "--from", str(tmp_path), "--out", str(tmp_path)]) == 0  # in place


def test_changed_files_under_published_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_folder(tmp_path, KWS, [1, 2, 3])
    manifest = (
        Path("benchmarks/data/manifest.yaml").read_text().replace(
            "6cb3709762d53fe64eb00eaf4a75796248bb3c1386f1d1f93ccdb07b071e9698",
            str(read_stimuli(source, KWS, None).labels_sha256),
        )
    )  # fmt: skip
    (tmp_path / "manifest.yaml").write_text(manifest)
    words = ["--manifest", str(tmp_path / "manifest.yaml"), "--out", str(tmp_path / "out")]
    assert main(["data", "kws01", "--from", str(source), *words]) == 3
    assert "are not the published ones" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["vww01"], "pass the folder of its inputs with --from"),
        (["kws01", "--from", "EMPTY"], "holds no y_labels.csv"),
        (["sww01"], "known are ic01, kws01, vww01, ad01, models"),
        (["models", "--from", "EMPTY"], "pretrainedResnet_quant.tflite cannot be read"),
    ],
)
def test_refusals(
    words: list[str], part: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word.replace("EMPTY", str(tmp_path)) for word in words]
    assert main(["data", *words, "--out", str(tmp_path / "out")]) == 3
    assert part in capsys.readouterr().err


def test_models_from_a_folder(
    shared_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = tmp_path / "given"
    given.mkdir()
    names = {
        "ic01": "ic",
        "kws01": "kws",
        "vww01": "vww",
        "ad01": "ad",
        "ic02": "ic",
        "sww01": "kws",
    }
    for name, entry in load_manifest().models.items():
        shutil.copy(shared_dir / "golden" / f"{names[name]}.tflite", given / entry.file)
    out = tmp_path / "out"
    assert main(["data", "models", "--from", str(given), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert printed.count("is not the benchmark's own") == 2  # ic02 and sww01 are stand-ins here
    words = ["--models", str(out), "--mode", "performance", "--out", str(tmp_path / "result")]
    assert main(["mlperf", *words]) == 0
    assert "the reference model" in capsys.readouterr().out
