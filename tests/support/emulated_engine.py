"""The native engine built for 64-bit Arm and run by qemu-user: its kernels without its machine."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from harness.native import abi
from harness.native.build import SOURCES, WARNINGS, Library, Traits
from harness.native.engine import NativeEngine
from harness.native.plan import ALIGNMENT, Plan

RUNNER: Final = Path(__file__).parents[1] / "fixtures" / "native" / "runner.c"
EMULATOR: Final = "qemu-aarch64"
_NODE_POINTERS: Final = ("weights", "bias", "offsets", "table")
_RESCALE_POINTERS: Final = (
    "multiplier",
    "negative",
    "shift",
    "scale",
    "negative_scale",
    "scale32",
)


class _Request(ctypes.Structure):
    """request_t of the runner."""

    _fields_ = (
        *(
            (name, ctypes.c_int64)
            for name in (
                "node_count",
                "constant_bytes",
                "relocations",
                "input_bytes",
                "outputs",
                "arena_bytes",
            )
        ),
        ("plan", abi.Plan),
        ("job", abi.Job),
    )


def build_runner(flags: Sequence[str], folder: Path) -> Path:
    """The kernels and the runner as one static program for 64-bit Arm Linux."""
    program = folder / "runner"
    sources = [str(path) for path in sorted(SOURCES.glob("*.c"))]
    command = [sys.executable, "-m", "ziglang", "cc", *WARNINGS, *flags, "-I", str(SOURCES)]
    done = subprocess.run(
        [*command, "--target=aarch64-linux-musl", "-static", *sources, str(RUNNER), "-o", program],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return program


@contextmanager
def emulated_engine(program: Path) -> Iterator[NativeEngine]:
    """An engine whose kernels are the runner's, for as long as the context lasts."""
    emulator = shutil.which(EMULATOR)
    assert emulator is not None, f"no {EMULATOR} on this machine"
    with subprocess.Popen(
        [emulator, str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        pipe = _Pipe(process.stdin, process.stdout)
        traits = abi.Traits.from_buffer_copy(pipe.take(ctypes.sizeof(abi.Traits)))
        assert traits.node_bytes == ctypes.sizeof(abi.Node)
        assert traits.plan_bytes == ctypes.sizeof(abi.Plan)
        assert traits.job_bytes == ctypes.sizeof(abi.Job)
        name = f"{traits.name.decode()} (emulated)"
        facts = Traits(name, traits.group, traits.flip, bool(traits.fast_float))

        def run(plan: int, job: int, arena: int) -> None:
            _call(pipe, _plan_of(engine, plan), abi.Job.from_address(job), arena)

        engine = NativeEngine(Library(program, facts, run), threads=1)
        yield engine
        process.stdin.close()


def _plan_of(engine: NativeEngine, address: int) -> Plan:
    """The plan whose record lies at an address."""
    assert engine._ready is not None
    for planned in (engine._ready.one, engine._ready.many):
        if planned is not None and ctypes.addressof(planned.plan.record) == address:
            return planned.plan
    raise AssertionError("a run of a plan that the engine does not hold")


@dataclass(frozen=True, slots=True)
class _Pipe:
    """Both ends of the runner."""

    requests: IO[bytes]
    answers: IO[bytes]

    def take(self, size: int) -> bytes:
        """So many bytes of the answer."""
        data = self.answers.read(size)
        assert len(data) == size, f"the runner gave {len(data)} of {size} bytes and ended"
        return data


def _call(pipe: _Pipe, plan: Plan, job: abi.Job, arena: int) -> None:
    """Send a plan and its data through the pipe; write the answers where the caller wants them."""
    constants, place = _laid_out(plan)
    relocations = _relocations(plan, place)
    inputs = ctypes.string_at(job.inputs, job.count * plan.input_dims.elements)
    sizes = [job.count * kept.elements * kept.byte_width for kept in plan.output_dims]
    request = _Request(
        plan.record.node_count,
        len(constants),
        len(relocations),
        len(inputs),
        len(sizes),
        plan.arena_bytes,
        plan.record,
        job,
    )
    nodes = bytes(plan.nodes)[: plan.record.node_count * ctypes.sizeof(abi.Node)]
    parts = (
        bytes(request),
        nodes,
        constants,
        relocations.tobytes(),
        inputs,
        np.array(sizes, np.int64).tobytes(),
        ctypes.string_at(arena, plan.arena_bytes),
    )
    for part in parts:
        pipe.requests.write(part)
    pipe.requests.flush()
    targets = (ctypes.c_void_p * len(sizes)).from_address(job.outputs)
    for target, size in zip(targets, sizes, strict=True):
        ctypes.memmove(target, pipe.take(size), size)
    ctypes.memmove(arena, pipe.take(plan.arena_bytes), plan.arena_bytes)


def _laid_out(plan: Plan) -> tuple[bytes, dict[int, int]]:
    """All constants behind each other, and where each lies there by its address here."""
    room, place = bytearray(), {}
    for array in plan.constants.arrays:
        place[array.ctypes.data] = len(room)
        room += array.tobytes()
        room += bytes(-len(room) % ALIGNMENT)
    return bytes(room), place


def _relocations(plan: Plan, place: dict[int, int]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """[pointer's offset in the nodes, its target's offset in the constants] for each pointer."""
    found = []
    for index in range(plan.record.node_count):
        node, start = plan.nodes[index], index * ctypes.sizeof(abi.Node)
        fields = [(start + getattr(abi.Node, n).offset, getattr(node, n)) for n in _NODE_POINTERS]
        inner = start + abi.Node.rescale.offset
        fields += [
            (inner + getattr(abi.Rescale, name).offset, getattr(node.rescale, name))
            for name in _RESCALE_POINTERS
        ]
        found += [(at, place[address]) for at, address in fields if address]
    return np.array(found, np.int64).reshape(-1, 2)
