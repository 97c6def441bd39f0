"""Frames and messages of the link, without any input or output (docs/protocol.md).

The numbers and layouts mirror firmware/include/axr_protocol.h; a contract test compares the two.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import astuple, dataclass, field
from enum import IntEnum, IntFlag
from typing import ClassVar, Final, Self

from harness.errors import ProtocolError

PROTOCOL_LEVEL: Final = 1
FRAME_MAX: Final = 2112
DATA_MAX: Final = 2048
CRC_BYTES: Final = 4
BAUD_TRIAL_MS: Final = 1000
LINE_QUIET_MS: Final = 1000
LAP_SAMPLES: Final = 256
SLOT_MAGIC: Final = 0x53525841
SLOT_HEADER_BYTES: Final = 16


class Kind(IntEnum):
    """What a frame is. The answer to a request has the request's kind + REPLY."""

    HELLO = 1
    INFER = 2
    LOAD = 3
    RESEND = 4
    READ = 5
    ECHO = 6
    STATISTICS = 7
    SLOT = 8
    RESET = 9
    BAUD = 10
    BYE = 11
    REPLY = 128
    PROGRESS = 144
    RESULT = 145
    ERROR = 255


class InferFlag(IntFlag):
    """Options of a run."""

    NONE = 0
    LAYERS = 1


class Region(IntEnum):
    """What READ can read."""

    INPUT = 0
    OUTPUT = 1
    MODEL = 2
    ARENA = 3


class SlotOperation(IntEnum):
    """Steps of an upload."""

    BEGIN = 0
    WRITE = 1
    COMMIT = 2
    SELECT = 3


class Place(IntEnum):
    """Where a model lies."""

    BUILT_IN = 0
    RAM = 1
    NON_VOLATILE = 2


@dataclass(frozen=True, slots=True)
class Message:
    """A packed little-endian struct; LAYOUT is its `struct` format without the byte order."""

    LAYOUT: ClassVar[str] = ""

    @classmethod
    def byte_size(cls) -> int:
        """Bytes of the struct."""
        return struct.calcsize("<" + cls.LAYOUT)

    def pack(self) -> bytes:
        """The struct's bytes."""
        return struct.pack("<" + self.LAYOUT, *astuple(self))

    @classmethod
    def unpack(cls, body: bytes) -> Self:
        """The struct at the start of `body`. Raises ProtocolError when that is too short."""
        if len(body) < cls.byte_size():
            raise ProtocolError(
                f"the body of {cls.__name__} has {len(body)} bytes; expected at least "
                f"{cls.byte_size()}"
            )
        return cls(*struct.unpack_from("<" + cls.LAYOUT, body))


@dataclass(frozen=True, slots=True)
class FrameHeader(Message):
    """What every frame starts with."""

    LAYOUT: ClassVar[str] = "BBHI"
    kind: int
    reserved: int
    sequence: int
    session: int


@dataclass(frozen=True, slots=True)
class Hello(Message):
    """The host's first words."""

    LAYOUT: ClassVar[str] = "HH"
    level: int = PROTOCOL_LEVEL
    reserved: int = 0


@dataclass(frozen=True, slots=True)
class HelloReply(Message):
    """Everything the firmware says about itself. Sizes in bytes; texts as raw bytes."""

    LAYOUT: ClassVar[str] = "HH16s16s32s16s16s16s16s16I16s48s8I"
    level: int
    layers: int
    build_id: bytes
    unique_id: bytes
    board: bytes
    core: bytes
    time_source: bytes
    backend: bytes
    profile: bytes
    core_hz: int
    cycle_hz: int
    window_bytes: int
    default_baud: int
    max_baud: int
    reset_reason: int
    fault_cause: int
    fault_pc: int
    fault_lr: int
    fault_psr: int
    fault_status: int
    fault_address: int
    ram_slot_bytes: int
    nv_slot_bytes: int
    model_place: int
    model_status: int
    model_hash: bytes
    model_name: bytes
    program_version: int
    image_bytes: int
    arena_bytes: int
    arena_used_bytes: int
    input_bytes: int
    output_bytes: int
    input_slots: int
    result_slots: int

    def text(self, name: str) -> str:
        """A text field, printable."""
        value: bytes = getattr(self, name)
        return value.split(b"\0")[0].decode("ascii", "replace")


@dataclass(frozen=True, slots=True)
class Infer(Message):
    """Starts a run: what to do with the inputs that follow."""

    LAYOUT: ClassVar[str] = "6I"
    run: int
    first: int
    inputs: int
    laps: int
    warmup: int
    flags: int


@dataclass(frozen=True, slots=True)
class Load(Message):
    """Heads a piece of the input stream."""

    LAYOUT: ClassVar[str] = "3I"
    run: int
    offset: int
    received: int


@dataclass(frozen=True, slots=True)
class Resend(Message):
    """Asks for results again, from input number `received` on."""

    LAYOUT: ClassVar[str] = "2I"
    run: int
    received: int


