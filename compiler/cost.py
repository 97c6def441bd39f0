"""How long a program takes, on what, and at what energy: estimates, each with its label.

    cost = estimate(program)                     # or estimate(program, load_arch(path))
    cost.cycles, cost.device_us, cost.layers[3].bound

NPU cycles follow the formulas of `compiler.cycles`, calibrated on the vendor's simulator. The CPU's
part, which the vendor's estimate leaves out, is our own and kept apart. Device time comes from the
one published device log, with a band; energy from typical currents of the product specification.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from compiler.arch import Arch, load_arch
from compiler.cycles import (
    FORMULAS,
    Broadcast,
    LayerShape,
    Parts,
    layer_parts,
    may_stall,
    npu_runs,
)
from compiler.ir import AxonProgram, Op
from compiler.memory import command_bytes, constant_bytes
from compiler.shapes import program_shapes

Bound = Literal["compute", "fetch", "overhead", "cpu"]

STALL: Final = "may-stall"
"""Flag: the vendor's estimate explodes for such a layer, and this one does not follow it."""
DILATED: Final = "dilated"
"""Flag: a dilated kernel, whose formula rests on few layers."""
CPU_DRIVEN: Final = "cpu-driven"
"""Flag: the vendor's CPU code drives the NPU through this layer, channel by channel."""
UNMODELLED: Final = "unmodelled"
"""Flag: an operator whose cost is not known; its cycles are counted as 0."""
CONVERTED: Final = "converted"
"""Flag: a sigmoid or tanh whose input is not q3.12."""
FLAGS: Final = {
    STALL: "the vendor's simulator reports 65,536 cycles per plane or more for such a layer (a "
    "kernel wider than its map, two or more columns of padding); the figure here is without that",
    DILATED: "dilated kernels were calibrated on 24 layers",
    CPU_DRIVEN: "driven by the CPU through an operator extension",
    CONVERTED: "its input is not q3.12; the NPU converts it first, and the vendor's code converts "
    "the first channel only. axonrig's own compiler writes no such program",
    UNMODELLED: "no cost is known for this operator",
}
"""What each flag means, for people."""


@dataclass(frozen=True, slots=True)
class LayerCost:
    """Estimated cost of one layer.

    cycles: NPU cycles. cpu_cycles: our own estimate of the CPU's part, in CPU cycles. bound: what
    limits the layer. command_bytes: estimated. const_bytes: exact. flags: keys of `FLAGS`.
    """

    index: int
    op: Op
    cycles: int
    macs: int
    bound: Bound
    on_npu: bool
    cpu_cycles: int
    command_bytes: int
    const_bytes: int
    flags: tuple[str, ...] = ()

    @property
    def macs_per_cycle(self) -> float:
        """Multiply-accumulates per NPU cycle; 0 where the NPU has no part."""
        return self.macs / self.cycles if self.cycles else 0.0


@dataclass(frozen=True, slots=True)
class ProgramCost:
    """Estimated cost of one inference.

    cycles: NPU cycles, including the start of each run of layers on the NPU. device_us: NPU time on
    the device, with its band; the CPU's part is in cpu_us. energy_uj: of the NPU time, at supply_v
    and current_ma, with the band of time and current.
    """

    layers: tuple[LayerCost, ...]
    cycles: int
    cpu_cycles: int
    macs: int
    device_us: float
    device_us_low: float
    device_us_high: float
    cpu_us: float
    current_ma: float
    supply_v: float
    energy_uj: float
    energy_uj_low: float
    energy_uj_high: float
    sources: dict[str, str] = field(default_factory=dict)


def estimate(
    program: AxonProgram, arch: Arch | None = None, *, supply_v: float | None = None
) -> ProgramCost:
    """Estimate a program's cost, layer by layer. `supply_v` in volts; the default is the NPU
    description's.

    Raises ModelFormatError when the NPU description that comes with axonrig cannot be read.
    """
    arch = arch or load_arch()
    shapes = program_shapes(program)
    parts = [layer_parts(s, arch) for s in shapes]
    before: Sequence[LayerShape | None] = [None, *shapes[:-1]]
    layers = tuple(
        _layer_cost(index, s, part, arch, previous)
        for index, (s, part, previous) in enumerate(zip(shapes, parts, before, strict=True))
    )
    npu = sum(part.cycles for part in parts) + arch.segment_cycles * npu_runs(shapes)
    cpu = sum(layer.cpu_cycles for layer in layers)
    volts = arch.energy.default_supply_v if supply_v is None else supply_v
    low, middle, high = device_time_us(npu, arch)
    current, spread = npu_current_ma(shapes, parts, arch)
    return ProgramCost(
        layers=layers,
        cycles=round(npu),
        cpu_cycles=cpu,
        macs=sum(layer.macs for layer in layers),
        device_us=middle,
        device_us_low=low,
        device_us_high=high,
        cpu_us=cpu / arch.cpu_clock_hz * 1e6,
        current_ma=current,
        supply_v=volts,
        energy_uj=_energy_uj(current, volts, middle),
        energy_uj_low=_energy_uj(current - spread, volts, low),
        energy_uj_high=_energy_uj(current + spread, volts, high),
        sources=sources(arch),
    )


