"""Byte layout of the Axon binary, version 1.3.1: offsets and sizes, no logic.

Source: Nordic's public compiler header (nrf_axon_nn_compiler_types.h) and docs/axon-binary.md.
Little-endian, C layout on a 64-bit host.
"""

from __future__ import annotations

from typing import Final

import numpy as np

TITLE: Final = b"AXON_INTERMEDIATE_REPRESENTATION_FILE\0"
VERSION: Final = bytes((1, 3, 1, 0))
ALIGNMENT: Final = 4
ABSENT_U64: Final = 0xFFFF_FFFF_FFFF_FFFF
ABSENT_U32: Final = 0xFFFF_FFFF
MAX_INPUTS: Final = 4

ITEM: Final = np.dtype([("offset", "<u4"), ("length", "<u4")])

HEADER: Final = np.dtype(
    [
        ("title", ITEM),
        ("version", ITEM),
        ("meta", ITEM),
        ("layers", ITEM),
        ("consts", ITEM),
        ("options", ITEM),
    ]
)

QUANTIZATION: Final = np.dtype(
    {
        "names": ["multiplier", "shift", "zero_point"],
        "formats": ["<u4", "u1", "i1"],
        "offsets": [0, 4, 5],
        "itemsize": 8,
    }
)

META: Final = np.dtype(
    [
        ("name", ITEM),
        ("labels", ITEM),
        ("layer_count", "<u4"),
        ("input", QUANTIZATION),
        ("output", QUANTIZATION),
    ]
)

DIMS: Final = np.dtype(
    {
        "names": ["height", "width", "channels", "byte_width", "batch"],
        "formats": ["<u2", "<u2", "<u2", "<u4", "<u2"],
        "offsets": [0, 2, 4, 8, 12],
        "itemsize": 16,
    }
)

SPLIT: Final = np.dtype(
    {"names": ["axis", "offset"], "formats": ["u1", "<u2"], "offsets": [0, 2], "itemsize": 4}
)

LAYER: Final = np.dtype(
    {
        "names": [
            "input_count",
            "input_ids",
            "op",
            "input_dims",
            "splits",
            "filter_dims",
            "output_dims",
            "concat_axis",
            "stride_x",
            "stride_y",
            "dilation_x",
            "dilation_y",
            "input_zero_point",
            "output_multiplier",
            "output_shift",
            "output_zero_point",
            "bias",
            "multipliers",
            "shifts",
            "shift_count",
            "activation",
            "pads",
            "filter",
            "cpu_attribute_count",
            "cpu_attributes",
        ],
        "formats": [
            "u1",
            ("<i2", MAX_INPUTS),
            "<u4",
            (DIMS, MAX_INPUTS),
            (SPLIT, MAX_INPUTS),
            DIMS,
            DIMS,
            "u1",
            "u1",
            "u1",
            "u1",
            "u1",
            "i1",
            "<u4",
            "u1",
            "i1",
            "<u8",
            "<u8",
            "<u8",
            "<u2",
            "<u4",
            ("u1", 4),
            "<u8",
            "<u4",
            "<u8",
        ],
        "offsets": [
            0,
            2,
            12,
            16,
            80,
            96,
            112,
            128,
            129,
            130,
            131,
            132,
            133,
            136,
            140,
            141,
            144,
            152,
            160,
            168,
            172,
            176,
            184,
            192,
            200,
        ],
        "itemsize": 208,
    }
)

OPTIONS: Final = np.dtype(
    [
        ("interlayer_limit", "<u4"),
        ("psum_limit", "<u4"),
        ("test_vector_count", "<u4"),
        ("conv2d_setting", "<u4"),
        ("log_level", "<u4"),
        ("psum_placement", "<u4"),
    ]
)
