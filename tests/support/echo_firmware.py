"""The host firmware with a backend that computes next to nothing: for tests of the link.

Output byte i is 3 * input byte (i modulo the input) + i, plus the inferences so far for a model
with state.
"""

from __future__ import annotations

import struct
from functools import cache
from pathlib import Path
from typing import Final

from harness.firmware.host_build import HostFirmware, HostKind, build_host
from harness.firmware.source import FirmwareModel

BACKEND: Final = Path(__file__).parent / "firmware" / "echo_backend.c"
_MAGIC: Final = 0x4F484345


def echo_image(input_bytes: int, output_bytes: int, layers: int, *, state: bool = False) -> bytes:
    """The "model image" of the echo backend."""
    return struct.pack("<5I", _MAGIC, input_bytes, output_bytes, layers, int(state))


def echo_model(
    input_bytes: int,
    output_bytes: int,
    layers: int = 4,
    *,
    state: bool = False,
    profile: str = "",
    ram_slot_bytes: int = 4096,
) -> FirmwareModel:
    return FirmwareModel(
        image=echo_image(input_bytes, output_bytes, layers, state=state),
        arena_bytes=max(input_bytes, 4096),
        input_bytes=input_bytes,
        output_bytes=output_bytes,
        layers=layers,
        profile=profile,
        backend="echo",
        ram_slot_bytes=ram_slot_bytes,
    )


@cache
def echo_firmware(model: FirmwareModel, kind: HostKind) -> HostFirmware:
    return build_host(model, kind, backend_sources=[BACKEND])


def echo_outputs(data: bytes, input_bytes: int, output_bytes: int) -> list[bytes]:
    """What the stateless backend answers to each input in `data`."""
    inputs = [data[at : at + input_bytes] for at in range(0, len(data), input_bytes)]
    return [
        bytes((3 * item[i % input_bytes] + i) & 255 for i in range(output_bytes)) for item in inputs
    ]
