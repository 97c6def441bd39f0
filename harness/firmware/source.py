"""The one C file that the build writes for a model: identity, model image and memory sizes.

Pure text; `harness.firmware.host_build` compiles it with the sources under firmware/.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from harness.errors import ConfigError

MODEL_FILE: Final = "model_image.bin"
"""Name under which the generated file includes the model image; it lies in the same folder."""

PROFILES: Final = ("", "ic01", "kws01", "vww01", "ad01")
RESULT_HEADER_BYTES: Final = 56
_MIN_STAGING: Final = 4096
_HASH_AT: Final = 56  # firmware/include/axr_model_image.h
_TEXT: Final = re.compile(r"[A-Za-z0-9_. +-]{1,31}")


@dataclass(frozen=True, slots=True)
class FirmwareModel:
    """What the firmware is built for; sizes in bytes.

    image: model image, empty when models are only uploaded. arena_bytes: at least the image's plan.
    input_bytes, output_bytes (all outputs) and layers size the link's memory. profile: MLPerf Tiny
    profile or "". backend: the name in `axr_backend_NAME`.
    """

    image: bytes
    arena_bytes: int
    input_bytes: int
    output_bytes: int
    layers: int
    profile: str = ""
    vendor: str = "axonrig"
    backend: str = "cpu"
    ram_slot_bytes: int = 0

    @property
    def model_hash(self) -> bytes:
        """First 16 bytes of the Axon binary's SHA-256, as the image's header states them."""
        return self.image[_HASH_AT : _HASH_AT + 16] if self.image else bytes(16)

    @property
    def staging_bytes(self) -> int:
        """Two inputs (one arrives while the other is used), or a raw MLPerf item and its input.

        Small inputs get room for whole frames, so that the line is never the slower for them.
        """
        raw = 4 if self.profile == "ad01" else 1
        inputs = max(2, raw + 1) * self.input_bytes
        return (max(inputs, _MIN_STAGING) + self.output_bytes * 4 + 63) // 64 * 64

    @property
    def results_bytes(self) -> int:
        """Four results at least: those that are under way while further inputs are executed."""
        record = RESULT_HEADER_BYTES + (self.output_bytes + 7) // 8 * 8 + 8 * self.layers
        return max(4 * record, 4096)


def profile_of(name: str) -> str:
    """The MLPerf Tiny profile that a model's file name stands for, or ""."""
    words = re.split(r"[^a-z0-9]+", name.lower())
    known = {"ic": "ic01", "kws": "kws01", "vww": "vww01", "ad": "ad01"}
    for word in words:
        if word in PROFILES and word:
            return word
        if word in known:
            return known[word]
    return "ic01" if "pretrainedresnet" in name.lower() else ""


def render(model: FirmwareModel, build_id: bytes) -> str:
    """Text of the C file. `build_id`: 16 bytes that name this build.

    Raises ConfigError for a profile, vendor or backend that cannot stand in C text.
    """
    _check(model, build_id)
    arena = max(model.arena_bytes, 8)
    digits = ", ".join(f"0x{byte:02X}" for byte in build_id)
    return f"""/* Written by the build; do not edit. */
#include <stddef.h>

#include "axr_build.h"

{_image(model)}
static _Alignas(16) uint8_t arena[{arena}];
static _Alignas(16) uint8_t staging[{model.staging_bytes}];
static _Alignas(16) uint8_t results[{model.results_bytes}];
{_slot(model)}
extern const axr_backend_t axr_backend_{model.backend};

const axr_build_t axr_build = {{
    .build_id = {{{digits}}},
    .vendor = "{model.vendor}",
    .profile = "{model.profile}",
    .backend = &axr_backend_{model.backend},
    .image = {"axr_model_image" if model.image else "NULL"},
    .image_bytes = {len(model.image)},
    .arena = arena,
    .arena_bytes = sizeof arena,
    .staging = staging,
    .staging_bytes = sizeof staging,
    .results = results,
    .results_bytes = sizeof results,
    .ram_slot = {"ram_slot" if model.ram_slot_bytes else "NULL"},
    .ram_slot_bytes = {model.ram_slot_bytes},
}};
"""


def _check(model: FirmwareModel, build_id: bytes) -> None:
    if len(build_id) != 16:
        raise ConfigError(f"the build id has {len(build_id)} bytes; expected 16")
    if model.profile not in PROFILES:
        raise ConfigError(
            f"unknown MLPerf Tiny profile '{model.profile}'; "
            f"expected one of {', '.join(PROFILES[1:])} or none"
        )
    if not _TEXT.fullmatch(model.vendor):
        raise ConfigError(f"the vendor '{model.vendor}' is not 1 to 31 letters, digits or _.+-")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", model.backend):
        raise ConfigError(f"the backend '{model.backend}' is not a C identifier")


def _image(model: FirmwareModel) -> str:
    """The image by its file: a C array of the same bytes would take the compiler seconds."""
    if not model.image:
        return ""
    return f"""__asm__(".section .rodata.axr_model_image,\\"a\\",%progbits\\n"
        ".balign 16\\n"
        ".global axr_model_image\\n"
        ".hidden axr_model_image\\n"
        "axr_model_image:\\n"
        ".incbin \\"{MODEL_FILE}\\"\\n"
        ".previous\\n");
extern const uint8_t axr_model_image[{len(model.image)}] __attribute__((visibility("hidden")));
"""


def _slot(model: FirmwareModel) -> str:
    if not model.ram_slot_bytes:
        return ""
    return f"static _Alignas(16) uint8_t ram_slot[{model.ram_slot_bytes}];\n"
