"""The link means the same to C and to Python: numbers, layouts, and bytes on the wire."""

from __future__ import annotations

import re
import struct
from dataclasses import fields
from typing import Any, Final

import pytest

from harness import protocol
from harness.firmware.source import RESULT_HEADER_BYTES
from harness.protocol import InferFlag, Kind, Place, Region, SlotOperation
from tests.support.firmware_host import FIRMWARE

_HEADER: Final = (FIRMWARE / "include" / "axr_protocol.h").read_text()
_CODES: Final = {"uint8_t": "B", "uint16_t": "H", "uint32_t": "I", "uint64_t": "Q"}
_STRUCTS: Final[dict[str, type[protocol.Message]]] = {
    "axr_frame_header": protocol.FrameHeader,
    "axr_hello": protocol.Hello,
    "axr_hello_reply": protocol.HelloReply,
    "axr_infer": protocol.Infer,
    "axr_load": protocol.Load,
    "axr_resend": protocol.Resend,
    "axr_progress": protocol.Progress,
    "axr_result": protocol.Result,
    "axr_read": protocol.Read,
    "axr_read_reply": protocol.ReadReply,
    "axr_statistics": protocol.Statistics,
    "axr_slot": protocol.Slot,
    "axr_slot_reply": protocol.SlotReply,
    "axr_baud": protocol.Baud,
    "axr_status_reply": protocol.StatusReply,
    "axr_error": protocol.ErrorReply,
}


def _numbers(prefix: str) -> dict[str, int]:
    found = re.findall(rf"#define AXR_{prefix}_(\w+) (0x[0-9A-F]+|\d+)\b", _HEADER)
    return {name: int(value, 0) for name, value in found}


def _number(name: str) -> int:
    prefix, _, rest = name.partition("_")
    return _numbers(prefix)[rest]


@pytest.mark.parametrize(
    ("prefix", "numbers"),
    [("KIND", Kind), ("INFER", InferFlag), ("REGION", Region), ("MODEL", Place)],
)
def test_enumerations(prefix: str, numbers: Any) -> None:
    ours = {item.name: int(item) for item in numbers if item != 0 or numbers is not InferFlag}
    assert _numbers(prefix) == ours


def test_slot_operations() -> None:
    theirs = _numbers("SLOT")
    assert theirs.pop("MAGIC") == protocol.SLOT_MAGIC
    assert theirs.pop("HEADER_BYTES") == protocol.SLOT_HEADER_BYTES
    assert theirs == {item.name: int(item) for item in SlotOperation}


_CONSTANTS: Final = (
    "PROTOCOL_LEVEL",
    "FRAME_MAX",
    "DATA_MAX",
    "CRC_BYTES",
    "BAUD_TRIAL_MS",
    "LINE_QUIET_MS",
    "LAP_SAMPLES",
)


@pytest.mark.parametrize("name", _CONSTANTS)
def test_constants(name: str) -> None:
    assert _number(name) == getattr(protocol, name)


@pytest.mark.parametrize("name", _STRUCTS)
def test_layouts(name: str) -> None:
    body = re.search(rf"struct AXR_PACKED {name} {{(.*?)}} {name}_t;", _HEADER, re.DOTALL)
    assert body is not None
    declared = re.findall(r"(uint\d+_t) (\w+)(?:\[(\d+)\])?;", body.group(1))
    message = _STRUCTS[name]
    assert [field for _, field, _ in declared] == [item.name for item in fields(message)]
    layout = "".join(f"{size}s" if size else _CODES[kind] for kind, _, size in declared)
    assert struct.calcsize("<" + layout) == message.byte_size()
    assert _expanded(message.LAYOUT) == _expanded(layout)


def _expanded(layout: str) -> str:
    """Repeat counts of numbers written out: "2I" is "II"; "16s" stays one field."""
    return "".join(
        f"{count}s" if code == "s" else code * int(count or 1)
        for count, code in re.findall(r"(\d*)([A-Za-z])", layout)
    )


def test_every_struct_is_compared() -> None:
    assert set(re.findall(r"struct AXR_PACKED (\w+) {", _HEADER)) == set(_STRUCTS)


def test_result_records() -> None:
    assert protocol.Result.byte_size() == RESULT_HEADER_BYTES