@dataclass(frozen=True, slots=True)
class Progress(Message):
    """Where a run stands."""

    LAYOUT: ClassVar[str] = "5I"
    run: int
    offset: int
    limit: int
    finished: int
    rejected: int


@dataclass(frozen=True, slots=True)
class Result(Message):
    """Heads a piece of one input's result."""

    LAYOUT: ClassVar[str] = "8I3Q"
    run: int
    input: int
    status: int
    input_crc: int
    laps: int
    output_bytes: int
    total_bytes: int
    offset: int
    cycles_min: int
    cycles_median: int
    cycles_max: int


@dataclass(frozen=True, slots=True)
class Read(Message):
    """Asks for a part of a region."""

    LAYOUT: ClassVar[str] = "3I"
    region: int
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class ReadReply(Message):
    """Heads that part."""

    LAYOUT: ClassVar[str] = "3I"
    region: int
    offset: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class Statistics(Message):
    """What the link has seen since the device started."""

    LAYOUT: ClassVar[str] = "3Q10I"
    uptime_us: int
    received_bytes: int
    sent_bytes: int
    received_frames: int
    sent_frames: int
    crc_errors: int
    frame_errors: int
    overruns: int
    line_errors: int
    duplicates: int
    gaps: int
    inferences: int
    results_sent: int


@dataclass(frozen=True, slots=True)
class Slot(Message):
    """One step of an upload."""

    LAYOUT: ClassVar[str] = "4I"
    operation: int
    place: int
    value: int = 0
    crc: int = 0


@dataclass(frozen=True, slots=True)
class SlotReply(Message):
    """How the step went."""

    LAYOUT: ClassVar[str] = "2I"
    status: int
    written: int


@dataclass(frozen=True, slots=True)
class Baud(Message):
    """Asks for another rate of the line."""

    LAYOUT: ClassVar[str] = "I"
    baud: int


@dataclass(frozen=True, slots=True)
class StatusReply(Message):
    """A status and nothing else."""

    LAYOUT: ClassVar[str] = "I"
    status: int


@dataclass(frozen=True, slots=True)
class ErrorReply(Message):
    """Why a frame was refused."""

    LAYOUT: ClassVar[str] = "3I"
    status: int
    kind: int
    detail: int


@dataclass(frozen=True, slots=True)
class Frame:
    """A checked frame, or one to send."""

    kind: int
    sequence: int
    session: int
    body: bytes = b""


def cobs_encode(data: bytes) -> bytes:
    """`data` without zero bytes (consistent overhead byte stuffing), no delimiters."""
    out = bytearray()
    parts = data.split(b"\0")
    for index, part in enumerate(parts):
        for at in range(0, len(part), 254):
            block = part[at : at + 254]
            out.append(len(block) + 1)
            out += block
        full = len(part) > 0 and len(part) % 254 == 0
        # A full block implies no zero: another block must, unless the data end here.
        if not part or (full and index + 1 < len(parts)):
            out.append(1)
    return bytes(out)


def cobs_decode(data: bytes) -> bytes | None:
    """The bytes before stuffing, or None when `data` is not COBS."""
    out = bytearray()
    at = 0
    while at < len(data):
        code = data[at]
        block = data[at + 1 : at + code]
        if code == 0 or len(block) != code - 1 or 0 in block:
            return None
        out += block
        at += code
        if code != 255 and at < len(data):
            out.append(0)
    return bytes(out)


def encode_frame(frame: Frame) -> bytes:
    """The bytes on the wire, both delimiters included."""
    header = FrameHeader(frame.kind, 0, frame.sequence, frame.session).pack()
    covered = header + frame.body
    if len(covered) > FRAME_MAX:
        raise ProtocolError(f"a frame of {len(covered)} bytes; at most {FRAME_MAX} are allowed")
    checked = covered + struct.pack("<I", zlib.crc32(covered))
    return b"\0" + cobs_encode(checked) + b"\0"


def decode_frame(block: bytes) -> Frame | None:
    """The frame between two delimiters, or None when it did not survive the line."""
    data = cobs_decode(block)
    if data is None or len(data) < FrameHeader.byte_size() + CRC_BYTES:
        return None
    covered, stated = data[:-CRC_BYTES], data[-CRC_BYTES:]
    if zlib.crc32(covered) != struct.unpack("<I", stated)[0]:
        return None
    header = FrameHeader.unpack(covered)
    return Frame(header.kind, header.sequence, header.session, covered[FrameHeader.byte_size() :])


@dataclass(slots=True)
class FrameReader:
    """Cuts a byte stream into frames. `rejected` counts damaged ones."""

    rejected: int = 0
    frames: int = 0
    _held: bytearray = field(default_factory=bytearray)

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Frames completed by `data`, in order."""
        self._held += data
        *blocks, rest = self._held.split(b"\0")
        self._held = rest[-2 * FRAME_MAX :]
        for block in blocks:
            if not block:
                continue
            frame = decode_frame(bytes(block))
            if frame is None:
                self.rejected += 1
            else:
                self.frames += 1
                yield frame
