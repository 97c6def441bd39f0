"""Who can run a case: host TFLite, our simulators, the vendor's simulator, boards."""

from __future__ import annotations

import os
import platform
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from compiler import CompileOptions, Dims, interpret
from harness.compare import Side
from harness.compiled import Source, gather
from harness.engine import Engine, NativeEngine, native_library
from harness.errors import BoardNotFound, ToolchainError
from harness.golden import KernelSet, TracedTensor, golden_outputs, runtime_version, trace
from harness.native.plan import obstacle
from harness.pairing import steps_of
from harness.progress import Progress
from harness.selection import Selection, open_device
from harness.verify.case import Case
from harness.verify.verdict import Gap, Role

if TYPE_CHECKING:
    from harness.vendor.codegen import Generated

Array = npt.NDArray[Any]
Layers = tuple[Array, ...] | tuple[TracedTensor, ...]

VECTORS_AT_ONCE: Final = 16
_VENDOR_MACHINE: Final = ("Linux", "x86_64")


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What a party computed for every sample.

    source: the label of its figures. backend: what computed. gap: None, or what the party itself
    knows of its difference to the definition.
    """

    side: Side
    source: str
    backend: str
    gap: Gap | None = None


class Party(Protocol):
    """Runs cases; nothing of one case is kept for the next."""

    @property
    def name(self) -> str:
        """How it is called in tables and files."""

    @property
    def role(self) -> Role:
        """Who it is."""

    def absence(self, case: Case) -> str | None:
        """Why it cannot run this case here; None when it can."""

    def run(self, case: Case, progress: Progress | None = None) -> Answer:
        """Run every sample. Raises HarnessError or CompilerError."""

    def layers(self, case: Case, sample: int) -> Layers | None:
        """What each layer gave for one sample, run alone from the first state; None where that
        cannot be had. Program layers are raw, [batch, C, H, W]; host TFLite's are its tensors."""


@dataclass(frozen=True, slots=True)
class HostParty:
    """Host TFLite with one set of kernels."""

    kernels: KernelSet

    @property
    def name(self) -> str:
        """See `Party`."""
        return f"tflite-{self.kernels.value}"

    @property
    def role(self) -> Role:
        """See `Party`."""
        return Role.REFERENCE if self.kernels is KernelSet.REFERENCE else Role.OPTIMISED

    def absence(self, case: Case) -> str | None:  # noqa: ARG002  # the interface's
        """See `Party`."""
        return None

    def run(self, case: Case, progress: Progress | None = None) -> Answer:
        """See `Party`."""
        golden = golden_outputs(
            case.model.data,
            case.inputs,
            self.kernels,
            tensors=case.targets,
            use_cache=False,
            progress=progress,
        )
        steps = tuple(steps_of(tensor) for tensor in case.targets)
        return Answer(Side(self.name, golden.outputs, steps), "host", runtime_version())

    def layers(self, case: Case, sample: int) -> tuple[TracedTensor, ...]:
        """See `Party`."""
        return trace(case.model.data, case.inputs[sample : sample + 1], self.kernels)


@dataclass(frozen=True, slots=True)
class DefinitionParty:
    """The compiler's reference executor, which everything is measured against."""

    name: str = "definition"
    role: Role = Role.DEFINITION

    def absence(self, case: Case) -> str | None:  # noqa: ARG002  # the interface's
        """See `Party`."""
        return None

    def run(self, case: Case, progress: Progress | None = None) -> Answer:
        """See `Party`."""
        outputs = interpret(case.program, case.maps, keep_layers=False).outputs
        if progress:
            progress(len(case.inputs), len(case.inputs))
        return Answer(case.side(self.name, outputs), "sim", "numpy reference", Gap.NONE)

    def layers(self, case: Case, sample: int) -> tuple[Array, ...]:
        """See `Party`."""
        return interpret(case.program, case.maps[sample]).layers


@dataclass(frozen=True, slots=True, eq=False)
class EngineParty:
    """The simulator's native engine, or another one that is to be tested."""

    engine: Engine | None = None
    name: str = "native"
    role: Role = Role.ENGINE

    def absence(self, case: Case) -> str | None:
        """See `Party`."""
        if self.engine is None and native_library() is None:
            return "the native engine cannot be built on this machine"
        return obstacle(case.program)

    def run(self, case: Case, progress: Progress | None = None) -> Answer:
        """See `Party`."""
        engine = self._engine()
        outputs = engine.run(case.program, case.maps).outputs
        if progress:
            progress(len(case.inputs), len(case.inputs))
        return Answer(case.side(self.name, outputs), "sim", engine.name)

    def layers(self, case: Case, sample: int) -> tuple[Array, ...]:
        """See `Party`."""
        maps = case.maps[sample : sample + 1]
        return self._engine().run(case.program, maps, keep_layers=True).layers

    def _engine(self) -> Engine:
        if self.engine is not None:
            return self.engine
        library = native_library()
        if library is None:
            raise ToolchainError("the native engine cannot be built on this machine")
        return NativeEngine(library)


