"""What host TFLite predicts: the golden that every device is compared with.

The runtime is ai-edge-litert with a named kernel set, because two sets of kernels of the same
runtime may differ by one step (LSB) per layer:

- "reference": the plain kernels (resolver BUILTIN_REF), the definition of TFLite's arithmetic;
- "optimised": the default kernels without delegates (BUILTIN_WITHOUT_DEFAULT_DELEGATES), which is
  what TFLite computes on a host where XNNPACK is off.

Samples run one by one (models with fixed reshapes cannot be batched), spread over a few threads
with an interpreter each; the kernels are integer arithmetic, so neither changes a bit.
The runtime works in a process of its own (harness/host_tflite), since some models end it.
Results are cached by the hash of the model, the hash of the inputs, the runtime's name and version
and the kernel set. A damaged cache entry is computed again.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from harness.artefacts import npz_bytes, sha256, write_bytes
from harness.cache import cache_dir
from harness.errors import ConfigError, ToolchainError
from harness.progress import Progress

Array = npt.NDArray[Any]

RUNTIME: Final = "ai-edge-litert"
_CACHE_SCHEMA: Final = 1


class KernelSet(Enum):
    """A named set of host kernels; see the top of this file."""

    REFERENCE = "reference"
    OPTIMISED = "optimised"


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor. shape: extent of one sample, without the batch; scale 0 = not quantized."""

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float
    zero_point: int

    @property
    def elements(self) -> int:
        """Values per sample."""
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True, slots=True)
class Operator:
    """One TFLite operator: its name and its tensors by index."""

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Graph:
    """The model as the runtime sees it.

    input: the int8 tensor that the device takes. host_input: what the runtime takes, the same or,
    in front of a leading QUANTIZE, float32 or uint8.
    """

    input: TensorInfo
    host_input: TensorInfo
    outputs: tuple[TensorInfo, ...]
    tensors: dict[int, TensorInfo]
    operators: tuple[Operator, ...]

    def device_outputs(self, *, skip_softmax: bool = False) -> tuple[TensorInfo, ...]:
        """What the device gives for each output: the int8 tensor before a cast to another type, and
        with `skip_softmax` the one before a softmax."""
        outputs = tuple(
            info if info.dtype == "int8" else self._before(info, ("QUANTIZE", "DEQUANTIZE"))
            for info in self.outputs
        )
        return tuple(self._before(info, ("SOFTMAX",)) if skip_softmax else info for info in outputs)

    def _before(self, info: TensorInfo, names: tuple[str, ...]) -> TensorInfo:
        """The first input of the operator that writes a tensor, if it is one of these."""
        writers = [op for op in self.operators if op.name in names and info.index in op.outputs]
        return self.tensors[writers[0].inputs[0]] if writers else info


@dataclass(frozen=True, slots=True, eq=False)
class Golden:
    """Host outputs of every sample. outputs[k]: [N, *tensors[k].shape], the tensor's own dtype."""

    kernels: KernelSet
    runtime: str
    tensors: tuple[TensorInfo, ...]
    outputs: tuple[Array, ...]
    cached: bool = False

    @property
    def name(self) -> str:
        """How reports call this executor, e.g. "tflite-reference"."""
        return f"tflite-{self.kernels.value}"


@dataclass(frozen=True, slots=True, eq=False)
class TracedTensor:
    """What one operator wrote for one sample. values: [*info.shape]."""

    operator: str
    info: TensorInfo
    values: Array


@cache
def runtime_version() -> str:
    """Name and version of the host runtime. Raises ToolchainError when it is not installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"{RUNTIME} {version(RUNTIME)}"
    except PackageNotFoundError as error:
        raise ToolchainError(
            f"host TFLite is not installed: pip install {RUNTIME} gives the goldens that devices "
            "are compared with"
        ) from error


def describe(model: bytes) -> Graph:
    """Input, outputs and operators of a TFLite model.

    Raises ConfigError when the runtime cannot load the model or crashes on it, or the model has
    several inputs.
    """
    found, _ = _ask({"do": "describe"}, model)
    try:
        inputs, outputs, every = (
            tuple(_restore(item) for item in found[key]) for key in ("inputs", "outputs", "tensors")
        )
        operators = tuple(
            Operator(item["name"], tuple(item["inputs"]), tuple(item["outputs"]))
            for item in found["operators"]
        )
    except (KeyError, TypeError) as error:
        raise _unreadable() from error
    if len(inputs) != 1:
        raise ConfigError(f"the model has {len(inputs)} inputs; expected exactly one")
    tensors = {info.index: info for info in every}
    device_input = _device_input(inputs[0], operators, tensors)
    return Graph(device_input, inputs[0], outputs, tensors, operators)


def _device_input(
    host_input: TensorInfo, operators: tuple[Operator, ...], tensors: dict[int, TensorInfo]
) -> TensorInfo:
    """Behind a QUANTIZE that turns the input into int8."""
    if host_input.dtype == "int8":
        return host_input
    casts = [op for op in operators if op.name == "QUANTIZE" and host_input.index in op.inputs]
    targets = [tensors[op.outputs[0]] for op in casts]
    return targets[0] if len(targets) == 1 and targets[0].dtype == "int8" else host_input


def host_inputs(graph: Graph, inputs: Array) -> Array:
    """The device's int8 inputs as the runtime takes them: float32 or uint8 before a QUANTIZE."""
    host, device = graph.host_input, graph.input
    if host.index == device.index:
        return inputs
    real = (inputs.astype(np.float64) - device.zero_point) * device.scale
    if host.dtype == "uint8":
        codes = np.clip(np.rint(real / host.scale) + host.zero_point, 0, 255)
        return np.asarray(codes, np.uint8)
    return np.asarray(real, np.float32)


