"""A conversation with the firmware: requests and runs over a `Transport`.

Requests wait for their answer and are repeated unchanged when it does not come; each of them may be
executed twice without harm. Runs are `harness.stream`'s. All failures are BoardError.
"""

from __future__ import annotations

import contextlib
import secrets
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from harness.errors import BoardError, DeviceFault, HarnessError, ProtocolError, TransportTimeout
from harness.firmware_status import LINK_SESSION, describe_status
from harness.protocol import (
    BAUD_TRIAL_MS,
    DATA_MAX,
    PROTOCOL_LEVEL,
    Baud,
    ErrorReply,
    Frame,
    FrameReader,
    Hello,
    HelloReply,
    Kind,
    Place,
    Read,
    ReadReply,
    Region,
    Slot,
    SlotOperation,
    SlotReply,
    Statistics,
    StatusReply,
    encode_frame,
)
from harness.stream import InputResult, RunMachine, RunPlan
from harness.transport import Transport

FAULT_CAUSES: Final = (
    "none",
    "hard fault",
    "memory fault",
    "bus fault",
    "usage fault",
    "secure fault",
    "stack overflow",
    "watchdog",
    "panic",
)
_MAX_PATIENCE_S: Final = 0.5
_SLOT_PIECE: Final = DATA_MAX // 16 * 16
_MAX_RUN_BYTES: Final = 1 << 30
"""Stream offsets are 32 bits; longer input sequences are several runs."""


class DeviceRestarted(DeviceFault):
    """The device lost the session: it was reset, or another program took it."""


