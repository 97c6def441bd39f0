"""From the bytes of a model to a verified program."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from compiler.constraints import Violation, check
from compiler.errors import ModelFormatError, UnsupportedError
from compiler.fixedpoint import scales_in_range
from compiler.ir import AxonProgram
from compiler.lowering import lower
from compiler.model import Model
from compiler.options import PROGRAM_NAME_PATTERN, CompileOptions
from compiler.passes import legalise
from compiler.substitution import substitute
from compiler.tflite_reader import read_tflite
from compiler.transposition import transpose


@dataclass(frozen=True, slots=True, eq=False)
class Translation:
    """A program beside what it was made from.

    source: the model as read. legal: the model after the rewrites, one operator per layer.
    output_layers: for each output of the graph, in its order, the layer that holds it.
    """

    program: AxonProgram
    source: Model
    legal: Model
    output_layers: tuple[int, ...]


def compile_model(data: bytes, options: CompileOptions) -> AxonProgram:
    """The Axon program of a TFLite model.

    Raises ModelFormatError for bytes that are no model or a name that is no C identifier,
    UnsupportedError for a model that the NPU cannot run; the message names the first operator and
    how many more there are (`scan_model` lists all).
    """
    return translate(data, options).program


def translate(data: bytes, options: CompileOptions) -> Translation:
    """`compile_model`, keeping the models on the way."""
    check_name(options.name)
    source = read_tflite(data)
    with scales_in_range():
        legal = prepare(source, options)
        violations = check(legal, options)
        if violations:
            raise UnsupportedError(_refusal(violations))
        lowered = lower(legal, options)
    program = transpose(lowered.program) if options.transpose else lowered.program
    program = substitute(program) if options.cheaper_layers else program
    return Translation(program, source, legal, lowered.output_layers)


def check_name(name: str) -> None:
    """A model name becomes file names and C symbols. Raises ModelFormatError."""
    if not re.fullmatch(PROGRAM_NAME_PATTERN, name):
        raise ModelFormatError(
            f"the model name {name!r} is no C identifier; use letters, digits and underscores, "
            "not starting with a digit, at most 200"
        )


def prepare(source: Model, options: CompileOptions) -> Model:
    """The model in the form that the constraints judge and the lowering takes."""
    return legalise(_without_softmax(source) if options.skip_softmax else source, options)


def _without_softmax(model: Model) -> Model:
    """End before a final softmax (and a cast behind it)."""
    for number, output in enumerate(model.outputs):
        op = model.producer(output)
        if op is not None and op.code in ("DEQUANTIZE", "QUANTIZE"):
            op = model.producer(op.inputs[0])
        if op is None or op.code != "SOFTMAX" or len(model.consumers(op.outputs[0])) > 1:
            continue
        outputs = list(model.outputs)
        outputs[number] = op.inputs[0]
        behind = model.consumers(op.outputs[0])
        for other in (op, *behind):
            model = model.without(other)
        model = replace(model, outputs=tuple(outputs))
    return model


def _refusal(violations: tuple[Violation, ...]) -> str:
    rest = len(violations) - 1
    more = f" (and {rest} more; `axonrig scan` lists them)" if rest else ""
    return f"{violations[0]}{more}"
