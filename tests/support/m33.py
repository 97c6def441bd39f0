"""The firmware's core on a bare, emulated Cortex-M33: results and executed instructions.

The virtual board runs whole firmware; this runs the kernels alone, so that many small programs take
seconds and a count contains nothing but the kernels.
"""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from compiler.image import ModelImage
from tests.support.firmware_host import (
    CORE_SOURCES,
    INCLUDES,
    SUPPORT,
    IntArray,
    Trace,
    split_layers,
)

MAILBOX_AT: Final = 0x2000_0000
IMAGE_AT: Final = 0x0010_0000
INPUT_AT: Final = 0x2020_0000
OUTPUT_AT: Final = 0x2030_0000
ARENA_AT: Final = 0x2040_0000
_STACK_TOP: Final = 0x2010_0000
_RETURN_TO: Final = 0x007F_0000
_MARKER: Final = 0x5000_0000
_REGIONS: Final = ((0, 0x0080_0000), (MAILBOX_AT, 0x0100_0000), (_MARKER, 0x1000))
_NOT_STARTED: Final = 0xFFFF

Toolchain = Literal["zig", "gcc"]
_FLAGS: Final = ("-std=c11", "-O2", "-ffp-contract=off", "-ffunction-sections")
_COMPILERS: Final[Mapping[Toolchain, tuple[str, ...]]] = {
    "zig": (
        *(sys.executable, "-m", "ziglang", "cc", "-target", "thumb-freestanding-eabi"),
        *("-mcpu=cortex_m33+dsp", "-fno-sanitize=all"),
    ),
    "gcc": ("arm-none-eabi-gcc", "-mcpu=cortex-m33", "-mthumb", "-nostdlib"),
}


def build_core(folder: Path, toolchain: Toolchain, *flags: str) -> bytes:
    """The core, the CPU backend and m33_entry.c as an ELF.

    Raises subprocess.CalledProcessError when the compiler fails.
    """
    target = folder / f"core-{toolchain}.elf"
    command = [*_COMPILERS[toolchain], *_FLAGS, *flags, *(f"-I{path}" for path in INCLUDES)]
    command += [str(path) for path in (*CORE_SOURCES, SUPPORT / "m33_entry.c")]
    command += ["-T", str(SUPPORT / "m33.ld"), "-Wl,--gc-sections,--entry=entry"]
    command += ["-o", str(target)] + (["-lc_nano", "-lgcc"] if toolchain == "gcc" else [])
    subprocess.run(command, check=True, capture_output=True)
    return target.read_bytes()


class Core:
    """An emulated processor with an ELF in its memory.

    Raises AssertionError from `run` when the firmware refuses an image.
    """

    def __init__(self, elf: bytes) -> None:
        import unicorn
        from unicorn import arm_const

        self._arm: Any = arm_const
        self._cpu: Any = unicorn.Uc(
            unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS
        )
        self._cpu.ctl_set_cpu_model(arm_const.UC_CPU_ARM_CORTEX_M33)
        for address, size in _REGIONS:
            self._cpu.mem_map(address, size)
        for address, data in _segments(elf):
            self._cpu.mem_write(address, data)
        (self._entry,) = struct.unpack_from("<I", elf, 24)
        self._blocks: dict[tuple[int, int], int] = {}
        self._executed = 0
        self._on_marker: Callable[[int], None] = lambda _: None
        self._cpu.hook_add(unicorn.UC_HOOK_BLOCK, self._count)
        self._cpu.hook_add(unicorn.UC_HOOK_MEM_WRITE, self._marked, begin=_MARKER, end=_MARKER + 3)

    def execute(self) -> list[int]:
        """Run from the entry to its end: executed instructions between stores to the marker."""
        counts: list[int] = []
        self._on_marker = lambda _: counts.append(self._executed)
        self._start()
        return [after - before for before, after in pairwise(counts)]

    def run(self, image: ModelImage, item: IntArray) -> tuple[Trace, list[int]]:
        """One inference of int8 [C, H, W]: what it computed, and instructions by layer, in order.

        Copying a layer's result is not counted.
        """
        data = np.ascontiguousarray(item.transpose(1, 2, 0)).tobytes()
        capacity = ARENA_AT - OUTPUT_AT
        words = (IMAGE_AT, len(image.data), ARENA_AT, image.arena_bytes, INPUT_AT, len(data))
        mailbox = struct.pack("<9I", _NOT_STARTED, *words, OUTPUT_AT, capacity)
        for address, content in ((IMAGE_AT, image.data), (INPUT_AT, data), (MAILBOX_AT, mailbox)):
            self._cpu.mem_write(address, content)
        arenas: dict[int, bytes] = {}
        counts: list[int] = []

        def on_marker(layer: int) -> None:
            counts.append(self._executed)
            if layer < len(image.layers):
                arenas[layer] = bytes(self._cpu.mem_read(ARENA_AT, image.arena_bytes))

        self._on_marker = on_marker
        self._start()
        (status,) = struct.unpack("<I", self._cpu.mem_read(MAILBOX_AT, 4))
        assert status == 0, f"the firmware refused '{image.name}' with status {status}"
        (written,) = struct.unpack("<I", self._cpu.mem_read(MAILBOX_AT + 32, 4))
        trace = Trace(split_layers(image, arenas), bytes(self._cpu.mem_read(OUTPUT_AT, written)))
        return trace, [b - a for a, b in pairwise(counts)]

    def _start(self) -> None:
        self._executed = 0
        self._cpu.reg_write(self._arm.UC_ARM_REG_SP, _STACK_TOP)
        self._cpu.reg_write(self._arm.UC_ARM_REG_LR, _RETURN_TO | 1)
        self._cpu.emu_start(self._entry | 1, _RETURN_TO)

    def _count(self, _: Any, address: int, size: int, __: Any) -> None:
        key = (address, size)
        if key not in self._blocks:
            self._blocks[key] = _instructions(bytes(self._cpu.mem_read(address, size)))
        self._executed += self._blocks[key]

    def _marked(self, _: Any, __: int, ___: int, ____: int, value: int, _____: Any) -> None:
        self._on_marker(value & 0xFFFF_FFFF)


def _segments(elf: bytes) -> Iterator[tuple[int, bytes]]:
    """Loadable segments of a 32-bit little-endian ELF."""
    (table,) = struct.unpack_from("<I", elf, 28)
    size, count = struct.unpack_from("<HH", elf, 42)
    for index in range(count):
        kind, offset, _, address, length = struct.unpack_from("<5I", elf, table + index * size)
        if kind == 1 and length:
            yield address, elf[offset : offset + length]


def _instructions(code: bytes) -> int:
    """Thumb instructions in a basic block: 32-bit ones start with 11101, 11110 or 11111."""
    count = position = 0
    while position < len(code):
        (half,) = struct.unpack_from("<H", code, position)
        position += 4 if half >> 11 >= 0x1D else 2
        count += 1
    return count
