"""The result of a compile job for a terminal: variants side by side, then their differences."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from rich.console import Console
from rich.table import Table

from harness.jobs import JobResult, Score, VariantResult

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
    title = f"{result.job.model_name}: {len(result.results)} variants"
    if result.samples:
        title += f", {result.samples} samples, source sim"
    table = Table(title=title, title_justify="left")
    table.add_column("variant", overflow="fold")
    for name in ("flash", "RAM", "cycles", "TFLite", "Axon", "agreement", "max LSB", "loss"):
        table.add_column(name, justify="right")
    table.add_column("remark")
    for item in result.results:
        table.add_row(*_row(item))
    if result.float_accuracy is not None:
        table.caption = f"float model: accuracy {_percent(result.float_accuracy)}"
    return table


def _row(item: VariantResult) -> Iterable[str]:
    if item.compiled is None:
        return (item.variant.name, *[UNKNOWN] * 8, "refused")
    footprint, trial = item.compiled.footprint, item.trial
    sizes = (footprint.flash_bytes, footprint.ram_bytes, footprint.cycles)
    cells = [item.variant.name, *(UNKNOWN if size is None else str(size) for size in sizes)]
    if trial is None:
        cells += [UNKNOWN] * 5
    else:
        loss = trial.quantization_loss
        cells += [
            _accuracy(trial.tflite),
            _accuracy(trial.axon),
            _percent(trial.comparison.top1),
            str(trial.comparison.max_lsb),
            UNKNOWN if loss is None else f"{loss:.2f} %",
        ]
    return (*cells, f"same program as {item.same_as}" if item.same_as else "")


def _accuracy(score: Score | None) -> str:
    if score is None:
        return UNKNOWN
    text = _percent(score.accuracy)
    if score.inconclusive:
        precision = UNKNOWN if score.precision is None else _percent(score.precision)
        text += f" ({score.inconclusive} inconclusive, precision {precision})"
    return text


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
