"""Train the embedded default model and write it with its held-out test images.

    python benchmarks/train_digits.py --out DIR              writes both files
    python benchmarks/train_digits.py --out DIR --data-only  writes the images alone (no TensorFlow)
    python benchmarks/train_digits.py --evaluate harness/embedded    measures files that exist

The data are the handwritten digits that scikit-learn carries (UCI, CC BY 4.0); the network has the
ResNet8 topology of MLPerf Tiny's image classification. TensorFlow and scikit-learn come with
`pip install ".[train]"`; `--evaluate` needs neither. Seeds, split and settings are the
constants below: there is nothing to tune from the command line, so that a run can be repeated.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib
import io
import os
import platform
import sys
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MODEL_FILE = "digits_resnet8.tflite"
DATA_FILE = "digits_test.npz"

SEED = 20240607
TEST_SAMPLES = 400  # the last ones of the data set, in its own order
EPOCHS = 40
BATCH = 64
LEARNING_RATE = 2e-3
MAX_SHIFT_PIXELS = 4
FILTERS = (16, 32, 64)  # as in MLPerf Tiny

# SHA-256 of the pixels (uint8, C order) followed by the labels (uint8) of load_digits().
SOURCE_SHA256 = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"
# The zip format starts in 1980; a fixed time keeps the file's bytes the same on every run.
ZIP_TIME = (1980, 1, 1, 0, 0, 0)

Bytes = NDArray[np.uint8]


class TrainingError(Exception):
    """A reason to stop that the user can act on; its text is one whole sentence."""

    exit_code = 3  # docs/exit-codes.md: an input that cannot be used


class MissingPackage(TrainingError):
    """An optional package is not installed."""

    exit_code = 5  # docs/exit-codes.md: a tool or package that is missing


@dataclass(frozen=True, slots=True)
class Split:
    """Images uint8 [N, 32, 32, 3] and labels uint8 [N], in the order of the source."""

    train_x: Bytes
    train_y: Bytes
    test_x: Bytes
    test_y: Bytes


def require(module: str, package: str) -> Any:
    """Import `module`, or raise MissingPackage naming the `package` that is to be installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingPackage(
            f"{package} cannot be imported ({error}); "
            f'install it with: pip install ".[train]", or: pip install {package}'
        ) from error


