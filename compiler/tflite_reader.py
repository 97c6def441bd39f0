"""TFLite flatbuffer -> Model. The file is untrusted: counts and shapes are bounded before use."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import tflite

from compiler.errors import ModelFormatError, UnsupportedError
from compiler.model import Model, Operator, Quant, Tensor

IDENTIFIER: Final = b"TFL3"
MAX_RANK: Final = 8
MAX_ELEMENTS: Final = 1 << 26
MIN_BYTES: Final = 64

# What flatbuffers' generated accessors raise when an offset points nowhere.
_CORRUPT: Final = (
    struct.error,
    IndexError,
    ValueError,
    TypeError,
    AttributeError,
    KeyError,
    OverflowError,
    UnicodeDecodeError,
    MemoryError,
    AssertionError,
)

_DTYPES: Final[dict[int, str]] = {
    tflite.TensorType.FLOAT32: "float32",
    tflite.TensorType.FLOAT16: "float16",
    tflite.TensorType.INT32: "int32",
    tflite.TensorType.UINT8: "uint8",
    tflite.TensorType.INT64: "int64",
    tflite.TensorType.BOOL: "bool",
    tflite.TensorType.INT16: "int16",
    tflite.TensorType.INT8: "int8",
    tflite.TensorType.FLOAT64: "float64",
    tflite.TensorType.UINT32: "uint32",
    tflite.TensorType.UINT16: "uint16",
    tflite.TensorType.RESOURCE: "resource",
}

_OPERATOR_NAMES: Final[dict[int, str]] = {
    value: name
    for name, value in vars(tflite.BuiltinOperator).items()
    if isinstance(value, int) and not name.startswith("_")
}

_ACTIVATIONS: Final[dict[int, str]] = {
    value: name
    for name, value in vars(tflite.ActivationFunctionType).items()
    if isinstance(value, int) and not name.startswith("_")
}

_WINDOW: Final = ("Padding", "StrideH", "StrideW")
_ATTRIBUTES: Final[dict[str, tuple[type[Any], tuple[str, ...]]]] = {
    "CONV_2D": (
        tflite.Conv2DOptions,
        (*_WINDOW, "DilationHFactor", "DilationWFactor", "FusedActivationFunction"),
    ),
    "DEPTHWISE_CONV_2D": (
        tflite.DepthwiseConv2DOptions,
        (
            *_WINDOW,
            "DilationHFactor",
            "DilationWFactor",
            "DepthMultiplier",
            "FusedActivationFunction",
        ),
    ),
    "AVERAGE_POOL_2D": (
        tflite.Pool2DOptions,
        (*_WINDOW, "FilterHeight", "FilterWidth", "FusedActivationFunction"),
    ),
    "MAX_POOL_2D": (
        tflite.Pool2DOptions,
        (*_WINDOW, "FilterHeight", "FilterWidth", "FusedActivationFunction"),
    ),
    "FULLY_CONNECTED": (
        tflite.FullyConnectedOptions,
        ("FusedActivationFunction", "WeightsFormat", "KeepNumDims"),
    ),
    "ADD": (tflite.AddOptions, ("FusedActivationFunction",)),
    "SUB": (tflite.SubOptions, ("FusedActivationFunction",)),
    "MUL": (tflite.MulOptions, ("FusedActivationFunction",)),
    "CONCATENATION": (tflite.ConcatenationOptions, ("Axis", "FusedActivationFunction")),
    "SOFTMAX": (tflite.SoftmaxOptions, ("Beta",)),
    "LEAKY_RELU": (tflite.LeakyReluOptions, ("Alpha",)),
    "MEAN": (tflite.ReducerOptions, ("KeepDims",)),
    "REDUCE_MAX": (tflite.ReducerOptions, ("KeepDims",)),
    "RESIZE_NEAREST_NEIGHBOR": (
        tflite.ResizeNearestNeighborOptions,
        ("AlignCorners", "HalfPixelCenters"),
    ),
    "STRIDED_SLICE": (
        tflite.StridedSliceOptions,
        ("BeginMask", "EndMask", "EllipsisMask", "NewAxisMask", "ShrinkAxisMask"),
    ),
    "SPLIT": (tflite.SplitOptions, ("NumSplits",)),
    "SPLIT_V": (tflite.SplitVOptions, ("NumSplits",)),
    "VAR_HANDLE": (tflite.VarHandleOptions, ("SharedName", "Container")),
    "CALL_ONCE": (tflite.CallOnceOptions, ("InitSubgraphIndex",)),
}


def read_tflite(data: bytes) -> Model:
    """Parse a model's main graph.

    Raises ModelFormatError when the bytes are no sound TFLite file, UnsupportedError for parts of
    the format that no Axon program can use (more than one signature graph, external buffers).
    """
    if len(data) < MIN_BYTES or data[4:8] != IDENTIFIER:
        raise ModelFormatError(
            f"not a TFLite model: {len(data)} bytes without the TFL3 mark at byte 4; "
            "give the .tflite file that the converter wrote"
        )
    try:
        return _read(data)
    except _CORRUPT as error:
        raise ModelFormatError(
            f"the TFLite file is damaged ({type(error).__name__}: {error}); copy it again"
        ) from error


def _read(data: bytes) -> Model:
    root = tflite.Model.GetRootAs(data, 0)
    bounded = _Bounded(len(data))
    if bounded(root.SubgraphsLength(), "subgraphs") < 1:
        raise ModelFormatError("the TFLite file has no graph")
    codes = [
        _operator_name(root.OperatorCodes(i))
        for i in range(bounded(root.OperatorCodesLength(), "operator codes"))
    ]
    graph = root.Subgraphs(0)
    tensors = tuple(
        _tensor(root, graph.Tensors(i), i, bounded)
        for i in range(bounded(graph.TensorsLength(), "tensors"))
    )
    operators = tuple(
        _operator(graph.Operators(i), i, codes, len(tensors), bounded)
        for i in range(bounded(graph.OperatorsLength(), "operators"))
    )
    if not operators:
        raise ModelFormatError("the TFLite graph has no operators")
    inputs = _indices(graph.InputsAsNumpy(), len(tensors), "graph input")
    outputs = _indices(graph.OutputsAsNumpy(), len(tensors), "graph output")
    if not outputs or not inputs:
        raise ModelFormatError("the TFLite graph has no input or no output")
    model = Model(tensors, operators, inputs, outputs)
    _check_order(model)
    return model


class _Bounded:
    """Accepts a vector length only if that many elements could fit into the file."""

    def __init__(self, file_bytes: int) -> None:
        self._limit = file_bytes // 4 + 1

    def __call__(self, count: int, what: str) -> int:
        if not 0 <= count <= self._limit:
            raise ModelFormatError(f"the TFLite file claims {count} {what}, more than fit into it")
        return count


def _operator_name(code: Any) -> str:
    """The builtin's name; older files keep the number in the deprecated 8-bit field."""
    number = max(int(code.BuiltinCode()), int(code.DeprecatedBuiltinCode()))
    if number == tflite.BuiltinOperator.CUSTOM:
        custom = code.CustomCode()
        return f"CUSTOM({custom.decode('utf-8', 'replace') if custom else ''})"
    return _OPERATOR_NAMES.get(number, f"BUILTIN_{number}")


