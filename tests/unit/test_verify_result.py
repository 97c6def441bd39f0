"""`axonrig verify-result`: whole, damaged and incomplete folders of every kind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.artefacts import sha256, write_manifest
from harness.cli import main
from harness.integrity import State, check_folder, read_manifest, seal_folder
from harness.model_file import DEFAULT_MODEL
from harness.run import RunRequest, run

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A result of `axonrig run`."""
    out = tmp_path_factory.mktemp("result") / "run"
    run(RunRequest(limit=4, out=out))
    return out


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def test_a_run_is_whole(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify-result", str(folder)]) == 0
    assert capsys.readouterr().out == f"{folder}: whole (run, 8 files)\n"


def test_a_verification_needs_its_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind, name in (("verify", "verify.json"), ("mlperf", "report.json")):
        folder = tmp_path / kind
        folder.mkdir()
        write_manifest(folder, [], {"schema": 1, "kind": kind})
        assert main(["verify-result", str(folder)]) == 1
        assert f"manifest.json does not list {name}" in capsys.readouterr().out


def test_json_says_the_same(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "note.txt").write_text("mine")
    assert main(["verify-result", str(folder), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found == {
        "folder": str(folder),
        "kind": "run",
        "state": "whole",
        "checked": 8,
        "faults": [],
        "extra": ["note.txt"],
    }


def test_extra_files_are_named_and_refused_when_asked(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "more").mkdir()
    (folder / "more" / "esc\x1b[2Jape").write_text("mine")
    assert main(["verify-result", str(folder)]) == 0
    told = capsys.readouterr().out
    assert "listed nowhere: more/esc\\x1b[2Jape" in told
    assert "\x1b" not in told
    assert main(["verify-result", str(folder), "--strict"]) == 1


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: path.unlink(), "inputs.npz is missing"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "bytes; manifest.json says"),
        (lambda path: path.write_bytes(b"\0" + path.read_bytes()[1:]), "inputs.npz was changed"),
        (lambda path: (path.unlink(), path.mkdir()), "inputs.npz is missing"),
    ],
    ids=["missing", "shorter", "one byte", "folder"],
)
def test_a_damaged_file_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], object], words: str
) -> None:
    damage(folder / "inputs.npz")
    assert main(["verify-result", str(folder)]) == 1
    told = capsys.readouterr().out
    assert f"{folder}: damaged (run, 8 files)" in told
    assert words in told


def test_an_unreadable_file_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.open

    def refuse(path: Path, *words: Any, **more: Any) -> Any:
        if path.name == "inputs.npz":
            raise PermissionError(13, "Permission denied")
        return real(path, *words, **more)

    monkeypatch.setattr(Path, "open", refuse)
    (check,) = check_folder(folder)
    assert check.faults == ("inputs.npz cannot be read: Permission denied",)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is no JSON"),
        ("[]", "holds no JSON object"),
        ("[" * 100_000, "is no JSON"),
        ('{"schema": 2, "kind": "run", "files": {}}', "has schema 2; this axonrig knows 1"),
        ('{"schema": true, "kind": "run", "files": {}}', "has schema True"),
        ('{"schema": 1, "kind": "<b>", "files": {}}', "what kind of result"),
        ('{"schema": 1, "kind": "run"}', "lists no files"),
        ('{"schema": 1, "kind": "run", "files": {"../x": {}}}', "no file of the folder"),
        ('{"schema": 1, "kind": "run", "files": {"/etc/x": {}}}', "no file of the folder"),
        ('{"schema": 1, "kind": "run", "files": {"a\\\\b": {}}}', "no file of the folder"),
        ('{"schema": 1, "kind": "run", "files": {"manifest.json": {}}}', "no file of the folder"),
        ('{"schema": 1, "kind": "run", "files": {"a": {}}}', "without its size and sha256"),
        ('{"schema": 1, "kind": "run", "files": {"a": 7}}', "without its size and sha256"),
        ('{"schema": 1, "kind": "run", "files": {}}', "does not list report.json"),
    ],
)
def test_a_damaged_manifest_is_told(
    folder: Path, capsys: pytest.CaptureFixture[str], content: str, words: str
) -> None:
    (folder / "manifest.json").write_text(content)
    assert main(["verify-result", str(folder)]) == 1
    told = capsys.readouterr().out
    assert "damaged" in told
    assert words in told


def test_a_huge_manifest_is_not_read(folder: Path) -> None:
    with (folder / "manifest.json").open("r+b") as stream:
        stream.truncate((64 << 20) + 1)
    (check,) = check_folder(folder)
    assert "more than 67108864 bytes" in check.faults[0]


