"""The sweep of benchmarks/envelope.py: a sample with Nordic's library, its own parts without."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import envelope
from benchmarks.envelope import Answer, Answers, Outcome, Verdict
from benchmarks.envelope_cases import FAMILIES, Case, all_cases
from compiler import UnsupportedError
from compiler.lowering import LOWERINGS
from harness.errors import ToolchainError
from harness.vendor.sdk import Sdk
from tests.support.operator_models import MODELS, build_model
from tests.support.tflite_builder import ModelBuilder
from tests.support.vendor_sdk import real_sdk

SAMPLE = 30


@pytest.fixture(scope="module")
def sdk() -> Sdk:
    return real_sdk()


@pytest.fixture(scope="module")
def cases() -> tuple[Case, ...]:
    return all_cases()


def _made_up_sdk() -> Sdk:
    return Sdk(Path("sdk"), Path("library"), "2.2.0", "1.4.0", "1.4.0", "1.3.1")


def _case(name: str, model: bytes | None = None) -> Case:
    return Case("CONV_2D", name, model or build_model("conv"), "int8", False)


def _large_filter() -> bytes:
    builder = ModelBuilder("large filter")
    source = builder.input(1, 20, 20, 2)
    return builder.build([source], [builder.conv(source, 2, (17, 3))])


def test_a_sample_agrees_with_the_library(
    sdk: Sdk, cases: tuple[Case, ...], tmp_path: Path
) -> None:
    answers = Answers(tmp_path / "answers.json", sdk)
    outcomes = envelope.sweep(envelope.sample(cases, SAMPLE), answers, minutes=5)
    assert len(outcomes) >= SAMPLE
    faults = (Verdict.LAX, Verdict.DIFFERENT, Verdict.HANGS)
    assert [item for item in outcomes if item.verdict in faults] == []
    assert {Verdict.EQUAL, Verdict.REFUSED} <= {item.verdict for item in outcomes}


@pytest.mark.parametrize("transpose", [False, True], ids=["plain", "transposed"])
@pytest.mark.parametrize("name", MODELS)
def test_operator_model_on_the_simulator(name: str, transpose: bool, sdk: Sdk) -> None:
    """What is compared with TFLite always (tests/unit/test_operators.py) is compared here too."""
    for output in ("int8", "int32"):
        case = replace(_case(name, build_model(name)), output=output, transpose=transpose)
        asked = envelope.prepare_case(case)
        if asked.rule or asked.translation is None:
            assert transpose or output == "int32"
            continue
        answer = envelope.ask(asked.translation, sdk, 60.0)
        assert answer == Answer()


def test_cases_are_many_different_and_the_same_every_time(cases: tuple[Case, ...]) -> None:
    assert len(cases) > 2000
    assert len({(case.operator, case.name) for case in cases}) == len(cases)
    again = [case for family in FAMILIES[:3] for case in family.cases()]
    assert [case.model for case in again] == [case.model for case in cases[: len(again)]]


def test_every_operator_that_can_be_lowered_is_swept(cases: tuple[Case, ...]) -> None:
    lowered = set()
    padded = [case for case in cases if case.operator == "PAD" and "depth" in case.name]
    for case in (*envelope.sample(cases, 200), *padded):
        asked = envelope.prepare_case(case)
        if asked.translation is not None:
            lowered |= {op.code for op in asked.translation.legal.operators}
    assert lowered == set(LOWERINGS)


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (Answer(), Verdict.EQUAL),
        (Answer(differences=("layer 0 (conv2d): 3",)), Verdict.DIFFERENT),
        (Answer(refusal="INVALID_STRIDE (-236)", code=-236), Verdict.LAX),
        (Answer(refusal="CMD_BUF_TOO_SMALL (-207)", code=-207), Verdict.TOO_BIG),
        (Answer(failure="did not return"), Verdict.HANGS),
    ],
)
def test_verdict_on_what_we_accept(answer: Answer, verdict: Verdict) -> None:
    asked = envelope.prepare_case(_case("usual"))
    assert not asked.rule
    assert envelope.judge(asked, answer, 1).verdict is verdict


@pytest.mark.parametrize(
    ("answer", "distance", "verdict"),
    [
        (Answer(), 1, Verdict.STRICT),
        (Answer(), 90, Verdict.NEEDED),
        (Answer(differences=("layer 0 (conv2d): 3",)), 1, Verdict.NEEDED),
        (Answer(refusal="INVALID_FILTER_SIZE (-239)", code=-239), 1, Verdict.REFUSED),
        (None, None, Verdict.REFUSED),
    ],
)
def test_verdict_on_what_we_refuse(
    answer: Answer | None, distance: int | None, verdict: Verdict
) -> None:
    asked = envelope.prepare_case(_case("kernel_h=17", _large_filter()))
    assert "16 by 16" in asked.rule
    assert asked.translation is not None
    assert envelope.judge(asked, answer, distance).verdict is verdict


def test_a_refused_model_without_a_form_is_not_asked_about() -> None:
    builder = ModelBuilder("cosine")
    source = builder.input(1, 4)
    model = builder.build([source], [builder.op("COS", [source], [builder.like(source)])])
    asked = envelope.prepare_case(_case("cosine", model))
    assert asked.translation is None
    assert "supports" in asked.rule


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (
            UnsupportedError("refused layer 0: INVALID_STRIDE (-236): the stride"),
            Answer("INVALID_STRIDE (-236)", -236),
        ),
        (ToolchainError("failed: FAILURE (-1): no reason"), Answer("FAILURE (-1)", -1)),
        (
            ToolchainError("the library did not return within 10 s; its last lines: A (1)"),
            Answer(failure="the library did not return within 10 s"),
        ),
    ],
)
def test_what_the_library_said(
    error: Exception, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(envelope, "generate", fail)
    asked = envelope.prepare_case(_case("usual"))
    assert asked.translation is not None
    assert envelope.ask(asked.translation, _made_up_sdk()) == answer


def test_answers_are_kept_and_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def answer(*_: object, **__: object) -> Answer:
        calls.append(1)
        return Answer(differences=("layer 0 (conv2d): 1",))

    monkeypatch.setattr(envelope, "ask", answer)
    path, sdk = tmp_path / "answers.json", _made_up_sdk()
    first = envelope.sweep([_case("usual")], Answers(path, sdk), minutes=1)
    second = envelope.sweep([_case("usual")], Answers(path, sdk), minutes=1)
    assert len(calls) == 1
    assert first == second
    assert first[0].tflite_lsb == 0 or first[0].tflite_lsb == 1
    newer = replace(sdk, version="2.3.0")
    assert len(Answers(path, newer)) == 0
    stored = json.loads(path.read_text())
    assert stored["versions"]["version"] == "2.2.0"


def test_no_time_asks_nothing() -> None:
    assert envelope.sweep([_case("usual")], Answers(None, _made_up_sdk()), minutes=0) == []


def test_the_page_counts_and_lists() -> None:
    def outcome(name: str, verdict: Verdict, **fields: object) -> Outcome:
        usual = {"rule": "", "answer": Answer(), "tflite_lsb": 1, **fields}
        return Outcome("CONV_2D", name, verdict, **usual)  # type: ignore[arg-type]  # a test's shorthand

    lax = Answer("INVALID_STRIDE (-236)", -236)
    outcomes = [
        outcome("usual", Verdict.EQUAL),
        outcome("far", Verdict.EQUAL, tflite_lsb=50),
        outcome("stride_h=40", Verdict.LAX, answer=lax),
    ]
    page = envelope.document(outcomes, _made_up_sdk())
    assert "| CONV_2D | 3 | 2 | 0 | 0 | 0 | 0 | 1 | 0 | 0 | 50 LSB |" in page
    assert "- CONV_2D stride_h=40: only it refuses (INVALID_STRIDE (-236); 1 LSB" in page
    assert "- CONV_2D far: accepted, outputs equal (accepted; 50 LSB from TFLite)" in page
    assert "usual:" not in page
    assert "None." in envelope.document(outcomes[:1], _made_up_sdk())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--operator", "COS"], "no cases of 'COS'"),
        (["--operator", "VARIABLE", "--minutes", "0"], "44 cases left"),
        (["--operator", "VARIABLE", "--answers", "{broken}"], "holds no answers"),
    ],
)
def test_what_cannot_be_run(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text('{"answers": []}')
    monkeypatch.setattr(envelope, "find_sdk", _made_up_sdk)
    assert envelope.main([word.format(broken=broken) for word in words]) in (1, 3)
    assert message in capsys.readouterr().err


def test_a_run_of_one_operator(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(envelope, "find_sdk", _made_up_sdk)
    monkeypatch.setattr(envelope, "ask", lambda *_, **__: Answer())
    words = ["--operator", "VARIABLE", "--sample", "2"]
    assert envelope.main(words) == 0
    assert "| VARIABLE | 2 | 2 |" in capsys.readouterr().out
    assert envelope.main([*words, "--write"]) == 3
    assert "--write needs all cases" in capsys.readouterr().err


def test_without_the_sdk_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SDK_EDGE_AI_PATH", raising=False)
    assert envelope.main([]) == 5
    assert "SDK_EDGE_AI_PATH is not set" in capsys.readouterr().err
