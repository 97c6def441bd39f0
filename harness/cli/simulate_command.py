"""`axonrig simulate`: run a program or model on given inputs, bit-exactly."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from compiler import AxonProgram, Dims, quantize_input
from harness.artefacts import check_writable, npy_bytes, npz_bytes, write_bytes
from harness.data.dataset import load_array
from harness.device import SimDevice
from harness.engine import choose_engine
from harness.errors import ConfigError, ExitCode
from harness.model_file import read_model
from harness.pairing import real_output
from harness.program import load_program
from harness.report.progress import progress_bar

Array = npt.NDArray[Any]

_SHOWN: Final = 10
"""Samples in the summary."""


@dataclass(frozen=True, slots=True)
class _Results:
    """Raw arrays of the program, [N, C, H, W]; layers is empty unless they were asked for."""

    outputs: tuple[Array, ...]
    layers: tuple[Array, ...]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("model", type=Path, help="Axon binary (.bin) or int8 TFLite model")
    parser.add_argument(
        "--input",
        type=Path,
        required=True,
        metavar="X.npy",
        help="inputs [N, H, W, C] in the model's real units; one sample may leave out N, and "
        "axes of extent 1 may be left out",
    )
    parser.add_argument(
        "--raw", action="store_true", help="integers instead of real units, on both sides"
    )
    parser.add_argument(
        "--chw", action="store_true", help="arrays are [N, C, H, W], as the device has them"
    )
    parser.add_argument(
        "--layers",
        type=Path,
        metavar="OUT.npz",
        help="store the integers of every layer as layer_<index>",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="OUT.npy",
        help="store the outputs; a name that ends in .npz stores output_0, output_1, ...",
    )


def execute(arguments: argparse.Namespace) -> int:
    """Run the command."""
    for path in (arguments.layers, arguments.output):
        if path is not None:
            check_writable(path)
    program = load_program(read_model(arguments.model))
    _check_output_name(arguments.output, program)
    raw = load_array(arguments.input, "inputs")
    maps = arrange_inputs(raw, program.input_dims, chw=arguments.chw, where=str(arguments.input))
    codes = as_codes(program, maps, raw=arguments.raw, where=str(arguments.input))
    results = _simulate(program, codes, keep_layers=arguments.layers is not None)
    shown = results.outputs if arguments.raw else _real(program, results.outputs)
    outputs = [_arrange(output, chw=arguments.chw) for output in shown]
    if arguments.layers is not None:
        layers = {f"layer_{i}": _arrange(a, arguments.chw) for i, a in enumerate(results.layers)}
        write_bytes(arguments.layers, npz_bytes(layers))
    if arguments.output is not None:
        write_bytes(arguments.output, _encode_outputs(arguments.output, outputs))
    _summarise(program, results.outputs, (arguments.output, arguments.layers))
    return int(ExitCode.OK)


def arrange_inputs(array: Array, dims: Dims, *, chw: bool, where: str) -> Array:
    """[N, C, H, W] of the program from what the user's file holds.

    Accepted: [N, H, W, C] (or [N, C, H, W] with `chw`), one sample without N, and either with axes
    of extent 1 left out, e.g. [N, F] for a fully connected model. Raises ConfigError otherwise.
    """
    wanted = dims.shape if chw else (dims.height, dims.width, dims.channels)
    if array.shape[1:] == wanted:
        batch = array
    elif array.shape == wanted or _extents(array.shape) == _extents(wanted):
        batch = array.reshape(1, *wanted)
    elif _extents(array.shape[1:]) == _extents(wanted):
        batch = array.reshape(len(array), *wanted)
    else:
        names = "N, C, H, W" if chw else "N, H, W, C"
        raise ConfigError(
            f"{where} has the shape {list(array.shape)}; the program takes [{names}] = "
            f"[N, {', '.join(str(extent) for extent in wanted)}]"
        )
    return batch if chw else batch.transpose(0, 3, 1, 2)


def as_codes(program: AxonProgram, maps: Array, *, raw: bool, where: str) -> Array:
    """The program's int8 input from real values, or from integers when `raw`.

    Raises ConfigError for NaN and infinity, for raw values that are no int8, and for int8 values
    that are not said to be raw: they are the model's own integers far more often than real units.
    """
    if not raw:
        if maps.dtype == np.int8:
            raise ConfigError(
                f"{where} holds int8 values: add --raw if they are the model's integers, or store "
                "real units as float"
            )
        if not np.isfinite(maps).all():
            raise ConfigError(f"{where} holds NaN or infinity; expected finite real values")
        return quantize_input(program, np.asarray(maps, dtype=np.float64))
    if maps.dtype.kind not in "iu":
        raise ConfigError(f"{where} holds {maps.dtype} values; --raw takes the int8 integers")
    if maps.min() < -128 or maps.max() > 127:
        raise ConfigError(
            f"{where} holds values from {maps.min()} to {maps.max()}; --raw takes -128..127"
        )
    return np.ascontiguousarray(maps, dtype=np.int8)


def _extents(shape: Sequence[int]) -> list[int]:
    return [extent for extent in shape if extent != 1]


def _simulate(program: AxonProgram, codes: Array, *, keep_layers: bool) -> _Results:
    if keep_layers:
        execution = choose_engine(program).run(program, codes, keep_layers=True)
        return _Results(execution.outputs, execution.layers)
    with progress_bar() as observe:
        done = SimDevice(program).infer(codes, lambda n, total: observe("simulate", n, total))
    return _Results(done.outputs, ())


def _real(program: AxonProgram, outputs: Sequence[Array]) -> tuple[Array, ...]:
    return tuple(
        real_output(program, layer, output)
        for layer, output in zip(program.output_layers, outputs, strict=True)
    )


def _arrange(array: Array, chw: bool) -> Array:
    return np.ascontiguousarray(array if chw else array.transpose(0, 2, 3, 1))


def _check_output_name(path: Path | None, program: AxonProgram) -> None:
    count = len(program.output_layers)
    if path is not None and path.suffix != ".npz" and count > 1:
        raise ConfigError(
            f"the program has {count} outputs and {path} holds one array: give --output a name "
            "that ends in .npz"
        )


def _encode_outputs(path: Path, outputs: Sequence[Array]) -> bytes:
    if path.suffix == ".npz":
        return npz_bytes({f"output_{k}": output for k, output in enumerate(outputs)})
    return npy_bytes(outputs[0])


def _summarise(program: AxonProgram, raw: Sequence[Array], written: Sequence[Path | None]) -> None:
    """Say what was computed: class and real value of the first samples, and the files."""
    layer = program.output_layers[-1]
    real = real_output(program, layer, raw[-1]).reshape(len(raw[-1]), -1)
    counts = f"{_count(len(real), 'sample')}, {_count(len(raw), 'output')}"
    lines = [f"{program.name}: {counts}, source sim"]
    if not any(written):
        for index, values in enumerate(real[:_SHOWN]):
            best = int(values.argmax())
            label = f" {program.labels[best]}" if best < len(program.labels) else ""
            lines.append(f"sample {index}: largest output {best}{label} ({values[best]:.6g})")
        if len(real) > _SHOWN:
            lines.append(f"... and {len(real) - _SHOWN} more; --output stores them all")
    lines += [f"wrote {path}" for path in written if path]
    print("\n".join(lines))  # noqa: T201  # the command's result


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
