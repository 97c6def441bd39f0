"""Counting executed instructions: in C where a compiler is at hand, else in Python.

Both count the same. The C hook is compiled once per machine and kept in the cache.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import sys
import tempfile
from pathlib import Path
from typing import Any, ClassVar, Final, Protocol

import unicorn

from harness.artefacts import write_bytes
from harness.cache import cache_dir
from harness.errors import ToolchainError
from harness.tool_process import run_logged

SOURCE: Final = Path(__file__).with_name("block_counter.c")
FLAGS: Final = (
    "-std=c11",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wconversion",
    "-O2",
    "-shared",
    "-fPIC",
)
_SLOTS: Final = 16384
_TIMEOUT_S: Final = 120.0


class BlockCounter(Protocol):
    """Counts while the core runs. `executed` may be added to while it stands still."""

    executed: int

    def forget(self) -> None:
        """Code has changed: measure blocks anew."""


class PythonCounter:
    """See `BlockCounter`."""

    def __init__(self, core: Any) -> None:
        self.executed = 0
        self._lengths: dict[int, int] = {}
        core.hook_add(unicorn.UC_HOOK_BLOCK, self._count)

    def forget(self) -> None:
        """See `BlockCounter`."""
        self._lengths.clear()

    def _count(self, core: Any, address: int, size: int, _: Any) -> None:
        key = size << 32 | address
        length = self._lengths.get(key)
        if length is None:
            length = self._lengths[key] = instructions(core.mem_read(address, size))
        self.executed += length


class _Counter(ctypes.Structure):
    """axr_block_counter_t."""

    _fields_: ClassVar[list[Any]] = [
        ("executed", ctypes.c_uint64),
        ("read", ctypes.c_void_p),
        ("keys", ctypes.c_uint64 * _SLOTS),
        ("lengths", ctypes.c_uint32 * _SLOTS),
    ]


class NativeCounter:
    """See `BlockCounter`. Raises AttributeError when Unicorn's binding is laid out differently."""

    def __init__(self, core: Any, library: ctypes.CDLL) -> None:
        from unicorn.unicorn_py3.unicorn import uclib

        self._library = library
        self._state = _Counter(read=ctypes.cast(uclib.uc_mem_read, ctypes.c_void_p).value)
        handle = uclib.uc_hook_add.argtypes[1]._type_()
        status = uclib.uc_hook_add(
            core._uch,
            ctypes.byref(handle),
            unicorn.UC_HOOK_BLOCK,
            ctypes.cast(library.axr_count_block, ctypes.c_void_p),
            ctypes.cast(ctypes.pointer(self._state), ctypes.c_void_p),
            1,
            0,
        )
        if status != unicorn.UC_ERR_OK:
            raise AttributeError(f"Unicorn refuses a native hook: status {status}")

    @property
    def executed(self) -> int:
        """See `BlockCounter`."""
        return int(self._state.executed)

    @executed.setter
    def executed(self, value: int) -> None:
        self._state.executed = value

    def forget(self) -> None:
        """See `BlockCounter`."""
        ctypes.memset(ctypes.byref(self._state, _Counter.keys.offset), 0, 8 * _SLOTS)


def count_blocks(core: Any) -> BlockCounter:
    """The fastest counter that works here, hooked to `core`."""
    with contextlib.suppress(ToolchainError, OSError, AttributeError, ImportError):
        return NativeCounter(core, _library())
    return PythonCounter(core)


def _library(folder: Path | None = None) -> ctypes.CDLL:
    source = SOURCE.read_bytes()
    digest = hashlib.sha256(source + repr((FLAGS, sys.platform, sys.version)).encode()).hexdigest()
    kept = folder or cache_dir("native") or Path(tempfile.gettempdir())
    target = kept / f"block-counter-{digest[:16]}.so"
    if not target.is_file():
        kept.mkdir(parents=True, exist_ok=True)
        _compile(target)
    return ctypes.CDLL(str(target))


def _compile(target: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="axonrig-build-") as name:
        output = Path(name) / "counter.so"
        command = [sys.executable, "-m", "ziglang", "cc", *FLAGS, str(SOURCE), "-o", str(output)]
        run = run_logged(command, timeout_s=_TIMEOUT_S)
        if run.status:
            raise ToolchainError(run.failure("the instruction counter did not build"))
        write_bytes(target, output.read_bytes())


def instructions(code: bytes | bytearray) -> int:
    """How many Thumb instructions a block holds: some take one halfword, the others two."""
    count, at = 0, 0
    while at < len(code):
        at += 4 if code[at + 1] >= 0xE8 else 2
        count += 1
    return count
