"""`axonrig compare` and `axonrig history`: comparability first, then what changed and where."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.artefacts import sha256
from harness.changes import compare_results
from harness.changes.folder_metrics import result_of_folder
from harness.cli import main
from harness.errors import ConfigError
from harness.history import (
    Finding,
    Gate,
    Job,
    Kind,
    Metric,
    Night,
    Result,
    Samples,
    Status,
    Verdict,
    open_history,
)
from harness.history.choice import chosen
from tests.support.operator_models import build_model

EXACT = (
    Metric("estimate.cycles", 1000, "cycles", Kind.EXACT, "sim"),
    Metric("emulated.instructions", 5000, "instructions", Kind.EXACT, "emulated"),
    Metric("agreement.top1", 1.0, "", Kind.EXACT, "sim"),
    Metric("layer.000.sha256", "ab", "", Kind.EXACT, "sim"),
    Metric("latency.us", 100.0, "us", Kind.MEASURED, "board"),
)
CONDITIONS = {"source": "sim", "data": "d", "clock_hz": "1", "latency.baud": "9600", "golden": "g"}
BASE = Result(
    Job("m", "sim", "int8"),
    Status.OK,
    "now",
    source="sim",
    conditions=CONDITIONS,
    metrics=EXACT,
)


def other(values: dict[str, Any], **conditions: str) -> Result:
    metrics = tuple(replace(item, value=values.get(item.name, item.value)) for item in EXACT)
    return replace(BASE, metrics=metrics, conditions={**CONDITIONS, **conditions})


ALL = {
    "estimate.cycles": 1010,
    "emulated.instructions": 4000,
    "agreement.top1": 0.5,
    "layer.000.sha256": "cd",
    "latency.us": 120.0,
}


@pytest.mark.parametrize(
    ("condition", "left_out"),
    [
        ({}, set()),
        ({"source": "board"}, {"emulated.instructions", "latency.us"}),
        ({"clock_hz": "2"}, {"emulated.instructions", "latency.us"}),
        ({"data": "e"}, {"agreement.top1", "layer"}),
        ({"latency.baud": "1"}, set()),
        ({"golden": "h"}, set()),
    ],
)
def test_what_is_not_comparable_is_left_out_and_said(
    condition: dict[str, str], left_out: set[str]
) -> None:
    changes = compare_results(BASE, other(ALL, **condition))
    found = {change.difference.metric for change in changes.changes}
    assert found == {name for name in ALL if not name.startswith("layer")} - left_out
    assert (changes.first_layer is None) == ("layer" in left_out)
    assert [flag.condition for flag in changes.flags] == list(condition)


def test_a_latency_is_tested_on_rounds() -> None:
    def rounds(us: float, count: int) -> tuple[Samples, ...]:
        return tuple(
            Samples("latency.us", f"candidate-{k:02d}", "us", (us + k / 100,)) for k in range(count)
        )

    slow = other({"latency.us": 120.0})
    (change,) = compare_results(BASE, slow, (rounds(100, 6), rounds(120, 6))).changes
    assert change.shift is not None
    assert change.shift.alerts()
    (change,) = compare_results(BASE, slow, (rounds(100, 1), rounds(120, 6))).changes
    assert change.shift is None


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Result folders of two models on the simulator, and of one on the emulated board."""
    root = tmp_path_factory.mktemp("folders")
    found = {}
    for name, board, model in (("a", "sim", "conv"), ("b", "sim", "conv_stride_valid")):
        file = root / "model.tflite"
        file.write_bytes(build_model(model))
        found[name] = root / name
        words = ["--board", board, "--model", str(file), "--limit", "4", "--out", str(found[name])]
        assert main(["run", *words]) == 0
    return found


def test_two_folders(folders: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["compare", str(folders["a"]), str(folders["a"])]) == 0
    assert "0 metrics differ" in capsys.readouterr().out
    status = main(["compare", str(folders["a"]), str(folders["b"])])
    printed = capsys.readouterr().out
    result, _ = result_of_folder(folders["a"])
    after, _ = result_of_folder(folders["b"])
    cycles = [side.metric("estimate.cycles") for side in (result, after)]
    assert cycles[0] is not None
    assert cycles[1] is not None
    assert str(cycles[0].value) in printed
    assert str(cycles[1].value) in printed
    assert "estimate.cycles by layer" in printed
    assert status == int(cycles[1].value > cycles[0].value)  # type: ignore[operator]  # numbers


