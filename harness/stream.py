"""One run over the link, without input or output: when to send which frame, what arrived.

The input stream works like a sliding window with cumulative acknowledgement: LOAD frames carry an
offset, PROGRESS says how far the device got and how far the host may go. A gap or a silence makes
the host go back to the acknowledged offset. Results come in input order; the device keeps each
until the host has confirmed it, so a lost one is asked for again, never computed again.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from harness.errors import DeviceFault, ProtocolError
from harness.firmware_status import describe_status
from harness.protocol import (
    DATA_MAX,
    Frame,
    Infer,
    InferFlag,
    Kind,
    Load,
    Progress,
    Resend,
    Result,
)

Outgoing = tuple[Kind, bytes]

_MAX_BACKOFF: Final = 4
_MIN_CHUNK: Final = 64


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What to run. data: all inputs, one after the other, `input_bytes` each.

    run: number of the run, growing within a session. first: number of the first input in `data`.
    output_bytes, layers: of the model. result_slots, input_slots: what the device keeps.
    window_bytes: as the device said. patience_s: silence after which something is sent again.
    byte_s: time that one byte takes on the line, 0 when unknown.
    """

    data: memoryview
    input_bytes: int
    run: int
    first: int
    laps: int
    warmup: int
    with_layers: bool
    output_bytes: int
    layers: int
    result_slots: int
    input_slots: int
    window_bytes: int
    patience_s: float = 0.25
    byte_s: float = 0.0

    @property
    def inputs(self) -> int:
        """How many inputs there are."""
        return len(self.data) // self.input_bytes

    @property
    def chunk(self) -> int:
        """Data bytes of a full LOAD frame: several of them fit into the window, and two into the
        device's input memory, so that one is under way while another is used."""
        staging = self.input_slots * self.input_bytes
        return min(DATA_MAX, max(_MIN_CHUNK, min(self.window_bytes // 4, staging // 2)))


@dataclass(frozen=True, slots=True)
class InputResult:
    """Result of one input. outputs: raw bytes of all outputs, [height][width][channel] each.

    cycles_*: of the measured laps. layer_cycles: of the last lap, empty unless asked for.
    """

    number: int
    outputs: bytes
    laps: int
    cycles_min: int
    cycles_median: int
    cycles_max: int
    layer_cycles: tuple[int, ...]


@dataclass(slots=True)
class RunMachine:
    """The host's side of one run. Times are seconds on any clock that only grows."""

    plan: RunPlan
    now: float
    opened: bool = False
    sent: int = 0
    accepted: int = 0
    limit: int = 0
    done: int = 0
    finished: int = 0
    rejected: int | None = None
    resent_frames: int = 0
    _confirmed: int = 0
    _backoff: int = 1
    _quiet_since: float = 0.0
    _advanced_at: float = 0.0
    _want_infer: bool = True
    _chunk: int = 0
    _resume_above: int = -1
    _want_resend: bool = False
    _asked_for: int = -1
    _partial: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        self._quiet_since = self._advanced_at = self.now
        self._chunk = self.plan.chunk

    @property
    def complete(self) -> bool:
        """Whether every result is there."""
        return self.done == self.plan.inputs

    @property
    def advanced_at(self) -> float:
        """When the run last came a step further."""
        return self._advanced_at

    def wait_s(self, now: float) -> float:
        """Seconds after which `messages` may have something new to say."""
        return max(0.0, self._quiet_since + self._patience() - now)

    # ---- sending ----

    def messages(self, now: float) -> Iterator[Outgoing]:
        """What is to be sent now."""
        if now - self._quiet_since >= self._patience():
            self._repeat(now)
        if self._want_infer:
            self._want_infer = False
            yield Kind.INFER, self._infer().pack()
        if self._want_resend:
            self._want_resend = False
            self._partial.clear()
            yield Kind.RESEND, Resend(self.plan.run, self.plan.first + self.done).pack()
        if self.opened:
            yield from self._stream()

    def _infer(self) -> Infer:
        flags = InferFlag.LAYERS if self.plan.with_layers else InferFlag.NONE
        return Infer(
            run=self.plan.run,
            first=self.plan.first,
            inputs=self.plan.inputs,
            laps=self.plan.laps,
            warmup=self.plan.warmup,
            flags=int(flags),
        )

    def _stream(self) -> Iterator[Outgoing]:
        total = len(self.plan.data)
        while self.sent < self.limit:
            size = min(self._chunk, total - self.sent)
            if self.limit - self.sent < size and self.sent != self.accepted:
                break  # a full frame soon beats a small one now
            yield self._load(self.sent, min(size, self.limit - self.sent))
            self.sent += min(size, self.limit - self.sent)
        # Results are confirmed by the next data; without data, before the device runs out of room.
        unconfirmed = self.done - self._confirmed
        if unconfirmed and not self.complete and unconfirmed * 2 >= self.plan.result_slots:
            yield self._load(self.accepted, 0)

    def _load(self, offset: int, size: int) -> Outgoing:
        head = Load(self.plan.run, offset, self.plan.first + self.done).pack()
        self._confirmed = self.done
        return Kind.LOAD, head + bytes(self.plan.data[offset : offset + size])

    def _patience(self) -> float:
        under_way = (self.sent - self.accepted) * self.plan.byte_s
        return self.plan.patience_s * self._backoff + 2.0 * under_way

    def _repeat(self, now: float) -> None:
        """Nothing new for a while: go back to what is known, and ask."""
        self._quiet_since = now
        self._backoff = min(2 * self._backoff, _MAX_BACKOFF)
        if not self.opened:
            self._want_infer = True
            return
        self._go_back()
        self._want_resend = True
        self._asked_for = self.done

    def _go_back(self) -> None:
        if self.sent > self.accepted:
            self.resent_frames += 1
            self.sent = self.accepted
            # On a bad line short frames get through where long ones do not.
            self._chunk = max(_MIN_CHUNK, self._chunk // 2)

    # ---- receiving ----

    def receive(self, frame: Frame, now: float) -> InputResult | None:
        """Take a frame of this session; a finished input's result, or None.

        Raises DeviceFault when the device reports that an inference failed, ProtocolError for a
        result that cannot be right.
        """
        if frame.kind == Kind.PROGRESS:
            self._progress(Progress.unpack(frame.body), now)
        elif frame.kind == Kind.RESULT:
            return self._result(frame.body, now)
        return None

    def _advance(self, now: float) -> None:
        self._quiet_since = self._advanced_at = now
        self._backoff = 1

    def _progress(self, progress: Progress, now: float) -> None:
        if progress.run != self.plan.run or progress.offset > len(self.plan.data):
            return
        if not self.opened or progress.offset > self.accepted or progress.limit > self.limit:
            self._advance(now)
        if progress.offset > self.accepted:
            self._chunk = min(self.plan.chunk, 2 * self._chunk)
        self.opened = True
        self.accepted = max(self.accepted, progress.offset)
        self.sent = max(self.sent, self.accepted)
        self.limit = max(self.limit, min(progress.limit, len(self.plan.data)))
        self.finished = max(self.finished, progress.finished - self.plan.first)
        if self.rejected is not None and progress.rejected != self.rejected:
            self._lost_frame()
        self.rejected = progress.rejected

    def _lost_frame(self) -> None:
        """The device saw a damaged frame: go back at once, but once for each acknowledged point."""
        if self.accepted > self._resume_above:
            self._resume_above = self.accepted
            self._go_back()

    def _result(self, body: bytes, now: float) -> InputResult | None:
        head = Result.unpack(body)
        number = head.input - self.plan.first
        if head.run != self.plan.run or number < self.done:
            return None
        if number == self.done and head.offset < len(self._partial):
            return None
        if number > self.done or head.offset > len(self._partial):
            self._ask_again()
            return None
        self._check(head)
        self._partial += body[Result.byte_size() :]
        self._advance(now)
        if len(self._partial) < head.total_bytes:
            return None
        return self._finish(head)

    def _ask_again(self) -> None:
        """A result was lost. Ask once; the quiet timer asks again."""
        if self._asked_for != self.done or self._partial:
            self._asked_for = self.done
            self._want_resend = True

    def _check(self, head: Result) -> None:
        plan = self.plan
        number = head.input - plan.first
        if head.status:
            raise DeviceFault(
                f"the inference of input {head.input} failed: {describe_status(head.status)}"
            )
        at = number * plan.input_bytes
        if head.input_crc != zlib.crc32(plan.data[at : at + plan.input_bytes]):
            raise ProtocolError(
                f"the device computed input {head.input} from other bytes than were sent"
            )
        if head.output_bytes != plan.output_bytes or head.total_bytes != self._total_bytes():
            raise ProtocolError(
                f"the result of input {head.input} has {head.output_bytes} output bytes of "
                f"{head.total_bytes}; expected {plan.output_bytes} of {self._total_bytes()}"
            )

    def _total_bytes(self) -> int:
        if not self.plan.with_layers:
            return self.plan.output_bytes
        return (self.plan.output_bytes + 7) // 8 * 8 + 8 * self.plan.layers

    def _finish(self, head: Result) -> InputResult:
        data = bytes(self._partial)
        if len(data) != head.total_bytes:
            raise ProtocolError(
                f"the result of input {head.input} has {len(data)} bytes instead of "
                f"{head.total_bytes}"
            )
        self._partial.clear()
        self.done += 1
        at = (self.plan.output_bytes + 7) // 8 * 8
        layers = struct.unpack(f"<{self.plan.layers}Q", data[at:]) if self.plan.with_layers else ()
        return InputResult(
            number=head.input,
            outputs=data[: self.plan.output_bytes],
            laps=head.laps,
            cycles_min=head.cycles_min,
            cycles_median=head.cycles_median,
            cycles_max=head.cycles_max,
            layer_cycles=layers,
        )
