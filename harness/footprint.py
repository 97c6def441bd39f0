"""What a program needs on the device, as far as it is known before it runs."""

from __future__ import annotations

from dataclasses import dataclass

from compiler import AxonProgram, memory_footprint
from harness.estimate import npu_cycles


@dataclass(frozen=True, slots=True)
class Footprint:
    """flash_bytes: constants and command buffer. ram_bytes: interlayer and psum buffers, persistent
    variables.

    cycles: of one inference, from a model, never measured. None: not known.
    """

    flash_bytes: int | None = None
    ram_bytes: int | None = None
    cycles: int | None = None


def footprint(program: AxonProgram) -> Footprint:
    """The footprint of `program` as the compiler estimates it."""
    sizes = memory_footprint(program)
    return Footprint(
        flash_bytes=sizes.constant_bytes + sizes.command_bytes,
        ram_bytes=sizes.interlayer_bytes + sizes.psum_bytes + sizes.persistent_bytes,
        cycles=npu_cycles(program),
    )
