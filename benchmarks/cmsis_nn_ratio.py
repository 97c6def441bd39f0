"""Executed instructions per multiply-accumulate of the convolution kernels, on a Cortex-M33.

    python benchmarks/cmsis_nn_ratio.py --model FILE [--toolchain zig|gcc] [--peer ELF]

Builds the firmware's core for a bare Cortex-M33, runs one inference of a model (an Axon binary or a
.tflite file; MLPerf Tiny's ResNet8 is the one that docs/firmware-core.md reports) in the emulator,
and counts the instructions of each layer. The output is compared with the reference, so a count
never comes from wrong results.

A peer is any Cortex-M33 ELF that computes the same convolutions with another kernel library: entry
point without arguments, code below 0x00800000, memory in the 16 MB from 0x20000000, a 32-bit store
to 0x50000000 before the first convolution and after each. CMSIS_NN_ELF in the environment names one
as well.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

# Run as a script, this folder is on the path; the packages are beside it.
sys.path.insert(0, str(Path(__file__).parents[1]))

from compiler import AxonProgram, CompilerError, Op, decode
from compiler.abi import TITLE
from compiler.image import build_image
from compiler.reference import interpret
from tests.support.m33 import Core, build_core

PUBLISHED_PEER: Final = 2.19
"""CMSIS-NN on ResNet8's nine convolutions, GCC 12 -O2; see docs/firmware-core.md."""
_CONVOLUTIONS: Final = frozenset({Op.CONV2D, Op.POINTWISE_CONV2D})


@dataclass(frozen=True, slots=True)
class LayerCount:
    """Multiply-accumulates and executed instructions of one convolution."""

    layer: int
    macs: int
    instructions: int


def convolution_macs(program: AxonProgram) -> dict[int, int]:
    """Multiply-accumulates by layer index, of full and pointwise convolutions."""
    macs = {}
    for index, layer in enumerate(program.layers):
        if layer.op in _CONVOLUTIONS:
            window = layer.filter_dims
            per_output = window.height * window.width * window.channels
            macs[index] = layer.output_dims.elements * per_output
    return macs


def count_ours(program: AxonProgram, elf: bytes) -> list[LayerCount]:
    """Instructions of each convolution of a program; prints those of all layers.

    Raises SystemExit when the firmware computes anything but what the reference does.
    """
    rng = np.random.default_rng(0)
    inputs = rng.integers(-128, 128, (1, *program.input_dims.shape)).astype(np.int8)
    trace, counts = Core(elf).run(build_image(program), inputs[0])
    expected = interpret(program, inputs).layers
    macs = convolution_macs(program)
    for index, layer in enumerate(program.layers):
        if not np.array_equal(trace.layers[index], expected[index]):
            raise SystemExit(f"layer {index} differs from the reference")
        print(f"  layer {index:2} {layer.op.name.lower():18} {counts[index]:>11,} instructions")
    print(f"  all {sum(counts):,}")
    return [LayerCount(index, work, counts[index]) for index, work in macs.items()]


def count_peer(program: AxonProgram, elf: bytes) -> list[LayerCount]:
    """The same of a peer's ELF, whose convolutions are in the order of the program's."""
    counts = Core(elf).execute()
    macs = convolution_macs(program)
    if len(counts) != len(macs):
        raise SystemExit(f"the peer ran {len(counts)} convolutions, expected {len(macs)}")
    return [LayerCount(i, macs[i], count) for i, count in zip(macs, counts, strict=True)]


def per_mac(layers: list[LayerCount]) -> float:
    """Executed instructions per multiply-accumulate over all layers."""
    return sum(layer.instructions for layer in layers) / sum(layer.macs for layer in layers)


def _show(title: str, layers: list[LayerCount]) -> None:
    print(title)
    for each in layers:
        ratio = each.instructions / each.macs
        print(f"  layer {each.layer:2} {each.macs:>10,} MAC {each.instructions:>11,} {ratio:6.3f}")
    total = sum(layer.instructions for layer in layers)
    print(f"  {total:,} instructions, {per_mac(layers):.3f} per MAC")


def _read(path: Path) -> AxonProgram:
    data = path.read_bytes()
    if TITLE in data:
        return decode(data)
    from compiler import CompileOptions, compile_model

    return compile_model(data, CompileOptions(name=path.stem, output="int8"))


def main() -> None:
    """Parse arguments, count, print."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--toolchain", choices=("gcc", "zig"), default="zig")
    named = os.environ.get("CMSIS_NN_ELF")
    parser.add_argument("--peer", type=Path, default=Path(named) if named else None)
    arguments = parser.parse_args()
    try:
        program = _read(arguments.model)
    except (CompilerError, OSError) as error:
        raise SystemExit(f"{arguments.model}: {error}") from error
    with tempfile.TemporaryDirectory() as folder:
        elf = build_core(Path(folder), arguments.toolchain)
    ours = count_ours(program, elf)
    _show(f"axonrig ({arguments.toolchain})", ours)
    peer = PUBLISHED_PEER
    if arguments.peer is not None:
        theirs = count_peer(program, arguments.peer.read_bytes())
        _show(f"peer ({arguments.peer.name})", theirs)
        peer = per_mac(theirs)
    print(f"ratio to the peer's {peer:.3f}: {per_mac(ours) / peer:.3f}")


if __name__ == "__main__":
    main()
