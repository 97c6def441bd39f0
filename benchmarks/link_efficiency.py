"""Share of the serial line that is image payload, on the paced host firmware. Prints a table.

    python benchmarks/link_efficiency.py [--seconds S]

The firmware runs as a process whose receiving and sending are paced to the rate (8N1: ten bits a
byte). Its model is small, one for each input size, and faster than the line, so that the line is
the bottleneck. Payload share = input bytes * 10 / (rate * time from first byte to last result).
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from compiler import AxonProgram, Dims, Layer, LayerInput, Op, Quantization
from harness.firmware.build import firmware_model
from harness.firmware.host_build import build_host
from harness.link import Link, LinkOptions
from harness.transport.process import start_process

RATES = (115200, 1_000_000)
SHAPES = {"kws01 (490)": (1, 49, 10), "ic01 (3072)": (3, 32, 32), "vww01 (27648)": (3, 96, 96)}


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement. payload_share: of the line's byte rate; wire_ratio: sent / payload bytes."""

    name: str
    baud: int
    images: int
    seconds: float
    payload_share: float
    wire_ratio: float
    repeats: int


def pooling_program(shape: tuple[int, int, int]) -> AxonProgram:
    """A maximum over 2 x 2 windows: next to no work for each input byte."""
    channels, height, width = shape
    layer = Layer(
        op=Op.MAX_POOL,
        inputs=(LayerInput(-1, Dims(height, width, channels)),),
        output_dims=Dims(height // 8, width // 8, channels),
        filter_dims=Dims(8, 8, channels),
        stride_x=8,
        stride_y=8,
    )
    return AxonProgram("pool", (layer,), Quantization(1, 0, 0), Quantization(1, 0, 0))


def measure(name: str, shape: tuple[int, int, int], baud: int, seconds: float) -> Row:
    """Send random images for about `seconds`; check that each was answered."""
    program = pooling_program(shape)
    firmware = build_host(firmware_model(program))
    size = int(np.prod(shape))
    images = max(4, int(seconds * baud / 10 / size))
    data = np.random.default_rng(1).integers(0, 256, images * size, np.uint8).tobytes()
    line = start_process(firmware.path, ["--baud", str(baud)])
    link = Link(line, LinkOptions(), baud=baud)
    link.hello()
    sent, begin = link.counts.sent_bytes, line.now()
    results = link.infer(data)
    taken = line.now() - begin
    wire = link.counts.sent_bytes - sent
    link.close()
    if len(results) != images:
        raise SystemExit(f"{name}: {len(results)} results for {images} images")
    share = len(data) * 10 / baud / taken
    return Row(name, baud, images, taken, share, wire / len(data), link.counts.repeats)


def main() -> int:
    """Print one line per input size and rate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="per measurement (default: 10)")
    arguments = parser.parse_args()
    print(
        f"{'input':16}{'baud':>9}{'images':>8}{'seconds':>9}{'payload share':>15}{'wire/byte':>11}"
    )
    for name, shape in SHAPES.items():
        for baud in RATES:
            row = measure(name, shape, baud, arguments.seconds)
            print(
                f"{row.name:16}{row.baud:9}{row.images:8}{row.seconds:9.3f}"
                f"{row.payload_share:14.2%} {row.wire_ratio:10.4f}  repeats {row.repeats}"
            )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
