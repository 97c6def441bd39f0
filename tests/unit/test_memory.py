"""The memory plan: exact on what was recorded, sound on anything."""

from __future__ import annotations

import json

import numpy as np
import pytest

from compiler import (
    EXTERNAL_INPUT,
    AxonProgram,
    CompilerError,
    Dims,
    Layer,
    LayerInput,
    Op,
    Pads,
    Quantization,
)
from compiler.arch import load_arch
from compiler.memory import (
    INPUT,
    SCRATCH,
    TENSOR,
    MemoryPlan,
    check_limits,
    command_bytes,
    constant_bytes,
    footprint,
    plan,
    tensor_bytes,
)
from compiler.shapes import program_shapes
from tests.support.golden import GOLDEN_DIR, golden_names, golden_parameters, golden_run
from tests.support.random_programs import random_program
from tests.support.recorded_layers import RECORDED, recorded_program, records

recorded_layers = pytest.mark.skipif(
    not RECORDED.exists(), reason=f"no recorded layers at {RECORDED}"
)


def program(*layers: Layer) -> AxonProgram:
    none = Quantization(1, 0, 0)
    return AxonProgram("m", layers, none, none)


def layer(op: Op, source: Dims, out: Dims, producer: int = EXTERNAL_INPUT, **kw: object) -> Layer:
    return Layer(op, (LayerInput(producer, source),), out, **kw)  # type: ignore[arg-type]  # by name


def conv(source: Dims, out: Dims, producer: int = EXTERNAL_INPUT) -> Layer:
    pads = Pads(1, 1, 1, 1)
    filter_dims = Dims(3, 3, source.channels)
    return layer(Op.CONV2D, source, out, producer, filter_dims=filter_dims, pads=pads)


def offsets(where: MemoryPlan, kind: str = TENSOR) -> list[int]:
    return [slot.offset for slot in where.slots if slot.kind == kind]


@pytest.mark.parametrize("name", golden_parameters())
def test_recorded_runs_need_what_was_recorded(name: str) -> None:
    record = json.loads((GOLDEN_DIR / f"{name}.json").read_text(encoding="utf-8"))
    sizes, recorded = footprint(golden_run(name).program), record["memory_footprint"]
    assert sizes.interlayer_exact
    assert sizes.interlayer_bytes == recorded["interlayer_buffer_size"]
    assert sizes.interlayer_bytes == record["max_il_buffer_used"]
    assert sizes.psum_bytes == recorded["psum_buffer_size"] == 0
    assert sizes.constant_bytes == recorded["model_const_buffer_size"]
    assert sizes.command_bytes == pytest.approx(4 * record["cmd_buffer_len_words"], rel=0.12)
    assert sizes.persistent_bytes == record["persistent_var_count"] == 0


@pytest.mark.skipif(not golden_names(), reason=f"no recorded runs at {GOLDEN_DIR}")
def test_command_buffers_of_the_mlperf_models_are_within_three_percent() -> None:
    for name in ("ic_int8", "kws_int8", "kws_t_int8", "vww_int8", "ad_int8"):
        record = json.loads((GOLDEN_DIR / f"{name}.json").read_text(encoding="utf-8"))
        sizes = footprint(golden_run(name).program)
        assert sizes.command_bytes == pytest.approx(4 * record["cmd_buffer_len_words"], rel=0.03)


@recorded_layers
def test_recorded_layers_take_the_recorded_buffer() -> None:
    """Of over 2,200 recorded small models, one is predicted differently (by four bytes)."""
    wrong, checked = [], 0
    for record in records():
        model = recorded_program(record)
        if model is None:
            continue
        checked += 1
        size = plan(model).interlayer_bytes
        if size != int(record["interlayer_bytes"]):
            wrong.append((record, size))
        constants = constant_bytes(program_shapes(model)[-1])
        assert constants == int(record["const_bytes"]), record
    assert checked > 2200
    assert len(wrong) <= 1


@recorded_layers
def test_recorded_command_bytes_are_near() -> None:
    arch, errors = load_arch(), []
    for record in records():
        model = recorded_program(record)
        if model is None or "ps:1" in record["extra"]:
            continue
        first, last = program_shapes(model)[0], program_shapes(model)[-1]
        recorded = int(record["cmd_buffer_bytes"]) / 2  # of the library's 64-bit host
        errors.append(abs(command_bytes(last, arch, first) / recorded - 1))
    assert np.median(errors) < 0.05
    assert np.percentile(errors, 95) < 0.25


# --- the rules, by hand -------------------------------------------------------------------------


def test_rows_are_padded_and_the_external_input_is_packed() -> None:
    assert tensor_bytes(Dims(5, 5, 3)) == 5 * 8 * 3
    assert tensor_bytes(Dims(5, 5, 3, 4)) == 5 * 20 * 3
    assert tensor_bytes(Dims(5, 5, 3), packed=True) == 76
    assert tensor_bytes(Dims(2, 4, 1, 1, 4)) == 32


