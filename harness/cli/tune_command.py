"""`axonrig tune`: the variant of a model that needs the fewest cycles, with proof."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from harness.errors import ExitCode

if TYPE_CHECKING:  # Start-up time is import time.
    from rich.console import Console

    from harness.tune import Trial, Tuning

_PLAIN_WIDTH: Final = 140


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("models", type=Path, nargs="+", metavar="MODEL.tflite")
    parser.add_argument(
        "--data",
        type=Path,
        metavar="X",
        help=".npy or .npz samples for the proof (default: random and extreme ones)",
    )
    parser.add_argument(
        "--samples", type=int, default=16, metavar="N", help="samples of the proof (default: 16)"
    )
    parser.add_argument("--skip-softmax", action="store_true", help="end before a final softmax")
    parser.add_argument("--json", action="store_true", help="print a JSON list, one object each")


def execute(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from rich.console import Console

    from compiler import CompileOptions
    from harness.model_file import read_model
    from harness.report.progress import progress_bar
    from harness.tune import tune

    found = []
    for path in arguments.models:
        model = read_model(path)
        options = CompileOptions(name=model.name, skip_softmax=arguments.skip_softmax)
        with progress_bar() as observe:
            found.append(tune(model, options, arguments.data, arguments.samples, observe))
    if arguments.json:
        listed = [_as_json(item) for item in found]
        print(json.dumps(listed, indent=1, allow_nan=False))  # noqa: T201  # the command's result
        return int(ExitCode.OK)
    console = Console()
    if not console.is_terminal:
        console = Console(width=_PLAIN_WIDTH)
    for item in found:
        _show(item, console)
    return int(ExitCode.OK)


def _as_json(tuning: Tuning) -> dict[str, Any]:
    best = tuning.best
    return {
        "file": tuning.model,
        "label": "NPU cycles (estimated)",
        "cycles": tuning.plain,
        "best": None if best is None else best.name,
        "saved_cycles": tuning.saved,
        "trials": [
            {**asdict(trial), "unchanged": trial.proof is not None and trial.proof.unchanged}
            for trial in tuning.trials
        ],
    }


def _show(tuning: Tuning, console: Console) -> None:
    from rich.markup import escape
    from rich.table import Table

    title = escape(f"{tuning.model}: NPU cycles (estimated) by variant")
    table = Table(title=title, title_justify="left")
    table.add_column("variant")
    table.add_column("cycles", justify="right")
    table.add_column("saved", justify="right")
    table.add_column("outputs")
    table.add_row("as compiled by default", f"{tuning.plain:,}", "", "")
    for trial in tuning.trials:
        cycles = "-" if trial.cycles is None else f"{trial.cycles:,}"
        table.add_row(trial.name, cycles, _saved(tuning, trial), escape(_outcome(trial)))
    console.print(table)
    console.print(_verdict(tuning), markup=False, highlight=False, soft_wrap=True)


def _saved(tuning: Tuning, trial: Trial) -> str:
    if trial.cycles is None or not tuning.plain:
        return "-"
    return f"{100 * (tuning.plain - trial.cycles) / tuning.plain:+.1f} %"


def _outcome(trial: Trial) -> str:
    proof = trial.proof
    if proof is None:
        return f"refused: {trial.refusal}"
    if trial.same:
        return "the same program"
    if proof.unchanged:
        return f"unchanged: {proof.values} values equal, {proof.layers_equal} layers equal"
    count = f"{proof.differing} of {proof.values} values"
    return f"changed: {count}, at most {proof.largest} LSB; left out"


def _verdict(tuning: Tuning) -> str:
    best = tuning.best
    if best is None or best.proof is None:
        return f"{tuning.model}: no variant saves cycles with unchanged outputs"
    share = 100 * tuning.saved / tuning.plain
    proof = best.proof
    return (
        f"best: {best.name}, saves {tuning.saved:,} of {tuning.plain:,} cycles ({share:.1f} %); "
        f"proof: {proof.values} output values of {proof.samples} samples ({proof.data}) equal, "
        f"and {proof.layers_equal} of {proof.layers} layers value by value; "
        f"outputs sha256 {proof.outputs_sha256[:12]}"
    )
