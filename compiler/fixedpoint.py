"""Real scales -> integer multipliers and shifts. The only code that rounds a scale.

Nordic's front end chooses the numbers this way and the NPU's results depend on every bit of them,
so float32 is used exactly where it uses float32 (docs/axon-binary.md, "Requantization").
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np

from compiler.errors import UnsupportedError
from compiler.ir import IntArray

LOWEST_SHIFT: Final = 8
HIGHEST_SHIFT: Final = 31
"""Exclusive upper bound of a shift when nothing narrows it."""
_DRIFT: Final = np.float32(1e-8)


@dataclass(frozen=True, slots=True, eq=False)
class Requant:
    """multipliers int32 [n]; shifts int8 [m], one common shift or one per multiplier.

    Layers that only move data, and multiplications, carry 64-bit integers as long as no channels
    were merged: Nordic's front end writes them so.
    """

    multipliers: IntArray
    shifts: IntArray


@dataclass(frozen=True, slots=True)
class _Search:
    """Which shifts are acceptable: low..high-1, a product below 2**bits, a zero point below
    2**zero_bits."""

    low: int
    high: int
    bits: int
    zero_point: int
    zero_bits: int

    def accepts(self, x: float | np.float32, shift: int) -> bool:
        """Whether x and the zero point fit when shifted so far."""
        fits = abs(round_scaled(x, shift)) < 1 << self.bits
        return fits and abs(self.zero_point) << shift < 1 << self.zero_bits

    def run(self, x: float | np.float32, drift: np.float32) -> tuple[int, float | np.float32]:
        """(largest shift before the first failure, x as it is then); 0 when even `low` fails."""
        chosen = 0
        for shift in range(self.low, self.high):
            if not self.accepts(x, shift):
                break
            chosen = shift
            x = np.float32(x + drift) if drift else x
        return chosen, x


def best_shift(
    x: float | np.float32,
    *,
    low: int = LOWEST_SHIFT,
    high: int = HIGHEST_SHIFT,
    bits: int = 31,
    zero_point: int = 0,
) -> int:
    """The largest shift s in low..high-1 up to which |x * 2**s| stays below 2**bits.

    The zero point shifted likewise must stay below it too. The search stops at the first failure; 0
    when even `low` fails.
    """
    return _Search(low, high, bits, zero_point, bits).run(x, np.float32(0))[0]


def best_shift_drifting(
    x: np.float32,
    *,
    high: int = HIGHEST_SHIFT,
    bits: int = 31,
    zero_point: int = 0,
    zero_bits: int | None = None,
) -> tuple[int, np.float32]:
    """`best_shift` for a scale that Nordic's front end keeps in a one-element array.

    There the scale grows by 1e-8 in float32 with every accepted shift, and the grown scale gives
    the multiplier. zero_bits: another bound for the zero point. Returns (shift, grown scale).
    """
    limits = _Search(LOWEST_SHIFT, high, bits, zero_point, bits if zero_bits is None else zero_bits)
    shift, grown = limits.run(x, _DRIFT)
    return shift, np.float32(grown)


def round_scaled(x: float | np.float32, shift: int) -> int:
    """x * 2**shift, rounded half to even. Exact: scaling a double by a power of two is."""
    return round(float(x) * float(1 << shift))


def single(
    x: np.float32,
    *,
    high: int = HIGHEST_SHIFT,
    bits: int = 31,
    zero_point: int = 0,
    wide: bool = False,
) -> Requant:
    """Requantization by one drifting scale; `wide` for the 64-bit form (see `Requant`)."""
    shift, grown = best_shift_drifting(x, high=high, bits=bits, zero_point=zero_point)
    requant = _requant([round_scaled(grown, shift)], [shift])
    return widened(requant) if wide else requant


def widened(requant: Requant) -> Requant:
    """The same values in 64-bit integers."""
    return Requant(requant.multipliers.astype(np.int64), requant.shifts.astype(np.int64))


def per_channel(scales: Sequence[np.float32], *, high: int, zero_point: int) -> Requant:
    """Requantization by one scale per channel, each with its own shift.

    A channel with scale 0 keeps the shift of the channel before it.
    """
    shift = LOWEST_SHIFT
    multipliers, shifts = [], []
    for scale in scales:
        if scale != 0:
            shift = best_shift(scale, high=high, zero_point=zero_point)
        multipliers.append(round_scaled(scale, shift))
        shifts.append(shift)
    return _requant(multipliers, shifts)


def merge_shifts(requant: Requant, per_multiplier: int = 1) -> Requant:
    """Bring all channels to the smallest shift, the multipliers by way of float32.

    per_multiplier: how many consecutive multipliers share one shift (2 for leaky ReLU).
    """
    shifts = np.repeat(requant.shifts, per_multiplier)
    if shifts.size == 1:
        shifts = np.repeat(shifts, requant.multipliers.size)
    smallest = int(shifts.min())
    scale = (requant.multipliers / np.exp2(shifts.astype(np.float64))).astype(np.float32)
    merged = [abs(round_scaled(value, smallest)) for value in scale]
    return _requant(merged, [smallest])


def less_shift(requant: Requant, radix: int) -> Requant:
    """The same multipliers with `radix` fraction bits left in the result."""
    shifts = (requant.shifts - radix).astype(requant.shifts.dtype)
    return Requant(requant.multipliers, shifts)


def bit_length(low: float, high: float) -> int:
    """Bits of the larger magnitude of two real bounds, each rounded up first."""
    return max(abs(int(np.ceil(low))), abs(int(np.ceil(high)))).bit_length() or 1


def output_radix(scale: float, zero_point: int, shift: int) -> int:
    """Fraction bits of an int32 model output: as many as the range of the final tensor leaves.

    shift: the smallest shift of the layer before the radix is taken off.
    """
    top = int(np.ceil(scale * (127 - zero_point)))
    bottom = int(np.ceil(scale * (-128 - zero_point)))
    limit = shift - bit_length(bottom, top)
    radix = 0
    for radix in range(LOWEST_SHIFT, limit):
        if top << radix > (1 << limit) - 1 or bottom << radix < -(1 << limit):
            break
    return radix


@contextmanager
def scales_in_range() -> Iterator[None]:
    """Raises UnsupportedError where arithmetic on scales leaves the range of floats."""
    try:
        with np.errstate(over="raise", divide="raise", invalid="raise"):
            yield
    except ArithmeticError as error:
        raise UnsupportedError(
            f"the model's scales lie too far apart for any useful multiplier ({error}); "
            "calibrate the model again"
        ) from error


def int32_array(values: Iterable[int | float]) -> IntArray:
    """Whole numbers as int32.

    Raises UnsupportedError when one does not fit: the scales are out of any useful range.
    """
    array = np.array([int(value) for value in values], dtype=object)
    if array.size and max(abs(int(value)) for value in array) >= 1 << 31:
        raise UnsupportedError(
            f"the scales of a layer lead to the integer {max(array, key=abs)}, which does not fit "
            "32 bits; calibrate the model again"
        )
    return array.astype(np.int32)


def _requant(multipliers: Sequence[int], shifts: Sequence[int]) -> Requant:
    return Requant(int32_array(multipliers), np.array(shifts, np.int8))
