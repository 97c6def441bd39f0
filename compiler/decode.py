"""The Axon binary -> AxonProgram. Untrusted input: everything is checked."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from compiler import abi
from compiler.errors import ModelFormatError
from compiler.ir import (
    Activation,
    AxonProgram,
    Dims,
    IntArray,
    Layer,
    LayerInput,
    Op,
    Options,
    Pads,
    Quantization,
)

MAX_LAYERS: Final = 4096
_CONSTANTS: Final = ("filter", "bias", "multipliers", "shifts", "cpu_attributes")
_ELEMENT: Final = {"bias": "<i4", "multipliers": "<i4", "shifts": "i1", "cpu_attributes": "<i4"}


def decode(data: bytes) -> AxonProgram:
    """Parse a binary.

    Raises ModelFormatError, naming the field, for anything but a well-formed version 1.3.1 file.
    """
    if len(data) < abi.HEADER.itemsize:
        raise ModelFormatError(
            f"not an Axon binary: {len(data)} bytes, the header alone takes {abi.HEADER.itemsize}"
        )
    header = np.frombuffer(data, abi.HEADER, 1)[0]
    if _item(data, header["title"], "title") != abi.TITLE:
        raise ModelFormatError("not an Axon binary: the title is missing")
    version = _item(data, header["version"], "version")
    if version != abi.VERSION:
        raise ModelFormatError(
            f"Axon binary version {_dotted(version)}, this tool reads {_dotted(abi.VERSION)}"
        )
    meta = _record(data, header["meta"], abi.META, "meta")
    options = _record(data, header["options"], abi.OPTIONS, "options")
    constants = _item(data, header["consts"], "constants")
    layers = _layers(_item(data, header["layers"], "layers"), int(meta["layer_count"]), constants)
    return AxonProgram(
        name=_text(_item(data, meta["name"], "name")).rstrip("\0"),
        layers=layers,
        input_quantization=_quantization(meta["input"]),
        output_dequantization=_quantization(meta["output"]),
        labels=_labels(data, meta["labels"]),
        options=Options(**{name: int(options[name]) for name in abi.OPTIONS.names or ()}),
    )


def _dotted(version: bytes) -> str:
    """Bytes 01 03 01 00 read as 1.3.1."""
    return ".".join(str(byte) for byte in version[:3])


def _item(data: bytes, item: Any, what: str) -> bytes:
    offset, length = int(item["offset"]), int(item["length"])
    if offset + length > len(data):
        raise ModelFormatError(
            f"the {what} item ends at byte {offset + length}, the file has {len(data)}"
        )
    return data[offset : offset + length]


def _record(data: bytes, item: Any, dtype: np.dtype[Any], what: str) -> Any:
    raw = _item(data, item, what)
    if len(raw) != dtype.itemsize:
        raise ModelFormatError(f"the {what} item has {len(raw)} bytes, expected {dtype.itemsize}")
    return np.frombuffer(raw, dtype, 1)[0]


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ModelFormatError(f"a name or label is not text: {error.reason}") from error


def _labels(data: bytes, item: Any) -> tuple[str, ...]:
    if int(item["offset"]) == abi.ABSENT_U32 or int(item["length"]) == 0:
        return ()
    return tuple(_text(_item(data, item, "labels")).rstrip("\0").split("\0"))


def _quantization(record: Any) -> Quantization:
    if int(record["shift"]) > 63:
        raise ModelFormatError(f"a quantization shift of {int(record['shift'])} exceeds 63")
    return Quantization(int(record["multiplier"]), int(record["shift"]), int(record["zero_point"]))


def _layers(raw: bytes, count: int, constants: bytes) -> tuple[Layer, ...]:
    if not 1 <= count <= MAX_LAYERS:
        raise ModelFormatError(f"{count} layers, expected 1 to {MAX_LAYERS}")
    if len(raw) != count * abi.LAYER.itemsize:
        raise ModelFormatError(
            f"{len(raw)} bytes of layers, {count} layers take {count * abi.LAYER.itemsize}"
        )
    records = np.frombuffer(raw, abi.LAYER, count)
    starts = {
        int(record[name])
        for record in records
        for name in _CONSTANTS
        if int(record[name]) != abi.ABSENT_U64
    }
    bounds = sorted(starts | {len(constants)})
    return tuple(_layer(i, records[i], count, constants, bounds) for i in range(count))


def _layer(index: int, record: Any, layer_count: int, constants: bytes, bounds: list[int]) -> Layer:
    where = f"layer {index}"
    try:
        op = Op(int(record["op"]))
        activation = Activation(int(record["activation"]))
    except ValueError as error:
        raise ModelFormatError(f"{where}: unknown code: {error}") from error
    inputs = _inputs(index, record, layer_count)
    arrays = {name: _constant(record, name, op, constants, bounds, where) for name in _CONSTANTS}
    pads = [int(value) for value in record["pads"]]
    return Layer(
        op=op,
        inputs=inputs,
        output_dims=_dims(record["output_dims"]),
        filter_dims=_dims(record["filter_dims"]),
        stride_x=int(record["stride_x"]),
        stride_y=int(record["stride_y"]),
        dilation_x=int(record["dilation_x"]),
        dilation_y=int(record["dilation_y"]),
        pads=Pads(*pads),
        concat_axis=int(record["concat_axis"]),
        input_zero_point=int(record["input_zero_point"]),
        output_zero_point=int(record["output_zero_point"]),
        output_multiplier=int(record["output_multiplier"]),
        output_shift=int(record["output_shift"]),
        activation=activation,
        filter=arrays["filter"],
        bias=arrays["bias"],
        multipliers=arrays["multipliers"],
        shifts=arrays["shifts"],
        cpu_attributes=arrays["cpu_attributes"],
    )


def _inputs(index: int, record: Any, layer_count: int) -> tuple[LayerInput, ...]:
    """Operands of a layer. Only a persistent variable may name a later layer: it takes that
    layer's value over for the next inference."""
    count = int(record["input_count"])
    if count > abi.MAX_INPUTS:
        raise ModelFormatError(f"layer {index} has {count} inputs, at most {abi.MAX_INPUTS}")
    inputs = []
    for slot in range(count):
        producer = int(record["input_ids"][slot])
        persistent = int(record["op"]) == Op.PERSISTENT_VARIABLE and producer != index
        if not -1 <= producer < (layer_count if persistent else index):
            raise ModelFormatError(
                f"layer {index} reads layer {producer}, expected an earlier layer or -1"
            )
        split = record["splits"][slot]
        inputs.append(
            LayerInput(
                producer,
                _dims(record["input_dims"][slot]),
                int(split["axis"]),
                int(split["offset"]),
            )
        )
    return tuple(inputs)


