"""Builds parts of the firmware for this machine and talks to the differential-test driver.

Sanitizers: with gcc, address and undefined behaviour. ziglang ships no address-sanitizer runtime,
so with it alone undefined behaviour is checked (it traps). `Build.sanitizers` says which ran.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from compiler.image import ModelImage, TensorPlace

ROOT: Final = Path(__file__).parents[2]
FIRMWARE: Final = ROOT / "firmware"
EMBEDDED: Final = ROOT / "harness" / "embedded"
SUPPORT: Final = Path(__file__).parent / "firmware"
CORE_SOURCES: Final = tuple(
    FIRMWARE / name
    for name in (
        "core/activation.c",
        "core/convolution.c",
        "core/copy.c",
        "core/crc32.c",
        "core/depthwise.c",
        "core/describe.c",
        "core/elementwise.c",
        "core/exponential.c",
        "core/image.c",
        "core/interpreter.c",
        "core/pool.c",
        "backends/cpu/cpu_backend.c",
    )
)
INCLUDES: Final = (FIRMWARE / "include", FIRMWARE / "core")
WARNINGS: Final = ("-std=c11", "-Wall", "-Wextra", "-Werror", "-Wconversion", "-ffp-contract=off")
_END_OF_LAYERS: Final = 0xFFFF_FFFF

IntArray = npt.NDArray[np.integer]


@dataclass(frozen=True, slots=True)
class Build:
    """An executable and what watches over it."""

    executable: Path
    sanitizers: str


def build(folder: Path, name: str, main: Path, optimisation: str = "-O1") -> Build:
    """Compile the core, the CPU backend and `main` to a program with the best sanitizers here.

    Raises subprocess.CalledProcessError with the compiler's messages when it does not compile.
    """
    target = folder / name
    sources = [str(path) for path in (*CORE_SOURCES, main)]
    flags = [*WARNINGS, optimisation, "-g", *(f"-I{path}" for path in INCLUDES)]
    if shutil.which("gcc") is not None:
        sanitize = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
        command = ["gcc", *flags, *sanitize, *sources, "-o", str(target)]
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            return Build(target, "address and undefined behaviour (gcc)")
    sanitize = ["-fsanitize=undefined", "-fsanitize-trap=undefined"]
    command = [sys.executable, "-m", "ziglang", "cc", *flags, *sanitize, *sources]
    subprocess.run([*command, "-o", str(target)], check=True, capture_output=True)
    return Build(target, "undefined behaviour (ziglang)")


@dataclass(frozen=True, slots=True)
class Trace:
    """What the firmware computed for one input.

    layers: by layer index, [batch, channel, height, width] as the reference has them.
    outputs: raw bytes of all outputs, one after the other.
    """

    layers: dict[int, IntArray]
    outputs: bytes


def split_layers(image: ModelImage, arenas: Mapping[int, bytes]) -> dict[int, IntArray]:
    """Each layer's tensor, out of the arena as it was after that layer."""
    return {layer: _tensor(arena, image.layers[layer]) for layer, arena in arenas.items()}


def _tensor(arena: bytes, place: TensorPlace) -> IntArray:
    """A tensor out of a copy of the arena, as [batch, channel, height, width]."""
    element: np.dtype[np.signedinteger] = np.dtype(f"<i{place.element_bytes}")
    flat = np.frombuffer(arena, element, int(np.prod(place.shape)), place.offset)
    return flat.reshape(place.shape).transpose(0, 3, 1, 2).copy()


class Driver:
    """A running driver process; one job at a time."""

    def __init__(self, executable: Path) -> None:
        self._process = subprocess.Popen(
            [str(executable)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def __enter__(self) -> Driver:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        assert self._process.wait(timeout=60) == 0, "the driver failed; a sanitizer wrote why"

    def status(self, image: bytes, arena_bytes: int) -> int:
        """What open() says to these bytes."""
        self._write(struct.pack("<4I", len(image), arena_bytes, 0, 0) + image)
        return self._word()

    def run(self, image: ModelImage, inputs: IntArray) -> Iterator[Trace]:
        """Open an image and infer each of the inputs, int8 [N, C, H, W]: a trace of each."""
        items = np.ascontiguousarray(inputs.transpose(0, 2, 3, 1))
        header = struct.pack("<4I", len(image.data), image.arena_bytes, len(items), items[0].size)
        self._write(header + image.data)
        status = self._word()
        assert status == 0, f"open() refused the image of '{image.name}' with status {status}"
        for item in items:
            self._write(item.tobytes())
            yield self._trace(image)

    def _trace(self, image: ModelImage) -> Trace:
        arenas: dict[int, bytes] = {}
        while (layer := self._word()) != _END_OF_LAYERS:
            arenas[layer] = self._read(image.arena_bytes)
        sizes = (
            int(np.prod(image.layers[i].shape)) * image.layers[i].element_bytes
            for i in image.outputs
        )
        return Trace(split_layers(image, arenas), self._read(sum(sizes)))

    def _write(self, data: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(data)
        self._process.stdin.flush()

    def _word(self) -> int:
        (word,) = struct.unpack("<I", self._read(4))
        return int(word)

    def _read(self, count: int) -> bytes:
        assert self._process.stdout is not None
        data = self._process.stdout.read(count)
        assert len(data) == count, "the driver stopped; a sanitizer wrote why"
        return data


def run_tool(build: Build, arguments: Sequence[str]) -> str:
    """Standard output of a built program; its standard error is part of a failure's message."""
    done = subprocess.run(
        [str(build.executable), *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{build.executable.name}: {done.stdout}{done.stderr}"
    return done.stdout
