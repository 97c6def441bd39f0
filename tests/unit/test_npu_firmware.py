"""The NPU backend on a board: what is linked, what is refused, and the platform layer at work."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from compiler import build_description
from harness.board import BoardSpec
from harness.board_device import BoardChoice, open_board_device
from harness.cli import main
from harness.errors import ConfigError, DeviceFault, ExitCode, ToolchainError
from harness.firmware.build import FirmwareImage, build_firmware
from harness.link import Link, RunOptions
from harness.vendor.board_firmware import LIBRARY, buffer_bytes, foreign_code, npu_board_model
from harness.vendor.driver import layer_command_bytes
from harness.vendor.sdk import VARIABLE
from tests.support.npu_board import (
    DIMS,
    ELEMENTS,
    EMULATED,
    KIT,
    SilentNpu,
    made_up_code,
    made_up_program,
    made_up_sdk,
    open_silent,
    with_layer_models,
)

PROGRAM = made_up_program()
WATCHDOG = 7


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FirmwareImage]:
    folder = tmp_path_factory.mktemp("npu")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("harness.vendor.driver._SHORTEST_LIMIT_CYCLES", 200_000)
        yield built(folder, KIT)


def built(
    folder: Path, board: BoardSpec, toolchain: str = "zig", *, layer_models: bool = False
) -> FirmwareImage:
    code = made_up_code(PROGRAM, made_up_sdk(folder / "sdk"))
    if layer_models:
        code = with_layer_models(PROGRAM, code)
    assert board.memory is not None
    model = npu_board_model(PROGRAM, code, board.memory)
    foreign = foreign_code(PROGRAM, code, model)
    return build_firmware(board, model, toolchain=toolchain, folder=folder, foreign=foreign)


@pytest.fixture
def link(image: FirmwareImage, monkeypatch: pytest.MonkeyPatch) -> Iterator[Link]:
    board = open_silent(image.elf, monkeypatch)
    made = Link(board)
    made.hello()
    yield made
    board.close()


def test_what_is_in_the_image(image: FirmwareImage) -> None:
    facts = json.loads(image.manifest.read_text("utf-8"))
    assert facts["model"]["backend"] == "npu"
    assert facts["npu"]["versions"]["version"] == "9.9.9"
    assert f"foreign/{LIBRARY.name}" in facts["foreign"]
    assert "-fshort-enums" in facts["toolchain"]["flags"]
    assert facts["sizes"]["npu_bytes"] == image.memory.npu_bytes == ELEMENTS + 4
    assert image.memory.slot_bytes == 0
    assert image.memory.model_bytes > len(build_description(PROGRAM).data)


def test_the_same_sdk_elsewhere_gives_the_same_bytes(
    image: FirmwareImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.vendor.driver._SHORTEST_LIMIT_CYCLES", 200_000)
    assert built(tmp_path, KIT).elf.read_bytes() == image.elf.read_bytes()


def test_an_inference_ends_with_the_npus_interrupt(link: Link) -> None:
    assert link.device.backend.rstrip(b"\0") == b"npu"
    assert link.device.model_status == 0
    values = np.arange(ELEMENTS, dtype=np.int8).reshape(2, 3, 2) * 5
    planes = values.transpose(2, 0, 1).ravel()  # the driver sees channels first
    expected = planes + 1
    expected[1] = round(np.tanh(planes[1] / 32) * 100)
    for _ in range(2):
        (result,) = link.infer(values.tobytes())
        found = np.frombuffer(result.outputs, np.int8).reshape(2, 3, 2).transpose(2, 0, 1)
        assert found.ravel().tolist() == expected.tolist()


def test_layers_are_not_timed_without_their_models(link: Link) -> None:
    (result,) = link.infer(bytes(ELEMENTS), RunOptions(with_layers=True))
    assert result.cycles_median > 0
    assert result.layer_cycles == (0,)


def test_layers_are_timed_after_the_model_by_models_of_their_own(
    link: Link, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = bytes(range(ELEMENTS))
    (plain,) = link.infer(values)
    monkeypatch.setattr("harness.vendor.driver._SHORTEST_LIMIT_CYCLES", 200_000)
    image = built(tmp_path, KIT, layer_models=True)
    assert json.loads(image.manifest.read_text("utf-8"))["npu"]["layer_command_bytes"] == 40
    with closing(open_silent(image.elf, monkeypatch)) as board:
        timed = Link(board)
        timed.hello()
        (result,) = timed.infer(values, RunOptions(laps=2, with_layers=True))
        (untimed,) = timed.infer(values)
    assert result.outputs == untimed.outputs == plain.outputs
    assert len(result.layer_cycles) == 1
    assert 0 < result.layer_cycles[0] < result.cycles_median
    assert result.cycles_max < 2 * plain.cycles_max
    assert untimed.layer_cycles == ()


def test_an_inference_that_fails_is_an_error_of_the_backend(link: Link) -> None:
    with pytest.raises(DeviceFault, match="backend"):
        link.infer(bytes([126] + [0] * (ELEMENTS - 1)))


def test_an_npu_that_never_answers_is_a_fault_and_not_a_hang(link: Link) -> None:
    with pytest.raises(DeviceFault, match="watchdog"):
        link.infer(bytes([127] + [0] * (ELEMENTS - 1)))
    hello = link.hello()
    assert hello.fault_cause == WATCHDOG
    assert hello.model_status == 0


def test_a_model_that_is_too_big_for_the_board(tmp_path: Path) -> None:
    assert KIT.memory is not None
    sdk = made_up_sdk(tmp_path)
    much = made_up_code(PROGRAM, sdk, interlayer_bytes=600_000)
    with pytest.raises(ConfigError, match=r"600004 for the NPU's buffers\), the board has 523264"):
        npu_board_model(PROGRAM, much, KIT.memory)
    large = made_up_code(PROGRAM, sdk, constant_bytes=2_000_000)
    with pytest.raises(ConfigError, match=r"2000000 of constants.* the board has 1560576"):
        npu_board_model(PROGRAM, large, KIT.memory)


def test_layer_models_count_when_a_model_is_too_big(tmp_path: Path) -> None:
    assert KIT.memory is not None
    code = with_layer_models(PROGRAM, made_up_code(PROGRAM, made_up_sdk(tmp_path)), words=400_000)
    assert layer_command_bytes(PROGRAM, code) == 1_600_000
    with pytest.raises(
        ConfigError, match=r"1600000 of commands of single layers.* leave out --layer-times"
    ):
        npu_board_model(PROGRAM, code, KIT.memory)


def test_layer_times_are_for_the_npu(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", "--board", "nrf54lm20dk", "--layer-times"]) == ExitCode.INPUT
    assert "--layer-times is for --target npu" in capsys.readouterr().err


def test_buffers_are_whole_words_and_more_than_the_model_uses(tmp_path: Path) -> None:
    sdk = made_up_sdk(tmp_path)
    for used, linked in ((0, 0), (1, 4), (3, 4), (4, 8), (52224, 52228)):
        code = made_up_code(PROGRAM, sdk, interlayer_bytes=used, psum_bytes=used)
        assert buffer_bytes(code) == (linked, linked)


def test_a_checkout_without_the_arm_library(tmp_path: Path) -> None:
    sdk = made_up_sdk(tmp_path)
    (tmp_path / LIBRARY).unlink()
    code = made_up_code(PROGRAM, sdk)
    assert KIT.memory is not None
    with pytest.raises(ToolchainError, match=r"libnrf-axon-driver-internal-fpu\.a is missing"):
        foreign_code(PROGRAM, code, npu_board_model(PROGRAM, code, KIT.memory))


@pytest.mark.parametrize("board", ["nrf54l15dk", "nrf54lm20adk", "virt-nrf54l15"])
@pytest.mark.parametrize("toolchain", ["zig", "west"])
def test_boards_without_an_npu_are_refused_by_name(
    board: str, toolchain: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["build", "--board", board, "--target", "npu", "--toolchain", toolchain]
    assert main(arguments) == ExitCode.INPUT
    error = capsys.readouterr().err
    assert f"the board '{board}'" in error
    assert "has no NPU" in error
    assert "nrf54lm20dk" in error


def test_without_the_sdk_the_variable_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert main(["build", "--board", "nrf54lm20dk", "--target", "npu"]) == ExitCode.TOOL
    assert f"{VARIABLE} is not set" in capsys.readouterr().err


def test_a_board_that_runs_no_image(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", "--board", "vendor-sim", "--target", "npu"]) == ExitCode.INPUT
    assert "runs no image" in capsys.readouterr().err


def test_driver_code_that_does_not_compile(tmp_path: Path) -> None:
    code = made_up_code(PROGRAM, made_up_sdk(tmp_path / "sdk"))
    assert KIT.memory is not None
    model = npu_board_model(PROGRAM, code, KIT.memory)
    foreign = foreign_code(PROGRAM, code, model)
    broken = {name: b"broken(" if name.endswith(".c") else data
              for name, data in foreign.files.items()}  # fmt: skip
    with pytest.raises(ToolchainError, match="the firmware did not build"):
        build_firmware(
            KIT, model, folder=tmp_path, foreign=dataclasses.replace(foreign, files=broken)
        )


@pytest.mark.parametrize("command", ["run", "serve"])
def test_no_command_runs_the_npu_of_a_board_without_one(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "--board", "virt-nrf54l15", "--target", "npu"]) == ExitCode.INPUT
    assert "'virt-nrf54l15' (emulated nRF54L15) has no NPU" in capsys.readouterr().err


def test_a_session_builds_for_the_target_that_was_chosen(
    image: FirmwareImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.vendor.driver._SHORTEST_LIMIT_CYCLES", 200_000)
    code = made_up_code(PROGRAM, made_up_sdk(tmp_path / "sdk"))
    monkeypatch.setattr("harness.vendor.driver.generate_for", lambda _, **__: code)
    monkeypatch.setattr("harness.vendor.sdk.find_sdk", lambda: code.sdk)
    monkeypatch.setattr("harness.virtual.machine.Chip", SilentNpu)
    choice = BoardChoice(firmware_folder=image.manifest.parent.parent, target="npu")
    with closing(open_board_device(EMULATED, PROGRAM, choice)) as device:
        assert device.info.backend == "firmware, npu (Axon 1.4.0, sdk-edge-ai 9.9.9)"
        assert device.info.versions["sdk_edge_ai_driver_version"] == "1.4.0"
        assert device.info.versions["firmware_build"] == image.build_id.hex()
        result = device.infer(np.zeros((1, *DIMS.shape), np.int8))
        assert result.outputs[0].ravel().tolist() == [1, 0, *([1] * (ELEMENTS - 2))]
