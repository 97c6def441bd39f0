"""A model and its samples, ready for every party: compiled, described, and laid out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler import AxonProgram, CompileOptions, Op, Translation, translate
from harness.compare import Side
from harness.errors import ConfigError
from harness.golden import Graph, TensorInfo, describe
from harness.layout import from_program, to_program
from harness.model_file import ModelFile
from harness.pairing import OutputPair, device_side
from harness.program import named
from harness.verify.layers import Counterpart, counterparts

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Case:
    """inputs: int8 [N, *input shape] in the model's layout; labels: int64 [N] or None."""

    model: ModelFile
    translation: Translation
    graph: Graph
    inputs: Array
    labels: npt.NDArray[np.int64] | None = None

    @property
    def program(self) -> AxonProgram:
        """The compiled program."""
        return self.translation.program

    @cached_property
    def targets(self) -> tuple[TensorInfo, ...]:
        """The tensors that are compared: the model's outputs, before a cast to another type."""
        return self.graph.device_outputs()

    @cached_property
    def pairs(self) -> tuple[OutputPair, ...]:
        """Which output of the program is which target."""
        places = self.program.output_layers
        return tuple(
            OutputPair(places.index(layer), layer, tensor)
            for layer, tensor in zip(self.translation.output_layers, self.targets, strict=True)
        )

    @cached_property
    def places(self) -> dict[int, Counterpart]:
        """The TFLite tensor of each layer."""
        return counterparts(self.translation, self.graph)

    @property
    def maps(self) -> Array:
        """The inputs as the program takes them, [N, C, H, W]."""
        return to_program(self.inputs, self.program.input_dims)

    @property
    def keeps_state(self) -> bool:
        """Whether a sample's result depends on those before it."""
        return any(layer.op is Op.PERSISTENT_VARIABLE for layer in self.program.layers)

    def side(self, name: str, raw: Sequence[Array]) -> Side:
        """Raw outputs of the program, in its order and layout, as the model has them."""
        outputs = [from_program(raw[pair.position], pair.tensor.shape) for pair in self.pairs]
        return device_side(name, self.program, self.pairs, outputs)

    def only(self, samples: Sequence[int]) -> Case:
        """The same with some of the samples."""
        chosen = list(samples)
        labels = None if self.labels is None else self.labels[chosen]
        return replace(self, inputs=self.inputs[chosen], labels=labels)


def make_case(
    model: ModelFile, inputs: Array | None, labels: npt.NDArray[np.int64] | None = None
) -> Case:
    """Compile and describe a model. inputs None: samples come later.

    Raises ConfigError for an Axon binary or outputs that are not int8, CompilerError as the
    compiler does.
    """
    if model.is_program:
        raise ConfigError(
            f"{model.path} is no TFLite model (it lacks the identifier TFL3): it is compared with "
            "host TFLite, so give the .tflite file"
        )
    with named(model.path):
        translation = translate(model.data, CompileOptions(name=model.name))
    graph = describe(model.data)
    samples = np.zeros((0, *graph.input.shape), np.int8) if inputs is None else inputs
    case = Case(model, translation, graph, samples, labels)
    for tensor in case.targets:
        if tensor.dtype != "int8":
            raise ConfigError(
                f"the output '{tensor.name}' of {model.path} is {tensor.dtype}; expected int8"
            )
    return case


def make_candidate(name: str, data: bytes, inputs: Array) -> Case:
    """A case from bytes that were never a file."""
    return make_case(ModelFile(Path(f"{name}.tflite"), data, is_program=False), inputs)
