"""What host TFLite predicts: the golden that every device is compared with.

The runtime is ai-edge-litert with a named kernel set, because two sets of kernels of the same
runtime may differ by one step (LSB) per layer:

- "reference": the plain kernels (resolver BUILTIN_REF), the definition of TFLite's arithmetic;
- "optimised": the default kernels without delegates (BUILTIN_WITHOUT_DEFAULT_DELEGATES), which is
  what TFLite computes on a host where XNNPACK is off.

Samples run one by one (models with fixed reshapes cannot be batched), spread over a few threads
with an interpreter each; the kernels are integer arithmetic, so neither changes a bit.
Results are cached by the hash of the model, the hash of the inputs, the runtime's name and version
and the kernel set. A damaged cache entry is computed again.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
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
_CHUNK: Final = 32
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

    Raises ConfigError when the runtime cannot load the model or it has several inputs.
    """
    with _runtime_errors():
        interpreter = _interpreter(model, KernelSet.REFERENCE)
        details = interpreter.get_input_details()
        if len(details) != 1:
            raise ConfigError(f"the model has {len(details)} inputs; expected exactly one")
        every = {int(item["index"]): _info(item) for item in interpreter.get_tensor_details()}
        outputs = tuple(_info(item) for item in interpreter.get_output_details())
        # The runtime offers no public list of operators; the private one has been stable.
        operators = tuple(
            Operator(
                str(item["op_name"]),
                tuple(int(i) for i in item["inputs"]),
                tuple(int(i) for i in item["outputs"]),
            )
            for item in interpreter._get_ops_details()
        )
        host_input = _info(details[0])
        return Graph(
            _device_input(host_input, operators, every), host_input, outputs, every, operators
        )


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
    Raises ConfigError when the runtime refuses the model or the inputs.
    """
    entry = _entry(model, inputs, kernels, tensors) if use_cache else None
    if entry is not None and (found := _load(entry, kernels, len(inputs))) is not None:
        if progress:
            progress(len(inputs), len(inputs))
        return found
    graph = describe(model)
    wanted = tensors or graph.outputs
    outputs = _run_all(model, host_inputs(graph, inputs), kernels, wanted, progress)
    golden = Golden(kernels, runtime_version(), wanted, outputs)
    if entry is not None:
        _store(entry, golden)
    return golden


def trace(
    model: bytes, sample: Array, kernels: KernelSet = KernelSet.REFERENCE
) -> tuple[TracedTensor, ...]:
    """Every tensor that an operator writes for one sample, in order of execution.

    sample: [1, *input shape]. Raises ConfigError as `golden_outputs` does.
    """
    graph = describe(model)
    with _runtime_errors():
        interpreter = _interpreter(model, kernels, keep_all=True)
        interpreter.set_tensor(graph.host_input.index, host_inputs(graph, sample))
        interpreter.invoke()
        return tuple(
            TracedTensor(
                operator.name,
                graph.tensors[index],
                interpreter.get_tensor(index).reshape(graph.tensors[index].shape),
            )
            for operator in graph.operators
            for index in operator.outputs
        )


def _run_all(
    model: bytes,
    inputs: Array,
    kernels: KernelSet,
    tensors: tuple[TensorInfo, ...],
    progress: Progress | None,
) -> tuple[Array, ...]:
    chunks = [inputs[at : at + _CHUNK] for at in range(0, len(inputs), _CHUNK)]
    workers = max(1, min(4, os.cpu_count() or 1, len(chunks)))
    results: list[list[Array]] = []
    pool = ThreadPoolExecutor(workers)
    try:
        for result in pool.map(lambda chunk: _run_chunk(model, chunk, kernels, tensors), chunks):
            results.append(result)
            if progress:
                progress(min(len(results) * _CHUNK, len(inputs)), len(inputs))
    finally:
        pool.shutdown(cancel_futures=True)
    return tuple(np.concatenate([result[k] for result in results]) for k in range(len(tensors)))


def _run_chunk(
    model: bytes, inputs: Array, kernels: KernelSet, tensors: tuple[TensorInfo, ...]
) -> list[Array]:
    with _runtime_errors():
        outside = {item.index for item in tensors}
        interpreter = _interpreter(model, kernels)
        outside -= {int(item["index"]) for item in interpreter.get_output_details()}
        if outside:  # Intermediate tensors share memory unless the runtime is told to keep them.
            interpreter = _interpreter(model, kernels, keep_all=True)
        source = interpreter.get_input_details()[0]["index"]
        rows: list[list[Array]] = [[] for _ in tensors]
        for sample in inputs:
            interpreter.set_tensor(source, sample[None])
            interpreter.invoke()
            for row, info in zip(rows, tensors, strict=True):
                row.append(interpreter.get_tensor(info.index).reshape(info.shape))
        return [np.stack(row) for row in rows]


def _interpreter(model: bytes, kernels: KernelSet, *, keep_all: bool = False) -> Any:
    """A ready interpreter with a batch of one."""
    runtime_version()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # The runtime announces renames of its own modules.
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = {
        KernelSet.REFERENCE: OpResolverType.BUILTIN_REF,
        KernelSet.OPTIMISED: OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    }[kernels]
    interpreter = Interpreter(
        model_content=model,
        num_threads=1,
        experimental_op_resolver_type=resolver,
        experimental_preserve_all_tensors=keep_all,
    )
    for item in interpreter.get_input_details():
        if len(item["shape"]) and item["shape"][0] != 1:
            interpreter.resize_tensor_input(item["index"], [1, *item["shape"][1:]])
    interpreter.allocate_tensors()
    return interpreter


@contextmanager
def _runtime_errors() -> Iterator[None]:
    """The runtime raises plain ValueError, RuntimeError or TypeError: one sentence of ours."""
    try:
        yield
    except (ValueError, RuntimeError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"host TFLite cannot run the model: {reason}") from error


def _info(details: dict[str, Any]) -> TensorInfo:
    shape = tuple(int(extent) for extent in details["shape"])
    scale, zero_point = details["quantization"]
    return TensorInfo(
        index=int(details["index"]),
        name=str(details["name"]),
        shape=shape[1:] if shape[:1] == (1,) else shape,
        dtype=np.dtype(details["dtype"]).name,
        scale=float(scale),
        zero_point=int(zero_point),
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
