"""The firmware's NPU backend over a stand-in for Nordic's driver that fails on request."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from compiler import AxonProgram, Dims, build_description, build_image
from harness.firmware.host_build import WARNINGS
from tests.support.programs import convolution, program_of

ROOT: Final = Path(__file__).parents[2]
FIRMWARE: Final = ROOT / "firmware"
CORE: Final = FIRMWARE / "core"
DRIVER: Final = ROOT / "tests" / "fixtures" / "vendor" / "driver"
DIMS: Final = Dims(2, 3, 2)
ELEMENTS: Final = 12
ARENA_BYTES: Final = 2 * ELEMENTS
IMAGE_BYTES_AT: Final = 68  # in axr_model_info_t: after the name, the hash and the version
OK, IMAGE_MAGIC, IMAGE_ALIGNMENT, ARENA_TOO_SMALL = 0, 2, 13, 14
NO_MODEL, NO_INPUT, NO_RESULT, INPUT_SIZE, OUTPUT_INDEX, OUTPUT_SIZE, BACKEND = range(32, 39)


def program(weight: int = 1) -> AxonProgram:
    weights = [[[[weight]], [[0]]], [[[0]], [[weight]]]]
    bias = np.zeros(2, np.int32)
    return program_of(convolution(DIMS, weights, DIMS, bias=bias))


def image_bytes(weight: int = 1) -> bytes:
    return build_image(program(weight)).data


class Backend:
    """The library, with an arena and an image that stay in place while a model is open."""

    def __init__(self, library: Path) -> None:
        self.library = ctypes.CDLL(str(library))
        self.arena = (ctypes.c_uint64 * 64)()
        self.image = ctypes.create_string_buffer(0)

    def set(self, **values: int) -> None:
        for name, value in values.items():
            ctypes.c_int.in_dll(self.library, name).value = value

    def get(self, name: str) -> int:
        return ctypes.c_int.in_dll(self.library, name).value

    def open(self, image: bytes, arena_bytes: int = ARENA_BYTES, shift: int = 0) -> int:
        words = (len(image) + 7) // 8
        self.image = (ctypes.c_uint64 * words).from_buffer_copy(image.ljust(words * 8, b"\0"))  # type: ignore[assignment]  # an aligned buffer
        arena = ctypes.byref(self.arena, shift)
        return int(self.library.test_open(self.image, len(image), arena, arena_bytes))

    def set_input(self, values: np.ndarray[Any, Any]) -> int:
        data = values.astype(np.int8).tobytes()
        return int(self.library.test_set_input(data, len(data)))

    def infer(self) -> int:
        return int(self.library.test_infer())

    def infer_timed(self, *, each_layer: bool, variables: int = 0) -> tuple[int, int, list[int]]:
        """Status, time of the model, times of the four layers."""
        status = int(self.library.test_infer_timed(int(each_layer), variables))
        times = (ctypes.c_int * 4).in_dll(self.library, "layer_times")
        return status, self.get("model_time"), list(times)

    def output(self, index: int = 0, capacity: int = ELEMENTS) -> tuple[int, bytes]:
        to, written = ctypes.create_string_buffer(capacity), ctypes.c_uint32()
        status = self.library.test_get_output(index, to, capacity, ctypes.byref(written))
        return int(status), to.raw[: written.value]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("backend")
    target = folder / "backend.so"
    digits = ",".join(str(byte) for byte in image_bytes()[56:72])
    sources = [
        FIRMWARE / "backends" / "npu" / "npu_backend.c",
        DRIVER / "fake_driver.c",
        *(path for path in sorted(CORE.glob("*.c")) if not path.name.startswith("axr_")),
    ]
    parts = (FIRMWARE / "include", CORE, FIRMWARE / "backends" / "npu", DRIVER)
    command = [sys.executable, "-m", "ziglang", "cc", *WARNINGS, "-O1", "-shared", "-fPIC"]
    include = [f"-I{part}" for part in parts]
    done = subprocess.run(
        [*command, f"-DSOURCE_SHA256={digits}", *include, "-o", str(target), *map(str, sources)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture
def backend(library: Path) -> Iterator[Backend]:
    made = Backend(library)
    yield made
    made.set(refuse_layer=-1, fail_layer=-1)
    made.set(fail_init=0, fail_validate=0, fail_variables=0, fail_infer=0, no_input=0)
    made.library.test_extent(3, 3, 0)


def test_nothing_works_without_a_model(backend: Backend) -> None:
    assert backend.open(b"not an image, and long enough to be looked at".ljust(256)) == IMAGE_MAGIC
    assert backend.set_input(np.zeros(ELEMENTS)) == NO_MODEL
    assert backend.infer() == NO_MODEL
    assert backend.output() == (NO_MODEL, b"")
    assert backend.library.test_describe(ctypes.create_string_buffer(4096)) == NO_MODEL


def test_the_platform_is_started_once_more_after_a_failure(backend: Backend) -> None:
    before = backend.get("starts")
    backend.set(fail_init=1)
    first = backend.open(image_bytes())
    if before == 0:
        assert first == BACKEND
        assert backend.get("starts") == 1
    backend.set(fail_init=0)
    assert backend.open(image_bytes()) == OK
    started = backend.get("starts")
    assert backend.open(image_bytes()) == OK
    assert backend.get("starts") == started


def test_a_description_says_what_the_whole_image_says(backend: Backend) -> None:
    description = build_description(program()).data
    assert len(description) < len(image_bytes())
    said = []
    for data in (image_bytes(), description):
        assert backend.open(data) == OK
        info = ctypes.create_string_buffer(4096)
        assert backend.library.test_describe(info) == OK
        assert int.from_bytes(info.raw[IMAGE_BYTES_AT : IMAGE_BYTES_AT + 4], "little") == len(data)
        said.append(info.raw[:IMAGE_BYTES_AT] + info.raw[IMAGE_BYTES_AT + 4 :])
    assert said[0] == said[1]
    assert backend.set_input(np.zeros(ELEMENTS)) == OK
    assert backend.infer() == OK


def test_the_driver_gets_channels_first_and_the_host_channels_last(backend: Backend) -> None:
    assert backend.open(image_bytes()) == OK
    values = np.arange(ELEMENTS, dtype=np.int8).reshape(2, 3, 2) * 7 - 40
    assert backend.set_input(values) == OK
    assert backend.infer() == OK
    seen = np.array((ctypes.c_int8 * ELEMENTS).in_dll(backend.library, "seen"))
    assert np.array_equal(seen.reshape(2, 2, 3), values.transpose(2, 0, 1))
    status, raw = backend.output()
    assert status == OK
    assert np.array_equal(np.frombuffer(raw, np.int8).reshape(2, 3, 2), values + 1)


def test_the_order_of_calls(backend: Backend) -> None:
    assert backend.open(image_bytes()) == OK
    assert backend.infer() == NO_INPUT
    assert backend.output()[0] == NO_RESULT
    assert backend.set_input(np.zeros(ELEMENTS - 1)) == INPUT_SIZE
    assert backend.set_input(np.zeros(ELEMENTS)) == OK
    assert backend.output()[0] == NO_RESULT
    assert backend.infer() == OK
    assert backend.infer() == NO_INPUT
    assert backend.output(1)[0] == OUTPUT_INDEX
    assert backend.output(0, ELEMENTS - 1)[0] == OUTPUT_SIZE
    assert backend.output()[0] == OK


def test_variables_start_anew_with_every_open(backend: Backend) -> None:
    before = backend.get("resets")
    assert backend.open(image_bytes()) == OK
    assert backend.open(image_bytes()) == OK
    assert backend.get("resets") == before + 2


@pytest.mark.parametrize("fault", ["fail_validate", "fail_variables", "no_input"])
def test_a_driver_that_refuses_the_model(fault: str, backend: Backend) -> None:
    backend.set(**{fault: 1})
    assert backend.open(image_bytes()) == BACKEND
    assert backend.infer() == NO_MODEL


@pytest.mark.parametrize("extent", [(4, 3, 0), (3, 4, 0), (3, 3, 1)])
def test_another_model_than_was_linked(extent: tuple[int, int, int], backend: Backend) -> None:
    backend.library.test_extent(*extent)
    assert backend.open(image_bytes()) == BACKEND


def test_an_image_of_another_program(backend: Backend) -> None:
    assert backend.open(image_bytes(weight=2)) == BACKEND


def test_an_inference_that_fails_leaves_no_result(backend: Backend) -> None:
    assert backend.open(image_bytes()) == OK
    assert backend.set_input(np.zeros(ELEMENTS)) == OK
    backend.set(fail_infer=1)
    assert backend.infer() == BACKEND
    assert backend.output()[0] == NO_RESULT
    backend.set(fail_infer=0)
    assert backend.infer() == NO_INPUT
    assert backend.set_input(np.zeros(ELEMENTS)) == OK
    assert backend.infer() == OK


def test_the_arena(backend: Backend) -> None:
    assert backend.open(image_bytes(), ARENA_BYTES - 1) == ARENA_TOO_SMALL
    assert backend.open(image_bytes(), ARENA_BYTES, shift=4) == IMAGE_ALIGNMENT


def test_the_whole_model_is_timed_and_its_layers_when_asked(backend: Backend) -> None:
    assert backend.open(image_bytes()) == OK
    values = np.arange(ELEMENTS, dtype=np.int8).reshape(2, 3, 2)
    found = []
    for each_layer in (False, True):
        assert backend.set_input(values) == OK
        found.append(backend.infer_timed(each_layer=each_layer))
        assert backend.get("layers_timed") == (3 if each_layer else 0)
        status, raw = backend.output()
        assert status == OK
        assert np.array_equal(np.frombuffer(raw, np.int8).reshape(2, 3, 2), values + 1)
    assert found == [(OK, 1000, [0, 0, 0, 0]), (OK, 1000, [10, 0, 12, 13])]


@pytest.mark.parametrize("fault", ["refuse_layer", "fail_layer"])
def test_a_layer_that_the_driver_refuses_is_left_out(fault: str, backend: Backend) -> None:
    assert backend.open(image_bytes()) == OK
    assert backend.set_input(np.zeros(ELEMENTS)) == OK
    backend.set(**{fault: 2})
    assert backend.infer_timed(each_layer=True) == (OK, 1000, [10, 0, 0, 13])
    assert backend.output()[0] == OK


def test_layers_of_a_model_with_variables_are_left_alone(backend: Backend) -> None:
    assert backend.open(image_bytes()) == OK
    assert backend.set_input(np.zeros(ELEMENTS)) == OK
    assert backend.infer_timed(each_layer=True, variables=1) == (OK, 1000, [0, 0, 0, 0])


def test_no_layer_is_timed_after_a_failure(backend: Backend) -> None:
    assert backend.open(image_bytes()) == OK
    assert backend.set_input(np.zeros(ELEMENTS)) == OK
    backend.set(fail_infer=1)
    assert backend.infer_timed(each_layer=True) == (BACKEND, 0, [0, 0, 0, 0])
