"""A quantized network as the file describes it: frozen and free of any framework's classes.

Shapes are TFLite's, batch first and channels last: [N, H, W, C], [N, T, C] or [N, F].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

NO_TENSOR: Final = -1
"""An optional operand that is absent."""


@dataclass(frozen=True, slots=True, eq=False)
class Quant:
    """Affine: real = scale * (q - zero_point). scales float32 [n], zero_points int64 [n]."""

    scales: npt.NDArray[np.float32]
    zero_points: npt.NDArray[np.int64]

    @property
    def scale(self) -> np.float32:
        """The scale of a tensor that is quantized as a whole."""
        return np.float32(self.scales[0])

    @property
    def zero_point(self) -> int:
        """The zero point of a tensor that is quantized as a whole."""
        return int(self.zero_points[0])

    def same_as(self, other: Quant) -> bool:
        """Whether both map codes to the same real values."""
        return np.array_equal(self.scales, other.scales) and np.array_equal(
            self.zero_points, other.zero_points
        )


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """A value of the graph. `data` is set for constants only; `dtype` is numpy's name for it."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    quant: Quant | None = None
    data: npt.NDArray[Any] | None = None

    @property
    def elements(self) -> int:
        """Product of the shape."""
        count = 1
        for extent in self.shape:
            count *= extent
        return count


@dataclass(frozen=True, slots=True, eq=False)
class Operator:
    """One operation. `index` is its place in the file, kept through every rewrite for messages."""

    index: int
    code: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    attributes: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def with_attributes(self, **changes: Any) -> Operator:
        """The same operator with some attributes set anew."""
        return replace(self, attributes=MappingProxyType({**self.attributes, **changes}))

    def __str__(self) -> str:
        return f"operator {self.index} ({self.code})"


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """The main graph; operators are in execution order, tensors are named by their number.

    aliases: a tensor that is another one under a different shape -> that other one.
    """

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    aliases: Mapping[int, int] = field(default_factory=lambda: MappingProxyType({}))

    def root(self, tensor: int) -> int:
        """The tensor whose elements these are."""
        while tensor in self.aliases:
            tensor = self.aliases[tensor]
        return tensor

    def producer(self, tensor: int) -> Operator | None:
        """The operator that writes a tensor's elements; None for graph inputs and constants."""
        root = self.root(tensor)
        return next((op for op in self.operators if root in op.outputs), None)

    def consumers(self, tensor: int) -> tuple[Operator, ...]:
        """The operators that read a tensor's elements under any shape, in order."""
        root = self.root(tensor)
        return tuple(
            op for op in self.operators if any(i >= 0 and self.root(i) == root for i in op.inputs)
        )

    def is_output(self, tensor: int) -> bool:
        """Whether the graph returns these elements."""
        return self.root(tensor) in {self.root(output) for output in self.outputs}

    def constant(self, tensor: int) -> npt.NDArray[Any] | None:
        """The value of a constant tensor, else None."""
        return None if tensor < 0 else self.tensors[tensor].data

    def with_tensor(self, tensor: Tensor) -> tuple[Model, int]:
        """The model with one more tensor, and that tensor's number."""
        return replace(self, tensors=(*self.tensors, tensor)), len(self.tensors)

    def with_alias(self, tensor: int, source: int) -> Model:
        """The model in which `tensor` is `source` under its own shape."""
        return replace(self, aliases=MappingProxyType({**self.aliases, tensor: source}))

    def without(self, op: Operator) -> Model:
        """The model with one operator removed."""
        return replace(self, operators=tuple(other for other in self.operators if other is not op))

    def replaced(self, op: Operator, *others: Operator) -> Model:
        """The model with one operator replaced by others, in its place."""
        position = next(i for i, other in enumerate(self.operators) if other is op)
        before, after = self.operators[:position], self.operators[position + 1 :]
        return replace(self, operators=(*before, *others, *after))
