"""What a program needs on the device, as far as it is known before it runs."""

from __future__ import annotations

from dataclasses import dataclass

from compiler import AxonProgram


@dataclass(frozen=True, slots=True)
class Footprint:
    """flash_bytes: constants and command buffer. ram_bytes: interlayer and psum buffers.

    cycles: of one inference, from a model, never measured. None: not known.
    """

    flash_bytes: int | None = None
    ram_bytes: int | None = None
    cycles: int | None = None


def footprint(program: AxonProgram) -> Footprint:
    """The footprint of `program`. Nothing is known until the compiler estimates it."""
    del program
    return Footprint()
