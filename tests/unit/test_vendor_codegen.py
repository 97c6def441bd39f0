"""Code generation with a library of our own that refuses, crashes, hangs and lies on request."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler import (
    AxonProgram,
    CompileOptions,
    Dims,
    Op,
    UnsupportedError,
    compile_model,
    decode,
    interpret,
)
from harness.cli import main
from harness.compiled import Compiled, Source, gather
from harness.errors import ConfigError, ToolchainError
from harness.model_file import DEFAULT_DATA, DEFAULT_MODEL
from harness.vendor import codegen, worker
from harness.vendor.codegen import generate
from harness.vendor.driver import (
    generate_for,
    layers_header,
    model_header,
    model_source,
    npu_model,
)
from harness.vendor.process import last_lines, run_library
from harness.vendor.result_codes import REFUSALS, Fault, refusal_of
from harness.vendor.sdk import VARIABLE, Sdk, find_sdk
from tests.support.operator_models import build_model
from tests.support.programs import convolution, program_of
from tests.support.vendor_sdk import ACT, ROWS, build_library, make_checkout

SEED = np.random.default_rng(3)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AXONRIG_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = build_library(tmp_path_factory.mktemp("library"))
    return make_checkout(tmp_path_factory.mktemp("sdk"), library)


@pytest.fixture(scope="module")
def sdk(checkout: Path) -> Sdk:
    return find_sdk({VARIABLE: str(checkout)})


@pytest.fixture
def compiled() -> Compiled:
    """Two convolutions over 4 x 4 x 2."""
    dims = Dims(4, 4, 2)
    weights = SEED.integers(-9, 9, (2, 2, 1, 1)).tolist()
    bias = np.array([1, 2], np.int32)
    first = convolution(dims, weights, dims, bias=bias)
    program = program_of(
        first, convolution(dims, weights, dims, bias=bias, shift=3, producer=0), name="Sample"
    )
    return gather("Sample", program, CompileOptions(name="Sample"), Source("x.tflite", b"model"))


def rows_of(program: AxonProgram, vectors: Any) -> str:
    """What a simulator that agrees with our reference would write."""
    layers = interpret(program, vectors).layers
    return "".join(
        ",".join(map(str, np.asarray(layer).reshape(len(vectors), -1)[k].tolist())) + ",\n"
        for k in range(len(vectors))
        for layer in layers
    )


@pytest.fixture
def simulate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Sets what the library's simulator computes."""

    def setter(rows: str) -> None:
        (tmp_path / "rows.csv").write_text(rows)
        monkeypatch.setenv(ROWS, str(tmp_path / "rows.csv"))

    return setter


def test_a_persistent_variable_has_no_row(sdk: Sdk, simulate: Callable[[str], None]) -> None:
    program = compile_model(build_model("variable"), CompileOptions(name="state"))
    place = [layer.op for layer in program.layers].index(Op.PERSISTENT_VARIABLE)
    rows = random_rows(program).splitlines(keepends=True)
    simulate("".join(rows[:place] + rows[place + 1 :]))
    made = generate(gather("state", program, CompileOptions("state"), Source("x", b"")), sdk)
    assert made.layers[0][place].size == 0
    assert made.layers[0][-1].shape == program.layers[-1].output_dims.shape
    assert made.disagreements == ()


def test_layer_models_without_vectors(
    compiled: Compiled, sdk: Sdk, simulate: Callable[[str], None]
) -> None:
    simulate(random_rows(compiled.program))
    made = generate(compiled, sdk, layer_models=True)
    header = layers_header(compiled.program)
    assert set(made.headers) == {model_header(compiled.program), header}
    assert '#include "' + header in model_source(
        compiled.program, made, npu_model(compiled.program)
    )


def test_layers_of_a_model_with_variables_cannot_be_timed() -> None:
    program = compile_model(build_model("variable"), CompileOptions(name="state"))
    with pytest.raises(ConfigError, match=r"state has persistent variables.* --layer-times"):
        generate_for(program, layer_models=True)


