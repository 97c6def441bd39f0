"""Byte layout of the model image: the Python side of firmware/include/axr_model_image.h.

tests/contract/test_model_image.py compares every number and offset with that header.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Final

import numpy as np

MAGIC: Final = 0x4D525841
LAYOUT_VERSION: Final = 1
CRC_START: Final = 16
NAME_BYTES: Final = 48
HASH_BYTES: Final = 16
MAX_OUTPUTS: Final = 20
MAX_OPERANDS: Final = 2
MAX_RECORDS: Final = 8192
MAX_EXTENT: Final = 65_535
MAX_SHIFT: Final = 46
MAX_STRIDE: Final = 255
SCRATCH_ALIGNMENT: Final = 8
COPY_FILL: Final = 0xFFFF_FFFF


class ImageOp(IntEnum):
    """Operations of the image; AXR_OP_* in the header."""

    CONVOLUTION = 1
    DEPTHWISE = 2
    AVERAGE = 3
    MAX_POOL = 4
    ADD = 5
    MULTIPLY = 6
    COPY = 7
    SOFTMAX = 8
    SIGMOID = 9
    TANH = 10


class Flag(IntFlag):
    """Flags of a record; AXR_FLAG_* in the header."""

    SCALED_32 = 1
    LEAKY = 2
    LAST_RECORD = 4
    CONSTANT = 8
    CHANNEL_RUNS = 16
    NARROW = 32
    AT_OPEN = 64
    SATURATE = 128


HEADER: Final = np.dtype(
    [
        ("magic", "<u4"),
        ("version", "<u2"),
        ("header_bytes", "<u2"),
        ("image_bytes", "<u4"),
        ("crc32", "<u4"),
        ("program_version", "<u4"),
        ("arena_bytes", "<u4"),
        ("record_count", "<u2"),
        ("program_layer_count", "<u2"),
        ("tensor_count", "<u2"),
        ("output_count", "<u2"),
        ("tensors_offset", "<u4"),
        ("records_offset", "<u4"),
        ("outputs_offset", "<u4"),
        ("constants_offset", "<u4"),
        ("constants_bytes", "<u4"),
        ("input_tensor", "<u2"),
        ("reserved", "<u2"),
        ("source_sha256", "u1", (HASH_BYTES,)),
        ("name", f"S{NAME_BYTES}"),
    ]
)

TENSOR: Final = np.dtype(
    [
        ("offset", "<u4"),
        ("height", "<u2"),
        ("width", "<u2"),
        ("channels", "<u2"),
        ("batch", "<u2"),
        ("element_bytes", "u1"),
        ("shift", "u1"),
        ("zero_point", "<i2"),
        ("multiplier", "<u4"),
    ]
)

RECORD: Final = np.dtype(
    [
        ("op", "u1"),
        ("flags", "u1"),
        ("operand_count", "u1"),
        ("reserved", "u1"),
        ("program_layer", "<u2"),
        ("operands", "<u2", (MAX_OPERANDS,)),
        ("output", "<u2"),
        ("window_height", "<u2"),
        ("window_width", "<u2"),
        ("stride_y", "<u2"),
        ("stride_x", "<u2"),
        ("pad_top", "<i2"),
        ("pad_left", "<i2"),
        ("input_zero_point", "<i2"),
        ("second_zero_point", "<i2"),
        ("output_zero_point", "<i2"),
        ("reserved_2", "<i2"),
        ("minimum", "<i4"),
        ("weights", "<u4"),
        ("weights_bytes", "<u4"),
        ("channels", "<u4"),
        ("channel_count", "<u4"),
        ("destination", "<u4"),
        ("extent_height", "<u2"),
        ("extent_width", "<u2"),
        ("extent_channels", "<u2"),
        ("reserved_3", "<u2"),
        ("scratch", "<u4"),
        ("scratch_bytes", "<u4"),
    ]
)

CHANNEL: Final = np.dtype(
    [
        ("bias", "<i4"),
        ("multiplier", "<i4"),
        ("multiplier_negative", "<i4"),
        ("shift", "<u4"),
    ]
)
