"""Builds small int8 TFLite models for tests, straight to the flatbuffer; seeded by their name."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import flatbuffers
import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

_ACTIVATIONS: Final = {None: 0, "RELU": 1, "RELU_N1_TO_1": 2, "RELU6": 3, "TANH": 4}
_TYPES: Final = {
    "int8": schema.TensorType.INT8,
    "uint8": schema.TensorType.UINT8,
    "int32": schema.TensorType.INT32,
    "float32": schema.TensorType.FLOAT32,
    "resource": schema.TensorType.RESOURCE,
}
_OPTIONS: Final = {
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "ADD": "AddOptions",
    "MUL": "MulOptions",
    "SUB": "SubOptions",
    "MEAN": "ReducerOptions",
    "REDUCE_MAX": "ReducerOptions",
    "CONCATENATION": "ConcatenationOptions",
    "STRIDED_SLICE": "StridedSliceOptions",
    "SPLIT": "SplitOptions",
    "SPLIT_V": "SplitVOptions",
    "SOFTMAX": "SoftmaxOptions",
    "LEAKY_RELU": "LeakyReluOptions",
    "RESIZE_NEAREST_NEIGHBOR": "ResizeNearestNeighborOptions",
    "VAR_HANDLE": "VarHandleOptions",
    "CALL_ONCE": "CallOnceOptions",
}
_VERSIONS: Final = {
    "FULLY_CONNECTED": 4,
    "CONV_2D": 3,
    "DEPTHWISE_CONV_2D": 3,
    "RESHAPE": 1,
    "VAR_HANDLE": 1,
    "READ_VARIABLE": 1,
    "ASSIGN_VARIABLE": 1,
    "CALL_ONCE": 1,
}


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor of the model under construction."""

    number: int
    shape: tuple[int, ...]
    scale: float
    zero_point: int


