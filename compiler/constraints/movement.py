"""Limits of the operators that move values and compute none."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from compiler.constraints.case import Case, Finding
from compiler.constraints.limits import MAX_STRIDE
from compiler.dims import axis_of, dims_of
from compiler.passes.padding import paddings


def concatenated_alike(case: Case) -> Finding | None:
    """Concatenated tensors are quantized as the result is, and not joined along the batch."""
    rank = len(case.result.shape)
    if axis_of(case.op.attributes["axis"], rank) is None:
        return Finding("the batch axis", "height, width or channels", "join another axis")
    if case.result.quant is None or len(case.data) != len(case.op.inputs):
        return Finding("a constant operand", "computed operands", "fold constants")
    for tensor in case.data:
        if tensor.quant is None or not tensor.quant.same_as(case.result.quant):
            advice = "let the converter give all operands one scale"
            return Finding(f"another scale for {tensor.name!r}", "one scale", advice)
        if len(tensor.shape) != rank:
            return Finding(f"rank {len(tensor.shape)}", f"rank {rank}", "reshape the operand")
    return None


def channel_padding(case: Case) -> Finding | None:
    """Padding of height and width stands before a convolution; padding of channels stands alone."""
    table = paddings(case.model, case.op)
    if table is None or table.min() < 0 or table.max() > 255:
        return Finding("computed or large padding", "constants of 0 to 255", "pad less")
    if table[0].any():
        return Finding("padding of the batch", "none", "remove it")
    if table[1:3].any():
        advice = "move the padding before a convolution, or pad in the layer itself"
        return Finding("padding of height or width without a convolution behind it", "none", advice)
    return None


def slice_parameters(case: Case) -> Finding | None:
    """Slices have constant begin, end and stride, a stride of 1 to 31, and keep the batch."""
    attributes = case.op.attributes
    if "begin" not in attributes:
        advice = "use constant, positive strides and no new axis or ellipsis"
        return Finding("computed or reversed parameters", "constants", advice)
    begin, end, stride = attributes["begin"], attributes["end"], attributes["stride"]
    shape = case.tensor(0).shape
    if max(stride) > MAX_STRIDE:
        return Finding(f"stride {max(stride)}", f"at most {MAX_STRIDE}", "slice in two steps")
    inside = all(0 <= b < e <= n for b, e, n in zip(begin, end, shape, strict=True))
    extents = [-(-(e - b) // s) for b, e, s in zip(begin, end, stride, strict=True)]
    if not inside or int(np.prod(extents)) != case.result.elements:
        return Finding(f"{begin} to {end} of {list(shape)}", "a part of the input", "convert again")
    return None


def resize_output(case: Case) -> Finding | None:
    """A resized map is int8: it can not be an int32 model output."""
    if case.int32_output:
        advice = "compile with int8 output or end the model in another layer"
        return Finding("an int32 output", "int8", advice)
    return None


def resize_pixels(case: Case) -> Finding | None:
    """Half-pixel centres do nothing on the device, so they must not change the pixel taken."""
    if not case.op.attributes["half_pixel_centers"]:
        return None
    before, after = dims_of(case.tensor(0).shape), dims_of(case.result.shape)
    for count, size in ((before.height, after.height), (before.width, after.width)):
        if not np.array_equal(_nearest(count, size, True), _nearest(count, size, False)):
            advice = "resize by a whole factor, or without half_pixel_centers"
            return Finding(f"{count} to {size} with half-pixel centres", "a whole factor", advice)
    return None


def _nearest(count: int, size: int, half_pixel: bool) -> npt.NDArray[np.int64]:
    positions = (np.arange(size) + (0.5 if half_pixel else 0.0)) * np.float32(count / size)
    return np.asarray(np.minimum(np.floor(positions), count - 1), np.int64)
