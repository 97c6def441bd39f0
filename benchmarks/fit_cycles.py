"""Fit the coefficients of the cycle model on recorded single layers, and say how good they are.

    python benchmarks/fit_cycles.py             # error table by five-fold cross-validation
    python benchmarks/fit_cycles.py --write     # and write the coefficients of all rows
    python benchmarks/fit_cycles.py --check     # fails when the written ones are not these

The rows are what Nordic's simulator printed for single layers. The formulas are in
`compiler/cycles.py`; here is only how their coefficients are found: the least relative error, with
large errors counting less, from starting values that sweeps of one parameter gave. A coefficient
that the rows do not determine stays where it starts.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from compiler.arch import ARCH_DIR, DEFAULT_ARCH, Arch, load_arch
from compiler.cycles import LayerShape, broadcast_of, layer_parts, may_stall
from compiler.ir import Op

Array = npt.NDArray[np.float64]

ROOT: Final = Path(__file__).resolve().parents[1]
ROWS: Final = ROOT.parent / "shared" / "axon" / "cycles.csv"
ANOMALOUS: Final = ROWS.with_name("cycles_anomalous.csv")
YAML: Final = ARCH_DIR / f"{DEFAULT_ARCH}.yaml"
FOLDS: Final = 5
SOFT: Final = 0.02
"""Relative error above which a row counts less than by its square."""
PULL: Final = 5e-3
"""How strongly a coefficient is held at its start, per its own size, against one row's error."""

OPS: Final = {
    "conv": Op.CONV2D,
    "dw": Op.DEPTHWISE_CONV2D,
    "pw": Op.POINTWISE_CONV2D,
    "fc": Op.FULLY_CONNECTED,
    "avg": Op.AVERAGE_POOL,
    "max": Op.MAX_POOL,
    "mean": Op.MEAN,
    "add": Op.ADD,
    "mul": Op.MULTIPLY,
    "concat": Op.CONCATENATE,
    "slice": Op.STRIDED_SLICE,
    "cpad": Op.CHANNEL_PAD,
    "softmax": Op.SOFTMAX,
    "sigmoid": Op.SIGMOID,
    "tanh": Op.TANH,
    "reshape": Op.RESHAPE,
    "resize": Op.RESIZE_NEAREST,
}

STARTS: Final[dict[str, tuple[float, ...]]] = {
    "convolution": (20, 65, 55, 3, 0.75, 0.3, 1, 8, 4, 40, 5.6),
    "resident": (40, 0.1, 57, 3, 0.2, 0.2, 3, 3),
    "depthwise": (38, 0, 60, 2.5, 0.9, 0.2, 0.5, 8, 10),
    "average_pool": (43, 0, 52, 0, 0.9, 0, 0.5, 7, 15),
    "max_pool": (42, 0, 55, 0, 0.9, 0, 0.5, 7, 15),
    "mean": (46, 33, 52, 0, 0.9, 0, 0.5, 10, 10),
    "pointwise": (10, 10, 56, 1.5, 20, 110, 0.1),
    "fully_connected": (
        *(91, 1.5, 1, 5.7, 0.5, 0.4, 1.3, 92, 6, 8, 4),
        *(100, 3.2, 33, 61, 95),
    ),
    "add": (45, 50, 3, 10, 50, 64, 26, 58, 1.6, 28, 87, 12.2, 38, 142, 54),
    "multiply": (125, 60, 1.6, 150, 4.5, 162, 4, 56, 155, 8.7, 60, 1.6, 88, 32, 2.5),
    "copy": (55, 1.7, 6, 33, 2, 97, 27, 13, 42, 60, 2.3, 1.5),
    "softmax": (683, 11.4, 728),
    "conversion": (109, 1.7, 30, 11.7),
}
"""First guesses, in the order of the fields of each group in `compiler.arch`."""


@dataclass(frozen=True, slots=True)
class Row:
    """One recorded layer."""

    operator: str
    shape: LayerShape
    cycles: float
    text: str


def read_rows(path: Path) -> list[Row]:
    """The recorded layers of a CSV file."""
    with path.open(newline="", encoding="utf-8") as stream:
        return [_row(record) for record in csv.DictReader(stream)]


