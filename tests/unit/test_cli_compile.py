"""`axonrig compile`: bare models, job files with test sets, variants, handlers, and bad input."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler import decode
from harness.cli import main
from harness.data import quantize
from harness.errors import ConfigError
from harness.jobs import _score
from harness.model_file import DEFAULT_DATA, DEFAULT_MODEL

GOLDEN = Path(__file__).parents[2].parent / "shared" / "golden"
SAMPLES = 12


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AXONRIG_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A folder with the embedded model and a small test set of its own images."""
    folder = tmp_path / "workspace"
    folder.mkdir()
    (folder / "net.tflite").write_bytes(DEFAULT_MODEL.read_bytes())
    with np.load(DEFAULT_DATA, allow_pickle=False) as archive:
        x, y = archive["x"][:SAMPLES], archive["y"][:SAMPLES].astype(np.int64)
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", y)
    np.save(folder / "y_onehot.npy", np.eye(10, dtype=np.float32)[y])
    np.save(folder / "y_ei.npy", np.stack([y + 1, y * 0, y * 0 + 5, y * 0 + 9], axis=1))
    return folder


def job_file(folder: Path, extra: str = "", name: str = "job.yaml") -> Path:
    lines = "".join(f"  {line}\n" for line in extra.splitlines())
    path = folder / name
    path.write_text(f"net:\n  model_name: Digits\n  tflite_model: net.tflite\n{lines}")
    return path


WITH_TEST = "test_data: x.npy\ntest_labels: y.npy\ntest_labels_format: just_labels\n"


def report_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "Digits_report.json").read_text())
    return found


def only_error(capsys: pytest.CaptureFixture[str]) -> str:
    message = capsys.readouterr().err
    assert message.startswith("axonrig: ")
    assert message.count("\n") == 1
    return message


# --- bare models ---------------------------------------------------------------------------------


def test_a_bare_model_gives_three_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "folder"
    assert main(["compile", str(DEFAULT_MODEL), "-o", str(out), "--name", "Digits"]) == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "Digits.bin",
        "Digits.json",
        "Digits.txt",
    ]
    program = decode((out / "Digits.bin").read_bytes())
    assert program.name == "digits", "the binary carries the name in lower case"
    assert program.options.test_vector_count == 0
    facts = json.loads((out / "Digits.json").read_text())
    assert facts["name"] == "Digits"
    assert facts["program_name"] == "digits"
    assert facts["source"]["sha256"] == hashlib.sha256(DEFAULT_MODEL.read_bytes()).hexdigest()
    assert facts["input"]["shape_chw"] == [3, 32, 32]
    assert facts["outputs"][-1]["dtype"] == "int8"
    assert facts["outputs"][-1]["dequantization"]["zero_point"] == -128
    assert [layer["index"] for layer in facts["layers"]] == list(range(len(program.layers)))
    assert {layer["runs_on"] for layer in facts["layers"]} == {"npu", "cpu"}
    assert facts["sizes"]["binary_bytes"] == (out / "Digits.bin").stat().st_size
    for name in ("Digits.bin", "Digits.txt"):
        data = (out / name).read_bytes()
        assert facts["files"][name]["sha256"] == hashlib.sha256(data).hexdigest()
    assert "wrote" in capsys.readouterr().out


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        assert main(["compile", str(DEFAULT_MODEL), "-o", str(tmp_path / folder)]) == 0
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_variants_of_a_bare_model(tmp_path: Path) -> None:
    words = ["compile", str(DEFAULT_MODEL), "-o", str(tmp_path), "--name", "v"]
    assert main([*words, "--output", "int32", "--skip-softmax", "--transpose"]) == 0
    facts = json.loads((tmp_path / "v.json").read_text())
    assert facts["variant"] == {
        "output": "int32",
        "transposed": True,
        "skip_softmax": True,
        "normalize_scaleshift": True,
        "cheaper_layers": False,
        "op_radix": 0,
    }
    assert facts["outputs"][-1]["dtype"] == "int32"
    assert all(layer["op"] != "softmax" for layer in facts["layers"])


