"""Everything that keeps a model off the NPU, at once, and where each operator would run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

from compiler.constraints import Violation, check, notes
from compiler.cost import estimate
from compiler.errors import CompilerError
from compiler.fixedpoint import scales_in_range
from compiler.ir import AxonProgram
from compiler.lowering import lower
from compiler.model import Model
from compiler.options import CompileOptions
from compiler.pipeline import prepare
from compiler.tflite_reader import read_tflite
from compiler.transposition import transpose

Target = Literal["npu", "cpu", "npu+cpu", "folded", "none"]

WORTH_TURNING: Final = 0.02
"""Share of the cycles that the other orientation must save to be advised."""
_ON_CPU: Final = (
    "LOGISTIC",
    "TANH",
    "RESHAPE",
    "SPACE_TO_BATCH_ND",
    "BATCH_TO_SPACE_ND",
    "RESIZE_NEAREST_NEIGHBOR",
)


@dataclass(frozen=True, slots=True)
class Placement:
    """Where an operator of the file ends up; `layer_index` is its last layer's, or None."""

    operator_index: int
    operator: str
    target: Target
    layer_index: int | None


@dataclass(frozen=True, slots=True)
class ScanReport:
    """supported: the model compiles as it is. transposable: its transposed variant compiles too."""

    supported: bool
    violations: tuple[Violation, ...]
    placements: tuple[Placement, ...]
    transposable: bool
    transpose_advice: str | None
    notes: tuple[str, ...]


def scan_model(data: bytes, options: CompileOptions | None = None) -> ScanReport:
    """Judge a model without stopping at the first flaw.

    Raises ModelFormatError for bytes that are no TFLite model.
    """
    chosen = CompileOptions("model") if options is None else options
    source = read_tflite(data)
    legal = prepare(source, chosen)
    violations = check(legal, chosen)
    violations += () if violations else _lowering_violation(legal, chosen)
    turned = replace(chosen, transpose=not chosen.transpose)
    lying = prepare(source, turned)
    transposable = not check(lying, turned) and not _lowering_violation(lying, turned)
    if transposable and not violations:
        advice = _saving(_program(legal, chosen), _program(lying, turned), turned)
    else:
        advice = _only_turned(turned) if transposable else None
    return ScanReport(
        supported=not violations,
        violations=violations,
        placements=_placements(source, legal, violations),
        transposable=transposable,
        transpose_advice=advice,
        notes=tuple(notes(legal, chosen)),
    )


def _lowering_violation(legal: Model, options: CompileOptions) -> tuple[Violation, ...]:
    """What only the arithmetic shows; its message names the operator."""
    try:
        _program(legal, options)
    except CompilerError as error:
        return (
            Violation(-1, "", "The arithmetic can be expressed.", str(error), "-", "see above"),
        )
    return ()


def _program(legal: Model, options: CompileOptions) -> AxonProgram:
    with scales_in_range():
        program = lower(legal, options).program
    return transpose(program) if options.transpose else program


def _placements(
    source: Model, legal: Model, violations: tuple[Violation, ...]
) -> tuple[Placement, ...]:
    layers = {op.index: number for number, op in enumerate(legal.operators)}
    codes = {op.index: op.code for op in legal.operators}
    refused = {violation.operator_index for violation in violations}
    placements = []
    for op in source.operators:
        target: Target = "folded"
        if op.index in refused:
            target = "none"
        elif op.index in codes:
            target = "cpu" if codes[op.index] in _ON_CPU else "npu"
            target = "npu+cpu" if codes[op.index] == "SOFTMAX" else target
        layer = layers.get(op.index) if target not in ("none", "folded") else None
        placements.append(Placement(op.index, op.code, target, layer))
    return tuple(placements)


def _only_turned(turned: CompileOptions) -> str:
    other, this = ("transposed", "this") if turned.transpose else ("plain", "the transposed")
    return f"the {other} variant compiles, {this} one does not"


def _saving(program: AxonProgram, other: AxonProgram, turned: CompileOptions) -> str | None:
    """What the other orientation would save, by the estimate of `compiler.cost`."""
    saved = 1 - estimate(other).cycles / max(estimate(program).cycles, 1)
    if saved <= WORTH_TURNING:
        return None
    name = "transposed" if turned.transpose else "plain"
    return f"the {name} variant takes {saved:.0%} fewer NPU cycles, by estimate"
