"""The compiler core: an int8 TFLite model becomes an Axon program. Pure functions, no devices.

These names are the whole of what other packages may use.
"""

from compiler.constraints import Violation
from compiler.decode import decode
from compiler.encode import encode
from compiler.errors import (
    CompilerError,
    InputError,
    ModelFormatError,
    UnsupportedError,
    VerifyError,
)
from compiler.image import ModelImage, build_image
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
from compiler.options import CompileOptions
from compiler.pipeline import Translation, check_name, compile_model, translate
from compiler.plain_yaml import load as load_yaml
from compiler.printer import dump
from compiler.reference import (
    Execution,
    dequantize_output,
    execute_layer,
    interpret,
    operand_shapes,
    quantize_input,
    view_operand,
    zero_point_of,
)
from compiler.scan import Placement, ScanReport, scan_model
from compiler.tflite_reader import read_tflite
from compiler.transposition import swapped_layers
from compiler.verify import verify

__all__ = [
    "EXTERNAL_INPUT",
    "LOG_LEVELS",
    "Activation",
    "Axis",
    "AxonProgram",
    "CompileJob",
    "CompileOptions",
    "CompilerError",
    "Dims",
    "Execution",
    "InputError",
    "Layer",
    "LayerInput",
    "ModelFormatError",
    "ModelImage",
    "Op",
    "Options",
    "Pads",
    "Placement",
    "Quantization",
    "ScanReport",
    "Translation",
    "UnsupportedError",
    "Variant",
    "VerifyError",
    "Violation",
    "build_image",
    "check_name",
    "compile_model",
    "decode",
    "dequantize_output",
    "differences",
    "dump",
    "encode",
    "execute_layer",
    "interpret",
    "is_c_identifier",
    "job_variants",
    "load_yaml",
    "operand_shapes",
    "quantize_input",
    "read_jobs",
    "read_tflite",
    "scan_model",
    "select_vectors",
    "swapped_layers",
    "translate",
    "verify",
    "view_operand",
    "zero_point_of",
]
