"""The memory plan: where each tensor lies in the arena, computed once, at build time.

Blocks whose lifetimes overlap get disjoint memory, except where a layer may write its output over
the input that it is the last to read: then the output must start at least `lead` bytes below the
input, which keeps every write behind the reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

ALIGNMENT: Final = 8


@dataclass(frozen=True, slots=True)
class Block:
    """Memory that is in use from record `first` to record `last`, both included."""

    size_bytes: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Offsets in bytes, by block, and the size of the arena."""

    offsets: tuple[int, ...]
    arena_bytes: int


def plan_arena(blocks: Sequence[Block], leads: Mapping[tuple[int, int], int]) -> Plan:
    """Place all blocks; the smallest of a few greedy orders wins.

    leads: by (input block, output block), the bytes by which the output must start below the input
        when the two share memory. Only pairs whose lifetimes meet in one record belong here.
    """
    orders: tuple[Callable[[int], tuple[int, ...]], ...] = (
        lambda i: (-blocks[i].size_bytes, blocks[i].first),
        lambda i: (blocks[i].first, -blocks[i].size_bytes),
        lambda i: (-blocks[i].last, -blocks[i].size_bytes),
        lambda i: (blocks[i].first - blocks[i].last, -blocks[i].size_bytes),
        lambda i: (-blocks[i].size_bytes * (1 + blocks[i].last - blocks[i].first), i),
    )
    plans = [_place(blocks, leads, sorted(range(len(blocks)), key=key)) for key in orders]
    return min(plans, key=lambda plan: plan.arena_bytes)


def _place(
    blocks: Sequence[Block], leads: Mapping[tuple[int, int], int], order: Sequence[int]
) -> Plan:
    offsets: dict[int, int] = {}
    for index in order:
        block = blocks[index]
        rivals = [
            other
            for other in offsets
            if blocks[other].first <= block.last and block.first <= blocks[other].last
        ]
        offsets[index] = _lowest(index, rivals, blocks, leads, offsets)
    end = max((offsets[i] + blocks[i].size_bytes for i in offsets), default=0)
    return Plan(tuple(offsets[i] for i in range(len(blocks))), _align(end))


def _lowest(
    index: int,
    rivals: Sequence[int],
    blocks: Sequence[Block],
    leads: Mapping[tuple[int, int], int],
    offsets: Mapping[int, int],
) -> int:
    candidates = {0}
    for other in rivals:
        candidates.add(_align(offsets[other] + blocks[other].size_bytes))
        if (other, index) in leads:
            candidates.add((offsets[other] - leads[other, index]) // ALIGNMENT * ALIGNMENT)
        if (index, other) in leads:
            candidates.add(_align(offsets[other] + leads[index, other]))
    for candidate in sorted(candidates):
        if candidate >= 0 and not any(
            _clash(index, candidate, other, blocks, leads, offsets) for other in rivals
        ):
            return candidate
    raise AssertionError("the offset above all rivals is always free")


def _clash(
    index: int,
    offset: int,
    other: int,
    blocks: Sequence[Block],
    leads: Mapping[tuple[int, int], int],
    offsets: Mapping[int, int],
) -> bool:
    start = offsets[other]
    if offset + blocks[index].size_bytes <= start or start + blocks[other].size_bytes <= offset:
        return False
    if (other, index) in leads:
        return offset + leads[other, index] > start
    if (index, other) in leads:
        return start + leads[index, other] > offset
    return True


def _align(value: int) -> int:
    return -(-value // ALIGNMENT) * ALIGNMENT
