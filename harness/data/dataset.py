"""Inputs and labels as the user's files hold them, checked, and brought to the model's int8.

Files are untrusted: `.npy` is mapped, never unpickled; `.npz` members are bounded before they are
read. An `.npz` may hold both: inputs as `x` (or its only array with two or more axes), labels as
`y`, `labels` (or its only array with one axis).

Rules for inputs, [N, ...] with N samples of the model's own shape ([N, H, W, C], [N, F], ...):

Axes of extent 1 may be missing or extra, e.g. [N, 49, 10] for a model that takes [N, 49, 10, 1].

- int8 values are the model's own and are taken as they are;
- uint8 values p are pixels. They become p - 128 where that is what the model's input quantization
  says: zero point -128 (0..255 stored as they are, or scaled to 0..1), or zero point -1 or 0 with
  a scale within 2 % of 1/128 (scaled to -1..1). Any other quantization refuses uint8;
- floating-point values are in the model's real units: round(x / scale) + zero point, ties to even,
  saturated. NaN and infinity are refused;
- wider integers are taken as they are when every value fits int8, else refused.

Rules for labels: class numbers 0..classes-1, [N] or [N, 1], of any integer type or floats that are
whole; or [N, classes], of which the largest entry of each row is the class (one-hot and last-layer
vectors alike). One label for each sample, no more and no fewer.
"""

from __future__ import annotations

import contextlib
import io
import math
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from harness.errors import ConfigError

Array = npt.NDArray[Any]
Int8Array = npt.NDArray[np.int8]
LabelArray = npt.NDArray[np.int64]

MAX_MEMBER_BYTES: Final = 4 << 30
"""Largest array read from an .npz; a member that claims more is refused before reading."""

_INPUT_NAMES: Final = ("x", "data", "inputs", "images", "x_test")
_LABEL_NAMES: Final = ("y", "labels", "y_test")
_ROLES: Final = {"inputs": _INPUT_NAMES, "labels": _LABEL_NAMES}


