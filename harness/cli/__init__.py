"""The command line. One module per command, imported only when that command runs.

A command module has `configure(parser)` and `execute(arguments) -> int`; nothing else is required.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import Final

from compiler import CompilerError, InputError, ModelFormatError
from harness.errors import ExitCode, HarnessError
from harness.terminal_text import printable

COMMANDS: Final[dict[str, str]] = {
    "compile": "turn a model or a job file into the Axon binary",
    "scan": "list everything that keeps a model off the NPU",
    "simulate": "run a program or model on given inputs",
    "run": "run a model on a board or simulator and compare with host TFLite",
    "verify": "run a model on every executor and say who disagrees, where, and what it means",
    "boards": "list boards: known, connected, in use",
    "build": "build the firmware image of a board for a model",
    "flash": "build, program a board, and check what answers",
    "doctor": "walk from USB to the echo and say which step fails",
    "serve": "hold a board open for a client such as an MLPerf Tiny runner",
    "mlperf": "measure the MLPerf Tiny benchmarks by their rules",
    "estimate": "estimate cycles, time, memory and energy of models",
    "tune": "find the variant of a model with the fewest cycles, and prove it equal",
    "calibrate": "refine the device time of estimates with your own board",
    "verify-result": "check that a result folder is complete and unchanged",
    "report": "write the HTML page of a result folder",
    "nightly": "run a matrix of models and boards, remember it, and say what changed",
    "compare": "show what changed between two results, nights, commits or boards",
    "bisect": "find the commit that changed a metric",
    "history": "list, export and import what the nights found",
    "data": "fetch, verify and convert a benchmark dataset",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status. Expected failures are one sentence on stderr."""
    words = list(sys.argv[1:] if argv is None else argv)
    command = next((word for word in words if word in COMMANDS), None)
    arguments = build_parser(command).parse_args(words)
    module = importlib.import_module(_module_of(arguments.command))
    try:
        status: int = module.execute(arguments)
    except (ModelFormatError, InputError) as error:
        return _fail(error, ExitCode.INPUT)
    except CompilerError as error:
        return _fail(error, ExitCode.NO)
    except HarnessError as error:
        return _fail(error, error.exit_code)
    except OSError as error:
        return _fail(error, ExitCode.INPUT)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    return status


def _fail(error: object, status: int) -> int:
    text = printable(" ".join(str(error).split()))
    print(f"axonrig: {text}", file=sys.stderr)  # noqa: T201  # the one place that reports a failure
    return int(status)


def build_parser(chosen: str | None) -> argparse.ArgumentParser:
    """Only the chosen command's module is imported: start-up time is import time."""
    parser = argparse.ArgumentParser(
        prog="axonrig",
        description="Hardware-in-the-loop tests and benchmarks for Nordic's Axon NPU.",
    )
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in COMMANDS.items():
        child = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        if name == chosen:
            importlib.import_module(_module_of(name)).configure(child)
    return parser


def _module_of(command: str) -> str:
    return f"harness.cli.{command.replace('-', '_')}_command"


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"axonrig {version('axonrig')}"
    except PackageNotFoundError:
        return "axonrig (source tree)"