def _tensor(root: Any, record: Any, index: int, bounded: Callable[[int, str], int]) -> Tensor:
    rank = bounded(record.ShapeLength(), "dimensions")
    if rank > MAX_RANK:
        raise ModelFormatError(f"tensor {index} has {rank} dimensions, at most {MAX_RANK}")
    shape = tuple(int(record.Shape(i)) for i in range(rank))
    if any(extent < 0 for extent in shape) or math.prod(shape) > MAX_ELEMENTS:
        raise ModelFormatError(f"tensor {index} has the impossible shape {list(shape)}")
    dtype = _DTYPES.get(int(record.Type()), f"type {int(record.Type())}")
    raw_name = record.Name()
    name = raw_name.decode("utf-8", "replace") if raw_name else f"tensor_{index}"
    return Tensor(
        name=name,
        shape=shape,
        dtype=dtype,
        quant=_quant(record.Quantization(), index, bounded),
        data=_constant(root, record, shape, dtype, index),
    )


def _quant(record: Any, index: int, bounded: Callable[[int, str], int]) -> Quant | None:
    if record is None:
        return None
    count = bounded(record.ScaleLength(), "scales")
    if count == 0:
        return None
    scales = np.array(record.ScaleAsNumpy(), dtype=np.float32)
    zero_count = bounded(record.ZeroPointLength(), "zero points")
    zeros = np.zeros(count, np.int64)
    if zero_count:
        zeros = np.array(record.ZeroPointAsNumpy(), dtype=np.int64)
    if zeros.size != count or not np.all(np.isfinite(scales)) or np.any(scales <= 0):
        raise ModelFormatError(f"tensor {index} has unusable quantization parameters")
    if np.any(np.abs(zeros) > (1 << 31)):
        raise ModelFormatError(f"tensor {index} has a zero point out of range")
    return Quant(scales, zeros)