def test_the_name_comes_from_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "9 lives-v1.2.tflite"
    model.write_bytes(DEFAULT_MODEL.read_bytes())
    assert main(["compile", str(model)]) == 0
    assert (tmp_path / "output" / "m_9_lives_v1_2.bin").is_file(), "beside the input by default"
    assert "named m_9_lives_v1_2: '9 lives-v1.2' is no C identifier" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["9a", "a-b", "../evil", "a/b", "", "x" * 65, "a\nb", "é"])
def test_names_that_are_no_c_identifier(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["compile", str(DEFAULT_MODEL), "-o", str(out), "--name", name]) == 3
    assert "no C identifier" in only_error(capsys)
    assert not out.exists()


def test_npu_code_needs_nordics_sdk(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SDK_EDGE_AI_PATH", raising=False)
    words = ["compile", str(DEFAULT_MODEL), "-o", str(tmp_path / "out"), "--target", "npu"]
    assert main(words) == 5
    assert "SDK_EDGE_AI_PATH is not set" in only_error(capsys)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "code", "part"),
    [
        (None, 3, "cannot be read"),
        (b"", 3, "is empty"),
        (b"\x1c\0\0\0TFL3", 3, ""),
        (b"not a model at all, only text", 3, ""),
    ],
)
def test_files_that_are_no_model(
    content: bytes | None,
    code: int,
    part: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = tmp_path / "m.tflite"
    if content is not None:
        model.write_bytes(content)
    assert main(["compile", str(model), "-o", str(tmp_path / "out")]) == code
    assert part in only_error(capsys)
    assert not (tmp_path / "out").exists()


def test_a_file_in_place_of_the_output_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("x")
    for out in (blocked, blocked / "below"):
        assert main(["compile", str(DEFAULT_MODEL), "-o", str(out)]) == 3
        assert "cannot be written" in only_error(capsys)
    assert blocked.read_text() == "x"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_output_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    out.mkdir(mode=0o500)
    assert main(["compile", str(DEFAULT_MODEL), "-o", str(out)]) == 3
    assert "cannot be written" in only_error(capsys)


def test_a_failed_write_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full_disk(*_: object) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full_disk)
    assert main(["compile", str(DEFAULT_MODEL), "-o", str(tmp_path / "out")]) == 3
    assert "No space left on device" in only_error(capsys)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_folder_in_place_of_one_file_keeps_the_others_away(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "net.json").mkdir()
    words = ["compile", str(DEFAULT_MODEL), "-o", str(tmp_path), "--name", "net"]
    assert main(words) == 3
    assert "net.json cannot be written: Is a directory" in only_error(capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["net.json"]


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--op-radix", "40"], "--op-radix is 40"),
        (["--lenient"], "--lenient is for job files"),
    ],
)
def test_options_that_do_not_fit(
    words: list[str], part: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compile", str(DEFAULT_MODEL), "-o", str(tmp_path / "out"), *words]) == 3
    assert part in only_error(capsys)


# --- job files without a test set ----------------------------------------------------------------


def test_a_job_is_compiled_beside_its_file(workspace: Path) -> None:
    extra = (
        "classification_labels: [zero, one, two, three, four, five, six, seven, eight, nine]\n"
        "interlayer_buffer_size: 120000\npsum_buffer_size: 180000\n"
        "header_file_test_vector_cnt: 3\nlog_level: debug\ndisable_op_quantization: True"
    )
    assert main(["compile", str(job_file(workspace, extra))]) == 0
    out = workspace / "output"
    assert sorted(path.name for path in out.iterdir()) == [
        *("Digits.bin", "Digits.json", "Digits.txt", "Digits_report.json")
    ]
    program = decode((out / "Digits.bin").read_bytes())
    assert program.name == "digits"
    assert program.labels[:3] == ("ZERO", "ONE", "TWO")
    options = program.options
    assert (options.interlayer_limit, options.psum_limit) == (120_000, 180_000)
    assert (options.test_vector_count, options.log_level) == (3, 10)
    assert program.layers[-1].output_dims.byte_width == 4
    (variant,) = report_of(out)["variants"]
    assert variant["output"] == "int32"
    assert "accuracy" not in variant


def test_several_models_in_one_file(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = workspace / "two.yaml"
    path.write_text(
        "default_values: {x: &model net.tflite}\n"
        "a: {MODEL_NAME: first, TFLITE_MODEL: *model}\n"
        "b: {model_name: second, tflite_model: *model, constants_location: NVM}\n"
    )
    assert main(["compile", str(path), "-o", str(workspace / "out")]) == 0
    assert (workspace / "out" / "first.bin").is_file()
    assert (workspace / "out" / "second.bin").is_file()
    assert "note: 'b': constants_location changes nothing" in capsys.readouterr().out


def test_notes_are_hidden_at_log_level_error(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = job_file(workspace, "log_level: error\nno_striping: True")
    assert main(["compile", str(path)]) == 0
    assert "note:" not in capsys.readouterr().out


def test_unknown_keys(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = job_file(workspace, "transpose_kernal: True")
    assert main(["compile", str(path)]) == 3
    assert "did you mean 'transpose_kernel'?" in only_error(capsys)
    assert not (workspace / "output").exists()
    assert main(["compile", str(path), "--lenient"]) == 0
    assert "did you mean 'transpose_kernel'?" in capsys.readouterr().out


@pytest.mark.parametrize("option", ["--name=x", "--output=int8", "--transpose", "--op-radix=8"])
def test_options_for_bare_models_do_not_override_a_job(
    option: str, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compile", str(job_file(workspace)), option]) == 3
    assert "is for a bare model" in only_error(capsys)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "the file is empty"),
        ("a: &a [" + "*a, " * 3 + "]", "an alias inside"),
        ("net: {model_name: ../../evil, tflite_model: net.tflite}", "no C identifier"),
        ("net: {model_name: n, tflite_model: missing.tflite}", "cannot be read"),
    ],
)
def test_job_files_that_are_refused(
    text: str, part: str, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workspace / "bad.yaml").write_text(text)
    assert main(["compile", str(workspace / "bad.yaml")]) == 3
    assert part in only_error(capsys)
    assert not (workspace / "output").exists()


def test_a_job_file_that_does_not_exist(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", str(tmp_path / "none.yaml")]) == 3
    assert "none.yaml cannot be read" in only_error(capsys)


def test_a_model_that_is_refused_is_named(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workspace / "net.tflite").write_bytes(DEFAULT_MODEL.read_bytes()[:3000])
    assert main(["compile", str(job_file(workspace))]) == 3
    assert "net.tflite" in only_error(capsys)
    if not GOLDEN.is_dir():
        pytest.skip("no recorded models beside the project")
    (workspace / "net.tflite").write_bytes((GOLDEN / "neg_filter17.tflite").read_bytes())
    for extra in ("", "transpose_kernel: [False, True]"):
        assert main(["compile", str(job_file(workspace, extra))]) == 1
        assert "Digits: operator 0 (CONV_2D)" in only_error(capsys)
    assert not (workspace / "output").exists()


# --- test sets -----------------------------------------------------------------------------------


def test_accuracy_side_by_side(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    extra = WITH_TEST + "header_file_test_vector_cnt: 2\nget_quantized_data: True"
    assert main(["compile", str(job_file(workspace, extra))]) == 0
    out = workspace / "output"
    report = report_of(out)
    assert report["samples"] == SAMPLES
    (variant,) = report["variants"]
    labels = np.load(workspace / "y.npy")
    assert variant["accuracy"]["tflite"]["accuracy"] >= 0.9
    assert variant["accuracy"]["axon"]["accuracy"] >= 0.9
    assert variant["agreement"]["golden"] == "tflite-reference"
    assert variant["agreement"]["source"] == "sim"
    assert sum(variant["agreement"]["histogram"].values()) == SAMPLES * 10
    program = decode((out / "Digits.bin").read_bytes())
    assert program.labels == tuple(f"LABEL_X{index}" for index in range(labels.max() + 1))
    assert program.options.test_vector_count == 2
    quantized = np.load(out / "Digits_q_data.npy", allow_pickle=False)
    assert (quantized.dtype, len(quantized)) == (np.int8, SAMPLES)
    with np.load(out / "Digits_vectors.npz", allow_pickle=False) as vectors:
        assert sorted(vectors.files) == [
            *("expected_output_vector_0", "expected_output_vector_1"),
            *("test_input_vector_0", "test_input_vector_1"),
        ]
        assert np.array_equal(vectors["test_input_vector_1"], quantized[1].transpose(2, 0, 1))
        assert int(vectors["expected_output_vector_0"].argmax()) == labels[0]
    text = capsys.readouterr().out
    assert "TFLite" in text
    assert "Axon - TFLite, in LSB" in text


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        ("y.npy", "just_labels"),
        ("y_onehot.npy", "last_layer_vector"),
        ("y_ei.npy", "edge_impulse_labels"),
        ("y.npy", ""),
    ],
)
def test_label_formats_give_the_same_accuracy(labels: str, kind: str, workspace: Path) -> None:
    extra = f"test_data: x.npy\ntest_labels: {labels}\ntest_labels_format: {kind}"
    assert main(["compile", str(job_file(workspace, extra))]) == 0
    (variant,) = report_of(workspace / "output")["variants"]
    assert variant["accuracy"]["axon"]["accuracy"] >= 0.9


def test_chosen_test_vectors_and_labels_follow(workspace: Path) -> None:
    extra = WITH_TEST + "test_vectors: [1, 4-6, 9-30]"
    assert main(["compile", str(job_file(workspace, extra))]) == 0
    report = report_of(workspace / "output")
    assert report["samples"] == 1 + 3 + SAMPLES - 9
    assert report["variants"][0]["accuracy"]["axon"]["accuracy"] >= 0.8


def test_data_without_labels_gives_the_agreement(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compile", str(job_file(workspace, "test_data: x.npy"))]) == 0
    (variant,) = report_of(workspace / "output")["variants"]
    assert variant["accuracy"] == {"tflite": None, "axon": None}
    assert variant["agreement"]["top1"] >= 0.9
    assert "agreement only, no accuracy" in capsys.readouterr().out


def test_labels_without_data_compile_only(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compile", str(job_file(workspace, "test_labels: y.npy"))]) == 0
    assert "compiled only, no accuracy" in capsys.readouterr().out


def test_flat_test_data_need_reshape_input(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x = np.load(workspace / "x.npy")
    np.save(workspace / "flat.npy", x.reshape(len(x), -1))
    extra = WITH_TEST.replace("x.npy", "flat.npy")
    assert main(["compile", str(job_file(workspace, extra))]) == 3
    assert "reshape_input: True reshapes it" in only_error(capsys)
    assert main(["compile", str(job_file(workspace, extra + "reshape_input: True"))]) == 0
    (variant,) = report_of(workspace / "output")["variants"]
    assert variant["accuracy"]["axon"]["accuracy"] >= 0.9


class Plan:
    """An object that no array file may bring in."""


@pytest.mark.parametrize(
    ("name", "array", "extra", "part"),
    [
        ("x.npy", np.zeros((4, 31, 32, 3), np.float32), "", "the model takes"),
        ("x.npy", np.full((SAMPLES, 32, 32, 3), np.nan, np.float32), "", "holds NaN"),
        ("x.npy", np.array(["a"] * SAMPLES), "", "expected numbers"),
        ("x.npy", np.array([Plan()] * SAMPLES), "", "pickled"),
        ("y.npy", np.zeros(SAMPLES - 1, np.int64), "", "11 labels but"),
        ("y.npy", np.full(SAMPLES, 10), "", "the model's classes are 0..9"),
        ("y.npy", np.full(SAMPLES, -1), "", "the model's classes are 0..9"),
        ("y.npy", np.zeros((SAMPLES, 4)), "", "just_labels takes"),
        ("y.npy", np.zeros((SAMPLES, 4)), "test_labels_format:", "set test_labels_format"),
        (
            "y.npy",
            np.zeros((SAMPLES, 9)),
            "test_labels_format: last_layer_vector",
            "last_layer_vector takes [N, 10]",
        ),
        (
            "y.npy",
            np.zeros(SAMPLES, np.int64),
            "test_labels_format: edge_impulse_labels",
            "edge_impulse_labels takes [N, 4]",
        ),
        (
            "y.npy",
            np.zeros((SAMPLES, 4)),
            "test_labels_format: edge_impulse_labels",
            "counts them from 1 to 10",
        ),
        ("unused.npy", np.zeros(1), "test_vectors: [50]", "'net': test_vectors names sample 50"),
        ("unused.npy", np.zeros(1), "test_vectors: [50-60]", "selects nothing"),
        ("unused.npy", np.zeros(1), "test_vectors: x", "expected all, or a list"),
    ],
)
def test_test_sets_that_do_not_fit(
    name: str,
    array: np.ndarray[Any, np.dtype[Any]],
    extra: str,
    part: str,
    workspace: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    np.save(workspace / name, array, allow_pickle=True)
    lines = WITH_TEST + extra
    if extra.startswith("test_labels_format"):
        lines = WITH_TEST.replace("test_labels_format: just_labels", extra)
    assert main(["compile", str(job_file(workspace, lines))]) == 3
    assert part in only_error(capsys)
    assert not (workspace / "output").exists(), "nothing half-written"


# --- variants ------------------------------------------------------------------------------------


def test_every_permutation_is_compiled_and_tabled(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    extra = WITH_TEST + "skip_softmax_op: [False, True]\ndisable_op_quantization: [False, True]"
    assert main(["compile", str(job_file(workspace, extra))]) == 0
    variants = report_of(workspace / "output")["variants"]
    names = [
        f"Digits_softmax_{softmax}_op_quantization_{quantized}"
        for softmax in ("enabled", "skipped")
        for quantized in ("enabled", "disabled")
    ]
    assert [item["name"] for item in variants] == names
    assert all(item["compiled"] and item["same_as"] is None for item in variants)
    assert len({item["accuracy"]["axon"]["accuracy"] for item in variants}) <= 2
    for item, name in zip(variants, names, strict=True):
        program = decode((workspace / "output" / f"{name}.bin").read_bytes())
        assert program.layers[-1].output_dims.byte_width == (4 if item["output"] == "int32" else 1)
    text = capsys.readouterr().out
    assert "Digits: 4 variants" in text
    assert "flash" in text


def test_a_long_model_name_with_every_switch_varied(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    switches = (
        "skip_softmax_op",
        "normalize_scaleshift",
        "transpose_kernel",
        "disable_op_quantization",
    )
    text = f"m:\n  model_name: {'d' * 64}\n  tflite_model: net.tflite\n"
    text += "  conv2d_setting: [inner, outer]\n"
    text += "  psum_buffer_placement: [interlayer_buffer, dedicated_memory]\n"
    text += "".join(f"  {key}: [False, True]\n" for key in switches)
    (workspace / "job.yaml").write_text(text)
    assert main(["compile", str(workspace / "job.yaml")]) == 0
    assert len(list((workspace / "output").glob("d*.bin"))) == 64
    capsys.readouterr()


def test_a_variant_that_changes_nothing_says_so(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    extra = "psum_buffer_placement: [interlayer_buffer, dedicated_memory]\nop_radix: 0\n"
    extra += "conv2d_setting: inner"
    assert main(["compile", str(job_file(workspace, extra))]) == 0
    first, second = report_of(workspace / "output")["variants"]
    assert (first["same_as"], second["same_as"]) == (None, None)
    programs = [
        decode((workspace / "output" / f"{item['name']}.bin").read_bytes()).options
        for item in (first, second)
    ]
    assert [(item.conv2d_setting, item.psum_placement) for item in programs] == [(1, 0), (1, 1)]
    extra = "run_all_variants: [transpose_kernel]\nop_radix: 8"
    assert main(["compile", str(job_file(workspace, extra))]) == 0
    capsys.readouterr()


def test_thresholds_make_samples_inconclusive(workspace: Path) -> None:
    extra = WITH_TEST + "precision_threshold: 1.0"
    assert main(["compile", str(job_file(workspace, extra))]) == 0
    (variant,) = report_of(workspace / "output")["variants"]
    score = variant["accuracy"]["axon"]
    assert score["inconclusive"] > 0
    assert score["accuracy"] <= 1 - score["inconclusive"] / SAMPLES


def test_thresholds_need_a_softmax(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    extra = WITH_TEST + "precision_threshold: 1.0\nskip_softmax_op: True"
    assert main(["compile", str(job_file(workspace, extra))]) == 0
    (variant,) = report_of(workspace / "output")["variants"]
    assert variant["accuracy"]["axon"]["inconclusive"] == 0
    capsys.readouterr()


@pytest.mark.parametrize(
    ("threshold", "margin", "accuracy", "precision", "inconclusive"),
    [
        (0.0, 0.0, 0.75, 0.75, 0),
        (0.5, 0.0, 0.5, 1.0, 2),
        (0.0, 0.3, 0.5, 1.0, 2),
        (1.0, 0.0, 0.0, None, 4),
    ],
)
def test_scores(
    threshold: float,
    margin: float,
    accuracy: float,
    precision: float | None,
    inconclusive: int,
) -> None:
    job: Any = types.SimpleNamespace(precision_threshold=threshold, precision_margin=margin)
    real = np.array([[0.9, 0.05, 0.05], [0.1, 0.8, 0.1], [0.3, 0.25, 0.45], [0.4, 0.35, 0.25]])
    score = _score(job, real, np.array([0, 1, 2, 1]), softmax=True)
    assert score is not None
    assert (score.accuracy, score.precision) == (accuracy, precision)
    assert score.inconclusive == inconclusive


# --- handlers ------------------------------------------------------------------------------------

HANDLERS = """
import numpy as np

def labels(path):
    return np.load(path) // 10

def bad_labels(path):
    return ["a", "b"]

def accuracy(settings, x, y, outputs, shape, values, variant):
    assert outputs.shape[1] == shape.depth * shape.height * shape.width
    chosen = y[settings["test_vectors"]]
    share = float(np.mean(outputs.argmax(axis=1) == chosen))
    values.set_axon_accuracy_value(variant, axons_acc=share)
    return 0, f"my own score of {variant}: {share:.2f}"

def broken(*_):
    raise RuntimeError("no idea")
"""


def test_custom_labels_come_from_the_users_function(workspace: Path) -> None:
    (workspace / "mine.py").write_text(HANDLERS)
    np.save(workspace / "tens.npy", np.load(workspace / "y.npy") * 10)
    extra = (
        "test_data: x.npy\ntest_labels: tens.npy\ntest_labels_format: custom\n"
        "user_handle_test_labels: mine.labels"
    )
    assert main(["compile", str(job_file(workspace, extra))]) == 0
    (variant,) = report_of(workspace / "output")["variants"]
    assert variant["accuracy"]["axon"]["accuracy"] >= 0.9


@pytest.mark.parametrize("transpose", ["False", "True"])
def test_accuracy_comes_from_the_users_function(
    transpose: str, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workspace / "mine.py").write_text(HANDLERS)
    extra = WITH_TEST + "user_handle_accuracy_results: mine.accuracy\ntest_vectors: [3-9]\n"
    extra += f"transpose_kernel: {transpose}"
    assert main(["compile", str(job_file(workspace, extra))]) == 0
    (variant,) = report_of(workspace / "output")["variants"]
    assert variant["accuracy"]["axon"] is None, "the user's function judges instead"
    assert variant["handler"].startswith("my own score of Digits: ")
    assert "my own score of Digits" in capsys.readouterr().out


def test_a_handler_is_not_needed_without_test_data(workspace: Path) -> None:
    extra = "user_handle_accuracy_results: not_there.at_all"
    assert main(["compile", str(job_file(workspace, extra))]) == 0


@pytest.mark.parametrize(
    ("handler", "part"),
    [
        ("elsewhere.accuracy", "does not exist: put the file beside the job file"),
        ("mine.nothing", "has no function 'nothing'"),
        ("mine.broken", "the handler mine.broken failed: RuntimeError: no idea"),
        ("syntax.f", "cannot be loaded: SyntaxError"),
    ],
)
def test_handlers_that_do_not_work(
    handler: str, part: str, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workspace / "mine.py").write_text(HANDLERS)
    (workspace / "syntax.py").write_text("def f(:\n")
    extra = WITH_TEST + f"user_handle_accuracy_results: {handler}"
    assert main(["compile", str(job_file(workspace, extra))]) == 3
    assert part in only_error(capsys)
    assert not (workspace / "output").exists()


def test_a_label_handler_that_returns_no_labels(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workspace / "mine.py").write_text(HANDLERS)
    extra = WITH_TEST.replace("just_labels", "custom") + "user_handle_test_labels: mine.bad_labels"
    assert main(["compile", str(job_file(workspace, extra))]) == 3
    assert "the handler mine.bad_labels returned" in only_error(capsys)


def test_a_module_that_no_job_names_is_never_run(workspace: Path) -> None:
    marker = workspace / "ran"
    (workspace / "user_handler_functions.py").write_text(f"open({str(marker)!r}, 'w')\n")
    assert main(["compile", str(job_file(workspace, WITH_TEST))]) == 0
    assert not marker.exists()


# --- float models --------------------------------------------------------------------------------

FLOAT_JOB = (
    "net:\n  model_name: Digits\n  float_model: net.h5\n  train_data: x.npy\n"
    "  test_data: x.npy\n  test_labels: y.npy\n  test_labels_format: just_labels\n"
)


def test_a_float_model_without_tensorflow(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    (workspace / "job.yaml").write_text(FLOAT_JOB)
    (workspace / "net.h5").write_bytes(b"model")
    assert main(["compile", str(workspace / "job.yaml")]) == 5
    message = only_error(capsys)
    assert "TensorFlow is needed to quantize a float_model and is not installed" in message
    assert "'.[train]'" in message


def test_a_float_model_beside_an_int8_one_is_only_a_note(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    (workspace / "net.h5").write_bytes(b"model")
    assert main(["compile", str(job_file(workspace, WITH_TEST + "float_model: net.h5"))]) == 0
    assert "note: no quantization loss: TensorFlow is needed" in capsys.readouterr().out


class FakeConverter:
    """Stands in for TensorFlow's converter and gives the embedded model."""

    def __init__(self) -> None:
        self.target_spec = types.SimpleNamespace()
        self.ranges: list[Any] = []
        self.representative_dataset: Any = None

    def convert(self) -> bytes:
        self.ranges = [batch[0] for batch in self.representative_dataset()]
        return DEFAULT_MODEL.read_bytes()


def fake_tensorflow(converter: FakeConverter, labels: Any) -> Any:
    """As much of TensorFlow as the quantization uses."""
    model = types.SimpleNamespace(
        input_shape=(None, 32, 32, 3),
        predict=lambda x, **_: np.eye(10)[labels[: len(x)]],
    )
    lite = types.SimpleNamespace(
        TFLiteConverter=types.SimpleNamespace(from_keras_model=lambda _: converter),
        Optimize=types.SimpleNamespace(DEFAULT="default"),
        OpsSet=types.SimpleNamespace(TFLITE_BUILTINS_INT8="int8 operators"),
    )
    keras = types.SimpleNamespace(models=types.SimpleNamespace(load_model=lambda *_, **__: model))
    return types.SimpleNamespace(lite=lite, keras=keras, int8="int8")


def test_a_float_model_is_quantized_and_the_loss_reported(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    converter = FakeConverter()
    labels = np.load(workspace / "y.npy")
    monkeypatch.setitem(sys.modules, "tensorflow", fake_tensorflow(converter, labels))
    (workspace / "job.yaml").write_text(FLOAT_JOB)
    (workspace / "net.h5").write_bytes(b"model")
    assert main(["compile", str(workspace / "job.yaml")]) == 0
    assert converter.inference_input_type == "int8"  # type: ignore[attr-defined]  # set by the code
    assert converter.target_spec.supported_ops == ["int8 operators"]
    assert [item.shape for item in converter.ranges] == [(1, 32, 32, 3)]
    assert converter.ranges[0].dtype == np.float32
    out = workspace / "output"
    assert (out / "Digits.tflite").read_bytes() == DEFAULT_MODEL.read_bytes()
    report = report_of(out)
    assert report["float_accuracy"] == 1.0
    accuracy = report["variants"][0]["accuracy"]["axon"]["accuracy"]
    loss = report["variants"][0]["quantization_loss_percent"]
    assert loss == pytest.approx(100 * (1 - accuracy))
    assert "float model: accuracy 100.00 %" in capsys.readouterr().out


def test_quantization_errors_are_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", fake_tensorflow(FakeConverter(), []))
    samples = np.zeros((10, 32, 32, 3), np.float32)
    with pytest.raises(ConfigError, match="does not exist"):
        quantize.quantize(tmp_path / "none.h5", samples)
    (tmp_path / "net.h5").write_bytes(b"x")
    with pytest.raises(ConfigError, match="NaN"):
        quantize.quantize(tmp_path / "net.h5", samples * np.nan)
    with pytest.raises(ConfigError, match="cannot be quantized"):
        quantize.quantize(tmp_path / "net.h5", np.zeros((10, 5), np.float32))


# --- the vendor's own files ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("folder", "stem", "model", "file"),
    [
        ("image_classification", "ic", "ic", "pretrainedResnet_quant.tflite"),
        ("kws", "kws", "kws", "kws_ref_model.tflite"),
        ("vww", "vww", "vww", "vww_96_int8.tflite"),
        ("anomaly_detection", "ad", "ad", "ad01_int8.tflite"),
    ],
)
def test_vendor_sample_jobs_compile_unmodified(
    folder: str, stem: str, model: str, file: str, tmp_path: Path
) -> None:
    sdk = os.environ.get("SDK_EDGE_AI_PATH")
    if not sdk:
        pytest.skip("SDK_EDGE_AI_PATH is not set: no vendor job files to read")
    if not GOLDEN.is_dir():
        pytest.skip("no recorded models beside the project")
    scripts = Path(sdk) / "tools" / "axon" / "compiler" / "scripts" / "models" / "tinyml"
    name = f"compiler_sample_{stem}_input.yaml"
    (tmp_path / name).write_bytes((scripts / folder / name).read_bytes())
    (tmp_path / file).write_bytes((GOLDEN / f"{model}.tflite").read_bytes())
    assert main(["compile", str(tmp_path / name)]) == 0
    ours = decode((tmp_path / "output" / f"TINYML_{stem.upper()}.bin").read_bytes())
    recorded = decode((GOLDEN / f"{model}_int32.bin").read_bytes())
    assert ours.name == f"tinyml_{stem}"
    assert len(ours.layers) == len(recorded.layers)
    assert ours.output_dequantization == recorded.output_dequantization
    assert ours.options.interlayer_limit == 120_000
    assert ours.options.test_vector_count == 3
    assert ours.options.log_level == recorded.options.log_level


@pytest.mark.parametrize("model", ["ic", "kws", "vww"])
@pytest.mark.parametrize("output", ["int8", "int32"])
def test_a_job_gives_the_recorded_binary_byte_for_byte(
    model: str, output: str, tmp_path: Path
) -> None:
    """Name, made-up labels, limits and log level included."""
    if not GOLDEN.is_dir():
        pytest.skip("no recorded models beside the project")
    recorded = (GOLDEN / f"{model}_{output}.bin").read_bytes()
    program = decode(recorded)
    dims = program.input_dims
    np.save(tmp_path / "x.npy", np.zeros((3, dims.height, dims.width, dims.channels), np.int8))
    np.save(tmp_path / "y.npy", np.array([0, 1, len(program.labels) - 1]))
    (tmp_path / "job.yaml").write_text(
        f"net:\n  model_name: {model.upper()}_{output}\n"
        f"  tflite_model: {GOLDEN / model}.tflite\n"
        "  test_data: x.npy\n  test_labels: y.npy\n  test_labels_format: just_labels\n"
        "  interlayer_buffer_size: 400000\n  psum_buffer_size: 400000\n"
        "  header_file_test_vector_cnt: 3\n  log_level: debug\n"
        f"  disable_op_quantization: {output == 'int32'}\n"
    )
    assert main(["compile", str(tmp_path / "job.yaml")]) == 0
    assert (tmp_path / "output" / f"{model.upper()}_{output}.bin").read_bytes() == recorded