def test_a_convolution_cannot_write_over_its_input() -> None:
    d = Dims(6, 10, 8)
    where = plan(program(conv(Dims(6, 10, 1), d), conv(d, d, 0), conv(d, d, 1)))
    assert offsets(where, INPUT) == [0]
    assert offsets(where) == [60, 636, 0]
    assert where.interlayer_bytes == 60 + 576 + 576
    assert where.exact
    assert where.bound_bytes == where.interlayer_bytes


def test_a_depthwise_convolution_writes_over_its_input_unless_needed_later() -> None:
    d = Dims(6, 10, 8)
    first = conv(Dims(6, 10, 1), d)
    deep = layer(Op.DEPTHWISE_CONV2D, d, d, 0, filter_dims=Dims(3, 3, 8), pads=Pads(1, 1, 1, 1))
    assert offsets(plan(program(first, deep))) == [60, 60]
    added = Layer(Op.ADD, (LayerInput(1, d), LayerInput(0, d)), d)
    assert offsets(plan(program(first, deep, added))) == [60, 636, 0]


def test_an_unstrided_pointwise_convolution_may_outgrow_its_input() -> None:
    d, wide = Dims(6, 10, 3), Dims(6, 10, 48)
    first = conv(Dims(6, 10, 1), d)
    point = layer(
        Op.POINTWISE_CONV2D, d, wide, 0, filter_dims=Dims(1, 1, 3), stride_x=1, stride_y=1
    )
    where = plan(program(first, point))
    assert offsets(where) == [60, 60]
    assert where.interlayer_bytes == 60 + 6 * 12 * 48


def test_means_need_room_for_their_sums() -> None:
    d = Dims(8, 8, 64)
    where = plan(program(conv(Dims(8, 8, 1), d), layer(Op.MEAN, d, Dims(1, 1, 64), 0, stride_x=8)))
    assert offsets(where, SCRATCH) == [64 + 4096]
    assert offsets(where) == [64, 64 + 4096 + 256]
    assert where.interlayer_bytes == 4672


def test_fully_connected_layers_run_in_place() -> None:
    vector, wide = Dims(1, 128, 1), Dims(1, 640, 1)
    first = layer(Op.FULLY_CONNECTED, wide, vector)
    second = layer(Op.FULLY_CONNECTED, vector, vector, 0)
    third = layer(Op.FULLY_CONNECTED, vector, wide, 1)
    where = plan(program(first, second, third))
    assert offsets(where) == [0, 0, 128]
    assert where.interlayer_bytes == 768


def test_outputs_of_the_program_stay_to_the_end() -> None:
    d = Dims(4, 4, 4)
    model = program(conv(d, d), conv(d, d, 0), conv(d, d, 0))
    where = plan(model)
    last = {slot.layer: slot.last_layer for slot in where.slots}
    assert last == {-1: 0, 0: 2, 1: 3, 2: 3}


def test_unknown_working_memory_is_said_and_bounded() -> None:
    d = Dims(1, 8, 1)
    where = plan(program(layer(Op.FULLY_CONNECTED, d, d), layer(Op.LSTM, d, d, 0)))
    assert not where.exact
    assert where.uncertain == (1,)
    assert where.bound_bytes >= where.interlayer_bytes


def test_persistent_variables_are_counted() -> None:
    d = Dims(1, 10, 1)
    assert footprint(program(layer(Op.PERSISTENT_VARIABLE, d, d))).persistent_bytes == 12


def test_a_limit_names_the_layer_that_passes_it() -> None:
    d = Dims(6, 10, 8)
    model = program(conv(Dims(6, 10, 1), d), conv(d, d, 0))
    check_limits(model, 1212, 0)
    with pytest.raises(
        CompilerError, match=r"layer 1 conv2d needs .* 1212 bytes, the limit is 1211"
    ):
        check_limits(model, 1211, 0)
    big = program(layer(Op.FULLY_CONNECTED, Dims(1, 400, 1), Dims(1, 4, 1)))
    with pytest.raises(CompilerError, match="layer 0 fully_connected"):
        check_limits(big, 100, 0)


# --- any program --------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(120))
def test_what_is_alive_together_does_not_overlap(seed: int) -> None:
    model = random_program(seed)
    where = plan(model)
    slots = where.slots
    assert max(s.offset + s.size for s in slots) == where.interlayer_bytes <= where.bound_bytes
    assert all(s.offset % 4 == 0 and s.size % 4 == 0 and s.size > 0 for s in slots)
    for index in range(len(model.layers) + 1):
        alive = [s for s in slots if s.first_layer <= index <= s.last_layer]
        for i, a in enumerate(alive):
            for b in alive[i + 1 :]:
                apart = a.offset + a.size <= b.offset or b.offset + b.size <= a.offset
                # a layer may write over an input that nothing needs after it
                over = index == b.first_layer == a.last_layer and SCRATCH not in (a.kind, b.kind)
                assert apart or over, (index, a, b)