def _row(record: dict[str, str]) -> Row:
    number = {k: int(v) for k, v in record.items() if k not in ("op", "extra")}
    extra = dict(re.findall(r"(\w+):(\w+)", record["extra"]))
    lists = {k: json.loads(v.replace(";", ",")) for k, v in _bracketed(record["extra"])}
    operator, op = record["op"], OPS[record["op"]]
    shape = LayerShape(
        op=op,
        in_h=number["in_h"],
        in_w=number["in_w"],
        in_c=number["in_c"],
        out_h=number["out_h"],
        out_w=number["out_w"],
        out_c=number["out_c"],
        out_bytes=number["out_bytes"],
        kernel_h=number["k_h"],
        kernel_w=number["k_w"],
        stride_h=number["stride_h"],
        stride_w=number["stride_w"],
        pad_top=number["pad_t"],
        pad_left=number["pad_l"],
        pads_any=any(number[f"pad_{side}"] for side in "tblr"),
        dilation_h=number["dil_h"],
        dilation_w=number["dil_w"],
        activation=number["act"],
        per_channel="ps" in extra,
        mixed_shifts="ps" in extra and operator != "fc",
        converted=op in (Op.SIGMOID, Op.TANH),
    )
    if operator in ("add", "mul"):
        shape = _broadcast(shape, extra["b"])
    elif operator == "concat":
        shape = replace(shape, axis=int(extra["ax"]), parts=_parts(shape, int(extra["ax"])))
    elif operator == "cpad":
        shape = replace(shape, fill=int(extra["f"]) + int(extra["bk"]))
    elif operator == "slice":
        shape = replace(shape, stride_h=lists["st"][1], stride_w=lists["st"][2])
    return Row(operator, shape, float(number["cycles"]), _describe(record))


def _bracketed(text: str) -> list[tuple[str, str]]:
    return re.findall(r"(\w+):(\[[^]]*\])", text)


def _parts(s: LayerShape, axis: int) -> tuple[tuple[int, int, int], ...]:
    """The two operands: the recorded input extent, and what is left of the output."""
    first = (s.in_c, s.in_h, s.in_w)
    rest = [s.out_c, s.out_h, s.out_w]
    rest[axis] -= first[axis]
    return first, (rest[0], rest[1], rest[2])


def _broadcast(s: LayerShape, kind: str) -> LayerShape:
    """The second operand from the record's name for it: c, h, w are the broadcast axes kept out."""
    extent = {
        "full": (s.out_h, s.out_w, s.out_c),
        "c": (1, 1, s.out_c),
        "11c": (1, 1, s.out_c),
        "111": (1, 1, 1),
        "h": (1, s.out_w, s.out_c),
        "w": (s.out_h, 1, s.out_c),
    }[kind.removeprefix("k")]
    return replace(s, broadcast=broadcast_of(s, extent), constant=kind.startswith("k"))


def _describe(record: dict[str, str]) -> str:
    r = record
    return (
        f"{r['op']} {r['in_h']}x{r['in_w']}x{r['in_c']} kernel {r['k_h']}x{r['k_w']} "
        f"stride {r['stride_h']},{r['stride_w']} out {r['out_h']}x{r['out_w']}x{r['out_c']} "
        f"{r['out_bytes']} byte {r['extra']}".rstrip()
    )


def group_of(shape: LayerShape) -> str | None:
    """The group of coefficients that a layer's formula uses."""
    if shape.op is Op.CONV2D:
        return "resident" if shape.single_plane else "convolution"
    return {
        Op.DEPTHWISE_CONV2D: "depthwise",
        Op.POINTWISE_CONV2D: "pointwise",
        Op.FULLY_CONNECTED: "fully_connected",
        Op.AVERAGE_POOL: "average_pool",
        Op.MAX_POOL: "max_pool",
        Op.MEAN: "mean",
        Op.ADD: "add",
        Op.MULTIPLY: "multiply",
        Op.CONCATENATE: "copy",
        Op.STRIDED_SLICE: "copy",
        Op.CHANNEL_PAD: "copy",
        Op.SOFTMAX: "softmax",
        Op.SIGMOID: "conversion",
        Op.TANH: "conversion",
    }.get(shape.op)


def with_group(arch: Arch, group: str, values: Sequence[float]) -> Arch:
    """The NPU with one group of coefficients replaced."""
    kind = type(getattr(arch.cycles, group))
    costs = kind(**dict(zip((f.name for f in fields(kind)), map(float, values), strict=True)))
    return replace(arch, cycles=replace(arch.cycles, **{group: costs}))


def errors_of(arch: Arch, rows: Sequence[Row]) -> Array:
    """Relative errors, predicted / recorded - 1."""
    return np.array([layer_parts(r.shape, arch).cycles / r.cycles - 1.0 for r in rows])


def fit_group(arch: Arch, group: str, rows: Sequence[Row]) -> Arch:
    """The NPU with the group's coefficients fitted on the rows."""
    start = np.array(STARTS[group], dtype=np.float64)
    scale = np.maximum(np.abs(start), 0.5)

    def residual(values: Array) -> Array:
        errors = errors_of(with_group(arch, group, list(values)), rows)
        return np.concatenate([errors, PULL * (values - start) / scale])

    return with_group(arch, group, list(_least_squares(residual, start, scale)))


def _least_squares(residual: Callable[[Array], Array], start: Array, scale: Array) -> Array:
    """Levenberg-Marquardt on soft-L1 residuals: rows far off weigh less. Deterministic."""
    values, damping = start.copy(), 1e-3
    errors = residual(values)
    best = _soft(errors)
    for _ in range(40):
        weights = (1.0 + (errors / SOFT) ** 2) ** -0.25
        jacobian = np.stack(
            [
                (residual(values + step) - errors) / step[index]
                for index, step in enumerate(np.diag(1e-4 * scale))
            ],
            axis=1,
        )
        left, right = jacobian * weights[:, None], errors * weights
        normal = left.T @ left
        for _ in range(8):
            damped = normal + damping * np.diag(np.diag(normal) + 1e-12)
            trial = values - np.linalg.solve(damped, left.T @ right)
            trial_errors = residual(trial)
            if _soft(trial_errors) < best:
                break
            damping *= 8
        else:
            return values
        gain = best - _soft(trial_errors)
        values, errors, best, damping = trial, trial_errors, best - gain, damping / 6
        if gain < 1e-7 * best:
            break
    return values


