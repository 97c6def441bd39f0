"""Legal and borderline models for benchmarks/envelope.py: every operator around every limit.

A family is one operator with its parameters. The first value of a parameter is the usual one; the
others are small, odd, or lie on, just below and just beyond a limit. The cases of a family are
its special combinations, one for each unusual value alone, and random combinations from a seed.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from tests.support.tflite_builder import ModelBuilder, Value

SEED: Final = 1
LARGEST_TENSOR: Final = 100_000
LARGEST_WORK: Final = 4_000_000
"""Multiply-accumulates of one convolution: Nordic's simulator does some millions a second."""


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One model and the variant in which it is compiled. `operator` is the row of the table."""

    operator: str
    name: str
    model: bytes
    output: Literal["int8", "int32"]
    transpose: bool


class ImpossibleError(Exception):
    """The parameters make no model, or one that takes too long to simulate."""


class _Builder(ModelBuilder):
    """Refuses empty and huge tensors."""

    def tensor(
        self,
        shape: Sequence[int],
        scale: float | npt.NDArray[np.float32] | None = None,
        zero_point: int = 0,
        dtype: str = "int8",
        data: npt.NDArray[Any] | None = None,
        axis: int = 0,
        graph: Any = None,
    ) -> Value:
        elements = int(np.prod(shape, dtype=np.int64))
        if min(shape, default=1) < 1 or (elements > LARGEST_TENSOR and data is None):
            raise ImpossibleError(f"a tensor of {list(shape)}")
        return super().tensor(shape, scale, zero_point, dtype, data, axis, graph)


Results = Value | list[Value]
Body = Callable[[ModelBuilder, SimpleNamespace], tuple[Value, Results]]


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """An operator: parameters with the usual value first, and the model that they make."""

    operator: str
    parameters: Mapping[str, tuple[Any, ...]]
    body: Body
    special: tuple[Mapping[str, Any], ...] = ()
    draws: int = 50

    def cases(self) -> Iterator[Case]:
        """All cases that make a model, without repetition, the same every time."""
        seen = set()
        for changes in self._combinations():
            name = " ".join(f"{key}={_text(value)}" for key, value in changes.items()) or "usual"
            if name in seen:
                continue
            seen.add(name)
            usual = {key: values[0] for key, values in self._all_parameters().items()}
            chosen = SimpleNamespace(**{**usual, **changes})
            builder = _Builder(f"{self.operator} {name}")
            try:
                source, results = self.body(builder, chosen)
            except (ImpossibleError, ValueError):
                continue
            outputs = results if isinstance(results, list) else [results]
            model = builder.build([source], outputs)
            yield Case(self.operator, name, model, chosen.output, chosen.transpose)

    def _all_parameters(self) -> dict[str, tuple[Any, ...]]:
        return {**self.parameters, "output": ("int8", "int32"), "transpose": (False, True)}

    def _combinations(self) -> Iterator[Mapping[str, Any]]:
        parameters = self._all_parameters()
        yield {}
        yield from self.special
        for key, values in parameters.items():
            yield from ({key: value} for value in values[1:])
        random = np.random.default_rng([SEED, zlib.crc32(self.operator.encode())])
        for _ in range(self.draws):
            chosen = {}
            for key, values in parameters.items():
                if len(values) > 1 and random.random() < 0.4:
                    chosen[key] = values[int(random.integers(1, len(values)))]
            yield chosen


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "x".join(_text(item) for item in value)
    return str(value)


# Where the operand comes from


def _source(b: ModelBuilder, p: SimpleNamespace) -> tuple[Value, Value]:
    """(model input, operand): the input itself, an NPU layer's result or a CPU layer's."""
    x = b.input(p.batch if hasattr(p, "batch") else 1, p.height, p.width, p.channels)
    kind = getattr(p, "source", "input")
    if kind == "layer":
        return x, b.conv(x, 0, (1, 1), depthwise=True)
    if kind == "cpu":
        return x, b.resize(x, p.height, p.width)
    return x, x


def _conv(b: ModelBuilder, p: SimpleNamespace) -> tuple[Value, Results]:
    x, v = _source(b, p)
    kernel, depthwise = (p.kernel_h, p.kernel_w), hasattr(p, "multiplier")
    if any(p.pads):
        v = b.pad(v, [[0, 0], list(p.pads[:2]), list(p.pads[2:]), [0, 0]])
    outputs = v.shape[3] * p.multiplier if depthwise else p.outputs
    taps = p.kernel_h * p.kernel_w * (1 if depthwise else v.shape[3])
    pixels = v.shape[1] * v.shape[2] // (p.stride_h * p.stride_w)
    if taps * outputs * max(pixels, 1) > LARGEST_WORK:
        raise ImpossibleError("too much work")
    leaky = p.activation == "LEAKY_RELU"
    y = b.conv(
        v,
        outputs,
        kernel,
        stride=(p.stride_h, p.stride_w),
        padding=p.padding,
        activation=None if leaky else p.activation,
        dilation=(p.dilation_h, p.dilation_w),
        per_channel=p.per_channel,
        depthwise=depthwise,
        multiplier=getattr(p, "multiplier", 1),
    )
    return x, b.unary("LEAKY_RELU", y, alpha=0.2) if leaky else y


def _dense(b: ModelBuilder, p: SimpleNamespace) -> tuple[Value, Results]:
    if p.inputs * p.outputs * p.rows > LARGEST_WORK:
        raise ImpossibleError("too much work")
    if p.source == "map":
        x = b.input(1, 2, 1, p.inputs)
        v = b.reshape(b.mean(x, [1, 2]), 1, p.inputs)
    elif p.rows > 1:
        x = b.input(1, p.rows, p.inputs)
        v = b.reshape(x, p.rows, p.inputs)
    else:
        x = b.input(1, p.inputs)
        v = b.dense(x, p.inputs) if p.source == "layer" else x
    leaky = p.activation == "LEAKY_RELU"
    activation = None if leaky else p.activation
    y = b.dense(v, p.outputs, activation, p.per_channel)
    return x, b.unary("LEAKY_RELU", y, alpha=0.2) if leaky else y


def _pool(kind: str) -> Body:
    def body(b: ModelBuilder, p: SimpleNamespace) -> tuple[Value, Results]:
        x, v = _source(b, p)
        window, stride = (p.window_h, p.window_w), (p.stride_h, p.stride_w)
        if any(p.pads):
            v = b.pad(v, [[0, 0], list(p.pads[:2]), list(p.pads[2:]), [0, 0]])
        y = b.pool(kind, v, window, stride, p.padding)
        return x, b.unary("RELU", y) if p.activation else y

    return body


def _mean(b: ModelBuilder, p: SimpleNamespace) -> tuple[Value, Results]:
    x, v = _source(b, p)
    return x, b.mean(v, p.axes, p.keep)


def _other(b: ModelBuilder, p: SimpleNamespace, v: Value) -> Value:
    """The second operand of an element-wise operator."""
    _, height, width, channels = v.shape
    shapes = {
        "constant": v.shape,
        "constant row": (1, 1, width, channels),
        "constant column": (1, height, 1, channels),
        "constant pixel": (channels,),
        "constant value": (1,),
        "constant plane": (1, height, width, 1),
    }
    if p.other in shapes:
        return b.constant(*shapes[p.other])
    if p.other == "itself":
        return v
    axes = {"row": [1], "column": [2], "pixel": [1, 2]}
    return b.mean(v, axes[p.other]) if p.other in axes else b.conv(v, 0, (1, 1), depthwise=True)


def _pair(code: str) -> Body:
    def body(b: ModelBuilder, p: SimpleNamespace) -> tuple[Value, Results]:
        x, v = _source(b, p)
        operands = (v, _other(b, p, v))
        first, second = reversed(operands) if p.swapped else operands
        y = b.pair(code, first, second, p.activation)
        return x, b.conv(y, 3, (1, 1)) if p.read else y

    return body


def _concat(b: ModelBuilder, p: SimpleNamespace) -> tuple[Value, Results]:
    x, v = _source(b, p)
    parts = [v]
    for number in range(1, p.count):
        parts.append(v if p.repeated else b.pool("MAX_POOL_2D", v, (1, 1 + number), (1, 1), "SAME"))
    return x, b.concat(parts, p.axis)


def _pad(b: ModelBuilder, p: SimpleNamespace) -> tuple[Value, Results]:
    x, v = _source(b, p)
    y = b.pad(v, [[0, 0], list(p.rows), list(p.columns), list(p.depth)])
    if p.reader == "max pool":
        return x, b.pool("MAX_POOL_2D", y, (2, 2), (2, 2))
    return x, b.conv(y, 3) if p.reader == "convolution" else y


def _slice(b: ModelBuilder, p: SimpleNamespace) -> tuple[Value, Results]:
    x, v = _source(b, p)
    begin = [0, p.begin_h, p.begin_w, p.begin_c]
    y = b.slice(v, begin, list(v.shape), [1, p.stride_h, p.stride_w, p.stride_c])
    return x, b.conv(y, 3, (1, 1)) if p.read else y


def _split(b: ModelBuilder, p: SimpleNamespace) -> tuple[Value, Results]:
    x, v = _source(b, p)
    extent = v.shape[p.axis]
    first = extent // p.parts if p.equal else 1
    sizes = [first] * (p.parts - 1)
    parts = b.split(v, [*sizes, extent - sum(sizes)], p.axis)
    return x, [b.conv(part, 3, (1, 2)) for part in parts] if p.read else parts


def _activation(code: str) -> Body:
    def body(b: ModelBuilder, p: SimpleNamespace) -> tuple[Value, Results]:
        if p.producer == "dense":
            x = b.input(1, 12)
            v = b.dense(x, p.width)
        else:
            x = b.input(1, p.height, p.width, p.channels)
            producers: dict[str, Callable[[], Value]] = {
                "convolution": lambda: b.conv(x, p.channels, (1, 2)),
                "depthwise": lambda: b.conv(x, 0, (3, 3), depthwise=True),
                "input": lambda: x,
                "add": lambda: b.pair("ADD", x, b.conv(x, 0, (1, 1), depthwise=True)),
                "multiply": lambda: b.pair("MUL", x, b.conv(x, 0, (1, 1), depthwise=True)),
                "max pool": lambda: b.pool("MAX_POOL_2D", x, (2, 2), (1, 1), "SAME"),
                "mean": lambda: b.mean(x, [1]),
                "resize": lambda: b.resize(x, p.height + 1, p.width + 1),
            }
            v = producers[p.producer]()
        options = {"SOFTMAX": {"beta": 1.0}, "LEAKY_RELU": {"alpha": 0.2}}.get(code, {})
        y = b.unary(code, v, **options)
        if not p.read:
            return x, y
        return x, b.dense(y, 3) if len(y.shape) == 2 else b.conv(y, 3, (1, 1))

    return body


def _reshape(b: ModelBuilder, p: SimpleNamespace) -> tuple[Value, Results]:
    x, v = _source(b, p)
    shape = {
        "turned": (1, p.width, p.height, p.channels),
        "row": (1, 1, p.height * p.width, p.channels),
        "column": (1, p.height * p.width, 1, p.channels),
        "deep": (1, p.height, 1, p.width * p.channels),
        "flat": (1, 1, 1, p.height * p.width * p.channels),
    }[p.into]
    y = b.reshape(v, *shape)
    return x, b.conv(y, 3, (1, 1)) if p.read else y


def _resize(b: ModelBuilder, p: SimpleNamespace) -> tuple[Value, Results]:
    x, v = _source(b, p)
    flags = {} if p.flags is None else {p.flags: True}
    y = b.resize(v, p.to_height, p.to_width, **flags)
    return x, b.conv(y, 3, (1, 1)) if p.read else y


def _batches(b: ModelBuilder, p: SimpleNamespace) -> tuple[Value, Results]:
    x, v = _source(b, p)
    pads = [[p.pad, -(p.height + p.pad) % p.block], [p.pad, -(p.width + p.pad) % p.block]]
    y = b.space_to_batch(v, p.block, pads)
    if p.layer in ("convolution", "1x1"):
        y = b.conv(y, 3, (3, 3) if p.layer == "convolution" else (1, 1))
    elif p.layer == "depthwise":
        y = b.conv(y, 0, depthwise=True)
    elif p.layer == "max pool":
        y = b.pool("MAX_POOL_2D", y, (2, 2), (1, 1), "SAME")
    elif p.layer == "end":
        return x, y
    return x, b.batch_to_space(y, p.block, pads)


def _variable(b: ModelBuilder, p: SimpleNamespace) -> tuple[Value, Results]:
    x, v = _source(b, p)
    y = b.conv(v, p.channels, (1, 2))
    handle, before = b.variable(y)
    b.assign(handle, y)
    return x, b.concat([before, y], 1)


_SIDES: Final = (1, 2, 3, 4, 5, 7, 9)
_MAP: Final = {
    "height": (6, *_SIDES),
    "width": (8, *_SIDES),
    "channels": (4, 1, 2, 3, 5, 6, 8, 13),
    "source": ("input", "layer", "cpu"),
}
_BATCHED: Final = {**_MAP, "batch": (1, 2)}
_FILTER: Final = {
    "kernel_h": (3, 1, 2, 5, 15, 16, 17),
    "kernel_w": (3, 1, 2, 4, 15, 16, 17),
    "stride_h": (1, 2, 3, 4, 30, 31, 32),
    "stride_w": (1, 2, 3, 4, 30, 31, 32),
    "dilation_h": (1, 2, 3),
    "dilation_w": (1, 2, 3),
    "padding": ("SAME", "VALID"),
    "pads": (
        (0, 0, 0, 0),
        *((n, 0, 0, 0) for n in (1, 3, 4, 15, 16)),
        *((0, n, 0, 0) for n in (1, 3, 4, 15, 16)),
        *((0, 0, n, 0) for n in (1, 3, 4, 15, 16)),
        *((0, 0, 0, n) for n in (1, 3, 4, 15, 16)),
    ),
    "activation": (None, "RELU", "RELU6", "LEAKY_RELU"),
    "per_channel": (True, False),
}
_LONG: Final = (
    *({"width": n, "height": 1} for n in (1020, 1021, 1024, 1025)),
    *({"width": n, "height": 2} for n in (1020, 1021, 1024, 1025)),
    *({"height": n, "width": 1} for n in (1020, 1021, 1024, 1025)),
    *({"height": n, "width": 4} for n in (1020, 1021, 1024, 1025)),
)
_DEEP: Final = tuple({"channels": n, "height": 2, "width": 4} for n in (1020, 1021, 1023, 1024))
_PIXEL: Final = {"height": 1, "width": 1, "kernel_h": 1, "kernel_w": 1}
_LINE: Final = tuple(
    {"height": 1, "width": 40, "kernel_h": 1, "kernel_w": n, "padding": padding}
    for n in (16, 17, 31, 32, 33)
    for padding in ("SAME", "VALID")
)
_LOW: Final = tuple(
    {"height": h, "kernel_h": k, "stride_h": s}
    for h in (1, 2, 3, 4)
    for k in (2, 3, 4, 5, 7)
    for s in (1, 2)
)
_WIDE: Final = tuple(
    {"width": n, "height": h, "kernel_h": 1, "channels": 2}
    for n in (1024, 1025, 2059, 2060, 2061)
    for h in (1, 2)
)
_POOL: Final = {
    "window_h": (2, 1, 3, 4, 31, 32, 33),
    "window_w": (2, 1, 3, 4, 31, 32, 33),
    "stride_h": (2, 1, 3, 30, 31, 32),
    "stride_w": (2, 1, 3, 30, 31, 32),
    "padding": ("VALID", "SAME"),
    "pads": ((0, 0, 0, 0), (1, 0, 0, 0), (0, 1, 0, 0), (1, 1, 1, 1), (0, 0, 3, 0)),
    "activation": (False, True),
}
_BIG_WINDOWS: Final = tuple(
    {"height": 40, "width": 41, "channels": 2, "window_h": h, "window_w": w}
    for h, w in ((31, 31), (32, 32), (33, 2), (2, 33), (32, 2), (2, 32))
)
_WHOLE: Final = tuple(
    {"window_h": h, "window_w": w, "stride_h": s, "stride_w": s}
    for h, w in ((6, 8), (6, 1), (1, 8), (6, 2), (2, 8))
    for s in (1, 6)
)
_OPERANDS: Final = {
    "other": (
        "layer",
        "itself",
        "row",
        "column",
        "pixel",
        "constant",
        "constant row",
        "constant column",
        "constant pixel",
        "constant value",
        "constant plane",
    ),
    "activation": (None, "RELU", "RELU6"),
    "swapped": (False, True),
    "read": (False, True),
}
_PRODUCERS: Final = (
    "convolution",
    "depthwise",
    "input",
    "add",
    "multiply",
    "max pool",
    "mean",
    "resize",
    "dense",
)
_ACTIVATED: Final = {
    "height": (3, 1, 2, 4, 5),
    "width": (8, 1, 2, 3, 4, 5, 6, 7, 9, 10),
    "channels": (4, 1, 2, 3, 5),
    "producer": _PRODUCERS,
    "read": (False, True),
}
_CONV_OUTPUTS: Final = {"outputs": (6, 1, 2, 4, 8)}
_POINTWISE: Final = {**_FILTER, "kernel_h": (1,), "kernel_w": (1,)}
_SLICED: Final = {f"begin_{axis}": (1, 0, 2, 3) for axis in "hwc"}
_STEPS: Final = {f"stride_{axis}": (1, 2, 3, 31, 32) for axis in "hwc"}

FAMILIES: Final = (
    Family(
        "CONV_2D",
        {**_BATCHED, **_FILTER, **_CONV_OUTPUTS},
        _conv,
        (
            *_LINE,
            *_LOW,
            *_WIDE,
            *({"channels": n, "height": 2, "width": 4, "outputs": 2} for n in (1023, 1024, 1025)),
            *({"outputs": n, "height": 2, "width": 4} for n in (1023, 1024, 2047, 2048, 2049)),
            {"height": 4000, "width": 2, "channels": 1},
        ),
        150,
    ),
    Family(
        "CONV_2D 1x1",
        {**_BATCHED, **_POINTWISE, **_CONV_OUTPUTS},
        _conv,
        (
            *({"channels": n} for n in (511, 512, 513, 1019, 1020, 1021, 1024, 1025)),
            *({"outputs": n} for n in (1021, 1022, 1023, 1024, 2048, 2049)),
            *({**_PIXEL, "channels": n} for n in (512, 513, 1020, 1021, 1024, 1025)),
            *({**_PIXEL, "outputs": n} for n in (1022, 1023, 2048, 2049)),
            *_WIDE,
        ),
        150,
    ),
    Family(
        "DEPTHWISE_CONV_2D",
        {**_BATCHED, **_FILTER, "multiplier": (1, 2, 3)},
        _conv,
        (
            *_LINE,
            *_LOW,
            *_WIDE,
            *_DEEP,
            *({"channels": 1, "multiplier": n} for n in (2, 5, 8)),
            {"channels": 511, "multiplier": 2, "height": 1, "width": 4, "kernel_h": 1},
        ),
        150,
    ),
    Family(
        "FULLY_CONNECTED",
        {
            "inputs": (37, 1, 2, 3, 4, 8, 1020, 1021, 1024, 1025, 2047, 2048, 2049, 4200),
            "outputs": (9, 1, 2, 3, 4, 1022, 1023, 1024, 1025, 2047, 2048, 2049),
            "rows": (1, 2, 3, 4, 5, 8),
            "per_channel": (False, True),
            "activation": (None, "RELU", "RELU6", "LEAKY_RELU"),
            "source": ("input", "layer", "map"),
        },
        _dense,
        (
            *({"inputs": 1023, "outputs": n} for n in (512, 1024, 2048)),
            *({"inputs": n, "outputs": m} for n in (1024, 2047) for m in (512, 513, 1024, 1025)),
            *({"inputs": 1024, "outputs": n, "output": "int32"} for n in (512, 513)),
        ),
    ),
    Family(
        "AVERAGE_POOL_2D",
        {**_BATCHED, **_POOL},
        _pool("AVERAGE_POOL_2D"),
        (*_BIG_WINDOWS, *_WHOLE, *_LONG, *_DEEP),
    ),
    Family(
        "MAX_POOL_2D",
        {**_BATCHED, **_POOL},
        _pool("MAX_POOL_2D"),
        (*_BIG_WINDOWS, *_WHOLE, *_LONG, *_DEEP),
    ),
    Family(
        "MEAN",
        {**_MAP, "axes": ([1, 2], [1], [2], [3], [1, 2, 3], [1, 3]), "keep": (True, False)},
        _mean,
        (*_LONG, *_DEEP),
    ),
    Family("ADD", {**_MAP, **_OPERANDS}, _pair("ADD"), (*_LONG, *_DEEP), 80),
    Family("SUB", {**_MAP, **_OPERANDS}, _pair("SUB"), (*_LONG, *_DEEP), 80),
    Family("MUL", {**_MAP, **_OPERANDS}, _pair("MUL"), (*_LONG, *_DEEP), 80),
    Family(
        "CONCATENATION",
        {**_MAP, "axis": (3, 1, 2), "count": (2, 3, 4, 5), "repeated": (False, True)},
        _concat,
        (*_LONG, *_DEEP),
    ),
    Family(
        "PAD",
        {
            **_MAP,
            "rows": ((0, 0), (1, 0), (0, 1), (2, 3), (16, 0), (0, 16)),
            "columns": ((0, 0), (1, 0), (0, 1), (2, 3), (16, 0), (0, 16)),
            "depth": ((0, 0), (1, 0), (0, 1), (2, 3), (255, 0), (256, 0)),
            "reader": ("none", "convolution", "max pool"),
        },
        _pad,
        tuple(
            {"rows": (1, 1), "columns": (1, 1), "reader": reader}
            for reader in ("none", "convolution", "max pool")
        ),
        80,
    ),
    Family("STRIDED_SLICE", {**_MAP, **_SLICED, **_STEPS, "read": (False, True)}, _slice, _LONG),
    Family(
        "SPLIT",
        {
            **_MAP,
            "axis": (3, 1, 2),
            "parts": (2, 3, 4),
            "equal": (True, False),
            "read": (True, False),
        },
        _split,
    ),
    Family("LOGISTIC", _ACTIVATED, _activation("LOGISTIC"), (), 60),
    Family("TANH", _ACTIVATED, _activation("TANH"), (), 60),
    Family("SOFTMAX", _ACTIVATED, _activation("SOFTMAX"), (), 60),
    Family("RELU", _ACTIVATED, _activation("RELU"), (), 30),
    Family("LEAKY_RELU", _ACTIVATED, _activation("LEAKY_RELU"), (), 30),
    Family(
        "RESHAPE",
        {**_MAP, "into": ("turned", "row", "column", "deep", "flat"), "read": (True, False)},
        _reshape,
    ),
    Family(
        "RESIZE_NEAREST_NEIGHBOR",
        {
            **_MAP,
            "to_height": (12, 1, 5, 6, 9, 13),
            "to_width": (16, 1, 5, 7, 8, 17),
            "flags": (None, "alignCorners", "halfPixelCenters"),
            "read": (False, True),
        },
        _resize,
    ),
    Family(
        "SPACE_TO_BATCH_ND",
        {
            **_MAP,
            "block": (2, 3, 4),
            "pad": (0, 1, 2),
            "layer": ("convolution", "1x1", "depthwise", "max pool", "none", "end"),
        },
        _batches,
    ),
    Family("VARIABLE", _MAP, _variable, (), 20),
)


@cache
def all_cases() -> tuple[Case, ...]:
    """Every case of every family, in a fixed order."""
    return tuple(case for family in FAMILIES for case in family.cases())
