"""Who disagrees with whom, by how much, and where first. Pure functions on arrays.

Both sides are integers in the steps (LSB) of one quantization, so a difference of 1 is one step of
the golden's output. `in_steps` brings real values of another quantization there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from harness.errors import ConfigError

Array = npt.NDArray[Any]
IntArray = npt.NDArray[np.int64]

WORST: Final = 10
"""How many of the worst samples a comparison keeps."""

DISAGREEMENTS: Final = 24
"""How many samples with different classes a comparison keeps."""

MOST_CLASSES: Final = 100
"""Classes up to which a comparison counts confusions."""


@dataclass(frozen=True, slots=True)
class Steps:
    """The quantization whose steps are counted: real = (value - zero_point) * scale."""

    scale: float
    zero_point: int


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """What one executor gave. outputs[k]: integers [N, ...] in `steps[k]`; output 0 classifies."""

    name: str
    outputs: tuple[Array, ...]
    steps: tuple[Steps, ...]

    @property
    def predicted(self) -> IntArray:
        """Class of each sample, int64 [N]; see `classify`."""
        return classify(self.outputs[0], self.steps[0])


@dataclass(frozen=True, slots=True)
class WorstSample:
    """One of the samples worth looking at; `label` when known."""

    index: int
    max_lsb: int
    left_class: int
    right_class: int
    label: int | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two executors on the same samples.

    top1: share of samples with the same class, 0..1. exact: samples whose every output is equal.
    max_lsb, mean_abs_lsb: largest and mean absolute difference over all values, in steps.
    histogram: (right - left in steps, number of values), ascending.
    cosine_mean, cosine_min: cosine of the real-valued output vectors, over samples.
    accuracy_*: share of samples whose class is the label, or None without labels.
    worst: at most ten samples that differ, the largest difference first.
    disagreements: at most 24 samples, those with two classes first, then those that both get
    wrong; the largest difference first. confusion: samples by [class][class of the right side],
    the first one the label or, without labels, the class of the left side; None for a model with
    more than 100 classes.
    """

    left: str
    right: str
    samples: int
    top1: float
    exact: int
    max_lsb: int
    mean_abs_lsb: float
    histogram: tuple[tuple[int, int], ...]
    cosine_mean: float
    cosine_min: float
    accuracy_left: float | None
    accuracy_right: float | None
    worst: tuple[WorstSample, ...]
    disagreements: tuple[WorstSample, ...]
    confusion: tuple[tuple[int, ...], ...] | None

    @property
    def exact_fraction(self) -> float:
        """Share of samples whose every output is equal, 0..1."""
        return self.exact / self.samples


@dataclass(frozen=True, slots=True, eq=False)
class LayerPair:
    """The same layer of one sample from both sides: integers of one shape."""

    index: int
    op: str
    tensor: str
    left: Array
    right: Array


@dataclass(frozen=True, slots=True)
class LayerDifference:
    """How one layer differs. position: index of the first differing value (row-major), with both
    values there; None and 0 when the layer is equal."""

    index: int
    op: str
    tensor: str
    values: int
    differing: int
    max_lsb: int
    position: tuple[int, ...] | None
    left_value: int
    right_value: int


def compare(left: Side, right: Side, labels: IntArray | None = None) -> Comparison:
    """Compare two sides sample by sample.

    labels: int64 [N] or None. Raises ConfigError when the sides do not have the same shapes.
    """
    _check_shapes(left, right)
    differences = _flat(right) - _flat(left)
    per_sample = np.abs(differences).max(axis=1)
    left_class, right_class = left.predicted, right.predicted
    steps, counts = np.unique(differences, return_counts=True)
    cosines = _cosines(_real(left), _real(right))
    return Comparison(
        left=left.name,
        right=right.name,
        samples=len(differences),
        top1=float(np.mean(left_class == right_class)),
        exact=int((per_sample == 0).sum()),
        max_lsb=int(per_sample.max()),
        mean_abs_lsb=float(np.abs(differences).mean()),
        histogram=tuple(zip(steps.tolist(), counts.tolist(), strict=True)),
        cosine_mean=float(cosines.mean()),
        cosine_min=float(cosines.min()),
        accuracy_left=accuracy(left_class, labels),
        accuracy_right=accuracy(right_class, labels),
        worst=_worst(differences, left_class, right_class, labels),
        disagreements=_disagreements(differences, left_class, right_class, labels),
        confusion=confusion(left_class if labels is None else labels, right_class, _classes(left)),
    )


def confusion(
    truth: IntArray, predicted: IntArray, classes: int
) -> tuple[tuple[int, ...], ...] | None:
    """Samples by [true class][predicted class]; None for more than 100 classes.

    There are as many rows as `classes`, or more where a label is larger.
    """
    size = max(classes, int(truth.max()) + 1, int(predicted.max()) + 1)
    if size > MOST_CLASSES:
        return None
    counts = np.zeros((size, size), np.int64)
    np.add.at(counts, (truth, predicted), 1)
    return tuple(tuple(row) for row in counts.tolist())