def upscale(images: Bytes) -> Bytes:
    """Bring uint8 [N, 8, 8] with values 0..16 to uint8 [N, 32, 32, 3] with values 0..255.

    Bilinear, factor 4, half-pixel centres, edge pixels repeated; the three channels are equal.
    All weights are multiples of 1/8, so the sums are exact integers (at most 64 * 16 = 1024) and
    the one rounding, half up, gives the same bytes on every machine.
    """
    eighths = 2 * np.arange(32) - 3  # centre of each output pixel, in 1/8 of a source pixel
    left, weight = np.divmod(eighths, 8)
    rows = np.zeros((32, 8), np.int64)
    np.add.at(rows, (np.arange(32), np.clip(left, 0, 7)), 8 - weight)
    np.add.at(rows, (np.arange(32), np.clip(left + 1, 0, 7)), weight)
    sums = rows @ images.astype(np.int64) @ rows.T
    grey = ((sums * 255 + 512) // 1024).astype(np.uint8)
    return np.repeat(grey[..., np.newaxis], 3, axis=-1)


def load_split() -> Split:
    """Read the digits from scikit-learn and split them.

    Raises MissingPackage without scikit-learn, TrainingError when its data are not as expected.
    """
    digits = require("sklearn.datasets", "scikit-learn").load_digits()
    pixels = np.asarray(digits.images).astype(np.uint8)
    labels = np.asarray(digits.target).astype(np.uint8)
    found = hashlib.sha256(pixels.tobytes() + labels.tobytes()).hexdigest()
    if found != SOURCE_SHA256:
        raise TrainingError(
            f"scikit-learn's digits have SHA-256 {found}, expected {SOURCE_SHA256}; "
            "the data set has changed, so the recorded figures would not hold"
        )
    images = upscale(pixels)
    cut = len(images) - TEST_SAMPLES
    return Split(images[:cut], labels[:cut], images[cut:], labels[cut:])


def npz_bytes(arrays: dict[str, Bytes]) -> bytes:
    """Pack arrays as numpy.savez_compressed does, with fixed times and attributes."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", ZIP_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # else the byte tells Windows from Unix
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, member.getvalue(), compresslevel=9)
    return packed.getvalue()


def write_file(path: Path, content: bytes) -> None:
    """Write `content` to `path` whole or not at all, and print its size and SHA-256."""
    temporary = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise TrainingError(
            f"{path} cannot be written ({error}); name another folder with --out"
        ) from error
    print(f"{path}: {len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()}")


def shifted(images: Bytes, rng: np.random.Generator) -> Bytes:
    """Move each image by up to MAX_SHIFT_PIXELS each way; what enters at the border is 0."""
    margin = MAX_SHIFT_PIXELS
    padded = np.pad(images, ((0, 0), (margin, margin), (margin, margin), (0, 0)))
    corners = rng.integers(0, 2 * margin + 1, size=(len(images), 2))
    moved = [image[y : y + 32, x : x + 32] for image, (y, x) in zip(padded, corners, strict=True)]
    return np.stack(moved)


def build_network(keras: Any) -> Any:
    """ResNet8: a stem, three stages of two 3x3 convolutions, and a dense softmax head.

    Input float32 [N, 32, 32, 3] in 0..255, output float32 [N, 10] of probabilities.
    """
    layers = keras.layers

    def convolve(x: Any, filters: int, kernel: int, stride: int) -> Any:
        return layers.Conv2D(
            filters, kernel, stride, padding="same", kernel_initializer="he_normal"
        )(x)

    image = keras.Input((32, 32, 3))
    x = layers.ReLU()(layers.BatchNormalization()(convolve(image, FILTERS[0], 3, 1)))
    for stage, filters in enumerate(FILTERS):
        stride = 1 if stage == 0 else 2
        y = layers.ReLU()(layers.BatchNormalization()(convolve(x, filters, 3, stride)))
        y = layers.BatchNormalization()(convolve(y, filters, 3, 1))
        shortcut = x if stage == 0 else convolve(x, filters, 1, stride)
        x = layers.ReLU()(layers.Add()([shortcut, y]))
    # A constant shape gives one RESHAPE in TFLite, as MLPerf Tiny's file has; a Flatten layer gives
    # SHAPE, STRIDED_SLICE and PACK before it.
    x = keras.ops.reshape(layers.AveragePooling2D(8)(x), (-1, FILTERS[-1]))
    return keras.Model(image, layers.Dense(10, activation="softmax")(x))


def make_deterministic(tensorflow: Any) -> None:
    """Fix every source of chance that TensorFlow offers a switch for."""
    tensorflow.keras.utils.set_random_seed(SEED)
    tensorflow.config.threading.set_intra_op_parallelism_threads(1)
    tensorflow.config.threading.set_inter_op_parallelism_threads(1)
    tensorflow.config.experimental.enable_op_determinism()


def train(tensorflow: Any, x: Bytes, y: Bytes) -> Any:
    """Train on uint8 [N, 32, 32, 3] and labels [N]; the last epoch is kept, none is chosen."""
    keras = tensorflow.keras
    network = build_network(keras)
    steps = -(-len(x) // BATCH) * EPOCHS
    network.compile(
        optimizer=keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps)
        ),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    rng = np.random.default_rng(SEED)
    for epoch in range(1, EPOCHS + 1):
        order = rng.permutation(len(x))
        images = shifted(x[order], rng).astype(np.float32)
        history = network.fit(images, y[order], batch_size=BATCH, shuffle=False, verbose=0).history
        if epoch % 10 == 0:
            print(f"epoch {epoch}: loss {history['loss'][0]:.4f}", flush=True)
    return network


def quantize(tensorflow: Any, network: Any, calibration: Bytes) -> bytes:
    """Convert to full int8 with uint8 [N, 32, 32, 3] for calibration; the model's batch is 1.

    The images span 0..255, so the input scale is 1 and its zero point -128: int8 = uint8 - 128.
    """
    lite = tensorflow.lite
    converter = lite.TFLiteConverter.from_keras_model(network)
    converter.optimizations = [lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: (
        [image[np.newaxis].astype(np.float32)] for image in calibration
    )
    converter.target_spec.supported_ops = [lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tensorflow.int8
    converter.inference_output_type = tensorflow.int8
    # MLPerf Tiny's ResNet8 has one scale for all weights of its dense layer; newer converters
    # would give it one per output.
    converter._experimental_disable_per_channel_quantization_for_dense_layers = True
    return bytes(converter.convert())


def predict(model: bytes, images: Bytes, kernels: str) -> NDArray[np.int8]:
    """Run the int8 model over uint8 [N, 32, 32, 3] with the named kernel set; int8 [N, 10]."""
    litert = require("ai_edge_litert.interpreter", "ai-edge-litert")
    try:
        interpreter = litert.Interpreter(
            model_content=model, experimental_op_resolver_type=litert.OpResolverType[kernels]
        )
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise TrainingError(f"{MODEL_FILE} is not a usable TFLite model ({error})") from error
    source = interpreter.get_input_details()[0]
    result = interpreter.get_output_details()[0]["index"]
    if source["dtype"] != np.int8 or source["quantization"] != (1.0, -128):
        raise TrainingError(
            f"the model's input is {np.dtype(source['dtype'])} with (scale, zero point) "
            f"{source['quantization']}, expected int8 with (1.0, -128)"
        )
    outputs = np.empty((len(images), 10), np.int8)
    for index, image in enumerate(images):
        # int8 = uint8 - 128 is the same as turning the top bit over.
        interpreter.set_tensor(source["index"], (image ^ np.uint8(0x80)).view(np.int8)[np.newaxis])
        interpreter.invoke()
        outputs[index] = interpreter.get_tensor(result)[0]
    return outputs


def print_accuracy(name: str, outputs: NDArray[Any], labels: Bytes) -> None:
    """Print the top-1 accuracy of outputs [N, 10] against labels [N]."""
    right = int(np.sum(np.argmax(outputs, axis=1) == labels))
    print(f"{name}: {right} of {len(labels)} right, {100 * right / len(labels):.2f} %")


def report_int8(model: bytes, images: Bytes, labels: Bytes) -> None:
    """Print the accuracy under each kernel set and how far each is from the reference one."""
    reference = predict(model, images, "BUILTIN_REF")
    print_accuracy("int8, reference kernels (BUILTIN_REF)", reference, labels)
    for kernels in ("BUILTIN_WITHOUT_DEFAULT_DELEGATES", "BUILTIN"):
        outputs = predict(model, images, kernels)
        print_accuracy(f"int8, {kernels}", outputs, labels)
        lsb = np.abs(outputs.astype(np.int16) - reference)
        same = int(np.sum(np.argmax(outputs, axis=1) == np.argmax(reference, axis=1)))
        print(
            f"  against reference kernels: same class for {same} of {len(labels)}, "
            f"{int(np.sum(lsb > 0))} of {lsb.size} values differ, at most by {int(lsb.max())} LSB"
        )


def evaluate(folder: Path) -> None:
    """Measure the two files in `folder`; raise TrainingError when one cannot be read."""
    try:
        model = (folder / MODEL_FILE).read_bytes()
        with np.load(folder / DATA_FILE, allow_pickle=False) as data:
            images, labels = data["x"], data["y"]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise TrainingError(
            f"{folder} does not hold a readable {MODEL_FILE} and {DATA_FILE} ({error})"
        ) from error
    shapes_fit = images.shape == (len(labels), 32, 32, 3) and labels.ndim == 1
    if not shapes_fit or images.dtype != np.uint8 or labels.dtype != np.uint8:
        raise TrainingError(
            f"{folder / DATA_FILE} holds x {images.dtype} {images.shape} and y {labels.dtype} "
            f"{labels.shape}, expected x uint8 (N, 32, 32, 3) and y uint8 (N,)"
        )
    report_int8(model, images, labels)


def print_versions(modules: Sequence[str]) -> None:
    """Print what the output bytes may depend on."""
    versions = [f"Python {platform.python_version()}", f"zlib {zlib.ZLIB_RUNTIME_VERSION}"]
    versions += [f"{name} {importlib.import_module(name).__version__}" for name in modules]
    print("versions: " + ", ".join(versions))


def create(folder: Path, data_only: bool) -> None:
    """Write the test images and, unless `data_only`, train, quantize, write and measure a model."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # what matters is raised as an exception
    tensorflow = None if data_only else require("tensorflow", "tensorflow")
    split = load_split()
    print(f"{len(split.train_x)} training images, {len(split.test_x)} test images")
    data = npz_bytes({"x": split.test_x, "y": split.test_y})
    pixels = hashlib.sha256(split.test_x.tobytes() + split.test_y.tobytes()).hexdigest()
    print(f"pixels and labels of the test images: sha256 {pixels}")
    write_file(folder / DATA_FILE, data)  # first, so that an unwritable folder costs no training
    if tensorflow is None:
        print_versions(["numpy", "sklearn"])
        return
    print_versions(["numpy", "sklearn", "tensorflow", "keras"])
    make_deterministic(tensorflow)
    network = train(tensorflow, split.train_x, split.train_y)
    probabilities = network.predict(split.test_x.astype(np.float32), verbose=0)
    print_accuracy("float", probabilities, split.test_y)
    model = quantize(tensorflow, network, split.train_x)
    report_int8(model, split.test_x, split.test_y)
    write_file(folder / MODEL_FILE, model)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 0 on success, else one sentence on stderr and its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    task = parser.add_mutually_exclusive_group(required=True)
    task.add_argument("--out", type=Path, metavar="DIR", help="folder to write both files to")
    task.add_argument("--evaluate", type=Path, metavar="DIR", help="measure the files in a folder")
    parser.add_argument("--data-only", action="store_true", help="write the test images alone")
    options = parser.parse_args(arguments)
    if options.data_only and options.out is None:
        parser.error("--data-only goes with --out")
    try:
        if options.evaluate is not None:
            evaluate(options.evaluate)
        else:
            create(options.out, options.data_only)
    except TrainingError as error:
        print(f"train_digits: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
