"""The program of a model file: a `.tflite` is compiled, an Axon binary is decoded and verified."""

from __future__ import annotations

from compiler import AxonProgram, CompileOptions, compile_model, decode, verify
from harness.model_file import ModelFile


def load_program(model: ModelFile, options: CompileOptions | None = None) -> AxonProgram:
    """The verified program of a model file. `options` apply to a `.tflite`.

    Raises CompilerError (ModelFormatError, UnsupportedError, VerifyError) as the compiler does.
    """
    if not model.is_program:
        return compile_model(model.data, options or CompileOptions(name=model.name))
    program = decode(model.data)
    verify(program)
    return program