def classify(output: Array, steps: Steps) -> IntArray:
    """Class of each sample, int64 [N]: the largest of its values, the first one when several are.

    A model with a single output value is taken as binary: class 1 where the real value is above
    one half.
    """
    flat = output.reshape(len(output), -1)
    if flat.shape[1] == 1:
        real = (flat[:, 0].astype(np.float64) - steps.zero_point) * steps.scale
        return np.asarray(real > 0.5, dtype=np.int64)
    return np.asarray(flat.argmax(axis=1), dtype=np.int64)


def accuracy(predicted: IntArray, labels: IntArray | None) -> float | None:
    """Share of samples whose predicted class is the label, 0..1; None without labels."""
    return None if labels is None else float(np.mean(predicted == labels))


def in_steps(real: Array, steps: Steps, dtype: str = "int8") -> Array:
    """Real values as integers of the given quantization: rounded to even, saturated to `dtype`."""
    limits = np.iinfo(dtype)
    value = np.rint(np.asarray(real, dtype=np.float64) / steps.scale) + steps.zero_point
    return np.asarray(np.clip(value, limits.min, limits.max), dtype=dtype)


def layer_difference(pair: LayerPair) -> LayerDifference:
    """Count and locate the differences of one layer. Raises ConfigError for unequal shapes."""
    if pair.left.shape != pair.right.shape:
        raise ConfigError(
            f"layer {pair.index} ({pair.op}) has the shape {pair.left.shape} on one side and "
            f"{pair.right.shape} on the other"
        )
    difference = np.abs(pair.right.astype(np.int64) - pair.left.astype(np.int64))
    differing = int(np.count_nonzero(difference))
    if not differing:
        return LayerDifference(pair.index, pair.op, pair.tensor, difference.size, 0, 0, None, 0, 0)
    position = tuple(int(i) for i in np.argwhere(difference)[0])
    return LayerDifference(
        index=pair.index,
        op=pair.op,
        tensor=pair.tensor,
        values=difference.size,
        differing=differing,
        max_lsb=int(difference.max()),
        position=position,
        left_value=int(pair.left[position]),
        right_value=int(pair.right[position]),
    )


def first_difference(layers: Iterable[LayerDifference]) -> LayerDifference | None:
    """The first layer, in the given order, that differs; None when all are equal."""
    return next((layer for layer in layers if layer.differing), None)


def _check_shapes(left: Side, right: Side) -> None:
    ours, theirs = ([output.shape for output in side.outputs] for side in (left, right))
    if ours != theirs:
        raise ConfigError(
            f"{left.name} gave outputs of the shapes {ours} but {right.name} gave {theirs}: they "
            "cannot be compared"
        )


def _flat(side: Side) -> IntArray:
    rows = [output.reshape(len(output), -1).astype(np.int64) for output in side.outputs]
    return np.concatenate(rows, axis=1)


def _real(side: Side) -> npt.NDArray[np.float64]:
    rows = [
        (output.reshape(len(output), -1).astype(np.float64) - steps.zero_point) * steps.scale
        for output, steps in zip(side.outputs, side.steps, strict=True)
    ]
    return np.concatenate(rows, axis=1)


def _cosines(left: npt.NDArray[np.float64], right: npt.NDArray[np.float64]) -> Array:
    """Cosine per sample; 1 where both vectors are zero, 0 where one is."""
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    products = (left * right).sum(axis=1)
    both_zero = ~left.any(axis=1) & ~right.any(axis=1)
    divided = np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
    return np.where(both_zero, 1.0, np.clip(divided, -1.0, 1.0))


def _worst(
    differences: IntArray, left: IntArray, right: IntArray, labels: IntArray | None
) -> tuple[WorstSample, ...]:
    size = np.abs(differences)
    largest, total = size.max(axis=1), size.sum(axis=1)
    order = np.lexsort((np.arange(len(size)), -total, -largest))
    found = [i for i in order[:WORST] if largest[i]]
    return _samples(found, largest, left, right, labels)


def _disagreements(
    differences: IntArray, left: IntArray, right: IntArray, labels: IntArray | None
) -> tuple[WorstSample, ...]:
    largest = np.abs(differences).max(axis=1)
    apart = left != right
    wrong = apart if labels is None else apart | (right != labels)
    order = np.lexsort((np.arange(len(largest)), -largest, ~apart))
    found = [i for i in order if wrong[i]][:DISAGREEMENTS]
    return _samples(found, largest, left, right, labels)


def _samples(
    indices: Iterable[int],
    largest: IntArray,
    left: IntArray,
    right: IntArray,
    labels: IntArray | None,
) -> tuple[WorstSample, ...]:
    return tuple(
        WorstSample(
            index=int(i),
            max_lsb=int(largest[i]),
            left_class=int(left[i]),
            right_class=int(right[i]),
            label=None if labels is None else int(labels[i]),
        )
        for i in indices
    )


def _classes(side: Side) -> int:
    """Classes of output 0; a single value is binary."""
    return max(2, int(np.prod(side.outputs[0].shape[1:])))
