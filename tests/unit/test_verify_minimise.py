"""Planted faults are reduced to the operator that is wrong."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler import CompilerError, Op, decode, interpret, translate
from harness.cli import main
from harness.data.dataset import load_array
from harness.errors import ExitCode
from harness.golden import KernelSet
from harness.model_file import DEFAULT_DATA, DEFAULT_MODEL
from harness.verify import case as case_module
from harness.verify import minimise as minimise_module
from harness.verify import parties as parties_module
from harness.verify.case import Case, make_candidate
from harness.verify.layers import tensor_values
from harness.verify.minimise import Minimal, minimise
from harness.verify.network import cuts_of, extract
from harness.verify.parties import DefinitionParty, EngineParty, HostParty, Party, VendorParty
from harness.verify.study import study
from harness.verify.ticket import ticket_files
from harness.verify.verdict import Meaning
from tests.support.operator_models import build_model
from tests.support.wrong_parties import WrongEngine, translate_wrongly

HOST = HostParty(KernelSet.REFERENCE)
OURS = DefinitionParty()
NATIVE = ("definition", "native")
HOSTED = ("tflite-reference", "definition")


def digits_case(samples: int = 4) -> Case:
    images = load_array(DEFAULT_DATA, "inputs")[:samples] ^ 128
    return make_candidate("digits", DEFAULT_MODEL.read_bytes(), images.view(np.int8))


def reduce(case: Case, parties: list[Party], between: tuple[str, str]) -> Minimal:
    whole = study(case, parties)
    pair = whole.pair(*between)
    assert pair is not None
    return minimise(whole, pair)


@pytest.mark.parametrize(
    ("op", "operator"),
    [
        (Op.ADD, "ADD"),
        (Op.MEAN, "AVERAGE_POOL_2D"),
        (Op.SOFTMAX, "SOFTMAX"),
        (Op.POINTWISE_CONV2D, "CONV_2D"),
    ],
)
def test_a_planted_fault_is_reduced_to_its_operator(op: Op, operator: str) -> None:
    wrong = EngineParty(WrongEngine(op, bound=-120, error=7))
    found = reduce(digits_case(), [HOST, OURS, wrong], NATIVE)
    assert found.operators == (operator,)
    assert found.pair.meaning is Meaning.ENGINE
    assert found.pair.comparison.max_lsb == 7
    assert len(found.case.inputs) == 1
    assert found.steps[0].endswith("of 4 alone")


def test_a_fault_of_large_values_is_reduced_to_one_of_them() -> None:
    wrong = EngineParty(WrongEngine(Op.CONV2D, bound=100, error=5))
    found = reduce(digits_case(), [HOST, OURS, wrong], NATIVE)
    assert found.operators == ("CONV_2D",)
    assert found.left.outputs[0].max() > 100
    assert found.case.targets[0].shape[-1] == 1
    assert found.case.inputs.size <= 3 * 3 * 16
    assert len(found.case.model.data) < 4000
    assert found.tried < 80


def test_a_wrong_program_is_reduced_to_its_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(case_module, "translate", translate_wrongly(Op.MEAN, 9))
    data = build_model("squeeze_and_excite")
    inputs = np.random.default_rng(3).integers(-128, 128, (2, 8, 12, 4), dtype=np.int8)
    found = reduce(make_candidate("gate", data, inputs), [HOST, OURS], HOSTED)
    assert found.pair.meaning is Meaning.COMPILER
    assert found.operators == ("MEAN",)
    assert 8 <= found.pair.comparison.max_lsb <= 10


def test_true_rounding_is_reduced_to_one_convolution() -> None:
    found = reduce(digits_case(16), [HOST, OURS], HOSTED)
    assert found.operators == ("CONV_2D",)
    assert found.pair.meaning is Meaning.KERNELS
    assert found.pair.comparison.max_lsb == 1
    assert found.case.inputs.shape[1] <= 3
    whole = study(digits_case(16), [HOST, OURS])
    named = replace(whole.case, model=replace(whole.case.model, path=Path("a\n# b`<i>.tflite")))
    files = ticket_files(found, replace(whole, case=named))
    assert "cut from `a\\n# b'<i>.tflite` (sha256" in files["minimal_README.md"].decode()
    program = decode(files["minimal.bin"])
    outputs = interpret(program, found.case.maps).outputs[0]
    assert np.array_equal(found.case.side("x", [outputs]).outputs[0], found.right.outputs[0])


def test_parts_continue_the_definition_bit_by_bit() -> None:
    case = digits_case(1)
    values = tensor_values(case.translation, case.graph, OURS.layers(case, 0))
    values[case.graph.input.index] = case.inputs[0]
    compared = []
    for cut in cuts_of(case.model.data)[:40]:
        if not {cut.source, cut.output, *cut.frozen} <= set(values):
            continue
        part = extract(case.model.data, cut, values)
        try:
            candidate = make_candidate("part", part, values[cut.source][None])
        except CompilerError:
            continue  # a reshape alone is no program
        output = OURS.run(candidate).side.outputs[0][0]
        assert np.array_equal(output, values[cut.output]), cut
        compared.append(len(cut.operators))
    assert {1, 2, 3} <= set(compared)
    assert len(compared) > 25


def test_what_needs_the_whole_stays_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    case = digits_case(2)
    whole = study(case, [HOST, OURS, EngineParty(WrongEngine(Op.ADD, -20, 7))])
    pair = whole.pair(*NATIVE)
    assert pair is not None
    monkeypatch.setattr(minimise_module, "MOST_TRIES", 0)
    found = minimise(whole, pair)
    assert (found.tried, found.steps) == (0, ())
    assert found.case is case
    text = ticket_files(found, whole)["minimal_README.md"].decode()
    assert "nothing smaller shows the difference" in text


class TestCommand:
    @pytest.fixture(autouse=True)
    def _alone(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AXONRIG_CACHE", str(tmp_path / "cache"))
        monkeypatch.delenv("SDK_EDGE_AI_PATH", raising=False)

    def run(self, out: Path, *words: str) -> tuple[int, dict[str, Any]]:
        model = [str(DEFAULT_MODEL), "--limit", "16", "--out", str(out), "--minimise"]
        status = main(["verify", *model, *words])
        report: dict[str, Any] = json.loads((out / "verify.json").read_text())
        return status, report

    def test_a_ticket_can_be_run_again(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = tmp_path / "out"
        status, report = self.run(out)
        assert status == ExitCode.OK
        assert "smallest model: CONV_2D" in capsys.readouterr().out
        facts = report["minimised"]
        expected, actual = (np.load(out / f"minimal_{x}.npy") for x in ("expected", "actual"))
        place = tuple(facts["position"])
        assert (expected[place], actual[place]) == (facts["expected"], facts["actual"])
        assert np.abs(expected.astype(int) - actual).max() == facts["max_lsb"] == 1
        files = json.loads((out / "manifest.json").read_text())["files"]
        assert {"minimal.tflite", "minimal.bin", "minimal_input.npy"} <= set(files)
        text = (out / "minimal_README.md").read_text()
        assert "axonrig verify minimal.tflite --data minimal_input.npy" in text
        assert str(tmp_path) not in text
        words = [str(out / "minimal.tflite"), "--data", str(out / "minimal_input.npy"), "--json"]
        assert main(["verify", *words]) == ExitCode.OK
        again = json.loads(capsys.readouterr().out)
        assert again["verdict"]["between"] == facts["between"]

    def test_between_names_the_parties(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        _, report = self.run(tmp_path / "a", "--between", "tflite-optimised", "tflite-reference")
        assert report["minimised"]["between"] == ["tflite-reference", "tflite-optimised"]
        _, report = self.run(tmp_path / "b", "--between", "definition", "native")
        assert report["minimised"] is None
        assert "nothing to minimise: definition and native agree" in capsys.readouterr().out

    def test_bad_words(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        model, out = str(DEFAULT_MODEL), str(tmp_path / "out")
        for words, text in (
            (["--minimise"], "name a folder with --out"),
            (["--between", "a", "b", "--out", out], "add --minimise"),
            (
                ["--between", "a", "native", "--out", out, "--minimise"],
                "expected two of the parties",
            ),
            (
                ["--between", "native", "native", "--out", out, "--minimise"],
                "expected two of the parties",
            ),
            (
                ["--between", "vendor-sim", "native", "--out", out, "--minimise"],
                "vendor-sim is not there: SDK_EDGE_AI_PATH is not set",
            ),
        ):
            assert main(["verify", model, "--limit", "2", *words]) == ExitCode.INPUT
            assert text in capsys.readouterr().err
            assert not (tmp_path / "out").exists()  # nothing was run and nothing touched

    def test_a_board_that_did_not_run_has_no_smaller_model(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        between = ["--between", "board nrf54l15dk", "native", "--board", "nrf54l15dk"]
        words = [str(DEFAULT_MODEL), "--limit", "1", "--out", str(tmp_path), "--minimise"]
        assert main(["verify", *words, *between]) == ExitCode.INPUT
        assert "board nrf54l15dk did not run: no board that fits" in capsys.readouterr().err


@pytest.mark.skipif(not os.environ.get("SDK_EDGE_AI_PATH"), reason="SDK_EDGE_AI_PATH is not set")
def test_the_vendors_simulator_on_a_patched_binary(monkeypatch: pytest.MonkeyPatch) -> None:
    """The vendor gets a program with one wrong bias: the layer is found, and cut out."""
    vendor = VendorParty()
    inputs = np.random.default_rng(3).integers(-128, 128, (2, 8, 12, 4), dtype=np.int8)
    case = make_candidate("sum", build_model("add"), inputs)
    assert vendor.absence(case) is None
    honest = study(case, [HOST, OURS, vendor])
    pair = honest.pair("definition", "vendor-sim")
    assert pair is not None
    assert pair.meaning in (Meaning.EQUAL, Meaning.KERNELS)

    gather = parties_module.gather  # type: ignore[attr-defined]  # imported there, patched here

    def patched(name: str, _: Any, options: Any, source: Any) -> Any:
        monkeypatch.setattr(case_module, "translate", translate_wrongly(Op.CONV2D, 20))
        wrong = make_candidate(name, source.data, np.zeros((0,), np.int8)).program
        monkeypatch.setattr(case_module, "translate", translate)
        return gather(name, wrong, options, source)

    monkeypatch.setattr(parties_module, "gather", patched)
    found = study(case, [HOST, OURS, vendor])
    pair = found.pair("definition", "vendor-sim")
    assert pair is not None
    assert pair.first_layer is not None
    assert (pair.first_layer.index, pair.first_layer.op) == (0, "conv2d")
    assert pair.meaning is Meaning.VENDORS
    small = minimise(found, pair)
    assert small.operators == ("CONV_2D",)
    assert 1 <= small.pair.comparison.max_lsb <= 21
    assert small.case.inputs.size <= 27