def _soft(errors: Array) -> float:
    return float(np.sum(np.sqrt(1.0 + (errors / SOFT) ** 2) - 1.0))


def fit_all(arch: Arch, rows: Sequence[Row], groups: Sequence[str] | None = None) -> Arch:
    """The NPU with the named groups (all, by default) fitted on the rows of each."""
    # the fully connected ones before the pointwise ones, which use them for maps of one pixel
    for group in sorted(groups or STARTS, key=lambda name: name == "pointwise"):
        arch = fit_group(arch, group, [r for r in rows if group_of(r.shape) == group])
    return arch


def cross_validate(arch: Arch, rows: Sequence[Row]) -> Array:
    """Relative error of each row, predicted by coefficients fitted on the other folds."""
    fold = np.random.default_rng(20).permutation(len(rows)) % FOLDS
    errors = np.zeros(len(rows))
    for k in range(FOLDS):
        fitted = fit_all(arch, [r for r, f in zip(rows, fold, strict=True) if f != k])
        held = np.flatnonzero(fold == k)
        errors[held] = errors_of(fitted, [rows[int(i)] for i in held])
    return errors


def table(rows: Sequence[Row], errors: Array) -> list[str]:
    """Median, 95th percentile and worst error per operator, in percent."""
    lines = ["operator   layers  median %   p95 %  worst %  worst layer"]
    names = [name for name in OPS if any(r.operator == name for r in rows)]
    for name in names:
        mine = [i for i, r in enumerate(rows) if r.operator == name]
        size = np.abs(errors[mine]) * 100
        worst = mine[int(np.argmax(size))]
        lines.append(
            f"{name:10} {len(mine):6} {np.median(size):9.2f} {np.percentile(size, 95):7.2f} "
            f"{size.max():8.1f}  {rows[worst].text}"
        )
    return lines


def anomalies() -> str:
    """How many of the layers whose recorded cost explodes are flagged, and how many others."""
    strange = read_rows(ANOMALOUS)
    flagged = sum(may_stall(r.shape) for r in strange)
    false = sum(may_stall(r.shape) for r in read_rows(ROWS))
    return f"flagged: {flagged} of {len(strange)} layers that explode, {false} of the others"


def rendered(arch: Arch) -> str:
    """The `cycles:` block of the YAML file."""
    lines = ["cycles:"]
    for group, values in asdict(arch.cycles).items():
        lines.append(f"  {group}:")
        lines += [f"    {name}: {_short(value)}" for name, value in values.items()]
    return "\n".join(lines) + "\n"


def _short(value: float) -> float:
    return float(f"{value:.4g}") + 0.0


def rounded(arch: Arch) -> Arch:
    """The NPU as it is read back from `rendered`."""
    groups = asdict(arch.cycles)
    for group, values in groups.items():
        arch = with_group(arch, group, [_short(value) for value in values.values()])
    return arch


def write(arch: Arch) -> None:
    """Replace the `cycles:` block of the YAML file."""
    text = YAML.read_text(encoding="utf-8")
    new = re.sub(r"(?ms)^cycles:\n.*?\n(?=\n)", lambda _: rendered(arch), text, count=1)
    temporary = YAML.with_suffix(".tmp")
    temporary.write_text(new, encoding="utf-8")
    temporary.replace(YAML)


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit, report, and optionally write or check."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write the fitted coefficients")
    parser.add_argument("--check", action="store_true", help="compare with the written ones")
    parser.add_argument("--quick", action="store_true", help="no cross-validation")
    options = parser.parse_args(arguments)
    if not ROWS.exists():
        print(f"skipped: the recorded layers are not at {ROWS}", file=sys.stderr)
        return 0
    rows, arch = read_rows(ROWS), load_arch()
    counted = [r for r in rows if group_of(r.shape) is not None]
    fitted: Any = fit_all(arch, counted)
    _say(f"{len(counted)} layers of {len(rows)}; the others run on the CPU")
    _say("fitted on all layers", *table(counted, errors_of(fitted, counted)), "", anomalies())
    if not options.quick:
        errors = cross_validate(arch, counted)
        _say("", f"{FOLDS}-fold cross-validation", *table(counted, errors))
    if options.write:
        write(fitted)
    if options.check and rounded(fitted) != arch:
        _say("", "the written coefficients are not these; run with --write")
        return 1
    return 0


def _say(*lines: str) -> None:
    for line in lines:
        print(line)


if __name__ == "__main__":
    raise SystemExit(main())
