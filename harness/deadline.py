"""One deadline, made where a command starts and passed down."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from harness.errors import TransportTimeout

Clock = Callable[[], float]
"""Seconds that only grow."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment on a clock."""

    end_s: float
    clock: Clock

    @classmethod
    def after(cls, seconds: float, clock: Clock = time.monotonic) -> Deadline:
        """The moment `seconds` from now."""
        return cls(clock() + seconds, clock)

    @property
    def remaining_s(self) -> float:
        """Seconds left, 0 when the moment has passed."""
        return max(0.0, self.end_s - self.clock())

    @property
    def passed(self) -> bool:
        """Whether no time is left."""
        return self.remaining_s == 0.0

    def check(self, what: str) -> None:
        """Raise TransportTimeout once the moment has passed; `what` was waited for."""
        if self.passed:
            raise TransportTimeout(f"the deadline passed while waiting for {what}")

    def soonest(self, seconds: float) -> float:
        """`seconds`, or what is left when that is less."""
        return min(seconds, self.remaining_s)