def _layer_cost(
    index: int, s: LayerShape, parts: Parts, arch: Arch, previous: LayerShape | None
) -> LayerCost:
    return LayerCost(
        index=index,
        op=s.op,
        cycles=round(parts.cycles),
        macs=macs(s),
        bound=bound_of(s, parts),
        on_npu=not s.op.on_cpu,
        cpu_cycles=round(cpu_cycles(s, arch)),
        command_bytes=command_bytes(s, arch, previous),
        const_bytes=constant_bytes(s),
        flags=tuple(flags(s)),
    )


def bound_of(s: LayerShape, parts: Parts) -> Bound:
    """What limits a layer: the array, the bus, or what it takes to start planes and commands."""
    if s.op.on_cpu:
        return "cpu"
    busy = max(parts.compute, parts.fetch)
    if parts.cycles > 2 * busy:
        return "overhead"
    return "compute" if parts.compute >= parts.fetch else "fetch"


def flags(s: LayerShape) -> list[str]:
    """Keys of `FLAGS` that a layer earns."""
    found = []
    if may_stall(s):
        found.append(STALL)
    if s.dilated:
        found.append(DILATED)
    spread = s.broadcast in (Broadcast.CHANNEL, Broadcast.SCALAR, Broadcast.COLUMN)
    if s.op is Op.ADD and spread and not s.constant:
        found.append(CPU_DRIVEN)
    if s.converted:
        found.append(CONVERTED)
    if s.op not in FORMULAS and not s.op.on_cpu:
        found.append(UNMODELLED)
    return found


_WEIGHTED: Final = (Op.CONV2D, Op.POINTWISE_CONV2D)
_WINDOWED: Final = (Op.DEPTHWISE_CONV2D, Op.AVERAGE_POOL, Op.MAX_POOL, Op.MEAN)


def macs(s: LayerShape) -> int:
    """Multiply-accumulates of a layer; for pools and element-wise operators, values taken in."""
    outputs = s.out_h * s.out_w * s.out_c * s.batch
    if s.op in _WEIGHTED:
        return outputs * s.kernel_h * s.kernel_w * s.in_c
    if s.op in _WINDOWED:
        return outputs * s.kernel_h * s.kernel_w
    if s.op is Op.FULLY_CONNECTED:
        return outputs * s.in_h * s.in_w * s.in_c
    return outputs


def _moved(s: LayerShape, arch: Arch) -> float:
    return arch.cpu.moved_value * s.out_h * s.out_w * s.out_c * s.batch


_CPU_WORK: Final[dict[Op, Callable[[LayerShape, Arch], float]]] = {
    Op.SOFTMAX: lambda s, arch: arch.cpu.softmax_value * s.in_h * s.in_w * s.in_c,
    Op.SIGMOID: lambda s, arch: arch.cpu.sigmoid_value * s.out_h * s.out_w * s.out_c,
    Op.TANH: lambda s, arch: arch.cpu.tanh_value * s.out_h * s.out_w * s.out_c,
    Op.RESHAPE: _moved,
    Op.SPACE_TO_BATCH: _moved,
    Op.BATCH_TO_SPACE: _moved,
    Op.RESIZE_NEAREST: _moved,
}


def cpu_cycles(s: LayerShape, arch: Arch) -> float:
    """CPU cycles of a layer: a call, and so many per value. An assumption, not a measurement."""
    work = _CPU_WORK.get(s.op)
    return arch.cpu.call + work(s, arch) if work else 0.0


def device_time_us(cycles: float, arch: Arch) -> tuple[float, float, float]:
    """(low, middle, high) device time in us of so many NPU cycles: scale * cycles / clock + launch.

    The band is what the measurements that the line rests on leave over, plus a margin for their
    being few.
    """
    d = arch.device
    middle = d.scale * cycles / arch.clock_hz * 1e6 + d.launch_us
    spread = d.relative_band * middle + d.absolute_band_us
    return max(0.0, middle - spread), middle, middle + spread


def npu_current_ma(
    shapes: Sequence[LayerShape], parts: Sequence[Parts], arch: Arch
) -> tuple[float, float]:
    """(typical NPU current, half its band) in mA: the specification's currents for convolutional,
    separable and dense models, weighted by where this model spends its cycles."""
    e = arch.energy
    kinds = {
        Op.CONV2D: e.convolution_ma,
        Op.FULLY_CONNECTED: e.dense_ma,
        Op.DEPTHWISE_CONV2D: e.separable_ma,
        Op.POINTWISE_CONV2D: e.separable_ma,
    }
    total = sum(part.cycles for part in parts)
    if total <= 0:
        return e.other_ma, e.separable_band_ma
    drawn = sum(
        part.cycles * kinds.get(s.op, e.other_ma) for s, part in zip(shapes, parts, strict=True)
    )
    return drawn / total, e.separable_band_ma


def _energy_uj(current_ma: float, supply_v: float, time_us: float) -> float:
    return current_ma * supply_v * time_us / 1000.0


def sources(arch: Arch) -> dict[str, str]:
    """What each figure rests on, in words to print beside it."""
    d = arch.device
    return {
        "cycles": "NPU cycles (estimated; formulas calibrated on the vendor's simulator)",
        "device_us": f"device time (estimated from {d.measurements} published measurements: "
        f"{d.source}; +-{d.relative_band:.0%} and {d.absolute_band_us:g} us)",
        "cpu_cycles": "CPU cycles (our own assumption; the vendor's estimate leaves them out)",
        "energy_uj": f"NPU energy (estimated from {arch.energy.source})",
    }
