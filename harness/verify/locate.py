"""The first layer in which two parties differ, for one sample.

Where a device shows outputs only, its program is cut short. A cut program is built, loaded and run
like any other, so each step costs a build; halving finds the layer in a handful.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

import numpy as np

from compiler import AxonProgram, VerifyError, interpret, verify
from harness.compare import LayerDifference, LayerPair, first_difference, layer_difference
from harness.device import Array
from harness.golden import TracedTensor
from harness.layout import from_program
from harness.selection import open_device
from harness.verify.case import Case
from harness.verify.layers import by_number, pair_programs, pair_traces, pair_with_host
from harness.verify.parties import BoardParty, HostParty, Party
from harness.verify.verdict import Role

Run = Callable[[AxonProgram], tuple[Array, ...]]
"""Raw outputs of a program for the sample, in the program's order, [1, C, H, W]."""


def first_layer(case: Case, left: Party, right: Party, sample: int) -> LayerDifference | None:
    """The first layer that differs; None when none does or none can be seen.

    A board's layers cannot be seen, but against the definition its program can be cut short.
    Raises what the parties raise.
    """
    for board, other in ((left, right), (right, left)):
        if isinstance(board, BoardParty):
            wanted = other.role is Role.DEFINITION and not case.keeps_state
            return _by_cutting(case, board, sample) if wanted else None
    return first_difference(layer_difference(pair) for pair in _pairs(case, left, right, sample))


def cut_program(program: AxonProgram, layers: int) -> AxonProgram | None:
    """The first `layers` layers as a program; None where they are not one by themselves."""
    cut = replace(program, layers=program.layers[:layers], labels=())
    try:
        verify(cut)
    except VerifyError:
        return None
    return cut


def first_layer_by_cutting(program: AxonProgram, sample: Array, run: Run) -> LayerPair | None:
    """Halve the program until one layer is left; definition left, device right.

    sample: int8 [1, C, H, W], for which the device's outputs differ. None when no cut shows it.
    Raises what `run` raises.
    """
    equal, found = 0, _differing(program, len(program.layers), sample, run)
    differs = len(program.layers)
    tried = {0, differs}
    while found is not None:
        open_cuts = [k for k in range(equal + 1, differs) if k not in tried]
        if not open_cuts:
            break
        middle = open_cuts[len(open_cuts) // 2]
        tried.add(middle)
        if cut_program(program, middle) is None:
            continue
        pair = _differing(program, middle, sample, run)
        if pair is None:
            equal = middle
        else:
            differs, found = middle, pair
    return found


def _pairs(case: Case, left: Party, right: Party, sample: int) -> tuple[LayerPair, ...]:
    """Layers of both, the left side's first."""
    if isinstance(left, HostParty) and isinstance(right, HostParty):
        return pair_traces(left.layers(case, sample), right.layers(case, sample))
    if isinstance(left, HostParty):
        traced = by_number(left.layers(case, sample))
        return pair_with_host(
            case.program, case.places, _program_layers(right, case, sample), traced
        )
    return pair_programs(
        case.program, _program_layers(left, case, sample), _program_layers(right, case, sample)
    )


def _program_layers(party: Party, case: Case, sample: int) -> tuple[Array, ...]:
    layers = party.layers(case, sample) or ()
    return tuple(layer for layer in layers if not isinstance(layer, TracedTensor))


def _by_cutting(case: Case, board: BoardParty, sample: int) -> LayerDifference | None:
    maps = case.maps[sample : sample + 1]

    def run(program: AxonProgram) -> tuple[Array, ...]:
        with closing(open_device(board.selection, program)) as device:
            return device.infer(maps).outputs

    pair = first_layer_by_cutting(case.program, maps, run)
    return None if pair is None else layer_difference(pair)


def _differing(program: AxonProgram, layers: int, sample: Array, run: Run) -> LayerPair | None:
    """The first output of a cut program that differs."""
    cut = program if layers == len(program.layers) else cut_program(program, layers)
    assert cut is not None  # the caller asked
    wanted, given = interpret(cut, sample, keep_layers=False).outputs, run(cut)
    for index, left, right in zip(cut.output_layers, wanted, given, strict=True):
        if not np.array_equal(left, right):
            op = program.layers[index].op.name.lower()
            return LayerPair(index, op, "", from_program(left), from_program(right))
    return None
