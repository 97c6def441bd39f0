"""A serial device or a URL that pyserial knows (`rfc2217://`, `loop://`)."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from harness.errors import BoardError, BoardNotFound


@dataclass(slots=True)
class SerialTransport:
    """An open pyserial port."""

    port: Any
    name: str

    def read(self, timeout_s: float) -> bytes:
        """See `Transport`."""
        try:
            self.port.timeout = max(0.0, timeout_s)
            first: bytes = self.port.read(max(1, min(self.port.in_waiting, 65536)))
            waiting = self.port.in_waiting if first else 0
            return first + (self.port.read(waiting) if waiting else b"")
        except (OSError, ValueError, TypeError) as error:
            raise BoardError(f"{self.name}: reading failed: {error}") from error

    def write(self, data: bytes) -> None:
        """See `Transport`."""
        try:
            self.port.write(data)
        except (OSError, ValueError, TypeError) as error:
            raise BoardError(f"{self.name}: writing failed: {error}") from error

    def set_baud(self, baud: int) -> bool:
        """See `Transport`."""
        before = self.port.baudrate
        try:
            self.port.flush()
            self.port.baudrate = baud
        except (OSError, ValueError) as error:
            if not self.port.is_open:
                raise BoardError(f"{self.name}: the rate cannot be set: {error}") from error
            self.port.baudrate = before
            return False
        return True

    def now(self) -> float:
        """See `Transport`."""
        return time.monotonic()

    def fileno(self) -> int | None:
        """See `Transport`."""
        try:
            number: int = self.port.fileno()
        except (OSError, AttributeError):
            return None
        return number

    def close(self) -> None:
        """See `Transport`."""
        self.port.close()


def open_serial(name: str, baud: int) -> SerialTransport:
    """Open a port for exclusive use. Raises BoardNotFound or BoardError with what to do."""
    import serial

    options = {} if "://" in name else {"exclusive": True}
    try:
        port = serial.serial_for_url(name, baudrate=baud, timeout=0, do_not_open=True)
        for key, value in options.items():
            setattr(port, key, value)
        port.open()
    except ValueError as error:
        raise BoardNotFound(f"{name}: not a serial port or URL ({error})") from error
    except OSError as error:
        text = str(error)
        if "exclusively lock" in text or "EBUSY" in text or getattr(error, "errno", 0) == 16:
            raise BoardError(f"{name}: another program uses this port; close it") from error
        if getattr(error, "errno", 0) == 13:
            raise BoardError(
                f"{name}: no permission; add your user to the group that owns the port"
            ) from error
        raise BoardNotFound(f"{name}: the port cannot be opened ({text})") from error
    return SerialTransport(port, name)
