"""A model file as it lies on disk: its bytes and what identifies them. Imports nothing heavy."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.errors import ConfigError

EMBEDDED: Final = Path(__file__).parent / "embedded"
DEFAULT_MODEL: Final = EMBEDDED / "digits_resnet8.tflite"
DEFAULT_DATA: Final = EMBEDDED / "digits_test.npz"

MAX_MODEL_BYTES: Final = 256 << 20
"""Far above what the NPU's host can hold; a larger file is a mistake."""

MAX_NAME: Final = 64
"""What the compiler takes as a model name."""


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file's bytes. `is_program`: an Axon binary, not a `.tflite`."""

    path: Path
    data: bytes
    is_program: bool

    @property
    def name(self) -> str:
        """The file's stem as a C identifier in lower case."""
        stem = re.sub(r"[^0-9a-z_]", "_", self.path.stem.lower())
        named = f"m_{stem}" if not stem or stem[0].isdigit() else stem
        return named[:MAX_NAME]

    @property
    def sha256(self) -> str:
        """Hex digest of the file."""
        return hashlib.sha256(self.data).hexdigest()


def read_model(path: Path) -> ModelFile:
    """Read a model file. Raises ConfigError when it is missing, empty or too large."""
    try:
        size = path.stat().st_size
        if size > MAX_MODEL_BYTES:
            raise ConfigError(
                f"the model {path} has {size} bytes; at most {MAX_MODEL_BYTES} are read"
            )
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"the model {path} cannot be read: {error.strerror}") from error
    if not data:
        raise ConfigError(f"the model {path} is empty")
    is_tflite = path.suffix == ".tflite" or data[4:8] == b"TFL3"
    return ModelFile(path, data, is_program=not is_tflite)
