"""Limits on batches, and of the operators that make them."""

from __future__ import annotations

from typing import Final

import numpy as np

from compiler.constraints.case import Case, Finding
from compiler.dims import dims_of

_SINGLE_BATCH: Final = (
    "CONCATENATION",
    "FULLY_CONNECTED",
    "LOGISTIC",
    "PAD",
    "PERSISTENT_VARIABLE",
    "RESHAPE",
    "RESIZE_NEAREST_NEIGHBOR",
    "SOFTMAX",
    "STRIDED_SLICE",
    "TANH",
)


def single_batch(case: Case) -> Finding | None:
    """The batch is 1, except between space-to-batch and batch-to-space."""
    if case.op.code not in _SINGLE_BATCH:
        return None
    for tensor in (*case.data, case.result):
        if len(tensor.shape) == 4 and tensor.shape[0] != 1:
            return Finding(f"batch {tensor.shape[0]}", "1", "convert the model with batch size 1")
    return None


def first_batch_only(case: Case) -> Finding | None:
    """Between space-to-batch and batch-to-space stand convolutions: other layers see one batch."""
    batch = dims_of(case.result.shape).batch
    if batch != 1:
        advice = "move the layer out, or use a dilated convolution"
        return Finding(f"{case.op.code} on {batch} batches", "convolutions", advice)
    return None


def block_parameters(case: Case) -> Finding | None:
    """Space-to-batch and batch-to-space have a constant 2-D block and pads or crops of 0 to 255."""
    tables = [case.model.constant(i) for i in case.op.inputs[1:3]]
    fits = (
        len(tables) == 2
        and all(table is not None for table in tables)
        and len(case.tensor(0).shape) == 4
    )
    if fits:
        block, margins = (np.asarray(table) for table in tables)
        fits = block.shape == (2,) and margins.shape == (2, 2)
        fits = fits and block.min() > 0 and margins.min() >= 0 and margins.max() <= 255
    if not fits:
        return Finding("other parameters", "a constant block of height and width", "convert again")
    return None
