"""Programs equal those that Nordic's front end wrote; what it refused, we refuse."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from compiler import (
    AxonProgram,
    CompileOptions,
    UnsupportedError,
    compile_model,
    decode,
    differences,
    encode,
    scan_model,
    verify,
)

GOLDEN = Path(__file__).parents[3] / "shared" / "golden"
ABSENT = "recorded programs are not beside this checkout (../shared/golden)"

# What the tools said at the time -> what our sentence must name.
REFUSALS = {
    "neg_filter17_i8": ("CONV_2D", "17x3"),
    "neg_float32_i8": ("float32", "int8"),
    "neg_transpose_conv_i8": ("TRANSPOSE_CONV",),
    "neg_two_inputs_i8": ("2 inputs",),
    "neg_two_inputs_nodata": ("2 inputs",),
    "resize_nn_i32": ("RESIZE_NEAREST_NEIGHBOR", "int32"),
}
# What Nordic's front end refused, and we rewrite.
REWRITTEN = ("neg_avgpool_same_i8", "neg_dw_mult2_i8")


def _records() -> Iterator[tuple[str, dict[str, Any]]]:
    if GOLDEN.is_dir():
        index = json.loads((GOLDEN / "index.json").read_text())
        for name in sorted(index):
            yield name, json.loads((GOLDEN / f"{name}.json").read_text())


ACCEPTED = [
    pytest.param(name, record, id=name) for name, record in _records() if record["accepted"]
]
REFUSED = [
    pytest.param(name, record, id=name)
    for name, record in _records()
    if not record["accepted"] and name not in REWRITTEN
]
NONE = [pytest.param("", {}, marks=pytest.mark.skip(reason=ABSENT))]


def _options(record: dict[str, Any], recorded: AxonProgram | None = None) -> CompileOptions:
    extra: dict[str, Any] = {}
    if recorded is not None:
        extra = {"labels": recorded.labels, "limits": recorded.options}
    return CompileOptions(
        name=record["model"],
        output="int32" if record["disable_op_quantization"] else "int8",
        transpose=record["transpose_kernel"],
        skip_softmax=record.get("skip_softmax_op", False),
        op_radix=record["op_radix"],
        **extra,
    )


@pytest.mark.parametrize(("name", "record"), ACCEPTED or NONE)
def test_program_equals_the_recorded_one(name: str, record: dict[str, Any]) -> None:
    recorded = (GOLDEN / f"{name}.bin").read_bytes()
    program = decode(recorded)
    data = (GOLDEN / record["tflite"]).read_bytes()
    compiled = compile_model(data, _options(record, program))
    assert list(differences(compiled, program)) == []
    assert encode(compiled) == recorded
    assert encode(program) == recorded


@pytest.mark.parametrize(("name", "record"), REFUSED or NONE)
def test_refusal_names_the_reason(name: str, record: dict[str, Any]) -> None:
    data = (GOLDEN / record["tflite"]).read_bytes()
    with pytest.raises(UnsupportedError) as refusal:
        compile_model(data, _options(record))
    for part in REFUSALS[name]:
        assert part in str(refusal.value)
    report = scan_model(data, _options(record))
    assert not report.supported
    assert all(violation.advice for violation in report.violations)


@pytest.mark.parametrize("name", REWRITTEN)
def test_refusal_of_the_tools_that_we_rewrite(name: str) -> None:
    if not GOLDEN.is_dir():
        pytest.skip(ABSENT)
    record = dict(_records())[name]
    assert not record["accepted"]
    data = (GOLDEN / record["tflite"]).read_bytes()
    verify(compile_model(data, _options(record)))


def test_every_recorded_model_is_covered() -> None:
    if not GOLDEN.is_dir():
        pytest.skip(ABSENT)
    assert len(ACCEPTED) == 35
    assert {param.id for param in REFUSED} == set(REFUSALS)
