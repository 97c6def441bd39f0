"""Parts of a TFLite model as models of their own, over the schema's object interface.

A cut makes one tensor the input and another one the output, and keeps the operators in between.
Operands that come from elsewhere may be frozen: they become constants with recorded values.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_NONE: Final = -1
"""Number of an operand that is absent."""
_FIRST_BYTES: Final = 1024


@dataclass(frozen=True, slots=True)
class Cut:
    """source, output: numbers of tensors. frozen: tensors that become constants. operators: places
    of the operators that stay, in order."""

    source: int
    output: int
    frozen: tuple[int, ...]
    operators: tuple[int, ...]


def schema() -> ModuleType:
    """The generated classes of the TFLite file format."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # The runtime announces renames of its own modules.
        from ai_edge_litert import schema_py_generated
    module: ModuleType = schema_py_generated
    return module


def unpack(data: bytes) -> Any:
    """A sound model file as a tree of objects."""
    return schema().ModelT.InitFromPackedBuf(data, 0)


def pack(model: Any) -> bytes:
    """The file of a tree of objects."""
    import flatbuffers

    builder = flatbuffers.Builder(_FIRST_BYTES)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def operator_name(model: Any, operator: Any) -> str:
    """As in the schema, e.g. "CONV_2D"."""
    record = model.operatorCodes[operator.opcodeIndex]
    code = max(record.builtinCode, record.deprecatedBuiltinCode)
    names = vars(schema().BuiltinOperator).items()
    return next((name for name, value in names if value == code), str(code))


def operator_names(data: bytes) -> tuple[str, ...]:
    """Of the main graph, in order."""
    model = unpack(data)
    return tuple(operator_name(model, op) for op in model.subgraphs[0].operators)


def cuts_of(data: bytes) -> tuple[Cut, ...]:
    """Every part with an int8 input and an int8 output, the smallest first, the whole last."""
    model = unpack(data)
    graph = model.subgraphs[0]
    found = [
        cut
        for place, operator in enumerate(graph.operators)
        for output in operator.outputs
        if _is_activation(model, output)
        for cut in (*_alone(model, place, output), *_blocks(model, output))
    ]
    return tuple(sorted(dict.fromkeys(found), key=lambda cut: len(cut.operators)))


def extract(data: bytes, cut: Cut, recorded: Mapping[int, Array]) -> bytes:
    """The part as a file. recorded: values of the frozen tensors by number."""
    model = unpack(data)
    graph = model.subgraphs[0]
    operators = [graph.operators[place] for place in cut.operators]
    used = {cut.source, cut.output}
    used |= {int(t) for op in operators for t in (*op.inputs, *op.outputs) if t != _NONE}
    numbers = {old: new for new, old in enumerate(sorted(used))}
    buffers = [schema().BufferT()]
    for old in numbers:
        tensor = graph.tensors[old]
        values = recorded[old] if old in cut.frozen else model.buffers[tensor.buffer].data
        tensor.buffer = 0
        if values is not None and old != cut.source:
            tensor.buffer = len(buffers)
            buffers.append(make_buffer(np.asarray(values)))
    for operator in operators:
        operator.inputs = [numbers.get(int(t), _NONE) for t in operator.inputs]
        operator.outputs = [numbers[int(t)] for t in operator.outputs]
        # What a temporary of the runtime was is of no use in another graph.
        operator.intermediates = None
    graph.tensors = [graph.tensors[old] for old in numbers]
    graph.operators = operators
    graph.inputs, graph.outputs = [numbers[cut.source]], [numbers[cut.output]]
    model.buffers, model.subgraphs = buffers, [graph]
    model.metadata = model.metadataBuffer = model.signatureDefs = None
    _drop_unused_codes(model)
    return pack(model)


def drop_unused_buffers(model: Any) -> None:
    """Keep only buffers that a tensor of the only graph refers to; buffer 0 stays empty."""
    tensors = model.subgraphs[0].tensors
    used = sorted({0} | {tensor.buffer for tensor in tensors})
    model.buffers = [model.buffers[number] for number in used]
    for tensor in tensors:
        tensor.buffer = used.index(tensor.buffer)


def make_buffer(values: Array) -> Any:
    """A buffer with these bytes."""
    buffer = schema().BufferT()
    buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
    return buffer


def _drop_unused_codes(model: Any) -> None:
    operators = model.subgraphs[0].operators
    used = sorted({operator.opcodeIndex for operator in operators})
    model.operatorCodes = [model.operatorCodes[index] for index in used]
    for operator in operators:
        operator.opcodeIndex = used.index(operator.opcodeIndex)


def _alone(model: Any, place: int, output: int) -> Iterator[Cut]:
    """The operator by itself, all operands but one frozen."""
    operands = _operands(model, model.subgraphs[0].operators[place])
    for source in operands:
        frozen = tuple(other for other in operands if other != source)
        yield Cut(source, output, frozen, (place,))


def _blocks(model: Any, output: int) -> Iterator[Cut]:
    """Up to each tensor that all ways to the output go through."""
    tensors = range(len(model.subgraphs[0].tensors))
    for source in tensors:
        if source != output and _is_activation(model, source):
            between = _between(model, source, output)
            if between is not None:
                yield Cut(source, output, (), between)


def _between(model: Any, source: int, output: int) -> tuple[int, ...] | None:
    """Places of the operators that make `output` from `source` alone; None where they need more."""
    graph = model.subgraphs[0]
    writer = {int(t): place for place, op in enumerate(graph.operators) for t in op.outputs}
    wanted, kept, reached = [output], set(), False
    while wanted:
        tensor = wanted.pop()
        if tensor == source:
            reached = True
        elif tensor in writer:
            if writer[tensor] not in kept:
                kept.add(writer[tensor])
                wanted += _operands(model, graph.operators[writer[tensor]])
        else:
            return None
    return tuple(sorted(kept)) if reached else None


def _operands(model: Any, operator: Any) -> list[int]:
    """Its operands that are no constants, each once."""
    found = [int(t) for t in operator.inputs if t != _NONE and not _is_constant(model, int(t))]
    return list(dict.fromkeys(found))


def _is_constant(model: Any, tensor: int) -> bool:
    data = model.buffers[model.subgraphs[0].tensors[tensor].buffer].data
    return data is not None and len(data) > 0


def _is_activation(model: Any, tensor: int) -> bool:
    kind = model.subgraphs[0].tensors[tensor].type
    return bool(kind == schema().TensorType.INT8) and not _is_constant(model, tensor)
