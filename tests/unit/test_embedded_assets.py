"""The embedded model and images: what README.md beside them says is what they are."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import NDArray

from harness.errors import ExitCode

ROOT = Path(__file__).parents[2]
EMBEDDED = ROOT / "harness" / "embedded"
MODEL = EMBEDDED / "digits_resnet8.tflite"
DATA = EMBEDDED / "digits_test.npz"
README = EMBEDDED / "README.md"
SCRIPT = ROOT / "benchmarks" / "train_digits.py"

STAGE = ["CONV_2D", "CONV_2D", "CONV_2D", "ADD"]
OPERATORS = [*STAGE * 3, "AVERAGE_POOL_2D", "RESHAPE", "FULLY_CONNECTED", "SOFTMAX"]


@pytest.fixture(scope="module")
def data() -> dict[str, NDArray[np.uint8]]:
    with np.load(DATA, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


@pytest.fixture(scope="module")
def interpreter() -> Any:
    loaded = Interpreter(
        model_path=str(MODEL), experimental_op_resolver_type=OpResolverType.BUILTIN_REF
    )
    loaded.allocate_tensors()
    return loaded


@pytest.fixture(scope="module")
def outputs(interpreter: Any, data: dict[str, NDArray[np.uint8]]) -> NDArray[np.int8]:
    """int8 [N, 10] of the reference kernels for every test image."""
    source = interpreter.get_input_details()[0]["index"]
    result = interpreter.get_output_details()[0]["index"]
    rows = []
    for image in data["x"]:
        interpreter.set_tensor(source, (image.astype(np.int16) - 128).astype(np.int8)[np.newaxis])
        interpreter.invoke()
        rows.append(interpreter.get_tensor(result)[0].copy())
    return np.stack(rows)


def run_script(
    *arguments: str, without: str = "", stubs: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the training script; `without` names a package that shall look uninstalled."""
    command = [sys.executable, str(SCRIPT), *arguments]
    if without:
        assert stubs is not None
        starter = stubs / "starter.py"
        starter.write_text(
            "import runpy, sys\n"
            f"sys.modules[{without!r}] = None\n"  # makes every import of it fail
            "sys.argv = sys.argv[1:]\n"
            "runpy.run_path(sys.argv[0], run_name='__main__')\n"
        )
        command.insert(1, str(starter))
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_together_they_stay_below_500_kb() -> None:
    assert sum(path.stat().st_size for path in EMBEDDED.iterdir() if path.is_file()) < 500_000


@pytest.mark.parametrize("path", [MODEL, DATA], ids=lambda path: str(path.name))
def test_size_and_hash_are_those_of_the_readme(path: Path) -> None:
    content = path.read_bytes()
    row = f"| `{path.name}` | {len(content)} | `{hashlib.sha256(content).hexdigest()}` |"
    assert row in README.read_text(encoding="utf-8").splitlines()


def test_pixel_hash_is_that_of_the_readme(data: dict[str, NDArray[np.uint8]]) -> None:
    found = hashlib.sha256(data["x"].tobytes() + data["y"].tobytes()).hexdigest()
    assert f"`{found}`" in README.read_text(encoding="utf-8")


def test_arrays_have_the_promised_shapes(data: dict[str, NDArray[np.uint8]]) -> None:
    assert set(data) == {"x", "y"}
    assert data["x"].shape == (400, 32, 32, 3)
    assert data["y"].shape == (400,)
    assert data["x"].dtype == data["y"].dtype == np.uint8
    assert data["x"].flags.c_contiguous


def test_images_are_grey_span_the_range_and_are_all_different(
    data: dict[str, NDArray[np.uint8]],
) -> None:
    images = data["x"]
    assert np.array_equal(images[..., 0], images[..., 1])
    assert np.array_equal(images[..., 0], images[..., 2])
    assert (images.min(), images.max()) == (0, 255)
    assert len({image.tobytes() for image in images}) == len(images)


def test_classes_are_balanced(data: dict[str, NDArray[np.uint8]]) -> None:
    counts = np.bincount(data["y"], minlength=10)
    assert len(counts) == 10
    assert (counts.min(), counts.max()) == (39, 43)  # as README.md says


def test_model_has_the_operators_of_mlperf_tiny_resnet8(interpreter: Any) -> None:
    names = [operator["op_name"] for operator in interpreter._get_ops_details()]
    assert [name for name in names if name != "DELEGATE"] == OPERATORS


def test_model_input_is_uint8_minus_128_and_output_is_int8(interpreter: Any) -> None:
    [source] = interpreter.get_input_details()
    [result] = interpreter.get_output_details()
    assert source["dtype"] == result["dtype"] == np.int8
    assert source["shape"].tolist() == [1, 32, 32, 3]
    assert result["shape"].tolist() == [1, 10]
    assert source["quantization"] == (1.0, -128)
    assert result["quantization"] == (1 / 256, -128)


