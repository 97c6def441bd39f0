"""`axonrig compare`: what changed between two result folders, nights, commits or boards."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import ConfigError, ExitCode

if TYPE_CHECKING:
    from harness.changes import Changes


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    what = "result folder; with --history a night, commit, NIGHT:JOB or COMMIT:JOB"
    parser.add_argument("before", metavar="A", help=what)
    parser.add_argument("after", metavar="B", help="the same, what A is compared with")
    parser.add_argument("--history", type=Path, metavar="DB", help="take A and B from this history")
    parser.add_argument("--layers", type=int, default=10, metavar="N", help="layers shown (10)")
    parser.add_argument("--json", action="store_true", help="one JSON object, with all layers")


def execute(arguments: argparse.Namespace) -> int:
    """Run the command: 1 when something got worse."""
    from harness.changes import compare_results
    from harness.changes.document import changes_document
    from harness.changes.folder_metrics import result_of_folder
    from harness.changes.table import print_changes

    if arguments.layers < 0:
        raise ConfigError(f"--layers is {arguments.layers}; expected 0 or more")
    found: list[Changes] = []
    if arguments.history is None:
        (left, left_samples), (right, right_samples) = (
            result_of_folder(Path(word)) for word in (arguments.before, arguments.after)
        )
        found.append(compare_results(left, right, (left_samples, right_samples)))
    else:
        found += _from_history(arguments)
    if arguments.json:
        print(changes_document(found))  # noqa: T201  # the command's result
    else:
        for changes in found:
            print_changes(changes, arguments.layers)
    worse = any(changes.worse for changes in found)
    return int(ExitCode.NO if worse else ExitCode.OK)


def _from_history(arguments: argparse.Namespace) -> list[Changes]:
    from harness.changes import compare_results
    from harness.history import open_history
    from harness.history.choice import pair_up

    with open_history(arguments.history) as history:
        return [
            compare_results(
                a.result,
                b.result,
                (history.samples(a.night, a.result.job), history.samples(b.night, b.result.job)),
            )
            for a, b in pair_up(history, arguments.before, arguments.after)
        ]
