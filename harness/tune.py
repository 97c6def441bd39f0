"""Which legal variant of a model needs the fewest cycles, and proof that it computes the same.

A variant is chosen only when its outputs equal those of the plain compilation, bit by bit, on
every sample of the proof; what differs is shown and left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from compiler import (
    AxonProgram,
    CompileOptions,
    UnsupportedError,
    compile_model,
    differences,
    interpret,
    swapped_layers,
)
from harness.artefacts import sha256
from harness.data.dataset import InputSpec, load_dataset, random_dataset
from harness.device import ModelDevice, SimDevice
from harness.errors import ConfigError
from harness.estimate import npu_cycles
from harness.golden import Graph, describe
from harness.layout import to_program
from harness.model_file import ModelFile
from harness.pairing import pair_outputs
from harness.program import load_program
from harness.progress import Observer

Array = npt.NDArray[Any]

PROOF_SAMPLES: Final = 16
_TRACED_SAMPLES: Final = 4
PLAIN: Final = "as compiled by default"


@dataclass(frozen=True, slots=True)
class Rewrite:
    """A variant that the compiler offers and that is meant to leave the outputs as they are."""

    name: str
    changes: tuple[tuple[str, Any], ...]

    def apply(self, options: CompileOptions) -> CompileOptions:
        """The options of the variant."""
        return replace(options, **dict(self.changes))


_OPTIONS: Final = (
    ("transposed", ("transpose", True)),
    ("one shift per channel", ("normalize_scaleshift", False)),
    ("cheaper layers", ("cheaper_layers", True)),
)
"""What a variant may choose, each with its name."""


def _rewrites() -> tuple[Rewrite, ...]:
    """Every combination of the options, those with fewer first."""
    return tuple(
        Rewrite(", ".join(name for name, _ in chosen), tuple(change for _, change in chosen))
        for count in range(1, len(_OPTIONS) + 1)
        for chosen in combinations(_OPTIONS, count)
    )


REWRITES: Final = _rewrites()


@dataclass(frozen=True, slots=True)
class Proof:
    """Outputs of a variant against the plain compilation, on the same inputs.

    values, differing: output values in all, and those that differ; largest: difference in steps.
    layers, layers_equal: layers of both programs that have a counterpart, compared value by value
    on the first samples, and how many of them are equal; they add weight where an output saturates.
    inputs_sha256, outputs_sha256: of the int8 samples, and of the variant's raw outputs in the
    model's order and layout.
    """

    samples: int
    data: str
    values: int
    differing: int
    largest: int
    layers: int
    layers_equal: int
    inputs_sha256: str
    outputs_sha256: str

    @property
    def unchanged(self) -> bool:
        """Whether every output value is equal."""
        return self.differing == 0


@dataclass(frozen=True, slots=True)
class Trial:
    """One variant. cycles: estimated, None when refused. same: the program is the plain one."""

    name: str
    cycles: int | None
    proof: Proof | None
    refusal: str = ""
    same: bool = False


@dataclass(frozen=True, slots=True)
class Tuning:
    """plain: estimated cycles of the plain compilation. best: the variant with the fewest cycles
    among those with a proof of unchanged outputs, None when nothing saves a cycle."""

    model: str
    plain: int
    trials: tuple[Trial, ...]
    best: Trial | None

    @property
    def saved(self) -> int:
        """Cycles that the best variant saves."""
        if self.best is None or self.best.cycles is None:
            return 0
        return self.plain - self.best.cycles


@dataclass(frozen=True, slots=True, eq=False)
class _Baseline:
    program: AxonProgram
    options: CompileOptions
    outputs: tuple[Array, ...]
    inputs: Array
    data: str
    graph: Graph


def tune(
    model: ModelFile,
    options: CompileOptions,
    data: Any = None,
    samples: int = PROOF_SAMPLES,
    observe: Observer | None = None,
) -> Tuning:
    """Try every rewrite. data: path of the samples for the proof, None for random and extreme ones.

    Raises ConfigError for an Axon binary or unusable data, CompilerError as the compiler does.
    """
    if model.is_program:
        raise ConfigError(
            f"{model.path} is an Axon binary; variants are compiled from the .tflite model"
        )
    if samples < 1:
        raise ConfigError(f"--samples is {samples}; expected at least 1")
    baseline = _baseline(model, options, data, samples, observe)
    trials = tuple(_try(model, rewrite, baseline, observe) for rewrite in REWRITES)
    plain = npu_cycles(baseline.program)
    return Tuning(model.path.name, plain, trials, best_of(trials, plain))


def best_of(trials: Sequence[Trial], plain: int) -> Trial | None:
    """The proven variant with the fewest cycles, the first one among equals; None without gain."""
    proven = [
        trial
        for trial in trials
        if trial.cycles is not None and trial.proof is not None and trial.proof.unchanged
    ]
    best = min(proven, key=lambda trial: trial.cycles or 0, default=None)
    if best is None or best.cycles is None or best.cycles >= plain:
        return None
    return best


def prove(
    wanted: Sequence[Array],
    found: Sequence[Array],
    inputs: Array,
    data: str,
    layers: tuple[int, int] = (0, 0),
) -> Proof:
    """Compare raw outputs of the same samples. layers: compared and equal ones.

    Raises ConfigError when the shapes differ.
    """
    if [array.shape for array in wanted] != [array.shape for array in found]:
        raise ConfigError("the variant's outputs have other shapes than the plain compilation's")
    gaps = [
        np.abs(new.astype(np.int64) - old.astype(np.int64))
        for old, new in zip(wanted, found, strict=True)
    ]
    return Proof(
        samples=len(inputs),
        data=data,
        values=sum(gap.size for gap in gaps),
        differing=sum(int(np.count_nonzero(gap)) for gap in gaps),
        largest=max(int(gap.max()) for gap in gaps),
        layers=layers[0],
        layers_equal=layers[1],
        inputs_sha256=sha256(np.ascontiguousarray(inputs).tobytes()),
        outputs_sha256=sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in found)),
    )


def _baseline(
    model: ModelFile,
    options: CompileOptions,
    data: Any,
    samples: int,
    observe: Observer | None,
) -> _Baseline:
    program = load_program(model, options)
    graph = describe(model.data)
    spec = InputSpec(graph.input.shape, graph.input.scale, graph.input.zero_point)
    if data is None:
        inputs, name = _made_up(spec, samples)
    else:
        found = load_dataset(data, None, spec, classes=graph.outputs[0].elements, limit=samples)
        inputs, name = found.inputs, found.name
    outputs = _outputs(program, options, graph, inputs, observe, PLAIN)
    return _Baseline(program, options, outputs, inputs, name, graph)


def _made_up(spec: InputSpec, samples: int) -> tuple[Array, str]:
    """Random samples, and the two that saturate most: all lowest, all highest."""
    dataset = random_dataset(spec, samples)
    ends = np.stack([np.full(spec.shape, value, np.int8) for value in (-128, 127)])
    return np.concatenate([dataset.inputs, ends]), f"{dataset.name}, and both extremes"


def _try(
    model: ModelFile, rewrite: Rewrite, baseline: _Baseline, observe: Observer | None
) -> Trial:
    options = rewrite.apply(baseline.options)
    try:
        program = compile_model(model.data, options)
    except UnsupportedError as error:
        return Trial(rewrite.name, None, None, refusal=str(error))
    same = next(differences(baseline.program, program), None) is None
    if same:
        count = len(program.layers)
        outputs, layers = baseline.outputs, (count, count)
    else:
        outputs = _outputs(program, options, baseline.graph, baseline.inputs, observe, rewrite.name)
        layers = _compare_layers(baseline, program, options)
    proof = prove(baseline.outputs, outputs, baseline.inputs, baseline.data, layers)
    return Trial(rewrite.name, npu_cycles(program), proof, same=same)


def _compare_layers(
    baseline: _Baseline, program: AxonProgram, options: CompileOptions
) -> tuple[int, int]:
    """(layers with a counterpart of the same extent, those that are equal)."""
    if len(program.layers) != len(baseline.program.layers):
        return 0, 0
    inputs = baseline.inputs[:_TRACED_SAMPLES]
    traced = [
        interpret(item, to_program(inputs, item.input_dims, transposed=transposed)).layers
        for item, transposed in (
            (baseline.program, baseline.options.transpose),
            (program, options.transpose),
        )
    ]
    turned = [False] * len(program.layers)
    if options.transpose != baseline.options.transpose:
        turned = list(swapped_layers(program))
    compared = equal = 0
    for plain, variant, swapped in zip(*traced, turned, strict=True):
        seen = variant.swapaxes(-1, -2) if swapped else variant
        # Space to batch orders its batches by rows, so those layers have no counterpart.
        if seen.shape == plain.shape and len(plain) == len(inputs):
            compared += 1
            equal += int(np.array_equal(seen, plain))
    return compared, equal


def _outputs(
    program: AxonProgram,
    options: CompileOptions,
    graph: Graph,
    inputs: Array,
    observe: Observer | None,
    stage: str,
) -> tuple[Array, ...]:
    targets = graph.device_outputs(skip_softmax=options.skip_softmax)
    pairs = pair_outputs(program, targets, transposed=options.transpose)
    device = ModelDevice(
        SimDevice(program), program.input_dims, graph.input.shape, pairs, options.transpose
    )
    progress = None if observe is None else lambda done, total: observe(stage, done, total)
    return device.infer(inputs, progress).outputs
