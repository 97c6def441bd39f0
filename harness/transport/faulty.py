"""A line that loses, flips, repeats, splits and delays bytes, for tests. Repeatable by its seed."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from harness.errors import BoardError
from harness.transport import Transport

_KINDS: Final = ("drop", "flip", "duplicate", "split", "stall")


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """What goes wrong. drop, flip, duplicate, split, stall: events per byte, in both directions.

    unplug_after, reset_after: bytes (both directions together) after which the line is gone, or
    the device restarts once. stall_s: longest stall.
    """

    seed: int
    drop: float = 0.0
    flip: float = 0.0
    duplicate: float = 0.0
    split: float = 0.0
    stall: float = 0.0
    stall_s: float = 0.5
    unplug_after: int | None = None
    reset_after: int | None = None

    @property
    def rate(self) -> float:
        """Events per byte."""
        return self.drop + self.flip + self.duplicate + self.split + self.stall


@dataclass(slots=True)
class _Direction:
    """Bytes under way in one direction; `open_at` is when a stall or split ends."""

    random: random.Random
    plan: FaultPlan
    held: bytearray = field(default_factory=bytearray)
    open_at: float = 0.0
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_KINDS, 0))

    def push(self, data: bytes, now: float) -> None:
        """Take bytes in, with whatever happens to them."""
        at = 0
        while at < len(data):
            gap = int(self.random.expovariate(self.plan.rate)) if self.plan.rate else len(data)
            self.held += data[at : at + gap]
            at += gap
            if at < len(data):
                at = self._event(data, at, now)

    def _event(self, data: bytes, at: int, now: float) -> int:
        weights = [getattr(self.plan, kind) for kind in _KINDS]
        kind = self.random.choices(_KINDS, weights)[0]
        self.counts[kind] += 1
        length = self.random.randint(1, 24)
        if kind == "drop":
            return at + length
        if kind == "flip":
            self.held.append(data[at] ^ (1 << self.random.randrange(8)))
            return at + 1
        if kind == "duplicate":
            self.held += data[at : at + length]
            return at
        limit = 0.002 if kind == "split" else self.plan.stall_s
        self.open_at = max(self.open_at, now + self.random.uniform(0, limit))
        return at

    def pull(self, now: float) -> bytes:
        """What has got through by now."""
        if now < self.open_at:
            return b""
        data = bytes(self.held)
        self.held.clear()
        return data


@dataclass(slots=True)
class FaultyTransport:
    """`inner` behind a bad line. `reset` restarts the device when the plan asks for it."""

    inner: Transport
    plan: FaultPlan
    reset: Callable[[], None] | None = None
    passed: int = 0
    resets: int = 0
    _out: _Direction = field(init=False)
    _in: _Direction = field(init=False)

    def __post_init__(self) -> None:
        self._out = _Direction(random.Random(self.plan.seed * 2), self.plan)  # noqa: S311  # faults
        self._in = _Direction(random.Random(self.plan.seed * 2 + 1), self.plan)  # noqa: S311  # faults

    @property
    def name(self) -> str:
        """See `Transport`."""
        return f"{self.inner.name} (faulty)"

    @property
    def counts(self) -> dict[str, int]:
        """Events so far, by kind, both directions."""
        return {kind: self._out.counts[kind] + self._in.counts[kind] for kind in _KINDS}

    def read(self, timeout_s: float) -> bytes:
        """See `Transport`."""
        self._flush()
        end = self.now() + max(0.0, timeout_s)
        while True:
            self._in.push(self._count(self.inner.read(self._step(end))), self.now())
            self._flush()
            data = self._in.pull(self.now())
            if data or self.now() >= end:
                return data

    def write(self, data: bytes) -> None:
        """See `Transport`."""
        self._out.push(self._count(data), self.now())
        self._flush()

    def set_baud(self, baud: int) -> bool:
        """See `Transport`."""
        return self.inner.set_baud(baud)

    def now(self) -> float:
        """See `Transport`."""
        return self.inner.now()

    def fileno(self) -> int | None:
        """See `Transport`."""
        return None

    def close(self) -> None:
        """See `Transport`."""
        self.inner.close()

    def _step(self, end: float) -> float:
        """How long to wait at once: a stall may end before the timeout."""
        now = self.now()
        waits = [end, *(side.open_at for side in (self._in, self._out) if side.open_at > now)]
        return max(0.0, min(waits) - now)

    def _flush(self) -> None:
        data = self._out.pull(self.now())
        if data:
            self.inner.write(data)

    def _count(self, data: bytes) -> bytes:
        self.passed += len(data)
        if self.plan.unplug_after is not None and self.passed >= self.plan.unplug_after:
            raise BoardError(f"{self.name}: the line is gone (unplugged)")
        if (
            self.plan.reset_after is not None
            and self.passed >= self.plan.reset_after
            and not self.resets
            and self.reset
        ):
            self.resets += 1
            self.reset()
        return data
