"""The device under test as the benchmark's runner sees it: load an item, infer it, read a vector.

`TextDut` speaks the MLPerf Tiny text commands (docs/protocol.md) to the firmware; `SimDut` answers
the same questions from the simulator, with estimated time.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from compiler import AxonProgram, dequantize_output, quantize_input
from harness.deadline import Deadline
from harness.device import SimDevice
from harness.errors import ConfigError, DeviceFault, ProtocolError, TransportTimeout
from harness.mlperf.benchmarks import Benchmark, Conversion
from harness.progress import Progress
from harness.transport import Transport

Vector = tuple[float, ...]

LINE_TIMEOUT_S: Final = 5.0
INFER_TIMEOUT_S: Final = 120.0
CHUNK_BYTES: Final = 120
"""Bytes of one `db` command: 244 characters, within the 255 that the firmware takes."""
MAX_REPLY_BYTES: Final = 1 << 20
_READY: Final = "m-ready"
_LAP: Final = re.compile(r"m-lap-us-([0-9]{1,19})")
_VECTOR: Final = re.compile(r"m-results-\[([-+0-9.e,]{1,8192})\]")


class Clock(Enum):
    """What the time of a window is."""

    MEASURED = "measured"
    HOST = "measured on this machine"
    EMULATED = "emulated"
    ESTIMATED = "estimated"

    @property
    def virtual(self) -> bool:
        """Whether a window need not be waited for: every inference takes the same time."""
        return self in (Clock.EMULATED, Clock.ESTIMATED)


@dataclass(frozen=True, slots=True)
class Lap:
    """`iterations` timed inferences of one item, by the device's clock, and the last vector."""

    iterations: int
    elapsed_us: float
    vector: Vector


class Dut(Protocol):
    """One model on one device. log: takes what is said and answered."""

    log: list[str]

    @property
    def name(self) -> str:
        """What the device calls itself."""

    def measure(self, item: bytes, iterations: int, warmups: int) -> Lap:
        """Load `item` and infer it. Raises BoardError when the device answers wrongly."""

    def answer(self, items: Sequence[bytes], progress: Progress | None = None) -> list[Vector]:
        """The vector of each item, each inferred once."""

    def close(self) -> None:
        """Release the device; a second call does nothing."""


@dataclass(slots=True)
class TextDut:
    """The firmware behind a line that nobody else uses. log: takes what is said and answered."""

    transport: Transport
    benchmark: Benchmark
    log: list[str]
    _name: str = ""

    @property
    def name(self) -> str:
        """See `Dut`."""
        return self._name

    def greet(self) -> None:
        """Drop what the device said before; ask for its name and profile.

        Raises ProtocolError when it is another benchmark's, TransportTimeout when it never stops
        talking.
        """
        deadline = Deadline.after(LINE_TIMEOUT_S, self.transport.now)
        while said := self.transport.read(0.0):
            if deadline.passed:
                raise TransportTimeout(
                    f"{self.transport.name}: the device talks without being asked and has not "
                    f"stopped within {LINE_TIMEOUT_S:g} s; it last said {bytes(said[-80:])!r}"
                )
        self._name = _field(self._ask("name"), "m-name-dut")
        profile = _field(self._ask("profile"), "m-model")
        if profile != self.benchmark.name:
            raise ProtocolError(
                f"{self.transport.name}: the device's profile is '{profile}', expected "
                f"'{self.benchmark.name}'"
            )

    def measure(self, item: bytes, iterations: int, warmups: int) -> Lap:
        """See `Dut`."""
        self._load(item)
        lines = self._ask(f"infer {iterations} {warmups}", INFER_TIMEOUT_S)
        laps = [int(found[1]) for found in map(_LAP.fullmatch, lines) if found]
        vectors = [found[1] for found in map(_VECTOR.fullmatch, lines) if found]
        if len(laps) != 2 or len(vectors) != 1 or laps[1] < laps[0]:
            raise ProtocolError(
                f"{self.transport.name}: 'infer' was answered by {_shown(lines)}; expected two "
                "m-lap-us and one m-results"
            )
        return Lap(iterations, laps[1] - laps[0], _numbers(vectors[0]))

    def answer(self, items: Sequence[bytes], progress: Progress | None = None) -> list[Vector]:
        """See `Dut`."""
        vectors = []
        for done, item in enumerate(items, 1):
            vectors.append(self.measure(item, 1, 0).vector)
            if progress:
                progress(done, len(items))
        return vectors

    def close(self) -> None:
        """See `Dut`."""
        self.transport.close()

    def _load(self, item: bytes) -> None:
        self._ask(f"db load {len(item)}")
        lines: list[str] = []
        for at in range(0, len(item), CHUNK_BYTES):
            lines = self._ask(f"db {item[at : at + CHUNK_BYTES].hex()}")
        if "m-load-done" not in lines:
            raise ProtocolError(
                f"{self.transport.name}: the last byte of {len(item)} was answered by "
                f"{_shown(lines)}; expected m-load-done"
            )

    def _ask(self, command: str, timeout_s: float = LINE_TIMEOUT_S) -> list[str]:
        """The reply's lines without m-ready. Raises DeviceFault for a refusal."""
        if not command.startswith("db ") or command.startswith("db load"):
            self.log.append(f"{command}%")
        self.transport.write(command.encode("ascii") + b"%")
        lines = self._reply(command, timeout_s)
        for line in lines:
            self.log.append(line)
            if line.startswith("e-["):
                raise DeviceFault(f"{self.transport.name}: '{command[:40]}' was refused: {line}")
        return lines

    def _reply(self, command: str, timeout_s: float) -> list[str]:
        deadline = Deadline.after(timeout_s, self.transport.now)
        got = bytearray()
        while not got.endswith(b"m-ready\r\n"):
            if deadline.passed or len(got) > MAX_REPLY_BYTES:
                raise TransportTimeout(
                    f"{self.transport.name}: no m-ready within {timeout_s:g} s after "
                    f"'{command[:40]}'; received {bytes(got[-80:])!r}"
                )
            got += self.transport.read(deadline.remaining_s)
        text = got.decode("ascii", "replace").replace("\r", "").replace("\0", "")
        return [line for line in text.split("\n") if line and line != _READY]


