"""Executors that are wrong on purpose, for one operation and large values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler import (
    EXTERNAL_INPUT,
    AxonProgram,
    CompileOptions,
    Execution,
    Op,
    Translation,
    execute_layer,
    translate,
    view_operand,
)

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class WrongEngine:
    """The definition, but results of `op` above `bound` come out `error` steps lower."""

    op: Op
    bound: int = 0
    error: int = 3
    name: str = "wrong on purpose"

    def run(
        self,
        program: AxonProgram,
        inputs: Array,
        state: Mapping[int, Array] | None = None,
        *,
        keep_layers: bool = False,
    ) -> Execution:
        """See `harness.engine.Engine`."""
        assert not state
        values = {EXTERNAL_INPUT: inputs}
        for index, layer in enumerate(program.layers):
            operands = [view_operand(values[item.producer], item) for item in layer.inputs]
            result = execute_layer(program, layer, operands)
            if layer.op is self.op:
                result = np.where(result > self.bound, result - self.error, result)
            values[index] = result.astype(result.dtype)
        layers = tuple(values[index] for index in range(len(program.layers)))
        outputs = tuple(layers[index] for index in program.output_layers)
        return Execution(layers if keep_layers else (), outputs)


def translate_wrongly(op: Op, error: int = 40) -> Any:
    """A `compiler.translate` that shifts the bias of every layer of `op` by `error` steps."""

    def wrong(data: bytes, options: CompileOptions) -> Translation:
        translation = translate(data, options)
        layers = list(translation.program.layers)
        for index, layer in enumerate(layers):
            if layer.op is op and layer.bias is not None and layer.multipliers is not None:
                assert layer.shifts is not None
                step = 2.0 ** layer.shifts.astype(np.int64) / layer.multipliers
                bias = layer.bias + np.rint(error * step).astype(np.int64)
                layers[index] = replace(layer, bias=bias.astype(np.int32))
        return replace(translation, program=replace(translation.program, layers=tuple(layers)))

    return wrong
