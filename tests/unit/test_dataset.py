"""Datasets are untrusted: every rule and every refusal of harness.data.dataset."""

from __future__ import annotations

import contextlib
import io
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.data.dataset import InputSpec, load_dataset, random_dataset
from harness.errors import ConfigError

PIXELS = InputSpec((4, 4, 3), 1.0, -128)
VECTOR = InputSpec((6,), 0.5, 3)


def save(path: Path, array: Any) -> Path:
    with path.open("wb") as stream:
        np.save(stream, array)
    return path


def load(tmp_path: Path, array: Any, spec: InputSpec = PIXELS, labels: Any = None) -> Any:
    data = save(tmp_path / "x.npy", array)
    marks = None if labels is None else save(tmp_path / "y.npy", labels)
    return load_dataset(data, marks, spec, classes=10)


def refusal(tmp_path: Path, array: Any, spec: InputSpec = PIXELS, labels: Any = None) -> str:
    with pytest.raises(ConfigError) as failure:
        load(tmp_path, array, spec, labels)
    text = str(failure.value)
    assert "\n" not in text
    return text


def images(dtype: Any = np.uint8, samples: int = 3) -> Any:
    return np.arange(samples * 48).reshape(samples, 4, 4, 3).astype(dtype)


def test_int8_is_taken_as_it_is(tmp_path: Path) -> None:
    array = images(np.int8)
    result = load(tmp_path, array)
    assert np.array_equal(result.inputs, array)
    assert result.inputs.dtype == np.int8
    assert (result.name, result.origin, result.labels) == ("x.npy", "file", None)


@pytest.mark.parametrize(("scale", "zero_point"), [(1.0, -128), (1 / 255, -128), (1 / 127.5, -1)])
def test_pixels_become_signed(tmp_path: Path, scale: float, zero_point: int) -> None:
    array = images() * 100
    result = load(tmp_path, array, InputSpec((4, 4, 3), scale, zero_point))
    assert np.array_equal(result.inputs, array.astype(np.int16) - 128)


def test_pixels_need_a_quantization_that_explains_them(tmp_path: Path) -> None:
    text = refusal(tmp_path, images(), InputSpec((4, 4, 3), 0.5847, 83))
    assert "uint8" in text
    assert "zero point 83" in text


def test_real_values_are_quantized_half_to_even_and_saturated(tmp_path: Path) -> None:
    real = np.array([[0.0, 0.25, 0.75, -1.0, 1e6, -1e6]], np.float32)
    assert load(tmp_path, real, VECTOR).inputs.tolist() == [[3, 3, 5, 1, 127, -128]]


def test_wider_integers_must_fit_int8(tmp_path: Path) -> None:
    array = np.array([[-128, 127, 0, 1, 2, 3]], np.int64)
    assert load(tmp_path, array, VECTOR).inputs.tolist() == array.tolist()
    assert "from 0 to 200" in refusal(tmp_path, np.array([[0, 200, 0, 0, 0, 0]]), VECTOR)


def test_axes_of_one_may_be_missing_or_extra(tmp_path: Path) -> None:
    spec = InputSpec((49, 10, 1), 1.0, -128)
    assert load(tmp_path, np.zeros((2, 49, 10), np.int8), spec).inputs.shape == (2, 49, 10, 1)
    assert load(tmp_path, np.zeros((2, 1, 6, 1), np.int8), VECTOR).inputs.shape == (2, 6)


@pytest.mark.parametrize("shape", [(3, 4, 4), (3, 3, 4, 4), (3, 4, 4, 4), (48,), (3, 48)])
def test_wrong_shape(tmp_path: Path, shape: tuple[int, ...]) -> None:
    text = refusal(tmp_path, np.zeros(shape, np.int8))
    assert "the model takes [N, 4, 4, 3]" in text


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_finite_names_the_sample(tmp_path: Path, value: float) -> None:
    array = images(np.float32)
    array[1, 2, 2, 0] = value
    assert "sample 1 holds NaN or infinity (1 of 3" in refusal(tmp_path, array)


@pytest.mark.parametrize("array", [np.zeros((0, 4, 4, 3)), np.float32(3), np.zeros((3, 0))])
def test_no_samples(tmp_path: Path, array: Any) -> None:
    assert "holds no samples" in refusal(tmp_path, array)


@pytest.mark.parametrize("dtype", ["U4", "S4", "complex64", "datetime64[s]"])
def test_no_numbers(tmp_path: Path, dtype: str) -> None:
    assert "expected numbers" in refusal(tmp_path, np.zeros((3, 4, 4, 3), dtype))


def test_pickled_objects_are_never_loaded(tmp_path: Path) -> None:
    assert "pickled" in refusal(tmp_path, np.array([{"a": 1}], object))
    raw = tmp_path / "raw.npy"
    raw.write_bytes(pickle.dumps([1, 2, 3]))
    with pytest.raises(ConfigError, match=r"neither an \.npy nor an \.npz"):
        load_dataset(raw, None, PIXELS, classes=10)
    archive = tmp_path / "x.npz"
    np.savez(archive, x=np.array([{"a": 1}], object))
    with pytest.raises(ConfigError, match="pickled"):
        load_dataset(archive, None, PIXELS, classes=10)


def _header(shape: str) -> bytes:
    text = f"{{'descr': '|i1', 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


