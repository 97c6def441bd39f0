"""The compiler core: an int8 TFLite model becomes an Axon program. Pure functions, no devices.

These names are the whole of what other packages may use.
"""

from compiler.decode import decode
from compiler.encode import encode
from compiler.errors import (
    CompilerError,
    InputError,
    ModelFormatError,
    UnsupportedError,
    VerifyError,
)
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
from compiler.job import (
    LOG_LEVELS,
    CompileJob,
    Variant,
    is_c_identifier,
    job_variants,
    read_jobs,
    select_vectors,
)
from compiler.plain_yaml import load as load_yaml
from compiler.reference import Execution, dequantize_output, interpret, quantize_input
from compiler.verify import verify

__all__ = [
    "EXTERNAL_INPUT",
    "LOG_LEVELS",
    "Activation",
    "Axis",
    "AxonProgram",
    "CompileJob",
    "CompilerError",
    "Dims",
    "Execution",
    "InputError",
    "Layer",
    "LayerInput",
    "ModelFormatError",
    "Op",
    "Options",
    "Pads",
    "Quantization",
    "UnsupportedError",
    "Variant",
    "VerifyError",
    "decode",
    "dequantize_output",
    "differences",
    "encode",
    "interpret",
    "is_c_identifier",
    "job_variants",
    "load_yaml",
    "quantize_input",
    "verify",
    "read_jobs",
    "select_vectors",
]
