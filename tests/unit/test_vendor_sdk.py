"""Finding sdk-edge-ai: what is missing, unsupported or mixed is one clear sentence."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from harness.errors import ToolchainError
from harness.vendor.sdk import VARIABLE, find_sdk
from tests.support.vendor_sdk import ACT, VERSION, build_library, make_checkout


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_library(tmp_path_factory.mktemp("library"))


def environment(root: Path) -> dict[str, str]:
    return {VARIABLE: str(root)}


def test_versions_of_a_whole_checkout(tmp_path: Path, library: Path) -> None:
    sdk = find_sdk(environment(make_checkout(tmp_path, library)))
    assert sdk.facts() == {
        "version": "2.2.0",
        "compiler_version": "1.4.0",
        "driver_version": "1.4.0",
        "ir_version": "1.3.1",
    }
    assert sdk.path == tmp_path
    assert sdk.compiler_library.is_file()
    assert all(folder.is_dir() for folder in sdk.include_folders)


def test_the_version_of_a_release_candidate(tmp_path: Path, library: Path) -> None:
    root = make_checkout(tmp_path, library)
    text = (root / "VERSION").read_text()
    (root / "VERSION").write_text(text.replace("EXTRAVERSION =", "EXTRAVERSION = rc1"))
    assert find_sdk(environment(root)).version == "2.2.0-rc1"


@pytest.mark.parametrize("given", [{}, {VARIABLE: ""}, {VARIABLE: "  "}])
def test_the_variable_is_not_set(given: dict[str, str]) -> None:
    with pytest.raises(ToolchainError, match="SDK_EDGE_AI_PATH is not set: clone"):
        find_sdk(given)


def test_the_folder_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(ToolchainError, match="which is no folder"):
        find_sdk(environment(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    "part",
    [
        "VERSION",
        "include/drivers/axon/nrf_axon_driver.h",
        "tools/axon/compiler/include/nrf_axon_nn_compiler_types.h",
        "tools/axon/compiler/scripts/model_wrapper.py",
    ],
)
def test_a_part_is_missing(part: str, tmp_path: Path, library: Path) -> None:
    root = make_checkout(tmp_path, library)
    (root / part).unlink()
    with pytest.raises(ToolchainError, match=f"not a whole checkout.*{part} is missing"):
        find_sdk(environment(root))


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("VERSION", "does not give VERSION_MAJOR"),
        ("include/drivers/axon/nrf_axon_driver.h", "does not define NRF_AXON_VERSION"),
        ("tools/axon/compiler/scripts/model_wrapper.py", "which version of the Axon binary"),
    ],
)
def test_a_part_does_not_say_its_version(
    part: str, message: str, tmp_path: Path, library: Path
) -> None:
    root = make_checkout(tmp_path, library)
    (root / part).write_text("nothing here\n")
    with pytest.raises(ToolchainError, match=message):
        find_sdk(environment(root))


def test_the_library_is_missing(tmp_path: Path, library: Path) -> None:
    root = make_checkout(tmp_path, library)
    for path in (root / "tools" / "axon" / "compiler" / "bin").rglob("*nn-compiler*"):
        path.unlink()
    with pytest.raises(ToolchainError, match=r"bin/.* is missing; fetch it again"):
        find_sdk(environment(root))


def test_a_machine_without_a_library(
    tmp_path: Path, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_checkout(tmp_path, library)
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(ToolchainError, match=r"no compiler library for .* on riscv64; expected"):
        find_sdk(environment(root))


def test_a_library_that_is_none(tmp_path: Path, library: Path) -> None:
    root = make_checkout(tmp_path, library)
    for path in (root / "tools" / "axon" / "compiler" / "bin").rglob("*nn-compiler*"):
        path.write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(ToolchainError, match=r"cannot be used .*its last lines: .*OSError"):
        find_sdk(environment(root))


def test_a_library_that_does_not_say_its_version(
    tmp_path: Path, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ACT, "no_version")
    with pytest.raises(ToolchainError, match="does not print its version"):
        find_sdk(environment(make_checkout(tmp_path, library)))


def test_compiler_2_is_refused(
    tmp_path: Path, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VERSION, "2.0.0")
    with pytest.raises(ToolchainError, match=r"compiler library .* is version 2\.0\.0; this axo"):
        find_sdk(environment(make_checkout(tmp_path, library, driver="2, 0, 0")))


def test_driver_2_is_refused(tmp_path: Path, library: Path) -> None:
    with pytest.raises(ToolchainError, match=r"the driver .* is version 2\.1\.0; this axonrig"):
        find_sdk(environment(make_checkout(tmp_path, library, driver="2, 1, 0")))


def test_a_mixed_checkout_is_refused(tmp_path: Path, library: Path) -> None:
    with pytest.raises(ToolchainError, match=r"mixes compiler library 1\.4\.0 with driver 1\.3\.0"):
        find_sdk(environment(make_checkout(tmp_path, library, driver="1, 3, 0")))


def test_another_binary_is_refused(tmp_path: Path, library: Path) -> None:
    message = r"Axon binaries of version 1\.2\.0; this axonrig writes 1\.3\.1"
    with pytest.raises(ToolchainError, match=message):
        find_sdk(environment(make_checkout(tmp_path, library, ir=(1, 2, 0))))
