"""Registers of the emulated chip: what it refuses, and how bytes move."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from harness.virtual.chip import CLOCK_HZ, Chip, SerialLine, UnmodelledAccess
from harness.virtual.register_map import read_register_map

RAM_START, RAM_BYTES = 0x20000000, 256
MAP = read_register_map("AXR_CHIP_NRF54L15")


class Bench:
    """A chip with 256 bytes of RAM and a clock that the test sets."""

    def __init__(self) -> None:
        self.now = 0
        self.ram = bytearray(RAM_BYTES)
        self.resets = 0
        self.unlocked: list[bool] = []
        self.line = SerialLine()
        self.chip = Chip(
            MAP,
            self.line,
            lambda: self.now,
            self._fetch,
            self._store,
            self._reset,
            self.unlocked.append,
        )

    def _fetch(self, address: int, size: int) -> bytes:
        at = address - RAM_START
        if not 0 <= at <= RAM_BYTES - size:
            raise ValueError(address)
        return bytes(self.ram[at : at + size])

    def _store(self, address: int, data: bytes) -> int:
        part = data[: max(0, RAM_START + RAM_BYTES - address)]
        self.ram[address - RAM_START : address - RAM_START + len(part)] = part
        return len(part)

    def _reset(self) -> None:
        self.resets += 1

    def write(self, name: str, value: int) -> None:
        self.chip.write(MAP.addresses[name], 4, value)

    def read(self, name: str) -> int:
        return self.chip.read(MAP.addresses[name], 4)

    def receive(self, pointer: int = RAM_START) -> None:
        """Start continuous reception, counted by the timer."""
        for name, value in (
            ("UARTE_ENABLE", 8),
            ("UARTE_BAUDRATE", 0x10000000),
            ("UARTE_SHORTS", 1 << 5),
            ("UARTE_DMA_RX_LIST", 1),
            ("UARTE_DMA_RX_MAXCNT", 1),
            ("UARTE_DMA_RX_PTR", pointer),
            ("UARTE_PUBLISH_DMA_RX_END", 1 << 31),
            ("TIMER_SUBSCRIBE_COUNT", 1 << 31),
            ("DPPIC_CHENSET", 1),
            ("UARTE_TASKS_DMA_RX_START", 1),
        ):
            self.write(name, value)

    def count(self) -> int:
        self.write("TIMER_TASKS_CAPTURE0", 1)
        return self.read("TIMER_CC0")


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.line.close()


def test_bytes_go_to_memory_in_a_row_and_are_counted(bench: Bench) -> None:
    bench.receive()
    bench.line.host_writes(b"abc")
    assert bench.count() == 3
    assert bench.ram[:4] == b"abc\0"
    assert bench.read("UARTE_DMA_RX_PTR") == RAM_START + 4  # of the transfer after the next


def test_a_new_pointer_counts_from_the_transfer_after_the_one_under_way(bench: Bench) -> None:
    bench.receive()
    bench.line.host_writes(b"ab")
    assert bench.count() == 2
    bench.write("UARTE_DMA_RX_PTR", RAM_START + 100)
    bench.now += CLOCK_HZ
    bench.line.host_writes(b"cde")
    assert bench.count() == 5
    assert bench.ram[:4] == b"abc\0"
    assert bench.ram[100:102] == b"de"


def test_bursts_are_two_byte_times_apart(bench: Bench) -> None:
    bench.receive()
    bench.line.host_writes(b"a")
    assert bench.count() == 1
    bench.line.host_writes(b"b")
    assert bench.count() == 1
    bench.now += 2 * 10 * 128
    assert bench.count() == 2


def test_the_end_of_memory_is_a_bus_error(bench: Bench) -> None:
    bench.receive(RAM_START + RAM_BYTES - 3)
    bench.line.host_writes(b"12345")
    assert bench.count() == 3
    assert bench.read("UARTE_EVENTS_DMA_RX_BUSERROR") == 1
    assert bench.ram[-3:] == b"123"


def test_nothing_arrives_without_the_timer_or_the_receiver(bench: Bench) -> None:
    bench.line.host_writes(b"a")
    assert bench.count() == 0
    bench.receive()
    bench.write("TIMER_SUBSCRIBE_COUNT", 0)
    assert bench.count() == 0
    assert bench.ram[:1] == b"a"
    bench.write("UARTE_TASKS_DMA_RX_STOP", 1)
    assert bench.read("UARTE_EVENTS_RXTO") == 1


def test_transmission_takes_bytes_from_memory(bench: Bench) -> None:
    bench.ram[:2] = b"ok"
    bench.write("UARTE_DMA_TX_PTR", RAM_START)
    bench.write("UARTE_DMA_TX_MAXCNT", 2)
    bench.write("UARTE_TASKS_DMA_TX_START", 1)
    with bench.line.changed:
        assert bench.line.host_takes(10) == b"ok"
    assert bench.read("UARTE_EVENTS_TXSTOPPED") == 1


def test_cycle_counter_follows_the_clock_and_can_be_set(bench: Bench) -> None:
    bench.now = 1000
    bench.write("DWT_CYCCNT", 5)
    bench.now = 1010
    assert bench.read("DWT_CYCCNT") == 15


def test_reset_and_flash_requests_reach_the_machine(bench: Bench) -> None:
    bench.write("SCB_AIRCR", 0x05FA0000)
    assert bench.resets == 0
    bench.write("SCB_AIRCR", 0x05FA0004)
    assert bench.resets == 1
    bench.write("RRAMC_CONFIG", 1)
    bench.write("RRAMC_CONFIG", 0)
    assert bench.unlocked == [True, False]


def byte_access(bench: Bench) -> None:
    bench.chip.read(MAP.addresses["UARTE_ENABLE"], 1)


def other_address(bench: Bench) -> None:
    bench.chip.write(0x5004C000, 4, 1)


def identity(bench: Bench) -> None:
    bench.write("FICR_PART", 1)


def buffered_flash(bench: Bench) -> None:
    bench.write("RRAMC_CONFIG", 0x101)


def disabled_uart(bench: Bench) -> None:
    bench.write("UARTE_TASKS_DMA_RX_START", 1)


def single_shot(bench: Bench) -> None:
    bench.receive()
    bench.write("UARTE_SHORTS", 0)
    bench.write("UARTE_TASKS_DMA_RX_START", 1)


def send_from_flash(bench: Bench) -> None:
    bench.write("UARTE_DMA_TX_MAXCNT", 4)
    bench.write("UARTE_TASKS_DMA_TX_START", 1)


@pytest.mark.parametrize(
    ("use", "text"),
    [
        (byte_access, "read 1 bytes at 0x500c6500"),
        (other_address, "wrote 4 bytes at 0x5004c000"),
        (identity, "read-only FICR_PART"),
        (buffered_flash, "buffered writes"),
        (disabled_uart, "UARTE_ENABLE = 0"),
        (single_shot, "shortcut from END to START"),
        (send_from_flash, "send 4 bytes at 0x00000000"),
    ],
)
def test_what_is_not_modelled_is_refused(
    bench: Bench, use: Callable[[Bench], None], text: str
) -> None:
    with pytest.raises(UnmodelledAccess, match=text):
        use(bench)
