"""The CIFAR-10 archive, in both forms that its authors publish, read without trusting it.

- binary: members of records, one label byte and 3072 pixel bytes each;
- python: members that are pickles. A pickle is a program. Here its operations are checked against a
  short list first, and the only names it may ask for are stand-ins of ours that hold bytes, so the
  worst that a hostile archive can do is to be refused.

Nothing is extracted to disk; the one member that is wanted is found by its exact name and read
within bounds. Layout: https://www.cs.toronto.edu/~kriz/cifar.html.
"""

from __future__ import annotations

import io
import lzma
import math
import pickle
import pickletools
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from harness.errors import ConfigError

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]

CLASSES: Final = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
PIXELS: Final = 3 * 32 * 32
MAX_MEMBER_BYTES: Final = 64 << 20
MAX_ARCHIVE_BYTES: Final = 1 << 30
"""Unpacked size up to the wanted member; the whole of CIFAR-10 has 185 MB."""

_PICKLED: Final = "cifar-10-batches-py/test_batch"
_BINARY: Final = "cifar-10-batches-bin/test_batch.bin"


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """The test batch: images uint8 [N, 32, 32, 3] (RGB, 0..255), classes int64 [N].

    names: the images' file names; None where the archive has none (the binary form).
    """

    images: Images
    labels: Labels
    names: tuple[str, ...] | None


def read_test_batch(archive: Path) -> Batch:
    """The test batch of an archive.

    Raises ConfigError when the file is no CIFAR-10 archive or its test batch is not sound.
    """
    name, data = _test_batch(archive)
    where = f"{archive}, member {name}"
    names = None
    if name == _BINARY:
        pixels, labels = _from_records(data, where)
    else:
        pixels, labels, names = _from_pickle(data, where)
    if labels.min() < 0 or labels.max() >= len(CLASSES):
        raise ConfigError(f"{where}: labels lie outside 0..{len(CLASSES) - 1}")
    images = np.ascontiguousarray(pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    return Batch(images, labels, names)


def read_test_set(archive: Path) -> tuple[Images, Labels]:
    """Images and classes of `read_test_batch`."""
    batch = read_test_batch(archive)
    return batch.images, batch.labels


def one_hot(labels: Labels) -> npt.NDArray[np.float32]:
    """float32 [N, 10], 1 at the class: what MLPerf Tiny's `to_categorical` gives."""
    return np.eye(len(CLASSES), dtype=np.float32)[labels]


def _test_batch(archive: Path) -> tuple[str, bytes]:
    """Name and bytes of the test batch, whichever form the archive has."""
    try:
        with tarfile.open(archive, "r|*") as tar:
            unpacked = 0
            for member in tar:
                unpacked += member.size
                if unpacked > MAX_ARCHIVE_BYTES:
                    raise ConfigError(f"{archive} unpacks to more than {MAX_ARCHIVE_BYTES} bytes")
                if member.name.removeprefix("./") in (_PICKLED, _BINARY) and member.isreg():
                    return member.name.removeprefix("./"), _member(tar, member, archive)
    except OSError as error:
        raise ConfigError(f"{archive} cannot be read: {error.strerror or error}") from error
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, ValueError) as error:
        raise ConfigError(f"{archive} is not a whole tar archive: {error}") from error
    raise ConfigError(f"{archive} holds neither {_PICKLED} nor {_BINARY}: no CIFAR-10 archive")


def _member(tar: tarfile.TarFile, member: tarfile.TarInfo, archive: Path) -> bytes:
    if member.size > MAX_MEMBER_BYTES:
        raise ConfigError(f"{archive}: member {member.name} claims {member.size} bytes")
    stream = tar.extractfile(member)
    data = b"" if stream is None else stream.read()
    if not data or len(data) != member.size:
        raise ConfigError(f"{archive}: member {member.name} is empty or cut short")
    return data


def _from_records(data: bytes, where: str) -> tuple[Images, Labels]:
    if len(data) % (PIXELS + 1):
        raise ConfigError(f"{where}: {len(data)} bytes are no whole number of {PIXELS + 1}")
    records = np.frombuffer(data, np.uint8).reshape(-1, PIXELS + 1)
    return records[:, 1:], records[:, 0].astype(np.int64)


def _from_pickle(data: bytes, where: str) -> tuple[Images, Labels, tuple[str, ...] | None]:
    batch = _unpickle(data, where)
    if not isinstance(batch, dict):
        raise ConfigError(f"{where}: expected a dictionary, found {type(batch).__name__}")
    pixels, labels = (batch.get(key, batch.get(key.decode())) for key in (b"data", b"labels"))
    values = pixels.array() if isinstance(pixels, _PickledArray) else None
    if values is None or values.ndim != 2 or values.shape[1] != PIXELS or values.dtype != np.uint8:
        raise ConfigError(f"{where}: 'data' is no uint8 array of [N, {PIXELS}]")
    if isinstance(labels, _PickledArray):
        labels = labels.array().reshape(-1).tolist()
    if not isinstance(labels, list) or not all(type(label) is int for label in labels):
        raise ConfigError(f"{where}: 'labels' is no list of class numbers")
    if len(labels) != len(values) or not labels:
        raise ConfigError(f"{where}: {len(labels)} labels for {len(values)} images")
    if any(not 0 <= label < len(CLASSES) for label in labels):
        raise ConfigError(f"{where}: labels lie outside 0..{len(CLASSES) - 1}")
    return values, np.array(labels, dtype=np.int64), _names(batch, len(labels))