def random_rows(program: AxonProgram) -> str:
    """The right answer to the vector that is run when none is given."""
    return rows_of(program, codegen._random_vector(program))


# --- success -------------------------------------------------------------------------------------


def test_sizes_ticks_and_the_header(
    compiled: Compiled, sdk: Sdk, simulate: Callable[[str], None]
) -> None:
    simulate(random_rows(compiled.program))
    made = generate(compiled, sdk)
    assert list(made.headers) == ["nrf_axon_model_sample_.h"]
    assert b'.model_name = "sample"' in made.headers["nrf_axon_model_sample_.h"]
    assert made.facts() == {
        "versions": sdk.facts(),
        "constant_bytes": 100,
        "interlayer_bytes": 200,
        "psum_bytes": 0,
        "command_buffer_bytes": 200,
        "inference": {
            "source": "vendor-sim",
            "ticks": 12345,
            "vectors": 1,
            "vectors_origin": "random",
            "layers": 2,
            "unequal_to_reference": [],
        },
    }
    assert made.footprint.flash_bytes == 300
    assert made.footprint.ram_bytes == 200
    assert made.footprint.cycles == 12345


def test_own_vectors_give_three_headers_and_every_layer(
    compiled: Compiled, sdk: Sdk, simulate: Callable[[str], None]
) -> None:
    vectors = SEED.integers(-128, 128, (3, 2, 4, 4)).astype(np.int8)
    simulate(rows_of(compiled.program, vectors))
    made = generate(compiled, sdk, vectors)
    assert sorted(made.headers) == [
        "nrf_axon_model_sample_.h",
        "nrf_axon_model_sample_layers_.h",
        "nrf_axon_model_sample_test_vectors_.h",
    ]
    ours = interpret(compiled.program, vectors).layers
    assert len(made.layers) == 3
    for k in range(3):
        for index in range(2):
            assert np.array_equal(made.layers[k][index], ours[index][k])
    assert made.facts()["inference"]["vectors_origin"] == "test data"


def test_a_layer_that_differs_is_named(
    compiled: Compiled, sdk: Sdk, simulate: Callable[[str], None]
) -> None:
    rows = random_rows(compiled.program).splitlines()
    values = rows[1].strip(",").split(",")
    values[5] = str(int(values[5]) - 3)
    simulate("\n".join([rows[0], ",".join(values)]))
    (found,) = generate(compiled, sdk).disagreements
    assert (found.layer, found.max_lsb, found.approximation) == (1, 3, False)


# --- refusals ------------------------------------------------------------------------------------


def test_a_refusal_names_layer_code_and_whose_fault_it_is(
    compiled: Compiled, sdk: Sdk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ACT, "refuse:-239")
    with pytest.raises(UnsupportedError) as caught:
        generate(compiled, sdk)
    text = str(caught.value)
    assert "refused layer 1 (conv2d): INVALID_FILTER_SIZE (-239): height" in text
    assert "INVALID FILTER!" in text
    assert "this is a fault of axonrig, please report it" in text


@pytest.mark.parametrize("code", sorted(REFUSALS))
def test_every_code_has_its_sentence(
    code: int, compiled: Compiled, sdk: Sdk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ACT, f"refuse:{code}")
    refusal = REFUSALS[code]
    expected = ToolchainError if refusal.fault is Fault.TOOL else UnsupportedError
    with pytest.raises(expected) as caught:
        generate(compiled, sdk)
    assert f"{refusal.name} ({code}): {refusal.meaning}" in str(caught.value)
    assert ("please report" in str(caught.value)) == (refusal.fault is Fault.OURS)


def test_an_unknown_code(compiled: Compiled, sdk: Sdk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ACT, "refuse:-999")
    with pytest.raises(ToolchainError, match=r"unknown result \(-999\): this code is not in"):
        generate(compiled, sdk)
    assert refusal_of(-999).fault is Fault.TOOL


