"""The pytest plugin, in projects of its users."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ET
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

from harness.artefacts import sha256
from harness.model_file import DEFAULT_MODEL
from harness.pytest_plugin import INFRASTRUCTURE_EXIT

pytest_plugins = ("pytester",)

ROOT = Path(__file__).parents[2]
USER_TEST = """
def test_agreement(board, model, device, golden):
    assert board.source == device.info.source
    assert len(model.sha256) == 64 and model.path.is_file()
    result = golden.compare(device.infer(golden.inputs))
    assert result.samples == len(golden.labels) == 5
    assert result.top1 == 1.0
    assert golden.predicted.shape == (5,)
    assert golden.outputs[0].shape == (5, 10)

def test_without_a_board():
    assert True
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A user's project: one test file, somewhere else."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "test_mine.py").write_text(USER_TEST)
    return folder


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The environment of a process that has axonrig installed.

    Where it is not really installed, its metadata is laid out the way an editable install does,
    with the entry points that pyproject.toml declares.
    """
    paths: list[Path] = []
    try:
        distribution("axonrig")
    except PackageNotFoundError:
        paths = [_editable_install(tmp_path / "site"), ROOT]
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    return clean | {
        "AXONRIG_CACHE": str(tmp_path / "cache"),
        "PYTHONPATH": os.pathsep.join(str(path) for path in paths),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _editable_install(site: Path) -> Path:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    folder = site / f"axonrig-{settings['version']}.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: axonrig\nVersion: {settings['version']}\n"
    )
    lines = [f"{name} = {target}" for name, target in settings["entry-points"]["pytest11"].items()]
    (folder / "entry_points.txt").write_text("\n".join(["[pytest11]", *lines, ""]))
    return site


def run(folder: Path, environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def junit(path: Path) -> ET.Element:
    return ET.parse(path).getroot()  # noqa: S314  # our own pytest wrote it


def properties(element: ET.Element | None) -> dict[str, str]:
    assert element is not None
    return {item.attrib["name"]: item.attrib["value"] for item in element}


def test_installed_plugin_in_another_project(project: Path, environment: dict[str, str]) -> None:
    done = run(project, environment, "--limit", "5", "-v", "--junit-xml", "junit.xml")
    assert done.returncode == 0, done.stdout + done.stderr
    digest = sha256(DEFAULT_MODEL.read_bytes())
    assert (
        f"axonrig: board sim (source: sim), model digits_resnet8.tflite (sha256 {digest[:12]})"
        in done.stdout
    )
    assert "test_agreement PASSED (source: sim)" in done.stdout
    assert "test_without_a_board PASSED " in done.stdout
    suite = junit(project / "junit.xml").find("testsuite")
    assert suite is not None
    whole = properties(suite.find("properties"))
    assert whole["source"] == whole["board"] == "sim"
    assert whole["model_sha256"] == digest
    assert {"version.axonrig", "version.numpy", "version.ai-edge-litert"} <= set(whole)
    cases = {case.attrib["name"]: case for case in suite.findall("testcase")}
    each = properties(cases["test_agreement"].find("properties"))
    assert each["source"] == "sim"
    assert each["model_sha256"] == digest
    assert cases["test_without_a_board"].find("properties") is None


def test_fallback_is_said_in_header_summary_and_results(
    project: Path, environment: dict[str, str]
) -> None:
    words = ["--board", "nrf54", "--limit", "5", "-v", "--junit-xml", "junit.xml"]
    done = run(project, environment, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    said = "no board that fits 'nrf54' is connected, so the simulator stands in"
    assert f"axonrig: {said}" in done.stdout
    assert f"board sim (source: sim): {said}" in done.stdout
    assert "test_agreement PASSED (source: sim)" in done.stdout
    case = junit(project / "junit.xml").find(".//testcase[@name='test_agreement']")
    assert case is not None
    each = properties(case.find("properties"))
    assert (each["source"], each["board"], each["board_asked"]) == ("sim", "sim", "nrf54")
    assert "the simulator stands in" in each["fallback"]


def test_required_hardware_that_is_missing(project: Path, environment: dict[str, str]) -> None:
    done = run(project, environment, "--board", "nrf54", "--require-hardware")
    assert done.returncode == INFRASTRUCTURE_EXIT
    assert "no board that fits 'nrf54' is connected" in done.stdout + done.stderr
    assert "passed" not in done.stdout


def test_clone_and_install_at_once_are_one_plugin(environment: dict[str, str]) -> None:
    done = run(ROOT, environment, "--collect-only", "-q", "tests/unit/test_layout.py")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_plain_project_pays_nothing(tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "test_plain.py").write_text(
        "import sys\n"
        "def test_imports():\n"
        "    assert not {'numpy', 'compiler', 'ai_edge_litert', 'rich'} & set(sys.modules)\n"
    )
    done = run(tmp_path, environment, "test_plain.py")
    assert done.returncode == 0, done.stdout


@pytest.fixture
def inner(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Runs pytest in this process, with the plugin named on the command line."""
    monkeypatch.setenv("AXONRIG_CACHE", str(pytester.path / "cache"))
    pytester.makepyfile(USER_TEST)
    return pytester