def _constant(root: Any, record: Any, shape: tuple[int, ...], dtype: str, index: int) -> Any:
    number = int(record.Buffer())
    if not 0 <= number < root.BuffersLength():
        raise ModelFormatError(f"tensor {index} names buffer {number}, which is not there")
    buffer = root.Buffers(number)
    length = buffer.DataLength()
    if length == 0:
        if getattr(buffer, "Size", lambda: 0)() > 1:
            raise UnsupportedError(
                f"tensor {index} keeps its data outside the flatbuffer; "
                "convert the model without external buffers"
            )
        return None
    if dtype not in _NUMPY_DTYPES:
        return None
    expected = math.prod(shape) * np.dtype(dtype).itemsize
    if length != expected:
        raise ModelFormatError(
            f"tensor {index} holds {length} bytes, its shape {list(shape)} needs {expected}"
        )
    raw = np.asarray(buffer.DataAsNumpy(), dtype=np.uint8)
    array = np.frombuffer(raw.tobytes(), np.dtype(dtype).newbyteorder("<"))
    return array.astype(np.dtype(dtype)).reshape(shape)


_NUMPY_DTYPES: Final = frozenset(name for name in _DTYPES.values() if name != "resource")


def _operator(
    record: Any, index: int, codes: Sequence[str], tensors: int, bounded: Callable[[int, str], int]
) -> Operator:
    number = int(record.OpcodeIndex())
    if not 0 <= number < len(codes):
        raise ModelFormatError(f"operator {index} names operator code {number} of {len(codes)}")
    bounded(record.InputsLength(), "operands")
    bounded(record.OutputsLength(), "results")
    code = codes[number]
    op = Operator(
        index=index,
        code=code,
        inputs=_indices(record.InputsAsNumpy(), tensors, f"operator {index} operand", absent=True),
        outputs=_indices(record.OutputsAsNumpy(), tensors, f"operator {index} result"),
        attributes=MappingProxyType(_attributes(record, code)),
    )
    _check_operands(op)
    _check_extents(op)
    return op


def _check_extents(op: Operator) -> None:
    """A window that is empty or stands still is damage, not a limit of the NPU."""
    for name in _POSITIVE:
        if op.attributes.get(name, 1) < 1:
            raise ModelFormatError(
                f"operator {op.index} ({op.code}) has {name} {op.attributes[name]}, at least 1 is "
                "needed; the file is damaged"
            )


def _indices(raw: Any, tensors: int, what: str, absent: bool = False) -> tuple[int, ...]:
    """flatbuffers gives the integer 0 in place of an empty vector."""
    values = tuple(int(value) for value in raw) if isinstance(raw, np.ndarray) else ()
    lowest = -1 if absent else 0
    for value in values:
        if not lowest <= value < tensors:
            raise ModelFormatError(f"{what} is tensor {value}, the graph has {tensors}")
    return values


