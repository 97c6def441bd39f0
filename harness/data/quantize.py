"""A float Keras model becomes an int8 TFLite model. Needs TensorFlow, an optional extra.

Post-training quantization as TensorFlow documents it: the training data give the ranges, all
operators are int8, and so are input and output.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from harness.errors import ConfigError, ToolchainError

Array = npt.NDArray[Any]

REPRESENTATIVE: Final = 1000
"""At most this many training samples set the ranges."""


def quantize(float_model: Path, train_data: Array) -> bytes:
    """The int8 .tflite of a Keras model (.h5 or .keras).

    train_data: [N, ...] in the model's real units; the first tenth, at least 1 and at most
    REPRESENTATIVE samples, set the ranges. Raises ToolchainError without TensorFlow, ConfigError
    when the model or the data do not work.
    """
    tensorflow = _tensorflow("to quantize a float_model")
    if not np.isfinite(train_data).all():
        raise ConfigError("train_data holds NaN or infinite values")
    samples = train_data[: min(max(len(train_data) // 10, 1), REPRESENTATIVE)]

    def representative() -> Iterator[list[Array]]:
        for sample in samples:
            yield [np.asarray(sample, dtype=np.float32)[None]]

    model = _load(tensorflow, float_model)
    try:
        samples = samples.reshape(-1, *model.input_shape[1:])
        converter = tensorflow.lite.TFLiteConverter.from_keras_model(model)
        converter.optimizations = [tensorflow.lite.Optimize.DEFAULT]
        converter.representative_dataset = representative
        converter.target_spec.supported_ops = [tensorflow.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tensorflow.int8
        converter.inference_output_type = tensorflow.int8
        converted: bytes = converter.convert()
    except Exception as error:  # TensorFlow raises many kinds, some of its own
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(f"{float_model} cannot be quantized: {reason}") from error
    return converted


def predict(float_model: Path, inputs: Array) -> Array:
    """Outputs of the float model, float32 [N, ...], for inputs in its real units.

    Raises as `quantize` does.
    """
    tensorflow = _tensorflow("to run a float_model")
    model = _load(tensorflow, float_model)
    try:
        shaped = np.asarray(inputs, dtype=np.float32).reshape(-1, *model.input_shape[1:])
        return np.asarray(model.predict(shaped, verbose=0))
    except Exception as error:  # as above
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(f"{float_model} cannot be run: {reason}") from error


def available() -> bool:
    """Whether TensorFlow is installed; looks without importing it."""
    import importlib.util

    return importlib.util.find_spec("tensorflow") is not None


def _tensorflow(purpose: str) -> Any:
    try:
        import tensorflow  # type: ignore[import-untyped,unused-ignore]  # an optional package
    except ImportError as error:
        raise ToolchainError(
            f"TensorFlow is needed {purpose} and is not installed: pip install '.[train]' in a "
            "checkout of axonrig, or give an int8 tflite_model instead"
        ) from error
    return tensorflow


def _load(tensorflow: Any, float_model: Path) -> Any:
    if not float_model.exists():
        raise ConfigError(f"float_model {float_model} does not exist")
    try:
        return tensorflow.keras.models.load_model(float_model, compile=False)
    except Exception as error:  # as above
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(f"float_model {float_model} cannot be loaded: {reason}") from error