def _field(lines: list[str], key: str) -> str:
    found = [re.fullmatch(rf"{key}-\[([^\]]{{1,80}})\]", line) for line in lines]
    values = [item[1] for item in found if item]
    if not values:
        raise ProtocolError(f"the device answered {_shown(lines)}; expected {key}-[...]")
    return values[0]


def _shown(lines: list[str]) -> str:
    return repr(lines)[:200]


def _numbers(text: str) -> Vector:
    try:
        vector = tuple(float(item) for item in text.split(","))
    except ValueError:
        vector = (math.nan,)
    if not all(math.isfinite(value) for value in vector):
        raise ProtocolError(f"the device's vector is '{text[:80]}'; expected numbers")
    return vector


@dataclass(slots=True)
class SimDut:
    """The bit-exact simulator, with the estimated time of one inference in us."""

    program: AxonProgram
    benchmark: Benchmark
    inference_us: float
    log: list[str]
    _device: SimDevice = field(init=False)

    def __post_init__(self) -> None:
        self._device = SimDevice(self.program)

    @property
    def name(self) -> str:
        """See `Dut`."""
        return "axonrig-sim"

    def measure(self, item: bytes, iterations: int, warmups: int) -> Lap:
        """See `Dut`. One inference is computed; the others would be the same."""
        vector = self.answer([item])[0]
        self.log.append(f"infer {iterations} {warmups}: {iterations} x {self.inference_us:.3f} us")
        return Lap(iterations, iterations * self.inference_us, vector)

    def answer(self, items: Sequence[bytes], progress: Progress | None = None) -> list[Vector]:
        """See `Dut`."""
        codes = to_codes(self.program, self.benchmark, items)
        raw = self._device.infer(codes, progress).outputs[0]
        vectors = to_vectors(self.program, self.benchmark, items, raw)
        for vector in vectors:
            self.log.append(f"m-results-[{','.join(f'{value:.3f}' for value in vector)}]")
        return vectors

    def close(self) -> None:
        """See `Dut`."""
        self._device.close()


def check_program(program: AxonProgram, benchmark: Benchmark, file: str) -> None:
    """Raise ConfigError unless the program takes what the benchmark's items hold."""
    width = 4 if benchmark.conversion is Conversion.FLOATS else 1
    values = program.input_dims.elements
    if values * width != benchmark.item_bytes or program.input_dims.batch != 1:
        raise ConfigError(
            f"{file} takes {values} values; {benchmark.name} ({benchmark.title}) has "
            f"{benchmark.item_bytes // width}: it is no model of this benchmark"
        )


def to_codes(
    program: AxonProgram, benchmark: Benchmark, items: Sequence[bytes]
) -> npt.NDArray[np.int8]:
    """The int8 [N, C, H, W] that the device makes of items: what the firmware's profile does."""
    dims = program.input_dims
    shape = (len(items), dims.height, dims.width, dims.channels)
    data = b"".join(items)
    if benchmark.conversion is Conversion.FLOATS:
        codes = quantize_input(program, np.frombuffer(data, "<f4").astype(np.float64))
    else:
        codes = np.frombuffer(data, np.int8)
        if benchmark.conversion is Conversion.PIXELS:
            codes = codes ^ np.int8(-128)
    return np.ascontiguousarray(codes.reshape(shape).transpose(0, 3, 1, 2))


def to_vectors(
    program: AxonProgram, benchmark: Benchmark, items: Sequence[bytes], raw: npt.NDArray[Any]
) -> list[Vector]:
    """What the device prints for raw outputs [N, C, H, W]: three decimals."""
    layer = program.output_layers[0] if len(program.output_layers) > 1 else None
    real = dequantize_output(program, raw, layer).transpose(0, 2, 3, 1).reshape(len(items), -1)
    if benchmark.reconstructs:
        inputs = np.frombuffer(b"".join(items), "<f4").reshape(len(items), -1).astype(np.float64)
        if real.shape != inputs.shape:
            raise ConfigError(
                f"the model gives {real.shape[1]} values for {inputs.shape[1]}: no autoencoder"
            )
        real = np.mean((real - inputs) ** 2, axis=1, keepdims=True)
    return [tuple(float(f"{value:.3f}") for value in row) for row in real]
