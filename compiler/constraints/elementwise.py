"""Limits of sums and products."""

from __future__ import annotations

from typing import Final

from compiler.constraints.case import Case, Finding
from compiler.constraints.limits import DOCUMENTED_EXTENT
from compiler.dims import dims_of

MAX_LINEAR_SIDE: Final = 1020


def two_operands(case: Case) -> Finding | None:
    """The operation has two operands, at least one of them computed."""
    if len(case.op.inputs) != 2 or min(case.op.inputs) < 0 or not case.data:
        return Finding(f"{len(case.data)} computed operands", "1 or 2", "fold constants")
    return None


def int8_constant(case: Case) -> Finding | None:
    """A constant operand is int8 with one scale."""
    tensor = case.tensor(1)
    if tensor.data is None:
        return None
    if tensor.dtype != "int8" or tensor.quant is None or tensor.quant.scales.size != 1:
        return Finding(f"a {tensor.dtype} constant", "int8 with one scale", "convert again")
    return None


def broadcast(case: Case) -> Finding | None:
    """Operands have the same channels; height and width are equal, or 1 on one side."""
    if max(len(case.tensor(0).shape), len(case.tensor(1).shape)) > 4:
        return None  # tensor_shape reports it
    a, b, result = (dims_of(t.shape) for t in (case.tensor(0), case.tensor(1), case.result))
    pairs = ((a.height, b.height), (a.width, b.width))
    sides = all(x == y or 1 in (x, y) for x, y in pairs)
    sides = sides and {x < y for x, y in pairs if x != y} != {True, False}
    scalar = 1 if case.tensor(1).data is not None and b.elements == 1 else a.channels
    grown = (max(a.height, b.height), max(a.width, b.width), a.channels)
    if (
        not sides
        or b.channels not in (a.channels, scalar)
        or grown != (result.height, result.width, result.channels)
    ):
        advice = "repeat the smaller operand in the model"
        return Finding(f"{list(a.shape)} with {list(b.shape)}", "equal, or 1 high or wide", advice)
    return None


def constant_within(case: Case) -> Finding | None:
    """A constant operand is no larger than the computed one."""
    a, b = dims_of(case.tensor(0).shape), dims_of(case.tensor(1).shape)
    if case.tensor(1).data is not None and (b.height > a.height or b.width > a.width):
        advice = "repeat the computed operand in the model"
        found = f"a constant {list(b.shape)} beside {list(a.shape)}"
        return Finding(found, "a constant no larger", advice)
    return None


def one_value_sum(case: Case) -> Finding | None:
    """A single computed value is not added to a vector, where a layer follows."""
    a, b = dims_of(case.tensor(0).shape), dims_of(case.tensor(1).shape)
    pixels = [(extent.height, extent.width) == (1, 1) for extent in (a, b)]
    ends = not case.model.consumers(case.op.outputs[0])
    if case.tensor(1).data is None and pixels[0] != pixels[1] and not ends:
        advice = "repeat the value in the model; Nordic's code generator never ends on it"
        return Finding(f"{list(a.shape)} with {list(b.shape)}", "operands of one size", advice)
    return None


def linear_sides(case: Case) -> Finding | None:
    """Sums and products are at most 1,020 high and wide; of two equal sizes a product is 1,024."""
    extent = case.seen(case.op.outputs[0])
    sizes = {dims_of(case.model.tensors[i].shape) for i in case.op.inputs}
    widest = DOCUMENTED_EXTENT if case.op.code == "MUL" and len(sizes) == 1 else MAX_LINEAR_SIDE
    if extent.width > widest:
        return Finding(f"width {extent.width}", f"at most {widest}", "split or subsample")
    if extent.height > MAX_LINEAR_SIDE:
        allowed = f"at most {MAX_LINEAR_SIDE}"
        return Finding(f"height {extent.height}", allowed, "split or subsample")
    return None
