"""Builds: reproducible, cached, sized from the ELF, and clear when a tool fails."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path

import pytest

from compiler import CompileOptions, compile_model
from harness.board import BoardSpec, load_boards
from harness.errors import ConfigError, ToolchainError
from harness.firmware import FIRMWARE
from harness.firmware.build import build_firmware, firmware_model
from harness.firmware.cross_compiler import COMPILERS, choose_toolchain
from harness.firmware.host_build import build_host
from harness.firmware.image import intel_hex, load_elf
from harness.firmware.source import FirmwareModel
from harness.firmware.west import build_zephyr
from harness.model_file import DEFAULT_MODEL
from harness.tool_process import find_tool, run_logged
from tests.support.echo_firmware import BACKEND, echo_model
from tests.support.fake_tools import install
from tests.support.small_elf import small_elf

SMALL = FirmwareModel(image=b"", arena_bytes=256, input_bytes=64, output_bytes=16, layers=1)


@pytest.fixture
def board() -> BoardSpec:
    return load_boards()["nrf54l15dk"]


def copied_sources(folder: Path) -> Path:
    return Path(shutil.copytree(FIRMWARE, folder / "firmware"))


def test_same_inputs_give_the_same_bytes_on_two_paths(tmp_path: Path, board: BoardSpec) -> None:
    first = build_firmware(board, SMALL, folder=tmp_path / "a")
    elsewhere = copied_sources(tmp_path / "another" / "place")
    second = build_firmware(board, SMALL, folder=tmp_path / "b", firmware=elsewhere)
    assert first.build_id == second.build_id
    for left, right in ((first.elf, second.elf), (first.hex, second.hex)):
        assert left.read_bytes() == right.read_bytes()
    assert first.manifest.read_bytes() == second.manifest.read_bytes()
    assert str(tmp_path).encode() not in first.elf.read_bytes()


def test_builds_are_kept_by_content(
    tmp_path: Path, board: BoardSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = build_firmware(board, SMALL, folder=tmp_path)
    stamp = built.elf.stat().st_mtime_ns
    monkeypatch.setattr("harness.firmware.build.run_logged", None)
    again = build_firmware(board, SMALL, folder=tmp_path)
    assert again.elf.stat().st_mtime_ns == stamp
    other = dataclasses.replace(SMALL, arena_bytes=512)
    with pytest.raises(TypeError):
        build_firmware(board, other, folder=tmp_path)


def test_manifest_and_sizes(tmp_path: Path, board: BoardSpec) -> None:
    built = build_firmware(board, SMALL, folder=tmp_path)
    facts = json.loads(built.manifest.read_text("utf-8"))
    assert facts["build_id"] == built.build_id.hex()
    assert facts["toolchain"]["version"] == built.toolchain
    assert "-Wconversion" in facts["toolchain"]["flags"]
    assert facts["files"]["firmware.elf"]["bytes"] == built.elf.stat().st_size
    assert "core/axr_main.c" in facts["sources"]
    use = built.memory
    assert board.memory is not None
    assert use.arena_bytes == 256
    assert use.stack_bytes == board.memory.stack_bytes
    assert use.buffers_bytes >= 2 * board.memory.receive_bytes
    assert use.model_bytes < 16  # padding
    assert facts["sizes"]["flash_bytes"] == use.flash_bytes
    assert 10_000 < use.code_bytes < 100_000


def test_the_model_slot_gets_the_rest_of_ram(tmp_path: Path, board: BoardSpec) -> None:
    program = compile_model(DEFAULT_MODEL.read_bytes(), CompileOptions(name="digits"))
    model = firmware_model(program, profile="ic01", memory=board.memory)
    built = build_firmware(board, model, folder=tmp_path)
    use = built.memory
    assert board.memory is not None
    assert use.arena_bytes >= model.arena_bytes
    assert use.slot_bytes == model.ram_slot_bytes > 64 * 1024
    assert use.ram_bytes + use.slot_bytes <= board.memory.ram_bytes
    assert built.model_hash == model.image[56:72]
    small_ram = dataclasses.replace(board.memory, ram_bytes=64 * 1024)
    with pytest.raises(ConfigError, match=r"needs \d+ bytes of RAM .* the board has 65536"):
        firmware_model(program, memory=small_ram)


def test_gcc_builds_the_same_sources(tmp_path: Path, board: BoardSpec) -> None:
    if shutil.which("arm-none-eabi-gcc") is None:
        pytest.skip("arm-none-eabi-gcc is not installed")
    built = build_firmware(board, SMALL, toolchain="gcc", folder=tmp_path)
    assert built.toolchain.startswith("arm-none-eabi-gcc ")
    other = build_firmware(board, SMALL, toolchain="zig", folder=tmp_path)
    assert built.build_id != other.build_id


def test_the_second_chip_builds(tmp_path: Path) -> None:
    built = build_firmware(load_boards()["nrf54lm20dk"], SMALL, folder=tmp_path)
    assert "AXR" not in built.board


def test_a_model_that_does_not_fit_is_the_users_input(tmp_path: Path, board: BoardSpec) -> None:
    large = dataclasses.replace(SMALL, arena_bytes=300_000)
    with pytest.raises(ConfigError, match="the model does not fit into the nrf54l15dk"):
        build_firmware(board, large, folder=tmp_path)


def test_a_failing_compiler_shows_command_status_lines_and_log(
    tmp_path: Path, board: BoardSpec
) -> None:
    broken = copied_sources(tmp_path)
    (broken / "core" / "axr_main.c").write_text("int broken(\n", encoding="ascii")
    with pytest.raises(ToolchainError, match=r"(?s)ziglang cc.*status 1.*build-1\.log.*axr_main"):
        build_firmware(board, SMALL, folder=tmp_path / "kept", firmware=broken)
    logs = list((tmp_path / "kept").glob("*/build-1.log"))
    assert "[status 1]" in logs[0].read_text("utf-8")
    assert not list((tmp_path / "kept").glob("*/manifest.json"))


def test_choice_of_compiler(board: BoardSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    assert board.firmware is not None
    assert choose_toolchain(None, board.firmware).name == "zig"
    assert choose_toolchain("gcc", board.firmware).name == "gcc"
    with pytest.raises(ConfigError, match="'west' does not build this firmware"):
        choose_toolchain("west", board.firmware)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    monkeypatch.setattr("shutil.which", lambda _: "/usr/bin/arm-none-eabi-gcc")
    assert choose_toolchain(None, board.firmware).name == "gcc"
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(ToolchainError, match="pip install ziglang"):
        choose_toolchain(None, board.firmware)
    with pytest.raises(ToolchainError, match="install Arm's GCC"):
        COMPILERS["gcc"].compiler()


def test_boards_without_an_image_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="takes no firmware image"):
        build_firmware(load_boards()["sim"], SMALL, folder=tmp_path)


def test_tools_that_hang_or_do_not_exist(tmp_path: Path) -> None:
    log = tmp_path / "tool.log"
    with pytest.raises(ToolchainError, match="no end within 0 s"):
        run_logged(["sleep", "5"], timeout_s=0.1, log=log)
    assert log.is_file()
    with pytest.raises(ToolchainError, match="cannot be started"):
        run_logged([str(tmp_path / "absent")], timeout_s=1.0)
    with pytest.raises(ToolchainError, match="not on the PATH: hint"):
        find_tool("no-such-tool-at-all", "hint")
    run = run_logged(["sh", "-c", "printf 'a\\033[1mb\\n'; exit 3"], timeout_s=5.0)
    assert (run.status, run.tail) == (3, "a[1mb")


def test_west_builds_the_zephyr_application(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, board: BoardSpec
) -> None:
    tools = install(tmp_path, monkeypatch, "west")
    image = small_elf(tmp_path / "image.elf", bytes(64))
    image.with_suffix(".hex").write_bytes(intel_hex(load_elf(image)))
    monkeypatch.setenv("FAKE_IMAGE", str(image))
    built = build_zephyr(board, SMALL, folder=tmp_path / "kept")
    assert "--board nrf54l15dk/nrf54l15/cpuapp" in tools.calls[-1]
    assert f"-DAXR_GENERATED={built.manifest.parent / 'generated'}" in tools.calls[-1]
    assert built.west_build is not None
    assert built.hex.read_bytes().endswith(b":00000001FF\n")
    calls = len(tools.calls)
    build_zephyr(board, SMALL, folder=tmp_path / "kept")
    assert len(tools.calls) == calls + 1  # its version only
    tools.choose("fails")
    other = dataclasses.replace(SMALL, arena_bytes=512)
    with pytest.raises(ToolchainError, match=r"(?s)west.*status 1.*FATAL ERROR"):
        build_zephyr(board, other, folder=tmp_path / "kept")
    with pytest.raises(ConfigError, match="has no zephyr_board"):
        build_zephyr(load_boards()["host"], SMALL)


def test_without_west_the_way_out_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, board: BoardSpec
) -> None:
    install(tmp_path, monkeypatch)
    with pytest.raises(ToolchainError, match="--toolchain zig"):
        build_zephyr(board, SMALL, folder=tmp_path)


def test_intel_hex_covers_every_byte(tmp_path: Path) -> None:
    data = bytes(range(256)) * 300
    elf = load_elf(small_elf(tmp_path / "a.elf", data, address=0xFFF8))
    found: dict[int, int] = {}
    upper = 0
    for line in intel_hex(elf).decode("ascii").split():
        row = bytes.fromhex(line[1:])
        assert sum(row) & 0xFF == 0
        kind, payload = row[3], row[4:-1]
        if kind == 4:
            upper = int.from_bytes(payload, "big") << 16
        elif kind == 0:
            start = upper + int.from_bytes(row[1:3], "big")
            assert start & 0xFFFF0000 == (start + len(payload) - 1) & 0xFFFF0000
            found.update(enumerate(payload, start))
    assert bytes(found[0xFFF8 + i] for i in range(len(data))) == data


@pytest.mark.parametrize("cut", [3, 40, 60, 90])
def test_damaged_elf_files_are_refused(tmp_path: Path, cut: int) -> None:
    path = small_elf(tmp_path / "a.elf", bytes(64))
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ConfigError, match="no firmware image"):
        load_elf(path)


def test_a_host_build_that_cannot_be_started_is_made_again(tmp_path: Path) -> None:
    model = echo_model(4, 4)
    built = build_host(model, backend_sources=[BACKEND], folder=tmp_path)
    built.path.chmod(0o644)  # what a kill between writing and marking it leaves
    assert build_host(model, backend_sources=[BACKEND], folder=tmp_path) == built
    assert os.access(built.path, os.X_OK)


def test_a_host_compiler_that_fails_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ToolchainError, match="firmware for this machine did not build: 'false"):
        build_host(SMALL, compiler=["false"], folder=tmp_path)
    assert not list(tmp_path.iterdir())
