"""The Zephyr application: what west is told, and what its CMake files make of it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from harness.firmware import FIRMWARE
from harness.firmware.image import intel_hex, load_elf
from harness.firmware.source import FirmwareModel
from harness.firmware.west import ZephyrAddition, build_zephyr
from harness.vendor.board_firmware import npu_board_model, zephyr_addition
from harness.vendor.driver import MODEL_SOURCE, model_header
from tests.support.fake_tools import FakeTools, install
from tests.support.npu_board import ELEMENTS, KIT, made_up_code, made_up_program, made_up_sdk
from tests.support.small_elf import small_elf
from tests.support.vendor_sdk import real_sdk

APPLICATION: Final = FIRMWARE / "ports" / "zephyr"
PACKAGE: Final = Path(__file__).parents[1] / "fixtures" / "zephyr"
PROGRAM: Final = made_up_program()


@pytest.fixture
def west(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeTools:
    tools = install(tmp_path, monkeypatch, "west")
    image = small_elf(tmp_path / "image.elf", bytes(64))
    image.with_suffix(".hex").write_bytes(intel_hex(load_elf(image)))
    monkeypatch.setenv("FAKE_IMAGE", str(image))
    return tools


def npu_parts(sdk: Path, **sizes: int) -> tuple[FirmwareModel, ZephyrAddition]:
    code = made_up_code(PROGRAM, made_up_sdk(sdk), **sizes)
    assert KIT.memory is not None
    model = npu_board_model(PROGRAM, code, KIT.memory)
    return model, zephyr_addition(PROGRAM, code, model)


def test_west_gets_the_sdk_the_fragments_and_the_sizes(west: FakeTools, tmp_path: Path) -> None:
    model, addition = npu_parts(tmp_path / "sdk", psum_bytes=30)
    built = build_zephyr(KIT, model, addition=addition, folder=tmp_path / "kept")
    call = west.calls[-1]
    for part in (
        "--board nrf54lm20dk/nrf54lm20b/cpuapp",
        f"-DEXTRA_ZEPHYR_MODULES={tmp_path / 'sdk'}",
        f"-DEXTRA_CONF_FILE={APPLICATION / 'npu.conf'}",
        f"-DEXTRA_DTC_OVERLAY_FILE={APPLICATION / 'npu.overlay'}",
        f"-DCONFIG_NRF_AXON_INTERLAYER_BUFFER_SIZE={ELEMENTS + 4}",
        "-DCONFIG_NRF_AXON_PSUM_BUFFER_SIZE=32",
    ):
        assert part in call
    generated = built.manifest.parent / "generated"
    names = {path.name for path in generated.iterdir()}
    assert names == {"axr_build.c", "model_image.bin", MODEL_SOURCE, model_header(PROGRAM)}
    assert "axr_backend_npu" in (generated / "axr_build.c").read_text()
    assert json.loads(built.manifest.read_text())["npu"]["versions"]["version"] == "9.9.9"


def test_another_result_of_the_code_generator_is_another_build(
    west: FakeTools, tmp_path: Path
) -> None:
    ids: set[bytes] = set()
    for sizes in ({}, {"psum_bytes": 8}, {"ticks": 10**7}):
        model, addition = npu_parts(tmp_path / f"sdk{len(ids)}", **sizes)
        ids.add(build_zephyr(KIT, model, addition=addition, folder=tmp_path / "kept").build_id)
    ids.add(build_zephyr(KIT, model, folder=tmp_path / "kept").build_id)
    assert len(ids) == 4
    assert "EXTRA_ZEPHYR_MODULES" not in west.calls[-1]


@pytest.mark.parametrize("target", ["cpu", "npu"])
def test_cmake_finds_every_source_of_the_target(
    target: str, west: FakeTools, tmp_path: Path
) -> None:
    cmake = shutil.which("cmake")
    if cmake is None or shutil.which("cc") is None:
        pytest.skip("CMake or a C compiler for this machine is missing")
    model, addition = npu_parts(tmp_path / "sdk")
    chosen = addition if target == "npu" else None
    build_zephyr(KIT, model, addition=chosen, folder=tmp_path / "kept")
    settings = [word for word in west.calls[-1].split() if word.startswith("-D")]
    wanted = f"-DZephyr_DIR={PACKAGE}", "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON"
    output = tmp_path / "cmake"
    done = subprocess.run(
        [cmake, "-S", str(APPLICATION), "-B", str(output), *wanted, *settings],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    commands = json.loads((output / "compile_commands.json").read_text())
    files = {Path(entry["file"]) for entry in commands}
    assert all(path.is_file() for path in files)
    names = {path.name for path in files}
    assert {"axr_build.c", "axr_main.c", "describe.c", "port_zephyr.c"} <= names
    assert (MODEL_SOURCE in names, "npu_backend.c" in names) == (target == "npu", target == "npu")
    assert ("cpu_backend.c" in names) == (target == "cpu")
    assert not names & {"simulator.c", "axon_platform.c"}


def test_every_symbol_is_one_of_the_sdk_or_of_the_application() -> None:
    sdk = real_sdk()
    files = (sdk.path / "drivers" / "axon" / "Kconfig", APPLICATION / "Kconfig")
    text = "".join(path.read_text() for path in files)
    known = {f"CONFIG_{name}" for name in re.findall(r"^config (\w+)", text, re.M)}
    used = set(re.findall(r"^(CONFIG_\w+)=", (APPLICATION / "npu.conf").read_text(), re.M))
    used |= {"CONFIG_NRF_AXON_INTERLAYER_BUFFER_SIZE", "CONFIG_NRF_AXON_PSUM_BUFFER_SIZE"}
    assert used <= known
    assert (sdk.path / "zephyr" / "module.yml").is_file()
