"""Limits on the graph of a model: its inputs, outputs and batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from compiler.constraints.case import Violation
from compiler.model import Model

MAX_OUTPUTS: Final = 20


def judge_graph(model: Model) -> Iterator[Violation]:
    """What is wrong with the graph as a whole."""

    def broken(rule: str, found: Any, allowed: str, advice: str) -> Violation:
        return Violation(-1, "", rule, str(found), allowed, advice)

    if len(model.inputs) != 1:
        advice = "join the inputs into one tensor and slice it inside the model"
        yield broken("A model has one input.", f"{len(model.inputs)} inputs", "1", advice)
    if len(model.outputs) > MAX_OUTPUTS:
        found = f"{len(model.outputs)} outputs"
        yield broken("A model has at most 20 outputs.", found, "20", "join outputs")
    if any(model.producer(output) is None for output in model.outputs):
        found = "an output that is an input or a constant"
        yield broken("A model's outputs are computed.", found, "computed outputs", "drop it")
    if any(_batch(model, output) > 1 for output in model.outputs):
        advice = "go back from batches to space inside the model"
        yield broken("An output has batch 1.", "an output of several batches", "batch 1", advice)
    if not model.operators:
        yield broken("A model computes something.", "no operators", "at least 1", "convert again")
    source = model.tensors[model.inputs[0]]
    if source.dtype != "int8":
        found, advice = (
            f"{source.dtype} input",
            "convert with int8 input (full integer quantization)",
        )
        yield broken("The model's input is int8.", found, "int8", advice)
    if len(source.shape) > 1 and source.shape[0] != 1:
        yield broken(
            "The batch is 1.", f"batch {source.shape[0]}", "1", "convert with batch size 1"
        )


def _batch(model: Model, tensor: int) -> int:
    shape = model.tensors[model.root(tensor)].shape
    return shape[0] if len(shape) == 4 else 1
