"""`axonrig scan`: everything that keeps a model off the NPU, at once."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Final

from compiler import CompileOptions, ScanReport, Violation, scan_model
from harness.errors import ConfigError, ExitCode
from harness.model_file import ModelFile, read_model
from harness.program import named

SCHEMA: Final = 1

_PLACES: Final = {
    "npu": "NPU",
    "cpu": "CPU",
    "npu+cpu": "NPU, then CPU",
    "folded": "nowhere: part of another operator, or free",
    "none": "not supported",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("model", type=Path, metavar="MODEL.tflite")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument(
        "--output", choices=("int8", "int32"), default="int8", help="judge this output"
    )
    parser.add_argument("--skip-softmax", action="store_true", help="judge without a final softmax")


def execute(arguments: argparse.Namespace) -> int:
    """Print the report: 0 when the model is supported, 1 when not."""
    model = read_model(arguments.model)
    if model.is_program:
        raise ConfigError(f"{model.path} is no .tflite model (it lacks the identifier TFL3)")
    options = CompileOptions(
        name="model", output=arguments.output, skip_softmax=arguments.skip_softmax
    )
    with named(model.path):
        report = scan_model(model.data, options)
    text = as_json(report, model) if arguments.json else as_text(report, model)
    print(text)  # noqa: T201  # the command's result
    return int(ExitCode.OK if report.supported else ExitCode.NO)


def as_json(report: ScanReport, model: ModelFile) -> str:
    """The report for machines."""
    facts = {
        "schema": SCHEMA,
        "kind": "scan",
        "model": {"file": model.path.name, "bytes": len(model.data), "sha256": model.sha256},
        **asdict(report),
    }
    return json.dumps(facts, indent=1)


def as_text(report: ScanReport, model: ModelFile) -> str:
    """The report for people."""
    count = len(report.violations)
    found = f"not supported, {count} violation{'s' if count != 1 else ''}"
    lines = [f"{model.path.name}: {'supported' if report.supported else found}"]
    for violation in report.violations:
        lines += _violation(violation)
    lines.append("operators:")
    lines += [
        f"  {item.operator_index:3d} {item.operator:28s} {_PLACES[item.target]}"
        + (f" (layer {item.layer_index})" if item.layer_index is not None else "")
        for item in report.placements
    ]
    lines.append(f"transposed variant: {_transposed(report)}")
    lines += [f"note: {note}" for note in report.notes]
    return "\n".join(lines)


def _violation(violation: Violation) -> list[str]:
    place = "the model"
    if violation.operator_index >= 0:
        place = f"operator {violation.operator_index} ({violation.operator})"
    return [
        f"  {place}: {violation.rule}",
        f"    found:   {violation.found}",
        f"    allowed: {violation.allowed}",
        f"    change:  {violation.advice}",
    ]


def _transposed(report: ScanReport) -> str:
    if report.transpose_advice is not None:
        return report.transpose_advice
    if report.transposable:
        return "compiles too" if report.supported else "compiles"
    return "does not compile" if report.supported else "does not compile either"
