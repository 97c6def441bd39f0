"""The program of a model file: a `.tflite` is compiled, an Axon binary is decoded and verified."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from compiler import (
    AxonProgram,
    CompileOptions,
    CompilerError,
    ModelFormatError,
    VerifyError,
    compile_model,
    decode,
    verify,
)
from harness.model_file import ModelFile


def load_program(model: ModelFile, options: CompileOptions | None = None) -> AxonProgram:
    """The verified program of a model file. `options` apply to a `.tflite`.

    Raises CompilerError as the compiler does; ModelFormatError also for a binary that does not
    fit together.
    """
    if not model.is_program:
        with named(model.path):
            return compile_model(model.data, options or CompileOptions(name=model.name))
    try:
        program = decode(model.data)
        verify(program)
    except (ModelFormatError, VerifyError) as error:
        raise ModelFormatError(
            f"{model.path} is no program that the NPU can run: {error}; write it again with "
            "'axonrig compile'"
        ) from error
    return program


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Let the compiler's errors about a file say which: it sees bytes, the user gave a path."""
    try:
        yield
    except CompilerError as error:
        raise type(error)(f"{path}: {error}") from error