@dataclass(frozen=True, slots=True)
class InputSpec:
    """What one sample of the model's input looks like: shape without the batch, quantization."""

    shape: tuple[int, ...]
    scale: float
    zero_point: int


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Samples for one model. inputs: int8 [N, *spec.shape]; labels: int64 [N] or None.

    origin: "file", "embedded" or "random"; name: the file's name or a description.
    """

    name: str
    origin: str
    inputs: Int8Array
    labels: LabelArray | None


def load_dataset(
    data: Path,
    labels: Path | None,
    spec: InputSpec,
    *,
    classes: int,
    limit: int | None = None,
) -> Dataset:
    """Load, check and quantize the first `limit` samples (all when None).

    classes: number of classes, for range checks. Raises ConfigError with one sentence for anything
    that cannot be used as given.
    """
    raw = load_array(data, "inputs")
    found = load_array(labels, "labels") if labels else _labels_beside(data)
    where = labels or data
    values = None if found is None else as_labels(found, classes, str(where))
    raw = as_samples(raw, spec, str(data))
    if values is not None and len(values) != len(raw):
        raise ConfigError(
            f"{where} holds {len(values)} labels but {data} holds {len(raw)} samples: "
            "give one label for each sample"
        )
    inputs = quantize(raw[:limit], spec, str(data))
    kept = None if values is None else values[:limit]
    return Dataset(name=data.name, origin="file", inputs=inputs, labels=kept)


def random_dataset(spec: InputSpec, samples: int, seed: int = 0) -> Dataset:
    """Uniform random int8 samples without labels: the same seed gives the same samples."""
    generator = np.random.default_rng(seed)
    inputs = generator.integers(-128, 128, (samples, *spec.shape), dtype=np.int8)
    return Dataset(f"{samples} random samples, seed {seed}", "random", inputs, None)


def load_array(path: Path, role: str) -> Array:
    """Read one array from `.npy` or `.npz` without trusting the file.

    role: "inputs" or "labels"; says which member of an .npz is meant.
    Raises ConfigError when the file is missing, empty, pickled, truncated or not numeric.
    """
    with _readable(path):
        if path.stat().st_size == 0:
            raise ConfigError(f"{path} is empty; expected an .npy or .npz file")
        with path.open("rb") as stream:
            magic = stream.read(6)
        if magic[:2] == b"PK":
            array = _from_archive(path, role)
        elif magic == b"\x93NUMPY":
            array = _from_npy(path)
        else:
            raise ConfigError(
                f"{path} is neither an .npy nor an .npz file (it starts with {magic!r})"
            )
    if array.dtype.kind not in "buif":
        raise ConfigError(f"{path} holds {array.dtype} values; expected numbers")
    if array.ndim == 0 or array.size == 0:
        raise ConfigError(f"{path} holds no samples: its shape is {list(array.shape)}")
    return array


def as_samples(raw: Array, spec: InputSpec, where: str) -> Array:
    """`raw` as [N, *spec.shape]; axes of extent 1 may be missing or extra. Raises ConfigError."""
    wanted = [extent for extent in spec.shape if extent != 1]
    if [extent for extent in raw.shape[1:] if extent != 1] != wanted:
        raise ConfigError(
            f"{where} has the shape {_shape(raw.shape)}; the model takes "
            f"{_shape(('N', *spec.shape))}"
        )
    return raw.reshape(len(raw), *spec.shape)


def quantize(raw: Array, spec: InputSpec, where: str) -> Int8Array:
    """Bring checked samples to int8 by the rules at the top of this file. Raises ConfigError."""
    if raw.dtype == np.int8:
        return np.array(raw, dtype=np.int8, order="C")
    if raw.dtype == np.uint8:
        return _from_pixels(raw, spec, where)
    if raw.dtype.kind == "f":
        return _from_real(raw, spec, where)
    low, high = int(raw.min()), int(raw.max())
    if low < -128 or high > 127:
        raise ConfigError(
            f"{where} holds {raw.dtype} values from {low} to {high}; integers are taken as the "
            "model's own int8 values and must lie in -128..127 (uint8 pixels and real units as "
            "float are converted)"
        )
    return np.asarray(raw, dtype=np.int8)


def as_labels(array: Array, classes: int, where: str) -> LabelArray:
    """Class numbers int64 [N] from class numbers or one-hot rows. Raises ConfigError."""
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ConfigError(f"{where} holds labels that are NaN or infinite")
    if array.ndim == 2 and array.shape[1] > 1:
        if array.shape[1] != classes:
            raise ConfigError(
                f"{where} has rows of {array.shape[1]} label values; the model has "
                f"{classes} classes"
            )
        return np.asarray(array.argmax(axis=1), dtype=np.int64)
    if array.ndim > 2 or (array.ndim == 2 and array.shape[1] != 1):
        raise ConfigError(
            f"{where} holds labels of the shape {_shape(array.shape)}; expected [N] class numbers "
            f"or [N, {classes}] one-hot rows"
        )
    flat = array.reshape(-1)
    if flat.dtype.kind == "f" and (flat != np.rint(flat)).any():
        raise ConfigError(f"{where} holds labels that are not whole numbers")
    wrong = np.flatnonzero((flat < 0) | (flat >= max(classes, 2)))
    if wrong.size:
        raise ConfigError(
            f"{where}: label {wrong[0]} is {flat[wrong[0]]}; the model's classes are "
            f"0..{max(classes, 2) - 1}"
        )
    return np.asarray(flat, dtype=np.int64)


def _from_pixels(raw: Array, spec: InputSpec, where: str) -> Int8Array:
    unit_range = spec.zero_point == -128
    symmetric = spec.zero_point in (-1, 0) and abs(spec.scale * 128 - 1) <= 0.02
    if not (unit_range or symmetric):
        raise ConfigError(
            f"{where} holds uint8 values, but the model's input has zero point "
            f"{spec.zero_point} and scale {spec.scale:.6g}, which pixels do not explain: give int8 "
            "values, or float values in the model's real units"
        )
    flipped: Int8Array = np.bitwise_xor(raw, np.uint8(128)).view(np.int8)
    return flipped


def _from_real(raw: Array, spec: InputSpec, where: str) -> Int8Array:
    real = np.asarray(raw, dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(real.reshape(len(real), -1)).all(axis=1))
    if bad.size:
        raise ConfigError(
            f"{where}: sample {bad[0]} holds NaN or infinity ({bad.size} of {len(real)} samples do)"
        )
    steps = np.rint(real / spec.scale) + spec.zero_point
    return np.asarray(np.clip(steps, -128, 127), dtype=np.int8)


def _from_npy(path: Path) -> Array:
    with path.open("rb") as stream:
        shape, dtype = _read_header(stream)
        stored = path.stat().st_size - stream.tell()
    claimed = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or claimed > stored:
        raise ValueError(f"its header claims {claimed} bytes, the file stores {stored}")
    mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    return np.asarray(mapped)


def _from_archive(path: Path, role: str) -> Array:
    with zipfile.ZipFile(path) as archive:
        headers = _headers(archive, path)
        name = _member(headers, role)
        if name is None:
            held = ", ".join(sorted(headers)) or "nothing"
            raise ConfigError(
                f"{path} holds {held}; name the {role} '{_ROLES[role][0]}' or store one array"
            )
        return _read_member(archive, name)


def _labels_beside(path: Path) -> Array | None:
    """The labels in the .npz that also holds the inputs, if it holds any."""
    with _readable(path):
        if not zipfile.is_zipfile(path):
            return None
        with zipfile.ZipFile(path) as archive:
            headers = _headers(archive, path)
            named = [name for name in _LABEL_NAMES if name in headers]
            return _read_member(archive, named[0]) if named else None


def _member(shapes: Mapping[str, tuple[int, ...]], role: str) -> str | None:
    for name in _ROLES[role]:
        if name in shapes:
            return name
    fits = [n for n, s in shapes.items() if (len(s) > 1) == (role == "inputs")]
    return fits[0] if len(fits) == 1 else None


def _headers(archive: zipfile.ZipFile, path: Path) -> dict[str, tuple[int, ...]]:
    """Name and shape of each array, its size checked against what the archive stores."""
    shapes = {}
    for item in archive.infolist():
        if not item.filename.endswith(".npy"):
            continue
        with archive.open(item) as stream:
            shape, dtype = _read_header(stream)
        claimed = math.prod(shape) * dtype.itemsize
        if min(shape, default=0) < 0 or claimed > item.file_size or claimed > MAX_MEMBER_BYTES:
            raise ConfigError(
                f"{path}: array '{item.filename}' claims {claimed} bytes but stores "
                f"{item.file_size} (at most {MAX_MEMBER_BYTES} are read)"
            )
        shapes[item.filename.removesuffix(".npy")] = shape
    return shapes


def _read_header(stream: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    reader = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, _, dtype = reader(stream)
    if dtype.hasobject:
        raise ValueError("Object arrays cannot be loaded when allow_pickle=False")
    return shape, dtype


def _read_member(archive: zipfile.ZipFile, name: str) -> Array:
    data = io.BytesIO(archive.read(f"{name}.npy"))
    array: Array = np.lib.format.read_array(data, allow_pickle=False)
    return array


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Map what numpy, zipfile and the file system raise to one sentence."""
    try:
        yield
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from error
    except (
        ValueError,
        TypeError,
        KeyError,
        EOFError,
        SyntaxError,
        tokenize.TokenError,
        RuntimeError,
        OverflowError,
        MemoryError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        if "pickle" in str(error) or "Python objects" in str(error):
            text = "it holds Python objects (pickled), which are never loaded; save plain numbers"
        else:
            text = f"not a whole numpy file ({_first_line(error)})"
        raise ConfigError(f"{path} cannot be read: {text}") from error


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:120] if text else type(error).__name__


def _shape(shape: tuple[object, ...]) -> str:
    return "[" + ", ".join(str(extent) for extent in shape) + "]"
