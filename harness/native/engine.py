"""Runs plans: batches spread over the cores, results as the reference gives them."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from compiler import AxonProgram, Dims, Execution, InputError
from harness.native import abi
from harness.native.build import Library
from harness.native.plan import ALIGNMENT, ELEMENT, Place, Plan, build_plan
from harness.native.together import TOGETHER, together

Array = npt.NDArray[Any]

_ARENAS_BYTES: Final = 1 << 30
"""For the arenas of all threads together."""
_MOST_CLAIMED: Final = 4
"""Inferences that a thread takes at a time; few, so that all threads end together."""


@dataclass(frozen=True, slots=True, eq=False)
class _Planned:
    """A plan, and one arena per thread."""

    plan: Plan
    arenas: tuple[Array, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Ready:
    """A program, the layers that are outputs, and how to run one inference or `TOGETHER`."""

    program: AxonProgram
    keep_layers: bool
    outputs: tuple[int, ...]
    one: _Planned
    many: _Planned | None


@dataclass(slots=True, eq=False)
class NativeEngine:
    """Axon programs in C. Keeps the plan of the program that it ran last; for one caller at a time.

    threads: cores to use; 0 for all that this process may.
    """

    library: Library
    threads: int = 0
    _ready: _Ready | None = field(default=None, repr=False)
    _pool: ThreadPoolExecutor | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.threads = self.threads or available_cores()

    @property
    def name(self) -> str:
        """E.g. "native avx512vnni"."""
        return f"native {self.library.traits.name}"

    def run(
        self,
        program: AxonProgram,
        inputs: Array,
        state: Mapping[int, Array] | None = None,
        *,
        keep_layers: bool = False,
    ) -> Execution:
        """What `compiler.interpret` gives, for int8 [N, C, H, W].

        Raises InputError for inputs that do not fit, and what `build_plan` raises.
        """
        ready = self._prepare(program, keep_layers)
        plan, arena = ready.one.plan, ready.one.arenas[0]
        count = _inferences(plan.input_dims, inputs)
        stored = [_room(count, dims) for dims in plan.output_dims]
        for layer, place in plan.state.items():
            _write(arena, place, (state or {}).get(layer), program, layer)
        done = 0
        if ready.many is not None and count >= TOGETHER:
            blocks = count // TOGETHER
            self._execute(ready.many, inputs, blocks, stored)
            done = blocks * TOGETHER
        if done < count:
            first = done * plan.input_dims.batch
            rest = [
                array[done * dims.batch :]
                for array, dims in zip(stored, plan.output_dims, strict=True)
            ]
            self._execute(ready.one, inputs[first:], count - done, rest)
        by_layer = {
            layer: np.ascontiguousarray(array.transpose(0, 3, 1, 2))
            for layer, array in zip(plan.slots, stored, strict=True)
        }
        return Execution(
            layers=tuple(by_layer.values()) if keep_layers else (),
            outputs=tuple(by_layer[layer] for layer in ready.outputs),
            state={layer: _read(arena, place) for layer, place in plan.state.items()},
        )

    def _prepare(self, program: AxonProgram, keep_layers: bool) -> _Ready:
        ready = self._ready
        if ready is None or ready.program is not program or ready.keep_layers != keep_layers:
            outputs = program.output_layers
            keep = tuple(range(len(program.layers))) if keep_layers else outputs
            one, block = self._plan(program, keep), together(program, TOGETHER)
            many = None if block is None else self._plan(block, keep)
            ready = self._ready = _Ready(program, keep_layers, outputs, one, many)
        return ready

    def _plan(self, program: AxonProgram, keep: tuple[int, ...]) -> _Planned:
        plan = build_plan(program, self.library.traits, keep)
        most = 1 if plan.state else max(1, _ARENAS_BYTES // plan.arena_bytes)
        arenas = [_arena(plan.arena_bytes) for _ in range(min(self.threads, most))]
        return _Planned(plan, tuple(arenas))

    def _execute(self, planned: _Planned, inputs: Array, count: int, stored: list[Array]) -> None:
        """Run the first `count` inferences of the plan into the start of each array."""
        plan = planned.plan
        threads = min(len(planned.arenas), count)
        claim = min(_MOST_CLAIMED, -(-count // threads))
        outputs = (ctypes.c_void_p * max(1, len(stored)))(*(a.ctypes.data for a in stored))
        strides = zip(("image", "channel", "row", "pixel"), inputs.strides, strict=True)
        job = abi.Job(
            inputs=inputs.ctypes.data,
            count=count,
            claim=claim if not plan.state else count,
            outputs=ctypes.addressof(outputs),
            **{f"{name}_stride": stride for name, stride in strides},
        )

        def work(arena: Array) -> None:
            self.library.run(
                ctypes.addressof(plan.record), ctypes.addressof(job), arena.ctypes.data
            )

        if threads == 1:
            work(planned.arenas[0])
            return
        self._pool = self._pool or ThreadPoolExecutor(self.threads - 1, "axonrig-native")
        others = [self._pool.submit(work, arena) for arena in planned.arenas[1:threads]]
        work(planned.arenas[0])
        for other in others:
            other.result()


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _inferences(dims: Dims, inputs: Array) -> int:
    if inputs.dtype != np.int8 or inputs.ndim != 4 or inputs.shape[1:] != dims.shape:
        expected = ", ".join(str(extent) for extent in dims.shape)
        raise InputError(
            f"the input is {inputs.dtype} {list(inputs.shape)}, expected int8 [N, {expected}] "
            "(channels, height, width)"
        )
    if len(inputs) == 0 or len(inputs) % dims.batch:
        raise InputError(f"{len(inputs)} inputs, expected a positive multiple of {dims.batch}")
    return len(inputs) // dims.batch


def _room(count: int, dims: Dims) -> Array:
    """For one slot of `count` inferences: [N * batch, H, W, C]."""
    shape = (count * dims.batch, dims.height, dims.width, dims.channels)
    return np.empty(shape, ELEMENT[dims.byte_width])


def _arena(size: int) -> Array:
    """Zeroed bytes whose first is aligned."""
    room = np.zeros(size + ALIGNMENT, np.uint8)
    return room[-room.ctypes.data % ALIGNMENT :][:size]


def _place_view(arena: Array, place: Place) -> Array:
    size = place.dims.elements * place.dims.byte_width
    part = arena[place.offset : place.offset + size].view(ELEMENT[place.dims.byte_width])
    return part.reshape(place.shape)


def _read(arena: Array, place: Place) -> Array:
    """A variable's value, [batch, C, H, W]."""
    return _place_view(arena, place).transpose(0, 3, 1, 2).copy()


def _write(
    arena: Array, place: Place, value: Array | None, program: AxonProgram, layer: int
) -> None:
    """Set a variable: to a value [batch, C, H, W], or to its zero point."""
    room = _place_view(arena, place)
    if value is None:
        room[:] = program.layers[layer].output_zero_point
        return
    expected = (place.dims.batch, *place.dims.shape)
    if value.shape != expected:
        raise InputError(
            f"the state of layer {layer} has the shape {list(value.shape)}, expected "
            f"{list(expected)}"
        )
    room[:] = value.transpose(0, 2, 3, 1)
