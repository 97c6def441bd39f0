"""AxonProgram -> the Axon binary.

The same program always gives the same bytes. File order: header, labels, name, meta, layers,
constants, options, title, version, each padded with zeros to four bytes (docs/axon-binary.md).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from compiler import abi
from compiler.errors import VerifyError
from compiler.ir import AxonProgram, Dims, IntArray, Layer


def encode(program: AxonProgram) -> bytes:
    """Serialise a program.

    Raises VerifyError when a value does not fit its field.
    """
    constants = bytearray()
    records = _layer_records(program, constants)
    body = bytearray(abi.HEADER.itemsize)
    header = np.zeros((), abi.HEADER)
    meta = np.zeros((), abi.META)
    labels = b"".join(label.upper().encode("utf-8") + b"\0" for label in program.labels)
    meta["labels"] = _append(body, labels) if labels else (abi.ABSENT_U32, 0)
    meta["name"] = _append(body, program.name.lower().encode("ascii") + b"\0")
    meta["layer_count"] = len(program.layers)
    for key, quantization in (
        ("input", program.input_quantization),
        ("output", program.output_dequantization),
    ):
        meta[key] = (quantization.multiplier, quantization.shift, quantization.zero_point)
    header["meta"] = _append(body, meta.tobytes())
    header["layers"] = _append(body, records.tobytes())
    header["consts"] = _append(body, bytes(constants))
    header["options"] = _append(body, _options(program).tobytes())
    header["title"] = _append(body, abi.TITLE)
    header["version"] = _append(body, abi.VERSION)
    body[: abi.HEADER.itemsize] = header.tobytes()
    return bytes(body)


def _append(body: bytearray, data: bytes) -> tuple[int, int]:
    """Append one aligned item; return its (offset, length). The length excludes the padding."""
    offset = len(body)
    body += data
    body += bytes(-len(body) % abi.ALIGNMENT)
    return offset, len(data)


def _options(program: AxonProgram) -> np.ndarray[Any, np.dtype[Any]]:
    record = np.zeros((), abi.OPTIONS)
    for name in abi.OPTIONS.names or ():
        record[name] = getattr(program.options, name)
    return record


def _layer_records(
    program: AxonProgram, constants: bytearray
) -> np.ndarray[Any, np.dtype[np.void]]:
    records = np.zeros(len(program.layers), abi.LAYER)
    slots_seen = 0
    for index, layer in enumerate(program.layers):
        slots_seen = max(slots_seen, len(layer.inputs))
        try:
            _fill(records[index], layer, constants)
        except (OverflowError, ValueError) as error:
            raise VerifyError(
                f"layer {index} ({layer.op.name.lower()}) does not fit the binary: {error}"
            ) from error
        # Nordic's front end leaves the batch count of a slot that an earlier layer used at 1.
        for slot in range(len(layer.inputs), slots_seen):
            records[index]["input_dims"][slot]["batch"] = 1
    return records


def _fill(record: Any, layer: Layer, constants: bytearray) -> None:
    if len(layer.inputs) > abi.MAX_INPUTS:
        raise ValueError(f"{len(layer.inputs)} inputs, at most {abi.MAX_INPUTS}")
    record["input_count"] = len(layer.inputs)
    record["op"] = int(layer.op)
    for slot, operand in enumerate(layer.inputs):
        record["input_ids"][slot] = operand.producer
        record["input_dims"][slot] = _dims(operand.dims)
        record["splits"][slot] = (operand.split_axis, operand.split_offset)
    record["filter_dims"] = _dims(layer.filter_dims)
    record["output_dims"] = _dims(layer.output_dims)
    for name in (
        "concat_axis",
        "stride_x",
        "stride_y",
        "dilation_x",
        "dilation_y",
        "input_zero_point",
        "output_zero_point",
        "output_multiplier",
        "output_shift",
    ):
        record[name] = getattr(layer, name)
    record["activation"] = int(layer.activation)
    pads = layer.pads
    record["pads"] = (pads.left, pads.right, pads.top, pads.bottom)
    record["shift_count"] = 0 if layer.shifts is None else layer.shifts.size
    record["cpu_attribute_count"] = 0 if layer.cpu_attributes is None else layer.cpu_attributes.size
    for name in ("filter", "bias", "multipliers", "shifts", "cpu_attributes"):
        record[name] = _append_constant(constants, getattr(layer, name))


def _append_constant(constants: bytearray, array: IntArray | None) -> int:
    if array is None:
        return abi.ABSENT_U64
    little_endian = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return _append(constants, little_endian.tobytes())[0]


def _dims(dims: Dims) -> tuple[int, int, int, int, int]:
    return (dims.height, dims.width, dims.channels, dims.byte_width, dims.batch)