BROKEN = {
    "empty": b"",
    "magic only": b"\x93NUMPY",
    "header cut": _header("(3, 4, 4, 3)")[:40],
    "data cut": _header("(3, 4, 4, 3)") + b"\0" * 100,
    "claims terabytes": _header("(1099511627776, 4, 4, 3)") + b"\0" * 100,
    "shape overflows": _header("(9223372036854775807, 9223372036854775807)") + b"\0",
    "shape is negative": _header("(-3, 4, 4, 3)") + b"\0" * 200,
    "header is code": _header("__import__('os')") + b"\0",
    "deep header": _header("(" * 500 + ")" * 500) + b"\0",
    "zip cut": b"PK\x03\x04" + b"\0" * 30,
    "text": b"1,2,3\n",
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_one_sentence(name: str, tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    path.write_bytes(BROKEN[name])
    with pytest.raises(ConfigError) as failure:
        load_dataset(path, None, PIXELS, classes=10)
    assert str(path) in str(failure.value)
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize("seed", range(40))
def test_mutated_archives_never_raise_anything_else(seed: int, tmp_path: Path) -> None:
    generator = np.random.default_rng(seed)
    stream = io.BytesIO()
    np.savez_compressed(stream, x=images(), y=np.arange(3))
    data = bytearray(stream.getvalue())
    for _ in range(1 + seed % 8):
        data[generator.integers(len(data))] ^= 1 << generator.integers(8)
    path = tmp_path / "x.npz"
    path.write_bytes(data[: generator.integers(1, len(data) + 1)] if seed % 3 == 0 else data)
    with contextlib.suppress(ConfigError):
        assert load_dataset(path, None, PIXELS, classes=10).inputs.shape == (3, 4, 4, 3)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_dataset(tmp_path / "none.npy", None, PIXELS, classes=10)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_dataset(tmp_path, None, PIXELS, classes=10)


def test_archive_holds_inputs_and_labels(tmp_path: Path) -> None:
    path = tmp_path / "both.npz"
    np.savez(path, x=images(), y=np.array([1, 2, 3], np.uint8), index=np.arange(3))
    result = load_dataset(path, None, PIXELS, classes=10, limit=2)
    assert result.inputs.shape == (2, 4, 4, 3)
    assert result.labels is not None
    assert result.labels.tolist() == [1, 2]
    assert result.labels.dtype == np.int64


def test_archive_without_a_clear_choice(tmp_path: Path) -> None:
    path = tmp_path / "two.npz"
    np.savez(path, a=images(), b=images())
    with pytest.raises(ConfigError, match="holds a, b; name the inputs 'x'"):
        load_dataset(path, None, PIXELS, classes=10)


def test_archive_that_claims_more_than_it_stores(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", _header("(1099511627776, 4, 4, 3)") + b"\0" * 10)
    with pytest.raises(ConfigError, match="claims 52776558133248 bytes but stores"):
        load_dataset(path, None, PIXELS, classes=10)


@pytest.mark.parametrize(
    "labels",
    [
        np.array([3, 0, 9], np.uint8),
        np.array([3.0, 0.0, 9.0], np.float32),
        np.array([[3], [0], [9]]),
        np.eye(10, dtype=np.int8)[[3, 0, 9]],
        np.eye(10, dtype=np.float32)[[3, 0, 9]] * 0.9,
    ],
)
def test_labels_in_every_form(tmp_path: Path, labels: Any) -> None:
    assert load(tmp_path, images(), labels=labels).labels.tolist() == [3, 0, 9]


BAD_LABELS = {
    "too few": (np.array([1, 2]), "2 labels but .* 3 samples"),
    "too many": (np.arange(5), "5 labels but .* 3 samples"),
    "above": (np.array([1, 10, 2]), r"label 1 is 10; the model's classes are 0\.\.9"),
    "below": (np.array([1, 2, -1]), "label 2 is -1"),
    "not whole": (np.array([1.5, 2, 3]), "not whole numbers"),
    "nan": (np.array([1, np.nan, 3]), "NaN or infinite"),
    "row length": (np.eye(3), "rows of 3 label values; the model has 10 classes"),
    "rank": (np.zeros((3, 2, 2)), r"shape \[3, 2, 2\]"),
    "text": (np.array(["a", "b", "c"]), "expected numbers"),
    "empty": (np.zeros(0), "no samples"),
}


@pytest.mark.parametrize("name", BAD_LABELS)
def test_bad_labels_are_one_sentence(name: str, tmp_path: Path) -> None:
    labels, pattern = BAD_LABELS[name]
    data, marks = save(tmp_path / "x.npy", images()), save(tmp_path / "y.npy", labels)
    with pytest.raises(ConfigError, match=pattern):
        load_dataset(data, marks, PIXELS, classes=10)


def test_limit_is_applied_to_both(tmp_path: Path) -> None:
    data, marks = save(tmp_path / "x.npy", images()), save(tmp_path / "y.npy", np.arange(3))
    result = load_dataset(data, marks, PIXELS, classes=10, limit=1)
    assert len(result.inputs) == 1
    assert result.labels is not None
    assert result.labels.tolist() == [0]
    assert len(load_dataset(data, marks, PIXELS, classes=10, limit=99).inputs) == 3


def test_random_samples_repeat() -> None:
    first, second = random_dataset(PIXELS, 5), random_dataset(PIXELS, 5)
    assert np.array_equal(first.inputs, second.inputs)
    assert first.inputs.dtype == np.int8
    assert first.inputs.shape == (5, 4, 4, 3)
    assert (first.origin, first.labels) == ("random", None)
    assert not np.array_equal(first.inputs, random_dataset(PIXELS, 5, seed=1).inputs)
