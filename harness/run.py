"""The whole way of one run: model -> program -> device and golden -> comparison -> report."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

from compiler import AxonProgram, CompileOptions, interpret
from harness.artefacts import (
    file_entries,
    json_bytes,
    npz_bytes,
    open_folder,
    write_manifest,
)
from harness.compare import Comparison, Side, compare, layer_difference
from harness.compiled import Compiled, Source, gather, write_compiled, write_files
from harness.data.dataset import Dataset, InputSpec, load_dataset, random_dataset
from harness.device import Inference, ModelDevice
from harness.errors import ConfigError
from harness.firmware.board_image import Target
from harness.golden import (
    Golden,
    Graph,
    KernelSet,
    TensorInfo,
    describe,
    golden_outputs,
    trace,
)
from harness.layout import to_program
from harness.model_file import DEFAULT_DATA, DEFAULT_MODEL, ModelFile, read_model
from harness.pairing import OutputPair, device_side, pair_layers, pair_outputs, steps_of
from harness.program import load_program
from harness.progress import Observer, Progress
from harness.report.facts import LayerComparison, RunFacts
from harness.report.folder import PAGE
from harness.report.html import PageInputs, render
from harness.report.json_report import SCHEMA, build_report
from harness.selection import Selection, open_device, select_board

RANDOM_SAMPLES: Final = 100
"""Samples made up for a model that comes without data."""

_RESERVED: Final = frozenset({"report", "manifest"})
"""Names of our own JSON files in a result folder; a model of that name gets another stem."""


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What to run. model, data None: the embedded ones; a model without data gets random samples.

    kernels: the golden's kernel sets, the primary one first. output, transpose and skip_softmax
    are the compiler's. out: result folder, or None to write nothing. target: what runs the model on
    a real board. layer_times: the board times layers.
    """

    board: str = "sim"
    model: Path | None = None
    data: Path | None = None
    labels: Path | None = None
    limit: int | None = None
    out: Path | None = None
    kernels: tuple[KernelSet, ...] = (KernelSet.REFERENCE,)
    output: Literal["int8", "int32"] = "int8"
    transpose: bool = False
    skip_softmax: bool = False
    require_hardware: bool = False
    serial_number: str | None = None
    port: str | None = None
    target: Target = "cpu"
    layer_times: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A compiled model and its samples: everything that comes before a device.

    targets: the TFLite tensors that the program's outputs are compared with (`pairs`, same order).
    """

    selection: Selection
    model: ModelFile
    compiled: Compiled
    graph: Graph
    dataset: Dataset
    pairs: tuple[OutputPair, ...]

    @property
    def program(self) -> AxonProgram:
        """The compiled program."""
        return self.compiled.program

    @property
    def transposed(self) -> bool:
        """Whether the program has height and width swapped."""
        return self.compiled.options.transpose

    @property
    def targets(self) -> tuple[TensorInfo, ...]:
        """See the class."""
        return tuple(pair.tensor for pair in self.pairs)


@dataclass(frozen=True, slots=True, eq=False)
class RunResult:
    """report: as in report.json. folder: where the artefacts are, or None."""

    facts: RunFacts
    report: dict[str, Any]
    folder: Path | None


def run(request: RunRequest, observe: Observer | None = None) -> RunResult:
    """Do the whole way of one run and write its artefacts.

    Raises HarnessError or CompilerError with one sentence; then the folder has no manifest.
    """
    seconds: dict[str, float] = {}
    with _timed(seconds, "prepare"):
        prepared = prepare(request)
    folder = None if request.out is None else open_folder(request.out)
    with _timed(seconds, "golden"):
        goldens = tuple(
            golden_of(prepared, kernels, _stage(observe, f"golden {kernels.value}"))
            for kernels in request.kernels
        )
    with closing(open_model_device(prepared)) as device, _timed(seconds, "device"):
        info = device.info
        inference = device.infer(prepared.dataset.inputs, _stage(observe, f"device {info.board}"))
    with _timed(seconds, "compare"):
        comparisons = compare_all(prepared, goldens, inference, info.board)
        layers = compare_layers(prepared, comparisons[0])
    facts = RunFacts(
        selection=prepared.selection,
        device=info,
        model=prepared.model,
        compiled=prepared.compiled,
        dataset=prepared.dataset,
        goldens=goldens,
        inference=inference,
        comparisons=comparisons,
        layers=layers,
        seconds=seconds,
    )
    report = build_report(facts)
    if folder is not None:
        _write_artefacts(folder, facts, report)
    return RunResult(facts, report, folder)


def prepare(request: RunRequest) -> Prepared:
    """Select the board, compile the model and load its samples. Raises as `run` does."""
    selection = select_board(
        request.board,
        require_hardware=request.require_hardware,
        serial_number=request.serial_number,
        port=request.port,
        target=request.target,
    )
    selection = replace(selection, layer_times=request.layer_times)
    if request.limit is not None and request.limit < 1:
        raise ConfigError(f"the limit is {request.limit}; expected at least 1 sample")
    model = read_model(request.model or DEFAULT_MODEL)
    if model.is_program:
        raise ConfigError(
            f"{model.path} is no TFLite model (it lacks the identifier TFL3): a run compares with "
            "host TFLite and needs one; 'axonrig simulate' runs an Axon binary alone"
        )
    options = CompileOptions(
        name=model.name,
        output=request.output,
        transpose=request.transpose,
        skip_softmax=request.skip_softmax,
    )
    program = load_program(model, options)
    graph = describe(model.data)
    targets = graph.device_outputs(skip_softmax=request.skip_softmax)
    _require_int8(targets, model)
    return Prepared(
        selection=selection,
        model=model,
        compiled=gather(
            f"{model.name}_model" if model.name in _RESERVED else model.name,
            program,
            options,
            Source(model.path.name, model.data),
        ),
        graph=graph,
        dataset=_dataset(request, model, graph),
        pairs=pair_outputs(program, targets, transposed=request.transpose),
    )


def golden_of(prepared: Prepared, kernels: KernelSet, progress: Progress | None = None) -> Golden:
    """Host TFLite on the prepared samples."""
    outputs = prepared.targets == prepared.graph.outputs
    return golden_outputs(
        prepared.model.data,
        prepared.dataset.inputs,
        kernels,
        tensors=None if outputs else prepared.targets,
        progress=progress,
    )


def open_model_device(prepared: Prepared) -> ModelDevice:
    """The selected device with the prepared program, in the model's layout; close it."""
    return ModelDevice(
        device=open_device(prepared.selection, prepared.program),
        input_dims=prepared.program.input_dims,
        input_shape=prepared.graph.input.shape,
        pairs=prepared.pairs,
        transposed=prepared.transposed,
    )


