"""Model layout and program layout: every pair of conversions is an identity."""

from __future__ import annotations

import numpy as np
import pytest

from compiler import Dims
from harness.errors import ConfigError
from harness.layout import from_program, to_program


def test_channels_move_to_the_front() -> None:
    maps = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)  # N, H, W, C
    result = to_program(maps, Dims(height=3, width=4, channels=5))
    assert result.shape == (2, 5, 3, 4)
    assert result[1, 2, 0, 3] == maps[1, 0, 3, 2]
    assert result.flags.c_contiguous
    assert np.array_equal(from_program(result), maps)


def test_a_transposed_program_swaps_height_and_width() -> None:
    maps = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    result = to_program(maps, Dims(height=4, width=3, channels=5), transposed=True)
    assert result.shape == (2, 5, 4, 3)
    assert result[1, 2, 3, 0] == maps[1, 0, 3, 2]
    assert np.array_equal(from_program(result, (3, 4, 5), transposed=True), maps)


@pytest.mark.parametrize("dims", [Dims(1, 6, 1), Dims(1, 1, 6)])
def test_vectors_keep_their_order(dims: Dims) -> None:
    rows = np.arange(12).reshape(2, 6)
    result = to_program(rows, dims)
    assert result.shape == (2, *dims.shape)
    assert np.array_equal(from_program(result, (6,)), rows)
    assert np.array_equal(from_program(result, (6,), transposed=True), rows)


def test_wrong_numbers_of_values_are_one_sentence() -> None:
    with pytest.raises(ConfigError, match=r"\[7\], 7 values, but the program takes 1 x 6 x 1"):
        to_program(np.zeros((2, 7)), Dims(1, 6, 1))
    with pytest.raises(ConfigError, match="does not hold as many values"):
        from_program(np.zeros((2, 1, 1, 6)), (7,))
