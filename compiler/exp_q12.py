"""exp(k / 4096) by integers alone: the algorithm and the tables of firmware/core/exponential.c.

The reference takes the exponential from the platform's math library; a microcontroller has none.
This is the same function from three tables of 64-bit mantissas and two multiplications. For every
argument that a program can reach it gives the bits that the reference gives, which
tests/contract/test_exponential.py shows by trying all of them.

    exp(k/4096) = COARSE[a] * MIDDLE[b] * FINE[c],   k + 65536 = a*4096 + b*64 + c
"""

from __future__ import annotations

from decimal import Decimal, localcontext
from typing import Final

ARGUMENT_LIMIT: Final = 65_536
"""Largest magnitude of an argument, in steps of 1/4096."""

LARGEST_Q12: Final = 31_182
SMALLEST_Q12: Final = -34_070
"""Below this argument floor(4096 * exp(x / 4096)) is 0."""

_COARSE_COUNT: Final = 33
_STEPS: Final = 64


def coarse_table() -> tuple[tuple[int, int], ...]:
    """exp(a - 16) = mantissa * 2**(exponent - 63) for a = 0..32, mantissa in [2**63, 2**64)."""
    table = []
    with localcontext() as context:
        context.prec = 60
        for a in range(_COARSE_COUNT):
            value = Decimal(a - 16).exp()
            exponent = 0
            while value >= 2:
                value, exponent = value / 2, exponent + 1
            while value < 1:
                value, exponent = value * 2, exponent - 1
            table.append((int((value * 2**63).to_integral_value()), exponent))
    return tuple(table)


def fraction_table(step: int) -> tuple[int, ...]:
    """exp(i * step / 4096) * 2**62 for i = 0..63."""
    with localcontext() as context:
        context.prec = 60
        return tuple(
            int(((Decimal(i * step) / 4096).exp() * 2**62).to_integral_value())
            for i in range(_STEPS)
        )


_COARSE: Final = coarse_table()
_MIDDLE: Final = fraction_table(_STEPS)
_FINE: Final = fraction_table(1)


def exponential(argument: int) -> tuple[int, int]:
    """exp(argument / 4096) as (mantissa, shift): mantissa / 2**shift, mantissa below 2**62.

    argument: -65536 to 65536.
    """
    index = argument + ARGUMENT_LIMIT
    mantissa, exponent = _COARSE[index >> 12]
    mantissa = (mantissa * _MIDDLE[(index >> 6) & 63]) >> 64
    mantissa = (mantissa * _FINE[index & 63]) >> 64
    return mantissa, 59 - exponent


def exp_q12(argument: int) -> int:
    """floor(4096 * exp(argument / 4096)) for an argument of at most 31182."""
    if argument < SMALLEST_Q12:
        return 0
    mantissa, shift = exponential(argument)
    return mantissa >> (shift - 12)


def exp_float32_bits(argument: int) -> int:
    """Bits of the float32 nearest to exp(argument / 4096), for -65536 to 65536."""
    mantissa, shift = exponential(argument)
    excess = mantissa.bit_length() - 24
    rounded = (mantissa + (1 << (excess - 1)) - 1 + ((mantissa >> excess) & 1)) >> excess
    exponent = 127 + 23 + excess - shift
    # A mantissa that rounds up to 2**24 carries into the exponent by itself.
    return (exponent << 23) + rounded - (1 << 23)


def c_tables() -> str:
    """firmware/core/exponential_tables.h, whole."""
    lines = [
        "/* Written by compiler/exp_q12.py (c_tables); do not edit. Included by exponential.c. */",
        "static const uint64_t coarse_mantissa[33] = {",
        *_c_rows([mantissa for mantissa, _ in _COARSE]),
        "};",
        "",
        "static const int8_t coarse_exponent[33] = {",
    ]
    exponents = [exponent for _, exponent in _COARSE]
    for start in range(0, len(exponents), 11):
        lines.append("    " + ", ".join(str(e) for e in exponents[start : start + 11]) + ",")
    lines += ["};", "", "static const uint64_t middle[64] = {", *_c_rows(list(_MIDDLE)), "};"]
    lines += ["", "static const uint64_t fine[64] = {", *_c_rows(list(_FINE)), "};"]
    return "\n".join(lines) + "\n"


def _c_rows(values: list[int]) -> list[str]:
    return [
        "    " + ", ".join(f"0x{value:016X}U" for value in values[start : start + 4]) + ","
        for start in range(0, len(values), 4)
    ]
