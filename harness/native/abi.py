"""src/plan.h in Python, field by field. The library reports the sizes it was built with."""

from __future__ import annotations

import ctypes
from ctypes import c_char, c_float, c_int32, c_int64, c_void_p
from enum import IntEnum
from typing import Any, ClassVar, Final

import numpy as np

MAX_SOURCES: Final = 4
SUMS_BYTES: Final = 2048 * 4
"""Room for accumulators at the start of the scratch area."""
LANES: Final = 16

RUN: Final = np.dtype([("offset", "<i8"), ("source", "<i4"), ("length", "<i4")])
"""axr_run_t."""


class NodeKind(IntEnum):
    """What a node does."""

    NONE = 0
    CONVOLUTION = 1
    DEPTHWISE = 2
    AVERAGE = 3
    MAX_POOL = 4
    ADD = 5
    MULTIPLY = 6
    MOVE = 7
    TABLE = 8
    SOFTMAX = 9


class RescaleKind(IntEnum):
    """How accumulators become outputs; all three give the same numbers."""

    INTEGER = 0
    DOUBLE = 1
    FLOAT = 2


def _int32(*names: str) -> list[tuple[str, Any]]:
    return [(name, c_int32) for name in names]


class Rescale(ctypes.Structure):
    """axr_rescale_t."""

    _fields_: ClassVar[list[Any]] = [
        *_int32("kind", "bytes", "zero_point", "low", "high", "clip_product", "step", "reserved"),
        *((name, c_void_p) for name in ("multiplier", "negative", "shift")),
        *((name, c_void_p) for name in ("scale", "negative_scale", "scale32")),
    ]


class Node(ctypes.Structure):
    """axr_node_t."""

    _fields_: ClassVar[list[Any]] = [
        *_int32("kind", "batch"),
        *_int32("in_height", "in_width", "in_channels"),
        *_int32("out_height", "out_width", "out_channels"),
        *_int32("window_height", "window_width", "stride_y", "stride_x"),
        *_int32("dilation_y", "dilation_x", "pad_top", "pad_bottom", "pad_left", "pad_right"),
        *_int32("pad_value", "in_bytes", "out_bytes", "groups", "window_channels", "source_count"),
        ("factor", c_int32 * 2),
        ("bias_scalar", c_int32),
        ("row_stride", c_int32 * 2),
        ("pixel_stride", c_int32 * 2),
        ("channel_stride", c_int32 * 2),
        ("keep", c_int32),
        ("scale", c_float),
        ("reserved", c_int32),
        ("source", c_int64 * MAX_SOURCES),
        ("batch_stride", c_int64 * 2),
        *((name, c_int64) for name in ("target", "target_bytes", "count")),
        *((name, c_void_p) for name in ("weights", "bias", "offsets", "table")),
        ("rescale", Rescale),
    ]


class Plan(ctypes.Structure):
    """axr_plan_t."""

    _fields_: ClassVar[list[Any]] = [
        ("nodes", c_void_p),
        ("node_count", c_int64),
        ("input", c_int64),
        *_int32("batch", "height", "width", "channels"),
        ("scratch", c_int64),
    ]


class Job(ctypes.Structure):
    """axr_job_t."""

    _fields_: ClassVar[list[Any]] = [
        ("inputs", c_void_p),
        *((f"{name}_stride", c_int64) for name in ("image", "channel", "row", "pixel")),
        ("count", c_int64),
        ("claim", c_int64),
        ("outputs", c_void_p),
        ("next", c_int64),
    ]


class Traits(ctypes.Structure):
    """axr_traits_t."""

    _fields_: ClassVar[list[Any]] = [
        *_int32("group", "flip", "fast_float", "node_bytes", "plan_bytes", "job_bytes"),
        ("name", c_char * 32),
    ]
