"""A PNG of 8-bit grey or RGB pixels, and what a model's int8 input looks like."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_GREY: Final = 0
_RGB: Final = 2
_LARGEST_SIDE: Final = 256
"""Pixels per side of a picture; larger inputs are thinned out."""


def png_bytes(pixels: Pixels) -> bytes:
    """A PNG file of uint8 [H, W] (grey) or [H, W, 3] (RGB). Raises ValueError for other shapes."""
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] != 3):
        raise ValueError(f"pixels are {list(pixels.shape)}; expected [H, W] or [H, W, 3]")
    height, width = pixels.shape[:2]
    colour = _RGB if pixels.ndim == 3 else _GREY
    rows = np.ascontiguousarray(pixels).reshape(height, -1)
    # Each row starts with its filter type; 0 leaves it as it is.
    raw = np.hstack([np.zeros((height, 1), np.uint8), rows]).tobytes()
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(raw, 9)), (b"IEND", b"")
    return _SIGNATURE + b"".join(_chunk(kind, data) for kind, data in chunks)


def data_uri(pixels: Pixels) -> str:
    """`png_bytes` as a data: address."""
    return "data:image/png;base64," + base64.b64encode(png_bytes(pixels)).decode("ascii")


def picture(sample: npt.NDArray[Any]) -> Pixels:
    """An int8 sample of a model as pixels: value + 128.

    [H, W, 3] becomes RGB; [H, W], [H, W, 1] and [F] grey; of other channel counts the first
    channel is shown; leading axes are put under each other.
    """
    values = (sample.astype(np.int16) + 128).clip(0, 255).astype(np.uint8)
    if values.ndim >= 3 and values.shape[-1] == 3:
        values = values.reshape(-1, *values.shape[-2:])
    elif values.ndim >= 3:
        values = values[..., 0].reshape(-1, values.shape[-2])
    else:
        values = np.atleast_2d(values)
    thin_rows, thin_columns = (-(-extent // _LARGEST_SIDE) for extent in values.shape[:2])
    return values[::thin_rows, ::thin_columns]


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
