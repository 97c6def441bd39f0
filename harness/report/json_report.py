"""report.json: the machine-readable result of one run. docs/report.md defines every key."""

from __future__ import annotations

import platform
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np

from compiler import CompileOptions
from harness.artefacts import sha256
from harness.compare import Comparison, LayerDifference, first_difference
from harness.estimate import estimate_program
from harness.report.facts import LayerComparison, RunFacts
from harness.report.versions import versions

SCHEMA: Final = 1


def build_report(facts: RunFacts) -> dict[str, Any]:
    """The report as JSON-ready values. Everything outside `run` depends on the inputs alone."""
    primary = facts.comparisons[0]
    return {
        "schema": SCHEMA,
        "source": facts.device.source,
        "board": facts.device.board,
        "board_asked": facts.selection.asked,
        "fallback": facts.selection.fallback,
        "backend": facts.device.backend,
        "samples": primary.samples,
        "agreement": _agreement(primary),
        "accuracy": {"golden": primary.accuracy_left, "device": primary.accuracy_right},
        "latency": _latency(facts),
        "estimate": estimate_program(facts.compiled.program, board=facts.selection.name),
        "model": _model(facts),
        "data": _data(facts),
        "golden": [
            {"name": golden.name, "kernels": golden.kernels.value, "runtime": golden.runtime}
            for golden in facts.goldens
        ],
        "comparisons": [_comparison(item) for item in facts.comparisons],
        "layers": _layers(facts.layers),
        "versions": versions() | facts.device.versions,
        "run": {
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "host": f"{platform.system()} {platform.machine()}",
            "host_seconds": {stage: round(s, 4) for stage, s in facts.seconds.items()},
            "golden_from_cache": all(golden.cached for golden in facts.goldens),
        },
    }


def _agreement(item: Comparison) -> dict[str, Any]:
    return {
        "with": item.left,
        "top1": item.top1,
        "exact": item.exact,
        "exact_fraction": item.exact_fraction,
        "max_lsb": item.max_lsb,
        "mean_abs_lsb": item.mean_abs_lsb,
        "cosine_mean": item.cosine_mean,
        "cosine_min": item.cosine_min,
        "histogram_lsb": {str(step): count for step, count in item.histogram},
        "worst": [asdict(sample) for sample in item.worst],
        "disagreements": [asdict(sample) for sample in item.disagreements],
        "confusion": None if item.confusion is None else [list(row) for row in item.confusion],
        "confusion_rows": "golden" if item.accuracy_left is None else "label",
    }


def _comparison(item: Comparison) -> dict[str, Any]:
    return {
        "left": item.left,
        "right": item.right,
        "samples": item.samples,
        **{key: value for key, value in _agreement(item).items() if key != "with"},
        "accuracy": {"left": item.accuracy_left, "right": item.accuracy_right},
    }


def _latency(facts: RunFacts) -> dict[str, Any]:
    cycles, clock_hz = facts.inference.cycles, facts.device.clock_hz
    if cycles is None:
        names = ("source", "cycles", "clock_hz", "median_us", "layers")
        return dict.fromkeys(names)
    median = float(np.median(cycles))
    return {
        "source": facts.inference.latency_source,
        "cycles": {"min": int(cycles.min()), "median": median, "max": int(cycles.max())},
        "clock_hz": clock_hz,
        "median_us": None if not clock_hz else median * 1e6 / clock_hz,
        "layers": _layer_latency(facts),
    }


def _layer_latency(facts: RunFacts) -> dict[str, Any] | None:
    """Median time of each layer; a layer that the device did not time has none."""
    counted, clock_hz = facts.inference.layer_cycles, facts.device.clock_hz
    if counted is None:
        return None
    medians = [float(value) or None for value in np.median(counted, axis=0)]
    return {
        "source": facts.inference.latency_source,
        "how": "alone" if facts.selection.target == "npu" else "in the inference",
        "all": [
            {
                "index": index,
                "op": layer.op.name.lower(),
                "cycles": cycles,
                "us": None if cycles is None or not clock_hz else cycles * 1e6 / clock_hz,
            }
            for index, (layer, cycles) in enumerate(
                zip(facts.compiled.program.layers, medians, strict=True)
            )
        ],
    }


def _model(facts: RunFacts) -> dict[str, Any]:
    program, golden = facts.compiled.program, facts.goldens[0]
    return {
        "name": program.name,
        "file": facts.model.path.name,
        "sha256": facts.model.sha256,
        "bytes": len(facts.model.data),
        "input": list(facts.dataset.inputs.shape[1:]),
        "outputs": [list(tensor.shape) for tensor in golden.tensors],
        "labels": list(program.labels),
        "program": {
            "sha256": sha256(facts.compiled.binary),
            "variant": _variant(facts.compiled.options),
            "layers": len(program.layers),
        },
    }


def _variant(options: CompileOptions) -> str:
    words: list[str] = [options.output]
    words += ["transposed"] if options.transpose else []
    words += ["no softmax"] if options.skip_softmax else []
    return ", ".join(words)


def _data(facts: RunFacts) -> dict[str, Any]:
    dataset = facts.dataset
    labels = dataset.labels
    return {
        "name": dataset.name,
        "origin": dataset.origin,
        "sha256": sha256(np.ascontiguousarray(dataset.inputs).tobytes()),
        "labels_sha256": None if labels is None else sha256(labels.astype("<i8").tobytes()),
    }


def _layers(item: LayerComparison) -> dict[str, Any]:
    first = first_difference(item.layers)
    return {
        "left": "tflite-reference",
        "right": "axon program",
        "sample": item.sample,
        "compared": len(item.layers),
        "total": item.total,
        "first_differing": None if first is None else _layer(first),
        "all": [_layer(layer) for layer in item.layers],
    }


def _layer(layer: LayerDifference) -> dict[str, Any]:
    position = None if layer.position is None else list(layer.position)
    return {**asdict(layer), "position": position}
