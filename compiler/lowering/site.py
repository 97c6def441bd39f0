"""What a lowering function knows of the operator it turns into a layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from compiler.dims import dims_of
from compiler.errors import UnsupportedError
from compiler.fixedpoint import (
    HIGHEST_SHIFT,
    Requant,
    best_shift_drifting,
    bit_length,
    less_shift,
    merge_shifts,
    round_scaled,
)
from compiler.ir import Activation, Dims, Layer, LayerInput, Op
from compiler.model import Model, Operator, Quant, Tensor
from compiler.options import CompileOptions

CPU_FRACTION_BITS: Final = 12
"""Fraction bits of what the NPU hands to softmax (q11.12), sigmoid and tanh (q3.12)."""


@dataclass(frozen=True, slots=True)
class Stage:
    """The quantization in which a layer must leave its result.

    high: exclusive upper bound of the requantization shift. fraction_bits: taken off the shift.
    """

    scale: np.float32
    zero_point: int
    high: int = HIGHEST_SHIFT
    fraction_bits: int = 0
    byte_width: int = 1
    activation: Activation = Activation.NONE


@dataclass(frozen=True, slots=True, eq=False)
class Site:
    """One operator in its model. `layer_of` maps a tensor to the layer that writes it."""

    model: Model
    op: Operator
    options: CompileOptions
    layer_of: Mapping[int, int]

    def tensor(self, position: int) -> Tensor:
        """The operand at a position, under its own shape."""
        return self.model.tensors[self.op.inputs[position]]

    @property
    def result(self) -> Tensor:
        """The operator's (only) result."""
        return self.model.tensors[self.op.outputs[0]]

    def quant(self, position: int) -> Quant:
        """Quantization of an operand; the constraints have seen to it that it is there."""
        return _quant(self.tensor(position), self.op)

    @property
    def result_quant(self) -> Quant:
        """Quantization of the result."""
        return _quant(self.result, self.op)

    def has_operand(self, position: int) -> bool:
        """Whether an optional operand is present."""
        return len(self.op.inputs) > position and self.op.inputs[position] >= 0

    def constant(self, position: int) -> Any:
        """Value of a constant operand."""
        data = self.model.constant(self.op.inputs[position])
        if data is None:
            raise UnsupportedError(
                f"{self.op} computes its operand {position}; it must be constant"
            )
        return data

    def operand(self, position: int, dims: Dims | None = None) -> LayerInput:
        """The operand as a layer input, by default with the dims of its own shape."""
        number = self.op.inputs[position]
        producer = self.layer_of[self.model.root(number)]
        extent = dims_of(self.model.tensors[number].shape) if dims is None else dims
        return LayerInput(producer, extent)

    @property
    def is_int32_output(self) -> bool:
        """Whether the result is a model output that stays unquantized."""
        return self.options.output == "int32" and self.model.is_output(self.op.outputs[0])

    def output_dims(self, byte_width: int = 1) -> Dims:
        """The result's extent on the device."""
        return dims_of(self.result.shape, byte_width)


def _quant(tensor: Tensor, op: Operator) -> Quant:
    if tensor.quant is None:
        raise UnsupportedError(f"{op}: tensor {tensor.name!r} is not quantized")
    return tensor.quant


def stage_of(site: Site) -> Stage:
    """Where the result goes decides its quantization.

    Softmax takes q11.12 with room for the largest value; sigmoid and tanh take q3.12; an int32
    output is in real units with a radix chosen later; everything else is the tensor's own
    quantization.
    """
    quant = site.result_quant
    readers = site.model.consumers(site.op.outputs[0])
    one = np.float32(1)
    for reader in readers:
        if reader.code == "SOFTMAX":
            scale = np.float32(quant.scale * np.float32(reader.attributes["beta"]))
            bits = bit_length(
                float(scale) * (127 - quant.zero_point), float(scale) * (-128 - quant.zero_point)
            )
            prepare = Activation.PREPARE_SOFTMAX
            return Stage(one, 0, HIGHEST_SHIFT - bits, CPU_FRACTION_BITS, 4, prepare)
        if reader.code in ("LOGISTIC", "TANH"):
            return Stage(one, 0, 28, CPU_FRACTION_BITS, 2)
    if site.is_int32_output:
        return Stage(one, 0, byte_width=4)
    return Stage(quant.scale, quant.zero_point)


def input_gain(site: Site) -> np.float32:
    """A factor on the layer's result that a following softmax asks for (its beta)."""
    for reader in site.model.consumers(site.op.outputs[0]):
        if reader.code == "SOFTMAX":
            return np.float32(reader.attributes["beta"])
    return np.float32(1)


def activation_of(site: Site, stage: Stage) -> Activation:
    """The layer's activation code."""
    if "leaky_alpha" in site.op.attributes:
        return Activation.LEAKY_RELU
    if site.op.attributes.get("fused_activation_function", "NONE") in ("RELU", "RELU6"):
        return Activation.RELU
    return stage.activation


def finish(site: Site, requant: Requant, stage: Stage, per_multiplier: int = 1) -> Requant:
    """Merge the shifts of a many-channel result, then leave the fraction bits that the stage wants.

    Raises UnsupportedError when the shift is too small for them.
    """
    if site.options.normalize_scaleshift and site.output_dims().channels > 1:
        requant = merge_shifts(requant, per_multiplier)
    if stage.fraction_bits:
        if stage.fraction_bits >= int(requant.shifts.min()):
            raise UnsupportedError(
                f"{site.op}: its scale leaves a shift of {int(requant.shifts.min())}, the CPU "
                f"operator behind it needs more than {stage.fraction_bits}; "
                "quantize the model with a larger range"
            )
        requant = less_shift(requant, stage.fraction_bits)
    return requant


def build(site: Site, op: Op, inputs: tuple[LayerInput, ...], stage: Stage, **fields: Any) -> Layer:
    """A layer with what all layers share: output extent, zero points and the result's scale."""
    quant = site.result_quant
    zero = stage.zero_point if stage.byte_width == 1 else 0
    scale_zero = zero
    if "pre_activation" in site.op.attributes:
        before = site.model.tensors[site.op.attributes["pre_activation"]].quant
        scale_zero = before.zero_point if before is not None and stage.byte_width == 1 else zero
    scale = quant.scale if stage.byte_width == 1 else np.float32(1)
    shift, grown = best_shift_drifting(scale, high=30, zero_point=scale_zero)
    multiplier = round_scaled(grown, shift)
    if stage.byte_width == 2:
        shift -= stage.fraction_bits
    values: dict[str, Any] = {
        "output_dims": site.output_dims(stage.byte_width),
        "output_multiplier": multiplier,
        "output_shift": shift,
        "output_zero_point": zero,
        **fields,
    }
    return Layer(op=op, inputs=inputs, **values)
