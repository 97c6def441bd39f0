"""Images per second of the simulator beside host TFLite (LiteRT), in one process, on one input.

    python benchmarks/simulator_speed.py [--model FILE.tflite] [--images N] [--threads N]

The model is the embedded ResNet8 unless another is given. Contenders take turns, several rounds
each, so that other load on the machine hits all of them; the figure is the best round, beside the
median. LiteRT runs with its optimised kernels (the XNNPACK delegate, its default). Before anything
is timed, the simulator's integers are compared with the compiler's reference.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

ROOT: Final = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from compiler import (  # noqa: E402  # needs the path above
    AxonProgram,
    CompileOptions,
    CompilerError,
    compile_model,
    interpret,
)
from harness.device import SimDevice  # noqa: E402
from harness.engine import choose_engine  # noqa: E402
from harness.errors import HarnessError  # noqa: E402
from harness.golden import describe  # noqa: E402
from harness.layout import to_program  # noqa: E402
from harness.model_file import DEFAULT_DATA, DEFAULT_MODEL  # noqa: E402
from harness.native.engine import NativeEngine, available_cores  # noqa: E402

Array = npt.NDArray[Any]

_ROUNDS: Final = 30
_ROUND_S: Final = 0.08
_BATCH: Final = 64
_CHECKED: Final = 32
_FEATURES: Final = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "asimd", "asimddp")


@dataclass(slots=True)
class Contender:
    """Something that takes images. run(images): all of them; seconds: of each round, per image."""

    name: str
    run: Callable[[Array], object]
    seconds: list[float] = field(default_factory=list)

    @property
    def best(self) -> float:
        """Images per second of the best round."""
        return 1 / min(self.seconds)

    @property
    def median(self) -> float:
        """Images per second of the median round."""
        return 1 / statistics.median(self.seconds)


def load_images(model: bytes, count: int) -> Array:
    """int8 [count, *shape of the model's input]: the embedded digits, or noise."""
    shape = describe(model).input.shape
    if model == DEFAULT_MODEL.read_bytes():
        with np.load(DEFAULT_DATA, allow_pickle=False) as archive:
            digits = (np.asarray(archive["x"]) ^ 128).view(np.int8)
        return np.resize(digits, (count, *shape))
    return np.random.default_rng(0).integers(-128, 128, (count, *shape)).astype(np.int8)


def simulators(program: AxonProgram, threads: int) -> list[Contender]:
    """The simulated device, batched and one by one."""
    engine = choose_engine(program)
    if isinstance(engine, NativeEngine):
        engine.threads = threads
    device = SimDevice(program, engine=engine)

    def batched(images: Array) -> None:
        device.infer(to_program(images, program.input_dims))

    def single(images: Array) -> None:
        for image in images:
            device.infer(to_program(image[np.newaxis], program.input_dims))

    name = f"axonrig, {engine.name}"
    return [Contender(f"{name}, batched", batched), Contender(f"{name}, one by one", single)]


def runtimes(model: bytes, threads: int) -> list[Contender]:
    """LiteRT, batched where the model can be, and one by one."""
    contenders = []
    for batch, text in ((_BATCH, f"batches of {_BATCH}"), (1, "one by one")):
        try:
            run = _litert(model, batch, threads)
        except (RuntimeError, ValueError) as error:
            print(f"LiteRT cannot run this model in {text}: {str(error).splitlines()[0]}")
            continue
        contenders.append(Contender(f"LiteRT optimised, {text}", run))
    return contenders


def _litert(model: bytes, batch: int, threads: int) -> Callable[[Array], None]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model, num_threads=threads)
    source = interpreter.get_input_details()[0]
    if batch > 1:
        interpreter.resize_tensor_input(source["index"], [batch, *source["shape"][1:]])
    interpreter.allocate_tensors()
    target = interpreter.get_output_details()[0]["index"]

    def run(images: Array) -> None:
        for start in range(0, len(images) - batch + 1, batch):
            interpreter.set_tensor(source["index"], images[start : start + batch])
            interpreter.invoke()
            interpreter.get_tensor(target)

    run(np.zeros((batch, *source["shape"][1:]), np.int8))
    return run


