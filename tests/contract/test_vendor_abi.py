"""Nordic's public compiler header against our layouts and numbers, by compiling a probe of it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import pytest

from compiler import Activation, Axis, Op, abi
from harness.vendor.result_codes import REFUSALS
from harness.vendor.sdk import Sdk
from harness.vendor.worker import RESULT_WORDS
from tests.support.vendor_sdk import real_sdk

_DIMS: Final = "nrf_axon_nn_compiler_model_layer_dimensions_s"
_LAYER: Final = "nrf_axon_nn_model_layer_desc_s"
_RETURN: Final = "nrf_axon_nn_compiler_return_s"

STRUCTS: Final[dict[str, tuple[np.dtype[Any], dict[str, str]]]] = {
    "nrf_axon_nn_model_bin_item_s": (abi.ITEM, {"offset": "offset", "length": "length"}),
    "nrf_axon_nn_model_desc_hdr_s": (
        abi.HEADER,
        {
            "title": "title",
            "version": "version",
            "meta": "meta",
            "layers": "layers",
            "consts": "consts",
            "options": "compilation_option",
        },
    ),
    "nrf_axon_nn_model_quant_paramters_s": (
        abi.QUANTIZATION,
        {"multiplier": "mult", "shift": "round", "zero_point": "zero_point"},
    ),
    "nrf_axon_nn_model_meta_info_s": (
        abi.META,
        {
            "name": "model_name",
            "labels": "model_labels",
            "layer_count": "model_layer_cnt",
            "input": "input_quant",
            "output": "output_dequant",
        },
    ),
    _DIMS: (
        abi.DIMS,
        {
            "height": "height",
            "width": "width",
            "channels": "channel_cnt",
            "byte_width": "byte_width",
            "batch": "batch_cnt",
        },
    ),
    "nrf_axon_nn_compiler_model_input_split_offset_s": (
        abi.SPLIT,
        {"axis": "axis", "offset": "offset"},
    ),
    _LAYER: (
        abi.LAYER,
        {
            "input_count": "input_id_cnt",
            "input_ids": "input_ids",
            "op": "nn_operation",
            "input_dims": "input_dimensions",
            "splits": "input_split_offsets",
            "filter_dims": "filter_dimensions",
            "output_dims": "output_dimensions",
            "concat_axis": "concatenate_axis",
            "stride_x": "stride_x",
            "stride_y": "stride_y",
            "dilation_x": "dilation_x",
            "dilation_y": "dilation_y",
            "input_zero_point": "input_zero_point",
            "output_multiplier": "output_dequant_multiplier",
            "output_shift": "output_dequant_shift",
            "output_zero_point": "output_zero_point",
            "bias": "bias_prime",
            "multipliers": "output_multipliers",
            "shifts": "scale_shifts",
            "shift_count": "scale_shift_cnt",
            "activation": "activation_function",
            "pads": "unused",
            "filter": "filter",
            "cpu_attribute_count": "cpu_op_additional_attributes_count",
            "cpu_attributes": "cpu_op_additional_attributes",
        },
    ),
    "nrf_axon_nn_model_compilation_options_s": (
        abi.OPTIONS,
        {
            "interlayer_limit": "interlayer_buffer_size",
            "psum_limit": "psum_buffer_size",
            "test_vector_count": "header_file_test_vector_cnt",
            "conv2d_setting": "convolution_2d_setting",
            "log_level": "log_level",
            "psum_placement": "psum_buffer_placement",
        },
    ),
}

_OPS: Final = {
    Op.FULLY_CONNECTED: "FULLY_CONNECTED",
    Op.CONV2D: "CONV2D",
    Op.DEPTHWISE_CONV2D: "DEPTHWISE_CONV2D",
    Op.POINTWISE_CONV2D: "POINTWISE_CONV2D",
    Op.AVERAGE_POOL: "AVERAGE_POOLING",
    Op.MAX_POOL: "MAX_POOLING",
    Op.ADD: "ADD2",
    Op.CHANNEL_PAD: "CHANNEL_PADDING",
    Op.PERSISTENT_VARIABLE: "PERSISTENT_VAR",
    Op.CONCATENATE: "CONCATENATE",
    Op.STRIDED_SLICE: "STRIDED_SLICE",
    Op.MULTIPLY: "MULTIPLY",
    Op.LSTM: "UNIDIRECTIONAL_SEQUENCE_LSTM",
    Op.MEAN: "MEAN",
    Op.SOFTMAX: "SOFTMAX",
    Op.SIGMOID: "SIGMOID",
    Op.TANH: "TANH",
    Op.RESHAPE: "RESHAPE",
    Op.SPACE_TO_BATCH: "SPACE_TO_BATCH",
    Op.BATCH_TO_SPACE: "BATCH_TO_SPACE",
    Op.RESIZE_NEAREST: "RESIZE_NEAREST_NEIGHBOR",
}
NUMBERS: Final = {
    **{f"NRF_AXON_NN_OP_{name}": int(op) for op, name in _OPS.items()},
    "NRF_AXON_NN_ACTIVATION_FUNCTION_DISABLED": int(Activation.NONE),
    "NRF_AXON_NN_ACTIVATION_FUNCTION_RELU": int(Activation.RELU),
    "NRF_AXON_NN_ACTIVATION_FUNCTION_PREPARE_SOFTMAX": int(Activation.PREPARE_SOFTMAX),
    "NRF_AXON_NN_ACTIVATION_FUNCTION_LEAKY_RELU": int(Activation.LEAKY_RELU),
    "NRF_AXON_NN_AXIS_CHANNEL": int(Axis.CHANNEL),
    "NRF_AXON_NN_AXIS_HEIGHT": int(Axis.HEIGHT),
    "NRF_AXON_NN_AXIS_WIDTH": int(Axis.WIDTH),
    "NRF_AXON_NN_BYTEWIDTH_1": 1,
    "NRF_AXON_NN_BYTEWIDTH_2": 2,
    "NRF_AXON_NN_BYTEWIDTH_4": 4,
    "NRF_AXON_NN_CONV2D_SETTING_LOCAL_PSUM": 0,
    "NRF_AXON_NN_CONV2D_SETTING_INPUT_INNER_LOOP": 1,
    "NRF_AXON_NN_CONV2D_SETTING_INPUT_OUTER_LOOP": 2,
    "NRF_AXON_NN_PSUM_BUFFER_PLACEMENT_INTERLAYER_BUFFER": 0,
    "NRF_AXON_NN_PSUM_BUFFER_PLACEMENT_DEDICATED_MEM": 1,
    "NRF_AXON_NN_MAX_LAYER_INPUTS": abi.MAX_INPUTS,
}
RESULTS: Final = (
    "model_const_buffer_size",
    "interlayer_buffer_size",
    "psum_buffer_size",
    "cmd_buffer_size",
    "profiling_ticks",
)
PADS: Final = ("pad_left", "pad_right", "pad_top", "pad_bottom")


@pytest.fixture(scope="module")
def sdk() -> Sdk:
    return real_sdk()


@pytest.fixture(scope="module")
def probe(sdk: Sdk, tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """Numbers of the header by the expression that gives them."""
    header = sdk.types_header.read_text()
    codes = re.findall(r"\bNRF_AXON_COMPILER_RESULT_\w+", header)
    expressions = [*_layout_expressions(), *NUMBERS, *dict.fromkeys(codes)]
    lines = "".join(f'    printf("%lld\\n", (long long)({text}));\n' for text in expressions)
    folder = tmp_path_factory.mktemp("probe")
    (folder / "probe.c").write_text(
        "#include <stddef.h>\n#include <stdint.h>\n#include <stdio.h>\n"
        f'#include "{sdk.types_header.name}"\n'
        f"int main(void)\n{{\n{lines}    return 0;\n}}\n"
    )
    program = folder / "probe"
    command = [sys.executable, "-m", "ziglang", "cc", "-std=c11"]
    where = f"-I{sdk.types_header.parent}"
    built = _run([*command, where, "-o", str(program), str(folder / "probe.c")])
    assert built.returncode == 0, built.stderr
    values = _run([str(program)]).stdout.split()
    return dict(zip(expressions, map(int, values), strict=True))


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def _layout_expressions() -> Iterator[str]:
    for struct, (_, fields) in STRUCTS.items():
        yield f"sizeof({struct})"
        for name in fields.values():
            yield f"offsetof({struct}, {name})"
            yield f"sizeof((({struct} *)0)->{name})"
    for name in PADS:
        yield f"offsetof({_LAYER}, {name})"
    for name in RESULTS:
        yield f"offsetof({_RETURN}, {name})"
    yield f"sizeof({_RETURN})"


def _field(layout: np.dtype[Any], name: str) -> tuple[np.dtype[Any], int]:
    """Type and offset."""
    assert layout.fields is not None
    kind, offset, *_ = layout.fields[name]
    return kind, offset


@pytest.mark.parametrize("struct", STRUCTS)
def test_layout(struct: str, probe: dict[str, int]) -> None:
    layout, fields = STRUCTS[struct]
    assert layout.names is not None
    assert set(fields) == set(layout.names)
    assert probe[f"sizeof({struct})"] == layout.itemsize
    for ours, theirs in fields.items():
        kind, offset = _field(layout, ours)
        assert probe[f"offsetof({struct}, {theirs})"] == offset, theirs
        assert probe[f"sizeof((({struct} *)0)->{theirs})"] == kind.itemsize, theirs


def test_padding_is_left_right_top_bottom(probe: dict[str, int]) -> None:
    _, start = _field(abi.LAYER, "pads")
    assert [probe[f"offsetof({_LAYER}, {name})"] - start for name in PADS] == [0, 1, 2, 3]


def test_the_answer_is_five_words(probe: dict[str, int]) -> None:
    assert probe[f"sizeof({_RETURN})"] == 4 * RESULT_WORDS
    assert [probe[f"offsetof({_RETURN}, {name})"] for name in RESULTS] == [0, 4, 8, 12, 16]


def test_numbers(probe: dict[str, int]) -> None:
    assert set(_OPS) == set(Op)
    assert {name: probe[name] for name in NUMBERS} == NUMBERS


def test_every_operation_of_the_header_is_known(sdk: Sdk) -> None:
    body = re.search(r"typedef enum \{([^}]*)\} nrf_axon_nn_op_e;", sdk.types_header.read_text())
    assert body is not None
    code = re.sub(r"/\*.*?\*/", "", body.group(1), flags=re.DOTALL)
    names = set(re.findall(r"^\s*NRF_AXON_NN_OP_(\w+)", code, re.MULTILINE))
    assert names == {*_OPS.values(), "FIRST_EXTENSION"}


def test_result_codes(probe: dict[str, int]) -> None:
    prefix = "NRF_AXON_COMPILER_RESULT_"
    theirs: dict[int, set[str]] = {}
    for name, value in probe.items():
        if name.startswith(prefix) and value:
            theirs.setdefault(value, set()).add(name.removeprefix(prefix))
    ours = {code: set(refusal.name.split(" or ")) for code, refusal in REFUSALS.items()}
    assert ours == theirs
