"""The result of a compile job for a terminal: variants side by side, then their differences."""

from __future__ import annotations

from typing import Final

from rich.console import Console
from rich.table import Table

from harness.jobs import JobResult, VariantResult

UNKNOWN: Final = "-"
_QUIET_LEVELS: Final = frozenset({"error", "critical"})
_STEPS_SHOWN: Final = 9
"""Columns of the histogram; larger differences are gathered at both ends."""


def print_job(result: JobResult, console: Console) -> None:
    """Print notes, the comparison table, the histogram, handlers' words and the files."""
    if result.job.log_level not in _QUIET_LEVELS:
        for note in result.notes:
            console.print(f"note: {note}", markup=False, soft_wrap=True)
    console.print(_variants(result))
    tried = [item for item in result.results if item.trial is not None]
    if tried:
        console.print(_histogram(tried))
    for item in result.results:
        if item.compiled is None:
            console.print(f"{item.variant.name}: {item.refusal}", markup=False, soft_wrap=True)
        elif item.trial is not None and item.trial.reported:
            text = f"{item.variant.name}: {item.trial.reported}"
            console.print(text, markup=False, soft_wrap=True)
    if result.files:
        console.print(
            f"wrote {len(result.files)} files to {result.files[0].parent}",
            markup=False,
            soft_wrap=True,
        )


def _variants(result: JobResult) -> Table:
    count = len(result.results)
    title = f"{result.job.model_name}: {count} variant{'s' if count > 1 else ''}"
    if result.samples:
        title += f", {result.samples} samples, source sim"
    table = Table(title=title, title_justify="left")
    table.add_column("variant", overflow="fold")
    for name in _columns(result):
        table.add_column(name, justify="right")
    table.add_column("remark")
    for item in result.results:
        cells = _cells(item)
        table.add_row(
            item.variant.name,
            *(cells.get(name, UNKNOWN) for name in _columns(result)),
            _remark(item),
        )
    generated = any(item.npu is not None for item in result.results)
    origin = "from Nordic's code generator (source vendor-sim)" if generated else "estimated"
    captions = [f"flash, RAM and cycles are {origin}"]
    if result.float_accuracy is not None:
        captions.append(f"float model: accuracy {_percent(result.float_accuracy)}")
    table.caption = "; ".join(captions)
    return table


def _columns(result: JobResult) -> tuple[str, ...]:
    """What is worth a column: sizes always, the rest when there is a test set that needs it."""
    columns: tuple[str, ...] = ("flash", "RAM", "cycles")
    if result.samples:
        columns += ("TFLite", "Axon", "agreement", "max LSB", "loss")
    if result.job.precision_threshold or result.job.precision_margin:
        columns += ("inconclusive", "precision")
    return columns


def _cells(item: VariantResult) -> dict[str, str]:
    """Cells by column, without those that are unknown."""
    found: dict[str, str | None] = {}
    if item.compiled is not None:
        footprint = item.compiled.footprint
        found |= {
            "flash": _number(footprint.flash_bytes),
            "RAM": _number(footprint.ram_bytes),
            "cycles": _number(footprint.cycles),
        }
    if item.trial is not None:
        trial = item.trial
        loss = trial.quantization_loss
        found |= {
            "TFLite": _percent(trial.tflite.accuracy) if trial.tflite else None,
            "Axon": _percent(trial.axon.accuracy) if trial.axon else None,
            "agreement": _percent(trial.comparison.top1),
            "max LSB": str(trial.comparison.max_lsb),
            "loss": None if loss is None else f"{loss:.2f} %",
        }
        if trial.axon is not None:
            found["inconclusive"] = str(trial.axon.inconclusive)
            precision = trial.axon.precision
            found["precision"] = None if precision is None else _percent(precision)
    return {name: text for name, text in found.items() if text is not None}


def _remark(item: VariantResult) -> str:
    if item.compiled is None:
        return "refused"
    return f"same program as {item.same_as}" if item.same_as else ""


def _number(value: int | None) -> str | None:
    return None if value is None else str(value)


def _histogram(tried: list[VariantResult]) -> Table:
    """Values by (Axon - TFLite) in steps of the model's output, one row per variant."""
    half = _STEPS_SHOWN // 2
    table = Table(title="output values by Axon - TFLite, in LSB", title_justify="left")
    table.add_column("variant", overflow="fold")
    for step in range(-half, half + 1):
        bound = "<= " if step == -half else ">= " if step == half else ""
        table.add_column(f"{bound}{step:+d}" if step else "0", justify="right")
    for item in tried:
        assert item.trial is not None
        counts = dict.fromkeys(range(-half, half + 1), 0)
        for step, count in item.trial.comparison.histogram:
            counts[max(-half, min(half, step))] += count
        table.add_row(item.variant.name, *(str(count) for count in counts.values()))
    return table


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"
