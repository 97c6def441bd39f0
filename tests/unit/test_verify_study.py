"""Parties on one case: who disagrees, where first, and what it means."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import pytest
from rich.console import Console

from compiler import AxonProgram, Op
from harness.compare import Side
from harness.data.dataset import Dataset, load_array
from harness.errors import (
    BoardNotFound,
    ConfigError,
    ExitCode,
    ToolchainError,
    TransportTimeout,
)
from harness.golden import KernelSet
from harness.model_file import DEFAULT_DATA, DEFAULT_MODEL
from harness.progress import Progress
from harness.selection import Selection, select_board
from harness.verify import case as case_module
from harness.verify import locate
from harness.verify.case import Case, make_candidate
from harness.verify.locate import cut_program, first_layer_by_cutting
from harness.verify.parties import (
    Answer,
    BoardParty,
    DefinitionParty,
    EngineParty,
    HostParty,
    Party,
    VendorParty,
)
from harness.verify.report import build_report
from harness.verify.study import Study, study
from harness.verify.table import print_study
from harness.verify.verdict import Again, Gap, Meaning, Role
from tests.support.operator_models import build_model
from tests.support.tflite_builder import ModelBuilder
from tests.support.wrong_parties import WrongEngine, translate_wrongly

HOST = HostParty(KernelSet.REFERENCE)
OPTIMISED = HostParty(KernelSet.OPTIMISED)
OURS = DefinitionParty()


def small_model() -> bytes:
    """A convolution, a depthwise one, a mean and a fully connected layer."""
    b = ModelBuilder("small")
    x = b.input(1, 8, 8, 3)
    y = b.conv(b.conv(x, 6), 0, depthwise=True)
    return b.build([x], [b.dense(b.mean(y, [1, 2], keep=False), 5)])


def small_case(samples: int = 4) -> Case:
    inputs = np.random.default_rng(5).integers(-128, 128, (samples, 8, 8, 3), dtype=np.int8)
    return make_candidate("small", small_model(), inputs)


@dataclass(frozen=True, slots=True)
class Scripted:
    """A party that gives the definition's outputs with some changed."""

    role: Role
    step: int = 0
    backend: str = "scripted"
    gap: Gap | None = None
    error: Exception | None = None
    reason: str | None = None
    name: str = "scripted"

    def absence(self, case: Case) -> str | None:  # noqa: ARG002  # the interface's
        return self.reason

    def run(self, case: Case, _: Progress | None = None) -> Answer:
        if self.error is not None:
            raise self.error
        outputs = [output.copy() for output in OURS.run(case).side.outputs]
        outputs[0].flat[0] += self.step
        side = Side(self.name, tuple(outputs), OURS.run(case).side.steps)
        return Answer(side, "scripted", self.backend, self.gap)

    def layers(self, case: Case, sample: int) -> tuple[np.ndarray, ...] | None:
        return OURS.layers(case, sample)


def meaning(result: Study, left: str, right: str) -> Meaning:
    pair = result.pair(left, right)
    assert pair is not None
    return pair.meaning


def test_rounding_alone_is_a_kernel_difference() -> None:
    data = DEFAULT_MODEL.read_bytes()
    images = load_array(DEFAULT_DATA, "inputs")[:16]
    case = make_candidate("digits", data, (images ^ 128).astype(np.uint8).view(np.int8))
    result = study(case, [HOST, OPTIMISED, OURS, EngineParty()])
    assert [item.state for item in result.attendance] == ["ran"] * 4
    assert meaning(result, "definition", "native") is Meaning.EQUAL
    assert result.meaning is Meaning.KERNELS
    assert result.exit_code == ExitCode.OK
    pair = result.pair("definition", "tflite-reference")
    assert pair is not None
    assert pair.first_layer is not None
    assert pair.first_layer.op == "conv2d"
    assert pair.first_layer.max_lsb == 1
    assert result.subject is pair


def test_a_wrong_engine_is_found_with_its_layer() -> None:
    wrong = EngineParty(WrongEngine(Op.DEPTHWISE_CONV2D))
    result = study(small_case(), [HOST, OURS, wrong])
    assert result.meaning is Meaning.ENGINE
    assert result.exit_code == ExitCode.NO
    subject = result.subject
    assert subject is not None
    assert subject.names == ("definition", "native")
    assert subject.first_layer is not None
    assert (subject.first_layer.index, subject.first_layer.op) == (1, "depthwise_conv2d")
    assert subject.first_layer.max_lsb == 3
    # Against TFLite the weightier of both reasons counts.
    assert meaning(result, "tflite-reference", "native") is Meaning.ENGINE


