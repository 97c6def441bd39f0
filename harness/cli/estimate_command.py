"""`axonrig estimate`: cycles, time, memory and energy of models, without a device."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from harness.errors import ConfigError, ExitCode

if TYPE_CHECKING:  # Start-up time is import time.
    from compiler import AxonProgram

_JOB_SUFFIXES: Final = (".yaml", ".yml")
_PLAIN_WIDTH: Final = 140


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "models",
        type=Path,
        nargs="+",
        metavar="MODEL",
        help="Axon binary (.bin), int8 TFLite model, or job file (.yaml)",
    )
    parser.add_argument("--json", action="store_true", help="print a JSON list, one object each")
    parser.add_argument(
        "--buffer", action="store_true", help="also show the interlayer buffer over time"
    )
    parser.add_argument(
        "--supply", type=float, metavar="V", help="supply voltage for the energy, in volts"
    )
    parser.add_argument(
        "--board", metavar="B", help="use what 'axonrig calibrate' found for this board"
    )
    model = parser.add_argument_group("for a .tflite")
    model.add_argument(
        "--output", choices=("int8", "int32"), help="output of the program (default: int8)"
    )
    model.add_argument("--transpose", action="store_true", help="swap height and width")
    model.add_argument("--skip-softmax", action="store_true", help="end before a final softmax")
    model.add_argument(
        "--cheaper-layers",
        action="store_true",
        help="replace layers by cheaper ones with the same outputs",
    )


def execute(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from harness.estimate import estimate_program

    if arguments.supply is not None and not 1.0 <= arguments.supply <= 6.0:
        raise ConfigError(f"--supply is {arguments.supply:g}; expected 1 to 6 volts")
    if arguments.board is not None:
        _check_calibrated(arguments.board)
    found = [
        {
            "file": str(path),
            "variant": variant,
            **estimate_program(program, supply_v=arguments.supply, board=arguments.board),
        }
        for path in arguments.models
        for variant, program in _programs(path, arguments)
    ]
    if arguments.json:
        print(json.dumps(found, indent=1, allow_nan=False))  # noqa: T201  # the command's result
    else:
        _show(found, buffer=arguments.buffer)
    return int(ExitCode.OK)


def _check_calibrated(board: str) -> None:
    from harness.calibration import load

    if load(board) is None:
        raise ConfigError(
            f"there is no calibration of '{board}': 'axonrig calibrate DIR' makes one from results "
            "of that board"
        )


def _programs(path: Path, arguments: argparse.Namespace) -> Iterator[tuple[str, AxonProgram]]:
    """(variant, program) of a file: one, or for a job file one for each variant."""
    from harness.model_file import read_model

    if path.suffix.lower() in _JOB_SUFFIXES:
        yield from _job_programs(path)
        return
    from compiler import CompileOptions
    from harness.program import load_program

    model = read_model(path)
    if model.is_program:
        yield "as in the binary", load_program(model)
        return
    options = CompileOptions(
        name=model.name,
        output=arguments.output or "int8",
        transpose=arguments.transpose,
        skip_softmax=arguments.skip_softmax,
        cheaper_layers=arguments.cheaper_layers,
    )
    words: list[str] = [options.output]
    words += ["transposed"] if options.transpose else []
    words += ["no softmax"] if options.skip_softmax else []
    words += ["cheaper layers"] if options.cheaper_layers else []
    yield ", ".join(words), load_program(model, options)


def _job_programs(path: Path) -> Iterator[tuple[str, AxonProgram]]:
    from compiler import job_variants, read_jobs
    from harness.compiled import Source
    from harness.jobs import compile_variant
    from harness.model_file import read_model

    try:
        jobs = read_jobs(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    for job in jobs:
        if job.tflite_model is None:
            raise ConfigError(
                f"{path} names no tflite_model: an estimate needs the int8 model; "
                "'axonrig compile' quantizes it"
            )
        source = Source(job.tflite_model.name, read_model(job.tflite_model).data)
        for variant in job_variants(job):
            yield variant.name, compile_variant(job, variant, source).program


def _show(found: list[dict[str, Any]], *, buffer: bool) -> None:
    from rich.console import Console

    from harness.report.estimate_table import print_estimate

    console = Console()
    if not console.is_terminal:
        console = Console(width=_PLAIN_WIDTH)
    for number, estimate in enumerate(found):
        if number:
            console.print()
        print_estimate(estimate, console, buffer=buffer)
