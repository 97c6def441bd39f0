"""Anything that runs an Axon program: one interface, one `source` label.

A `Device` takes and gives arrays in the program's layout ([N, C, H, W]); `ModelDevice` shows any
device in the layout of the TFLite model.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from compiler import AxonProgram, Dims, encode
from harness.artefacts import sha256
from harness.engine import Engine, choose_engine
from harness.errors import ConfigError, DeviceFault
from harness.layout import from_program, to_program
from harness.pairing import OutputPair
from harness.progress import Progress

Array = npt.NDArray[Any]
CycleArray = npt.NDArray[np.int64]

_FIRST_STEP: Final = 32
_STEP_S: Final = 0.1
"""Time between two calls of a progress observer that the simulator aims at."""
_MOST_GROWTH: Final = 64
"""From one step to the next."""


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """What runs the program.

    source: "board", "emulated", "sim", "vendor-sim" or "replay"; every number carries it.
    backend: what computes, e.g. "numpy reference" or "npu". model_sha256: of the Axon binary.
    clock_hz: of the core that counts cycles; None when nothing counts. versions: by name, of what
    only this device's results rest on: its firmware build, a vendor's SDK.
    """

    board: str
    source: str
    backend: str
    model: str
    model_sha256: str
    clock_hz: int | None = None
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Inference:
    """Results of N samples.

    outputs: one raw integer array [N, ...] per output. cycles: int64 [N]; layer_cycles: int64
    [N, layers]; None where the device does not count. latency_source: the label of those counts.
    """

    outputs: tuple[Array, ...]
    cycles: CycleArray | None = None
    layer_cycles: CycleArray | None = None
    latency_source: str | None = None


class Device(Protocol):
    """Runs one program until it is closed."""

    @property
    def info(self) -> DeviceInfo:
        """What this device is."""

    def infer(self, inputs: Array, progress: Progress | None = None) -> Inference:
        """Run int8 [N, C, H, W]; outputs in the order of the program's output layers.

        Raises ConfigError for inputs that do not fit, BoardError when the device cannot answer.
        """

    def close(self) -> None:
        """Release the device; a second call does nothing."""


@dataclass(slots=True, eq=False)
class SimDevice:
    """The bit-exact simulator as a device. Persistent variables live from call to call.

    engine: what computes; the fastest one there is by default (`choose_engine`).
    """

    program: AxonProgram
    engine: Engine = field(default=None)  # type: ignore[assignment]  # set in __post_init__
    board: str = "sim"
    _state: Mapping[int, Array] = field(default_factory=dict)
    _closed: bool = False

    def __post_init__(self) -> None:
        self.engine = self.engine or choose_engine(self.program)

    @property
    def info(self) -> DeviceInfo:
        """See `Device`."""
        return DeviceInfo(
            board=self.board,
            source="sim",
            backend=self.engine.name,
            model=self.program.name,
            model_sha256=sha256(encode(self.program)),
        )

    def infer(self, inputs: Array, progress: Progress | None = None) -> Inference:
        """See `Device`."""
        if self._closed:
            raise DeviceFault("the simulator was closed; open a new one")
        check_inputs(inputs, self.program.input_dims)
        parts = []
        step = _FIRST_STEP * self.program.input_dims.batch
        done = 0
        while done < len(inputs):
            part = inputs[done : done + step]
            started = time.perf_counter()
            execution = self.engine.run(self.program, part, self._state)
            self._state = execution.state
            parts.append(execution.outputs)
            done += len(part)
            if progress:
                progress(done, len(inputs))
            seconds = max(time.perf_counter() - started, _STEP_S / _MOST_GROWTH)
            step *= max(1, int(_STEP_S / seconds))
        return Inference(tuple(np.concatenate(rows) for rows in zip(*parts, strict=True)))

    def close(self) -> None:
        """See `Device`."""
        self._closed = True


@dataclass(frozen=True, slots=True, eq=False)
class ModelDevice:
    """A device seen in the layout of its TFLite model.

    input_shape: one sample of the model's input. pairs: which program output is which model
    output, in the model's order. transposed: the program was compiled with height and width
    swapped.
    """

    device: Device
    input_dims: Dims
    input_shape: tuple[int, ...]
    pairs: tuple[OutputPair, ...]
    transposed: bool = False

    @property
    def info(self) -> DeviceInfo:
        """See `Device`."""
        return self.device.info

    def infer(self, inputs: Array, progress: Progress | None = None) -> Inference:
        """Run int8 [N, *input_shape]; outputs as the model orders and shapes them, still raw."""
        if inputs.shape[1:] != self.input_shape:
            raise ConfigError(
                f"the inputs have the shape {list(inputs.shape)}; the model takes "
                f"{['N', *self.input_shape]}"
            )
        maps = to_program(inputs, self.input_dims, transposed=self.transposed)
        raw = self.device.infer(maps, progress)
        outputs = tuple(
            from_program(raw.outputs[pair.position], pair.tensor.shape, transposed=self.transposed)
            for pair in self.pairs
        )
        return Inference(outputs, raw.cycles, raw.layer_cycles, raw.latency_source)

    def close(self) -> None:
        """See `Device`."""
        self.device.close()


def check_inputs(inputs: Array, dims: Dims) -> None:
    """Raise ConfigError unless `inputs` is int8 [N, C, H, W] of these dimensions, N at least 1."""
    wanted = f"int8 [N, {dims.channels}, {dims.height}, {dims.width}] (C, H, W)"
    if inputs.dtype != np.int8 or inputs.ndim != 4 or inputs.shape[1:] != dims.shape:
        raise ConfigError(
            f"the inputs are {inputs.dtype} {list(inputs.shape)}; the program takes {wanted}"
        )
    if not len(inputs):
        raise ConfigError(f"there are no inputs; the program takes {wanted} with N of at least 1")
