"""Single layers recorded from the vendor's simulator, as rows and as small programs."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.fit_cycles import OPS
from compiler import (
    EXTERNAL_INPUT,
    AxonProgram,
    Dims,
    Layer,
    LayerInput,
    Op,
    Pads,
    Quantization,
)

RECORDED: Final = Path(__file__).parents[2].parent / "shared" / "axon" / "cycles.csv"
_NONE: Final = Quantization(1, 0, 0)


def records() -> list[dict[str, str]]:
    """The rows of the recorded layers; empty where they are absent."""
    if not RECORDED.exists():
        return []
    with RECORDED.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def recorded_program(record: dict[str, str]) -> AxonProgram | None:
    """The small model that a row was recorded on: a 1x1 convolution (two, for a layer that adds or
    multiplies two tensors) and the layer. None for rows whose model is not told by the row."""
    number = {k: int(v) for k, v in record.items() if k not in ("op", "extra")}
    op = OPS[record["op"]]
    if op in (Op.SOFTMAX, Op.SIGMOID, Op.TANH, Op.CONCATENATE):
        return None
    source = Dims(number["in_h"], number["in_w"], number["in_c"])
    layers = [_producer(source)]
    inputs: tuple[LayerInput, ...] = (LayerInput(0, source),)
    filter_dims = Dims(number["k_h"], number["k_w"], number["in_c"])
    if op is Op.FULLY_CONNECTED:
        inputs = (LayerInput(0, Dims(1, source.elements, 1)),)
    if op in (Op.ADD, Op.MULTIPLY):
        kind = record["extra"].removeprefix("{b:").removesuffix("}")
        if not kind.startswith("k") and kind != "full":
            return None
        filter_dims = _second(kind.removeprefix("k"), source)
        if kind == "full":
            layers.append(_producer(source))
            inputs = (LayerInput(1, source), LayerInput(0, source))
    out = Dims(number["out_h"], number["out_w"], number["out_c"], number["out_bytes"])
    layers.append(
        Layer(
            op,
            inputs,
            out,
            filter_dims,
            stride_x=number["stride_w"],
            stride_y=number["stride_h"],
            dilation_x=number["dil_w"],
            dilation_y=number["dil_h"],
            pads=Pads(number["pad_l"], number["pad_r"], number["pad_t"], number["pad_b"]),
            shifts=np.zeros(out.elements if "ps:1" in record["extra"] else 1, np.int8),
        )
    )
    return AxonProgram("recorded", tuple(layers), _NONE, _NONE)


def _second(kind: str, first: Dims) -> Dims:
    """Extent of the second operand, from the record's name for it."""
    return {
        "full": first,
        "111": Dims(1, 1, 1),
        "11c": Dims(1, 1, first.channels),
        "h": Dims(1, first.width, first.channels),
        "w": Dims(first.height, 1, first.channels),
    }[kind]


def _producer(dims: Dims) -> Layer:
    one = LayerInput(EXTERNAL_INPUT, Dims(dims.height, dims.width, 1))
    return Layer(Op.CONV2D, (one,), dims, Dims(1, 1, 1), stride_x=1, stride_y=1)
