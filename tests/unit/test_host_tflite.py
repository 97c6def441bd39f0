"""A model that ends the process of host TFLite ends no command of ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from harness.cli import main
from harness.errors import ConfigError, ExitCode, ToolchainError
from harness.golden import describe, golden_outputs, trace
from harness.host_tflite import process, worker
from harness.host_tflite.process import HOST
from harness.model_file import DEFAULT_MODEL
from tests.support.hostile_models import aborting_model, slow_model

pytest_plugins = ("pytester",)

MODEL = DEFAULT_MODEL.read_bytes()
CRASH = "host TFLite crashed on the model (SIGABRT); another release of ai-edge-litert may run it"
READ_ONE_REQUEST = (
    "import os, sys\n"
    f"sys.path.insert(0, {str(Path(worker.__file__).parent)!r})\n"
    "import worker\n"
    "worker.read_message(sys.stdin.buffer)\n"
)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AXONRIG_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    path = tmp_path / "hostile.tflite"
    path.write_bytes(aborting_model())
    return path


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A script in place of the worker; write it before the first question."""
    HOST.close()
    script = tmp_path / "fake.py"
    monkeypatch.setattr(worker, "__file__", str(script))
    yield script
    HOST.close()


@pytest.mark.parametrize("command", ["run --model", "verify"])
def test_a_crash_is_one_sentence(
    command: str, hostile: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command.split(), str(hostile), "--limit", "1"]) == ExitCode.INPUT
    told = capsys.readouterr().err.splitlines()
    assert told[-1].startswith(f"axonrig: {CRASH}")
    assert len([line for line in told if line.startswith("axonrig: ")]) == 1


def test_tune_and_the_last_line_that_the_runtime_printed(
    fake: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.write_text(
        READ_ONE_REQUEST + "os.write(2, b'first\\nF0000 check \\x1b[31mfailed\\n\\n')\nos.abort()\n"
    )
    assert main(["tune", str(DEFAULT_MODEL)]) == ExitCode.INPUT
    told = capsys.readouterr().err
    assert "crashed on the model (SIGABRT); its last line: F0000 check [31mfailed; anoth" in told


def test_the_pytest_plugin_goes_on_after_a_crash(
    hostile: Path, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    pytester.makepyfile(
        "def test_agreement(golden):\n    pass\n\ndef test_model(model):\n    pass\n"
    )
    words = ["-p", "no:cacheprovider", "--model", str(hostile), "--limit", "1"]
    done = pytester.runpytest_subprocess(*words)
    done.assert_outcomes(passed=1, errors=1)
    done.stdout.fnmatch_lines(["axonrig: host TFLite crashed on the model (SIGABRT)*"])
    assert "Traceback" not in done.stdout.str()


def test_the_next_question_has_a_process_again() -> None:
    sample = np.zeros((1, 32, 32, 3), np.int8)
    before = golden_outputs(MODEL, sample, use_cache=False).outputs[0]
    for attempt in (golden_outputs, trace):
        with pytest.raises(ConfigError, match="crashed on the model"):
            attempt(aborting_model(), np.full((1, 1000), 3, np.int8))
    assert np.array_equal(golden_outputs(MODEL, sample, use_cache=False).outputs[0], before)


def test_a_process_that_was_killed_meanwhile_is_replaced() -> None:
    graph = describe(MODEL)
    assert HOST._child is not None
    HOST._child.process.kill()
    HOST._child.process.wait()
    assert describe(MODEL) == graph


def test_a_sample_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    describe(MODEL)
    monkeypatch.setattr(process, "LIMIT_S", 0.4)
    with pytest.raises(ConfigError, match=r"stopped after 0\.4 s in which it did not finish a"):
        golden_outputs(slow_model(), np.zeros((1, 64, 64, 32), np.int8))


def test_slow_samples_are_told_from_a_hang(monkeypatch: pytest.MonkeyPatch, fake: Path) -> None:
    fake.write_text(
        READ_ONE_REQUEST + "import time\n"
        "worker.write_message(sys.stdout.buffer, {'name': 'started'})\n"
        "worker.read_message(sys.stdin.buffer)\n"
        "for _ in range(8):\n"
        "    worker.write_message(sys.stdout.buffer, {'alive': True})\n"
        "    time.sleep(0.15)\n"
        "worker.write_message(sys.stdout.buffer, {'name': 'done at last'})\n"
    )
    assert HOST.ask({}, []) == ({"name": "started"}, [])
    monkeypatch.setattr(process, "LIMIT_S", 1.0)
    assert HOST.ask({}, []) == ({"name": "done at last"}, [])


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("sys.exit('no more')", "the process of host TFLite ended with status 1; .* no more"),
        ("print('hello')", "gave an answer that cannot be read"),
        ("print('[{}, [[\"|O\", [1]]]]')", "gave an answer that cannot be read"),
        ("print('[{}, []]')", "describes the model in a way that is not understood"),
        ('print(\'[{"unusable": "no libm"}, []]\')', "host TFLite cannot be loaded: no libm"),
    ],
)
def test_a_broken_runtime_is_a_tool_that_failed(script: str, sentence: str, fake: Path) -> None:
    fake.write_text(READ_ONE_REQUEST + script + "\n")
    with pytest.raises(ToolchainError, match=sentence):
        describe(MODEL)


def test_an_interpreter_that_is_not_there(fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", str(fake.with_name("python")))
    with pytest.raises(ToolchainError, match="cannot be started: No such file"):
        describe(MODEL)
