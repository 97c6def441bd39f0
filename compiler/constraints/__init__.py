"""What the NPU and Nordic's code generator accept: one function per limit.

A constraint's docstring is the rule as the user reads it. The function returns what it found wrong,
or None. Sources: Nordic's public list of supported operators, and what the code generator (compiler
1.4.0) was observed to refuse; docs/supported-operators.md tells which limit comes from where.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from compiler.constraints.activations import (
    fixed_activation_output,
    known_activation,
    relu6_saturates,
    softmax_last,
    whole_rows,
)
from compiler.constraints.batches import block_parameters, first_batch_only, single_batch
from compiler.constraints.case import Case, Constraint, Finding, Violation
from compiler.constraints.convolution import filter_size, padding_fits
from compiler.constraints.elementwise import (
    broadcast,
    constant_within,
    int8_constant,
    linear_sides,
    one_value_sum,
    two_operands,
)
from compiler.constraints.fully_connected import aligned_per_channel_vector, dense_rows, dense_size
from compiler.constraints.graph import judge_graph
from compiler.constraints.limits import DOCUMENTED_EXTENT
from compiler.constraints.movement import (
    channel_padding,
    concatenated_alike,
    resize_output,
    resize_pixels,
    slice_parameters,
)
from compiler.constraints.pooling import (
    average_without_padding,
    local_maximum,
    mean_axes,
    pool_size,
    window_within,
)
from compiler.constraints.tensors import (
    computed_operand,
    eight_bit,
    map_channels,
    map_sides,
    quantized_per_tensor,
    supported_operator,
    tensor_shape,
)
from compiler.constraints.weights import constant_weights, weight_shape
from compiler.constraints.windows import stride_size, window_geometry
from compiler.lowering import LOWERINGS
from compiler.model import Model, Operator
from compiler.options import CompileOptions

__all__ = ["CONSTRAINTS", "EVERYWHERE", "Violation", "check", "notes"]

DOCUMENTED_VECTOR: Final = 2048
_MOVES_CODES: Final = ("MAX_POOL_2D", "STRIDED_SLICE", "CONCATENATION", "PAD")

EVERYWHERE: Final[tuple[Constraint, ...]] = (
    supported_operator,
    eight_bit,
    quantized_per_tensor,
    computed_operand,
    tensor_shape,
    map_sides,
    map_channels,
    single_batch,
    known_activation,
    relu6_saturates,
)

_CONVOLUTION: Final = (
    constant_weights,
    weight_shape,
    filter_size,
    stride_size,
    window_geometry,
    padding_fits,
)
_PAIR: Final = (two_operands, int8_constant, broadcast, constant_within)

CONSTRAINTS: Final[dict[str, tuple[Constraint, ...]]] = {
    "ADD": (*_PAIR, one_value_sum, linear_sides, first_batch_only),
    "AVERAGE_POOL_2D": (
        pool_size,
        stride_size,
        average_without_padding,
        window_geometry,
        first_batch_only,
    ),
    "BATCH_TO_SPACE_ND": (block_parameters,),
    "CONCATENATION": (concatenated_alike,),
    "CONV_2D": _CONVOLUTION,
    "DEPTHWISE_CONV_2D": _CONVOLUTION,
    "FULLY_CONNECTED": (
        constant_weights,
        weight_shape,
        aligned_per_channel_vector,
        dense_rows,
        dense_size,
    ),
    "LOGISTIC": (fixed_activation_output, whole_rows),
    "MAX_POOL_2D": (
        pool_size,
        stride_size,
        window_geometry,
        local_maximum,
        window_within,
        first_batch_only,
    ),
    "MEAN": (mean_axes, first_batch_only),
    "MUL": (*_PAIR, linear_sides, first_batch_only),
    "PAD": (channel_padding,),
    "RESIZE_NEAREST_NEIGHBOR": (resize_output, resize_pixels),
    "SOFTMAX": (softmax_last,),
    "SPACE_TO_BATCH_ND": (block_parameters,),
    "STRIDED_SLICE": (slice_parameters,),
    "TANH": (fixed_activation_output, whole_rows),
}


def check(model: Model, options: CompileOptions) -> tuple[Violation, ...]:
    """Everything that is wrong with a legal model, in operator order; empty when it compiles."""
    return (
        *judge_graph(model),
        *(v for op in model.operators for v in _judge(model, op, options)),
    )


def _judge(model: Model, op: Operator, options: CompileOptions) -> Iterator[Violation]:
    """An operator that is not well formed is not asked about its finer points."""
    case = Case(model, op, options)
    malformed = not op.inputs or len(op.outputs) != 1
    first = (supported_operator,) if op.code not in LOWERINGS else EVERYWHERE
    if malformed and op.code in LOWERINGS:
        yield Violation(op.index, op.code, "Operators have operands and one result.",
                        f"{len(op.inputs)} operands, {len(op.outputs)} results", "one result",
                        "convert the model again")  # fmt: skip
        return
    basic = list(_findings(case, first))
    yield from basic
    if not basic:
        yield from _findings_until_first(case)


def _findings(case: Case, constraints: tuple[Constraint, ...]) -> Iterator[Violation]:
    for constraint in constraints:
        finding = constraint(case)
        if finding is not None:
            yield _violation(case.op, constraint, finding)


def _findings_until_first(case: Case) -> Iterator[Violation]:
    """Shapes are checked before what is computed from them; the first flaw hides the rest."""
    shapes = (constant_weights, weight_shape, two_operands, broadcast)
    for constraint in CONSTRAINTS.get(case.op.code, ()):
        finding = constraint(case)
        if finding is not None:
            yield _violation(case.op, constraint, finding)
            if constraint in shapes:
                return


def _violation(op: Operator, constraint: Constraint, finding: Finding) -> Violation:
    rule = (constraint.__doc__ or "").strip()
    return Violation(op.index, op.code, rule, finding.found, finding.allowed, finding.advice)


def notes(model: Model, options: CompileOptions) -> Iterator[str]:
    """What compiles, and yet deserves a second look."""
    for op in model.operators:
        case = Case(model, op, options)
        if case.int32_output and op.attributes.get("fused_activation_function") == "RELU6":
            yield f"{op}: nothing clamps its int32 output at 6, ReLU6 acts as ReLU there"
        if case.int32_output and op.code in _MOVES_CODES:
            yield f"{op}: its int32 output holds the int8 codes, not real units"
        limit = DOCUMENTED_VECTOR if op.code == "FULLY_CONNECTED" else DOCUMENTED_EXTENT
        for number in (*op.inputs[:1], *op.outputs[:1]):
            shape = model.tensors[number].shape
            if shape and max(shape) > limit:
                yield (
                    f"{op}: {max(shape)} elements a side is beyond the documented {limit}; "
                    "compiler 1.4.0 accepts it"
                )
                break
