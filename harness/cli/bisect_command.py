"""`axonrig bisect`: the commit that changed a metric, found on the simulator."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import ConfigError, ExitCode

if TYPE_CHECKING:
    from harness.bisection.probe import Probe
    from harness.bisection.search import Found, Step

_ROOT = Path(__file__).resolve().parents[2]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--good", required=True, metavar="REV", help="commit with the old value")
    parser.add_argument("--bad", default="HEAD", metavar="REV", help="with the new one (HEAD)")
    parser.add_argument(
        "--repo", type=Path, metavar="DIR", help="repository to search (default: axonrig's own)"
    )
    parser.add_argument(
        "--metric",
        default="latency.us",
        metavar="NAME",
        help="metric as in the history (default: latency.us, searched as estimated cycles)",
    )
    parser.add_argument("--board", default="sim", help="board of the runs (default: sim)")
    parser.add_argument(
        "--model", type=Path, metavar="M", help="model; inside the repository, each commit's own"
    )
    parser.add_argument("--data", type=Path, metavar="X", help="samples; treated as the model is")
    parser.add_argument("--limit", type=int, default=10, metavar="N", help="samples (default: 10)")
    parser.add_argument(
        "--output", choices=("int8", "int32"), default="int8", help="of the program"
    )
    parser.add_argument("--transpose", action="store_true", help="height and width swapped")
    parser.add_argument("--skip-softmax", action="store_true", help="without a final softmax")


def execute(arguments: argparse.Namespace) -> int:
    """Run the command: 0 when one commit was found, 1 when several are left."""
    from harness.bisection.search import bisect

    found = bisect(_probe(arguments), arguments.good, arguments.bad, _say)
    _print(found)
    return int(ExitCode.OK if len(found.commits) == 1 else ExitCode.NO)


def _probe(arguments: argparse.Namespace) -> Probe:
    from harness.bisection.probe import Probe
    from harness.bisection.repository import top
    from harness.bisection.search import ON_SIMULATORS

    if arguments.limit < 1:
        raise ConfigError(f"--limit is {arguments.limit}; expected at least 1 sample")
    for path in (arguments.model, arguments.data):
        if path is not None and not path.is_file():
            raise ConfigError(f"{path} is not there; name a file that exists now")
    options = ["--limit", str(arguments.limit), "--output", arguments.output]
    options += ["--transpose"] if arguments.transpose else []
    options += ["--skip-softmax"] if arguments.skip_softmax else []
    first = ON_SIMULATORS.get(arguments.metric, ())
    return Probe(
        repository=top(arguments.repo or _ROOT).resolve(),
        metrics=(*first, arguments.metric),
        board=arguments.board,
        model=None if arguments.model is None else arguments.model.resolve(),
        data=None if arguments.data is None else arguments.data.resolve(),
        options=tuple(options),
    )


def _say(step: Step) -> None:
    text = step.reason if step.value is None else str(step.value)
    print(f"{step.word:<4} {step.commit[:12]} {text}", file=sys.stderr)  # noqa: T201  # progress


def _print(found: Found) -> None:
    """The commit, its values, and how it was found."""
    lines = [f"{found.metric}: {found.good} at the good end, {found.bad} at the bad end"]
    for commit in found.commits:
        lines.append(f"{commit.hash} {commit.date} {commit.author}: {commit.subject}")
    if len(found.commits) > 1:
        lines.append("one of these; those between do not run and were skipped")
    elif found.before is not None and found.after is not None:
        lines.append(f"changed it from {found.before} to {found.after}")
    lines.append(f"{len(found.steps)} commits tested")
    print("\n".join(lines))  # noqa: T201  # the command's result
