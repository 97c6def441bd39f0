"""`axonrig compile`: a model or a job file becomes Axon binaries."""

from __future__ import annotations

import argparse
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from compiler import CompileOptions, compile_model, is_c_identifier, read_jobs
from harness.compiled import Compiled, Source, gather, open_output, write_compiled
from harness.errors import ConfigError, ExitCode
from harness.model_file import read_model
from harness.program import named

if TYPE_CHECKING:
    from harness.jobs import Generator
    from harness.vendor.codegen import Generated

JOB_SUFFIXES: Final = (".yaml", ".yml")
OUTPUT_FOLDER: Final = "output"
"""Beside the job file or model, when -o does not say otherwise."""

_MODEL_OPTIONS: Final = (
    "name",
    "output",
    "transpose",
    "skip_softmax",
    "cheaper_layers",
    "op_radix",
)
_PLAIN_WIDTH: Final = 160


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("input", type=Path, metavar="JOB.yaml|MODEL.tflite")
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        metavar="DIR",
        help=f"output folder (default: '{OUTPUT_FOLDER}' beside the input)",
    )
    parser.add_argument(
        "--lenient", action="store_true", help="job file: unknown keys are notes, not errors"
    )
    parser.add_argument(
        "--target",
        choices=("program", "npu"),
        default="program",
        help="what to write: the Axon binary (default), or also code for the NPU, with the "
        "sdk-edge-ai that SDK_EDGE_AI_PATH names",
    )
    model = parser.add_argument_group("for a bare model")
    model.add_argument("--name", help="C identifier (default: from the file's name)")
    model.add_argument(
        "--output", choices=("int8", "int32"), help="output of the program (default: int8)"
    )
    model.add_argument(
        "--transpose", action="store_true", default=None, help="swap height and width"
    )
    model.add_argument(
        "--skip-softmax", action="store_true", default=None, help="end before a final softmax"
    )
    model.add_argument(
        "--cheaper-layers",
        action="store_true",
        default=None,
        help="replace layers by cheaper ones with the same outputs",
    )
    model.add_argument(
        "--op-radix", type=int, metavar="N", help="fraction bits of int32 outputs, 0 to choose"
    )


def execute(arguments: argparse.Namespace) -> int:
    """Run the command. Raises HarnessError and CompilerError."""
    generate = _generator() if arguments.target == "npu" else None
    folder = arguments.out or arguments.input.parent / OUTPUT_FOLDER
    if arguments.input.suffix.lower() in JOB_SUFFIXES:
        return _compile_jobs(arguments, folder, generate)
    if arguments.lenient:
        raise ConfigError("--lenient is for job files: a bare model has no keys")
    return _compile_bare(arguments, folder, generate)


def _generator() -> Generator:
    """Nordic's code generator. Raises ToolchainError when it cannot be used."""
    # Late: the Axon binary needs neither.
    from harness.vendor.codegen import generate
    from harness.vendor.sdk import find_sdk

    sdk = find_sdk()
    return lambda compiled, vectors: generate(compiled, sdk, vectors)


def _compile_bare(arguments: argparse.Namespace, folder: Path, generate: Generator | None) -> int:
    compiled = compile_bare(
        arguments.input,
        name=arguments.name,
        output=arguments.output or "int8",
        transpose=bool(arguments.transpose),
        skip_softmax=bool(arguments.skip_softmax),
        cheaper_layers=bool(arguments.cheaper_layers),
        op_radix=arguments.op_radix or 0,
    )
    npu = None if generate is None else generate(compiled, None)
    if npu is None:
        paths = write_compiled(open_output(folder), compiled)
    else:
        compiled = replace(compiled, footprint=npu.footprint)
        facts = {"npu": npu.facts()}
        paths = write_compiled(open_output(folder), compiled, npu.headers, facts)
    if arguments.name is None and compiled.name != arguments.input.stem:
        _say(f"named {compiled.name}: '{arguments.input.stem}' is no C identifier")
    layers = compiled.program.layers
    on_cpu = sum(layer.op.on_cpu for layer in layers)
    _say(
        f"{compiled.name}: {len(layers)} layers, {on_cpu} of them on the CPU; "
        f"{len(compiled.binary)} bytes"
    )
    if npu is not None:
        _say_npu(compiled.name, npu)
    _say("\n".join(f"wrote {path}" for path in paths))
    return int(ExitCode.OK)


def _say_npu(name: str, npu: Generated) -> None:
    """Sizes and cycles, and where Nordic's simulator computes something else than we do."""
    _say(
        f"{name}: code for the NPU by Axon {npu.sdk.compiler_version}: constants "
        f"{npu.constant_bytes}, command buffer {npu.command_buffer_bytes}, interlayer buffer "
        f"{npu.interlayer_bytes}, psum buffer {npu.psum_bytes} bytes; {npu.ticks} cycles "
        "(source vendor-sim)"
    )
    for item in npu.disagreements:
        remark = "an approximation on both sides" if item.approximation else "please report it"
        _say(
            f"{name}: layer {item.layer} ({item.op}) differs by up to {item.max_lsb} LSB between "
            f"Nordic's simulator and axonrig's: {remark}"
        )


def compile_bare(path: Path, *, name: str | None, op_radix: int = 0, **choices: Any) -> Compiled:
    """Compile a bare model. `choices` are fields of CompileOptions.

    Raises ConfigError for a name or file that cannot be used, CompilerError as the compiler does.
    """
    if not 0 <= op_radix <= 31:
        raise ConfigError(f"--op-radix is {op_radix}; expected 0 to 31")
    chosen = name if name is not None else name_of(path)
    if not is_c_identifier(chosen):
        raise ConfigError(
            f"--name '{chosen[:80]}' is no C identifier; use letters, digits and underscores, not "
            "starting with a digit, at most 64 characters, and no path"
        )
    model = read_model(path)
    options = CompileOptions(name=chosen, op_radix=op_radix, **choices)
    with named(path):
        program = compile_model(model.data, options)
    return gather(chosen, program, options, Source(path.name, model.data))


def name_of(path: Path) -> str:
    """The file's stem, with `_` for every character that no C identifier has."""
    stem = re.sub(r"[^A-Za-z0-9_]", "_", path.stem)[:64]
    return stem if is_c_identifier(stem) else f"m_{stem}"[:64]


def _compile_jobs(arguments: argparse.Namespace, folder: Path, generate: Generator | None) -> int:
    given = [name for name in _MODEL_OPTIONS if getattr(arguments, name) is not None]
    if given:
        raise ConfigError(
            f"--{given[0].replace('_', '-')} is for a bare model: a job file has its own keys"
        )
    try:
        jobs = read_jobs(arguments.input, lenient=arguments.lenient)
    except OSError as error:
        raise ConfigError(f"{arguments.input} cannot be read: {error.strerror}") from error
    # Late: a bare model needs none of these.
    from rich.console import Console

    from harness.jobs import run_job
    from harness.report.job_table import print_job
    from harness.report.progress import progress_bar

    console = Console()
    if not console.is_terminal:
        console = Console(width=_PLAIN_WIDTH)
    for job in jobs:
        with progress_bar() as observe:
            result = run_job(job, folder, observe, generate)
        print_job(result, console)
        for item in result.results:
            if item.npu is not None:
                _say_npu(item.variant.name, item.npu)
    return int(ExitCode.OK)


def _say(text: str) -> None:
    print(text)  # noqa: T201  # the command's result
