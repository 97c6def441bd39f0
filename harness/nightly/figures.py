"""The metrics of a job: what a run found out, as names, values and labels (docs/nightly.md).

Names: `program.*` and `memory.*` (sizes, hashes), `estimate.*` (the cycle model), `agreement.*` and
`accuracy.*` (against host TFLite), `outputs.sha256`, `layer.NNN.*` (checksum of the layer's values
for the first sample, estimated cycles, emulated instructions), `emulated.instructions`,
`vendor.cycles`, `latency.us` (measured).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np

from compiler import AxonProgram, interpret
from harness.artefacts import sha256
from harness.device import Array
from harness.history import Kind, Metric
from harness.layout import to_program
from harness.report.facts import RunFacts

CHECKSUM_DIGITS: Final = 16
"""Hex digits of a layer's checksum: enough to see a change, small enough to keep every night."""

LATENCY: Final = "latency.us"
COUNTED: Final[Mapping[str, tuple[str, str]]] = {
    "emulated": ("emulated.instructions", "instructions"),
    "vendor-sim": ("vendor.cycles", "cycles"),
}
"""Sources with a simulated clock: name and unit of what it counts."""

REFUSED: Final = "refused"
"""`conditions["failure"]` of a job whose model the compiler does not take."""


def metrics_of(facts: RunFacts, report: Mapping[str, Any]) -> tuple[Metric, ...]:
    """Everything deterministic that a run says, as exact metrics."""
    source = facts.device.source
    return (
        *_program(facts),
        *estimate_metrics(report["estimate"]),
        *agreement_metrics(report, source),
        exact("outputs.sha256", _hash(facts.inference.outputs), "", source),
        *_checksums(facts),
        *_counted(facts),
    )


def conditions_of(facts: RunFacts, report: Mapping[str, Any]) -> dict[str, str]:
    """What must be equal for two results to be comparable."""
    clock_hz = facts.device.clock_hz
    return {
        "source": facts.device.source,
        "board": facts.device.board,
        "backend": facts.device.backend,
        "data": str(report["data"]["sha256"]),
        "golden": "; ".join(str(item["runtime"]) for item in report["golden"]),
        **({} if clock_hz is None else {"clock_hz": str(clock_hz)}),
    }


def layer_metrics(counts: Array, source: str) -> tuple[Metric, ...]:
    """Counted instructions or cycles by layer. counts: integers [layers]."""
    unit = "instructions" if source == "emulated" else "cycles"
    return tuple(
        exact(f"layer.{index:03d}.{unit}", int(count), unit, source)
        for index, count in enumerate(counts)
    )


def exact(name: str, value: float | str, unit: str, source: str) -> Metric:
    """A metric that follows from the inputs alone."""
    return Metric(name, value, unit, Kind.EXACT, source)


def _program(facts: RunFacts) -> Iterator[Metric]:
    compiled = facts.compiled
    yield exact("model.sha256", facts.model.sha256, "", "file")
    yield exact("program.sha256", sha256(compiled.binary), "", "compiler")
    yield exact("program.bytes", len(compiled.binary), "bytes", "compiler")
    yield exact("program.layers", len(compiled.program.layers), "layers", "compiler")


def estimate_metrics(estimate: Mapping[str, Any]) -> Iterator[Metric]:
    """The `estimate` part of a report: totals, memory, layers."""
    yield exact("estimate.cycles", estimate["cycles"], "cycles", "sim")
    yield exact("estimate.cpu_cycles", estimate["cpu"]["cycles"], "cycles", "sim")
    for key in ("ram_bytes", "flash_bytes", "interlayer_bytes"):
        yield exact(f"memory.{key}", estimate["memory"][key], "bytes", "sim")
    for layer in estimate["layers"]:
        yield exact(f"layer.{layer['index']:03d}.op", layer["op"], "", "compiler")
        yield exact(f"layer.{layer['index']:03d}.cycles", layer["cycles"], "cycles", "sim")


def agreement_metrics(report: Mapping[str, Any], source: str) -> Iterator[Metric]:
    """The `agreement` and `accuracy` parts of a report."""
    agreement, accuracy = report["agreement"], report["accuracy"]
    yield exact("agreement.top1", agreement["top1"], "", source)
    yield exact("agreement.exact_fraction", agreement["exact_fraction"], "", source)
    yield exact("agreement.max_lsb", agreement["max_lsb"], "LSB", source)
    for side in ("device", "golden"):
        if accuracy[side] is not None:
            label = source if side == "device" else report["agreement"]["with"]
            yield exact(f"accuracy.{side}", accuracy[side], "", label)


def _hash(arrays: tuple[Array, ...]) -> str:
    parts = [f"{a.dtype.str}{a.shape}".encode() + np.ascontiguousarray(a).tobytes() for a in arrays]
    return sha256(b"".join(parts))


def _checksums(facts: RunFacts) -> Iterator[Metric]:
    """Checksums of every layer's values, from the program's definition on the first sample."""
    program: AxonProgram = facts.compiled.program
    transposed = facts.compiled.options.transpose
    maps = to_program(facts.dataset.inputs[:1], program.input_dims, transposed=transposed)
    for index, values in enumerate(interpret(program, maps).layers):
        digest = _hash((np.asarray(values),))[:CHECKSUM_DIGITS]
        yield exact(f"layer.{index:03d}.sha256", digest, "", "sim")


def _counted(facts: RunFacts) -> Iterator[Metric]:
    """Counts of a simulated clock: equal inputs give equal counts."""
    cycles, source = facts.inference.cycles, facts.device.source
    if cycles is not None and source in COUNTED:
        name, unit = COUNTED[source]
        yield exact(name, int(np.median(cycles)), unit, source)
