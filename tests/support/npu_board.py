"""An emulated nRF54LM20B with a silent NPU, and a made-up SDK for its firmware."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Final

import pytest

from compiler import AxonProgram, Dims
from harness.board import load_boards
from harness.vendor.board_firmware import LIBRARY
from harness.vendor.codegen import Generated
from harness.vendor.driver import DRIVER_SOURCES, layers_header, model_header
from harness.vendor.sdk import Sdk
from harness.virtual.board import VirtualBoard, open_virtual_board
from harness.virtual.chip import Chip
from tests.support.programs import convolution, program_of

FIXTURES: Final = Path(__file__).parents[1] / "fixtures" / "vendor" / "driver"
DIMS: Final = Dims(2, 3, 2)
ELEMENTS: Final = 12
KIT: Final = load_boards()["nrf54lm20dk"]
EMULATED: Final = dataclasses.replace(
    load_boards()["virt-nrf54l15"], runs_image_of=KIT.name, features=KIT.features
)
_AXONS: Final = range(0x50056000, 0x50057000)
_PENDING: Final = 0xE000E208
_CLEAR_PENDING: Final = 0xE000E288


class SilentNpu(Chip):
    """A chip whose NPU keeps what is written to it and never answers."""

    _memory: dict[int, int] | None = None

    def read(self, address: int, size: int) -> int:
        """See `Chip`."""
        if address in _AXONS:
            return (self._memory or {}).get(address, 0)
        return super().read(address, size)

    def write(self, address: int, size: int, value: int) -> None:
        """See `Chip`."""
        if address in _AXONS:
            self._memory = {**(self._memory or {}), address: value}
        elif address == _CLEAR_PENDING:
            super().write(_PENDING, 4, super().read(_PENDING, 4) & ~value)
        else:
            super().write(address, size, value)


def open_silent(elf: Path, monkeypatch: pytest.MonkeyPatch) -> VirtualBoard:
    """Run an image; the caller closes the board."""
    monkeypatch.setattr("harness.virtual.machine.Chip", SilentNpu)
    return open_virtual_board(EMULATED, KIT, elf)


def made_up_program() -> AxonProgram:
    """A program whose input and output have the extents of the made-up model."""
    identity = [[[[1]], [[0]]], [[[0]], [[1]]]]
    return program_of(convolution(DIMS, identity, DIMS))


def made_up_sdk(root: Path) -> Sdk:
    """As much of a checkout as a firmware build reads."""
    shutil.copytree(FIXTURES / "axon", root / "include" / "axon")
    shutil.copytree(FIXTURES / "drivers", root / "include" / "drivers")
    (root / "tools").mkdir()
    contents = ((FIXTURES / "board_driver.c").read_bytes(), b"typedef int unused;\n")
    for part, data in zip((*DRIVER_SOURCES, LIBRARY), (*contents, b"!<arch>\n"), strict=True):
        (root / part).parent.mkdir(parents=True, exist_ok=True)
        (root / part).write_bytes(data)
    return Sdk(root, root / "none", "9.9.9", "1.4.0", "1.4.0", "1.3.1")


def made_up_code(program: AxonProgram, sdk: Sdk, **sizes: int) -> Generated:
    """Generated code for `made_up_program`. sizes: instead of the usual ones."""
    name = program.name.lower()
    text = (
        f'static_assert(NRF_AXON_INTERLAYER_BUFFER_SIZE > {ELEMENTS}, "too small");\n'
        f"const nrf_axon_nn_compiled_model_s model_{name} = {{\n"
        "    .inputs = {{.dimensions = {2, 3, 2, 1}}}, .output_dimensions = {2, 3, 2, 1}};\n"
    )
    usual = {"constant_bytes": 40, "command_buffer_bytes": 80, "psum_bytes": 0, "ticks": 1000}
    return Generated(
        sdk=sdk,
        **{"interlayer_bytes": ELEMENTS, **usual, **sizes},
        headers={model_header(program): text.encode()},
        layers=(),
        own_vectors=False,
        disagreements=(),
    )  # fmt: skip


def with_layer_models(program: AxonProgram, code: Generated, words: int = 10) -> Generated:
    """`code` with the one layer of `made_up_program` as a model. words: its commands."""
    name = program.name.lower()
    text = (
        "#if (AXON_LAYER_TEST_START_LAYER<=0) && (AXON_LAYER_TEST_STOP_LAYER>=0)\n"
        f"const uint32_t cmd_buffer_{name}_0_0[{words}] = {{1}};\n"
        f"const nrf_axon_nn_compiled_model_layer_s model_{name}_0_0 = {{.layer_ndx = 0}};\n"
        "#endif\n"
        f"nrf_axon_nn_compiled_model_layer_s const *model_{name}_layer_list[] = {{\n"
        f"    &model_{name}_0_0, NULL}};\n"
    )
    headers = {**code.headers, layers_header(program): text.encode()}
    return dataclasses.replace(code, headers=headers)