def compare_all(
    prepared: Prepared, goldens: tuple[Golden, ...], inference: Inference, board: str
) -> tuple[Comparison, ...]:
    """Each golden against the device, then the goldens among each other."""
    labels = prepared.dataset.labels
    device = device_side(board, prepared.program, prepared.pairs, inference.outputs)
    sides = [golden_side(golden) for golden in goldens]
    pairs = [(side, device) for side in sides]
    pairs += [(sides[i], sides[j]) for i in range(len(sides)) for j in range(i + 1, len(sides))]
    return tuple(compare(left, right, labels) for left, right in pairs)


def golden_side(golden: Golden) -> Side:
    """A golden as one side of a comparison."""
    return Side(golden.name, golden.outputs, tuple(steps_of(info) for info in golden.tensors))


def compare_layers(prepared: Prepared, comparison: Comparison) -> LayerComparison:
    """TFLite's reference kernels against the program's definition, on the worst sample."""
    index = comparison.worst[0].index if comparison.worst else 0
    sample = prepared.dataset.inputs[index : index + 1]
    maps = to_program(sample, prepared.program.input_dims, transposed=prepared.transposed)
    pairs = pair_layers(
        prepared.program,
        interpret(prepared.program, maps).layers,
        trace(prepared.model.data, sample),
        transposed=prepared.transposed,
    )
    layers = tuple(layer_difference(pair) for pair in pairs)
    return LayerComparison(index, len(prepared.program.layers), layers)


def _dataset(request: RunRequest, model: ModelFile, graph: Graph) -> Dataset:
    source = graph.input
    spec = InputSpec(source.shape, source.scale, source.zero_point)
    if request.data is None and request.labels is not None:
        raise ConfigError(f"labels {request.labels} are given without data: add --data")
    classes = graph.outputs[0].elements
    if request.data is not None:
        return load_dataset(
            request.data, request.labels, spec, classes=classes, limit=request.limit
        )
    if model.sha256 != read_model(DEFAULT_MODEL).sha256:
        return random_dataset(spec, request.limit or RANDOM_SAMPLES)
    digits = load_dataset(DEFAULT_DATA, None, spec, classes=classes, limit=request.limit)
    return replace(digits, origin="embedded")


def _require_int8(tensors: tuple[TensorInfo, ...], model: ModelFile) -> None:
    for tensor in tensors:
        if tensor.dtype != "int8":
            raise ConfigError(
                f"the output '{tensor.name}' of {model.path} is {tensor.dtype}; expected int8"
            )


def _stage(observe: Observer | None, stage: str) -> Progress | None:
    if observe is None:
        return None
    return lambda done, total: observe(stage, done, total)


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - start


def _write_artefacts(folder: Path, facts: RunFacts, report: dict[str, Any]) -> None:
    dataset = facts.dataset
    inputs: dict[str, Any] = {"x": dataset.inputs}
    if dataset.labels is not None:
        inputs["y"] = dataset.labels
    golden = {
        f"{item.kernels.value}_output_{k}": array
        for item in facts.goldens
        for k, array in enumerate(item.outputs)
    }
    outputs: dict[str, Any] = {
        f"output_{k}": array for k, array in enumerate(facts.inference.outputs)
    }
    if facts.inference.cycles is not None:
        outputs["cycles"] = facts.inference.cycles
    if facts.inference.layer_cycles is not None:
        outputs["layer_cycles"] = facts.inference.layer_cycles
    files = {
        "inputs.npz": npz_bytes(inputs),
        "golden.npz": npz_bytes(golden),
        "outputs.npz": npz_bytes(outputs),
        "report.json": json_bytes(report),
    }
    # The program last: its JSON lists its files, and a folder of its files alone would be whole.
    written = [*write_files(folder, files), *write_compiled(folder, facts.compiled)]
    names = [path.name for path in written]
    page = PageInputs(report, dataset.inputs, facts.inference.cycles, file_entries(folder, names))
    write_files(folder, {PAGE: render(page).encode("utf-8")})
    names.append(PAGE)
    write_manifest(folder, names, {"schema": SCHEMA, "kind": "run"})
