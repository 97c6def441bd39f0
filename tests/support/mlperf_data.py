"""A small keyword-spotting model and data in the layout of the MLPerf Tiny runners."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from harness.mlperf.benchmarks import BENCHMARKS, Benchmark
from harness.mlperf.plan import MlperfRequest
from harness.mlperf.run import run_mlperf
from tests.support.tflite_builder import ModelBuilder

KWS = BENCHMARKS["kws01"]
AD = BENCHMARKS["ad01"]


def small_kws() -> bytes:
    """A .tflite file: 490 values, one layer, twelve classes with a softmax."""
    builder = ModelBuilder("small_kws")
    x = builder.input(1, 490)
    return builder.build([x], [builder.unary("SOFTMAX", builder.dense(x, 12), beta=1.0)])


def small_autoencoder() -> bytes:
    """A .tflite file: 640 values to as many."""
    builder = ModelBuilder("small_ad")
    x = builder.input(1, 640)
    return builder.build([x], [builder.dense(builder.dense(x, 8, "RELU"), 640)])


def write_folder(root: Path, benchmark: Benchmark, labels: Sequence[int], extra: int = 0) -> Path:
    """ROOT/NAME with one random file per label. extra: bytes behind the first window of ad01."""
    folder = root / benchmark.name
    folder.mkdir(parents=True)
    generator = np.random.default_rng(len(labels))
    lines = []
    for number, label in enumerate(labels):
        size = benchmark.item_bytes
        if benchmark.reconstructs:
            data = generator.normal(0, 2, (size + extra) // 4).astype("<f4").tobytes()
        else:
            data = generator.integers(0, 256, size, dtype=np.uint8).tobytes()
        (folder / f"t_{number}.bin").write_bytes(data)
        tail = f",{size},512" if benchmark.reconstructs else ""
        lines.append(f"t_{number}.bin,{benchmark.classes},{label}{tail}\n")
    (folder / "y_labels.csv").write_text("".join(lines))
    return folder


def write_mlperf(folder: Path) -> None:
    """FOLDER/out: what `axonrig mlperf` writes for two small models on made-up data."""
    models = folder / "models"
    models.mkdir()
    (models / "kws.tflite").write_bytes(small_kws())
    (models / "ad01.tflite").write_bytes(small_autoencoder())
    write_folder(folder / "data", KWS, [3] * 6 + [1] * 6)
    write_folder(folder / "data", AD, [0, 0, 1, 1], extra=512)
    run_mlperf(MlperfRequest(out=folder / "out", models=(str(models),), data=folder / "data"))
