"""Models that host TFLite accepts and then does not survive."""

from __future__ import annotations

from tests.support.tflite_builder import ModelBuilder


def aborting_model() -> bytes:
    """A softmax over 1000 nearly equal values: the reciprocal of their sum leaves the range that
    the kernel asserts. Input int8 [1, 1000]."""
    builder = ModelBuilder("aborting")
    x = builder.input(1, 1000, scale=0.005)
    return builder.build([x], [builder.unary("SOFTMAX", x, beta=1.0)])


def slow_model() -> bytes:
    """One sample takes the reference kernels several seconds. Input int8 [1, 64, 64, 32]."""
    builder = ModelBuilder("slow")
    x = builder.input(1, 64, 64, 32)
    return builder.build([x], [builder.conv(x, 32, (32, 32))])