def test_what_is_no_folder_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify-result", str(folder), str(folder / "none")]) == 3
    assert "is no folder" in capsys.readouterr().err
    assert main(["verify-result", str(folder / "report.json")]) == 3


def test_an_empty_folder_is_incomplete(tmp_path: Path) -> None:
    (check,) = check_folder(tmp_path)
    assert check.state is State.INCOMPLETE


def test_a_folder_that_cannot_be_listed_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(path: Path) -> Any:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert main(["verify-result", str(folder)]) == 3
    assert "cannot be read: Permission denied" in capsys.readouterr().err


def test_what_compile_wrote_is_checked_without_a_manifest(tmp_path: Path) -> None:
    out = tmp_path / "build"
    assert main(["compile", str(DEFAULT_MODEL), "-o", str(out)]) == 0
    (check,) = check_folder(out)
    assert (check.state, check.kind, check.checked) == (State.WHOLE, "compiled-program", 2)
    (out / "digits_resnet8.txt").write_text("other")
    assert check_folder(out)[0].state is State.DAMAGED
    (out / "digits_resnet8.json").unlink()
    assert check_folder(out)[0].state is State.INCOMPLETE


def test_the_report_of_a_job_lists_all_its_files(tmp_path: Path) -> None:
    job = tmp_path / "job.yaml"
    job.write_text(
        f"one:\n  model_name: Digits\n  tflite_model: {DEFAULT_MODEL}\n"
        "  transpose_kernel: [False, True]\n"
    )
    out = tmp_path / "out"
    assert main(["compile", str(job), "-o", str(out)]) == 0
    listed = read_manifest(out / "Digits_report.json").files
    assert set(listed) == {path.name for path in out.iterdir()} - {"Digits_report.json"}
    (check,) = check_folder(out)
    assert check.state is State.WHOLE
    assert check.extra == ()


def test_a_firmware_build_has_a_manifest_too(tmp_path: Path) -> None:
    (tmp_path / "firmware.hex").write_bytes(b"hex")
    write_manifest(tmp_path, ["firmware.hex"], {"schema": 1, "kind": "firmware-build"})
    assert check_folder(tmp_path)[0].state is State.WHOLE


def test_folders_inside_are_checked_each_with_its_own_manifest(folder: Path) -> None:
    night = folder.parent
    one, two = night / "jobs" / "one", night / "jobs" / "two"
    shutil.copytree(folder, one)
    shutil.move(folder, two)
    (two / "manifest.json").unlink()
    states = {check.folder: check.state for check in check_folder(night)}
    assert states == {one: State.WHOLE, two: State.INCOMPLETE}
    shutil.rmtree(two)
    (night / "summary.md").write_text("all")
    seal_folder(night, "nightly")
    assert set(read_manifest(night / "manifest.json").files) == {
        "summary.md",
        "jobs/one/manifest.json",
    }
    outer, inner = check_folder(night)
    assert (outer.kind, outer.state, inner.folder) == ("nightly", State.WHOLE, one)
    assert outer.extra == ()


def test_links_are_not_followed_into_other_folders(folder: Path, tmp_path: Path) -> None:
    (folder / "link").symlink_to(tmp_path, target_is_directory=True)
    (check,) = check_folder(folder)
    assert check.extra == ("link",)


DYING = """
import os, signal, sys
from pathlib import Path
import harness.run as module

def die(*words, **more):
    os.kill(os.getpid(), signal.SIGKILL)

setattr(module, sys.argv[1], die)
module.run(module.RunRequest(limit=4, out=Path(sys.argv[2])))
"""


@pytest.mark.parametrize("stage", ["golden_of", "write_compiled", "write_manifest"])
def test_a_killed_run_is_incomplete(folder: Path, stage: str) -> None:
    """Into a folder with an older, whole result: nothing of it may pass for the new one."""
    done = subprocess.run(
        [sys.executable, "-c", DYING, stage, str(folder)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    (check,) = check_folder(folder)
    assert check.state is State.INCOMPLETE
    assert "the run was cut off" in check.faults[0]


def test_hashes_of_the_manifest_are_of_the_files(folder: Path) -> None:
    manifest = read_manifest(folder / "manifest.json")
    for name, facts in manifest.files.items():
        assert sha256((folder / name).read_bytes()) == facts["sha256"]


def test_a_listed_file_that_is_not_there_is_a_fault(folder: Path) -> None:
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    content["files"]["more.bin"] = content["files"]["report.json"]
    path.write_text(json.dumps(content))
    (check,) = check_folder(folder)
    assert check.faults == ("more.bin is missing",)
