"""Recorded programs and the embedded model through Nordic's own code generator and simulator."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from compiler import CompileOptions, Op, UnsupportedError, compile_model, decode
from harness.cli import main
from harness.compiled import Source, gather
from harness.model_file import DEFAULT_MODEL
from harness.vendor.codegen import generate, prefix_of
from harness.vendor.sdk import Sdk
from tests.support.golden import GOLDEN_DIR, VECTORS, golden_parameters, golden_run
from tests.support.vendor_sdk import real_sdk


@pytest.fixture(scope="module")
def sdk() -> Sdk:
    return real_sdk()


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AXONRIG_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("name", golden_parameters())
def test_recorded_run(name: str, sdk: Sdk) -> None:
    """Sizes, cycles and every output are those that were recorded with Nordic's own tools."""
    run = golden_run(name)
    facts = json.loads((GOLDEN_DIR / f"{name}.json").read_text())
    compiled = gather(name, run.program, CompileOptions(name=name), Source(name, b""))
    assert compiled.binary == (GOLDEN_DIR / f"{name}.bin").read_bytes()
    made = generate(compiled, sdk, run.inputs)
    assert {
        "model_const_buffer_size": made.constant_bytes,
        "interlayer_buffer_size": made.interlayer_bytes,
        "psum_buffer_size": made.psum_bytes,
        "cmd_buffer_size": 2 * made.command_buffer_bytes,  # in words of the library's host
    } == facts["memory_footprint"]
    assert made.ticks == facts["profiling_ticks"]
    for index, output in enumerate(made.layers[0]):
        assert np.array_equal(output.ravel(), run.layer(index).ravel()), f"layer {index}"
    for vector in range(VECTORS):
        for position, layer in enumerate(run.program.output_layers):
            recorded = run.output(vector, position)
            assert np.array_equal(made.layers[vector][layer].ravel(), recorded.ravel())
    for item in made.disagreements:
        assert item.approximation, item
        assert run.program.layers[item.layer].op is Op.SOFTMAX
    prefix = prefix_of(run.program)
    assert sorted(made.headers) == [
        f"{prefix}_.h",
        f"{prefix}_layers_.h",
        f"{prefix}_test_vectors_.h",
    ]
    assert f"[{facts['cmd_buffer_len_words']}]".encode() in made.headers[f"{prefix}_.h"]


@pytest.mark.parametrize("output", ["int8", "int32"])
def test_embedded_model(output: str, sdk: Sdk) -> None:
    options = CompileOptions(name="digits", output=output)  # type: ignore[arg-type]  # parametrized
    program = compile_model(DEFAULT_MODEL.read_bytes(), options)
    made = generate(gather("digits", program, options, Source("digits.tflite", b"")), sdk)
    assert made.ticks > 0
    assert all(item.approximation for item in made.disagreements)
    again = generate(gather("digits", program, options, Source("digits.tflite", b"")), sdk)
    assert again.headers == made.headers


def test_a_program_that_the_library_refuses(sdk: Sdk) -> None:
    """Nordic's front end wrote this binary, the code generator refused it: filter of 17."""
    path = GOLDEN_DIR / "neg_filter17_i8.bin"
    if not path.is_file():
        pytest.skip(f"no recorded runs at {GOLDEN_DIR}")
    program = decode(path.read_bytes())
    options = CompileOptions(name="neg")
    with pytest.raises(UnsupportedError, match=r"refused layer 0 \(conv2d\): .*\(-2\d\d\)"):
        generate(gather("neg", program, options, Source("neg.tflite", b"")), sdk)


@pytest.mark.parametrize(
    ("stem", "folder", "file"),
    [
        ("ic", "image_classification", "pretrainedResnet_quant.tflite"),
        ("ad", "anomaly_detection", "ad01_int8.tflite"),
    ],
)
def test_headers_that_nordic_published(
    stem: str, folder: str, file: str, sdk: Sdk, tmp_path: Path
) -> None:
    """Nordic's own job file, unmodified: byte for byte the header that the SDK carries."""
    if not GOLDEN_DIR.is_dir():
        pytest.skip(f"no recorded models at {GOLDEN_DIR}")
    job = f"compiler_sample_{stem}_input.yaml"
    samples = sdk.path / "tools" / "axon" / "compiler" / "scripts" / "models" / "tinyml"
    (tmp_path / job).write_bytes((samples / folder / job).read_bytes())
    (tmp_path / file).write_bytes((GOLDEN_DIR / f"{stem}.tflite").read_bytes())
    assert main(["compile", str(tmp_path / job), "--target", "npu"]) == 0
    header = f"nrf_axon_model_tinyml_{stem}_.h"
    published = sdk.path / "tests" / "axon" / "compiled_models" / header
    assert (tmp_path / "output" / header).read_bytes() == published.read_bytes()