@dataclass(frozen=True, slots=True)
class VendorParty:
    """Nordic's simulator behind Nordic's code generator, layer by layer."""

    name: str = "vendor-sim"
    role: Role = Role.VENDOR

    def absence(self, case: Case) -> str | None:  # noqa: ARG002  # the interface's
        """See `Party`."""
        from harness.vendor.sdk import VARIABLE

        if not os.environ.get(VARIABLE, "").strip():
            return f"{VARIABLE} is not set (docs/vendor-backend.md)"
        machine = (platform.system(), platform.machine())
        if machine != _VENDOR_MACHINE:
            return f"the vendor's simulator runs on Linux on x86_64; this is {' on '.join(machine)}"
        return None

    def run(self, case: Case, progress: Progress | None = None) -> Answer:
        """See `Party`."""
        from harness.vendor.sdk import find_sdk

        sdk, program, maps = find_sdk(), case.program, case.maps
        vectors: list[tuple[Array, ...]] = []
        gap = Gap.NONE
        # What a variable holds goes from vector to vector, so those stay together.
        step = len(maps) if case.keeps_state else VECTORS_AT_ONCE
        for at in range(0, len(maps), step):
            found = _simulate(case, maps[at : at + step])
            vectors += [tuple(layers[i] for i in program.output_layers) for layers in found.layers]
            gap = max(gap, _known_gap(found), key=list(Gap).index)
            if progress:
                progress(len(vectors), len(maps))
        outputs = [
            _typed(program.layers[index].output_dims, np.stack(values))
            for index, values in zip(program.output_layers, zip(*vectors, strict=True), strict=True)
        ]
        backend = f"Axon {sdk.compiler_version}, sdk-edge-ai {sdk.version}"
        return Answer(case.side(self.name, outputs), "vendor-sim", backend, gap)

    def layers(self, case: Case, sample: int) -> tuple[Array, ...]:
        """See `Party`."""
        layers = _simulate(case, case.maps[sample : sample + 1]).layers[0]
        dims = (layer.output_dims for layer in case.program.layers)
        return tuple(_typed(d, values) for d, values in zip(dims, layers, strict=True))


@dataclass(frozen=True, slots=True)
class BoardParty:
    """A board, real or emulated, or the firmware as a process."""

    selection: Selection

    @property
    def name(self) -> str:
        """See `Party`."""
        missing = self.selection.fallback is not None
        return f"board {self.selection.asked if missing else self.selection.name}"

    @property
    def role(self) -> Role:
        """See `Party`."""
        roles = {"board": Role.BOARD, "vendor-sim": Role.VENDOR}
        return roles.get(self.selection.source, Role.FIRMWARE)

    def absence(self, case: Case) -> str | None:  # noqa: ARG002  # the interface's
        """See `Party`."""
        return None

    def run(self, case: Case, progress: Progress | None = None) -> Answer:
        """See `Party`. Raises BoardNotFound when the board is not connected."""
        if self.selection.fallback is not None:
            raise BoardNotFound(
                f"no board that fits '{self.selection.asked}' is connected: plug one in, or leave "
                "out --board"
            )
        with closing(open_device(self.selection, case.program)) as device:
            inference = device.infer(case.maps, progress)
            info = device.info
        return Answer(case.side(self.name, inference.outputs), info.source, info.backend)

    def layers(self, case: Case, sample: int) -> None:
        """No link sends layers; `harness.verify.locate` finds the first that differs."""


def _simulate(case: Case, maps: Array) -> Generated:
    """Nordic's code generator and simulator on some samples."""
    from harness.vendor.codegen import generate
    from harness.vendor.sdk import find_sdk

    program, model = case.program, case.model
    source = Source(model.path.name, model.data)
    compiled = gather(program.name, program, CompileOptions(name=program.name), source)
    return generate(compiled, find_sdk(), maps)


def _known_gap(code: Generated) -> Gap:
    if not code.disagreements:
        return Gap.NONE
    known = all(item.approximation for item in code.disagreements)
    return Gap.KNOWN if known else Gap.BEYOND


def _typed(dims: Dims, values: Array) -> Array:
    """The library's int32 numbers as the layer's own type, [N, C, H, W]."""
    return values.reshape(-1, *dims.shape).astype(f"i{dims.byte_width}")
