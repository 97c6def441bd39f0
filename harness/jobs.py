"""A job of a job file: compile every variant, try each on the test set, and compare."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from compiler import (
    LOG_LEVELS,
    AxonProgram,
    CompileJob,
    CompileOptions,
    CompilerError,
    ModelFormatError,
    Op,
    Options,
    UnsupportedError,
    Variant,
    check_memory_limits,
    compile_model,
    job_variants,
)
from harness.artefacts import file_entries, json_bytes, npy_bytes, npz_bytes
from harness.compare import Comparison, Side, compare
from harness.compiled import Compiled, Source, gather, open_output, write_compiled, write_files
from harness.data import quantize
from harness.data.dataset import InputSpec, load_array
from harness.device import ModelDevice, SimDevice
from harness.errors import ConfigError, ToolchainError
from harness.golden import Golden, Graph, KernelSet, describe, golden_outputs
from harness.handlers import OutputShape, ReportedValues, call_handler, load_handler
from harness.job_data import JobSamples, load_test_set
from harness.model_file import read_model
from harness.pairing import OutputPair, device_side, pair_outputs, real_output, steps_of
from harness.report.versions import versions
from harness.vendor.codegen import Generated

Array = npt.NDArray[Any]
Observer = Callable[[str, int, int], None]
"""Called with the stage, samples done and samples in all."""
Generator = Callable[[Compiled, Array | None], Generated]
"""Makes code for the NPU of a program, and of test vectors int8 [N, C, H, W] if there are any."""

SCHEMA: Final = 1
_CONV2D_CODES: Final = {"local_psum": 0, "inner": 1, "outer": 2}
_PSUM_CODES: Final = {"interlayer_buffer": 0, "dedicated_memory": 1}


@dataclass(frozen=True, slots=True)
class Score:
    """How well one executor did against the labels.

    accuracy: correct / samples. precision: correct / samples that are not inconclusive, None when
    every sample is. inconclusive: samples below precision_threshold or precision_margin.
    """

    accuracy: float
    precision: float | None
    inconclusive: int


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """One variant on the test set.

    comparison: host TFLite (reference kernels) against the Axon program. tflite, axon: None
    without labels. quantization_loss: of the Axon program against the float model, in percent of
    the float model's accuracy. reported: what the user's own handler said.
    """

    comparison: Comparison
    tflite: Score | None
    axon: Score | None
    quantization_loss: float | None
    reported: str
    vectors: dict[str, Array]


@dataclass(frozen=True, slots=True, eq=False)
class VariantResult:
    """compiled None: the variant was refused, for the reason in `refusal`.

    same_as: an earlier variant with the same program. npu: its code, when that was asked for.
    """

    variant: Variant
    compiled: Compiled | None
    refusal: str = ""
    same_as: str | None = None
    trial: Trial | None = None
    npu: Generated | None = None


@dataclass(frozen=True, slots=True, eq=False)
class JobResult:
    """All variants of one job, what was written, and what the user should know."""

    job: CompileJob
    results: tuple[VariantResult, ...]
    samples: int
    float_accuracy: float | None
    files: tuple[Path, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Setting:
    """What all variants of a job share."""

    job: CompileJob
    source: Source
    graph: Graph | None
    test_set: JobSamples | None
    float_accuracy: float | None
    notes: tuple[str, ...]


def run_job(
    job: CompileJob,
    folder: Path,
    observe: Observer | None = None,
    generate: Generator | None = None,
) -> JobResult:
    """Compile every variant, try it on the test set if there is one, then write everything.

    generate: makes code for the NPU of each variant, too. One refused variant among several is
    reported; when none compiles, the first refusal is raised.
    Raises HarnessError and CompilerError; then nothing was written.
    """
    setting = _prepare(job)
    results = _compile_all(setting)
    tried = tuple(_with_trial(setting, result, observe) for result in results)
    if generate is not None:
        tried = _with_code(tried, generate)
    result = JobResult(
        job=job,
        results=tried,
        samples=0 if setting.test_set is None else len(setting.test_set.inputs),
        float_accuracy=setting.float_accuracy,
        files=(),
        notes=setting.notes,
    )
    return replace(result, files=_write(open_output(folder), setting, result))


def _prepare(job: CompileJob) -> _Setting:
    source = _source(job)
    notes = list(job.notes)
    if job.test_data is None:
        if job.test_labels is not None:
            notes.append("test_labels is given without test_data: compiled only, no accuracy")
        return _Setting(job, source, None, None, None, tuple(notes))
    graph = describe(source.data)
    spec = InputSpec(graph.input.shape, graph.input.scale, graph.input.zero_point)
    test_set = load_test_set(job, spec, graph.outputs[0].elements)
    assert test_set is not None
    notes.extend(test_set.notes)
    if (job.precision_threshold or job.precision_margin) and not _ends_in_softmax(graph):
        notes.append("precision_threshold and precision_margin need a final softmax: not applied")
    float_accuracy = None
    if job.float_model is not None and test_set.labels is not None:
        try:
            float_accuracy = _float_accuracy(job.float_model, test_set)
        except ToolchainError as error:
            if job.tflite_model is None:
                raise
            notes.append(f"no quantization loss: {error}")
    return _Setting(job, source, graph, test_set, float_accuracy, tuple(notes))


def _source(job: CompileJob) -> Source:
    """The int8 model: the job's, or the float model quantized with its training data."""
    if job.tflite_model is not None:
        model = read_model(job.tflite_model)
        return Source(job.tflite_model.name, model.data)
    assert job.float_model is not None
    assert job.train_data is not None
    train_data = load_array(job.train_data, "inputs")
    return Source(f"{job.model_name}.tflite", quantize.quantize(job.float_model, train_data))


