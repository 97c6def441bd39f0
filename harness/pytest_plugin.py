"""pytest: choose a board on the command line, test against it, and say what the results rest on.

Options: --board (default: sim), --require-hardware, --model, --data, --labels, --limit,
--serial-number, --port. Fixtures, all of the session: `board`, `model`, `golden`, `device`.

A board that is not connected falls back to the simulator. That is said in the header, in the
summary and on each result; `--require-hardware` makes it an error (exit status
`INFRASTRUCTURE_EXIT`). An unknown board is a usage error. A board, probe or link that breaks while
tests run is an outcome of its own, "infrastructure", never a failed test.

Importing this module imports nothing of the harness: pytest loads it in every project of an
environment that has axonrig.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from harness.compare import Comparison
    from harness.device import Inference, ModelDevice
    from harness.model_file import ModelFile
    from harness.run import Prepared
    from harness.selection import Selection

INFRASTRUCTURE_EXIT: Final = 14
"""Exit status when hardware is missing or broke and nothing else failed; pytest uses 0..5."""
INFRASTRUCTURE: Final = "infrastructure"
"""Outcome and result property of a broken board, probe or link."""

_FIXTURES: Final = frozenset({"board", "device", "model", "golden"})
_SELECTION: Final[pytest.StashKey[Selection]] = pytest.StashKey()
_BROKEN: Final[pytest.StashKey[int]] = pytest.StashKey()
_MODEL: Final[pytest.StashKey[ModelFile]] = pytest.StashKey()


@dataclass(frozen=True, slots=True)
class ModelUnderTest:
    """The model: its file, the hash of the file, and the compiled program."""

    name: str
    path: Path
    sha256: str
    program: Any


@dataclass(frozen=True, slots=True, eq=False)
class GoldenUnderTest:
    """Host TFLite on the samples. inputs: int8 [N, ...] as the model takes them; labels: int64 [N]
    or None; outputs: one array [N, ...] per output; predicted: class of each sample, int64 [N].

    compare: takes what `device.infer(golden.inputs)` gave and counts agreement.
    """

    name: str
    inputs: Any
    labels: Any
    outputs: tuple[Any, ...]
    predicted: Any
    compare: Callable[[Inference], Comparison]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options."""
    group = parser.getgroup("axonrig", "Axon NPU boards")
    group.addoption("--board", default="sim", help="board, family or 'sim' (default: sim)")
    group.addoption(
        "--require-hardware",
        action="store_true",
        help="an error when no board is connected, instead of the simulator",
    )
    group.addoption("--model", metavar="M.tflite", help="int8 TFLite model (default: embedded)")
    group.addoption("--data", metavar="X", help=".npy or .npz samples")
    group.addoption("--labels", metavar="Y", help=".npy or .npz labels")
    group.addoption("--limit", type=int, metavar="N", help="only the first N samples")
    group.addoption("--serial-number", metavar="S", help="probe or board, when several fit")
    group.addoption("--port", metavar="P", help="serial port or URL of the board")


def pytest_configure(config: pytest.Config) -> None:
    """Resolve board and model before anything runs."""
    from harness.errors import BoardNotFound, HarnessError
    from harness.model_file import DEFAULT_MODEL, read_model
    from harness.selection import select_board

    limit = config.getoption("--limit")
    if limit is not None and limit < 1:
        raise pytest.UsageError(f"axonrig: --limit is {limit}; expected at least 1 sample")
    files = {name: _file(config, name) for name in ("--model", "--data", "--labels")}
    try:
        config.stash[_SELECTION] = select_board(
            config.getoption("--board"),
            require_hardware=config.getoption("--require-hardware"),
            serial_number=config.getoption("--serial-number"),
            port=config.getoption("--port"),
        )
        config.stash[_MODEL] = read_model(files["--model"] or DEFAULT_MODEL)
    except BoardNotFound as error:
        pytest.exit(f"axonrig: {error}", returncode=INFRASTRUCTURE_EXIT)
    except HarnessError as error:
        raise pytest.UsageError(f"axonrig: {error}") from error


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Board, source and model; and the fallback, if there is one."""
    selection, model = config.stash[_SELECTION], config.stash[_MODEL]
    words = f"{_board_words(selection)}, model {model.path.name} (sha256 {model.sha256[:12]})"
    return [f"axonrig: {line}" for line in (words, selection.fallback) if line]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Put source, board and model hash on each result that rests on them."""
    if _FIXTURES.isdisjoint(getattr(item, "fixturenames", ())):
        return
    item.user_properties.extend(_properties(item.config))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Tell a broken board from a failed test."""
    report = yield
    error = call.excinfo.value if call.excinfo is not None else None
    if error is not None and _is_board_error(error):
        for properties in (item.user_properties, report.user_properties):
            properties.append((INFRASTRUCTURE, str(error)))
        report.longrepr = f"infrastructure: {error}"
        item.config.stash[_BROKEN] = item.config.stash.get(_BROKEN, 0) + 1
    return report


def _is_board_error(error: BaseException) -> bool:
    """Without an import: whoever raised it has imported the class."""
    return any(
        kind.__module__ == "harness.errors" and kind.__name__ == "BoardError"
        for kind in type(error).__mro__
    )


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Nothing failed but the infrastructure: say so with the exit status."""
    broken = session.config.stash.get(_BROKEN, 0)
    if broken and session.testsfailed <= broken:
        session.exitstatus = INFRASTRUCTURE_EXIT