def _attributes(record: Any, code: str) -> dict[str, Any]:
    """Builtin options by snake-case name. Enumerations become their names."""
    if code not in _ATTRIBUTES:
        return {}
    table, names = _ATTRIBUTES[code]
    options = table()
    raw = record.BuiltinOptions()
    if raw is None:
        # An absent table means that every field has its default; an empty one reads the same.
        options.Init(_EMPTY_TABLE, 4)
    else:
        options.Init(raw.Bytes, raw.Pos)
    return {_snake(name): _plain(name, getattr(options, name)()) for name in names}


_POSITIVE: Final = (
    "stride_h",
    "stride_w",
    "filter_height",
    "filter_width",
    "dilation_h_factor",
    "dilation_w_factor",
)
_OPERANDS: Final[dict[str, int]] = {
    "ADD": 2,
    "ASSIGN_VARIABLE": 2,
    "AVERAGE_POOL_2D": 1,
    "BATCH_TO_SPACE_ND": 3,
    "CONCATENATION": 1,
    "CONV_2D": 2,
    "DEPTHWISE_CONV_2D": 2,
    "DEQUANTIZE": 1,
    "EXPAND_DIMS": 2,
    "FULLY_CONNECTED": 2,
    "LEAKY_RELU": 1,
    "LOGISTIC": 1,
    "MAX_POOL_2D": 1,
    "MEAN": 2,
    "MUL": 2,
    "PACK": 1,
    "PAD": 2,
    "PADV2": 3,
    "QUANTIZE": 1,
    "READ_VARIABLE": 1,
    "REDUCE_MAX": 2,
    "RELU": 1,
    "RELU6": 1,
    "RESHAPE": 1,
    "RESIZE_NEAREST_NEIGHBOR": 2,
    "SLICE": 3,
    "SOFTMAX": 1,
    "SPACE_TO_BATCH_ND": 3,
    "SPLIT": 2,
    "SPLIT_V": 3,
    "SQUEEZE": 1,
    "STRIDED_SLICE": 4,
    "SUB": 2,
    "TANH": 1,
    "TRANSPOSE": 2,
    "UNPACK": 1,
}
_NO_RESULT: Final = ("ASSIGN_VARIABLE", "CALL_ONCE")
_SEVERAL_RESULTS: Final = ("SPLIT", "SPLIT_V", "UNPACK")


def _check_operands(op: Operator) -> None:
    """An operator that we know has the operands and results that TFLite gives it."""
    needed = _OPERANDS.get(op.code, 0)
    if len(op.inputs) < needed or any(i < 0 for i in op.inputs[:needed]):
        raise ModelFormatError(f"{op} lacks operands: it needs {needed}, found {list(op.inputs)}")
    results = len(op.outputs)
    if op.code in _OPERANDS and op.code not in (*_NO_RESULT, *_SEVERAL_RESULTS) and results != 1:
        raise ModelFormatError(f"{op} has {results} results, expected 1")


_EMPTY_TABLE: Final = struct.pack("<HHi", 4, 4, 4)


def _plain(name: str, value: Any) -> Any:
    if name == "FusedActivationFunction":
        return _ACTIVATIONS.get(value, f"ACTIVATION_{value}")
    if name == "Padding":
        return "SAME" if value == tflite.Padding.SAME else "VALID"
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


def _check_order(model: Model) -> None:
    """Every operand must be a constant, a graph input or an earlier result."""
    known = set(model.inputs) | {
        i for i, tensor in enumerate(model.tensors) if tensor.data is not None
    }
    for op in model.operators:
        for operand in op.inputs:
            tensor = model.tensors[operand] if operand >= 0 else None
            if tensor is not None and operand not in known and tensor.elements > 0:
                raise ModelFormatError(f"{op} reads tensor {operand} before anything writes it")
        for result in op.outputs:
            if result in known:
                raise ModelFormatError(f"{op} writes tensor {result}, which already has a value")
            known.add(result)
    missing = [output for output in model.outputs if output not in known]
    if missing:
        raise ModelFormatError(f"nothing writes graph output tensor {missing[0]}")