def measure(contenders: list[Contender], images: Array) -> None:
    """Several rounds in turn; in each, as many images as fit into about a twelfth of a second."""
    counts = []
    for contender in contenders:
        start = time.perf_counter()
        contender.run(images[:_BATCH])
        each = (time.perf_counter() - start) / _BATCH
        fitting = int(_ROUND_S / each) // _BATCH * _BATCH
        counts.append(min(len(images), max(_BATCH, fitting)))
    for _ in range(_ROUNDS):
        for contender, count in zip(contenders, counts, strict=True):
            start = time.perf_counter()
            contender.run(images[:count])
            contender.seconds.append((time.perf_counter() - start) / count)


def check(program: AxonProgram, images: Array) -> None:
    """Stop unless the simulator gives the reference's integers."""
    maps = to_program(images[:_CHECKED], program.input_dims)
    expected = interpret(program, maps, keep_layers=False).outputs
    found = SimDevice(program).infer(maps).outputs
    if not all(np.array_equal(a, b) for a, b in zip(expected, found, strict=True)):
        raise SystemExit("the simulator differs from the reference: no figure is worth printing")


def describe_machine(threads: int) -> str:
    """Processor, instruction sets, cores and versions."""
    path = Path("/proc/cpuinfo")
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    facts = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    named = {key.strip(): value.strip() for key, value in facts.items()}
    flags = (named.get("flags") or named.get("Features") or "").split()
    features = " ".join(name for name in _FEATURES if name in flags) or "unknown"
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    return (
        f"processor  {named.get('model name') or platform.processor() or platform.machine()}\n"
        f"features   {features}\n"
        f"cores      {threads} used of {available_cores()}, load average {load}\n"
        f"versions   Python {platform.python_version()}, numpy {np.__version__}, "
        f"ai-edge-litert {version('ai-edge-litert')}, ziglang {version('ziglang')}"
    )


def print_table(contenders: list[Contender]) -> None:
    """Images per second, and the ratio of the best rounds to each LiteRT row."""
    hosts = [contender for contender in contenders if contender.name.startswith("LiteRT")]
    heads = "".join(f"  / {host.name.removeprefix('LiteRT optimised, '):>13}" for host in hosts)
    print(f"\n{'images per second':<44}{'best':>9}{'median':>9}{heads}")
    for contender in contenders:
        ratios = "".join(f"  {contender.best / host.best:>13.2f} x" for host in hosts)
        print(f"{contender.name:<44}{contender.best:>9.0f}{contender.median:>9.0f}{ratios}")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--model", type=Path, default=DEFAULT_MODEL, help="an int8 .tflite file")
    parser.add_argument("--images", type=int, default=8192, help="different images at most")
    parser.add_argument("--threads", type=int, default=available_cores(), help="for both sides")
    arguments = parser.parse_args()
    model = arguments.model.read_bytes()
    try:
        program = compile_model(model, CompileOptions(name=arguments.model.stem.lower()))
        hosts = runtimes(model, arguments.threads)
        images = load_images(model, max(_BATCH, arguments.images))
        check(program, images)
        contenders = simulators(program, arguments.threads)
    except (CompilerError, HarnessError) as error:
        raise SystemExit(f"{arguments.model}: {error}") from error
    print(f"model      {arguments.model.name}, {_macs(program) / 1e6:.1f} million MACs an image")
    print(describe_machine(arguments.threads))
    measure([*contenders, *hosts], images)
    print_table([*contenders, *hosts])
    return 0


def _macs(program: AxonProgram) -> int:
    """Multiply-accumulates of the layers with weights."""
    total = 0
    for layer in program.layers:
        if (
            layer.filter is not None
            and layer.filter.dtype == np.int8
            and layer.filter.ndim in (2, 4)
        ):
            pixels = layer.output_dims.height * layer.output_dims.width
            total += layer.filter.size * (pixels if layer.filter.ndim == 4 else 1)
        elif layer.filter is not None and layer.op.name == "DEPTHWISE_CONV2D":
            total += layer.filter[0].size * layer.output_dims.elements
    return total


if __name__ == "__main__":
    raise SystemExit(main())