def test_a_wrong_program_is_the_compilers_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(case_module, "translate", translate_wrongly(Op.DEPTHWISE_CONV2D))
    result = study(small_case(), [HOST, OPTIMISED, OURS, EngineParty()])
    assert result.meaning is Meaning.COMPILER
    beyond = [x.difference.op for x in result.own["tflite-reference"] if x.beyond]
    assert beyond == ["depthwise_conv2d"]
    # Ours agree with each other, and so do TFLite's; only between the two camps something is wrong.
    assert meaning(result, "definition", "native") is Meaning.EQUAL
    assert meaning(result, "tflite-reference", "tflite-optimised").explained


def test_what_fails_or_is_absent_is_listed() -> None:
    parties: list[Party] = [
        HOST,
        OURS,
        Scripted(Role.VENDOR, reason="no SDK", name="absent"),
        Scripted(Role.VENDOR, error=ToolchainError("it crashed"), name="broken"),
    ]
    result = study(small_case(), parties)
    states = {item.party.name: (item.state, item.reason) for item in result.attendance}
    assert states["absent"] == ("not there", "no SDK")
    assert states["broken"] == ("failed", "it crashed")
    assert result.exit_code == ExitCode.TOOL
    assert result.pair("broken", "definition") is None


@pytest.mark.parametrize(
    ("role", "step", "backend", "gap", "expected"),
    [
        (Role.VENDOR, 9, "Axon", Gap.BEYOND, Meaning.VENDORS),
        (Role.VENDOR, 1, "Axon", Gap.KNOWN, Meaning.VENDORS),  # this output is no softmax
        (Role.VENDOR, 0, "Axon", Gap.KNOWN, Meaning.KERNELS),
        (Role.VENDOR, 0, "Axon", Gap.NONE, Meaning.EQUAL),
        (Role.FIRMWARE, 1, "firmware, cpu", None, Meaning.FIRMWARE),
        (Role.BOARD, 1, "firmware, npu", None, Meaning.SILICON),
        (Role.BOARD, 0, "firmware, npu", None, Meaning.EQUAL),
    ],
)
def test_scripted_gaps(
    role: Role, step: int, backend: str, gap: Gap | None, expected: Meaning
) -> None:
    result = study(small_case(), [HOST, OURS, Scripted(role, step, backend, gap)])
    assert meaning(result, "definition", "scripted") is expected


@pytest.mark.parametrize(
    ("backend", "step", "expected"),
    [
        ("firmware, npu", 1, Meaning.KERNELS),
        ("firmware, npu", 2, Meaning.SILICON),
        ("firmware, cpu", 1, Meaning.SILICON),
    ],
)
def test_one_step_of_an_npus_softmax_is_known(backend: str, step: int, expected: Meaning) -> None:
    data = build_model("softmax")
    inputs = np.random.default_rng(1).integers(-128, 128, (2, 24), dtype=np.int8)
    case = make_candidate("softmax", data, inputs)
    result = study(case, [HOST, OURS, Scripted(Role.BOARD, step, backend)])
    assert meaning(result, "definition", "scripted") is expected


def test_a_fault_that_outputs_hide_is_found() -> None:
    """All logits lower by the same: the softmax does not show it."""
    inputs = np.random.default_rng(1).integers(-128, 128, (2, 24), dtype=np.int8)
    case = make_candidate("softmax", build_model("softmax"), inputs)
    shifted = EngineParty(WrongEngine(Op.FULLY_CONNECTED, bound=-(1 << 30), error=4096))
    result = study(case, [HOST, OURS, shifted])
    pair = result.pair("definition", "native")
    assert pair is not None
    assert pair.differing == 0
    assert pair.meaning is Meaning.ENGINE
    assert pair.first_layer is not None
    assert pair.first_layer.op == "fully_connected"
    assert meaning(result, "tflite-reference", "native") in (Meaning.EQUAL, Meaning.ENGINE)


def test_a_board_like_the_vendors_simulator_is_no_silicon_fault() -> None:
    parties: list[Party] = [
        HOST,
        OURS,
        Scripted(Role.VENDOR, 5, "Axon", Gap.BEYOND, name="vendor"),
        Scripted(Role.BOARD, 5, "firmware, npu", name="board"),
    ]
    result = study(small_case(), parties)
    assert meaning(result, "definition", "board") is Meaning.VENDORS
    assert meaning(result, "vendor", "board") is Meaning.EQUAL


def test_absent_vendor_and_boards(monkeypatch: pytest.MonkeyPatch) -> None:
    case = small_case(1)
    monkeypatch.delenv("SDK_EDGE_AI_PATH", raising=False)
    assert "SDK_EDGE_AI_PATH is not set" in str(VendorParty().absence(case))
    monkeypatch.setenv("SDK_EDGE_AI_PATH", "somewhere")
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    assert "this is Linux on riscv64" in str(VendorParty().absence(case))
    missing = BoardParty(Selection("nrf54", "sim", "sim", "no board is connected"))
    assert missing.name == "board nrf54"
    with pytest.raises(BoardNotFound, match="'nrf54' is connected"):
        missing.run(case)
    monkeypatch.setattr("harness.verify.parties.native_library", lambda: None)
    assert "cannot be built" in str(EngineParty().absence(case))
    with pytest.raises(ToolchainError):
        EngineParty().run(case)


