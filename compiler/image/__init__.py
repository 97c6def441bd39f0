"""AxonProgram -> model image: the bytes that the firmware's CPU kernels execute.

The layout is firmware/include/axr_model_image.h; docs/firmware-core.md explains it.
"""

from __future__ import annotations

import hashlib
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from compiler.encode import encode
from compiler.errors import UnsupportedError
from compiler.image import layout
from compiler.image.arena import Block, Plan, plan_arena
from compiler.image.draft import Draft, RecordDraft
from compiler.image.layout import Flag
from compiler.image.lower import lower
from compiler.ir import EXTERNAL_INPUT, AxonProgram
from compiler.reference import dequantize_output
from compiler.verify import verify

PROGRAM_VERSION = 0x0001_0301
"""Version of the Axon binary that an image stands for: 1.3.1."""


@dataclass(frozen=True, slots=True)
class TensorPlace:
    """Where a layer's output lies in the arena while it is alive.

    offset: bytes from the start of the arena.
    shape: (batch, height, width, channels), the memory order.
    """

    offset: int
    shape: tuple[int, int, int, int]
    element_bytes: int


@dataclass(frozen=True, slots=True)
class ModelImage:
    """A model image and what a build needs to know of it.

    data: the image; the same program gives the same bytes.
    arena_bytes: RAM that the memory plan needs.
    source_sha256: first 16 bytes of the hash of the Axon binary.
    layers: one place per layer of the program; none in a description.
    outputs: the layers that are outputs, in the order of the image's outputs.
    """

    data: bytes
    name: str
    arena_bytes: int
    constant_bytes: int
    source_sha256: bytes
    layers: tuple[TensorPlace, ...]
    outputs: tuple[int, ...]


def build_image(program: AxonProgram) -> ModelImage:
    """Rearrange a program for the CPU kernels and plan its memory.

    Raises VerifyError for a program that breaks an invariant, UnsupportedError for a layer that the
    kernels do not execute.
    """
    verify(program)
    draft = lower(program)
    _check_counts(program, draft)
    plan = _plan(program, draft)
    layers = tuple(_place(draft, plan, draft.values[i]) for i in range(len(program.layers)))
    return _image(program, draft, plan, layers)


