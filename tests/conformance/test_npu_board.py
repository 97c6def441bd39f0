"""The firmware for the nRF54LM20B with Nordic's driver and library, on a chip with a silent NPU.

What the NPU computes is not emulated: this shows that the image links, boots, starts the driver,
opens the model, and gives up in order when no answer comes.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from compiler import AxonProgram, CompileOptions, compile_model
from harness.errors import DeviceFault
from harness.firmware.build import FirmwareImage, build_firmware
from harness.link import Link
from harness.model_file import DEFAULT_MODEL
from harness.vendor.board_firmware import buffer_bytes, foreign_code, npu_board_model
from harness.vendor.driver import generate_for, layer_command_bytes
from harness.virtual.board import VirtualBoard
from tests.support.golden import GOLDEN_DIR, golden_run
from tests.support.npu_board import KIT, open_silent
from tests.support.vendor_sdk import real_sdk

COMPILERS = ("zig", "gcc")
MODELS = ("ad_int8", "ic_int8", "kws_int8", "vww_int8")


def build(
    program: AxonProgram,
    toolchain: str,
    folder: Path,
    profile: str = "",
    *,
    layer_models: bool = False,
) -> FirmwareImage:
    real_sdk()
    if toolchain == "gcc" and shutil.which("arm-none-eabi-gcc") is None:
        pytest.skip("arm-none-eabi-gcc is not installed")
    code = generate_for(program, layer_models=layer_models)
    assert KIT.memory is not None
    model = npu_board_model(program, code, KIT.memory, profile=profile)
    foreign = foreign_code(program, code, model)
    image = build_firmware(KIT, model, toolchain=toolchain, folder=folder, foreign=foreign)
    use = image.memory
    assert use.npu_bytes == sum(buffer_bytes(code))
    layers = layer_command_bytes(program, code)
    assert bool(layers) == layer_models
    generated = code.constant_bytes + code.command_buffer_bytes + layers
    structures = 600 + 300 * len(program.layers) * layer_models
    assert 0 <= use.model_bytes - len(model.image) - generated < structures  # and alignment
    assert len(model.image) < 300
    assert use.ram_bytes <= KIT.memory.ram_bytes
    assert use.flash_bytes <= KIT.memory.flash_bytes - KIT.memory.slot_bytes
    return image


def profile_text(board: VirtualBoard) -> str:
    """The MLPerf Tiny text protocol's answer to `profile`."""
    board.write(b"profile%")
    text = b""
    while b"m-ready" not in text:
        piece = board.read(2.0)
        assert piece, f"no m-ready after {text!r}"
        text += piece
    return next(line for line in text.decode("ascii").split("\r\n") if "profile" in line)


@pytest.mark.parametrize("toolchain", COMPILERS)
def test_the_embedded_model_boots_and_a_silent_npu_is_a_fault(
    toolchain: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.vendor.driver._PATIENCE", 1)
    program = compile_model(DEFAULT_MODEL.read_bytes(), CompileOptions(name="digits"))
    image = build(program, toolchain, tmp_path, profile="ic01")
    board = open_silent(image.elf, monkeypatch)
    try:
        link = Link(board)
        hello = link.hello()
        assert hello.backend.rstrip(b"\0") == b"npu"
        assert hello.build_id == image.build_id
        assert (hello.model_status, hello.model_hash) == (0, image.model_hash)
        assert hello.arena_bytes == 3072 + 12
        assert profile_text(board).startswith("m-profile-[ULPMark")
        with pytest.raises(DeviceFault, match="watchdog"):
            link.infer(bytes(3072))
        assert link.hello().model_status == 0
    finally:
        board.close()


@pytest.mark.parametrize("toolchain", COMPILERS)
@pytest.mark.parametrize("name", MODELS)
def test_mlperf_models_link_and_fit(name: str, toolchain: str, tmp_path: Path) -> None:
    if not (GOLDEN_DIR / f"{name}.bin").is_file():
        pytest.skip(f"no recorded run {name} at {GOLDEN_DIR}")
    build(golden_run(name).program, toolchain, tmp_path)


@pytest.mark.parametrize("toolchain", COMPILERS)
def test_an_image_with_layer_models_links_and_boots(
    toolchain: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = compile_model(DEFAULT_MODEL.read_bytes(), CompileOptions(name="digits"))
    image = build(program, toolchain, tmp_path, layer_models=True)
    board = open_silent(image.elf, monkeypatch)
    try:
        hello = Link(board).hello()
        assert (hello.model_status, hello.layers) == (0, len(program.layers))
    finally:
        board.close()
