"""What a constraint looks at, and what it says about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from compiler.ir import Dims
from compiler.model import Model, Operator, Tensor
from compiler.options import CompileOptions
from compiler.passes.orientation import seen_dims


@dataclass(frozen=True, slots=True)
class Finding:
    """What a constraint saw, what would be allowed, and what to change."""

    found: str
    allowed: str
    advice: str


@dataclass(frozen=True, slots=True)
class Violation:
    """A finding with its place in the file; `operator_index` -1 stands for the whole model."""

    operator_index: int
    operator: str
    rule: str
    found: str
    allowed: str
    advice: str

    def __str__(self) -> str:
        place = (
            f"operator {self.operator_index} ({self.operator})"
            if self.operator_index >= 0
            else "the model"
        )
        return f"{place}: found {self.found}, allowed {self.allowed}; {self.advice}"


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One operator of a legal model, with its extents as the device will see them."""

    model: Model
    op: Operator
    options: CompileOptions

    def tensor(self, position: int) -> Tensor:
        """An operand."""
        return self.model.tensors[self.op.inputs[position]]

    @property
    def result(self) -> Tensor:
        """The result."""
        return self.model.tensors[self.op.outputs[0]]

    def seen(self, tensor: int) -> Dims:
        """The extent of a tensor as it lies on the device; a vector stays a row."""
        return seen_dims(self.model, tensor, self.options)

    def turned(self, dims: Dims) -> Dims:
        """An extent, transposed when the variant is."""
        return self.options.turned(dims)

    @property
    def data(self) -> list[Tensor]:
        """The operands that are computed, not constant."""
        numbers = [i for i in self.op.inputs if i >= 0 and self.model.constant(i) is None]
        return [self.model.tensors[i] for i in numbers]

    @property
    def int32_output(self) -> bool:
        """Whether the result leaves the model unquantized."""
        return self.options.output == "int32" and self.model.is_output(self.op.outputs[0])


Constraint = Callable[[Case], Finding | None]
