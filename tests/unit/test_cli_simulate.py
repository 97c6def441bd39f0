"""`axonrig simulate`, as a user types it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compiler import CompileOptions, Dims, compile_model, encode, interpret
from harness.cli import main
from harness.errors import ExitCode
from harness.golden import golden_outputs
from harness.model_file import DEFAULT_DATA, DEFAULT_MODEL

GOLDEN = Path(__file__).parents[2].parent / "shared" / "golden"
needs_golden = pytest.mark.skipif(
    not GOLDEN.is_dir(), reason="the recorded golden models are not here"
)
MODEL = str(DEFAULT_MODEL)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AXONRIG_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def pixels() -> np.ndarray:
    with np.load(DEFAULT_DATA) as archive:
        return np.asarray(archive["x"][:4])


def simulate(*words: object) -> int:
    return main(["simulate", *(str(word) for word in words)])


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    status = simulate(*words)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("axonrig: ")
    return status, captured.err


def test_real_units_on_both_sides(pixels: np.ndarray) -> None:
    np.save("x.npy", pixels.astype(np.float32))
    assert simulate(MODEL, "--input", "x.npy", "--output", "o.npy") == 0
    real = np.load("o.npy")
    assert real.shape == (4, 1, 10, 1)
    assert real.dtype.kind == "f"
    golden = golden_outputs(DEFAULT_MODEL.read_bytes(), (pixels ^ 128).view(np.int8)).outputs[0]
    assert np.abs(real.reshape(4, 10) - (golden.astype(float) + 128) / 256).max() < 0.06
    assert np.allclose(real.sum(axis=(1, 2, 3)), 1, atol=0.02)


def test_raw_integers_and_every_layer_in_both_layouts(pixels: np.ndarray) -> None:
    codes = (pixels ^ 128).view(np.int8)
    np.save("x.npy", codes)
    np.save("chw.npy", codes.transpose(0, 3, 1, 2))
    common = ["--raw", "--output", "o.npy", "--layers", "l.npz"]
    assert simulate(MODEL, "--input", "x.npy", *common) == 0
    nhwc, layers = np.load("o.npy"), dict(np.load("l.npz"))
    assert simulate(MODEL, "--input", "chw.npy", "--chw", *common) == 0
    nchw, flipped = np.load("o.npy"), dict(np.load("l.npz"))
    program = compile_model(DEFAULT_MODEL.read_bytes(), CompileOptions(name="m"))
    execution = interpret(program, codes.transpose(0, 3, 1, 2))
    assert set(layers) == set(flipped) == {f"layer_{i}" for i in range(len(program.layers))}
    for index, expected in enumerate(execution.layers):
        assert flipped[f"layer_{index}"].dtype == expected.dtype
        assert np.array_equal(flipped[f"layer_{index}"], expected)
        assert np.array_equal(layers[f"layer_{index}"], expected.transpose(0, 2, 3, 1))
    assert np.array_equal(nchw, execution.outputs[0])
    assert np.array_equal(nhwc, execution.outputs[0].transpose(0, 2, 3, 1))
    assert nhwc.dtype == np.int8


def test_layers_do_not_change_the_outputs(pixels: np.ndarray) -> None:
    np.save("x.npy", pixels.astype(float))
    assert simulate(MODEL, "--input", "x.npy", "--output", "a.npy") == 0
    assert simulate(MODEL, "--input", "x.npy", "--output", "b.npy", "--layers", "l.npz") == 0
    assert np.array_equal(np.load("a.npy"), np.load("b.npy"))


def test_one_sample_may_leave_out_the_batch(pixels: np.ndarray) -> None:
    np.save("one.npy", pixels[0].astype(float))
    np.save("batch.npy", pixels[:1].astype(float))
    assert simulate(MODEL, "--input", "one.npy", "--output", "a.npy") == 0
    assert simulate(MODEL, "--input", "batch.npy", "--output", "b.npy") == 0
    assert np.array_equal(np.load("a.npy"), np.load("b.npy"))
    assert np.load("a.npy").shape == (1, 1, 10, 1)


def test_a_compiled_program_gives_the_same(pixels: np.ndarray) -> None:
    program = compile_model(DEFAULT_MODEL.read_bytes(), CompileOptions(name="m"))
    Path("m.bin").write_bytes(encode(program))
    np.save("x.npy", pixels.astype(float))
    assert simulate("m.bin", "--input", "x.npy", "--output", "a.npy") == 0
    assert simulate(MODEL, "--input", "x.npy", "--output", "b.npy") == 0
    assert np.array_equal(np.load("a.npy"), np.load("b.npy"))


def test_without_output_the_summary_is_printed(
    pixels: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save("x.npy", np.concatenate([pixels] * 3).astype(float))
    assert simulate(MODEL, "--input", "x.npy") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "digits_resnet8: 12 samples, 1 output, source sim"
    assert lines[1].startswith("sample 0: largest output ")
    assert lines[-1].startswith("... and 2 more")
    assert len(lines) == 12


@needs_golden
@pytest.mark.parametrize("shape", [(5, 640), (5, 640, 1), (5, 1, 640, 1), (640,)])
def test_vectors_need_no_map_axes(shape: tuple[int, ...]) -> None:
    codes = np.random.default_rng(3).integers(-128, 128, shape, np.int8)
    np.save("x.npy", codes)
    model = GOLDEN / "ad.tflite"
    assert simulate(model, "--raw", "--input", "x.npy", "--output", "o.npy") == 0
    golden = golden_outputs(model.read_bytes(), codes.reshape(-1, 640)).outputs[0]
    difference = np.load("o.npy").reshape(-1, 640).astype(int) - golden
    assert np.abs(difference).max() <= 1


@needs_golden
@pytest.mark.parametrize("name", ["ic_int8", "kws_t_int8", "fc_pc_i32", "s2b_conv2_i8", "ad_int8"])
def test_recorded_layers(name: str) -> None:
    with np.load(GOLDEN / f"{name}.npz") as archive:
        recorded = dict(archive)
    np.save("x.npy", recorded["test_input_vector_0"][None])
    words = ["--raw", "--chw", "--output", "o.npy", "--layers", "l.npz"]
    assert simulate(GOLDEN / f"{name}.bin", "--input", "x.npy", *words) == 0
    assert np.array_equal(np.load("o.npy")[0], recorded["expected_output_vector_0"])
    for key, values in np.load("l.npz").items():
        expected = recorded[f"expected_output_vector_0_{key}"]
        assert np.array_equal(values.reshape(expected.shape), expected)


@needs_golden
def test_several_outputs_need_an_npz(capsys: pytest.CaptureFixture[str]) -> None:
    model = GOLDEN / "multi_out3_w8_i8.bin"
    np.save("x.npy", np.zeros((2, 6, 8, 4)))
    status, text = refused(capsys, model, "--input", "x.npy", "--output", "o.npy")
    assert status == ExitCode.INPUT
    assert "has 3 outputs" in text
    assert not Path("o.npy").exists()
    assert simulate(model, "--input", "x.npy", "--output", "o.npz") == 0
    shapes = [array.shape for _, array in sorted(np.load("o.npz").items())]
    assert shapes == [(2, 3, 4, 3), (2, 6, 8, 2), (2, 6, 8, 8)]


@needs_golden
def test_wide_outputs_keep_their_type_when_raw() -> None:
    np.save("x.npy", np.zeros((2, 70), np.int8))
    model = GOLDEN / "fc_pc_i32.bin"
    assert simulate(model, "--raw", "--input", "x.npy", "--output", "o.npy") == 0
    assert np.load("o.npy").dtype == np.int32


BAD_INPUTS: dict[str, tuple[object, list[str], str]] = {
    "shape": (np.zeros((2, 3, 32, 32)), [], "the program takes [N, H, W, C] = [N, 32, 32, 3]"),
    "chw shape": (np.zeros((2, 32, 32, 3)), ["--chw"], "[N, C, H, W] = [N, 3, 32, 32]"),
    "nan": (np.full((1, 32, 32, 3), np.nan), [], "NaN or infinity"),
    "raw float": (np.zeros((1, 32, 32, 3)), ["--raw"], "--raw takes the int8 integers"),
    "raw range": (np.full((1, 32, 32, 3), 200), ["--raw"], "from 200 to 200"),
    "empty": (np.zeros((0, 32, 32, 3)), [], "no samples"),
    "objects": (np.array([None]), [], "pickled"),
    "text": (np.array(["a"]), [], "expected numbers"),
}


@pytest.mark.parametrize("name", BAD_INPUTS)
def test_bad_inputs_are_one_sentence(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    array, words, pattern = BAD_INPUTS[name]
    with Path("x.npy").open("wb") as stream:
        np.save(stream, array)  # type: ignore[arg-type]  # objects are part of the test
    status, text = refused(capsys, MODEL, "--input", "x.npy", "--output", "o.npy", *words)
    assert status == ExitCode.INPUT
    assert pattern in text
    assert sorted(path.name for path in Path().iterdir()) == ["x.npy"]


@pytest.mark.parametrize(
    ("words", "pattern"),
    [
        (["none.tflite", "--input", "x.npy"], "No such file"),
        (["noise.bin", "--input", "x.npy"], "axonrig: "),
        (["wrong.bin", "--input", "x.npy"], "wrong.bin is no program that the NPU can run: layer "),
        ([MODEL, "--input", "int8.npy"], "add --raw"),
        ([MODEL, "--input", "none.npy"], "No such file"),
        ([MODEL, "--input", "x.npy", "--output", "no/o.npy"], "the folder no does not exist"),
        ([MODEL, "--input", "x.npy", "--layers", "."], "is a folder"),
    ],
)
def test_bad_files_are_one_sentence(
    words: list[str], pattern: str, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save("x.npy", np.zeros((1, 32, 32, 3)))
    np.save("int8.npy", np.zeros((1, 32, 32, 3), np.int8))
    Path("noise.bin").write_bytes(bytes(range(256)))
    program = compile_model(DEFAULT_MODEL.read_bytes(), CompileOptions(name="m"))
    first = replace(program.layers[0], output_dims=Dims(16, 31, 32, 1))
    layers = (first, *program.layers[1:])
    Path("wrong.bin").write_bytes(encode(replace(program, layers=layers)))
    status, text = refused(capsys, *words)
    assert status == ExitCode.INPUT
    assert pattern in text
