"""Limits of pools and means."""

from __future__ import annotations

from typing import Final

from compiler.constraints.case import Case, Finding
from compiler.dims import axis_of, dims_of
from compiler.ir import Axis, Dims
from compiler.passes.padding import window_extent, window_pads
from compiler.passes.whole_sides import sums_up

MAX_POOL: Final = 32


def pool_size(case: Case) -> Finding | None:
    """Pooling windows are at most 32x32, unless they span the map."""
    window, extent = window_extent(case.model, case.op), dims_of(case.tensor(0).shape)
    spans = case.op.code == "AVERAGE_POOL_2D" and window == (extent.height, extent.width)
    if max(window) > MAX_POOL and not spans:
        return Finding(f"{window[0]}x{window[1]}", f"{MAX_POOL}x{MAX_POOL}", "pool in two steps")
    return None


def local_maximum(case: Case) -> Finding | None:
    """A max pool leaves more than one row or column: Nordic's code generator sums what it spans."""
    window = window_extent(case.model, case.op)
    if sums_up(dims_of(case.result.shape), window):
        advice = "use average pooling, or leave a 2-wide result and slice it"
        return Finding(f"a {window[0]}x{window[1]} maximum over the whole side", "a part", advice)
    return None


def window_within(case: Case) -> Finding | None:
    """A max pool's window is at most as high as the map, and one wider."""
    extent = case.turned(dims_of(case.tensor(0).shape))
    height, width = window_extent(case.model, case.op)
    window = case.turned(Dims(height, width, 1))
    if window.height > extent.height or window.width > extent.width + 1:
        found = f"{window.height}x{window.width} on {extent.height}x{extent.width}"
        return Finding(found, f"{extent.height}x{extent.width + 1}", "use a smaller window")
    return None


def average_without_padding(case: Case) -> Finding | None:
    """Average pooling has no padding."""
    pads = window_pads(case.model, case.op)
    if any((pads.left, pads.right, pads.top, pads.bottom)):
        return Finding(f"padding {case.op.attributes['padding']}", "VALID", "use VALID padding")
    return None


def mean_axes(case: Case) -> Finding | None:
    """The mean goes over height, width or both."""
    axes = case.model.constant(case.op.inputs[1]) if len(case.op.inputs) > 1 else None
    rank = len(case.tensor(0).shape)
    if axes is None:
        return Finding("computed axes", "constant axes", "give the axes as a constant")
    valid = axes.size > 0 and all(-rank <= int(axis) < rank for axis in axes.ravel())
    named = {axis_of(int(axis), rank) for axis in axes.ravel()} if valid else {None}
    if not valid or not named <= {Axis.HEIGHT, Axis.WIDTH}:
        return Finding(f"axes {axes.ravel().tolist()}", "height and width", "use a 1x1 convolution")
    return None
