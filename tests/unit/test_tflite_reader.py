"""Damaged and hostile model files: one sentence, never a traceback, a hang or a memory blow-up."""

from __future__ import annotations

import contextlib
import resource
import time

import numpy as np
import pytest

from compiler import (
    CompileOptions,
    CompilerError,
    ModelFormatError,
    compile_model,
    read_tflite,
    scan_model,
)
from tests.support.operator_models import build_model

MUTATIONS_PER_MODEL = 800
MODELS = ("squeeze_and_excite", "split_unequal", "variable")
SECONDS_PER_MUTATION = 2.0
MEGABYTES = 512


def _mutated(data: bytes, random: np.random.Generator) -> bytes:
    """Flip, overwrite, cut, repeat or blow up a length."""
    raw = bytearray(data)
    kind = random.integers(5)
    if kind == 0:
        return bytes(raw[: random.integers(len(raw))])
    for _ in range(random.integers(1, 9)):
        place = int(random.integers(len(raw) - 4))
        if kind == 1:
            raw[place] ^= 1 << int(random.integers(8))
        elif kind == 2:
            raw[place] = int(random.integers(256))
        elif kind == 3:
            raw[place : place + 4] = random.bytes(4)
        else:
            raw[place : place + 4] = b"\xff\xff\xff\x7f"
    return bytes(raw)


@pytest.mark.parametrize("name", MODELS)
def test_mutations_are_refused_or_compiled(name: str) -> None:
    data = build_model(name)
    random = np.random.default_rng(20261122)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes = {"compiled": 0, "refused": 0}
    for _ in range(MUTATIONS_PER_MODEL):
        mutated = _mutated(data, random)
        started = time.process_time()
        try:
            scan_model(mutated)
            compile_model(mutated, CompileOptions("m"))
            outcomes["compiled"] += 1
        except CompilerError as error:
            outcomes["refused"] += bool(str(error))
        assert time.process_time() - started < SECONDS_PER_MUTATION
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < MEGABYTES * 1024, f"{grown // 1024} MB more"
    assert outcomes["refused"] > MUTATIONS_PER_MODEL // 4
    assert sum(outcomes.values()) == MUTATIONS_PER_MODEL


EXTREMES = (1e-45, 1e-38, 1e-20, 1e-9, 1e9, 1e20, 1e38, 3.4e38)


@pytest.mark.parametrize(
    "name", ["conv", "add", "squeeze_and_excite", "split_unequal", "variable", "softmax"]
)
def test_extreme_scales_are_refused_or_compiled(name: str) -> None:
    """Every scale of the model in turn; infinities and NaN would raise as warnings, too."""
    data = build_model(name)
    scales = {
        np.float32(scale).tobytes()
        for tensor in read_tflite(data).tensors
        if tensor.quant is not None
        for scale in tensor.quant.scales
    }
    refused = 0
    for scale in sorted(scales):
        for extreme in EXTREMES:
            mutated = data.replace(scale, np.float32(extreme).tobytes())
            for options in (CompileOptions("m"), CompileOptions("m", output="int32")):
                try:
                    scan_model(mutated, options)
                    compile_model(mutated, options)
                except CompilerError:
                    refused += 1
    assert refused


@pytest.mark.parametrize("name", ["conv_stride_valid", "average_pool", "max_pool_same"])
def test_a_window_that_stands_still_is_damage(name: str) -> None:
    """Every 2 and 3 in the file becomes 0 in turn; some of them are strides."""
    data = build_model(name)
    messages = []
    for place in range(0, len(data) - 4, 4):
        if data[place : place + 4] in (b"\2\0\0\0", b"\3\0\0\0"):
            mutated = data[:place] + bytes(4) + data[place + 4 :]
            try:
                scan_model(mutated)
            except CompilerError as error:
                messages.append(str(error))
    assert any("has stride_" in message for message in messages)


def test_an_operator_on_constants_only() -> None:
    """The first operand, tensor 0 of the file, becomes each other tensor in turn."""
    data = build_model("conv")
    model = read_tflite(data)
    first = np.array(model.operators[0].inputs, np.int32).tobytes()
    assert data.count(first) == 1
    refused = 0
    for number in range(1, len(model.tensors)):
        operands = np.array((number, *model.operators[0].inputs[1:]), np.int32).tobytes()
        try:
            refused += not scan_model(data.replace(first, operands)).supported
        except CompilerError:
            refused += 1
    assert refused == len(model.tensors) - 1


@pytest.mark.parametrize("data", [b"", b"TFL3", bytes(4096), b"\0\0\0\0TFL3" + bytes(200)])
def test_not_a_model(data: bytes) -> None:
    with pytest.raises(ModelFormatError):
        compile_model(data, CompileOptions("m"))


@pytest.mark.parametrize("name", ["", "9lives", "a-b", "../up", "a/b", "a b", "x" * 201, "é"])
def test_names_that_are_no_identifiers(name: str) -> None:
    with pytest.raises(ModelFormatError, match="no C identifier"):
        compile_model(build_model("conv"), CompileOptions(name))


REWIRED = ("dense", "split_equal", "concat_three", "add_constant_column", "squeeze_and_excite")


@pytest.mark.parametrize("name", REWIRED)
def test_rewired_operands_are_refused_or_compiled(name: str) -> None:
    """Every operand of every operator is replaced by every tensor, and by none."""
    data = build_model(name)
    model = read_tflite(data)
    tried = 0
    for op in model.operators:
        old = np.array(op.inputs, np.int32).tobytes()
        if data.count(old) != 1:
            continue
        for position in range(len(op.inputs)):
            for tensor in range(-1, len(model.tensors)):
                operands = np.array(op.inputs, np.int32)
                operands[position] = tensor
                with contextlib.suppress(CompilerError):
                    scan_model(data.replace(old, operands.tobytes()))
                tried += 1
    assert tried > 10