def _ends_in_softmax(graph: Graph) -> bool:
    return graph.device_outputs(skip_softmax=True) != graph.device_outputs()


def _float_accuracy(float_model: Path, test_set: JobSamples) -> float:
    chosen = test_set.all_inputs[test_set.indices]
    predicted = quantize.predict(float_model, chosen).reshape(len(chosen), -1)
    assert test_set.labels is not None
    return float(np.mean(predicted.argmax(axis=1) == test_set.labels))


# --- compiling -----------------------------------------------------------------------------------


def _compile_all(setting: _Setting) -> list[VariantResult]:
    results: list[VariantResult] = []
    programs: dict[bytes, str] = {}
    first: UnsupportedError | None = None
    for variant in job_variants(setting.job):
        try:
            compiled = compile_variant(setting.job, variant, setting.source, setting.test_set)
        except ModelFormatError as error:
            raise ModelFormatError(f"{setting.source.file}: {error}") from error
        except UnsupportedError as error:
            first = first or UnsupportedError(f"{setting.job.model_name}: {error}")
            results.append(VariantResult(variant, None, refusal=str(error)))
            continue
        # The name is part of the binary; two variants are the same when all else is equal.
        key = gather("x", replace(compiled.program, name="x"), compiled.options, setting.source)
        same_as = programs.get(key.binary)
        programs.setdefault(key.binary, variant.name)
        results.append(VariantResult(variant, compiled, same_as=same_as))
    if first is not None and not programs:
        raise first
    return results


