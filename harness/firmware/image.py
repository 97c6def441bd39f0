"""A firmware image: what is in the ELF file, and how much memory it takes."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from harness.errors import ConfigError

MAX_ELF_BYTES: Final = 64 << 20
_ARM: Final = "EM_ARM"
_HEX_ROW: Final = 16


@dataclass(frozen=True, slots=True)
class Segment:
    """Bytes that are loaded to an address of the chip's non-volatile memory."""

    address: int
    data: bytes


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """Bytes of an image.

    Flash: code, constants, model, initial values of variables. RAM: variables, arena, buffers of
    the NPU (interlayer and psum) and of the link, stack; slot_bytes is what is left for an uploaded
    model.
    """

    code_bytes: int
    constants_bytes: int
    model_bytes: int
    initial_bytes: int
    variables_bytes: int
    arena_bytes: int
    buffers_bytes: int
    stack_bytes: int
    slot_bytes: int
    npu_bytes: int = 0

    @property
    def flash_bytes(self) -> int:
        """Non-volatile memory in all."""
        return self.code_bytes + self.constants_bytes + self.model_bytes + self.initial_bytes

    @property
    def ram_bytes(self) -> int:
        """RAM in all, the model slot not counted."""
        return (
            self.variables_bytes
            + self.arena_bytes
            + self.npu_bytes
            + self.buffers_bytes
            + self.stack_bytes
        )


@dataclass(frozen=True, slots=True)
class LoadedElf:
    """An ELF file of a Cortex-M image. symbols: name -> address."""

    segments: tuple[Segment, ...]
    symbols: Mapping[str, int]
    section_bytes: Mapping[str, int]


def load_elf(path: Path) -> LoadedElf:
    """Read an ELF image for Arm. Raises ConfigError when it is something else or damaged."""
    try:
        size = path.stat().st_size
        if size > MAX_ELF_BYTES:
            raise ConfigError(f"{path}: {size} bytes are too many for a firmware image")
        with path.open("rb") as stream:
            return _load(ELFFile(stream), size)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except (ELFError, ValueError, KeyError, struct.error, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no firmware image: {error or 'damaged ELF file'}") from None


def _load(elf: ELFFile, file_bytes: int) -> LoadedElf:
    if elf["e_machine"] != _ARM or elf.elfclass != 32 or not elf.little_endian:
        raise ValueError("an ELF file for another processor than a Cortex-M")
    segments = []
    for segment in elf.iter_segments("PT_LOAD"):
        if segment["p_filesz"]:
            if segment["p_offset"] + segment["p_filesz"] > file_bytes:
                raise ValueError("a segment lies outside of the file")
            segments.append(Segment(segment["p_paddr"], segment.data()))
    symbols: dict[str, int] = {}
    sizes: dict[str, int] = {}
    for section in elf.iter_sections():
        if section["sh_flags"] & 2:  # SHF_ALLOC
            sizes[section.name] = section["sh_size"]
        if isinstance(section, SymbolTableSection):
            symbols.update((symbol.name, symbol["st_value"]) for symbol in section.iter_symbols())
    return LoadedElf(tuple(segments), symbols, sizes)


def memory_use(elf: LoadedElf) -> MemoryUse:
    """Sizes of the linker script's sections."""

    def size(*names: str) -> int:
        return sum(elf.section_bytes.get(name, 0) for name in names)

    return MemoryUse(
        code_bytes=size(".axr.vectors", ".text"),
        constants_bytes=size(".rodata"),
        model_bytes=size(".axr.model"),
        initial_bytes=size(".data"),
        variables_bytes=size(".data", ".bss", ".axr.noinit"),
        arena_bytes=size(".axr.arena"),
        buffers_bytes=size(".axr.buffers", ".axr.ring"),
        stack_bytes=size(".axr.stack"),
        slot_bytes=size(".axr.slot"),
        npu_bytes=size(".axr.npu"),
    )


def intel_hex(elf: LoadedElf) -> bytes:
    """The image as Intel HEX, the format that every flash tool reads."""
    lines = []
    upper = None
    for segment in elf.segments:
        at = 0
        while at < len(segment.data):
            address = segment.address + at
            if address >> 16 != upper:
                upper = address >> 16
                lines.append(_record(0, 4, upper.to_bytes(2, "big")))
            row = segment.data[at : at + _HEX_ROW - address % _HEX_ROW]
            lines.append(_record(address & 0xFFFF, 0, row))
            at += len(row)
    lines.append(_record(0, 1, b""))
    return "".join(lines).encode("ascii")


def _record(address: int, kind: int, data: bytes) -> str:
    body = bytes((len(data), address >> 8, address & 0xFF, kind)) + data
    return f":{body.hex().upper()}{-sum(body) & 0xFF:02X}\n"
