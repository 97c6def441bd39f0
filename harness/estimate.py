"""The compiler's estimates of a program as labelled, JSON-ready figures (docs/estimate.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from compiler import (
    COST_FLAGS,
    Advice,
    Arch,
    AxonProgram,
    LayerCost,
    MemoryPlan,
    ProgramCost,
    advise,
    estimate,
    load_arch,
    memory_footprint,
    plan_memory,
)
from harness.calibration import load

NPU_LABEL: Final = "NPU cycles (estimated)"
CPU_LABEL: Final = "CPU cycles (estimated)"
ENERGY_LABEL: Final = "energy of one inference (estimated)"
MEMORY_LABEL: Final = "memory (estimated)"
PUBLISHED_LABEL: Final = "device time (estimated from 1 published measurement log)"
NPU_SOURCE: Final = "cycle model, calibrated on Nordic's simulator"
CPU_SOURCE: Final = "our own assumption; Nordic's estimate leaves the CPU out"
OWN_LABEL: Final = "device time (estimated from {count} of your own measurements)"


@dataclass(frozen=True, slots=True)
class _Time:
    """Device time in us with its band, and what it rests on."""

    label: str
    middle: float
    low: float
    high: float
    source: str


def npu_cycles(program: AxonProgram) -> int:
    """Estimated NPU cycles of one inference."""
    return estimate(program).cycles


def estimate_program(
    program: AxonProgram, *, supply_v: float | None = None, board: str | None = None
) -> dict[str, Any]:
    """The estimate of a program; docs/estimate.md defines every key.

    supply_v: for the energy, None for the NPU description's. board: use its calibration, if there
    is one. Raises ConfigError when that is damaged.
    """
    arch = load_arch()
    cost, where = estimate(program, arch, supply_v=supply_v), plan_memory(program)
    time = _time(cost, arch, board)
    return {
        "cycles": cost.cycles,
        "macs": cost.macs,
        "macs_per_cycle": _ratio(cost.macs, cost.cycles),
        "npu": {"label": NPU_LABEL, "cycles": cost.cycles, "source": NPU_SOURCE},
        "cpu": {
            "label": CPU_LABEL,
            "cycles": cost.cpu_cycles,
            "us": round(cost.cpu_us, 1),
            "source": CPU_SOURCE,
        },
        "device_time": {
            "label": time.label,
            "us": round(time.middle, 1),
            "low_us": round(time.low, 1),
            "high_us": round(time.high, 1),
            "source": time.source,
        },
        "energy": _energy(cost, time, arch),
        "memory": _memory(program, where, arch),
        "layers": [_layer(program, layer, cost.cycles) for layer in cost.layers],
        "notes": _notes(program, cost, where),
        "advice": [_advice_text(item) for item in advise(program, arch)],
    }


def _time(cost: ProgramCost, arch: Arch, board: str | None) -> _Time:
    calibration = None if board is None else load(board)
    if calibration is None:
        low, middle, high = cost.device_us_low, cost.device_us, cost.device_us_high
        device = arch.device
        within = f"within {device.relative_band:.0%} and {device.absolute_band_us:g} us"
        return _Time(PUBLISHED_LABEL, middle, low, high, f"{device.source}, {within}")
    line = calibration.line
    middle = line.time_us(cost.cycles, arch.clock_hz)
    band = line.relative_band * middle
    label = OWN_LABEL.format(count=len(calibration.measurements))
    source = f"your own measurements on {calibration.board}"
    return _Time(label, middle, middle - band, middle + band, source)


def _energy(cost: ProgramCost, time: _Time, arch: Arch) -> dict[str, Any]:
    """Charge while the NPU works, times the supply. Proportional to time, so a calibrated time
    carries over."""
    return {
        "label": ENERGY_LABEL,
        "uj": round(cost.energy_uj * time.middle / cost.device_us, 3),
        "low_uj": round(cost.energy_uj_low * time.low / max(cost.device_us_low, 1e-9), 3),
        "high_uj": round(cost.energy_uj_high * time.high / cost.device_us_high, 3),
        "supply_v": cost.supply_v,
        "current_ma": round(cost.current_ma, 3),
        "source": arch.energy.source,
    }


def _memory(program: AxonProgram, where: MemoryPlan, arch: Arch) -> dict[str, Any]:
    sizes = memory_footprint(program, arch)
    exact = "exact by the vendor's rules" if where.exact else "an estimate, see the notes"
    return {
        "label": MEMORY_LABEL,
        "source": f"memory model; interlayer buffer {exact}, commands estimated",
        "ram_bytes": sizes.interlayer_bytes + sizes.psum_bytes + sizes.persistent_bytes,
        "flash_bytes": sizes.constant_bytes + sizes.command_bytes,
        "interlayer_bytes": sizes.interlayer_bytes,
        "interlayer_limit_bytes": program.options.interlayer_limit,
        "psum_bytes": sizes.psum_bytes,
        "persistent_bytes": sizes.persistent_bytes,
        "constant_bytes": sizes.constant_bytes,
        "command_bytes": sizes.command_bytes,
        "tensors": [
            {
                "layer": slot.layer,
                "kind": slot.kind,
                "offset": slot.offset,
                "size": slot.size,
                "first_layer": slot.first_layer,
                "last_layer": slot.last_layer,
            }
            for slot in where.slots
        ],
    }


def _layer(program: AxonProgram, layer: LayerCost, total: int) -> dict[str, Any]:
    dims = program.layers[layer.index].output_dims
    return {
        "index": layer.index,
        "op": layer.op.name.lower(),
        "shape": ", ".join(str(extent) for extent in dims.shape),
        "macs": layer.macs,
        "cycles": layer.cycles,
        "macs_per_cycle": round(layer.macs_per_cycle, 4),
        "share": _ratio(layer.cycles, total),
        "bytes": layer.const_bytes + layer.command_bytes,
        "constant_bytes": layer.const_bytes,
        "command_bytes": layer.command_bytes,
        "runs_on": "npu" if layer.on_npu else "cpu",
        "bound": layer.bound,
        "cpu_cycles": layer.cpu_cycles,
        "flags": list(layer.flags),
    }


def _notes(program: AxonProgram, cost: ProgramCost, where: MemoryPlan) -> list[str]:
    """What a reader must know before using the figures."""
    notes = [
        f"layer {layer.index} ({layer.op.name.lower()}): {COST_FLAGS[flag]}"
        for layer in cost.layers
        for flag in layer.flags
    ]
    for index in where.uncertain:
        name = program.layers[index].op.name.lower()
        notes.append(
            f"layer {index} ({name}): its working memory is not known exactly; the interlayer "
            f"buffer takes at most {where.bound_bytes} bytes"
        )
    limit = program.options.interlayer_limit
    if where.interlayer_bytes > limit:
        notes.append(
            f"the interlayer buffer takes {where.interlayer_bytes} bytes, the limit is {limit}"
        )
    return notes


def _advice_text(advice: Advice) -> str:
    return f"{advice.text}; the outputs stay the same" if advice.keeps_outputs else advice.text


def _ratio(part: float, whole: float) -> float:
    return round(part / whole, 4) if whole else 0.0