def compile_variant(
    job: CompileJob, variant: Variant, source: Source, test_set: JobSamples | None = None
) -> Compiled:
    """One variant's program, with the labels and limits that its binary carries.

    Without classification_labels, labels are made up for a labelled test set, as Nordic's
    compiler does. Raises CompilerError, also for a buffer above its limit.
    """
    labels = tuple(label.upper() for label in job.classification_labels)
    if not labels and test_set is not None:
        labels = tuple(f"LABEL_X{index}" for index in range(test_set.label_count))
    vectors = job.header_vector_count
    if test_set is not None:
        vectors = min(vectors, len(test_set.inputs))
    options = CompileOptions(
        name=variant.name,
        output=variant.output,
        transpose=variant.transpose,
        skip_softmax=variant.skip_softmax,
        normalize_scaleshift=variant.normalize_scaleshift,
        op_radix=job.op_radix,
        labels=labels,
        limits=Options(
            interlayer_limit=job.interlayer_limit_bytes,
            psum_limit=job.psum_limit_bytes,
            test_vector_count=vectors,
            log_level=LOG_LEVELS[job.log_level],
        ),
    )
    program = _with_psum_settings(compile_model(source.data, options), variant)
    try:
        check_memory_limits(program, job.interlayer_limit_bytes, job.psum_limit_bytes)
    except CompilerError as error:
        raise UnsupportedError(str(error)) from error
    return gather(variant.name, program, options, source)


def _with_psum_settings(program: AxonProgram, variant: Variant) -> AxonProgram:
    """These settings are written only for programs that convolve several channels into sums."""
    uses_psum = any(
        layer.op is Op.CONV2D and layer.inputs[0].dims.channels > 1 for layer in program.layers
    )
    if not uses_psum:
        return program
    options = replace(
        program.options,
        conv2d_setting=_CONV2D_CODES[variant.conv2d_setting],
        psum_placement=_PSUM_CODES[variant.psum_placement],
    )
    return replace(program, options=options)


# --- trying --------------------------------------------------------------------------------------


def _with_trial(
    setting: _Setting, result: VariantResult, observe: Observer | None
) -> VariantResult:
    if setting.test_set is None or result.compiled is None:
        return result
    return replace(result, trial=_try(setting, setting.test_set, result.compiled, observe))


def _try(
    setting: _Setting, test_set: JobSamples, compiled: Compiled, observe: Observer | None
) -> Trial:
    """Host TFLite and the Axon program on the same int8 samples."""
    graph, program, options = setting.graph, compiled.program, compiled.options
    assert graph is not None
    targets = graph.device_outputs(skip_softmax=options.skip_softmax)
    for target in targets:
        if target.dtype != "int8":
            raise ConfigError(f"the output '{target.name}' is {target.dtype}, expected int8")
    pairs = pair_outputs(program, targets, transposed=options.transpose)
    golden = golden_outputs(
        setting.source.data,
        test_set.inputs,
        KernelSet.REFERENCE,
        tensors=targets if options.skip_softmax else None,
        progress=_stage(observe, f"{compiled.name}: host TFLite"),
    )
    sim = SimDevice(program)
    device = ModelDevice(sim, program.input_dims, graph.input.shape, pairs, options.transpose)
    raw = device.infer(test_set.inputs, _stage(observe, f"{compiled.name}: Axon program")).outputs
    left = Side(golden.name, golden.outputs, tuple(steps_of(item) for item in targets))
    comparison = compare(left, device_side("axon", program, pairs, raw), test_set.labels)
    real = real_output(program, pairs[0].layer, raw[0])
    softmax = _ends_in_softmax(graph) and not options.skip_softmax
    tflite, axon = (
        _score(setting.job, values, test_set.labels, softmax=softmax)
        for values in (_real(golden), real)
    )
    reported, loss = _call_accuracy_handler(setting, test_set, compiled, pairs[0], raw[0])
    if loss is None and axon is not None and setting.float_accuracy:
        loss = 100 * (setting.float_accuracy - axon.accuracy) / setting.float_accuracy
    vectors = _vectors(setting.job, test_set, device, program)
    return Trial(comparison, tflite, axon, loss, reported, vectors)


def _real(golden: Golden) -> Array:
    info = golden.tensors[0]
    return (golden.outputs[0].astype(np.float64) - info.zero_point) * info.scale