def _names(batch: dict[object, object], count: int) -> tuple[str, ...] | None:
    """File names, when there is one for each image; they are only compared, never opened."""
    found = batch.get(b"filenames", batch.get("filenames"))
    if not isinstance(found, list) or len(found) != count:
        return None
    return tuple(
        name.decode("latin1") if isinstance(name, bytes) else str(name)[:200] for name in found
    )


# --- pickles -------------------------------------------------------------------------------------

_PLAIN: Final = (
    "PROTO FRAME STOP MARK POP NONE NEWTRUE NEWFALSE INT LONG BININT BININT1 BININT2 LONG1 "
    "STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 "
    "UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 "
    "EMPTY_DICT DICT SETITEM SETITEMS EMPTY_LIST LIST APPEND APPENDS "
    "EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 "
    "PUT BINPUT LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET GLOBAL STACK_GLOBAL REDUCE BUILD"
)
_OPERATIONS: Final = frozenset(_PLAIN.split())
_MAX_TUPLES: Final = 20_000
"""Nested by the hundred thousand, tuples exhaust the C stack when hashed; a batch that Python 3
wrote in an old protocol has one for each file name."""


class _PickledType:
    """Stands in for numpy.dtype: remembers the code, e.g. `u1`, and the byte order."""

    def __init__(self, code: object = "", *_: object) -> None:
        self.code = code.decode("ascii") if isinstance(code, bytes) else str(code)
        self.order = "|"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order = state[1]
        self.order = order.decode("ascii") if isinstance(order, bytes) else str(order)

    def dtype(self) -> np.dtype[Any]:
        if self.code not in {"u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8"}:
            raise ValueError(f"an array of type '{self.code[:20]}'")
        return np.dtype(self.code).newbyteorder("<" if self.order == "|" else self.order)  # type: ignore[arg-type]  # validated by numpy


class _PickledArray:
    """Stands in for numpy.ndarray: holds shape, type and bytes, and allocates nothing."""

    def __init__(self, *_: object) -> None:
        self.shape: tuple[int, ...] = ()
        self.type = _PickledType()
        self.fortran = False
        self.data = b""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, self.shape, self.type, self.fortran, self.data = state

    def array(self) -> npt.NDArray[Any]:
        """The array over the pickled bytes. Raises ConfigError when they do not fit the shape."""
        try:
            dtype = self.type.dtype()
            values = np.frombuffer(self.data, dtype)
            if math.prod(self.shape) != values.size:
                raise ValueError(f"{values.size} values for the shape {self.shape}")
            return values.reshape(self.shape, order="F" if self.fortran else "C")
        except (ValueError, TypeError, AttributeError) as error:
            raise ConfigError(f"the pickled array is not sound: {error}") from error


def _from_buffer(data: bytes, kind: _PickledType, shape: tuple[int, ...], order: str) -> Any:
    """Stands in for numpy's `_frombuffer`, which protocol 5 uses."""
    made = _PickledArray()
    made.__setstate__((1, shape, kind, order == "F", data))
    return made


def _encode(text: str, encoding: str) -> bytes:
    """Stands in for `_codecs.encode`, which Python 3 uses for bytes in old protocols."""
    if encoding not in ("latin1", b"latin1"):
        raise ValueError("another encoding than latin1")
    return text.encode("latin1")


_STAND_INS: Final[dict[tuple[str, str], Callable[..., Any]]] = {
    ("numpy", "ndarray"): _PickledArray,
    ("numpy", "dtype"): _PickledType,
    ("numpy.core.multiarray", "_reconstruct"): _PickledArray,
    ("numpy._core.multiarray", "_reconstruct"): _PickledArray,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("numpy._core.numeric", "_frombuffer"): _from_buffer,
    ("_codecs", "encode"): _encode,
}


class _PlainUnpickler(pickle._Unpickler):  # the Python one: its memo is no array sized by the input
    """Builds plain values and our stand-ins; any other name ends it."""

    def find_class(self, module: str, name: str) -> Any:
        found = _STAND_INS.get((module, name))
        if found is None:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return found


def _unpickle(data: bytes, where: str) -> Any:
    try:
        tuples = 0
        for operation, _, _ in pickletools.genops(data):
            tuples += "TUPLE" in operation.name
            if operation.name not in _OPERATIONS or tuples > _MAX_TUPLES:
                raise pickle.UnpicklingError(f"it uses {operation.name}")
        return _PlainUnpickler(io.BytesIO(data), encoding="bytes").load()
    except Exception as error:  # a hostile pickle may raise anything
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise ConfigError(f"{where}: refused, not a plain CIFAR-10 batch: {reason}") from error