def test_convolutions_are_per_channel_and_the_dense_layer_is_per_tensor(interpreter: Any) -> None:
    tensors = {tensor["index"]: tensor for tensor in interpreter.get_tensor_details()}
    counts = [
        (len(weights["quantization_parameters"]["scales"]), int(weights["shape"][0]))
        for operator in interpreter._get_ops_details()
        if operator["op_name"] in ("CONV_2D", "FULLY_CONNECTED")
        for weights in [tensors[operator["inputs"][1]]]
    ]
    filters = [16] * 3 + [32] * 3 + [64] * 3
    assert counts == [(count, count) for count in filters] + [(1, 10)]


def test_accuracy_is_what_the_readme_says(
    outputs: NDArray[np.int8], data: dict[str, NDArray[np.uint8]]
) -> None:
    right = int(np.sum(outputs.argmax(axis=1) == data["y"]))
    assert right / len(data["y"]) >= 0.95
    row = f"`BUILTIN_REF`) | {right} of {len(data['y'])} | {100 * right / len(data['y']):.2f} % |"
    assert row in README.read_text(encoding="utf-8")


def test_optimized_kernels_choose_the_same_class(
    outputs: NDArray[np.int8], data: dict[str, NDArray[np.uint8]]
) -> None:
    fast = Interpreter(model_path=str(MODEL))
    fast.allocate_tensors()
    source = fast.get_input_details()[0]["index"]
    result = fast.get_output_details()[0]["index"]
    classes = []
    for image in data["x"]:
        fast.set_tensor(source, (image.astype(np.int16) - 128).astype(np.int8)[np.newaxis])
        fast.invoke()
        classes.append(int(fast.get_tensor(result)[0].argmax()))
    agreement = np.mean(np.array(classes) == outputs.argmax(axis=1))
    assert agreement >= 0.99


def test_script_measures_the_shipped_files() -> None:
    done = run_script("--evaluate", str(EMBEDDED))
    assert done.returncode == ExitCode.OK, done.stderr
    assert "int8, reference kernels (BUILTIN_REF): 396 of 400 right, 99.00 %" in done.stdout


@pytest.mark.parametrize(
    ("module", "package", "options"),
    [("tensorflow", "tensorflow", []), ("sklearn", "scikit-learn", ["--data-only"])],
)
def test_script_names_the_package_that_is_missing(
    tmp_path: Path, module: str, package: str, options: list[str]
) -> None:
    target = tmp_path / "out"
    done = run_script("--out", str(target), *options, without=module, stubs=tmp_path)
    assert done.returncode == ExitCode.TOOL
    [line] = done.stderr.splitlines()
    assert line.startswith(f"train_digits: {package} cannot be imported")
    assert 'pip install ".[train]"' in line
    assert not target.exists()


def test_script_refuses_a_folder_without_the_files(tmp_path: Path) -> None:
    done = run_script("--evaluate", str(tmp_path))
    assert done.returncode == ExitCode.INPUT
    [line] = done.stderr.splitlines()
    assert str(tmp_path) in line
    assert MODEL.name in line


def test_script_refuses_a_broken_model(tmp_path: Path) -> None:
    (tmp_path / MODEL.name).write_bytes(MODEL.read_bytes()[:1000])
    (tmp_path / DATA.name).write_bytes(DATA.read_bytes())
    done = run_script("--evaluate", str(tmp_path))
    assert done.returncode == ExitCode.INPUT
    assert f"{MODEL.name} is not a usable TFLite model" in done.stderr.splitlines()[-1]


def test_script_refuses_images_of_another_shape(tmp_path: Path) -> None:
    packed = io.BytesIO()
    np.savez_compressed(packed, x=np.zeros((4, 28, 28, 1), np.uint8), y=np.zeros(4, np.uint8))
    (tmp_path / MODEL.name).write_bytes(MODEL.read_bytes())
    (tmp_path / DATA.name).write_bytes(packed.getvalue())
    done = run_script("--evaluate", str(tmp_path))
    assert done.returncode == ExitCode.INPUT
    [line] = done.stderr.splitlines()
    assert "(4, 28, 28, 1)" in line
    assert "expected x uint8 (N, 32, 32, 3)" in line


@pytest.mark.skipif(
    importlib.util.find_spec("sklearn") is None,
    reason="the digits come from scikit-learn, which only axonrig[train] brings",
)
def test_script_makes_the_same_images_again(
    tmp_path: Path, data: dict[str, NDArray[np.uint8]]
) -> None:
    done = run_script("--out", str(tmp_path), "--data-only")
    assert done.returncode == ExitCode.OK, done.stderr
    with np.load(tmp_path / DATA.name, allow_pickle=False) as again:
        assert np.array_equal(again["x"], data["x"])
        assert np.array_equal(again["y"], data["y"])
