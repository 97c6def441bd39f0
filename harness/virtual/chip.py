"""The peripherals of the emulated nRF54L15 that the firmware touches.

Registers without behaviour keep what was written. Time comes from the machine: one cycle per
executed instruction. The serial line takes no time of its own; received bytes come in bursts, two
byte times apart, and wait while the firmware does not look.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from typing import Final

from harness.errors import BoardError
from harness.virtual.register_map import RegisterMap

CLOCK_HZ: Final = 128_000_000
BURST_BYTES: Final = 1024
RESET_REQUEST: Final = 1 << 6
"""RESETREAS: reset by software."""

_PART: Final = 0x00054B15
_BYTE_BITS: Final = 10
_BAUD_UNIT: Final = 16_000_000 / 2**32
"""The BAUDRATE register counts in this many baud."""

_AT_RESET: Final[Mapping[str, int]] = {
    "FICR_PART": _PART,
    "FICR_DEVICEID0": 0x54524956,
    "FICR_DEVICEID1": 0x4C343546,
    "FICR_CHIP_REVISION": 2,
    "FICR_XOSC32MTRIM": 0,
    "OSCILLATORS_PLL_FREQ": 3,
    "OSCILLATORS_PLL_CURRENTFREQ": 3,
    "GLITCHDET_CONFIG": 1,
    "RRAMC_READY": 1,
    "TAMPC_DOMAIN0_DBGEN": 0x10,
    "TAMPC_DOMAIN0_NIDEN": 0x10,
    "TAMPC_DOMAIN0_SPIDEN": 0x10,
    "TAMPC_DOMAIN0_SPNIDEN": 0x10,
    "TAMPC_AP0_DBGEN": 0x10,
    "UARTE_BAUDRATE": 0x04000000,
}
_READ_ONLY: Final = ("FICR_",)


class UnmodelledAccess(BoardError):
    """The firmware used something that the emulated board does not have."""


class SerialLine:
    """Bytes between the host and the chip; both sides may be in different threads.

    readable_fd: readable, for `select`, while bytes wait for the host.
    """

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self._to_chip = bytearray()
        self._to_host = bytearray()
        self.readable_fd, self._signal_fd = os.pipe()

    def close(self) -> None:
        """Release the descriptors."""
        os.close(self.readable_fd)
        os.close(self._signal_fd)

    def host_writes(self, data: bytes) -> None:
        """Queue bytes for the chip."""
        with self.changed:
            self._to_chip += data
            self.changed.notify_all()

    def host_takes(self, limit: int) -> bytes:
        """At most `limit` bytes that the chip sent. The caller holds `changed`."""
        data = bytes(self._to_host[:limit])
        del self._to_host[:limit]
        if data and not self._to_host:
            os.read(self.readable_fd, 1)
        return data

    def chip_writes(self, data: bytes) -> None:
        """What the chip sent."""
        with self.changed:
            if data and not self._to_host:
                os.write(self._signal_fd, b"\0")
            self._to_host += data
            self.changed.notify_all()

    def chip_takes(self, limit: int) -> bytes:
        """At most `limit` bytes for the chip."""
        with self.changed:
            data = bytes(self._to_chip[:limit])
            del self._to_chip[:limit]
            return data

    @property
    def chip_has_input(self) -> bool:
        """Whether bytes wait for the chip."""
        return bool(self._to_chip)

    @property
    def host_has_input(self) -> bool:
        """Whether bytes wait for the host."""
        return bool(self._to_host)


class Chip:
    """Registers by address. `read` and `write` raise UnmodelledAccess.

    now: executed cycles. fetch: the chip's memory, as its DMA sees it; raises ValueError outside of
    RAM. store: writes there and returns how many bytes were in RAM. reset: called when the firmware
    asks for one. unlock: makes the model slot in flash writable or not.
    """

    def __init__(
        self,
        registers: RegisterMap,
        line: SerialLine,
        now: Callable[[], int],
        fetch: Callable[[int, int], bytes],
        store: Callable[[int, bytes], int],
        reset: Callable[[], None],
        unlock: Callable[[bool], None],
    ) -> None:
        self._map = registers
        self._line = line
        self._now = now
        self._fetch = fetch
        self._store = store
        self._reset = reset
        self._unlock = unlock
        self._values: dict[str, int] = {}
        self._readers: dict[str, Callable[[], int]] = {
            "DWT_CYCCNT": lambda: (self._now() - self._cycles_from) & 0xFFFFFFFF,
            "OSCILLATORS_PLL_CURRENTFREQ": lambda: self._values["OSCILLATORS_PLL_FREQ"],
        }
        self._writers: dict[str, Callable[[int], None]] = {
            "DWT_CYCCNT": self._set_cycles,
            "CLOCK_TASKS_XOSTART": lambda _: self._set("CLOCK_EVENTS_XOSTARTED", 1),
            "RRAMC_CONFIG": self._configure_flash,
            "RESET_RESETREAS": self._clear_bits("RESET_RESETREAS"),
            "UARTE_ERRORSRC": self._clear_bits("UARTE_ERRORSRC"),
            "SCB_CFSR": self._clear_bits("SCB_CFSR"),
            "SCB_AIRCR": self._request_reset,
            "UARTE_TASKS_DMA_RX_START": self._start_reception,
            "UARTE_TASKS_DMA_RX_STOP": self._stop_reception,
            "UARTE_TASKS_DMA_TX_START": self._transmit,
            "UARTE_DMA_RX_PTR": self._set_receive_pointer,
            "TIMER_TASKS_CLEAR": self._clear_counter,
            "TIMER_TASKS_CAPTURE0": self._capture,
            "DPPIC_CHENSET": lambda bits: self._set(
                "DPPIC_CHENSET", self._get("DPPIC_CHENSET") | bits
            ),
        }
        self.restart(0)

    def restart(self, reset_reason: int) -> None:
        """All registers as after a reset."""
        self._values = {"OSCILLATORS_PLL_FREQ": 3, **_AT_RESET, "RESET_RESETREAS": reset_reason}
        self._cycles_from = self._now()
        self._count = 0
        self._receiving = False
        self._latched = 0
        self._next_burst = 0

    def read(self, address: int, size: int) -> int:
        """The register's value."""
        name = self._name(address, size, "read")
        reader = self._readers.get(name)
        return reader() if reader else self._get(name)

    def write(self, address: int, size: int, value: int) -> None:
        """What writing does."""
        name = self._name(address, size, "wrote")
        if name.startswith(_READ_ONLY):
            raise UnmodelledAccess(f"the firmware wrote {value:#x} to the read-only {name}")
        writer = self._writers.get(name)
        if writer:
            writer(value)
        else:
            self._set(name, value)

    def set_fault(self, status: int, address: int) -> None:
        """What the core's fault registers say."""
        self._set("SCB_CFSR", self._get("SCB_CFSR") | status)
        self._set("SCB_BFAR", address)
        self._set("SCB_MMFAR", address)

    @property
    def vector_table(self) -> int:
        """Address of the vector table."""
        return self._get("SCB_VTOR")

    def _name(self, address: int, size: int, verb: str) -> str:
        name = self._map.names.get(address)
        if name is None or size != 4:
            raise UnmodelledAccess(
                f"the firmware {verb} {size} bytes at {address:#010x} "
                f"({self._map.place(address)}), which the emulated board does not model "
                "(docs/virtual-board.md)"
            )
        return name

    def _get(self, name: str) -> int:
        if name.startswith("FICR_TRIMCNF"):
            return 0xFFFFFFFF
        return self._values.get(name, 0)

    def _set(self, name: str, value: int) -> None:
        self._values[name] = value & 0xFFFFFFFF

    def _clear_bits(self, name: str) -> Callable[[int], None]:
        return lambda bits: self._set(name, self._get(name) & ~bits)

    def _set_cycles(self, value: int) -> None:
        self._cycles_from = self._now() - value

    def _configure_flash(self, value: int) -> None:
        if value & ~1:
            raise UnmodelledAccess(f"RRAMC_CONFIG = {value:#x}: buffered writes are not modelled")
        self._set("RRAMC_CONFIG", value)
        self._unlock(bool(value))

    def _request_reset(self, value: int) -> None:
        if value == 0x05FA0004:
            self._reset()

    # ---- reception: EasyDMA with one byte per transfer, its pointer in an array list ----

    def _start_reception(self, _: int) -> None:
        wanted = {
            "UARTE_ENABLE": 8,
            "UARTE_DMA_RX_MAXCNT": 1,
            "UARTE_DMA_RX_LIST": 1,
        }
        for name, value in wanted.items():
            if self._get(name) != value:
                raise UnmodelledAccess(
                    f"reception started with {name} = {self._get(name)}; the emulated board models "
                    f"only {value}"
                )
        if not self._get("UARTE_SHORTS") & 1 << 5:
            raise UnmodelledAccess(
                "reception started without the shortcut from END to START; the emulated board "
                "models only continuous reception"
            )
        self._receiving = True
        self._next_transfer()

    def _next_transfer(self) -> None:
        """A transfer takes the pointer's value when it starts, and the list advances it."""
        self._latched = self._get("UARTE_DMA_RX_PTR")
        self._set("UARTE_DMA_RX_PTR", self._latched + 1)
        self._set("UARTE_EVENTS_DMA_RX_READY", 1)

    def _stop_reception(self, _: int) -> None:
        self._receiving = False
        self._set("UARTE_EVENTS_RXTO", 1)

    def _set_receive_pointer(self, value: int) -> None:
        self._set("UARTE_DMA_RX_PTR", value)
        if self._receiving:  # the byte under way needs the rest of its time
            self._next_burst = max(self._next_burst, self._now() + self._byte_cycles)

    @property
    def _byte_cycles(self) -> int:
        baud = max(1.0, self._get("UARTE_BAUDRATE") * _BAUD_UNIT)
        return int(CLOCK_HZ / baud * _BYTE_BITS)

    def _receive(self) -> None:
        if not (self._receiving and self._line.chip_has_input and self._now() >= self._next_burst):
            return
        data = self._line.chip_takes(BURST_BYTES)
        stored = self._store(self._latched, data[:1])
        if stored and len(data) > 1:
            stored += self._store(self._get("UARTE_DMA_RX_PTR"), data[1:])
            self._set("UARTE_DMA_RX_PTR", self._get("UARTE_DMA_RX_PTR") + stored - 1)
        if self._is_counted:
            self._count = (self._count + stored) & 0xFFFFFFFF
        if stored < len(data):  # past the end of memory; the other bytes are lost
            self._receiving = False
            self._set("UARTE_EVENTS_DMA_RX_BUSERROR", 1)
            return
        self._next_transfer()
        self._next_burst = self._now() + 2 * self._byte_cycles

    @property
    def _is_counted(self) -> bool:
        published = self._get("UARTE_PUBLISH_DMA_RX_END")
        enabled = published >> 31 and self._get("DPPIC_CHENSET") >> (published & 0xFF) & 1
        return bool(enabled) and published == self._get("TIMER_SUBSCRIBE_COUNT")

    def _clear_counter(self, _: int) -> None:
        self._count = 0

    def _capture(self, _: int) -> None:
        self._receive()
        self._set("TIMER_CC0", self._count)

    # ---- transmission ----

    def _transmit(self, _: int) -> None:
        address, size = self._get("UARTE_DMA_TX_PTR"), self._get("UARTE_DMA_TX_MAXCNT")
        try:
            data = self._fetch(address, size)
        except ValueError:
            raise UnmodelledAccess(
                f"the UART was told to send {size} bytes at {address:#010x}, which is not RAM"
            ) from None
        self._line.chip_writes(data)
        self._set("UARTE_EVENTS_TXSTOPPED", 1)