def test_a_comparison_as_json(folders: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    status = main(["compare", str(folders["a"]), str(folders["b"]), "--json"])
    (found,) = json.loads(capsys.readouterr().out)["comparisons"]
    assert found["worse"] is (status == 1)
    assert (found["a"]["source"], found["a"]["folder"]) == ("sim", str(folders["a"]))
    (cycles,) = (item for item in found["changes"] if item["metric"] == "estimate.cycles")
    change = sum(layer["after"] - layer["before"] for layer in cycles["layers"])
    assert change == cycles["after"] - cycles["before"] != 0


def test_unusable_folders_and_words(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(folders["a"], broken)
    (broken / "report.json").write_text("{}")
    manifest = json.loads((broken / "manifest.json").read_text())
    manifest["files"]["report.json"]["sha256"] = sha256(b"{}")
    manifest["files"]["report.json"]["bytes"] = 2
    (broken / "manifest.json").write_text(json.dumps(manifest))
    for words, text in (
        (["x", str(folders["a"])], "there is no result folder x"),
        ([str(folders["a"]), str(broken)], "lacks what a comparison needs"),
        (["a", "b", "--history", str(tmp_path / "h.db")], "there is no history"),
        (["a", "b", "--layers", "-1"], "--layers is -1"),
    ):
        assert main(["compare", *words]) == 3
        assert text in capsys.readouterr().err


# ---- of a history ----


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "h.db"
    with open_history(path, create=True) as history:
        for number, values in enumerate(({}, {"estimate.cycles": 1010})):
            name = f"n{number}"
            begun = f"2026-01-0{number + 1}T00:00:00+00:00"
            history.begin(Night(name, begun, "h", "c0de", "0a", {}, revision=f"{number}abc" * 10))
            result = other(values)
            history.record(name, result)
            history.record(name, replace(result, job=Job("m", "host", "int8")))
            history.record(name, Result(Job("m", "desk", "int8"), Status.SKIPPED, "now", "none"))
            history.finish(name, begun, [])
    return path


@pytest.mark.parametrize(
    ("before", "after", "status", "text"),
    [
        ("n0", "n1", 1, "estimate.cycles  1000  1010"),
        ("n1", "n0", 0, "improvement"),
        ("0abc", "1abc", 1, "regression"),
        ("n0:m@sim@int8", "n0:m@host@int8", 0, "0 metrics differ"),
        ("n0", "n2", 3, "'n2' is no night and no commit of the history; the latest are n0, n1"),
        ("n0:x", "n1", 3, "no complete job 'x'; it has m@host@int8, m@sim@int8"),
        ("n0:m@sim@int8", "n1:m@desk@int8", 3, "no complete job 'm@desk@int8'"),
        ("n0:m@sim@int8", "n1", 1, "regression"),
    ],
)
def test_nights_commits_and_boards(
    database: Path,
    capsys: pytest.CaptureFixture[str],
    before: str,
    after: str,
    status: int,
    text: str,
) -> None:
    assert main(["compare", before, after, "--history", str(database)]) == status
    captured = capsys.readouterr()
    assert text in captured.out + captured.err


def test_texts_of_a_history_move_no_cursor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, job = tmp_path / "h.db", Job("m", "sim", "int8")
    with open_history(path, create=True) as history:
        for name in ("n0", "n1"):
            history.begin(Night(name, name, "h", "c0de", "0a", {}))
            metric = Metric(f"a.{name}\x1b[2J", 1, "\x1b[2J", Kind.EXACT, "\x1b[2J")
            facts = {"source": f"{name}\x1b[2J"}
            done = Result(job, Status.OK, "\x1b[2J", conditions=facts, metrics=(metric,))
            history.record(name, done)
        text = "<b>\x1b[2J"
        finding = Finding("n1", job, "a", Gate.EXACT, Verdict.CHANGED, text)
        history.finish("n1", "now", [finding])
    for words in (["history", "list", str(path)], ["compare", "n0", "n1", "--history", str(path)]):
        assert main(words) == 0
        assert "\x1b" not in capsys.readouterr().out


def test_the_beginning_of_two_commits_names_neither(tmp_path: Path) -> None:
    with open_history(tmp_path / "h.db", create=True) as history:
        for name, revision in (("n0", "abcd0"), ("n1", "abcd1"), ("n2", "abcd1-dirty")):
            history.begin(Night(name, name, "h", "c0de", "0a", {}, revision=revision))
            history.record(name, other({}))
        with pytest.raises(ConfigError, match="'abcd' is the beginning of abcd0 and abcd1"):
            chosen(history, "abcd")
        assert {item.night for item in chosen(history, "abcd1")} == {"n2"}


def test_an_export_does_not_take_the_place_of_the_history(
    database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = database.read_bytes()
    assert main(["history", "export", str(database), "-o", str(database)]) == 3
    assert "is the history itself" in capsys.readouterr().err
    assert database.read_bytes() == before


def test_history_is_listed_exported_and_imported(
    database: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["history", "list", str(database)]) == 0
    assert "n1: 2 ok, 1 skipped; commit 1abc1abc1abc" in capsys.readouterr().out
    lines = tmp_path / "h.jsonl"
    assert main(["history", "export", str(database), "-o", str(lines)]) == 0
    copy = tmp_path / "copy.db"
    assert main(["history", "import", str(copy), str(lines)]) == 0
    assert "stored 8 records; 0 were there" in capsys.readouterr().out
    assert main(["history", "export", str(copy)]) == 0
    assert capsys.readouterr().out == lines.read_text()
    assert main(["history", "export", str(database), "--format", "csv", "--night", "n0"]) == 0
    assert "n0,m,sim,int8,ok,estimate.cycles,1000,cycles,exact,sim," in capsys.readouterr().out
    lines.write_bytes(b"\xff\n")
    for words, text in (
        (["export", str(database), "--night", "n0"], "jsonl has them all"),
        (["export", str(database), "--format", "csv", "--night", "x"], "no night 'x'"),
        (["export", str(database), "-o", str(tmp_path)], "is a folder"),
        (["import", str(copy), str(lines)], "is no text in UTF-8"),
        (["import", str(tmp_path / "new.db"), str(lines)], "is no text in UTF-8"),
        (["import", str(copy), str(tmp_path / "none")], "No such file"),
        (["list", str(tmp_path / "none.db")], "there is no history"),
    ):
        assert main(["history", *words]) == 3
        assert text in capsys.readouterr().err
    assert not (tmp_path / "new.db").exists()
