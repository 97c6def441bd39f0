"""The compiler core: an int8 TFLite model becomes an Axon program. Pure functions, no devices.

These names are the whole of what other packages may use.
"""

from compiler.decode import decode
from compiler.encode import encode
from compiler.errors import CompilerError, ModelFormatError, UnsupportedError, VerifyError
from compiler.ir import (
    EXTERNAL_INPUT,
    Activation,
    Axis,
    AxonProgram,
    Dims,
    Layer,
    LayerInput,
    Op,
    Options,
    Pads,
    Quantization,
    differences,
)

__all__ = [
    "EXTERNAL_INPUT",
    "Activation",
    "Axis",
    "AxonProgram",
    "CompilerError",
    "Dims",
    "Layer",
    "LayerInput",
    "ModelFormatError",
    "Op",
    "Options",
    "Pads",
    "Quantization",
    "UnsupportedError",
    "VerifyError",
    "decode",
    "differences",
    "encode",
]
