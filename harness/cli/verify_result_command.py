"""`axonrig verify-result`: is a result folder complete and unchanged?"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import ExitCode
from harness.terminal_text import printable

if TYPE_CHECKING:
    from harness.integrity import FolderCheck


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "folders", type=Path, nargs="+", metavar="DIR", help="result folder of any command"
    )
    parser.add_argument(
        "--strict", action="store_true", help="files that no manifest lists are a fault, too"
    )
    parser.add_argument("--json", action="store_true", help="print a JSON list, one object each")


def execute(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from harness.integrity import State, check_folder

    checks = [check for folder in arguments.folders for check in check_folder(folder)]
    if arguments.json:
        found = [{**asdict(check), "folder": str(check.folder)} for check in checks]
        print(json.dumps(found, indent=1))  # noqa: T201  # the command's result
    else:
        for check in checks:
            _show(check)
    fine = all(
        check.state is State.WHOLE and not (arguments.strict and check.extra) for check in checks
    )
    return int(ExitCode.OK if fine else ExitCode.NO)


def _show(check: FolderCheck) -> None:
    facts = f"{check.kind}, {check.checked} files" if check.kind else "unknown kind"
    lines = [f"{check.folder}: {check.state} ({facts})"]
    lines += [f"  {fault}" for fault in check.faults]
    lines += [f"  listed nowhere: {name}" for name in check.extra]
    for line in lines:
        print(printable(line))  # noqa: T201  # the command's result
