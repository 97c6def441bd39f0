"""`axonrig history`: what the nights found, as a list, as JSON lines, or for other tools."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import ConfigError, ExitCode

if TYPE_CHECKING:
    from harness.history import Record

_FORMATS = ("jsonl", "junit", "markdown", "bencher", "csv")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the actions."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listed = actions.add_parser("list", help="the nights with their results and findings")
    export = actions.add_parser("export", help="everything, or one night for another tool")
    taken = actions.add_parser("import", help="take in JSON lines, all or nothing")
    for action in (listed, export, taken):
        action.add_argument("history", type=Path, metavar="DB", help="the history")
    export.add_argument("--format", choices=_FORMATS, default="jsonl", help="default: jsonl")
    export.add_argument("--night", metavar="ID", help="for junit ...: which one (default: last)")
    export.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: stdout")
    taken.add_argument("lines", type=Path, metavar="FILE", help="what 'export' wrote")


def execute(arguments: argparse.Namespace) -> int:
    """Run the command."""
    actions = {"list": _list, "export": _export, "import": _import}
    actions[arguments.action](arguments)
    return int(ExitCode.OK)


def _list(arguments: argparse.Namespace) -> None:
    from harness.history import Status, open_history
    from harness.nightly.table import finding_line

    with open_history(arguments.history) as history:
        for night in history.nights():
            results = history.results(night.id)
            counts = {word: sum(item.status is word for item in results) for word in Status}
            words = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
            state = "" if night.finished else " (not finished)"
            revision = (night.revision or night.code)[:12]
            print(f"{night.id}{state}: {words or 'nothing yet'}; commit {revision}")  # noqa: T201  # result
            for finding in history.findings(night.id):
                print(f"  {finding_line(finding)}")  # noqa: T201  # the command's result


def _export(arguments: argparse.Namespace) -> None:
    from harness.artefacts import check_writable, write_bytes
    from harness.history import open_history
    from harness.history.exports import FORMATS, Exported
    from harness.history.lines import to_lines

    if arguments.output is not None:
        check_writable(arguments.output)
        if arguments.output.resolve() == arguments.history.resolve():
            raise ConfigError(f"{arguments.output} is the history itself; name another with -o")
    with open_history(arguments.history) as history:
        if arguments.format == "jsonl":
            if arguments.night is not None:
                raise ConfigError("--night is for the formats of one night; jsonl has them all")
            text = "".join(to_lines(history.records()))
        else:
            nights = {night.id: night for night in history.nights()}
            name = arguments.night or next(reversed(nights), None)
            if name not in nights:
                raise ConfigError(f"the history has no night '{name}'; see 'axonrig history list'")
            results, findings = history.results(name), history.findings(name)
            text = FORMATS[arguments.format][1](Exported(nights[name], results, findings))
    if arguments.output is None:
        sys.stdout.write(text)
    else:
        write_bytes(arguments.output, text.encode())


def _import(arguments: argparse.Namespace) -> None:
    from harness.history import open_history
    from harness.history.lines import from_lines

    try:
        with arguments.lines.open(encoding="utf-8") as stream:
            records: Iterable[Record] = from_lines(stream, str(arguments.lines))
            if not arguments.history.exists():
                records = list(records)  # bad lines then leave no empty history behind
            with open_history(arguments.history, create=True) as history:
                merged = history.merge(records)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{arguments.lines} is no text in UTF-8: {error}") from error
    print(f"stored {merged.stored} records; {merged.kept} were there")  # noqa: T201  # result