def test_host_and_definition_must_run() -> None:
    case = small_case(1)
    broken = Scripted(Role.REFERENCE, error=ConfigError("no runtime"))
    with pytest.raises(ConfigError, match="no runtime"):
        study(case, [broken, OURS])


def test_cutting_finds_the_first_layer() -> None:
    case = small_case(1)
    wrong = WrongEngine(Op.DEPTHWISE_CONV2D)
    runs: list[int] = []

    def run(program: AxonProgram) -> tuple[np.ndarray, ...]:
        runs.append(len(program.layers))
        return wrong.run(program, case.maps).outputs

    pair = first_layer_by_cutting(case.program, case.maps, run)
    assert pair is not None
    assert (pair.index, pair.op) == (1, "depthwise_conv2d")
    assert len(runs) <= 4
    right = WrongEngine(Op.SOFTMAX)
    assert (
        first_layer_by_cutting(case.program, case.maps, lambda p: right.run(p, case.maps).outputs)
        is None
    )
    assert cut_program(case.program, 0) is None


class WrongDevice:
    """A device whose depthwise layers are wrong, always or the first time only."""

    runs = 0

    def __init__(self, program: AxonProgram, *, repeats: bool) -> None:
        self.program, self.repeats = program, repeats
        self.info = type("Info", (), {"source": "board", "backend": "firmware, cpu"})

    def infer(self, maps: np.ndarray, _: Progress | None = None) -> object:
        WrongDevice.runs += 1
        op = Op.DEPTHWISE_CONV2D if self.repeats or WrongDevice.runs == 1 else Op.SOFTMAX
        return WrongEngine(op).run(self.program, maps)

    def close(self) -> None:
        """Nothing is held."""


@pytest.mark.parametrize(
    ("repeats", "expected"), [(True, Meaning.SILICON), (False, Meaning.TRANSPORT)]
)
def test_a_wrong_board(repeats: bool, expected: Meaning, monkeypatch: pytest.MonkeyPatch) -> None:
    WrongDevice.runs = 0
    for module in ("parties", "locate"):
        monkeypatch.setattr(
            f"harness.verify.{module}.open_device",
            lambda _, program: WrongDevice(program, repeats=repeats),
        )
    board = BoardParty(Selection("dk", "dk", "board"))
    result = study(small_case(), [HOST, OURS, board])
    pair = result.pair("definition", "board dk")
    assert pair is not None
    assert pair.meaning is expected
    if repeats:
        assert pair.first_layer is not None
        assert pair.first_layer.index == 1
    assert locate.first_layer(small_case(), HOST, board, 0) is None


@pytest.mark.parametrize("lasts", [1, 2])
def test_a_board_that_fails_later_says_so(lasts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It answers once, and fails when samples are run again or when its program is cut short."""
    opened: list[int] = []

    def open_device(_: Selection, program: AxonProgram) -> WrongDevice:
        opened.append(len(program.layers))
        if len(opened) > lasts:
            raise TransportTimeout("no answer within 5 s")
        return WrongDevice(program, repeats=True)

    for module in ("parties", "locate"):
        monkeypatch.setattr(f"harness.verify.{module}.open_device", open_device)
    result = study(small_case(), [HOST, OURS, BoardParty(Selection("dk", "dk", "board"))])
    pair = result.pair("definition", "board dk")
    assert pair is not None
    expected = Meaning.NOT_REPEATED if lasts == 1 else Meaning.SILICON
    assert pair.meaning is expected
    assert not pair.meaning.explained
    assert pair.first_layer is None
    assert pair.search_failure == "no answer within 5 s"
    repeat = result.repeats["board dk"]
    assert (repeat.again is Again.FAILED, repeat.reason != "") == (lasts == 1, lasts == 1)
    console = Console(width=200, file=io.StringIO())
    dataset = Dataset("x", "random", result.case.inputs, None)
    print_study(build_report(result, dataset, None, 0.0), console)
    shown = console.file.getvalue()  # type: ignore[attr-defined]  # the StringIO above
    assert "search for the first layer broke off: no answer within 5 s" in shown
    assert ("running the samples that differ again failed: no answer" in shown) is (lasts == 1)


def test_the_host_firmware_takes_part() -> None:
    result = study(small_case(2), [HOST, OURS, BoardParty(select_board("host"))])
    assert meaning(result, "definition", "board host") is Meaning.EQUAL
    answer = result.attendance[-1].answer
    assert answer is not None
    assert answer.source == "sim"
