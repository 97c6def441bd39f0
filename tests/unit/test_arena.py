"""The memory plan: no two live blocks share memory, unless one may be written over the other."""

from __future__ import annotations

import numpy as np
import pytest

from compiler.image.arena import ALIGNMENT, Block, plan_arena


def _assert_sound(
    blocks: list[Block], leads: dict[tuple[int, int], int], offsets: tuple[int, ...], end: int
) -> None:
    for i, a in enumerate(blocks):
        assert offsets[i] >= 0
        assert offsets[i] % ALIGNMENT == 0
        assert offsets[i] + a.size_bytes <= end
        for j, b in enumerate(blocks[:i]):
            together = a.first <= b.last and b.first <= a.last
            apart = (
                offsets[i] + a.size_bytes <= offsets[j] or offsets[j] + b.size_bytes <= offsets[i]
            )
            if together and not apart:
                source, target = (i, j) if (i, j) in leads else (j, i)
                assert offsets[target] + leads[source, target] <= offsets[source]


@pytest.mark.parametrize("seed", range(50))
def test_random_plans_are_sound(seed: int) -> None:
    rng = np.random.default_rng(seed)
    firsts = rng.integers(0, 12, 14)
    blocks = [
        Block(int(size), int(first), int(first + span))
        for size, first, span in zip(
            rng.integers(1, 500, 14), firsts, rng.integers(0, 5, 14), strict=True
        )
    ]
    leads = {
        (i, j): int(rng.integers(0, 64))
        for i, a in enumerate(blocks)
        for j, b in enumerate(blocks)
        if i != j and a.last == b.first and a.first < b.first
    }
    plan = plan_arena(blocks, leads)
    _assert_sound(blocks, leads, plan.offsets, plan.arena_bytes)


def test_an_output_may_take_the_place_of_its_input() -> None:
    blocks = [Block(1000, 0, 1), Block(1000, 1, 2)]
    assert plan_arena(blocks, {}).arena_bytes == 2000
    assert plan_arena(blocks, {(0, 1): 0}).arena_bytes == 1000
    assert plan_arena(blocks, {(0, 1): 120}).arena_bytes == 1120


def test_blocks_that_never_meet_share_memory() -> None:
    assert plan_arena([Block(100, 0, 0), Block(104, 1, 1)], {}).arena_bytes == 104


def test_no_blocks_need_no_memory() -> None:
    assert plan_arena([], {}).arena_bytes == 0