def _dims(record: Any) -> Dims:
    return Dims(
        int(record["height"]),
        int(record["width"]),
        int(record["channels"]),
        int(record["byte_width"]),
        int(record["batch"]),
    )


def filter_shape(op: Op, filter_dims: Dims, output_channels: int) -> tuple[int, ...]:
    """Shape of a layer's filter array: weights, slice parameters or a constant operand."""
    height, width, channels = filter_dims.height, filter_dims.width, filter_dims.channels
    if op in (Op.CONV2D, Op.POINTWISE_CONV2D):
        return (output_channels, channels, height, width)
    if op is Op.FULLY_CONNECTED:
        return (height, width)
    if op is Op.STRIDED_SLICE:
        return (height * width,)
    return (max(channels, 1), height, width)


WIDE: Final = (
    Op.CHANNEL_PAD,
    Op.PERSISTENT_VARIABLE,
    Op.STRIDED_SLICE,
    Op.MULTIPLY,
    Op.RESHAPE,
    Op.SPACE_TO_BATCH,
    Op.BATCH_TO_SPACE,
    Op.RESIZE_NEAREST,
)
"""Layers whose single multiplier and shift Nordic's front end may write in 64 bits."""


def _room(bounds: list[int], offset: int) -> int:
    """Bytes from an offset to the next constant."""
    return next((bound for bound in bounds if bound > offset), offset) - offset


def _constant(
    record: Any, name: str, op: Op, constants: bytes, bounds: list[int], where: str
) -> IntArray | None:
    offset = int(record[name])
    if offset == abi.ABSENT_U64:
        return None
    shape: tuple[int, ...] = (-1,)
    if name == "filter":
        element = "<i4" if op is Op.STRIDED_SLICE else "i1"
        output_channels = int(record["output_dims"]["channels"])
        shape = filter_shape(op, _dims(record["filter_dims"]), output_channels)
        count = math.prod(shape)
    elif name in ("shifts", "cpu_attributes"):
        key = "shift_count" if name == "shifts" else "cpu_attribute_count"
        element, count = _ELEMENT[name], int(record[key])
    else:
        element = _ELEMENT[name]
        count = 1 if op in WIDE else _room(bounds, offset) // 4
    if op in WIDE and name in ("multipliers", "shifts") and count == 1:
        element = "<i8" if _room(bounds, offset) == 8 else element
    size = np.dtype(element).itemsize
    if offset + count * size > len(constants):
        raise ModelFormatError(
            f"{where}: {name} ends at byte {offset + count * size} of the constants, "
            f"which have {len(constants)}"
        )
    array = np.frombuffer(constants, element, count, offset)
    return array.astype(array.dtype.newbyteorder("=")).reshape(shape)