def test_the_simulator_refuses(
    compiled: Compiled, sdk: Sdk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ACT, "infer:-227")
    with pytest.raises(UnsupportedError, match="to run the model in its simulator: INFERENCE_FAIL"):
        generate(compiled, sdk)


# --- crashes, hangs, nonsense --------------------------------------------------------------------


def test_a_crash_keeps_the_last_words(
    compiled: Compiled, sdk: Sdk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ACT, "abort")
    message = r"crashed \(SIGABRT\); its last lines: .*the last words of the library"
    with pytest.raises(ToolchainError, match=message):
        generate(compiled, sdk)


def test_an_early_exit_is_no_answer(
    compiled: Compiled, sdk: Sdk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ACT, "exit")
    with pytest.raises(ToolchainError, match=r"ended the process without an answer; .* gone"):
        generate(compiled, sdk)


def test_an_endless_loop_is_stopped(
    compiled: Compiled, sdk: Sdk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ACT, "hang")
    with pytest.raises(ToolchainError, match=r"did not return within 2 s .* thinking"):
        generate(compiled, sdk, timeout_s=2)


def test_endless_output_does_not_fill_the_disk(
    sdk: Sdk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ACT, "chatter")
    copy = tmp_path / "worker.py"
    source = Path(worker.__file__).read_text()
    copy.write_text(source.replace("= 1 << 30", "= 1 << 20"))
    assert "= 1 << 20" in copy.read_text()
    monkeypatch.setattr(worker, "__file__", str(copy))
    (tmp_path / "m.bin").write_bytes(b"")
    with pytest.raises(ToolchainError, match=r"crashed \(SIGXFSZ\); its last lines: .*and on and"):
        run_library(sdk.compiler_library, ["-bm.bin"], tmp_path, "compile", 60)
    assert (tmp_path / worker.LOG).stat().st_size <= 1 << 20


@pytest.mark.parametrize(
    ("act", "message"),
    [
        ("no_header", "reports success, but nrf_axon_model_sample_.h is not there; it left"),
        ("name", "lacks the model's name"),
        ("size", "lacks an interlayer buffer of 200 bytes"),
    ],
)
def test_a_header_that_is_not_what_was_asked_for(
    act: str,
    message: str,
    compiled: Compiled,
    sdk: Sdk,
    monkeypatch: pytest.MonkeyPatch,
    simulate: Callable[[str], None],
) -> None:
    simulate(random_rows(compiled.program))
    monkeypatch.setenv(ACT, act)
    with pytest.raises(ToolchainError, match=message):
        generate(compiled, sdk)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("", r"gave 0 layer outputs; expected 2 \(1 vectors, 2 layers\)"),
        ("1,2,\n3,4,\n", r"gave 2 values for layer 0 \(conv2d\); expected 32"),
        ("a,b,\n", "cannot be read"),
        ("1,,2\n", "cannot be read"),
    ],
)
def test_outputs_that_make_no_sense(
    rows: str, message: str, compiled: Compiled, sdk: Sdk, simulate: Callable[[str], None]
) -> None:
    simulate(rows)
    with pytest.raises(ToolchainError, match=message):
        generate(compiled, sdk)


def test_last_lines_are_short() -> None:
    assert last_lines("") == "(it printed nothing)"
    assert last_lines("\n \na\n\nb\n") == "a | b"
    assert last_lines("x" * 500) == "x" * 200 + "..."
    assert last_lines("".join(f"{k}\n" for k in range(20))).split(" | ")[0] == "14"


# --- the command ---------------------------------------------------------------------------------


def only_error(capsys: pytest.CaptureFixture[str]) -> str:
    message = capsys.readouterr().err
    assert message.startswith("axonrig: ")
    assert message.count("\n") == 1
    return message


