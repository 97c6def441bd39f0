"""The program of a model file: a `.tflite` is compiled, an Axon binary is decoded and verified."""

from __future__ import annotations

from compiler import (
    AxonProgram,
    CompileOptions,
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
        return compile_model(model.data, options or CompileOptions(name=model.name))
    program = decode(model.data)
    try:
        verify(program)
    except VerifyError as error:
        raise ModelFormatError(
            f"{model.path} is no program that the NPU can run: {error}"
        ) from error
    return program
