"""Runs of the vendor's own tools, recorded: a program, its inputs, and what every layer gave."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pytest

from compiler import AxonProgram, decode

GOLDEN_DIR: Final = Path(__file__).parents[2].parent / "shared" / "golden"
VECTORS: Final = 3

Array = npt.NDArray[np.integer]


@dataclass(frozen=True, slots=True, eq=False)
class GoldenRun:
    """One recorded run. Arrays are [channels][height][width], batches in front where above 1."""

    name: str
    program: AxonProgram
    arrays: dict[str, Array]

    @property
    def inputs(self) -> Array:
        """int8 [3, C, H, W]."""
        return np.stack([self.arrays[f"test_input_vector_{k}"] for k in range(VECTORS)])

    def layer(self, index: int) -> Array:
        """Output of a layer for the first input."""
        return self.arrays[f"expected_output_vector_0_layer_{index}"]

    def output(self, vector: int, position: int = 0) -> Array:
        """An output of the program, by its position among the outputs."""
        suffix = f"_{position}" if position else ""
        return self.arrays[f"expected_output_vector_{vector}{suffix}"]


def golden_names() -> list[str]:
    """Names of the recorded runs that have outputs; empty where the folder is absent."""
    return sorted(path.stem for path in GOLDEN_DIR.glob("*.npz"))


def golden_parameters() -> list[object]:
    """For `pytest.mark.parametrize`: every recorded run, or one skipped case that says why."""
    absent = pytest.mark.skip(reason=f"no recorded runs at {GOLDEN_DIR}")
    return [*golden_names()] or [pytest.param("", marks=absent, id="absent")]


def golden_run(name: str) -> GoldenRun:
    """Load a recorded run."""
    program = decode((GOLDEN_DIR / f"{name}.bin").read_bytes())
    with np.load(GOLDEN_DIR / f"{name}.npz", allow_pickle=False) as stored:
        return GoldenRun(name, program, {key: stored[key] for key in stored.files})
