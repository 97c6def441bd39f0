"""Limits on what slides over a map, in convolutions and pools."""

from __future__ import annotations

from compiler.constraints.case import Case, Finding
from compiler.constraints.limits import MAX_STRIDE
from compiler.dims import dims_of
from compiler.lowering.pooling import spans_map
from compiler.passes.padding import window_extent, window_outputs, window_pads


def stride_size(case: Case) -> Finding | None:
    """Strides are 1 to 31."""
    strides = [case.op.attributes["stride_h"], case.op.attributes["stride_w"]]
    if case.op.code == "AVERAGE_POOL_2D" and _spans(case) and max(strides) < 256:
        return None
    if not all(1 <= stride <= MAX_STRIDE for stride in strides):
        return Finding(
            f"stride {max(strides, key=abs)}", f"1 to {MAX_STRIDE}", "subsample in two steps"
        )
    return None


def window_geometry(case: Case) -> Finding | None:
    """The result has the extent that window, stride and padding give."""
    attributes, extent = case.op.attributes, dims_of(case.tensor(0).shape)
    if min(attributes["stride_h"], attributes["stride_w"]) < 1:
        return None  # stride_size reports it
    window = window_extent(case.model, case.op)
    pads = window_pads(case.model, case.op)
    given = dims_of(case.result.shape)
    wanted = window_outputs(extent, window, pads, case.op)
    sides = (wanted.height, wanted.width, wanted.batch)
    if min(*window, *sides) < 1 or sides != (given.height, given.width, given.batch):
        found = f"result {given.height}x{given.width}"
        return Finding(found, f"{wanted.height}x{wanted.width}", "convert the model again")
    if max(pads.left, pads.right, pads.top, pads.bottom) > 255:
        return Finding(f"padding {pads}", "at most 255 a side", "pad less")
    return None


def _spans(case: Case) -> bool:
    """Whether a pool becomes one value per channel, or per row or column."""
    extent, result = dims_of(case.tensor(0).shape), dims_of(case.result.shape)
    return spans_map(extent, result, window_extent(case.model, case.op))
