"""The test set of a job: which samples, as the model takes them, and their true classes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler import CompileJob, ModelFormatError, select_vectors
from harness.data.dataset import InputSpec, as_labels, as_samples, load_array, quantize
from harness.errors import ConfigError
from harness.handlers import call_handler, load_handler

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class JobSamples:
    """Samples of a job.

    indices: which samples of the files, [n]. inputs: int8 [n, *model input shape]. labels: int64
    [n], or None. label_count: one more than the largest label of the whole file, 0 without labels.
    all_inputs, all_labels: the files' arrays as they are, for the user's handlers.
    """

    indices: npt.NDArray[np.int64]
    inputs: npt.NDArray[np.int8]
    labels: npt.NDArray[np.int64] | None
    label_count: int
    all_inputs: Array
    all_labels: Array | None
    notes: tuple[str, ...]


def load_test_set(job: CompileJob, spec: InputSpec, classes: int) -> JobSamples | None:
    """The job's test set, None when it names no test data.

    classes: values of the model's output. Raises ConfigError for files that do not fit the model
    or each other, ModelFormatError for test_vectors outside the set.
    """
    if job.test_data is None:
        return None
    raw = load_array(job.test_data, "inputs")
    shaped = _shaped(raw, spec, job)
    try:
        indices = select_vectors(job.test_vectors, len(shaped))
    except ModelFormatError as error:
        raise ModelFormatError(f"'{job.section}': {error}") from error
    labels, every, notes = _labels(job, classes, len(shaped))
    chosen = quantize(np.asarray(shaped[indices]), spec, str(job.test_data))
    return JobSamples(
        indices=indices,
        inputs=chosen,
        labels=None if labels is None else labels[indices],
        label_count=0 if labels is None else int(labels.max()) + 1,
        all_inputs=shaped,
        all_labels=every,
        notes=notes,
    )


def _shaped(raw: Array, spec: InputSpec, job: CompileJob) -> Array:
    fits = math.prod(raw.shape[1:]) == math.prod(spec.shape)
    if job.reshape_input and fits:
        return raw.reshape(len(raw), *spec.shape)
    try:
        return as_samples(raw, spec, str(job.test_data))
    except ConfigError as error:
        if not fits:
            raise
        raise ConfigError(f"{error}; reshape_input: True reshapes it") from error


def _labels(
    job: CompileJob, classes: int, samples: int
) -> tuple[npt.NDArray[np.int64] | None, Array | None, tuple[str, ...]]:
    """Classes of all samples, the labels as stored or as the user's handler gives them, notes."""
    path = job.test_labels
    if path is None:
        return None, None, ("test_labels is not given: agreement only, no accuracy",)
    if job.test_labels_format == "custom":
        stored = _custom(job, path)
    else:
        stored = load_array(path, "labels")
    if job.user_handle_accuracy_results is not None:
        return None, stored, ()  # their meaning is the handler's own
    found, notes = _classes(job, stored, classes, str(path))
    if len(found) != samples:
        raise ConfigError(
            f"{path} holds {len(found)} labels but {job.test_data} holds {samples} samples: give "
            "one label for each sample"
        )
    return found, stored, notes


def _custom(job: CompileJob, path: Path) -> Array:
    name = job.user_handle_test_labels
    assert name is not None, "job files with custom labels name a handler"
    found = np.asarray(call_handler(load_handler(job.folder, name), name, str(path)))
    if found.dtype.kind not in "buif" or found.ndim == 0 or not found.size:
        raise ConfigError(
            f"the handler {name} returned {found.dtype} {list(found.shape)}, no labels"
        )
    return found


def _classes(
    job: CompileJob, stored: Array, classes: int, where: str
) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    """Class numbers from labels in the job's format."""
    match job.test_labels_format:
        case "last_layer_vector":
            if stored.ndim != 2 or stored.shape[1] != classes:
                raise ConfigError(
                    f"{where} has the shape {list(stored.shape)}; last_layer_vector takes "
                    f"[N, {classes}], one value for each class"
                )
            return as_labels(stored, classes, where), ()
        case "edge_impulse_labels":
            if stored.ndim != 2:
                raise ConfigError(
                    f"{where} has the shape {list(stored.shape)}; edge_impulse_labels takes "
                    "[N, 4] with classes counted from 1 in the first column"
                )
            first = stored[:, 0]
            if not 1 <= first.min() <= first.max() <= classes:
                raise ConfigError(
                    f"{where} holds classes from {first.min()} to {first.max()} in its first "
                    f"column; edge_impulse_labels counts them from 1 to {classes}"
                )
            return as_labels(first.astype(np.float64) - 1, classes, where), ()
        case "just_labels" | "custom":
            if stored.ndim == 2 and stored.shape[1] > 1:
                raise ConfigError(
                    f"{where} has the shape {list(stored.shape)}; {job.test_labels_format} takes "
                    "[N] class numbers; for one row of values per sample say last_layer_vector"
                )
            return as_labels(stored, classes, where), ()
    if stored.ndim == 2 and stored.shape[1] > 1:
        raise ConfigError(
            f"{where} has the shape {list(stored.shape)} and the job does not say what it holds: "
            "set test_labels_format to last_layer_vector, edge_impulse_labels or custom"
        )
    note = "test_labels_format is not given: the labels are taken as just_labels"
    return as_labels(stored, classes, where), (note,)