PLUGIN = ("-p", "harness.pytest_plugin")
USAGE: dict[str, tuple[list[str], str]] = {
    "board": (
        ["--board", "nrf99"],
        "unknown board 'nrf99'; did you mean 'nrf54'? the known ones are host, nrf54, ",
    ),
    "model": (["--model", "none.tflite"], "--model none.tflite: no such file"),
    "data": (["--data", "none.npy"], "--data none.npy: no such file"),
    "limit": (["--limit", "0"], "--limit is 0; expected at least 1 sample"),
    "empty": (["--model", "empty.tflite"], "the model "),
}


@pytest.mark.parametrize("name", USAGE)
def test_usage_errors(name: str, inner: pytest.Pytester) -> None:
    words, pattern = USAGE[name]
    (inner.path / "empty.tflite").write_bytes(b"")
    done = inner.runpytest_inprocess(*PLUGIN, *words)
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    assert f"ERROR: axonrig: {pattern}" in done.stderr.str()


def test_input_that_does_not_fit_is_an_error_without_traceback(inner: pytest.Pytester) -> None:
    import numpy as np

    np.save(inner.path / "x.npy", np.zeros((2, 4, 4), np.int8))
    done = inner.runpytest_inprocess(*PLUGIN, "--data", "x.npy")
    done.assert_outcomes(errors=1, passed=1)
    text = done.stdout.str()
    assert "axonrig: " in text
    assert "the model takes [N, 32, 32, 3]" in text
    assert "Traceback" not in text
    assert "another exception" not in text
    assert "def prepare" not in text


def test_a_failure_says_its_source(inner: pytest.Pytester) -> None:
    inner.makepyfile("def test_no(board):\n    assert board.name == 'other'\n")
    done = inner.runpytest_inprocess(*PLUGIN, "-v")
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["*test_no FAILED (source: sim)*"])


def test_skips_and_expected_failures_stay_what_they_are(inner: pytest.Pytester) -> None:
    inner.makepyfile(
        "import pytest\n"
        "def test_skip(board):\n    pytest.skip('not today')\n"
        "@pytest.mark.xfail\ndef test_xfail(board):\n    assert False\n"
    )
    inner.runpytest_inprocess(*PLUGIN).assert_outcomes(skipped=1, xfailed=1)


def test_help_lists_the_options(inner: pytest.Pytester) -> None:
    text = inner.runpytest_inprocess(*PLUGIN, "--help").stdout.str()
    for option in ("--board", "--require-hardware", "--model", "--data", "--labels", "--limit"):
        assert option in text
    for option in ("--serial-number", "--port"):
        assert option in text


BROKEN_LINK = """
import pytest
from harness.errors import TransportTimeout

@pytest.fixture
def cable():
    raise TransportTimeout("the link stayed silent for 5 s; check the cable")

def test_setup(cable):
    pass

def test_call():
    raise TransportTimeout("the board was unplugged at image 7")

def test_fine():
    pass
"""


def test_a_broken_link_is_no_failed_test(inner: pytest.Pytester) -> None:
    inner.makepyfile(test_it=BROKEN_LINK)
    result = inner.runpytest_inprocess(*PLUGIN, "-v", "--junitxml=r.xml", "test_it.py")
    assert result.ret == 14
    text = result.stdout.str()
    assert text.count("INFRASTRUCTURE") == 2
    assert "2 infrastructure" in text
    assert "failed" not in text.splitlines()[-1]
    assert "say nothing about the model" in text
    junit = (inner.path / "r.xml").read_text()
    assert 'name="infrastructure"' in junit
    assert "unplugged at image 7" in junit


def test_a_failed_test_beside_a_broken_link_counts(inner: pytest.Pytester) -> None:
    inner.makepyfile(test_it=BROKEN_LINK + "\ndef test_wrong():\n    assert 1 == 2\n")
    result = inner.runpytest_inprocess(*PLUGIN, "test_it.py")
    assert result.ret == 1
    assert "1 failed" in result.stdout.str().splitlines()[-1]
