"""Ways to reach a device: bytes out, bytes in, nothing else.

A `Transport` carries its own clock, so that a simulated line can have simulated time. `open_port`
opens what a user names: a serial device, `socket://HOST:PORT` or `rfc2217://HOST:PORT`.
"""

from __future__ import annotations

from typing import Protocol


class Transport(Protocol):
    """A byte pipe to one device. All failures are BoardError."""

    @property
    def name(self) -> str:
        """What a message calls it, e.g. the port."""

    def read(self, timeout_s: float) -> bytes:
        """What has arrived; waits for the first byte at most `timeout_s` and may return b""."""

    def write(self, data: bytes) -> None:
        """Send all of `data`."""

    def set_baud(self, baud: int) -> bool:
        """Change this end's rate; False when the line has none or cannot have this one."""

    def now(self) -> float:
        """Seconds on the line's clock; they only grow."""

    def fileno(self) -> int | None:
        """What `select` can wait on for `read`, or None when reading must be tried."""

    def close(self) -> None:
        """Release it; a second call does nothing."""


def open_port(name: str, baud: int) -> Transport:
    """Open a serial device or URL. Raises BoardNotFound or BoardError with what to do."""
    if name.startswith("socket://"):
        from harness.transport.tcp import open_socket

        return open_socket(name)
    from harness.transport.serial_port import open_serial

    return open_serial(name, baud)
