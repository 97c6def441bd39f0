"""A minimal Arm ELF file with one loadable segment, for tests that need an image and no build."""

from __future__ import annotations

import struct
from pathlib import Path

HEADER_BYTES = 52
PROGRAM_HEADER_BYTES = 32


def small_elf(path: Path, data: bytes, address: int = 0, machine: int = 40) -> Path:
    """Write the file; `machine` 40 is Arm."""
    offset = HEADER_BYTES + PROGRAM_HEADER_BYTES
    ident = b"\x7fELF" + bytes((1, 1, 1)) + bytes(9)
    header = ident + struct.pack(
        "<HHIIIIIHHHHHH", 2, machine, 1, address, HEADER_BYTES, 0, 0, 52, 32, 1, 40, 0, 0
    )
    program = struct.pack("<8I", 1, offset, address, address, len(data), len(data), 5, 4)
    path.write_bytes(header + program + data)
    return path
