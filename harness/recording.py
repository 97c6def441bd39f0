"""Sessions as JSON lines: recorded once at a board, replayed anywhere.

The first line says what ran; each further line is one sample: the hash of its input, its raw
outputs and its cycles. A replay gives the same results under the source "replay" and refuses
inputs that were not recorded.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from compiler import AxonProgram, encode
from harness.artefacts import sha256
from harness.device import Array, Device, DeviceInfo, Inference, check_inputs
from harness.errors import ConfigError, DeviceFault
from harness.progress import Progress

KIND: Final = "axonrig-session"
SCHEMA: Final = 1
_DTYPES: Final = ("int8", "int16", "int32")
_MAX_LINE: Final = 64 << 20


@dataclass(slots=True, eq=False)
class RecordingDevice:
    """Passes everything to `device` and writes down what came back."""

    device: Device
    stream: IO[str]
    _started: bool = False

    @property
    def info(self) -> DeviceInfo:
        """See `Device`."""
        return self.device.info

    def infer(self, inputs: Array, progress: Progress | None = None) -> Inference:
        """See `Device`."""
        result = self.device.infer(inputs, progress)
        if not self._started:
            self._started = True
            self._write({"kind": KIND, "schema": SCHEMA, "info": asdict(self.device.info)})
        for index, sample in enumerate(inputs):
            self._write(_sample_line(sample, result, index, len(inputs)))
        return result

    def close(self) -> None:
        """See `Device`."""
        self.device.close()
        self.stream.close()

    def _write(self, line: Mapping[str, Any]) -> None:
        self.stream.write(json.dumps(line) + "\n")
        self.stream.flush()


def _sample_line(sample: Array, result: Inference, index: int, count: int) -> dict[str, Any]:
    outputs = [output[_rows(output, count, index)] for output in result.outputs]
    line: dict[str, Any] = {
        "input_sha256": sha256(np.ascontiguousarray(sample).tobytes()),
        "outputs": [_array_line(output) for output in outputs],
        "latency_source": result.latency_source,
    }
    if result.cycles is not None:
        line["cycles"] = int(result.cycles[index])
    if result.layer_cycles is not None:
        line["layer_cycles"] = [int(value) for value in result.layer_cycles[index]]
    return line


def _rows(output: Array, count: int, index: int) -> slice:
    """The rows of one sample: an output between space-to-batch layers has several for each."""
    each = len(output) // count
    return slice(index * each, (index + 1) * each)


def _array_line(array: Array) -> dict[str, Any]:
    data = np.ascontiguousarray(array)
    return {
        "dtype": str(data.dtype),
        "shape": list(data.shape),
        "data": base64.b64encode(data.tobytes()).decode("ascii"),
    }


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One recorded sample."""

    outputs: tuple[Array, ...]
    cycles: int | None
    layer_cycles: tuple[int, ...] | None
    latency_source: str | None


@dataclass(slots=True, eq=False)
class ReplayDevice:
    """Answers from a recording. A sample that was recorded several times is replayed in order, the
    last one for good."""

    program: AxonProgram
    path: Path
    recorded: DeviceInfo
    samples: dict[str, deque[Sample]] = field(default_factory=dict)
    _closed: bool = False

    @property
    def info(self) -> DeviceInfo:
        """See `Device`. The board's name and clock, but the source "replay"."""
        return replace(self.recorded, source="replay")

    def infer(self, inputs: Array, progress: Progress | None = None) -> Inference:
        """See `Device`. Raises ConfigError for a sample that is not in the recording."""
        if self._closed:
            raise DeviceFault(f"the replay of {self.path} was closed; open it again")
        check_inputs(inputs, self.program.input_dims)
        found = []
        for index, sample in enumerate(inputs):
            found.append(self._next(index, sha256(np.ascontiguousarray(sample).tobytes())))
            if progress:
                progress(index + 1, len(inputs))
        return _join(found)

    def _next(self, index: int, digest: str) -> Sample:
        queue = self.samples.get(digest)
        if not queue:
            raise ConfigError(
                f"{self.path} has no result for sample {index} (sha256 {digest[:12]}): record the "
                "session again with these samples"
            )
        return queue.popleft() if len(queue) > 1 else queue[0]

    def close(self) -> None:
        """See `Device`."""
        self._closed = True


def _join(samples: list[Sample]) -> Inference:
    outputs = tuple(
        np.concatenate(parts) for parts in zip(*(sample.outputs for sample in samples), strict=True)
    )
    cycles = [sample.cycles for sample in samples if sample.cycles is not None]
    layers = [sample.layer_cycles for sample in samples if sample.layer_cycles is not None]
    complete = len(cycles) == len(samples)
    return Inference(
        outputs,
        cycles=np.array(cycles, np.int64) if complete else None,
        layer_cycles=np.array(layers, np.int64) if len(layers) == len(samples) else None,
        latency_source=samples[0].latency_source if complete else None,
    )


def open_replay(path: Path, program: AxonProgram) -> ReplayDevice:
    """Read a recording of `program`. Raises ConfigError, naming file and line."""
    lines = _lines(path)
    head = next(lines, (1, {}))[1]
    if head.get("kind") != KIND or head.get("schema") != SCHEMA:
        raise ConfigError(f"{path} is no session recording of schema {SCHEMA}")
    info = _info(path, head.get("info"))
    if info.model_sha256 != sha256(encode(program)):
        raise ConfigError(
            f"{path} was recorded with the model {info.model} ({info.model_sha256[:12]}), not "
            f"with {program.name} ({sha256(encode(program))[:12]})"
        )
    device = ReplayDevice(program, path, info)
    for number, line in lines:
        try:
            sample = _sample(line)
            device.samples.setdefault(str(line["input_sha256"]), deque()).append(sample)
        except (KeyError, TypeError, ValueError, binascii.Error) as error:
            raise ConfigError(f"{path}, line {number}: not a recorded sample ({error})") from error
    return device


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with path.open(encoding="utf-8") as stream:
            number = 0
            while text := stream.readline(_MAX_LINE):
                number += 1
                value = json.loads(text)
                if not isinstance(value, dict):
                    raise ConfigError(f"{path}, line {number}: expected a JSON object")
                yield number, value
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path}, line {number}: not JSON ({error})") from error


def _info(path: Path, value: object) -> DeviceInfo:
    try:
        if not isinstance(value, dict):
            raise TypeError("'info' is missing")
        return DeviceInfo(**value)
    except TypeError as error:
        raise ConfigError(f"{path}, line 1: {error}") from error


def _sample(line: Mapping[str, Any]) -> Sample:
    layers = line.get("layer_cycles")
    cycles = line.get("cycles")
    return Sample(
        outputs=tuple(_array(item) for item in line["outputs"]),
        cycles=None if cycles is None else int(cycles),
        layer_cycles=None if layers is None else tuple(int(value) for value in layers),
        latency_source=line.get("latency_source"),
    )


def _array(value: Mapping[str, Any]) -> Array:
    if value["dtype"] not in _DTYPES:
        raise ValueError(f"dtype {value['dtype']!r}")
    data = base64.b64decode(value["data"], validate=True)
    return np.frombuffer(data, value["dtype"]).reshape([int(extent) for extent in value["shape"]])
