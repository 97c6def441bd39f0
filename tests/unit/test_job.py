"""Job files: Nordic's schema, its corners, and input that must be refused."""

from __future__ import annotations

import dataclasses
import os
import random
from pathlib import Path

import pytest

from compiler import ModelFormatError, job_variants, read_jobs, select_vectors
from compiler.job import IGNORED_KEYS, USED_KEYS, CompileJob, parse_jobs
from compiler.plain_yaml import MAX_BYTES, load
from harness.errors import ExitCode

JOBS = Path(__file__).parents[1] / "fixtures" / "jobs"
MINIMAL = "m:\n  model_name: net\n  tflite_model: net.tflite\n"


def one(extra: str = "", *, lenient: bool = False) -> CompileJob:
    """The job of a minimal file with `extra` lines, each `key: value`."""
    lines = "".join(f"  {line}\n" for line in extra.splitlines())
    (job,) = parse_jobs((MINIMAL + lines).encode(), Path("jobs/job.yaml"), lenient=lenient)
    return job


def refusal(text: str | bytes) -> str:
    data = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(ModelFormatError) as caught:
        parse_jobs(data, Path("job.yaml"))
    message = str(caught.value)
    assert message.startswith("job.yaml")
    assert "\n" not in message
    return message


def test_only_the_documented_mandatory_keys_are_needed() -> None:
    job = one()
    assert job.model_name == "net"
    assert job.tflite_model == Path("jobs/net.tflite")
    assert job.test_vectors is None
    assert job.interlayer_limit_bytes == 125_000
    assert job.header_vector_count == 0
    assert job.log_level == "info"
    (variant,) = job_variants(job)
    assert dataclasses.astuple(variant) == (
        *("net", "int8", False, False, True),
        *("local_psum", "interlayer_buffer"),
    )


@pytest.mark.parametrize("key", sorted((USED_KEYS | set(IGNORED_KEYS)) - {"model_name"}))
def test_every_other_key_may_be_empty(key: str) -> None:
    text = f"m:\n  model_name: net\n  {key}:\n"
    if key != "tflite_model":
        text += "  tflite_model: net.tflite\n"
    else:
        text += "  float_model: net.h5\n  train_data: x.npy\n"
    (job,) = parse_jobs(text.encode(), Path("job.yaml"))
    assert job.model_name == "net"


def test_image_classification_file() -> None:
    (job,) = read_jobs(JOBS / "image_classification.yaml")
    assert job.section == "ic_model"
    assert job.model_name == "IC_RESNET8"
    assert job.tflite_model == JOBS / "pretrainedResnet_quant.tflite"
    assert job.test_data is None
    assert job.test_labels_format == "last_layer_vector"
    assert job.test_vectors == (range(11),)
    assert job.header_vector_count == 3
    assert (job.interlayer_limit_bytes, job.psum_limit_bytes) == (120_000, 180_000)
    assert len(job.classification_labels) == 10
    assert job.disable_op_quantization == (True,)
    assert job.log_level == "debug"
    assert [note.split(": ")[1].split()[0] for note in job.notes] == [
        "constants_location",
        "no_striping",
        "cpu_op_codes_list",
    ]


def test_several_models_merge_keys_and_keys_in_any_case() -> None:
    kws, ad = read_jobs(JOBS / "several_models.yaml")
    assert kws.model_name == "KWS_DSCNN"
    assert kws.interlayer_limit_bytes == 120_000
    assert kws.classification_labels[3:6] == ("no", "off", "on")
    assert ad.disable_op_quantization == (False, True), "the section's own value wins over '<<'"
    assert ad.classification_labels == ()
    assert ad.user_handle_accuracy_results == "user_handler_functions.reconstruction_error"


def test_all_keys_file_is_read_key_by_key() -> None:
    (job,) = read_jobs(JOBS / "all_keys.yaml")
    assert job.float_model == JOBS / "models/net.h5"
    assert job.train_data == JOBS / "data/x_train.npy"
    assert job.test_labels == JOBS / "data/y_test.npy"
    assert job.classification_labels == ("yes", "no", "on")
    assert job.test_vectors == (range(1), range(2, 7), range(10, 11))
    assert job.conv2d_setting == ("inner", "outer")
    assert job.psum_placement == ("dedicated_memory",)
    assert job.disable_op_quantization == (False, True), "run_all_variants widens the axis"
    assert (job.interlayer_limit_bytes, job.psum_limit_bytes) == (96_000, 4_096)
    assert job.op_radix == 12
    assert job.precision_threshold == 0.6
    assert job.precision_margin == 0.05
    assert job.reshape_input
    assert job.get_quantized_data
    assert job.notes == ()
    assert len(job_variants(job)) == 8