def _score(
    job: CompileJob, real: Array, labels: npt.NDArray[np.int64] | None, *, softmax: bool
) -> Score | None:
    """Accuracy and precision of real-valued outputs [N, ...]; None without labels."""
    if labels is None:
        return None
    values = real.reshape(len(real), -1)
    conclusive = np.ones(len(values), dtype=np.bool_)
    if values.shape[1] == 1:
        predicted = (values[:, 0] > 0.5).astype(np.int64)
    else:
        predicted = values.argmax(axis=1)
        if softmax:
            ordered = np.sort(values, axis=1)
            conclusive = (ordered[:, -1] >= job.precision_threshold) & (
                ordered[:, -1] - ordered[:, -2] >= job.precision_margin
            )
    correct = int(((predicted == labels) & conclusive).sum())
    decided = int(conclusive.sum())
    precision = correct / decided if decided else None
    return Score(correct / len(values), precision, len(values) - decided)


def _vectors(
    job: CompileJob, test_set: JobSamples, device: ModelDevice, program: AxonProgram
) -> dict[str, Array]:
    """The first test vectors as the device takes and gives them, [C, H, W]."""
    count = min(job.header_vector_count, len(test_set.inputs))
    if not count:
        return {}
    from harness.layout import to_program

    maps = to_program(test_set.inputs[:count], program.input_dims, transposed=device.transposed)
    outputs = SimDevice(program).infer(maps).outputs[-1]
    arrays: dict[str, Array] = {}
    for index in range(count):
        arrays[f"test_input_vector_{index}"] = maps[index]
        arrays[f"expected_output_vector_{index}"] = outputs[index]
    return arrays


def _call_accuracy_handler(
    setting: _Setting, test_set: JobSamples, compiled: Compiled, pair: OutputPair, raw: Array
) -> tuple[str, float | None]:
    """What the user's own accuracy function says, and the loss that it reported."""
    job, program = setting.job, compiled.program
    name = job.user_handle_accuracy_results
    if name is None:
        return "", None
    dims = program.layers[pair.layer].output_dims
    maps = raw.reshape(len(raw), dims.height, dims.width, dims.channels)
    if compiled.options.transpose:
        maps = raw.reshape(len(raw), dims.width, dims.height, dims.channels).transpose(0, 2, 1, 3)
    values = ReportedValues()
    answer = call_handler(
        load_handler(job.folder, name),
        name,
        _settings(setting, test_set, compiled),
        test_set.all_inputs,
        test_set.all_labels,
        maps.transpose(0, 3, 1, 2).reshape(len(raw), -1),
        OutputShape(dims.channels, dims.height, dims.width),
        values,
        compiled.name,
    )
    text = str(answer[1]) if isinstance(answer, tuple) and len(answer) == 2 else str(answer)
    if values.accuracy is not None:
        text += f"\naccuracy {values.accuracy:.4f}"
    return text.strip(), values.quantization_loss


def _settings(setting: _Setting, test_set: JobSamples, compiled: Compiled) -> dict[str, Any]:
    """The job as handlers know it: keys of the job file with their values for this variant."""
    job, options = setting.job, compiled.options
    return {
        "model_name": job.model_name,
        "tflite_model": str(job.tflite_model),
        "float_model": None if job.float_model is None else str(job.float_model),
        "test_data": str(job.test_data),
        "test_labels": None if job.test_labels is None else str(job.test_labels),
        "test_labels_format": job.test_labels_format,
        "classification_labels": list(job.classification_labels) or None,
        "test_vectors": test_set.indices.tolist(),
        "header_file_test_vector_cnt": job.header_vector_count,
        "disable_op_quantization": options.output == "int32",
        "transpose_kernel": options.transpose,
        "skip_softmax_op": options.skip_softmax,
        "op_radix": compiled.program.output_dequantization.shift
        if options.output == "int32"
        else job.op_radix,
        "precision_threshold": job.precision_threshold,
        "precision_margin": job.precision_margin,
    }


def _stage(observe: Observer | None, stage: str) -> Callable[[int, int], None] | None:
    if observe is None:
        return None
    return lambda done, total: observe(stage, done, total)


