"""verify.json and the files beside it. docs/verify.md defines every key."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from compiler import encode
from harness.artefacts import json_bytes, npz_bytes, sha256, write_manifest
from harness.compare import LayerDifference, accuracy
from harness.compiled import write_files
from harness.data.dataset import Dataset
from harness.report.versions import versions
from harness.verify.layers import OwnDifference
from harness.verify.minimise import Minimal
from harness.verify.study import Attendance, PairFinding, Study
from harness.verify.ticket import minimal_facts

SCHEMA: Final = 1
REPORT: Final = "verify.json"


def build_report(
    study: Study, dataset: Dataset, minimal: Minimal | None, seconds: float
) -> dict[str, Any]:
    """The content of verify.json. Everything outside `run` depends on the inputs alone."""
    return {
        "schema": SCHEMA,
        "kind": "verify",
        "verdict": _verdict(study),
        "parties": [_party(item, study) for item in study.attendance],
        "pairs": [_pair(pair) for pair in study.pairs],
        "own_layers": {name: [_own(item) for item in own] for name, own in study.own.items()},
        "minimised": None if minimal is None else minimal_facts(minimal),
        "model": _model(study),
        "data": {
            "name": dataset.name,
            "origin": dataset.origin,
            "samples": len(dataset.inputs),
            "sha256": sha256(np.ascontiguousarray(dataset.inputs).tobytes()),
        },
        "versions": versions(),
        "run": {
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "host": f"{platform.system()} {platform.machine()}",
            "host_seconds": round(seconds, 3),
        },
    }


def write_report(
    folder: Path,
    study: Study,
    dataset: Dataset,
    report: Mapping[str, Any],
    more: Mapping[str, bytes],
) -> None:
    """Write verify.json, inputs.npz, outputs.npz and `more`, the manifest last.

    Raises ConfigError when the folder cannot be written.
    """
    inputs: dict[str, Any] = {"x": dataset.inputs}
    if dataset.labels is not None:
        inputs["y"] = dataset.labels
    outputs = {
        f"{item.party.name.replace(' ', '_')}_output_{k}": array
        for item in study.attendance
        if item.answer is not None
        for k, array in enumerate(item.answer.side.outputs)
    }
    files = {
        "inputs.npz": npz_bytes(inputs),
        "outputs.npz": npz_bytes(outputs),
        REPORT: json_bytes(report),
        **more,
    }
    written = write_files(folder, files)
    write_manifest(folder, [path.name for path in written], {"schema": SCHEMA, "kind": "verify"})


def _verdict(study: Study) -> dict[str, Any]:
    subject = study.subject
    return {
        "meaning": study.meaning.value,
        "explained": study.meaning.explained,
        "text": study.meaning.text,
        "between": None if subject is None else list(subject.names),
        "layer": None if subject is None else _layer(subject.first_layer),
    }


def _party(item: Attendance, study: Study) -> dict[str, Any]:
    answer, repeat = item.answer, study.repeats.get(item.party.name)
    return {
        "name": item.party.name,
        "role": item.party.role.value,
        "state": item.state,
        "reason": item.reason or None,
        "source": None if answer is None else answer.source,
        "backend": None if answer is None else answer.backend,
        "accuracy": None if answer is None else accuracy(answer.side.predicted, study.case.labels),
        "repeat": None if repeat is None else repeat.again.value,
        "repeat_reason": None if repeat is None else repeat.reason or None,
    }


def _pair(pair: PairFinding) -> dict[str, Any]:
    item = pair.comparison
    return {
        "left": pair.left.name,
        "right": pair.right.name,
        "meaning": pair.meaning.value,
        "explained": pair.meaning.explained,
        "samples": item.samples,
        "samples_differing": item.samples - item.exact,
        "other_class": pair.other_class,
        "values": pair.values,
        "values_differing": pair.differing,
        "max_lsb": item.max_lsb,
        "sample": pair.sample,
        "first_layer": _layer(pair.first_layer),
        "search_failure": pair.search_failure or None,
    }


def _layer(layer: LayerDifference | None) -> dict[str, Any] | None:
    if layer is None:
        return None
    position = None if layer.position is None else list(layer.position)
    return {**asdict(layer), "position": position}


def _own(item: OwnDifference) -> dict[str, Any]:
    return {
        "index": item.difference.index,
        "op": item.difference.op,
        "tensor": item.difference.tensor,
        "max_lsb": item.difference.max_lsb,
        "bound_lsb": item.bound,
        "coarse_values": item.coarse,
        "beyond_values": item.beyond,
        "beyond_lsb": item.beyond_lsb,
    }


def _model(study: Study) -> dict[str, Any]:
    case = study.case
    return {
        "name": case.program.name,
        "file": case.model.path.name,
        "sha256": case.model.sha256,
        "bytes": len(case.model.data),
        "program": {
            "sha256": sha256(encode(case.program)),
            "layers": len(case.program.layers),
            "layers_with_tensor": len(case.places),
        },
    }
