"""Rewrites that bring a model into the form that the lowering takes: one operator, one layer.

Each pass takes a sound model and leaves a sound model. None refuses anything: what it cannot bring
into form stays, and `compiler.constraints` reports it with everything else that is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from compiler.model import Model
from compiler.options import CompileOptions
from compiler.passes.activations import fuse_activations
from compiler.passes.averages import average_padded, mean_over_channels
from compiler.passes.casts import settle_casts
from compiler.passes.concatenations import chain_concatenations
from compiler.passes.cropping import crop_filters
from compiler.passes.dense_blocks import split_dense
from compiler.passes.depthwise import fill_batches, repeat_channels
from compiler.passes.dilation import spread_taps
from compiler.passes.entrance import isolate_input
from compiler.passes.isolation import (
    isolate_activations,
    separate_outputs,
    softmax_to_the_end,
)
from compiler.passes.lines import lay_down_lines
from compiler.passes.margins import pad_maps, pad_pools, plain_padding
from compiler.passes.odd_rows import widen_rows
from compiler.passes.operands import order_operands, spread_pixels
from compiler.passes.packing import pad_rows
from compiler.passes.padding import fold_padding, pad_channels_behind
from compiler.passes.reshapes import (
    join_reshapes,
    keep_reduced_dims,
    settle_reshapes,
)
from compiler.passes.rows import lay_out_rows
from compiler.passes.slices import resolve_slices
from compiler.passes.steps import shorten_steps
from compiler.passes.subtractions import add_negated
from compiler.passes.variables import join_variables, variables_first
from compiler.passes.whole_sides import lengthen_maxima, pool_maxima, step_before_averages

Pass = Callable[[Model], Model]
VariantPass = Callable[[Model, CompileOptions], Model]

PIPELINE: Final[tuple[Pass, ...]] = (
    join_variables,
    settle_casts,
    add_negated,
    fuse_activations,
    resolve_slices,
    chain_concatenations,
    keep_reduced_dims,
    mean_over_channels,
    pool_maxima,
    lay_down_lines,
    lay_out_rows,
    join_reshapes,
    settle_reshapes,
    average_padded,
    plain_padding,
    fold_padding,
    pad_pools,
    step_before_averages,
    lengthen_maxima,
    repeat_channels,
    spread_taps,
    shorten_steps,
    pad_channels_behind,
)

VARIANT_PIPELINE: Final[tuple[VariantPass, ...]] = (
    split_dense,
    fill_batches,
    widen_rows,
    pad_maps,
    crop_filters,
    order_operands,
    spread_pixels,
    isolate_activations,
    separate_outputs,
    isolate_input,
    pad_rows,
    variables_first,
    softmax_to_the_end,
)
"""What depends on how the model lies and on the width of its outputs; runs behind `PIPELINE`."""


def legalise(model: Model, options: CompileOptions) -> Model:
    """Run all passes in order."""
    for rewrite in PIPELINE:
        model = rewrite(model)
    for adapt in VARIANT_PIPELINE:
        model = adapt(model, options)
    return model