@dataclass(frozen=True, slots=True)
class LinkOptions:
    """Times in seconds.

    patience_s: silence after which something is sent again. silence_s: silence after which the
    link counts as lost. stall_s: a run without any step forward counts as hung after this.
    restarts: how often a run may go on after a device restart. seed: makes session numbers the
    same in every run, for tests.
    """

    patience_s: float = 0.25
    silence_s: float = 5.0
    stall_s: float = 120.0
    restarts: int = 3
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What to do with each input: `warmup` laps, then `laps` measured ones.

    stateful: the model keeps state from input to input, so a run cannot go on after a restart.
    """

    laps: int = 1
    warmup: int = 0
    with_layers: bool = False
    stateful: bool = False


@dataclass(slots=True)
class LinkCounts:
    """What this end has seen."""

    sent_bytes: int = 0
    received_bytes: int = 0
    repeats: int = 0
    restarts: int = 0


@dataclass(slots=True)
class Link:
    """One open session, or none before `hello`."""

    transport: Transport
    options: LinkOptions = field(default_factory=LinkOptions)
    baud: int = 0
    counts: LinkCounts = field(default_factory=LinkCounts)
    _reader: FrameReader = field(default_factory=FrameReader)
    _session: int = 0
    _sequence: int = 0
    _run: int = 0
    _hello: HelloReply | None = None

    # ---- session ----

    @property
    def device(self) -> HelloReply:
        """What the device said of itself. Raises ProtocolError before `hello`."""
        if self._hello is None:
            raise ProtocolError(f"{self.transport.name}: no session is open")
        return self._hello

    @property
    def rejected(self) -> int:
        """Damaged frames that this end has seen."""
        return self._reader.rejected

    def hello(self) -> HelloReply:
        """Open a session: a new number, protocol level first.

        Raises TransportTimeout when nobody answers and ProtocolError when the levels differ.
        """
        self._session = self._new_session()
        self._run = 0
        body = self._ask(Kind.HELLO, Hello().pack())
        level = int.from_bytes(body[:2], "little")
        if level != PROTOCOL_LEVEL:
            raise ProtocolError(
                f"{self.transport.name}: the firmware speaks protocol level {level}, this host "
                f"level {PROTOCOL_LEVEL}: build and flash the firmware of this version"
            )
        self._hello = HelloReply.unpack(body)
        return self._hello

    def close(self) -> None:
        """End the session if there is one and close the transport; failures do not matter."""
        self.release().close()

    def release(self) -> Transport:
        """End the session if there is one and hand the transport over; failures do not matter."""
        hello, self._hello = self._hello, None
        if hello is not None:
            with contextlib.suppress(HarnessError):
                self._request_once(Kind.BYE)
                if self.baud != hello.default_baud:  # the device goes back to it, too
                    self.transport.set_baud(hello.default_baud)
                    self.baud = hello.default_baud
        return self.transport

    def _new_session(self) -> int:
        if self.options.seed is None:
            return secrets.randbelow(0xFFFFFFFF) + 1
        return (self.options.seed * 1000003 + self.counts.restarts + self._sequence) % 0xFFFFFF + 1

    # ---- requests ----

    def statistics(self) -> Statistics:
        """The device's counters."""
        return Statistics.unpack(self._ask(Kind.STATISTICS))

    def echo(self, data: bytes) -> bytes:
        """`data` as it comes back; at most DATA_MAX bytes."""
        return self._ask(Kind.ECHO, data)

    def read(self, region: Region, offset: int = 0, size: int | None = None) -> bytes:
        """Bytes of a region; all from `offset` on when no size is given."""
        out = bytearray()
        while size is None or len(out) < size:
            at = offset + len(out)
            if size is None:
                size = self._region_bytes(region) - offset
                continue
            part = Read(int(region), at, min(DATA_MAX, size - len(out)))
            body = self._ask(Kind.READ, part.pack())
            head = ReadReply.unpack(body)
            data = body[ReadReply.byte_size() :]
            if head.offset != at or len(data) != part.size:
                raise ProtocolError(f"asked for {part}, got {len(data)} bytes from {head.offset}")
            out += data
        return bytes(out)

    def _region_bytes(self, region: Region) -> int:
        return ReadReply.unpack(self._ask(Kind.READ, Read(int(region), 0, 0).pack())).total_bytes

    def upload(self, image: bytes, place: Place = Place.RAM) -> HelloReply:
        """Put a model image into a slot, open it, and return the new hello.

        Raises DeviceFault with the firmware's reason when it refuses the slot or the model.
        """
        self._slot(Slot(SlotOperation.BEGIN, place, len(image)))
        for at in range(0, len(image), _SLOT_PIECE):
            piece = image[at : at + _SLOT_PIECE]
            self._slot(Slot(SlotOperation.WRITE, place, at), piece)
        self._slot(Slot(SlotOperation.COMMIT, place, len(image), zlib.crc32(image)))
        return self.hello()

    def select(self, place: Place = Place.BUILT_IN) -> HelloReply:
        """Open the model of a place anew (its state starts over); returns the new hello."""
        self._slot(Slot(SlotOperation.SELECT, place))
        return self.hello()

    def _slot(self, step: Slot, data: bytes = b"") -> None:
        reply = SlotReply.unpack(self._ask(Kind.SLOT, step.pack() + data))
        if reply.status:
            raise DeviceFault(
                f"{self.transport.name}: the model slot refused "
                f"{SlotOperation(step.operation).name.lower()}: {describe_status(reply.status)}"
            )

    def reset(self) -> None:
        """Restart the device; the session is gone."""
        self._ask(Kind.RESET)
        self._hello = None

    def raise_baud(self, rates: tuple[int, ...]) -> int:
        """Try rates from the highest; keep the first that is clean, else the present one.

        A rate is clean when a burst of echoes comes back whole. Returns the rate.
        """
        for rate in sorted(rates, reverse=True):
            if self.baud < rate <= self.device.max_baud and self._try_baud(rate):
                break
        return self.baud

    def _try_baud(self, rate: int) -> bool:
        before = self.baud
        status = StatusReply.unpack(self._ask(Kind.BAUD, Baud(rate).pack())).status
        if status or not self.transport.set_baud(rate):
            self._sleep(BAUD_TRIAL_MS / 1000)
            return False
        try:
            if self.echo_burst() == 0:
                self.baud = rate
                return True
        except BoardError:
            self.counts.repeats += 1
        self.transport.set_baud(before)
        self._sleep(1.5 * BAUD_TRIAL_MS / 1000)
        self.hello()
        return False

    def echo_burst(self, frames: int = 8) -> int:
        """Send echo frames back to back; returns how many did not come back whole."""
        size = min(DATA_MAX, max(64, self.device.window_bytes // (frames + 1)))
        wanted: dict[int, bytes] = {}
        for index in range(frames):
            data = bytes((index * 37 + at * (index + 1)) & 0xFF for at in range(size))
            wanted[self._next_sequence()] = data
            self._send(Kind.ECHO, data, self._sequence)
        end = self._now() + 1.0 + 2 * self._byte_s() * size * frames
        while wanted and self._now() < end:
            for frame in self._receive(end - self._now()):
                if (
                    frame.kind == Kind.ECHO + Kind.REPLY
                    and wanted.get(frame.sequence) == frame.body
                ):
                    del wanted[frame.sequence]
        return len(wanted)

    # ---- runs ----

    def infer(
        self,
        data: bytes | memoryview,
        options: RunOptions | None = None,
        on_result: Callable[[InputResult], None] | None = None,
    ) -> list[InputResult]:
        """Run inputs that lie one after the other in `data`; results in input order, each once.

        A device that restarts on the way goes on with the first input that has no result, unless
        the model keeps state. Raises BoardError; its sentence says which inputs are done, and
        `on_result` has been called for each of those.
        """
        chosen = options or RunOptions()
        view = memoryview(data).cast("B")
        size = self.device.input_bytes
        if not size or len(view) % size or not len(view):
            raise ProtocolError(
                f"{len(view)} bytes are no whole number of inputs of {size} bytes each"
            )
        results: list[InputResult] = []

        def keep(result: InputResult) -> None:
            results.append(result)
            if on_result:
                on_result(result)

        try:
            self._infer_all(view, chosen, keep, results)
        except BoardError as error:
            raise _with_progress(error, len(results), len(view) // size) from error
        return results

    def _infer_all(
        self,
        view: memoryview,
        options: RunOptions,
        keep: Callable[[InputResult], None],
        results: list[InputResult],
    ) -> None:
        size = self.device.input_bytes
        step = max(1, _MAX_RUN_BYTES // size) * size
        restarts = 0
        while len(results) * size < len(view):
            at = len(results) * size
            before = len(results)
            try:
                self._run_once(view[at : at + step], before, options, keep)
            except (DeviceRestarted, TransportTimeout) as error:
                restarts += 1
                if restarts > self.options.restarts or options.stateful:
                    raise
                self._recover(error)

    def _run_once(
        self,
        view: memoryview,
        first: int,
        options: RunOptions,
        keep: Callable[[InputResult], None],
    ) -> None:
        self._run += 1
        machine = RunMachine(self._plan(view, first, options), self._now())
        heard_at = self._now()
        while not machine.complete:
            sent = False
            for kind, body in machine.messages(self._now()):
                self._send(kind, body, self._next_sequence())
                sent = True
            for frame in self._receive(0.0 if sent else max(machine.wait_s(self._now()), 1e-4)):
                heard_at = self._now()
                self._check_error(frame)
                result = machine.receive(frame, heard_at)
                if result is not None:
                    keep(result)
            self._check_times(heard_at, machine)
        self.counts.repeats += machine.resent_frames

    def _plan(self, view: memoryview, first: int, options: RunOptions) -> RunPlan:
        device = self.device
        return RunPlan(
            data=view,
            input_bytes=device.input_bytes,
            run=self._run,
            first=first,
            laps=options.laps,
            warmup=options.warmup,
            with_layers=options.with_layers,
            output_bytes=device.output_bytes,
            layers=device.layers,
            result_slots=device.result_slots,
            input_slots=device.input_slots,
            window_bytes=device.window_bytes,
            patience_s=self.options.patience_s,
            byte_s=self._byte_s(),
        )

    def _check_times(self, heard_at: float, machine: RunMachine) -> None:
        if self._now() - heard_at > self.options.silence_s:
            raise TransportTimeout(
                f"{self.transport.name}: the device has been silent for "
                f"{self.options.silence_s:g} s"
            )
        if self._now() - machine.advanced_at > self.options.stall_s:
            raise ProtocolError(
                f"{self.transport.name}: the device answers, but the run has not moved for "
                f"{self.options.stall_s:g} s"
            )

    def _recover(self, error: BoardError) -> None:
        """Find the device again: at this rate, then at the one it has after a reset."""
        known = self.device
        self.counts.restarts += 1
        try:
            fresh = self.hello()
        except TransportTimeout:
            if self.baud in (0, known.default_baud):
                raise
            self.transport.set_baud(known.default_baud)
            self.baud = known.default_baud
            fresh = self.hello()
        if _identity(fresh) != _identity(known):
            raise DeviceFault(
                f"{self.transport.name}: another firmware or model answers after: {error}"
            ) from error
        if fresh.fault_cause:
            raise DeviceFault(f"{self.transport.name}: {fault_text(fresh)}") from error

    # ---- frames ----

    def _ask(self, kind: Kind, body: bytes = b"") -> bytes:
        """The answer's body. Raises TransportTimeout, DeviceFault, DeviceRestarted."""
        sequence = self._next_sequence()
        end = self._now() + self.options.silence_s
        patience = self.options.patience_s + 4 * self._byte_s() * (len(body) + 64)
        attempts = 0
        while True:
            self._send(kind, body, sequence)
            self.counts.repeats += attempts > 0
            attempts += 1
            answer = self._answer(kind, sequence, min(end, self._now() + patience))
            if answer is not None:
                return answer
            if self._now() >= end:
                raise TransportTimeout(
                    f"{self.transport.name}: no answer to {kind.name} within "
                    f"{self.options.silence_s:g} s ({attempts} attempts, {self.rejected} damaged "
                    "frames received): check port, rate and power"
                )
            patience = min(2 * patience, max(patience, _MAX_PATIENCE_S))

    def _request_once(self, kind: Kind) -> None:
        sequence = self._next_sequence()
        self._send(kind, b"", sequence)
        self._answer(kind, sequence, self._now() + self.options.patience_s)

    def _answer(self, kind: Kind, sequence: int, end: float) -> bytes | None:
        while self._now() < end:
            for frame in self._receive(end - self._now()):
                if frame.sequence != sequence:
                    continue
                if frame.kind == kind + Kind.REPLY:
                    return frame.body
                self._check_error(frame)
        return None

    def _check_error(self, frame: Frame) -> None:
        if frame.kind != Kind.ERROR:
            return
        error = ErrorReply.unpack(frame.body)
        if error.status == LINK_SESSION:
            raise DeviceRestarted(
                f"{self.transport.name}: the device no longer knows this session: it was reset, "
                "or another program opened it"
            )
        raise DeviceFault(
            f"{self.transport.name}: the firmware refused {_kind_name(error.kind)}: "
            f"{describe_status(error.status)}"
        )

    def _send(self, kind: Kind, body: bytes, sequence: int) -> None:
        data = encode_frame(Frame(kind, sequence, self._session, body))
        self.counts.sent_bytes += len(data)
        self.transport.write(data)

    def _receive(self, timeout_s: float) -> Iterator[Frame]:
        """Frames of this session that have arrived; waits for bytes once."""
        data = self.transport.read(max(0.0, timeout_s))
        self.counts.received_bytes += len(data)
        for frame in list(self._reader.feed(data)):
            if frame.session == self._session:
                yield frame

    def _next_sequence(self) -> int:
        self._sequence = (self._sequence + 1) & 0xFFFF
        return self._sequence

    def _sleep(self, seconds: float) -> None:
        """Let the line fall silent; what arrives meanwhile belongs to no one."""
        end = self._now() + seconds
        while self._now() < end:
            self.transport.read(end - self._now())

    def _now(self) -> float:
        return self.transport.now()

    def _byte_s(self) -> float:
        return 10.0 / self.baud if self.baud else 0.0


@dataclass(frozen=True, slots=True)
class Identity:
    """What must not change under a session."""

    build_id: bytes
    model_hash: bytes
    model_place: int
    input_bytes: int
    output_bytes: int


def _identity(hello: HelloReply) -> Identity:
    return Identity(
        hello.build_id,
        hello.model_hash,
        hello.model_place,
        hello.input_bytes,
        hello.output_bytes,
    )


def fault_text(hello: HelloReply) -> str:
    """A sentence about the fault that the device recorded."""
    cause = hello.fault_cause
    name = FAULT_CAUSES[cause] if cause < len(FAULT_CAUSES) else f"fault {cause}"
    return (
        f"the firmware stopped with a {name} at 0x{hello.fault_pc:08x} (called from "
        f"0x{hello.fault_lr:08x}, status 0x{hello.fault_status:08x}, address "
        f"0x{hello.fault_address:08x})"
    )


def _kind_name(kind: int) -> str:
    try:
        return Kind(kind).name
    except ValueError:
        return f"a frame of kind {kind}"


def _with_progress(error: BoardError, done: int, total: int) -> BoardError:
    """The same error, with the inputs that are done in its sentence."""
    if done == 0:
        text = f"none of {total} inputs is done"
    elif done == 1:
        text = f"input 0 of {total} is done"
    else:
        text = f"inputs 0 to {done - 1} of {total} are done"
    return type(error)(f"{error}; {text}")