@pytest.fixture
def embedded(tmp_path: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> AxonProgram:
    """The embedded model's program; the command finds the made-up checkout."""
    assert main(["compile", str(DEFAULT_MODEL), "-o", str(tmp_path / "plain")]) == 0
    monkeypatch.setenv(VARIABLE, str(checkout))
    (path,) = (tmp_path / "plain").glob("*.bin")
    return decode(path.read_bytes())


def test_compiling_a_model_for_the_npu(
    embedded: AxonProgram,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    simulate: Callable[[str], None],
) -> None:
    simulate(random_rows(embedded))
    out = tmp_path / "out"
    words = ["compile", str(DEFAULT_MODEL), "-o", str(out), "--name", "Digits", "--target", "npu"]
    assert main(words) == 0
    names = ["Digits.bin", "Digits.json", "Digits.txt", "nrf_axon_model_digits_.h"]
    assert sorted(path.name for path in out.iterdir()) == names
    facts = json.loads((out / "Digits.json").read_text())
    assert facts["npu"]["versions"]["compiler_version"] == "1.4.0"
    assert facts["npu"]["inference"]["source"] == "vendor-sim"
    assert facts["sizes"]["flash_bytes"] == 300
    assert set(facts["files"]) == {"Digits.bin", "Digits.txt", "nrf_axon_model_digits_.h"}
    assert "12345 cycles (source vendor-sim)" in capsys.readouterr().out


def test_a_refused_model_leaves_nothing(
    embedded: AxonProgram,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    del embedded
    capsys.readouterr()
    monkeypatch.setenv(ACT, "refuse:-240")
    out = tmp_path / "out"
    assert main(["compile", str(DEFAULT_MODEL), "-o", str(out), "--target", "npu"]) == 1
    assert "INVALID_INPUT_SIZE (-240)" in only_error(capsys)
    assert not out.exists()


def test_a_job_gives_its_test_vectors_to_the_library(
    embedded: AxonProgram,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    simulate: Callable[[str], None],
) -> None:
    with np.load(DEFAULT_DATA, allow_pickle=False) as archive:
        np.save(tmp_path / "x.npy", archive["x"][:4])
        np.save(tmp_path / "y.npy", archive["y"][:4].astype(np.int64))
    (tmp_path / "net.tflite").write_bytes(DEFAULT_MODEL.read_bytes())
    (tmp_path / "job.yaml").write_text(
        "net:\n  model_name: Digits\n  tflite_model: net.tflite\n  test_data: x.npy\n"
        "  test_labels: y.npy\n  test_labels_format: just_labels\n"
        "  header_file_test_vector_cnt: 2\n"
    )
    assert main(["compile", str(tmp_path / "job.yaml")]) == 0
    with np.load(tmp_path / "output" / "Digits_vectors.npz", allow_pickle=False) as stored:
        vectors = np.stack([stored[f"test_input_vector_{k}"] for k in range(2)])
    simulate(rows_of(embedded, vectors))
    out = tmp_path / "npu"
    assert main(["compile", str(tmp_path / "job.yaml"), "--target", "npu", "-o", str(out)]) == 0
    facts = json.loads((out / "Digits.json").read_text())
    assert facts["npu"]["inference"]["vectors"] == 2
    assert facts["npu"]["inference"]["vectors_origin"] == "test data"
    assert (out / "nrf_axon_model_digits_test_vectors_.h").is_file()
    assert "source vendor-sim" in capsys.readouterr().out


def test_a_refused_job(
    embedded: AxonProgram,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    del embedded
    capsys.readouterr()
    monkeypatch.setenv(ACT, "refuse:-239")
    job = f"net:\n  model_name: Digits\n  tflite_model: {DEFAULT_MODEL}\n"
    (tmp_path / "job.yaml").write_text(job)
    assert main(["compile", str(tmp_path / "job.yaml"), "--target", "npu"]) == 1
    assert re.search(r"Digits: Nordic's code generator refused", only_error(capsys))
    assert not (tmp_path / "output").exists()