def test_the_manual_lists_every_key() -> None:
    manual = (Path(__file__).parents[2] / "docs" / "job-files.md").read_text()
    missing = [key for key in USED_KEYS | set(IGNORED_KEYS) if f"`{key}`" not in manual]
    assert missing == []


def test_the_manual_lists_every_exit_code() -> None:
    manual = (Path(__file__).parents[2] / "docs" / "exit-codes.md").read_text()
    assert all(f"| {int(code)} | {code.name} |" in manual for code in ExitCode)


def test_a_blank_template_is_recognised_and_a_filled_one_compiles() -> None:
    template = (JOBS / "template.yaml").read_text()
    assert "every section is empty" in refusal(template)
    filled = template.replace("model_name:", "model_name: mine").replace(
        "tflite_model:", "tflite_model: mine.tflite"
    )
    (job,) = parse_jobs(filled.encode(), Path("job.yaml"))
    assert job.model_name == "mine"


def vendor_scripts() -> Path:
    sdk = os.environ.get("SDK_EDGE_AI_PATH")
    if not sdk:
        pytest.skip("SDK_EDGE_AI_PATH is not set: no vendor job files to read")
    return Path(sdk) / "tools" / "axon" / "compiler" / "scripts"


@pytest.mark.parametrize(
    ("folder", "stem", "name", "model"),
    [
        ("image_classification", "ic", "TINYML_IC", "pretrainedResnet_quant.tflite"),
        ("kws", "kws", "TINYML_KWS", "kws_ref_model.tflite"),
        ("vww", "vww", "TINYML_VWW", "vww_96_int8.tflite"),
        ("anomaly_detection", "ad", "TINYML_AD", "ad01_int8.tflite"),
    ],
)
def test_vendor_sample_files_unmodified(folder: str, stem: str, name: str, model: str) -> None:
    path = vendor_scripts() / "models" / "tinyml" / folder / f"compiler_sample_{stem}_input.yaml"
    (job,) = read_jobs(path)
    assert job.model_name == name
    assert job.tflite_model == path.parent / model
    assert job.header_vector_count == 3
    assert [variant.output for variant in job_variants(job)] == ["int32"]


def test_vendor_template() -> None:
    template = (vendor_scripts() / "compiler_input_yaml_template.yaml").read_text()
    assert "every section is empty" in refusal(template)
    filled = template.replace("model_name:", "model_name: mine", 1).replace(
        "tflite_model:", "tflite_model: mine.tflite", 1
    )
    (job,) = parse_jobs(filled.encode(), Path("job.yaml"))
    assert job.model_name == "mine"


# --- test vectors --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "indices"),
    [
        ("all", list(range(20))),
        ("[0-10]", list(range(11))),
        ("[0, 2-6, 10]", [0, 2, 3, 4, 5, 6, 10]),
        ("[10, 2 - 3, 3, 10]", [10, 2, 3]),
        ("7", [7]),
        ("3-4", [3, 4]),
        ("['1-2', \"5\"]", [1, 2, 5]),
        ("[15-900]", [15, 16, 17, 18, 19]),
    ],
)
def test_test_vectors_grammar(text: str, indices: list[int]) -> None:
    job = one(f"test_vectors: {text}")
    assert select_vectors(job.test_vectors, 20).tolist() == indices


@pytest.mark.parametrize("text", ["[a]", "[3-1]", "[-1]", "[1.5]", "some", "[[1]]", "[9999999999]"])
def test_test_vectors_refused(text: str) -> None:
    assert "test_vectors" in refusal(MINIMAL + f"  test_vectors: {text}\n")


def test_vectors_outside_the_test_set() -> None:
    with pytest.raises(ModelFormatError, match="names sample 34, and the test data hold 20"):
        select_vectors((range(5), range(34, 35)), 20)
    with pytest.raises(ModelFormatError, match="selects nothing: it starts at sample 30"):
        select_vectors((range(30, 40),), 20)


