"""Finding Nordic's sdk-edge-ai on this machine, and the versions of what is in it."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from harness.compiled import BINARY_VERSION
from harness.errors import ToolchainError
from harness.vendor.process import library_version

VARIABLE: Final = "SDK_EDGE_AI_PATH"
SUPPORTED_MAJOR: Final = 1
"""Of compiler library and driver. Version 2 changes the format of the compiled model."""

_COMPILER: Final = Path("tools", "axon", "compiler")
_LIBRARIES: Final = {
    ("Linux", "amd64"): "Linux/libnrf-axon-nn-compiler-lib-amd64.so",
    ("Linux", "arm64"): "Linux/libnrf-axon-nn-compiler-lib-arm64.so",
    ("Darwin", "arm64"): "Darwin/libnrf-axon-nn-compiler-lib-arm64.dylib",
    ("Windows", "amd64"): "Windows/nrf-axon-nn-compiler-lib-amd64.dll",
}
_MACHINES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
_DRIVER_HEADER: Final = Path("include", "drivers", "axon", "nrf_axon_driver.h")
_TYPES_HEADER: Final = _COMPILER / "include" / "nrf_axon_nn_compiler_types.h"
_FRONT_END: Final = _COMPILER / "scripts" / "model_wrapper.py"
_LARGEST_FILE_BYTES: Final = 4 << 20


@dataclass(frozen=True, slots=True)
class Sdk:
    """A usable checkout of sdk-edge-ai.

    version: of the checkout. compiler_version: of the compiler library, as the library reports it.
    driver_version: of the driver's public header. ir_version: of the Axon binary that the
    checkout's front end writes.
    """

    path: Path
    compiler_library: Path
    version: str
    compiler_version: str
    driver_version: str
    ir_version: str

    @property
    def include_folders(self) -> tuple[Path, ...]:
        """Where the public headers are."""
        return (self.path / "include", self.path / _COMPILER / "include")

    @property
    def types_header(self) -> Path:
        """The public header of the compiler library."""
        return self.path / _TYPES_HEADER

    def facts(self) -> dict[str, str]:
        """Versions by name, for results. Paths differ between machines and are left out."""
        return {key: value for key, value in asdict(self).items() if key.endswith("version")}


def find_sdk(environment: Mapping[str, str] | None = None) -> Sdk:
    """The checkout that SDK_EDGE_AI_PATH names.

    Raises ToolchainError when the variable is unset, when the checkout lacks something, when this
    machine has no compiler library, and when versions are unsupported or do not fit each other.
    """
    root = _root(os.environ if environment is None else environment)
    library = _library(root)
    driver = _driver_version(root)
    sdk = Sdk(
        path=root,
        compiler_library=library,
        version=_sdk_version(root),
        compiler_version=library_version(library),
        driver_version=driver,
        ir_version=_ir_version(root),
    )
    _need(root, _TYPES_HEADER)
    _check(sdk)
    return sdk


def _root(environment: Mapping[str, str]) -> Path:
    given = environment.get(VARIABLE, "").strip()
    if not given:
        raise ToolchainError(
            f"{VARIABLE} is not set: clone nrfconnect/sdk-edge-ai and set the variable to its "
            "folder (docs/vendor-backend.md)"
        )
    root = Path(given).expanduser()
    if not root.is_dir():
        raise ToolchainError(
            f"{VARIABLE} is '{given}', which is no folder: set it to a checkout of sdk-edge-ai"
        )
    return root.resolve()


def _library(root: Path) -> Path:
    system = platform.system()
    machine = platform.machine().lower()
    name = _LIBRARIES.get((system, _MACHINES.get(machine, machine)))
    if name is None:
        raise ToolchainError(
            f"Nordic ships no compiler library for {system} on {machine}; expected "
            f"{', '.join(' on '.join(key) for key in _LIBRARIES)}: use one of these machines"
        )
    return _need(root, _COMPILER / "bin" / name)


def _need(root: Path, part: Path) -> Path:
    """A file of the checkout."""
    path = root / part
    if not path.is_file():
        raise ToolchainError(
            f"{root} is not a whole checkout of sdk-edge-ai: {part.as_posix()} is missing; fetch "
            f"it again, or correct {VARIABLE}"
        )
    return path


def _text(root: Path, part: Path) -> str:
    path = _need(root, part)
    try:
        with path.open("rb") as stream:
            return stream.read(_LARGEST_FILE_BYTES).decode("utf-8", "replace")
    except OSError as error:
        raise ToolchainError(f"{path} cannot be read: {error.strerror}") from error


def _sdk_version(root: Path) -> str:
    text = _text(root, Path("VERSION"))
    parts = (_number(text, key) for key in ("VERSION_MAJOR", "VERSION_MINOR", "PATCHLEVEL"))
    extra = re.search(r"^EXTRAVERSION[ \t]*=[ \t]*([\w.+-]+)", text, re.MULTILINE)
    known = [part for part in parts if part is not None]
    if len(known) != 3:
        raise ToolchainError(
            f"{root / 'VERSION'} does not give VERSION_MAJOR, VERSION_MINOR and PATCHLEVEL: fetch "
            "sdk-edge-ai again"
        )
    return ".".join(known) + (f"-{extra.group(1)}" if extra else "")


def _number(text: str, key: str) -> str | None:
    found = re.search(rf"^{key}\s*=\s*(\d+)\s*$", text, re.MULTILINE)
    return found.group(1) if found else None


def _driver_version(root: Path) -> str:
    found = re.search(
        r"^#define\s+NRF_AXON_VERSION\s+NRF_AXON_GENERATE_VERSION\(\s*(\d+),\s*(\d+),\s*(\d+)\)",
        _text(root, _DRIVER_HEADER),
        re.MULTILINE,
    )
    if found is None:
        raise ToolchainError(
            f"{root / _DRIVER_HEADER} does not define NRF_AXON_VERSION: fetch sdk-edge-ai again"
        )
    return ".".join(found.groups())


def _ir_version(root: Path) -> str:
    text = _text(root, _FRONT_END)
    found = [
        re.search(rf"^\s*{key}\s*=\s*(\d+)\s*$", text, re.MULTILINE)
        for key in ("MAJOR_VER", "MINOR_VER", "PATCH_VER")
    ]
    known = [match.group(1) for match in found if match is not None]
    if len(known) != 3:
        raise ToolchainError(
            f"{root / _FRONT_END} does not say which version of the Axon binary it writes: fetch "
            "sdk-edge-ai again"
        )
    return ".".join(known)


def _check(sdk: Sdk) -> None:
    for what, version in (
        ("compiler library", sdk.compiler_version),
        ("driver", sdk.driver_version),
    ):
        if int(version.split(".")[0]) != SUPPORTED_MAJOR:
            raise ToolchainError(
                f"the {what} in {sdk.path} is version {version}; this axonrig works with version "
                f"{SUPPORTED_MAJOR}.x, and the compiled model has another format in others: use "
                "an sdk-edge-ai with Axon 1.4, or a newer axonrig"
            )
    if _release(sdk.compiler_version) != _release(sdk.driver_version):
        raise ToolchainError(
            f"{sdk.path} mixes compiler library {sdk.compiler_version} with driver "
            f"{sdk.driver_version}; expected the same release: fetch sdk-edge-ai again"
        )
    if _release(sdk.ir_version) != _release(BINARY_VERSION):
        raise ToolchainError(
            f"{sdk.path} takes Axon binaries of version {sdk.ir_version}; this axonrig writes "
            f"{BINARY_VERSION}: use an sdk-edge-ai with Axon 1.4, or a newer axonrig"
        )


def _release(version: str) -> tuple[str, ...]:
    return tuple(version.split(".")[:2])
