"""The process in which host TFLite runs: a model may make it abort or never return.

Run by path; needs numpy and ai-edge-litert only. It answers requests from stdin on stdout, one by
one, until stdin ends. A message is one line of JSON, [facts, [[dtype, shape], ...]], and then the
bytes of these arrays. The first array of a request is the model. What the runtime prints, on
either stream, goes to stderr.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from time import monotonic
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Facts = dict[str, Any]
Message = tuple[Facts, list[Array]]

LARGEST_LOG_BYTES: Final = 64 << 20
"""A runtime that prints without end is stopped here, before the disk is full."""
_CHUNK: Final = 32
_BEAT_S: Final = 1.0


def write_message(stream: IO[bytes], facts: Facts, arrays: Sequence[Array] = ()) -> None:
    """Write one message. Raises TypeError, before the first byte, for arrays that hold objects."""
    for array in arrays:
        if array.dtype.hasobject or not array.dtype.itemsize:
            raise TypeError(f"a tensor of {array.dtype.name} holds no numbers")
    heads = [(array.dtype.str, array.shape) for array in arrays]
    stream.write(json.dumps([facts, heads]).encode() + b"\n")
    for array in arrays:
        stream.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    stream.flush()


def read_message(stream: IO[bytes]) -> Message:
    """Read one message. Raises EOFError at the end of the stream, ValueError for other bytes."""
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    facts, heads = json.loads(line)
    arrays = []
    for code, shape in heads:
        dtype = np.dtype(code)
        if dtype.hasobject:
            raise ValueError(f"arrays of {code} are not taken")
        data = bytearray(math.prod(shape) * dtype.itemsize)
        if stream.readinto(data) != len(data):  # type: ignore[attr-defined]  # not in IO[bytes]
            raise EOFError
        arrays.append(np.frombuffer(data, dtype).reshape(shape))
    return facts, arrays


class _Answers:
    """The stream of answers, shared by the threads that run samples."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._lock, self._last = stream, Lock(), monotonic()

    def send(self, facts: Facts, arrays: Sequence[Array] = ()) -> None:
        with self._lock:
            write_message(self._stream, facts, arrays)
            self._last = monotonic()

    def beat(self) -> None:
        """A sample is done; said once in a while, so that slow is told from stuck."""
        if monotonic() - self._last > _BEAT_S:
            self.send({"alive": True})


def main() -> int:
    """Answer until stdin ends."""
    answers = _Answers(os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this one.
    _limit()
    try:
        _runtime()
    except ImportError as error:
        answers.send({"unusable": str(error)})
        return 0
    while True:
        try:
            facts, arrays = read_message(sys.stdin.buffer)
        except EOFError:
            return 0
        try:
            answers.send(*_answer(facts, arrays, answers))
        except (ValueError, RuntimeError, TypeError, MemoryError) as error:
            answers.send({"refused": " ".join(str(error).split()) or type(error).__name__})


def _limit() -> None:
    with contextlib.suppress(ImportError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        limit = LARGEST_LOG_BYTES if hard < 0 else min(hard, LARGEST_LOG_BYTES)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))


def _runtime() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # The runtime announces renames of its own modules.
        from ai_edge_litert import interpreter
    return interpreter


def _answer(facts: Facts, arrays: list[Array], answers: _Answers) -> Message:
    model = arrays[0].tobytes()
    if facts["do"] == "describe":
        return _describe(model), []
    if facts["do"] == "trace":
        return {}, _trace(model, arrays[1], facts["kernels"], facts["tensors"])
    return {}, _run(model, arrays[1], facts["kernels"], facts["tensors"], answers)


def _describe(model: bytes) -> Facts:
    interpreter = _interpreter(model, "reference")
    # The runtime offers no public list of operators; the private one has been stable.
    operators = [
        {
            "name": str(item["op_name"]),
            "inputs": [int(i) for i in item["inputs"]],
            "outputs": [int(i) for i in item["outputs"]],
        }
        for item in interpreter._get_ops_details()
    ]
    return {
        "inputs": [_info(item) for item in interpreter.get_input_details()],
        "outputs": [_info(item) for item in interpreter.get_output_details()],
        "tensors": [_info(item) for item in interpreter.get_tensor_details()],
        "operators": operators,
    }


def _info(details: dict[str, Any]) -> Facts:
    shape = [int(extent) for extent in details["shape"]]
    scale, zero_point = details["quantization"]
    return {
        "index": int(details["index"]),
        "name": str(details["name"]),
        "shape": shape[1:] if shape[:1] == [1] else shape,
        "dtype": np.dtype(details["dtype"]).name,
        "scale": float(scale),
        "zero_point": int(zero_point),
    }


def _trace(model: bytes, sample: Array, kernels: str, tensors: list[int]) -> list[Array]:
    interpreter = _interpreter(model, kernels, keep_all=True)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], sample)
    interpreter.invoke()
    return [interpreter.get_tensor(index) for index in tensors]


def _run(
    model: bytes, inputs: Array, kernels: str, tensors: list[int], answers: _Answers
) -> list[Array]:
    """Every sample; for each tensor [N, *the tensor's shape with its batch]."""
    chunks = [inputs[at : at + _CHUNK] for at in range(0, len(inputs), _CHUNK)]
    workers = max(1, min(4, os.cpu_count() or 1, len(chunks)))
    results: list[list[Array]] = []
    pool = ThreadPoolExecutor(workers)
    try:
        work = pool.map(lambda chunk: _run_chunk(model, chunk, kernels, tensors, answers), chunks)
        for result in work:
            results.append(result)
            answers.send({"done": min(len(results) * _CHUNK, len(inputs))})
    finally:
        pool.shutdown(cancel_futures=True)
    return [np.concatenate([result[k] for result in results]) for k in range(len(tensors))]


def _run_chunk(
    model: bytes, inputs: Array, kernels: str, tensors: list[int], answers: _Answers
) -> list[Array]:
    interpreter = _interpreter(model, kernels)
    outside = set(tensors) - {int(item["index"]) for item in interpreter.get_output_details()}
    if outside:  # Intermediate tensors share memory unless the runtime is told to keep them.
        interpreter = _interpreter(model, kernels, keep_all=True)
    source = interpreter.get_input_details()[0]["index"]
    rows: list[list[Array]] = [[] for _ in tensors]
    for sample in inputs:
        interpreter.set_tensor(source, sample[None])
        interpreter.invoke()
        for row, index in zip(rows, tensors, strict=True):
            row.append(interpreter.get_tensor(index))
        answers.beat()
    return [np.stack(row) for row in rows]


def _interpreter(model: bytes, kernels: str, *, keep_all: bool = False) -> Any:
    """A ready interpreter with a batch of one."""
    runtime = _runtime()
    resolver = {
        "reference": runtime.OpResolverType.BUILTIN_REF,
        "optimised": runtime.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    }[kernels]
    interpreter = runtime.Interpreter(
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


if __name__ == "__main__":
    sys.exit(main())