# --- variants ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("False", ["net"]),
        (
            "True",
            [
                "net_op_quantization_enabled",
                "net_op_quantization_disabled",
                "net_transposed_kernel_op_quantization_enabled",
                "net_transposed_kernel_op_quantization_disabled",
            ],
        ),
        ("softmax", ["net_softmax_enabled", "net_softmax_skipped"]),
        (
            "[normalized_scaleshifts]",
            ["net_non_normalized_scaleshifts", "net_normalized_scaleshift"],
        ),
        ("conv2d_settings", ["net_local_psum", "net_input_inner", "net_input_outer"]),
        (
            "[softmax, op_quantization]",
            [
                "net_softmax_enabled_op_quantization_enabled",
                "net_softmax_enabled_op_quantization_disabled",
                "net_softmax_skipped_op_quantization_enabled",
                "net_softmax_skipped_op_quantization_disabled",
            ],
        ),
    ],
)
def test_run_all_variants(value: str, names: list[str]) -> None:
    found = job_variants(one(f"run_all_variants: {value}"))
    assert [variant.name for variant in found] == names


def test_all_means_the_same_as_true() -> None:
    assert job_variants(one("run_all_variants: all")) == job_variants(one("run_all_variants: True"))


def test_a_list_compiles_every_permutation_once() -> None:
    found = job_variants(
        one("transpose_kernel: [False, True, True]\nconv2d_setting: [local_psum, inner]\n"
            "psum_buffer_placement: [interlayer_buffer, dedicated_buffer]")
    )  # fmt: skip
    assert [variant.name for variant in found] == [
        "net_local_psum",
        "net_local_psum_transposed_kernel",
        "net_input_inner_psum_in_interlayer_buf",
        "net_input_inner_psum_in_interlayer_buf_transposed_kernel",
        "net_input_inner_psum_in_psum_buf",
        "net_input_inner_psum_in_psum_buf_transposed_kernel",
    ]
    assert [variant.transpose for variant in found] == [False, True] * 3
    assert [variant.psum_placement for variant in found[-2:]] == ["dedicated_memory"] * 2


# --- refusals ------------------------------------------------------------------------------------


def test_an_unknown_key_names_the_nearest_and_its_line() -> None:
    text = MINIMAL + "  test_labelz: y.npy\n"
    assert (
        refusal(text) == "job.yaml:4: 'm': unknown key 'test_labelz'; did you mean 'test_labels'?"
    )
    job = one("test_labelz: y.npy", lenient=True)
    assert job.notes == (
        "jobs/job.yaml:4: 'm': unknown key 'test_labelz'; did you mean 'test_labels'?",
    )


def test_an_unknown_key_unlike_any_other_points_to_the_manual() -> None:
    assert "docs/job-files.md" in refusal(MINIMAL + "  qqqq: 1\n")


