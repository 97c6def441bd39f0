"""The host firmware as a library in this process, on a line and a clock that are simulated.

The same calls give the same bytes at the same virtual times, whatever this machine does meanwhile.
One instance at a time for each library file.
"""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from harness.errors import BoardError

NS_PER_S: Final = 1_000_000_000
_TAKE: Final = 65536


@dataclass(slots=True)
class MemoryTransport:
    """A loaded library. Virtual time passes only while `read` waits."""

    library: Any
    name: str
    _now_ns: int = 0
    _closed: bool = False

    def read(self, timeout_s: float) -> bytes:
        """See `Transport`."""
        self._check()
        # Rounded up: a wait shorter than the clock's step must still let time pass.
        until = self._now_ns + math.ceil(max(0.0, timeout_s) * NS_PER_S)
        self._now_ns = int(self.library.axr_memory_run(until))
        taken = ctypes.create_string_buffer(_TAKE)
        count = self.library.axr_memory_take(taken, _TAKE)
        return taken.raw[:count]

    def write(self, data: bytes) -> None:
        """See `Transport`."""
        self._check()
        if self.library.axr_memory_feed(data, len(data)) != len(data):
            raise BoardError(f"{self.name}: more bytes under way than the line holds")

    def set_baud(self, baud: int) -> bool:
        """See `Transport`."""
        self.library.axr_memory_host_baud(baud)
        return True

    def now(self) -> float:
        """See `Transport`."""
        return self._now_ns / NS_PER_S

    def fileno(self) -> int | None:
        """See `Transport`."""
        return None

    def close(self) -> None:
        """See `Transport`."""
        self._closed = True

    def press_reset(self) -> None:
        """Restart the firmware as its reset pin would."""
        self.library.axr_memory_reset()

    def _check(self) -> None:
        if self._closed:
            raise BoardError(f"{self.name}: the line was closed")


def load_memory(
    path: Path, *, baud: int = 0, ring_bytes: int = 16384, layer_ns: int = 0
) -> MemoryTransport:
    """Power up a library build. baud 0: an endless line. layer_ns: see port_memory.h."""
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise BoardError(f"{path} cannot be loaded: {error}") from error
    library.axr_memory_run.argtypes = [ctypes.c_uint64]
    library.axr_memory_run.restype = ctypes.c_uint64
    library.axr_memory_feed.argtypes = [ctypes.c_char_p, ctypes.c_uint32]
    library.axr_memory_take.argtypes = [ctypes.c_char_p, ctypes.c_uint32]
    library.axr_memory_start(baud, ring_bytes, layer_ns)
    return MemoryTransport(library, f"host library {path.name}")
