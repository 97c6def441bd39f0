"""Limits of convolutions."""

from __future__ import annotations

from typing import Final

from compiler.constraints.case import Case, Finding
from compiler.dims import dims_of
from compiler.ir import Dims, Pads
from compiler.passes.cropping import used_taps
from compiler.passes.padding import window_extent, window_pads

MAX_FILTER: Final = 16
MAX_FILTER_WIDTH_1D: Final = 32
MAX_PADDING: Final = 15
PADDED_ROWS: Final = 3
"""The code generator takes a filter's rows by threes, and no more padding above it than that."""


def filter_size(case: Case) -> Finding | None:
    """Filters are at most 16 by 16 (on a map 1 high: 1 by 32), dilation included."""
    height, width = window_extent(case.model, case.op)
    seen = case.turned(Dims(height, width, 1))
    line = case.turned(dims_of(case.tensor(0).shape)).height == seen.height == 1
    widest = MAX_FILTER_WIDTH_1D if line else MAX_FILTER
    if seen.height > MAX_FILTER or seen.width > widest:
        advice = "use a smaller filter or several in a row"
        return Finding(f"{seen.height}x{seen.width}", f"{MAX_FILTER}x{widest}", advice)
    return None


def padding_fits(case: Case) -> Finding | None:
    """Padding is at most 15 a side, above the filter's height in threes, below under the result."""
    pads = window_pads(case.model, case.op)
    if case.options.transpose:
        pads = Pads(left=pads.top, right=pads.bottom, top=pads.left, bottom=pads.right)
    height, width = window_extent(case.model, case.op)
    window = case.turned(Dims(height, width, 1))
    extent, result = (case.turned(dims_of(t.shape)) for t in (case.tensor(0), case.result))
    widest = max(pads.left, pads.right, pads.top, pads.bottom)
    if not all(used_taps(case.model, case.op, axis) for axis in (1, 2)):
        return Finding("windows that only meet padding", "windows on the map", "remove the layer")
    if widest > MAX_PADDING:
        return Finding(f"padding {widest}", f"at most {MAX_PADDING} a side", "pad less")
    above = -(-window.height // PADDED_ROWS) * PADDED_ROWS
    if pads.top > above:
        advice = "pad less, or use a taller filter"
        return Finding(f"{pads.top} rows of padding above", f"at most {above}", advice)
    if result.height <= pads.bottom and extent.height <= window.height:
        advice = "use a lower filter or VALID padding; Nordic's code generator refuses this"
        return Finding(f"{pads.bottom} rows of padding below", f"less than {result.height}", advice)
    return None