def pytest_report_teststatus(
    report: pytest.TestReport,
) -> tuple[str, str, str] | None:
    """With -v, each result says its source: `PASSED (source: sim)`."""
    properties = dict(getattr(report, "user_properties", ()))
    if report.failed and INFRASTRUCTURE in properties:
        return INFRASTRUCTURE, "I", "INFRASTRUCTURE"
    source = properties.get("source")
    if source is None or report.when != "call" or hasattr(report, "wasxfail"):
        return None
    if report.passed:
        return "passed", ".", f"PASSED (source: {source})"
    if report.failed:
        return "failed", "F", f"FAILED (source: {source})"
    return None


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Repeat a fallback where the reader looks for the verdict."""
    broken = config.stash.get(_BROKEN, 0)
    if broken:
        terminalreporter.section("axonrig")
        terminalreporter.line(f"infrastructure: {broken} results say nothing about the model")
    selection = config.stash[_SELECTION]
    if selection.fallback:
        terminalreporter.section("axonrig")
        terminalreporter.line(f"{_board_words(selection)}: {selection.fallback}")


@pytest.fixture(scope="session")
def board(
    pytestconfig: pytest.Config, record_testsuite_property: Callable[[str, object], None]
) -> Selection:
    """The board in use: `board`, `source`, what was `asked` for, and `fallback` (None or why)."""
    from harness.report.versions import versions

    for name, value in _properties(pytestconfig):
        record_testsuite_property(name, value)
    for name, value in versions().items():
        record_testsuite_property(f"version.{name}", value)
    return pytestconfig.stash[_SELECTION]


@pytest.fixture(scope="session")
def model(_prepared: Prepared) -> ModelUnderTest:
    """The model under test."""
    file = _prepared.model
    return ModelUnderTest(file.name, file.path, file.sha256, _prepared.program)


@pytest.fixture(scope="session")
def golden(_prepared: Prepared) -> GoldenUnderTest:
    """What host TFLite (reference kernels) gives for the samples."""
    from harness.golden import KernelSet
    from harness.run import compare_all, golden_of, golden_side

    with _sentences():
        host = golden_of(_prepared, KernelSet.REFERENCE)
    name = _prepared.selection.name
    return GoldenUnderTest(
        name=host.name,
        inputs=_prepared.dataset.inputs,
        labels=_prepared.dataset.labels,
        outputs=host.outputs,
        predicted=golden_side(host).predicted,
        compare=lambda inference: compare_all(_prepared, (host,), inference, name)[0],
    )


@pytest.fixture(scope="session")
def device(_prepared: Prepared) -> Iterator[ModelDevice]:
    """The board (or simulator) with the model on it: `device.infer(golden.inputs)`."""
    from harness.run import open_model_device

    with _sentences():
        opened = open_model_device(_prepared)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def _prepared(pytestconfig: pytest.Config, board: Selection) -> Prepared:
    """The compiled model and its samples."""
    from harness.run import RunRequest, prepare

    request = RunRequest(
        board=board.asked,
        model=_file(pytestconfig, "--model"),
        data=_file(pytestconfig, "--data"),
        labels=_file(pytestconfig, "--labels"),
        limit=pytestconfig.getoption("--limit"),
        require_hardware=pytestconfig.getoption("--require-hardware"),
        serial_number=pytestconfig.getoption("--serial-number"),
        port=pytestconfig.getoption("--port"),
    )
    with _sentences():
        return prepare(request)


@contextmanager
def _sentences() -> Iterator[None]:
    """What the user must mend is a sentence, not a traceback; a broken board stays one."""
    from compiler import CompilerError
    from harness.errors import BoardError, HarnessError

    try:
        yield
    except BoardError:
        raise
    except (HarnessError, CompilerError) as error:
        raise pytest.fail.Exception(f"axonrig: {error}", pytrace=False) from None


def _file(config: pytest.Config, option: str) -> Path | None:
    value = config.getoption(option)
    if value is None:
        return None
    path: Path = config.invocation_params.dir / value
    if not path.is_file():
        raise pytest.UsageError(f"axonrig: {option} {value}: no such file")
    return path


def _board_words(selection: Selection) -> str:
    return f"board {selection.name} (source: {selection.source})"


def _properties(config: pytest.Config) -> list[tuple[str, object]]:
    selection, model = config.stash[_SELECTION], config.stash[_MODEL]
    properties: list[tuple[str, object]] = [
        ("source", selection.source),
        ("board", selection.name),
        ("model", model.path.name),
        ("model_sha256", model.sha256),
    ]
    if selection.fallback:
        properties += [("board_asked", selection.asked), ("fallback", selection.fallback)]
    return properties
