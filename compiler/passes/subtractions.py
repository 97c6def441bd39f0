"""SUB becomes ADD: the NPU's addition takes a negative multiplier for either operand."""

from __future__ import annotations

from dataclasses import replace

from compiler.model import Model


def add_negated(model: Model) -> Model:
    """a - b as a + (-b); `negated` is the position of the operand that is taken off."""
    for op in model.operators:
        if op.code == "SUB" and len(op.inputs) == 2:
            model = model.replaced(op, replace(op.with_attributes(negated=1), code="ADD"))
    return model