class ModelBuilder:
    """One graph; every method adds an operator and gives its result."""

    def __init__(self, name: str) -> None:
        self.random = np.random.default_rng(zlib.crc32(name.encode()))
        self._model: Any = schema.ModelT()
        self._model.version = 3
        self._model.description = name.encode()
        self._model.buffers = [schema.BufferT()]
        self._model.operatorCodes = []
        self._model.subgraphs = []
        self._codes: dict[str, int] = {}
        self._graph = self._add_graph()

    def _add_graph(self) -> Any:
        graph: Any = schema.SubGraphT()
        graph.tensors, graph.operators, graph.inputs, graph.outputs = [], [], [], []
        self._model.subgraphs.append(graph)
        return graph

    def build(self, inputs: Sequence[Value], outputs: Sequence[Value]) -> bytes:
        """The finished file."""
        self._graph.inputs = [value.number for value in inputs]
        self._graph.outputs = [value.number for value in outputs]
        builder = flatbuffers.Builder(1024)
        builder.Finish(self._model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    # Tensors

    def tensor(  # a tensor has that many properties
        self,
        shape: Sequence[int],
        scale: float | npt.NDArray[np.float32] | None = None,
        zero_point: int = 0,
        dtype: str = "int8",
        data: npt.NDArray[Any] | None = None,
        axis: int = 0,
        graph: Any = None,
    ) -> Value:
        """Any tensor; `scale` may hold one value a channel along `axis`."""
        graph = self._graph if graph is None else graph
        record: Any = schema.TensorT()
        record.shape = [int(extent) for extent in shape]
        record.type, record.buffer, record.hasRank = _TYPES[dtype], 0, True
        record.name = f"t{len(graph.tensors)}".encode()
        scales = None if scale is None else np.atleast_1d(np.asarray(scale, np.float32))
        if scales is not None:
            quant: Any = schema.QuantizationParametersT()
            quant.scale = scales
            quant.zeroPoint = np.full(scales.shape, zero_point, np.int64)
            quant.quantizedDimension = axis
            record.quantization = quant
        if data is not None:
            buffer: Any = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            record.buffer = len(self._model.buffers)
            self._model.buffers.append(buffer)
        graph.tensors.append(record)
        first = 1.0 if scales is None else float(scales[0])
        return Value(len(graph.tensors) - 1, tuple(record.shape), first, zero_point)

    def input(self, *shape: int, scale: float = 0.04, zero_point: int = 3) -> Value:
        """The model's input."""
        return self.tensor(shape, scale, zero_point)

    def like(self, value: Value, shape: Sequence[int] | None = None) -> Value:
        """A new tensor quantized as another one."""
        return self.tensor(value.shape if shape is None else shape, value.scale, value.zero_point)

    def integers(self, values: Any) -> Value:
        """A constant int32 parameter."""
        array = np.asarray(values, np.int32)
        return self.tensor(array.shape, dtype="int32", data=array)

    def constant(self, *shape: int, scale: float = 0.02, zero_point: int = -5) -> Value:
        """A constant int8 operand."""
        data = self.random.integers(-128, 128, shape).astype(np.int8)
        return self.tensor(shape, scale, zero_point, data=data)

    # Operators

    def op(
        self,
        code: str,
        inputs: Sequence[Value | None],
        outputs: Sequence[Value],
        graph: Any = None,
        **options: Any,
    ) -> Value:
        """Any operator; options by their schema name."""
        if code not in self._codes:
            record: Any = schema.OperatorCodeT()
            record.builtinCode = getattr(schema.BuiltinOperator, code)
            record.deprecatedBuiltinCode = min(record.builtinCode, 127)
            record.version = _VERSIONS.get(code, 2)
            self._codes[code] = len(self._model.operatorCodes)
            self._model.operatorCodes.append(record)
        op: Any = schema.OperatorT()
        op.opcodeIndex = self._codes[code]
        op.inputs = [-1 if value is None else value.number for value in inputs]
        op.outputs = [value.number for value in outputs]
        if code in _OPTIONS:
            table: Any = getattr(schema, _OPTIONS[code] + "T")()
            for name, value in options.items():
                setattr(table, name, value)
            op.builtinOptions = table
            op.builtinOptionsType = getattr(schema.BuiltinOptions, _OPTIONS[code])
        (self._graph if graph is None else graph).operators.append(op)
        return outputs[0] if outputs else Value(-1, (), 1.0, 0)

    def conv(  # a convolution has that many properties
        self,
        x: Value,
        channels: int,
        kernel: tuple[int, int] = (3, 3),
        *,
        stride: tuple[int, int] = (1, 1),
        padding: str = "SAME",
        activation: str | None = None,
        dilation: tuple[int, int] = (1, 1),
        per_channel: bool = True,
        depthwise: bool = False,
        multiplier: int = 1,
    ) -> Value:
        """CONV_2D or DEPTHWISE_CONV_2D with random weights and a result scale that fits them."""
        batch, height, width, depth = x.shape
        if depthwise:
            channels, shape = depth * multiplier, (1, *kernel, depth * multiplier)
            fan_in = kernel[0] * kernel[1]
        else:
            shape, fan_in = (channels, *kernel, depth), kernel[0] * kernel[1] * depth
        extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
        if padding == "SAME":
            rows, columns = (-(-n // s) for n, s in zip((height, width), stride, strict=True))
        else:
            rows, columns = (
                (n - k) // s + 1 for n, k, s in zip((height, width), extent, stride, strict=True)
            )
        weights, bias = self._weights(x, shape, channels, per_channel, 3 if depthwise else 0)
        result = self._result((batch, rows, columns, channels), x.scale * fan_in**0.5, activation)
        options = {
            "padding": 0 if padding == "SAME" else 1,
            "strideH": stride[0],
            "strideW": stride[1],
            "dilationHFactor": dilation[0],
            "dilationWFactor": dilation[1],
            "fusedActivationFunction": _ACTIVATIONS[activation],
        }
        if depthwise:
            options["depthMultiplier"] = multiplier
            return self.op("DEPTHWISE_CONV_2D", [x, weights, bias], [result], **options)
        return self.op("CONV_2D", [x, weights, bias], [result], **options)

    def _weights(
        self, x: Value, shape: tuple[int, ...], channels: int, per_channel: bool, axis: int
    ) -> tuple[Value, Value]:
        data = self.random.integers(-127, 128, shape).astype(np.int8)
        scales = np.full(1, 0.006, np.float32)
        if per_channel:
            scales = self.random.uniform(0.004, 0.008, channels).astype(np.float32)
        weights = self.tensor(shape, scales, 0, data=data, axis=axis)
        bias = self.random.integers(-2000, 2000, channels).astype(np.int32)
        bias_scales = (np.float32(x.scale) * scales).astype(np.float32)
        return weights, self.tensor((channels,), bias_scales, 0, "int32", bias)

    def _result(self, shape: Sequence[int], spread: float, activation: str | None) -> Value:
        if activation == "RELU6":
            return self.tensor(shape, 6 / 255, -128)
        if activation == "RELU":
            return self.tensor(shape, spread * 0.3, -128)
        return self.tensor(shape, spread * 1.2, int(self.random.integers(-20, 20)))

    def dense(
        self, x: Value, neurons: int, activation: str | None = None, per_channel: bool = False
    ) -> Value:
        """FULLY_CONNECTED over the last axis of a rank-2 tensor, or over all of a map."""
        inputs = int(np.prod(x.shape[1:]))
        weights, bias = self._weights(x, (neurons, inputs), neurons, per_channel, 0)
        rows = x.shape[0] if len(x.shape) == 2 else 1
        result = self._result((rows, neurons), x.scale * inputs**0.5, activation)
        code = _ACTIVATIONS[activation]
        return self.op(
            "FULLY_CONNECTED", [x, weights, bias], [result], fusedActivationFunction=code
        )

    def pool(
        self,
        kind: str,
        x: Value,
        window: tuple[int, int],
        stride: tuple[int, int],
        padding: str = "VALID",
    ) -> Value:
        """`kind` is MAX_POOL_2D or AVERAGE_POOL_2D."""
        batch, height, width, channels = x.shape
        if padding == "SAME":
            rows, columns = -(-height // stride[0]), -(-width // stride[1])
        else:
            rows, columns = (
                (n - k) // s + 1 for n, k, s in zip((height, width), window, stride, strict=True)
            )
        return self.op(
            kind,
            [x],
            [self.like(x, (batch, rows, columns, channels))],
            padding=0 if padding == "SAME" else 1,
            strideH=stride[0],
            strideW=stride[1],
            filterHeight=window[0],
            filterWidth=window[1],
        )

    def mean(self, x: Value, axes: Sequence[int], keep: bool = True) -> Value:
        """MEAN with a scale of its own."""
        reduced = {axis % len(x.shape) for axis in axes}
        shape = [
            1 if i in reduced else n for i, n in enumerate(x.shape) if keep or i not in reduced
        ]
        return self.op(
            "MEAN",
            [x, self.integers(axes)],
            [self.tensor(shape, x.scale * 0.7, 5)],
            keepDims=keep,
        )

    def maximum(self, x: Value, axes: Sequence[int], keep: bool = False) -> Value:
        """REDUCE_MAX."""
        shape = [1 if i in axes else n for i, n in enumerate(x.shape) if keep or i not in axes]
        operands = [x, self.integers(axes)]
        return self.op("REDUCE_MAX", operands, [self.like(x, shape)], keepDims=keep)

    def pair(self, code: str, a: Value, b: Value, activation: str | None = None) -> Value:
        """ADD, SUB or MUL."""
        shape = np.broadcast_shapes(a.shape, b.shape)
        spread = a.scale * b.scale * 40 if code == "MUL" else a.scale + b.scale
        zero = -128 if activation else 7
        result = self.tensor(shape, 6 / 255 if activation == "RELU6" else spread, zero)
        return self.op(code, [a, b], [result], fusedActivationFunction=_ACTIVATIONS[activation])

    def unary(self, code: str, x: Value, **options: Any) -> Value:
        """SOFTMAX, LOGISTIC, TANH, RELU, LEAKY_RELU."""
        if code == "TANH":
            result = self.tensor(x.shape, 1 / 128, 0)
        elif code in ("SOFTMAX", "LOGISTIC"):
            result = self.tensor(x.shape, 1 / 256, -128)
        elif code == "RELU6":
            result = self.tensor(x.shape, 6 / 255, -128)
        elif code == "RELU":
            result = self.tensor(x.shape, x.scale * (127 - x.zero_point) / 255, -128)
        else:
            result = self.tensor(x.shape, x.scale * (127 - x.zero_point) / 167, -40)
        return self.op(code, [x], [result], **options)

    def reshape(self, x: Value, *shape: int) -> Value:
        """RESHAPE with the shape as an operand."""
        return self.op("RESHAPE", [x, self.integers(shape)], [self.like(x, shape)])

    def pad(self, x: Value, table: Sequence[Sequence[int]], fill: int | None = None) -> Value:
        """PAD with zeros (the zero point), or PADV2 with a code."""
        result = self.like(x, [n + sum(p) for n, p in zip(x.shape, table, strict=True)])
        if fill is None:
            return self.op("PAD", [x, self.integers(table)], [result])
        code = self.tensor((), x.scale, x.zero_point, data=np.array(fill, np.int8))
        return self.op("PADV2", [x, self.integers(table), code], [result])

    def slice(
        self,
        x: Value,
        begin: Sequence[int],
        end: Sequence[int],
        stride: Sequence[int],
        **masks: int,
    ) -> Value:
        """STRIDED_SLICE without shrinking."""
        places = tuple(slice(b, e, s) for b, e, s in zip(begin, end, stride, strict=True))
        shape = np.zeros(x.shape, np.int8)[places].shape
        parameters = [self.integers(values) for values in (begin, end, stride)]
        return self.op("STRIDED_SLICE", [x, *parameters], [self.like(x, shape)], **masks)

    def concat(self, values: Sequence[Value], axis: int) -> Value:
        """CONCATENATION of tensors of one scale."""
        shape = list(values[0].shape)
        shape[axis] = sum(value.shape[axis] for value in values)
        return self.op("CONCATENATION", values, [self.like(values[0], shape)], axis=axis)

    def split(self, x: Value, sizes: Sequence[int], axis: int) -> list[Value]:
        """SPLIT for equal sizes, else SPLIT_V."""
        parts = []
        for size in sizes:
            shape = list(x.shape)
            shape[axis] = size
            parts.append(self.like(x, shape))
        if len(set(sizes)) == 1:
            self.op("SPLIT", [self.integers(axis), x], parts, numSplits=len(sizes))
        else:
            operands = [x, self.integers(sizes), self.integers(axis)]
            self.op("SPLIT_V", operands, parts, numSplits=len(sizes))
        return parts

    def resize(self, x: Value, height: int, width: int, **flags: bool) -> Value:
        """RESIZE_NEAREST_NEIGHBOR."""
        target = self.like(x, (1, height, width, x.shape[3]))
        size = self.integers([height, width])
        return self.op("RESIZE_NEAREST_NEIGHBOR", [x, size], [target], **flags)

    def space_to_batch(self, x: Value, block: int, pads: Sequence[Sequence[int]]) -> Value:
        """SPACE_TO_BATCH_ND with a square block."""
        rows, columns = (n + sum(p) for n, p in zip(x.shape[1:3], pads, strict=True))
        shape = (x.shape[0] * block * block, rows // block, columns // block, x.shape[3])
        operands = [x, self.integers([block, block]), self.integers(pads)]
        return self.op("SPACE_TO_BATCH_ND", operands, [self.like(x, shape)])

    def batch_to_space(self, x: Value, block: int, crops: Sequence[Sequence[int]]) -> Value:
        """BATCH_TO_SPACE_ND with a square block."""
        rows, columns = (n * block - sum(c) for n, c in zip(x.shape[1:3], crops, strict=True))
        shape = (x.shape[0] // (block * block), rows, columns, x.shape[3])
        operands = [x, self.integers([block, block]), self.integers(crops)]
        return self.op("BATCH_TO_SPACE_ND", operands, [self.like(x, shape)])

    def variable(self, like: Value) -> tuple[Value, Value]:
        """(handle, value read) of a variable that starts at its zero point."""
        graph = self._add_graph()
        number = len(self._model.subgraphs) - 1
        initial = np.full(like.shape, like.zero_point, np.int8)
        for place in (graph, self._graph):
            handle = self.tensor((), dtype="resource", graph=place)
            self.op("VAR_HANDLE", [], [handle], place, container="", sharedName="state")
            if place is graph:
                value = self.tensor(
                    like.shape, like.scale, like.zero_point, data=initial, graph=place
                )
                self.op("ASSIGN_VARIABLE", [handle, value], [], place)
        self.op("CALL_ONCE", [], [], initSubgraphIndex=number)
        operators = self._graph.operators
        operators.insert(0, operators.pop())
        state = self.like(like)
        self.op("READ_VARIABLE", [handle], [state])
        return handle, state

    def assign(self, handle: Value, value: Value) -> None:
        """ASSIGN_VARIABLE."""
        self.op("ASSIGN_VARIABLE", [handle, value], [])
