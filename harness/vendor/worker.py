"""The process in which Nordic's compiler library runs: it may crash or never return.

    worker.py FOLDER LIBRARY compile|infer ARGUMENT...

Run by path with the standard library only (python -I). It changes to FOLDER, sends all that the
library prints to FOLDER/library.log, calls nrf_axon_compile_model and, for `infer`, then
nrf_axon_infer_test_vectors, and leaves FOLDER/result.json: stage, code, and the five counts of
nrf_axon_nn_compiler_return_s.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sys
from pathlib import Path
from typing import Final

LOG: Final = "library.log"
RESULT: Final = "result.json"
RESULT_WORDS: Final = 5
LARGEST_FILE_BYTES: Final = 1 << 30
"""A library that writes without end is stopped here, before the disk is full."""

_LINE_BUFFERED: Final = 1
"""_IOLBF of glibc, musl and macOS."""
_SPARE_WORDS: Final = 64
"""A newer library may return more than we know of; it must not write past our memory."""


def main(words: list[str]) -> int:
    """Run the library. `words` are the command's arguments without the program's name."""
    folder, library, stage, *arguments = words
    os.chdir(folder)
    _redirect_output()
    _limit()
    loaded = ctypes.CDLL(library)
    _print_line_by_line()
    code, values = _call(loaded.nrf_axon_compile_model, library, arguments)
    done = "compile"
    if code == 0 and stage == "infer":
        code, values = _call(loaded.nrf_axon_infer_test_vectors, library, arguments, values)
        done = "infer"
    with contextlib.suppress(OSError):
        ctypes.CDLL(None).fflush(None)
    part = Path(f"{RESULT}.part")
    part.write_text(json.dumps({"stage": done, "code": code, "values": values}))
    part.replace(RESULT)
    return 0


def _redirect_output() -> None:
    log = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)


def _limit() -> None:
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    limit = LARGEST_FILE_BYTES if hard < 0 else min(hard, LARGEST_FILE_BYTES)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    # Python ignores this signal, and a library that does not look at errors would write on.
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)


def _print_line_by_line() -> None:
    """C's stdout is buffered when it is a file: a crash would take the last lines with it."""
    if os.name != "posix":
        return
    process = ctypes.CDLL(None)
    for name in ("stdout", "__stdoutp"):  # glibc and musl, then macOS
        with contextlib.suppress(ValueError):
            process.setvbuf(ctypes.c_void_p.in_dll(process, name), None, _LINE_BUFFERED, 0)
            return


def _call(
    function: ctypes._NamedFuncPointer,
    library: str,
    arguments: list[str],
    values: list[int] | None = None,
) -> tuple[int, list[int]]:
    """Both entry points take an argument list and the address of the result."""
    words = [os.fsencode(word) for word in (f"-c{library}", *arguments)]
    argv = (ctypes.c_char_p * (len(words) + 1))(*words, None)
    result = (ctypes.c_uint32 * _SPARE_WORDS)(*(values or []))
    function.restype = ctypes.c_int
    function.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
    code = int(function(len(words), argv, result))
    return code, [int(value) for value in result[:RESULT_WORDS]]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