# --- code for the NPU ----------------------------------------------------------------------------


def _with_code(
    results: tuple[VariantResult, ...], generate: Generator
) -> tuple[VariantResult, ...]:
    """Each variant with its code; raises the first refusal when no variant has any."""
    done: list[VariantResult] = []
    first: UnsupportedError | None = None
    for result in results:
        if result.compiled is None:
            done.append(result)
            continue
        try:
            npu = generate(result.compiled, _input_vectors(result.trial))
        except UnsupportedError as error:
            name = result.variant.name
            first = first or UnsupportedError(f"{name}: {error}")
            done.append(VariantResult(result.variant, None, refusal=str(error)))
            continue
        compiled = replace(result.compiled, footprint=npu.footprint)
        done.append(replace(result, compiled=compiled, npu=npu))
    if first is not None and all(result.npu is None for result in done):
        raise first
    return tuple(done)


def _input_vectors(trial: Trial | None) -> Array | None:
    """int8 [N, C, H, W], in order; None when the trial holds none."""
    if trial is None or not trial.vectors:
        return None
    count = len(trial.vectors) // 2
    return np.stack([trial.vectors[f"test_input_vector_{index}"] for index in range(count)])


# --- writing -------------------------------------------------------------------------------------


def _write(folder: Path, setting: _Setting, result: JobResult) -> tuple[Path, ...]:
    """Every variant's files, then the job's report."""
    job = setting.job
    paths: list[Path] = []
    for item in result.results:
        if item.compiled is None:
            continue
        npu = item.npu
        headers = None if npu is None else npu.headers
        facts = None if npu is None else {"npu": npu.facts()}
        paths.extend(write_compiled(folder, item.compiled, headers, facts))
        if item.trial is not None and item.trial.vectors:
            name = f"{item.variant.name}_vectors.npz"
            paths.extend(write_files(folder, {name: npz_bytes(item.trial.vectors)}))
    extra: dict[str, bytes] = {}
    if job.tflite_model is None:
        extra[setting.source.file] = setting.source.data
    if job.get_quantized_data and setting.test_set is not None:
        extra[f"{job.model_name}_q_data.npy"] = npy_bytes(setting.test_set.inputs)
    paths.extend(write_files(folder, extra))
    report = job_report(result) | {"files": file_entries(folder, [path.name for path in paths])}
    name = f"{job.model_name}_report.json"
    return (*paths, *write_files(folder, {name: json_bytes(report)}))


def job_report(result: JobResult) -> dict[str, Any]:
    """The content of MODEL_NAME_report.json without the hashes of the job's other files."""
    return {
        "schema": SCHEMA,
        "kind": "compile-job",
        "section": result.job.section,
        "model_name": result.job.model_name,
        "samples": result.samples,
        "float_accuracy": result.float_accuracy,
        "notes": list(result.notes),
        "variants": [_variant_report(item) for item in result.results],
        "versions": versions(),
    }


def _variant_report(item: VariantResult) -> dict[str, Any]:
    facts: dict[str, Any] = {**asdict(item.variant), "compiled": item.compiled is not None}
    if item.compiled is None:
        return {**facts, "refusal": item.refusal}
    facts |= {"same_as": item.same_as, "footprint": asdict(item.compiled.footprint)}
    trial = item.trial
    if trial is None:
        return facts
    comparison = trial.comparison
    return {
        **facts,
        "accuracy": {
            "tflite": None if trial.tflite is None else asdict(trial.tflite),
            "axon": None if trial.axon is None else asdict(trial.axon),
        },
        "agreement": {
            "golden": comparison.left,
            "source": "sim",
            "top1": comparison.top1,
            "exact": comparison.exact_fraction,
            "max_lsb": comparison.max_lsb,
            "histogram": {str(steps): count for steps, count in comparison.histogram},
        },
        "quantization_loss_percent": trial.quantization_loss,
        "handler": trial.reported,
    }
