"""The kernels for 64-bit Arm give the reference's integers, under qemu's user-mode emulation."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import numpy as np
import pytest

from harness.native.engine import NativeEngine
from harness.native.together import TOGETHER
from tests.support.emulated_engine import EMULATOR, build_runner, emulated_engine
from tests.support.engines import assert_same_as_reference, vector_program
from tests.support.golden import golden_parameters, golden_run
from tests.support.random_programs import random_inputs, random_program

pytestmark = pytest.mark.skipif(
    shutil.which(EMULATOR) is None,
    reason=f"no {EMULATOR} here; Debian and Ubuntu have it in the package qemu-user",
)

RANDOM_PROGRAMS = 400
PROCESSORS = {"neon dotprod": "cortex_a76", "neon": "cortex_a53"}
"""What a build is named, and a processor that it is for."""


@pytest.fixture(scope="module", params=PROCESSORS)
def arm(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[NativeEngine]:
    flags = ("-O2", "-ffp-contract=off", f"-mcpu={PROCESSORS[request.param]}")
    program = build_runner(flags, tmp_path_factory.mktemp("runner"))
    with emulated_engine(program) as engine:
        assert engine.name == f"native {request.param} (emulated)"
        yield engine


def test_random_programs(arm: NativeEngine) -> None:
    for seed in range(5000, 5000 + RANDOM_PROGRAMS):
        program = random_program(seed)
        assert_same_as_reference(arm, program, random_inputs(program, seed, count=2))


def test_vectors_run_together(arm: NativeEngine) -> None:
    program = vector_program()
    assert_same_as_reference(arm, program, random_inputs(program, 3, 2 * TOGETHER + 3))


@pytest.mark.parametrize("name", golden_parameters())
def test_recorded_programs(arm: NativeEngine, name: str) -> None:
    run = golden_run(name)
    assert_same_as_reference(arm, run.program, run.inputs)
    noise = np.random.default_rng(7).integers(-128, 128, (2, *run.program.input_dims.shape))
    assert_same_as_reference(arm, run.program, noise.astype(np.int8))
