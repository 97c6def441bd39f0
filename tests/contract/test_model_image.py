"""The model image means the same to C and to Python: numbers, layouts, and the C array."""

from __future__ import annotations

import re
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from compiler import UnsupportedError
from compiler.image import build_description, build_image, c_source, layout
from compiler.image.layout import Flag, ImageOp
from tests.support.firmware_host import FIRMWARE, SUPPORT, Driver, build
from tests.support.random_programs import random_program

_HEADER: Final = (FIRMWARE / "include" / "axr_model_image.h").read_text()
_SIZES: Final = {"8": 1, "16": 2, "32": 4}


def _number(name: str) -> int:
    found = re.search(rf"#define AXR_{name} (0x[0-9A-F]+|\d+)U?\b", _HEADER)
    assert found is not None, f"AXR_{name} is not defined"
    return int(found.group(1), 0)


def _numbers(prefix: str) -> dict[str, int]:
    found = re.findall(rf"#define AXR_{prefix}_(\w+) (\d+)U\b", _HEADER)
    return {name: int(value) for name, value in found}


def _fields(struct: str) -> dict[str, tuple[int, int]]:
    """(offset, bytes) by field of a C struct, computed by C's rules of natural alignment."""
    body = re.search(rf"typedef struct {struct} {{(.*?)}} {struct}_t;", _HEADER, re.DOTALL)
    assert body is not None, f"struct {struct} is not defined"
    code = re.sub(r"/\*.*?\*/", "", body.group(1), flags=re.DOTALL)
    fields, offset = {}, 0
    for kind, name, count in re.findall(r"(\w+) (\w+)(?:\[(\w+)\])?;", code):
        width = re.search(r"\d+", kind)
        size = 1 if kind == "char" or width is None else _SIZES[width.group()]
        elements = 1 if not count else _number(count.removeprefix("AXR_"))
        offset = -(-offset // size) * size
        fields[name] = (offset, size * elements)
        offset += size * elements
    return fields


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("IMAGE_MAGIC_WORD", layout.MAGIC),
        ("IMAGE_LAYOUT_VERSION", layout.LAYOUT_VERSION),
        ("IMAGE_CRC_START", layout.CRC_START),
        ("MODEL_NAME_BYTES", layout.NAME_BYTES),
        ("SOURCE_HASH_BYTES", layout.HASH_BYTES),
        ("MAX_OUTPUTS", layout.MAX_OUTPUTS),
        ("MAX_OPERANDS", layout.MAX_OPERANDS),
        ("MAX_RECORDS", layout.MAX_RECORDS),
        ("MAX_EXTENT", layout.MAX_EXTENT),
        ("MAX_SHIFT", layout.MAX_SHIFT),
        ("MAX_STRIDE", layout.MAX_STRIDE),
        ("SCRATCH_ALIGNMENT", layout.SCRATCH_ALIGNMENT),
        ("COPY_FILL", layout.COPY_FILL),
    ],
)
def test_numbers(name: str, value: int) -> None:
    assert _number(name) == value


def test_operations_and_flags() -> None:
    assert _numbers("OP") == {op.name: op.value for op in ImageOp}
    assert _numbers("FLAG") == {str(flag.name): flag.value for flag in Flag}


@pytest.mark.parametrize(
    ("struct", "record"),
    [
        ("axr_image_header", layout.HEADER),
        ("axr_image_tensor", layout.TENSOR),
        ("axr_image_record", layout.RECORD),
        ("axr_channel", layout.CHANNEL),
    ],
)
def test_layouts(struct: str, record: np.dtype[Any]) -> None:
    assert record.fields is not None
    ours = {name: (field[1], field[0].itemsize) for name, field in record.fields.items()}
    assert _fields(struct) == ours


def test_the_same_program_gives_the_same_bytes() -> None:
    assert build_image(random_program(3)).data == build_image(random_program(3)).data


def test_the_checksum_covers_everything_after_it() -> None:
    data = build_image(random_program(0)).data
    header = np.frombuffer(data, layout.HEADER, 1)[0]
    assert int(header["crc32"]) == zlib.crc32(data[layout.CRC_START :])
    assert int(header["image_bytes"]) == len(data)


def test_the_c_array_holds_the_image() -> None:
    image = build_image(random_program(0))
    source = c_source(image, "some_model")
    body = source[source.index("= {") :]
    assert bytes(int(text, 16) for text in re.findall(r"0x([0-9a-f]{2})\b", body)) == image.data
    assert f"const uint32_t some_model_bytes = {len(image.data)}U;" in source


def test_a_program_without_a_kernel_is_refused_by_name() -> None:
    program = random_program(0)
    first = program.layers[0]
    assert first.shifts is not None
    wide = replace(first, shifts=np.full_like(first.shifts, layout.MAX_SHIFT + 1))
    with pytest.raises(UnsupportedError, match=r"layer 0 \(conv2d\): a shift of 47"):
        build_image(replace(program, layers=(wide, *program.layers[1:])))


