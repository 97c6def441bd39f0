"""A legal model, layer by layer, becomes a program. One file per operator family."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from compiler.errors import UnsupportedError
from compiler.fixedpoint import best_shift, output_radix, round_scaled
from compiler.ir import EXTERNAL_INPUT, AxonProgram, Dims, Layer, Op, Quantization
from compiler.lowering.convolution import convolution, depthwise
from compiler.lowering.cpu_activation import cpu_activation
from compiler.lowering.elementwise import add, multiply
from compiler.lowering.fully_connected import fully_connected
from compiler.lowering.movement import (
    batch_to_space,
    channel_pad,
    concatenate,
    persistent_variable,
    reshape,
    resize_nearest,
    space_to_batch,
    strided_slice,
)
from compiler.lowering.pooling import average_pool, max_pool, mean
from compiler.lowering.site import Site
from compiler.model import Model, Quant
from compiler.options import CompileOptions

LOWERINGS: Final[dict[str, Callable[[Site], Layer]]] = {
    "ADD": add,
    "AVERAGE_POOL_2D": average_pool,
    "BATCH_TO_SPACE_ND": batch_to_space,
    "CONCATENATION": concatenate,
    "CONV_2D": convolution,
    "DEPTHWISE_CONV_2D": depthwise,
    "FULLY_CONNECTED": fully_connected,
    "LOGISTIC": cpu_activation,
    "MAX_POOL_2D": max_pool,
    "MEAN": mean,
    "MUL": multiply,
    "PAD": channel_pad,
    "PERSISTENT_VARIABLE": persistent_variable,
    "RESHAPE": reshape,
    "RESIZE_NEAREST_NEIGHBOR": resize_nearest,
    "SOFTMAX": cpu_activation,
    "SPACE_TO_BATCH_ND": space_to_batch,
    "STRIDED_SLICE": strided_slice,
    "TANH": cpu_activation,
}


@dataclass(frozen=True, slots=True, eq=False)
class Lowered:
    """A program and, for each output of the graph in order, the layer that holds it."""

    program: AxonProgram
    output_layers: tuple[int, ...]


def lower(model: Model, options: CompileOptions) -> Lowered:
    """One layer per operator.

    Raises UnsupportedError where the arithmetic cannot be expressed; structural limits are the
    constraints' business and hold already.
    """
    layer_of = {model.root(tensor): EXTERNAL_INPUT for tensor in model.inputs}
    for index, op in enumerate(model.operators):
        layer_of[op.outputs[0]] = index
    final = _final_quant(model, layer_of)
    layers: list[Layer] = []
    wide = []
    for op in model.operators:
        site = Site(model, op, options, layer_of)
        layer = LOWERINGS[op.code](site)
        if site.is_int32_output:
            wide.append(len(layers))
        layers.append(layer)
    radix = _radix(options.op_radix, [layers[index] for index in wide], final)
    for index in wide:
        layers[index] = _with_radix(layers[index], radix)
    _check_input_views(layers)
    layers = _keep_concat_axis(layers)
    program = AxonProgram(
        name=options.name.lower(),
        layers=tuple(layers),
        input_quantization=_input_quantization(model),
        output_dequantization=_output_dequantization(options, final, radix),
        labels=options.labels,
        options=options.limits,
    )
    outputs = tuple(layer_of[model.root(output)] for output in model.outputs)
    return Lowered(program, outputs)


def _quant_of(model: Model, tensor: int) -> Quant:
    quant = model.tensors[tensor].quant
    if quant is None:
        raise UnsupportedError(f"tensor {model.tensors[tensor].name!r} is not quantized")
    return quant


def _final_quant(model: Model, layer_of: dict[int, int]) -> Quant:
    """Quantization of the output that is computed last; it stands for the whole model's output."""
    last = max(model.outputs, key=lambda output: layer_of[model.root(output)])
    return _quant_of(model, model.root(last))


def _radix(asked: int, layers: list[Layer], final: Quant) -> int:
    """One radix for all int32 outputs: the program can name only one.

    Asked for or as the first output allows, and no more than the shift of any.
    """
    smallest = [int(layer.shifts.min()) for layer in layers if layer.shifts is not None]
    if not smallest:
        return asked
    radix = asked or output_radix(float(final.scale), final.zero_point, smallest[0])
    return min(radix, *smallest)


def _with_radix(layer: Layer, radix: int) -> Layer:
    assert layer.shifts is not None
    shifts = (layer.shifts - radix).astype(layer.shifts.dtype)
    wide = replace(layer.output_dims, byte_width=4)
    return replace(layer, shifts=shifts, output_dims=wide)


def _input_quantization(model: Model) -> Quantization:
    """quantized = real * multiplier / 2**shift + zero point."""
    quant = _quant_of(model, model.inputs[0])
    inverse = 1.0 / float(quant.scale)
    shift = best_shift(inverse, low=0, high=20)
    return Quantization(round_scaled(inverse, shift), shift, quant.zero_point)


def _output_dequantization(options: CompileOptions, final: Quant, radix: int) -> Quantization:
    if options.output == "int32":
        return Quantization(1, radix, 0)
    scale = float(final.scale)
    shift = best_shift(scale, low=16, high=30)
    return Quantization(round_scaled(scale, shift), shift, final.zero_point)


def _keep_concat_axis(layers: list[Layer]) -> list[Layer]:
    """Nordic's front end leaves a concatenation's axis in the unused field of later layers."""
    kept, axis = [], 0
    for layer in layers:
        axis = layer.concat_axis if layer.op is Op.CONCATENATE else axis
        kept.append(replace(layer, concat_axis=axis))
    return kept


def _check_input_views(layers: list[Layer]) -> None:
    """The external input is packed once, so every reader must see it in the same shape."""
    views: set[Dims] = {
        operand.dims
        for layer in layers
        for operand in layer.inputs
        if operand.producer == EXTERNAL_INPUT
    }
    if len(views) > 1:
        shapes = " and as ".join(str(list(view.shape)) for view in sorted(views, key=str))
        raise UnsupportedError(
            f"the model input is read as {shapes} (channels, height, width); "
            "reshape a layer's output instead of the input"
        )
