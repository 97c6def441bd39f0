"""The compiler core: an int8 TFLite model becomes an Axon program. Pure functions, no devices.

These names are the whole of what other packages may use.
"""

from compiler.advice import Advice, advise
from compiler.arch import Arch, load_arch
from compiler.constraints import Violation
from compiler.cost import FLAGS as COST_FLAGS
from compiler.cost import LayerCost, ProgramCost, estimate
from compiler.decode import decode
from compiler.encode import encode
from compiler.errors import (
    CompilerError,
    InputError,
    ModelFormatError,
    UnsupportedError,
    VerifyError,
)
from compiler.image import ModelImage, build_description, build_image
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
from compiler.memory import Footprint as MemoryFootprint
from compiler.memory import MemoryPlan, Slot
from compiler.memory import check_limits as check_memory_limits
from compiler.memory import footprint as memory_footprint
from compiler.memory import plan as plan_memory
from compiler.options import CompileOptions
from compiler.pipeline import Translation, check_name, compile_model, translate
from compiler.plain_yaml import load as load_yaml
from compiler.printer import dump
from compiler.reference import (
    MOVES_DATA,
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
    "COST_FLAGS",
    "EXTERNAL_INPUT",
    "LOG_LEVELS",
    "MOVES_DATA",
    "Activation",
    "Advice",
    "Arch",
    "Axis",
    "AxonProgram",
    "CompileJob",
    "CompileOptions",
    "CompilerError",
    "Dims",
    "Execution",
    "InputError",
    "Layer",
    "LayerCost",
    "LayerInput",
    "MemoryFootprint",
    "MemoryPlan",
    "ModelFormatError",
    "ModelImage",
    "Op",
    "Options",
    "Pads",
    "Placement",
    "ProgramCost",
    "Quantization",
    "ScanReport",
    "Slot",
    "Translation",
    "UnsupportedError",
    "Variant",
    "VerifyError",
    "Violation",
    "advise",
    "build_description",
    "build_image",
    "check_memory_limits",
    "check_name",
    "compile_model",
    "decode",
    "dequantize_output",
    "differences",
    "dump",
    "encode",
    "estimate",
    "execute_layer",
    "interpret",
    "is_c_identifier",
    "job_variants",
    "load_arch",
    "load_yaml",
    "memory_footprint",
    "operand_shapes",
    "plan_memory",
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
