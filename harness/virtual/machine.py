"""An emulated Cortex-M33 with the chip's memory map, in a thread of its own.

Every executed instruction counts as one cycle. Blocks are measured once and counted by a hook, so
the count is exact and the same in every run. Two uses of the count differ by at most one block.
"""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import unicorn
from unicorn import arm_const as arm

from harness.board import Memory
from harness.errors import BoardError, DeviceFault
from harness.firmware.image import LoadedElf
from harness.virtual.block_counter import count_blocks
from harness.virtual.chip import CLOCK_HZ, RESET_REQUEST, Chip, SerialLine
from harness.virtual.register_map import RegisterMap

_FICR: Final = (0x00FFC000, 0x1000)
_PERIPHERALS: Final = (0x50000000, 0x00200000)
_SYSTEM: Final = (0xE0000000, 0x00100000)
_NEVER: Final = 0xFFFFFFFE
_IDLE_SECONDS: Final = 0.001
_LONGEST_PAUSE_S: Final = 0.1
_RETURN_TO_THREAD: Final = 0xFFFFFFF9

_HARD_FAULT, _BUS_FAULT, _USAGE_FAULT = 3, 5, 6
_PRECISE_BUS_ERROR: Final = 0x8200  # CFSR: precise, BFAR valid
_FETCH_BUS_ERROR: Final = 0x0100
_UNDEFINED: Final = 1 << 16
_FRAME: Final = struct.Struct("<8I")
_MAX_RESETS_IN_A_ROW: Final = 8
_SOON_CYCLES: Final = CLOCK_HZ // 20


