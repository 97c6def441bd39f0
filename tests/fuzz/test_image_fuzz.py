"""Mutated model images: refused, or executed without touching anything that is not theirs.

AXONRIG_FUZZ_RUNS sets the number of mutations per image, 2,000 by default.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from compiler.image import build_image
from tests.support.firmware_host import Build, build, run_tool
from tests.support.random_programs import FEATURES, random_program

_RUNS = os.environ.get("AXONRIG_FUZZ_RUNS", "2000")


@pytest.fixture(scope="module")
def fuzzer(tmp_path_factory: pytest.TempPathFactory) -> Build:
    folder = tmp_path_factory.mktemp("fuzzer")
    return build(folder, "image_fuzz", Path(__file__).with_name("image_fuzz.c"))


@pytest.mark.parametrize("seed", range(len(FEATURES)))
def test_mutated_images(fuzzer: Build, tmp_path: Path, seed: int) -> None:
    """One image per operation: the seeds' programs feature them in turn."""
    path = tmp_path / "image"
    path.write_bytes(build_image(random_program(seed)).data)
    report = run_tool(fuzzer, [str(path), str(seed), _RUNS])
    counts = dict(line.rsplit(" ", 1) for line in report.splitlines())
    outcomes = {key: int(value) for key, value in counts.items()}
    statuses = {key: value for key, value in outcomes.items() if key.startswith("status")}
    assert sum(statuses.values()) == int(_RUNS)
    assert outcomes["executed"] > 0, "no mutation was accepted: the fuzzer reaches no kernel"
    assert len(statuses) > 5, f"only {statuses}: the fuzzer reaches too few checks"
