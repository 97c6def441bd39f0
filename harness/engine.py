"""What computes for a simulated device: the native engine, or the reference where it cannot.

AXONRIG_ENGINE names one: "native" (an error where it cannot be built) or "reference".
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Protocol

import numpy.typing as npt

from compiler import AxonProgram, Execution, interpret
from harness.errors import ConfigError, ToolchainError
from harness.native.build import Library, load
from harness.native.engine import NativeEngine
from harness.native.plan import obstacle

Array = npt.NDArray[Any]

VARIABLE: Final = "AXONRIG_ENGINE"
_CHOICES: Final = ("", "native", "reference")


class Engine(Protocol):
    """Executes programs; every engine gives the same integers."""

    @property
    def name(self) -> str:
        """Shown as the backend."""

    def run(
        self,
        program: AxonProgram,
        inputs: Array,
        state: Mapping[int, Array] | None = None,
        *,
        keep_layers: bool = False,
    ) -> Execution:
        """What `compiler.interpret` gives for int8 [N, C, H, W].

        state: persistent variables to start from. keep_layers: every layer, not only outputs.
        """


@dataclass(frozen=True, slots=True)
class ReferenceEngine:
    """The compiler's numpy executor, the definition of every layer."""

    name: str = "numpy reference"

    def run(
        self,
        program: AxonProgram,
        inputs: Array,
        state: Mapping[int, Array] | None = None,
        *,
        keep_layers: bool = False,
    ) -> Execution:
        """See `Engine`."""
        return interpret(program, inputs, state=state, keep_layers=keep_layers)


def choose_engine(program: AxonProgram) -> Engine:
    """The fastest engine for a verified program, or the one that AXONRIG_ENGINE names.

    Says on standard error when it builds the native engine, and why the reference stands in.
    Raises ConfigError for an unknown name, and ToolchainError when "native" is asked for and
    cannot be had.
    """
    asked = os.environ.get(VARIABLE, "")
    if asked not in _CHOICES:
        raise ConfigError(f"{VARIABLE} is '{asked}'; expected native, reference or nothing")
    if asked == "reference":
        return ReferenceEngine()
    library, failure = _native_library()
    reason = failure or obstacle(program)
    if library is not None and reason is None:
        return NativeEngine(library)
    if asked == "native":
        raise ToolchainError(f"{VARIABLE} asks for the native engine, but {reason}")
    if failure is None:
        _note(f"{reason}; the numpy reference stands in")
    return ReferenceEngine()


@cache
def _native_library() -> tuple[Library | None, str | None]:
    """The library, or why there is none; noted once."""
    try:
        return load(notice=_note), None
    except (ToolchainError, OSError) as error:
        _note(f"{error}; the numpy reference, which gives the same results, stands in")
        return None, str(error)


def _note(text: str) -> None:
    sys.stderr.write(f"axonrig: {text}\n")
    sys.stderr.flush()


def native_library() -> Library | None:
    """The library for this machine, built where need be; None where it cannot be."""
    return _native_library()[0]


__all__ = ["Engine", "NativeEngine", "ReferenceEngine", "choose_engine", "native_library"]