@pytest.fixture(scope="module")
def driver_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("driver")
    return build(folder, "core_driver", SUPPORT / "core_driver.c").executable


def _resealed(data: bytes, struct: str, field: str, value: int, index: int = 0) -> bytes:
    """A copy with one field of a table row changed and the checksum made right again."""
    header = np.frombuffer(data, layout.HEADER, 1)[0]
    tables = {"header": 0, "tensor": "tensors_offset", "record": "records_offset"}
    types = {"header": layout.HEADER, "tensor": layout.TENSOR, "record": layout.RECORD}
    place = tables[struct]
    start = place if isinstance(place, int) else int(header[place])
    changed = bytearray(data)
    np.frombuffer(changed, types[struct], index + 1, start)[index][field] = value
    whole = np.frombuffer(changed, layout.HEADER, 1)
    whole["crc32"] = zlib.crc32(changed[layout.CRC_START : int(whole["image_bytes"][0])])
    return bytes(changed)


@pytest.mark.parametrize(
    ("struct", "field", "value", "status"),
    [
        ("header", "magic", 0x1234, "IMAGE_MAGIC"),
        ("header", "version", 2, "IMAGE_VERSION"),
        ("header", "header_bytes", 124, "IMAGE_VERSION"),
        ("header", "image_bytes", 1 << 30, "IMAGE_TOO_SHORT"),
        ("header", "record_count", 0, "IMAGE_TABLE"),
        ("header", "output_count", 21, "IMAGE_TABLE"),
        ("header", "tensors_offset", 0xFFFF_FFF0, "IMAGE_TABLE"),
        ("header", "constants_offset", 2, "IMAGE_TABLE"),
        ("header", "input_tensor", 999, "IMAGE_TABLE"),
        ("header", "arena_bytes", 16, "IMAGE_TENSOR"),
        ("tensor", "offset", 0xFFFF_FF00, "IMAGE_TENSOR"),
        ("tensor", "height", 0, "IMAGE_TENSOR"),
        ("tensor", "element_bytes", 3, "IMAGE_TENSOR"),
        ("tensor", "batch", 60000, "IMAGE_TENSOR"),
        ("record", "op", 0, "IMAGE_OPERATION"),
        ("record", "op", 11, "IMAGE_OPERATION"),
        ("record", "operands", 999, "IMAGE_LAYER"),
        ("record", "output", 999, "IMAGE_LAYER"),
        ("record", "operand_count", 0, "IMAGE_LAYER"),
        ("record", "stride_x", 0, "IMAGE_PARAMETER"),
        ("record", "pad_left", -1, "IMAGE_PARAMETER"),
        ("record", "output_zero_point", 300, "IMAGE_PARAMETER"),
        ("record", "channel_count", 1, "IMAGE_SHAPE"),
        ("record", "window_width", 9, "IMAGE_CONSTANT"),
        ("record", "weights", 0xFFFF_FFF0, "IMAGE_CONSTANT"),
        ("record", "channels", 0xFFFF_FFF0, "IMAGE_CONSTANT"),
        ("record", "scratch_bytes", 8, "IMAGE_SCRATCH"),
        ("record", "scratch", 0xFFFF_FFF8, "IMAGE_SCRATCH"),
        ("record", "scratch", 0, "IMAGE_OVERLAP"),
    ],
)
def test_a_damaged_image_is_refused_with_its_code(
    driver_path: Path, struct: str, field: str, value: int, status: str
) -> None:
    image = build_image(random_program(0))
    data = _resealed(image.data, struct, field, value)
    with Driver(driver_path) as driver:
        assert driver.status(data, image.arena_bytes) == _status(status)


def test_the_kernels_take_no_description(driver_path: Path) -> None:
    image = build_description(random_program(0))
    assert (image.constant_bytes, image.layers) == (0, ())
    with Driver(driver_path) as driver:
        assert driver.status(image.data, image.arena_bytes) == _status("IMAGE_TABLE")


def test_other_refusals(driver_path: Path) -> None:
    image = build_image(random_program(0))
    flipped = bytearray(image.data)
    flipped[-1] ^= 1
    with Driver(driver_path) as driver:
        assert driver.status(bytes(flipped), image.arena_bytes) == _status("IMAGE_CRC")
        assert driver.status(image.data[:60], image.arena_bytes) == _status("IMAGE_TOO_SHORT")
        assert driver.status(image.data[:-4], image.arena_bytes) == _status("IMAGE_TOO_SHORT")
        small = image.arena_bytes - 8
        assert driver.status(image.data, small) == _status("ARENA_TOO_SMALL")
        assert driver.status(image.data, image.arena_bytes) == 0


def _status(name: str) -> int:
    text = (FIRMWARE / "include" / "axr_status.h").read_text()
    found = re.search(rf"AXR_{name} = (\d+),", text)
    assert found is not None
    return int(found.group(1))