def build_description(program: AxonProgram) -> ModelImage:
    """An image without records and constants, for a backend that brings code of its own.

    It says what `build_image` says of the model: name, hash, input, outputs. Its arena holds the
    input and the outputs one after the other, each on a 32-bit boundary; it has no places of
    layers. Raises VerifyError as `build_image` does, UnsupportedError for too many outputs.
    """
    verify(program)
    draft = Draft()
    offsets = [0]
    for value in (EXTERNAL_INPUT, *program.output_layers):
        dims = program.input_dims if value == EXTERNAL_INPUT else program.layers[value].output_dims
        extent = (dims.height, dims.width, dims.channels)
        draft.values[value] = draft.new_tensor(extent, dims.batch, dims.byte_width)
        offsets.append(offsets[-1] + -(-draft.tensors[-1].size_bytes // 4) * 4)
    _check_counts(program, draft)
    return _image(program, draft, Plan(tuple(offsets[:-1]), offsets[-1]), ())


def _image(
    program: AxonProgram, draft: Draft, plan: Plan, layers: tuple[TensorPlace, ...]
) -> ModelImage:
    digest = hashlib.sha256(encode(program)).digest()[: layout.HASH_BYTES]
    constants = bytearray()
    records = _records(draft, plan, constants)
    tensors = _tensors(program, draft, plan)
    outputs = np.array([draft.values[i] for i in program.output_layers], "<u2")
    header = np.zeros((), layout.HEADER)
    header["program_version"] = PROGRAM_VERSION
    header["arena_bytes"] = plan.arena_bytes
    header["program_layer_count"] = len(program.layers)
    header["input_tensor"] = draft.values[EXTERNAL_INPUT]
    header["source_sha256"] = np.frombuffer(digest, np.uint8)
    header["name"] = _name(program)
    return ModelImage(
        data=_assemble(header, tensors, records, outputs, bytes(constants)),
        name=_name(program).decode("ascii"),
        arena_bytes=plan.arena_bytes,
        constant_bytes=len(constants),
        source_sha256=digest,
        layers=layers,
        outputs=program.output_layers,
    )


def c_source(image: ModelImage, symbol: str = "axr_model_image") -> str:
    """The image as a C file: `const uint8_t SYMBOL[]` and `const uint32_t SYMBOL_bytes`."""
    rows = [
        ", ".join(f"0x{byte:02x}" for byte in image.data[start : start + 16])
        for start in range(0, len(image.data), 16)
    ]
    return (
        f"/* Model image of '{image.name}': {len(image.data)} bytes, "
        f"arena {image.arena_bytes} bytes. Generated. */\n"
        "#include <stdint.h>\n\n"
        f"extern const uint8_t {symbol}[{len(image.data)}];\n"
        f"extern const uint32_t {symbol}_bytes;\n\n"
        f"_Alignas(8) const uint8_t {symbol}[{len(image.data)}] = {{\n    "
        + ",\n    ".join(rows)
        + f",\n}};\nconst uint32_t {symbol}_bytes = {len(image.data)}U;\n"
    )


def _check_counts(program: AxonProgram, draft: Draft) -> None:
    for what, found, limit in (
        ("outputs", len(program.output_layers), layout.MAX_OUTPUTS),
        ("records", len(draft.records), layout.MAX_RECORDS),
        ("tensors", len(draft.tensors), layout.MAX_EXTENT),
    ):
        if found > limit:
            raise UnsupportedError(
                f"the program '{program.name}' makes {found} {what} in a model image, at most "
                f"{limit} fit"
            )
    for tensor in draft.tensors:
        if max(tensor.height, tensor.width, tensor.channels, tensor.batch) > layout.MAX_EXTENT:
            raise UnsupportedError(
                f"a tensor of {tensor.height}x{tensor.width}x{tensor.channels} does not fit a "
                f"model image, at most {layout.MAX_EXTENT} along an axis do"
            )


def _name(program: AxonProgram) -> bytes:
    """At most 47 characters, the terminating NUL has to fit as well."""
    return program.name.encode("ascii", "replace")[: layout.NAME_BYTES - 1] or b"model"


# --- memory -------------------------------------------------------------------------------------


def _plan(program: AxonProgram, draft: Draft) -> Plan:
    """Offsets of all storages, then of the scratch memory of each record, in one arena."""
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    size: dict[int, int] = {}
    for tensor in draft.tensors:
        size[tensor.storage] = max(size.get(tensor.storage, 0), tensor.size_bytes)
    for index, record in enumerate(draft.records):
        for position in (record.output, *record.operands):
            storage = draft.tensors[position].storage
            first.setdefault(storage, index)
            last[storage] = index
    end = len(draft.records)
    entry = draft.tensors[draft.values[EXTERNAL_INPUT]].storage
    first[entry] = -1
    last.setdefault(entry, -1)
    for index in program.output_layers:
        last[draft.tensors[draft.values[index]].storage] = end
    for storage in draft.persistent:
        first[storage], last[storage] = -1, end
    blocks = [Block(size[s], first.get(s, end), last.get(s, end)) for s in range(draft.storages)]
    leads = _leads(draft, blocks)
    blocks += [Block(record.scratch_bytes, i, i) for i, record in enumerate(draft.records)]
    return plan_arena(blocks, leads)


def _leads(draft: Draft, blocks: list[Block]) -> Mapping[tuple[int, int], int]:
    """Pairs of storages that may share memory: the operand's last reader first writes the other."""
    leads: dict[tuple[int, int], int] = {}
    for index, record in enumerate(draft.records):
        output = draft.tensors[record.output].storage
        operands = [draft.tensors[operand].storage for operand in record.operands]
        for position, lead in record.lead_bytes.items():
            storage = operands[position]
            meets = blocks[storage].last == index and blocks[output].first == index
            if meets and storage != output and operands.count(storage) == 1:
                leads[storage, output] = lead
    return leads


def _place(draft: Draft, plan: Plan, index: int) -> TensorPlace:
    tensor = draft.tensors[index]
    return TensorPlace(
        plan.offsets[tensor.storage],
        (tensor.batch, tensor.height, tensor.width, tensor.channels),
        tensor.width_bytes,
    )


# --- tables -------------------------------------------------------------------------------------


def _tensors(program: AxonProgram, draft: Draft, plan: Plan) -> bytes:
    table = np.zeros(len(draft.tensors), layout.TENSOR)
    for row, tensor in zip(table, draft.tensors, strict=True):
        row["offset"] = plan.offsets[tensor.storage]
        row["height"], row["width"] = tensor.height, tensor.width
        row["channels"], row["batch"] = tensor.channels, tensor.batch
        row["element_bytes"] = tensor.width_bytes
    quantization = program.input_quantization
    entry = table[draft.values[EXTERNAL_INPUT]]
    entry["multiplier"], entry["shift"] = quantization.multiplier, quantization.shift
    entry["zero_point"] = quantization.zero_point
    for index in program.output_layers:
        main = index == program.output_layers[-1]
        zero, one = dequantize_output(program, np.array([0, 1]), None if main else index)
        row = table[draft.values[index]]
        row["multiplier"], row["shift"] = _as_fraction(one - zero)
        row["zero_point"] = round(-zero / (one - zero))
    return table.tobytes()


def _as_fraction(factor: float) -> tuple[int, int]:
    """factor as multiplier / 2**shift with a multiplier below 2**32, exact where that is possible.

    Factors come from such fractions or from their inverses, which are powers of two.
    """
    shift = 0
    while shift < 63 and factor * 2.0**shift != math.floor(factor * 2.0**shift):
        if factor * 2.0 ** (shift + 1) >= 2.0**32:
            break
        shift += 1
    return round(factor * 2.0**shift), shift


def _records(draft: Draft, plan: Plan, constants: bytearray) -> bytes:
    table = np.zeros(len(draft.records), layout.RECORD)
    last_of_layer = {record.program_layer: i for i, record in enumerate(draft.records)}
    for index, (row, record) in enumerate(zip(table, draft.records, strict=True)):
        flags = record.flags
        if last_of_layer[record.program_layer] == index:
            flags |= Flag.LAST_RECORD
        row["op"], row["flags"] = record.op, flags
        row["program_layer"], row["output"] = record.program_layer, record.output
        row["operand_count"] = len(record.operands)
        row["operands"][: len(record.operands)] = record.operands
        for name, value in record.fields.items():
            row[name] = value
        _append_constants(row, record, constants)
        if record.scratch_bytes:
            row["scratch"] = plan.offsets[draft.storages + index]
            row["scratch_bytes"] = record.scratch_bytes
    return table.tobytes()


def _append_constants(row: np.void, record: RecordDraft, constants: bytearray) -> None:
    for name, data in (("channels", record.channels), ("weights", record.weights)):
        if data:
            row[name] = len(constants)
            constants += data + bytes(-len(data) % 4)
    row["channel_count"] = len(record.channels) // layout.CHANNEL.itemsize
    row["weights_bytes"] = len(record.weights)


def _assemble(
    header: np.ndarray[tuple[()], np.dtype[np.void]],
    tensors: bytes,
    records: bytes,
    outputs: np.ndarray[tuple[int], np.dtype[np.uint16]],
    constants: bytes,
) -> bytes:
    body = bytearray(layout.HEADER.itemsize)
    for name, data in (
        ("tensors_offset", tensors),
        ("records_offset", records),
        ("outputs_offset", outputs.tobytes()),
        ("constants_offset", constants),
    ):
        header[name] = len(body)
        body += data + bytes(-len(data) % 4)
    header["magic"], header["version"] = layout.MAGIC, layout.LAYOUT_VERSION
    header["header_bytes"], header["image_bytes"] = layout.HEADER.itemsize, len(body)
    header["tensor_count"] = len(tensors) // layout.TENSOR.itemsize
    header["record_count"] = len(records) // layout.RECORD.itemsize
    header["output_count"], header["constants_bytes"] = len(outputs), len(constants)
    body[: layout.HEADER.itemsize] = header.tobytes()
    header["crc32"] = zlib.crc32(body[layout.CRC_START :])
    body[: layout.HEADER.itemsize] = header.tobytes()
    return bytes(body)
