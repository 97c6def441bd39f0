"""The exponential by integers gives the bits of the reference's, for every reachable argument."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

from compiler.exp_q12 import (
    ARGUMENT_LIMIT,
    LARGEST_Q12,
    SMALLEST_Q12,
    c_tables,
    exp_float32_bits,
    exp_q12,
)
from tests.support.firmware_host import FIRMWARE, SUPPORT, build, run_tool

_BELOW = 6000  # arguments under SMALLEST_Q12 that are tried as well


def _q12_arguments() -> list[int]:
    return list(range(SMALLEST_Q12 - _BELOW, LARGEST_Q12 + 1))


def test_q12_equals_the_truncated_exponential_everywhere() -> None:
    arguments = _q12_arguments()
    expected = np.floor(4096 * np.exp(np.array(arguments) / 4096)).astype(np.int64)
    assert [exp_q12(argument) for argument in arguments] == expected.tolist()


def test_float32_equals_the_rounded_exponential_everywhere() -> None:
    arguments = np.arange(-ARGUMENT_LIMIT, ARGUMENT_LIMIT + 1)
    expected = np.exp(arguments / 4096).astype(np.float32).view(np.uint32)
    assert [exp_float32_bits(int(argument)) for argument in arguments] == expected.tolist()


def test_the_tables_in_the_firmware_are_these() -> None:
    assert (FIRMWARE / "core" / "exponential_tables.h").read_text() == c_tables()


def test_the_firmware_computes_the_same_everywhere(tmp_path: Path) -> None:
    tool = build(tmp_path, "exponential", SUPPORT / "exponential_driver.c")
    powers = np.array([exp_q12(x) for x in range(-40000, LARGEST_Q12 + 1)], "<u4")
    floats = np.array(
        [exp_float32_bits(x) for x in range(-ARGUMENT_LIMIT, ARGUMENT_LIMIT + 1)], "<u4"
    )
    sums = (zlib.crc32(powers.tobytes()), zlib.crc32(floats.tobytes()))
    assert run_tool(tool, []).split() == [f"{value:08x}" for value in sums]
