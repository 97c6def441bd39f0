"""What a report is made from."""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.compare import Comparison, LayerDifference
from harness.compiled import Compiled
from harness.data.dataset import Dataset
from harness.device import DeviceInfo, Inference
from harness.golden import Golden
from harness.model_file import ModelFile
from harness.selection import Selection


@dataclass(frozen=True, slots=True)
class LayerComparison:
    """Layer by layer, TFLite against the program's definition, for one sample.

    layers: those that could be told apart, in order; total: layers of the program.
    """

    sample: int
    total: int
    layers: tuple[LayerDifference, ...]


@dataclass(frozen=True, slots=True, eq=False)
class RunFacts:
    """Everything that one run found out. comparisons: golden against device, the primary golden
    first; then, with two goldens, golden against golden. seconds: host time by stage."""

    selection: Selection
    device: DeviceInfo
    model: ModelFile
    compiled: Compiled
    dataset: Dataset
    goldens: tuple[Golden, ...]
    inference: Inference
    comparisons: tuple[Comparison, ...]
    layers: LayerComparison
    seconds: dict[str, float] = field(default_factory=dict)
