"""Names and addresses of the chip's registers, read from the firmware's own header.

The header is the only list: a register that the firmware does not name cannot be reached, and an
access to another address stops the emulated board with the nearest name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.errors import ConfigError

HEADER: Final = Path(__file__).parents[2] / "firmware" / "ports" / "nrf54l" / "registers.h"

_DEFINE: Final = re.compile(r"#define\s+(AXR_\w+)\s+(.+?)\s*(?:/\*.*)?$")
_NUMBER: Final = re.compile(r"(0[xX][0-9a-fA-F]+|\d+)U?L?")
_SUM: Final = re.compile(r"\((AXR_\w+) \+ (0[xX][0-9a-fA-F]+|\d+)U?L?\)")
_PREFIX: Final = "AXR_REG_"

_ARRAYS: Final[Mapping[str, int]] = {
    "FICR_TRIMCNF": 128,
    "P0_PIN_CNF": 32,
    "P1_PIN_CNF": 32,
}
"""Registers of the header that stand for several words in a row."""

_BLOCKS: Final[Mapping[int, str]] = {
    0x00FFC000: "FICR",
    0x00FFD000: "UICR",
    0x50041000: "MPC00",
    0x50042000: "DPPIC00",
    0x50045000: "KMU",
    0x5004A000: "UARTE00",
    0x5004B000: "RRAMC",
    0x50050000: "P2",
    0x50053000: "TAD",
    0x50055000: "TIMER00",
    0x50056000: "AXONS",
    0x50082000: "DPPIC10",
    0x50085000: "TIMER10",
    0x5008A000: "RADIO",
    0x500C0000: "SPU20",
    0x500C2000: "DPPIC20",
    0x500C6000: "UARTE20",
    0x500C7000: "UARTE21",
    0x500C8000: "UARTE22",
    0x500CA000: "TIMER20",
    0x500CB000: "TIMER21",
    0x500CF000: "MEMCONF",
    0x500D5000: "SAADC",
    0x500D8000: "P1",
    0x500DA000: "GPIOTE20",
    0x500DC000: "TAMPC",
    0x500E2000: "GRTC",
    0x50104000: "UARTE30",
    0x50108000: "WDT30",
    0x5010A000: "P0",
    0x5010E000: "CLOCK, POWER, RESET",
    0x50120000: "OSCILLATORS, REGULATORS",
    0xE0001000: "DWT",
    0xE000E000: "SCS",
    0xE0080000: "CPUC",
    0xE0082000: "ICACHE",
}
"""Names of 4 KB blocks, for messages only; from the nRF54L15's SVD, and the NPU's from the MDK."""


@dataclass(frozen=True, slots=True)
class RegisterMap:
    """Word address -> name, and name -> first address."""

    names: Mapping[int, str]
    addresses: Mapping[str, int]

    def place(self, address: int) -> str:
        """How a message calls `address`."""
        name = self.names.get(address & ~3)
        if name is not None:
            return name
        base = address & ~0xFFF
        if base in _BLOCKS:
            return f"{_BLOCKS[base]} + {address - base:#05x}"
        return "no register of the chip"


def read_register_map(chip: str, header: Path = HEADER) -> RegisterMap:
    """The registers of one chip (its preprocessor symbol). Raises ConfigError when the header holds
    a line that this reader does not understand."""
    values: dict[str, int] = {}
    active = [True]
    for number, line in enumerate(header.read_text(encoding="ascii").splitlines(), 1):
        if _follow_condition(line, chip, active) or not all(active):
            continue
        match = _DEFINE.match(line)
        if match is None or not match[1].startswith((_PREFIX, "AXR_")):
            continue
        value = _value(match[2], values)
        if value is None and match[1].startswith(_PREFIX):
            raise ConfigError(f"{header}:{number}: the value of {match[1]} is not understood")
        if value is not None:
            values[match[1]] = value
    return _as_map(values)


def _follow_condition(line: str, chip: str, active: list[bool]) -> bool:
    """Keep track of #if lines; True when `line` is one. Only chips are ever asked for."""
    if line.startswith(("#if ", "#ifdef ", "#ifndef ")):
        is_guard = line.startswith("#ifndef")
        active.append(is_guard or chip in line)
    elif line.startswith("#elif"):
        active[-1] = chip in line
    elif line.startswith("#else"):
        active[-1] = False
    elif line.startswith("#endif"):
        active.pop()
    else:
        return False
    return True


def _value(text: str, values: Mapping[str, int]) -> int | None:
    if number := _NUMBER.fullmatch(text):
        return int(number[1], 0)
    if (total := _SUM.fullmatch(text)) and total[1] in values:
        return values[total[1]] + int(total[2], 0)
    return None


def _as_map(values: Mapping[str, int]) -> RegisterMap:
    names: dict[int, str] = {}
    addresses: dict[str, int] = {}
    for macro, address in values.items():
        if not macro.startswith(_PREFIX):
            continue
        name = macro.removeprefix(_PREFIX)
        addresses[name] = address
        words = _ARRAYS.get(name, 1)
        for word in range(words):
            label = name if words == 1 else f"{name}[{word}]"
            names.setdefault(address + 4 * word, label)
    return RegisterMap(names, addresses)