class Machine:
    """Runs an image until `stop`. Errors that end it are raised by `check`.

    line: the serial line. realtime: virtual time does not run ahead of real time.
    """

    def __init__(
        self,
        elf: LoadedElf,
        memory: Memory,
        registers: RegisterMap,
        line: SerialLine,
        *,
        realtime: bool = False,
    ) -> None:
        self.line = line
        self._elf = elf
        self._memory = memory
        self._realtime = realtime
        self._started_at = 0.0
        self._error: BaseException | None = None
        self._stopping = False
        self._reset_wanted = False
        self._actions: list[Callable[[], None]] = []
        self._resets = 0
        self._last_reset = 0
        self._bad_access: tuple[int, int, int] | None = None
        self._trap = 0
        self._uc = _new_core()
        self._counter = count_blocks(self._uc)
        self.chip = Chip(
            registers,
            line,
            self._now,
            self._fetch,
            self._store,
            self._want_reset,
            self._unlock_slot,
        )
        self._map_memory()
        self._add_hooks()
        self._thread = threading.Thread(target=self._run, name="virtual-board", daemon=True)

    def start(self) -> None:
        """Reset and run."""
        self._started_at = time.monotonic()
        self._thread.start()

    def stop(self) -> None:
        """End the emulation; returns when its thread has ended."""
        self._stopping = True
        with self.line.changed:
            self.line.changed.notify_all()
        while self._thread.is_alive():
            self._uc.emu_stop()
            self._thread.join(0.01)

    def check(self) -> None:
        """Raise what ended the emulation, if something did."""
        if self._error is not None:
            raise self._error

    @property
    def is_running(self) -> bool:
        """Whether the emulation goes on."""
        return self._thread.is_alive() and self._error is None

    @property
    def executed_instructions(self) -> int:
        """Since start, the cycles that passed while idle included."""
        return self._counter.executed

    def poke(self, address: int, data: bytes) -> None:
        """Write memory as a debugger would, code included; for tests of faults."""

        def write() -> None:
            self._uc.mem_write(address, data)
            self._uc.ctl_flush_tb()
            self._counter.forget()

        self._between_blocks(write)

    def reset(self) -> None:
        """Reset as by the kit's button, RAM kept."""
        self._between_blocks(self._want_reset)

    def _between_blocks(self, action: Callable[[], None]) -> None:
        """Have the machine's thread do something while the core stands still."""
        done = threading.Event()

        def act() -> None:
            action()
            done.set()

        self._actions.append(act)
        while self._thread.is_alive() and not done.wait(0.005):
            self._uc.emu_stop()

    # ---- memory ----

    def _map_memory(self) -> None:
        memory = self._memory
        page = 0x1000
        rx, rwx = unicorn.UC_PROT_READ | unicorn.UC_PROT_EXEC, unicorn.UC_PROT_ALL
        code_bytes = memory.flash_bytes - memory.slot_bytes
        self._uc.mem_map(memory.flash_start, -(-code_bytes // page) * page, rx)
        if memory.slot_bytes:
            self._uc.mem_map(memory.slot_start, memory.slot_bytes, unicorn.UC_PROT_READ)
            self._uc.mem_write(memory.slot_start, b"\xff" * memory.slot_bytes)
        self._uc.mem_map(memory.ram_start, -(-memory.ram_bytes // page) * page, rwx)
        for segment in self._elf.segments:
            self._uc.mem_write(segment.address, segment.data)
        for base, size in (_FICR, _PERIPHERALS, _SYSTEM):
            self._uc.mmio_map(base, size, self._mmio_read, base, self._mmio_write, base)

    def _unlock_slot(self, writable: bool) -> None:
        rights = unicorn.UC_PROT_READ | (unicorn.UC_PROT_WRITE if writable else 0)
        if self._memory.slot_bytes:
            self._uc.mem_protect(self._memory.slot_start, self._memory.slot_bytes, rights)

    def _in_ram(self, address: int, size: int) -> bool:
        start, end = self._memory.ram_start, self._memory.ram_start + self._memory.ram_bytes
        return start <= address and address + size <= end

    def _fetch(self, address: int, size: int) -> bytes:
        self._pace()  # what the chip sends must not be seen too early
        if not self._in_ram(address, size):
            raise ValueError(address)
        return bytes(self._uc.mem_read(address, size))

    def _store(self, address: int, data: bytes) -> int:
        if not self._in_ram(address, 0):
            return 0
        room = self._memory.ram_start + self._memory.ram_bytes - address
        self._uc.mem_write(address, data[:room])
        return min(room, len(data))

    def _mmio_read(self, _: Any, offset: int, size: int, base: int) -> int:
        try:
            return self.chip.read(base + offset, size)
        except BoardError as error:
            self._fail(error)
            return 0

    def _mmio_write(self, _: Any, offset: int, size: int, value: int, base: int) -> None:
        try:
            self.chip.write(base + offset, size, value)
        except BoardError as error:
            self._fail(error)

    # ---- hooks ----

    def _add_hooks(self) -> None:
        uc = self._uc
        idle = self._elf.symbols.get("axr_port_idle")
        if idle is not None:
            entry = idle & ~1
            uc.hook_add(unicorn.UC_HOOK_BLOCK, self._on_idle, begin=entry, end=entry)
        uc.hook_add(unicorn.UC_HOOK_MEM_INVALID, self._on_bad_access)
        uc.hook_add(unicorn.UC_HOOK_INTR, self._on_trap)

    def _on_idle(self, *_: Any) -> None:
        """The firmware has nothing to do: wait for input as long as it would, and let time pass."""
        line = self.line
        if not line.chip_has_input and not self._stopping:
            with line.changed:
                arrived = line.changed.wait_for(
                    lambda: line.chip_has_input or self._stopping, _IDLE_SECONDS
                )
            if not arrived:
                self._counter.executed += int(CLOCK_HZ * _IDLE_SECONDS)
        self._pace()

    def _pace(self) -> None:
        """Wait until real time has caught up, when that was asked for."""
        while self._realtime and not self._stopping:
            ahead = self._now() / CLOCK_HZ - (time.monotonic() - self._started_at)
            if ahead <= 0:
                return
            time.sleep(min(ahead, _LONGEST_PAUSE_S))

    def _on_bad_access(self, _: Any, access: int, address: int, size: int, *__: Any) -> bool:
        self._bad_access = (access, address, size)
        return False

    def _on_trap(self, _: Any, number: int, __: Any) -> None:
        self._trap = number
        self._uc.emu_stop()

    # ---- running ----

    def _now(self) -> int:
        return self._counter.executed

    def _fail(self, error: BaseException) -> None:
        if self._error is None:
            self._error = error
        self._uc.emu_stop()

    def _want_reset(self) -> None:
        self._reset_wanted = True
        self._uc.emu_stop()

    def _run(self) -> None:
        try:
            self._enter_reset(0)
            while not self._stopping and self._error is None:
                self._run_once()
        except BaseException as error:  # the thread's last word goes to the one who asks
            self._error = self._error or error
        finally:
            with self.line.changed:
                self.line.changed.notify_all()

    def _run_once(self) -> None:
        self._bad_access, self._trap = None, 0
        pc = self._uc.reg_read(arm.UC_ARM_REG_PC)
        try:
            self._uc.emu_start(pc | 1, _NEVER)
        except unicorn.UcError as error:
            self._take_core_error(error)
            return
        while self._actions:
            self._actions.pop(0)()
        if self._reset_wanted:
            self._reset_wanted = False
            self._count_reset()
            self._enter_reset(RESET_REQUEST)
        elif self._trap:
            self._take_fault(_HARD_FAULT if self._trap != 1 else _USAGE_FAULT, _UNDEFINED, 0)

    def _count_reset(self) -> None:
        soon = self._now() - self._last_reset < _SOON_CYCLES
        self._last_reset = self._now()
        self._resets = self._resets + 1 if soon else 1
        if self._resets > _MAX_RESETS_IN_A_ROW:
            raise DeviceFault("the firmware resets itself again and again, soon after its start")

    def _take_core_error(self, error: unicorn.UcError) -> None:
        if error.errno == unicorn.UC_ERR_INSN_INVALID:
            self._take_fault(_USAGE_FAULT, _UNDEFINED, 0)
        elif self._bad_access is not None:
            access, address, _ = self._bad_access
            fetch = access in (unicorn.UC_MEM_FETCH_UNMAPPED, unicorn.UC_MEM_FETCH_PROT)
            status = _FETCH_BUS_ERROR if fetch else _PRECISE_BUS_ERROR
            self._take_fault(_BUS_FAULT, status, address)
        else:
            pc = self._uc.reg_read(arm.UC_ARM_REG_PC)
            raise DeviceFault(f"the emulated core gave up at {pc:#010x}: {error}")

    def _enter_reset(self, reason: int) -> None:
        stack, entry = struct.unpack("<2I", self._uc.mem_read(self._memory.flash_start, 8))
        self.chip.restart(reason)
        uc = self._uc
        uc.reg_write(arm.UC_ARM_REG_XPSR, 1 << 24)
        uc.reg_write(arm.UC_ARM_REG_SP, stack)
        uc.reg_write(arm.UC_ARM_REG_LR, 0xFFFFFFFF)
        uc.reg_write(arm.UC_ARM_REG_PC, entry | 1)

    def _take_fault(self, vector: int, status: int, address: int) -> None:
        """Enter the firmware's fault handler as the core would."""
        uc = self._uc
        xpsr = uc.reg_read(arm.UC_ARM_REG_XPSR)
        pc = uc.reg_read(arm.UC_ARM_REG_PC)
        if xpsr & 0x1FF:
            raise DeviceFault(f"the core locked up: a second fault at {pc:#010x} in its handler")
        names = ("R0", "R1", "R2", "R3", "R12", "LR")
        registers = [uc.reg_read(getattr(arm, f"UC_ARM_REG_{name}")) for name in names]
        stack = (uc.reg_read(arm.UC_ARM_REG_SP) - _FRAME.size) & ~7
        if self._in_ram(stack, _FRAME.size):
            uc.mem_write(stack, _FRAME.pack(*registers, pc, xpsr))
        self.chip.set_fault(status, address)
        handler = uc.mem_read(self.chip.vector_table + 4 * vector, 4)
        uc.reg_write(arm.UC_ARM_REG_SP, stack)
        uc.reg_write(arm.UC_ARM_REG_LR, _RETURN_TO_THREAD)
        uc.reg_write(arm.UC_ARM_REG_XPSR, 1 << 24 | vector)
        uc.reg_write(arm.UC_ARM_REG_PC, int.from_bytes(handler, "little") | 1)


def _new_core() -> Any:
    uc = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
    uc.ctl_set_cpu_model(arm.UC_CPU_ARM_CORTEX_M33)
    return uc
