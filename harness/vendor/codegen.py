"""Code for the NPU: an Axon program through Nordic's code generator and simulator."""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from compiler import AxonProgram, Layer, Op, UnsupportedError, interpret
from harness.compiled import Compiled
from harness.errors import ToolchainError
from harness.footprint import Footprint
from harness.vendor.process import LibraryRun, run_library
from harness.vendor.result_codes import Fault, refusal_of
from harness.vendor.sdk import Sdk

Array = npt.NDArray[np.integer]

SOURCE: Final = "vendor-sim"
BASE_TIMEOUT_S: Final = 120.0
VECTOR_TIMEOUT_S: Final = 60.0
"""Nordic's simulator takes seconds for one inference of an MLPerf Tiny model on a busy machine."""

SOFTMAX_TOLERANCE: Final = 2.0**-13
"""As a probability. Twice what the recorded runs need (docs/vendor-backend.md)."""

_LIBRARY_WORD_BYTES: Final = 8
CHIP_WORD_BYTES: Final = 4
"""Commands are words as wide as an address; the library counts those of its own machine."""

_BINARY: Final = "program.bin"
_VECTORS: Final = "vectors.csv"
_LAYERS: Final = "layers.csv"
_OUT: Final = "out"
_RANDOM_SEED: Final = 0


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A layer whose simulated output is not what our reference computes; largest difference.

    approximation: no more than the two exponentials inside softmax are known to differ.
    """

    layer: int
    op: str
    max_lsb: int
    approximation: bool


@dataclass(frozen=True, slots=True, eq=False)
class Generated:
    """What Nordic's code generator made of a program.

    Sizes in bytes on the chip. ticks: NPU cycles of one inference in Nordic's simulator.
    headers: C files by name. layers: for each vector the raw output of every layer, [C, H, W] or
    [batch, C, H, W]; of a persistent variable nothing, [0], because the simulator does not write
    it down.
    own_vectors: the vectors were the caller's, not a random one.
    """

    sdk: Sdk
    constant_bytes: int
    interlayer_bytes: int
    psum_bytes: int
    command_buffer_bytes: int
    ticks: int
    headers: Mapping[str, bytes]
    layers: tuple[tuple[Array, ...], ...]
    own_vectors: bool
    disagreements: tuple[Disagreement, ...]

    @property
    def footprint(self) -> Footprint:
        """What the program needs on the device."""
        return Footprint(
            flash_bytes=self.constant_bytes + self.command_buffer_bytes,
            ram_bytes=self.interlayer_bytes + self.psum_bytes,
            cycles=self.ticks,
        )

    def facts(self) -> dict[str, Any]:
        """For NAME.json."""
        return {
            "versions": self.sdk.facts(),
            "constant_bytes": self.constant_bytes,
            "interlayer_bytes": self.interlayer_bytes,
            "psum_bytes": self.psum_bytes,
            "command_buffer_bytes": self.command_buffer_bytes,
            "inference": {
                "source": SOURCE,
                "ticks": self.ticks,
                "vectors": len(self.layers),
                "vectors_origin": "test data" if self.own_vectors else "random",
                "layers": len(self.layers[0]) if self.layers else 0,
                "unequal_to_reference": [asdict(item) for item in self.disagreements],
            },
        }


def generate(
    compiled: Compiled,
    sdk: Sdk,
    vectors: Array | None = None,
    timeout_s: float | None = None,
    *,
    layer_models: bool = False,
) -> Generated:
    """Nordic's code for the NPU, and what its simulator computes.

    vectors: int8 [N, C, H, W] as the program takes them; they go into a header of test vectors.
    Without them one random vector is run, because only a run gives the ticks, and it leaves no
    header. layer_models: keep the header of the layers as models then, too. Raises UnsupportedError
    when the library refuses the program, ToolchainError when it fails, crashes, does not return in
    time or leaves something else than was asked for.
    """
    program = compiled.program
    inputs = _random_vector(program) if vectors is None else vectors
    limit = timeout_s if timeout_s is not None else BASE_TIMEOUT_S + VECTOR_TIMEOUT_S * len(inputs)
    with tempfile.TemporaryDirectory(prefix="axonrig-") as name:
        folder = Path(name)
        (folder / _OUT).mkdir()
        (folder / _BINARY).write_bytes(compiled.binary)
        (folder / _VECTORS).write_text(_csv(inputs))
        prefix = prefix_of(program)
        run = run_library(sdk.compiler_library, _arguments(prefix), folder, "infer", limit)
        if run.code != 0:
            raise _refused(run, program)
        wanted = _header_names(prefix, vectors is not None, layer_models)
        headers = _headers(folder / _OUT, wanted)
        layers = _layers(folder / _OUT / _LAYERS, program, len(inputs))
    _check_header(headers[f"{prefix}_.h"].decode("utf-8", "replace"), program, sdk, run)
    return Generated(
        sdk=sdk,
        constant_bytes=run.constant_bytes,
        interlayer_bytes=run.interlayer_bytes,
        psum_bytes=run.psum_bytes,
        command_buffer_bytes=run.command_buffer_bytes * CHIP_WORD_BYTES // _LIBRARY_WORD_BYTES,
        ticks=run.ticks,
        headers=headers,
        layers=layers,
        own_vectors=vectors is not None,
        disagreements=_disagreements(program, inputs, layers),
    )


def prefix_of(program: AxonProgram) -> str:
    """Start of the headers' file names, as Nordic's tools and samples have it."""
    return f"nrf_axon_model_{program.name.lower()}"


def _arguments(prefix: str) -> tuple[str, ...]:
    """Argument list of the library. Without any one of them, 1.4.0 crashes or never returns."""
    return (
        f"-b{_BINARY}",
        f"-v{_VECTORS}",
        f"-t{_OUT}/{prefix}_test_vectors_.h",
        f"-r{_OUT}/{_LAYERS}",
        f"-s{_OUT}/sim_env",
        f"-f{_OUT}/{prefix}",
        f"-p{_OUT}/{prefix}_layers",
        f"-l{_OUT}/outputs.csv",
    )


def _random_vector(program: AxonProgram) -> Array:
    """int8 [1, C, H, W]; the same every time."""
    generator = np.random.default_rng(_RANDOM_SEED)
    return generator.integers(-128, 128, (1, *program.input_dims.shape), dtype=np.int8)


def _csv(vectors: Array) -> str:
    return "".join(",".join(map(str, vector.ravel().tolist())) + "\n" for vector in vectors)


def _refused(run: LibraryRun, program: AxonProgram) -> Exception:
    refusal = refusal_of(run.code)
    what = f"{refusal.name} ({refusal.code}): {refusal.meaning}; its last lines: {run.tail}"
    if refusal.fault is Fault.TOOL:
        return ToolchainError(f"Nordic's code generator failed: {what}")
    where = _where(run, program)
    if refusal.fault is Fault.TOO_BIG:
        return UnsupportedError(
            f"Nordic's code generator refused {where}: {what}. Make the model smaller"
        )
    return UnsupportedError(
        f"Nordic's code generator refused {where}: {what}. axonrig's own constraints accepted "
        "the model: this is a fault of axonrig, please report it with the model"
    )


def _where(run: LibraryRun, program: AxonProgram) -> str:
    if run.stage == "infer":
        return "to run the model in its simulator"
    found = re.findall(r"compiling layer (\d+)", run.log)
    if not found or int(found[-1]) >= len(program.layers):
        return "the model"
    index = int(found[-1])
    return f"layer {index} ({program.layers[index].op.name.lower()})"


def _header_names(prefix: str, vectors: bool, layer_models: bool) -> tuple[str, ...]:
    """The model, its layers as models, the test vectors."""
    names = [f"{prefix}_.h"]
    names += [f"{prefix}_layers_.h"] if vectors or layer_models else []
    names += [f"{prefix}_test_vectors_.h"] if vectors else []
    return tuple(names)


def _headers(folder: Path, names: tuple[str, ...]) -> dict[str, bytes]:
    """Generated headers by name."""
    headers = {}
    for name in names:
        try:
            headers[name] = (folder / name).read_bytes()
        except OSError as error:
            left = ", ".join(sorted(path.name for path in folder.iterdir())) or "nothing"
            raise ToolchainError(
                f"Nordic's code generator reports success, but {name} is not there; it left {left}"
            ) from error
    return headers


def _check_header(text: str, program: AxonProgram, sdk: Sdk, run: LibraryRun) -> None:
    """Names, version and size in the header are those that the library was asked for."""
    name = program.name.lower()
    major, minor, patch = (int(part) for part in sdk.compiler_version.split("."))
    expected = {
        "the model's name": rf'\.model_name\s*=\s*"{re.escape(name)}"',
        f"the symbol model_{name}": rf"\bnrf_axon_nn_compiled_model_s\s+model_{re.escape(name)}\b",
        f"compiler version {sdk.compiler_version}": (
            rf"\.compiler_version\s*=\s*0x0*{major << 16 | minor << 8 | patch:x}\b"
        ),
        f"an interlayer buffer of {run.interlayer_bytes} bytes": (
            rf"_MAX_IL_BUFFER_USED\s+{run.interlayer_bytes}\b"
        ),
    }
    for what, pattern in expected.items():
        if re.search(pattern, text) is None:
            raise ToolchainError(
                f"the header that Nordic's code generator wrote for {name} lacks {what}: this "
                "version of sdk-edge-ai does not fit this axonrig"
            )


def _layers(path: Path, program: AxonProgram, vectors: int) -> tuple[tuple[Array, ...], ...]:
    """Raw outputs from the library's CSV: one line per layer, all layers of each vector in turn.

    Persistent variables have no line.
    """
    try:
        lines = path.read_text().splitlines()
        rows = [
            np.array(line.strip().strip(",").split(","), dtype=np.int64).astype(np.int32)
            for line in lines
        ]
    except (OSError, ValueError) as error:
        raise ToolchainError(
            f"the layer outputs that Nordic's simulator wrote cannot be read: {error}"
        ) from error
    count = sum(layer.op is not Op.PERSISTENT_VARIABLE for layer in program.layers)
    if len(rows) != vectors * count:
        raise ToolchainError(
            f"Nordic's simulator gave {len(rows)} layer outputs; expected {vectors * count} "
            f"({vectors} vectors, {count} layers)"
        )
    return tuple(_vector_layers(rows[k * count : (k + 1) * count], program) for k in range(vectors))


def _vector_layers(rows: list[npt.NDArray[np.int32]], program: AxonProgram) -> tuple[Array, ...]:
    remaining = iter(rows)
    return tuple(
        np.empty(0, np.int32)
        if layer.op is Op.PERSISTENT_VARIABLE
        else _shaped(next(remaining), index, layer)
        for index, layer in enumerate(program.layers)
    )


def _shaped(row: npt.NDArray[np.int32], index: int, layer: Layer) -> Array:
    dims = layer.output_dims
    if row.size != dims.elements:
        raise ToolchainError(
            f"Nordic's simulator gave {row.size} values for layer {index} "
            f"({layer.op.name.lower()}); expected {dims.elements}"
        )
    return row.reshape(dims.shape if dims.batch == 1 else (dims.batch, *dims.shape))


def _disagreements(
    program: AxonProgram, inputs: Array, layers: tuple[tuple[Array, ...], ...]
) -> tuple[Disagreement, ...]:
    """Our reference on the same vectors, layer by layer."""
    ours = interpret(program, inputs).layers
    found = []
    for index, layer in enumerate(program.layers):
        if layer.op is Op.PERSISTENT_VARIABLE:
            continue
        expected = np.asarray(ours[index], np.int64).reshape(len(inputs), -1)
        given = np.stack([outputs[index].ravel() for outputs in layers])
        worst = int(np.abs(expected - given).max(initial=0))
        if worst:
            known = layer.op is Op.SOFTMAX and worst <= _softmax_tolerance_lsb(layer)
            found.append(Disagreement(index, layer.op.name.lower(), worst, known))
    return tuple(found)


def _softmax_tolerance_lsb(layer: Layer) -> float:
    """One step of an int8 output; SOFTMAX_TOLERANCE of an int32 output's own unit."""
    if layer.multipliers is None or layer.shifts is None:
        return 1.0
    unit = math.ldexp(float(layer.multipliers.flat[0]), -int(layer.shifts.flat[0]))
    return max(1.0, unit * SOFTMAX_TOLERANCE)
