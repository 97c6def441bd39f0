"""`axonrig bisect`: the right commit, on a dirty tree, without a trace in the user's repository."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from harness.bisection.probe import Probe
from harness.bisection.repository import head
from harness.bisection.search import bisect
from harness.cli import main
from harness.errors import ConfigError
from harness.history import Job, Kind, Metric, Result, Status, Value
from harness.tool_process import find_tool
from tests.support.operator_models import build_model


def git(folder: Path, *words: str) -> str:
    options = ["-c", "user.name=A", "-c", "user.email=a@b", "-c", "core.hooksPath=/dev/null"]
    done = subprocess.run(
        [find_tool("git", "needed here"), *options, *words],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def repository(folder: Path, contents: list[bytes]) -> list[str]:
    """A repository with one commit for each content of the file `value`; their hashes."""
    folder.mkdir()
    git(folder, "init", "-q")
    commits = []
    for number, content in enumerate(contents):
        (folder / "value").write_bytes(content)
        (folder / "number").write_text(str(number))
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "-m", f"commit {number}")
        commits.append(git(folder, "rev-parse", "HEAD"))
    return commits


class _Reading(Probe):
    """Takes the metric from a file of the checkout instead of running it."""

    __slots__ = ()

    def result(self, checkout: Path) -> Result:
        text = (checkout / "value").read_text()
        if text == "broken":
            raise ConfigError("it does not compile")
        value: Value = int(text) if text.isdecimal() else text
        metrics = (
            Metric("estimate.cycles", value, "cycles", Kind.EXACT, "sim"),
            Metric("other", 1, "", Kind.EXACT, "sim"),
        )
        return Result(Job("m", "sim", "int8"), Status.OK, "now", metrics=metrics)


def reading(folder: Path, *metrics: str) -> Probe:
    return _Reading(folder, metrics or ("estimate.cycles",))


@pytest.mark.parametrize(
    ("values", "first_bad"),
    [
        (["10", "20"], 1),
        (["10", "10", "10", "20", "20"], 3),
        (["10"] * 5 + ["20"], 5),
        (["10"] + ["20"] * 5, 1),
        (["10", "11", "19", "20", "20"], 2),  # nearer to the bad end
        (["ab", "ab", "cd", "ef"], 2),  # a hash: whatever differs is bad
    ],
)
def test_the_commit_is_found(tmp_path: Path, values: list[str], first_bad: int) -> None:
    commits = repository(tmp_path / "r", [value.encode() for value in values])
    found = bisect(reading(tmp_path / "r"), commits[0], "HEAD")
    assert [commit.hash for commit in found.commits] == [commits[first_bad]]
    assert found.commits[0].subject == f"commit {first_bad}"
    assert str(found.after) == values[first_bad]
    assert found.before is None or str(found.before) == values[first_bad - 1]


def test_the_same_search_ends_in_the_same_way(tmp_path: Path) -> None:
    commits = repository(tmp_path / "r", [b"10", b"10", b"20", b"20"])
    first, again = (bisect(reading(tmp_path / "r"), commits[0], "HEAD") for _ in range(2))
    assert again == first


def test_commits_that_do_not_run_are_skipped_and_named(tmp_path: Path) -> None:
    values = [b"10", b"broken", b"broken", b"20"]
    commits = repository(tmp_path / "r", values)
    found = bisect(reading(tmp_path / "r"), commits[0], commits[3])
    assert {commit.hash for commit in found.commits} == set(commits[1:])
    assert {step.word for step in found.steps} == {"skip"}


def test_a_merge_is_walked_into(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    commits = repository(folder, [b"10", b"10"])
    git(folder, "checkout", "-q", "-b", "side", commits[0])
    (folder / "value").write_text("20")
    git(folder, "commit", "-q", "-am", "slow")
    slow = git(folder, "rev-parse", "HEAD")
    git(folder, "checkout", "-q", "-")
    git(folder, "checkout", "-q", "-B", "trunk", commits[1])
    git(folder, "merge", "-q", "--no-edit", "side")
    found = bisect(reading(folder), commits[1], "HEAD")
    assert [commit.hash for commit in found.commits] == [slow]


@pytest.mark.parametrize(
    ("good", "bad", "metrics", "words"),
    [
        ("HEAD", "HEAD~1", (), "are they swapped"),
        ("HEAD~1", "HEAD", ("other",), "other is 1 at both"),
        ("HEAD~1", "HEAD", ("none",), "none is missing"),
        ("HEAD~2", "HEAD", (), "cannot be an end of the search: it does not compile"),
        ("nonsense", "HEAD", (), "names no commit"),
        ("--upload-pack=x", "HEAD", (), "is no name of a commit"),
    ],
)
def test_ends_that_give_no_search(
    tmp_path: Path, good: str, bad: str, metrics: tuple[str, ...], words: str
) -> None:
    repository(tmp_path / "r", [b"broken", b"10", b"20"])
    with pytest.raises(ConfigError, match=words):
        bisect(reading(tmp_path / "r", *metrics), good, bad)


def test_a_model_repository_from_the_command_line_with_a_dirty_tree(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "models"
    models = [build_model(name) for name in ("conv", "conv_stride_valid")]
    commits = repository(folder, [models[0], models[1]])
    (folder / "value").rename(folder / "net.tflite")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "renamed")
    (folder / "net.tflite").write_bytes(b"work in progress")
    (folder / "untracked").write_text("keep me")
    before = _state(folder)
    assert head(folder) == git(folder, "rev-parse", "HEAD") + "-dirty"
    (folder / "value").write_bytes(b"")  # names the file as it was called
    words = ["--repo", str(folder), "--model", str(folder / "value"), "--limit", "2"]
    status = main(["bisect", "--good", commits[0], "--bad", commits[1], *words])
    captured = capsys.readouterr()
    assert status == 0, captured.err
    assert f"{commits[1]} " in captured.out
    assert "commit 1" in captured.out
    (folder / "value").unlink()
    assert _state(folder) == before
    for extra, text in (
        (["--limit", "0"], "--limit is 0"),
        (["--model", str(tmp_path / "none")], "is not there"),
        (["--repo", str(tmp_path / "none")], "is no folder"),
        (["--repo", str(tmp_path)], "is in no git repository"),
        (["--bad", "HEAD"], "value is not in this commit"),
    ):
        (folder / "value").write_bytes(b"")
        options = [*words, "--bad", commits[1], *extra]
        assert main(["bisect", "--good", commits[0], *options]) == 3
        assert text in capsys.readouterr().err


def _state(folder: Path) -> dict[str, bytes | str]:
    """Everything that a user could notice: files, refs, index, worktrees."""
    files: dict[str, bytes | str] = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "index"
    }
    files["status"] = git(folder, "status", "--porcelain")
    files["worktrees"] = git(folder, "worktree", "list")
    return files