@pytest.mark.parametrize(
    "name", ["9lives", "a-b", "a b", "../evil", "a/b", "a\\b", "naïve", "x" * 65, "a.b", "'a\n'b"]
)
def test_model_names_that_are_no_c_identifier(name: str) -> None:
    message = refusal(f'm:\n  model_name: "{name}"\n  tflite_model: net.tflite\n')
    assert "no C identifier" in message


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("op_radix: fast", "expected an integer from 0 to 31, found 'fast'"),
        ("op_radix: 32", "expected an integer from 0 to 31"),
        ("op_radix: [1, 2]", "expected one value"),
        ("header_file_test_vector_cnt: -1", "expected an integer"),
        ("interlayer_buffer_size: 4294967296", "expected an integer from 0 to 4294967295"),
        ("transpose_kernel: maybe", "expected True or False, found 'maybe'"),
        ("transpose_kernel: {a: 1}", "expected one value or a list"),
        ("reshape_input: [True, False]", "expected True or False, found a list"),
        ("conv2d_setting: middle", "expected one of local_psum, inner, outer, found 'middle'"),
        ("test_labels_format: one_hot", "expected one of just_labels, last_layer_vector"),
        ("test_labels_format: [just_labels, custom]", "expected one value"),
        ("log_level: loud", "expected one of debug, info"),
        ("precision_threshold: 1.5", "expected a number from 0 to 1, found 1.5"),
        ("precision_threshold: nan", "expected a number"),
        ("precision_margin: 101", "expected a percentage"),
        ("precision_margin: 1.5", "a fraction (0.0 to 1.0), found 1.5"),
        ("run_all_variants: weights", "found 'weights'"),
        ("user_handle_accuracy_results: os.path.join", "expected module.function"),
        ("user_handle_accuracy_results: ../evil.f", "expected module.function"),
        ("classification_labels: [a, '']", "a label is empty"),
        ('test_data: "a\\0b"', "NUL character"),
        ("test_data: !!python/object:os.system x", "found a tag"),
        ("test_data: !include x", "found a tag"),
        ("MODEL_NAME: twice", "key 'model_name' appears twice"),
        ("? [a]\n  : 1", "a key must be a plain word"),
        ("<<: 5", "'<<' needs a mapping"),
        ("test_labels: y.npy\n  test_labels_format: custom", "needs user_handle_test_labels"),
    ],
)
def test_values_out_of_range(line: str, part: str) -> None:
    assert part in refusal(MINIMAL + f"  {line}\n")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "the file is empty"),
        (" \n\n", "the file is empty"),
        ("# nothing\n", "only comments"),
        ("[1, 2]", "expected a mapping of sections"),
        ("word", "expected a mapping of sections"),
        ("m: 1", "section 'm' must hold the keys of one model"),
        ("m: [a]", "section 'm' must hold the keys"),
        ("m: {model_name: a}\nm: {model_name: a}", "section 'm' appears twice"),
        ("m: {model_name: a}", "tflite_model: missing"),
        ("m: {model_name: a, float_model: a.h5}", "train_data: missing"),
        ("m: {tflite_model: a}", "model_name: missing"),
        ("a: {model_name: N, tflite_model: x}\nb: {model_name: n, tflite_model: x}", "rename one"),
        ("m: {model_name: a", "not valid YAML"),
        ("m:\n\t- a", "not valid YAML"),
        ('m: "\\U99999999"', "not valid YAML"),
        ("a: 1\n---\nb: 1", "not valid YAML"),
        (b"\xff\xfe\x00", "not UTF-8"),
        ("default_values: {a: 1}", "no model to compile"),
    ],
)
def test_files_that_are_no_job(text: str | bytes, part: str) -> None:
    assert part in refusal(text)


# --- bombs ---------------------------------------------------------------------------------------


def billion_laughs() -> str:
    lines = ["a: &a [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    for before, after in zip("abcdefgh", "bcdefghi", strict=True):
        lines.append(f"{after}: &{after} [{', '.join([f'*{before}'] * 9)}]")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (billion_laughs(), "more than 20000 values"),
        ("m: " + "[" * 100_000, "nested deeper than 16"),
        ("m: &x [*x]", "an alias inside the value that it names"),
        ("m: &x {model_name: *x}", "an alias inside the value that it names"),
        ("- a\n" * 60_000, "more than 20000 values"),
        ("# " + "x" * MAX_BYTES, "larger than 256 KB"),
    ],
)
def test_yaml_bombs_are_refused(text: str, part: str) -> None:
    assert part in refusal(text)


def test_plain_loading_is_bounded_and_plain() -> None:
    assert load(b"a: [1, 2.5, true, null, x]", Path("f.yaml")) == {"a": [1, 2.5, True, None, "x"]}
    for text in ("a: !!python/object:os.system x", "a: 2001-99-99", billion_laughs()):
        with pytest.raises(ModelFormatError):
            load(text.encode(), Path("f.yaml"))


def test_mutated_job_files_never_escape_with_another_error() -> None:
    source = (JOBS / "image_classification.yaml").read_bytes()
    inserts = [
        b"&a ",
        b"*a",
        b"[",
        b"{",
        b"!!int x",
        b"<<: *raw\n",
        b"? ",
        b"\t",
        b"---\n",
        b"|",
        b"%",
    ]
    generator = random.Random(7)
    refused = 0
    for _ in range(400):
        data = bytearray(source)
        for _ in range(generator.randint(1, 5)):
            at = generator.randrange(len(data))
            kind = generator.randrange(3)
            if kind == 0:
                data[at] = generator.randrange(256)
            elif kind == 1:
                del data[at : at + generator.randrange(40)]
            else:
                data[at:at] = generator.choice(inserts)
        try:
            for job in parse_jobs(bytes(data), Path("job.yaml"), lenient=True):
                job_variants(job)
        except ModelFormatError as error:
            refused += 1
            assert str(error).startswith("job.yaml")  # noqa: PT017  # counted, not expected
    assert refused > 50