def golden_outputs(
    model: bytes,
    inputs: Array,
    kernels: KernelSet = KernelSet.REFERENCE,
    *,
    tensors: tuple[TensorInfo, ...] | None = None,
    use_cache: bool = True,
    progress: Progress | None = None,
) -> Golden:
    """Run every sample on host TFLite, or take the results from the cache.

    model: the .tflite file's bytes. inputs: int8 [N, *input shape], as the device takes them.
    tensors: which tensors to return; the model's outputs when None.
    Raises ConfigError when the runtime refuses the model or the inputs, crashes or hangs on them.
    """
    entry = _entry(model, inputs, kernels, tensors) if use_cache else None
    if entry is not None and (found := _load(entry, kernels, len(inputs))) is not None:
        if progress:
            progress(len(inputs), len(inputs))
        return found
    graph = describe(model)
    wanted = tensors or graph.outputs
    values = host_inputs(graph, inputs)
    outputs = _compute("run", model, values, kernels, wanted, progress)
    golden = Golden(kernels, runtime_version(), wanted, outputs)
    if entry is not None:
        _store(entry, golden)
    return golden


def trace(
    model: bytes, sample: Array, kernels: KernelSet = KernelSet.REFERENCE
) -> tuple[TracedTensor, ...]:
    """Every tensor of numbers that an operator writes for one sample, in order of execution.

    sample: [1, *input shape]. Raises ConfigError as `golden_outputs` does.
    """
    graph = describe(model)
    written = [
        (operator.name, graph.tensors[index])
        for operator in graph.operators
        for index in operator.outputs
        if np.dtype(graph.tensors[index].dtype).kind in "biufc"
    ]
    wanted = tuple(info for _, info in written)
    values = _compute("trace", model, host_inputs(graph, sample), kernels, wanted)
    return tuple(
        TracedTensor(name, info, array.reshape(info.shape))
        for (name, info), array in zip(written, values, strict=True)
    )


def _compute(
    what: str,
    model: bytes,
    inputs: Array,
    kernels: KernelSet,
    tensors: tuple[TensorInfo, ...],
    progress: Progress | None = None,
) -> tuple[Array, ...]:
    """The named tensors for every sample: [N, *shape] each."""
    wanted = [info.index for info in tensors]
    request = {"do": what, "kernels": kernels.value, "tensors": wanted}
    _, arrays = _ask(request, model, inputs, progress=progress)
    try:
        return tuple(
            array.reshape(len(inputs), *info.shape)
            for info, array in zip(tensors, arrays, strict=True)
        )
    except ValueError as error:
        raise _unreadable() from error


def _ask(
    facts: dict[str, Any], model: bytes, *arrays: Array, progress: Progress | None = None
) -> tuple[dict[str, Any], list[Array]]:
    from harness.host_tflite.process import HOST

    runtime_version()
    return HOST.ask(facts, [np.frombuffer(model, np.uint8), *arrays], progress)


def _unreadable() -> ToolchainError:
    return ToolchainError(
        f"{runtime_version()} describes the model in a way that is not understood"
    )


def _entry(
    model: bytes, inputs: Array, kernels: KernelSet, tensors: tuple[TensorInfo, ...] | None
) -> Path | None:
    folder = cache_dir("golden")
    if folder is None:
        return None
    data = hashlib.sha256(f"{inputs.dtype.str}{inputs.shape}".encode())
    data.update(np.ascontiguousarray(inputs).tobytes())
    wanted = "outputs" if tensors is None else [item.index for item in tensors]
    facts = [_CACHE_SCHEMA, sha256(model), data.hexdigest(), runtime_version(), kernels.value]
    return folder / f"{sha256(json.dumps([*facts, wanted]).encode())}.npz"


def _store(entry: Path, golden: Golden) -> None:
    facts = {
        "runtime": golden.runtime,
        "kernels": golden.kernels.value,
        "tensors": [asdict(item) for item in golden.tensors],
    }
    arrays: dict[str, Array] = {f"output_{k}": a for k, a in enumerate(golden.outputs)}
    arrays["facts"] = np.frombuffer(json.dumps(facts).encode(), dtype=np.uint8)
    # A cache that cannot be written costs time, never a result.
    with suppress(OSError):
        entry.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(entry, npz_bytes(arrays))


def _load(entry: Path, kernels: KernelSet, samples: int) -> Golden | None:
    """The cached result, or None when there is none or it is not exactly as it was written."""
    try:
        with entry.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            facts = json.loads(archive["facts"].tobytes())
            tensors = tuple(_restore(item) for item in facts["tensors"])
            outputs = tuple(archive[f"output_{k}"] for k in range(len(tensors)))
    except (
        OSError,
        ValueError,
        TypeError,
        KeyError,
        EOFError,
        RuntimeError,
        MemoryError,
        zipfile.BadZipFile,
        zlib.error,
    ):
        return None
    whole = bool(tensors) and facts["kernels"] == kernels.value
    for info, output in zip(tensors, outputs, strict=True):
        whole = whole and output.shape == (samples, *info.shape) and output.dtype.name == info.dtype
    return Golden(kernels, runtime_version(), tensors, outputs, cached=True) if whole else None


def _restore(item: dict[str, Any]) -> TensorInfo:
    info = TensorInfo(**item)
    return replace(info, shape=tuple(int(extent) for extent in info.shape))
