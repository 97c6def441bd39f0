"""The first layer that differs on a device that shows outputs only: the program is cut short.

A cut program is built, loaded and run like any other, so each step costs a build; halving finds the
layer in a handful of steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler import AxonProgram, VerifyError, interpret, verify
from harness.compare import LayerPair
from harness.layout import from_program

Array = npt.NDArray[Any]
Run = Callable[[AxonProgram], tuple[Array, ...]]
"""Raw outputs of a program for the sample, in the program's order, [1, C, H, W]."""


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
