"""The text client against a scripted line: what it sends, and what it refuses to believe."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest

from compiler import CompileOptions, compile_model, dequantize_output, interpret, quantize_input
from harness.errors import BoardError, ConfigError, DeviceFault, ProtocolError, TransportTimeout
from harness.mlperf.benchmarks import BENCHMARKS
from harness.mlperf.dut import SimDut, TextDut, check_program, to_codes
from tests.support.mlperf_data import AD, KWS, small_autoencoder, small_kws

GOOD_INFER = "m-infer-start-3\r\nm-lap-us-100\r\nm-lap-us-400\r\nm-results-[0.250,0.750]\r\n"


class ScriptedLine:
    """Answers each command with the next reply; an exhausted script is silent."""

    def __init__(self, *replies: str) -> None:
        self.replies = deque(replies)
        self.sent = b""
        self.waiting = b""
        self.time = 0.0
        self.closed = False

    @property
    def name(self) -> str:
        return "scripted"

    def read(self, timeout_s: float) -> bytes:
        if not self.waiting:
            self.time += timeout_s
        data, self.waiting = self.waiting[:2001], self.waiting[2001:]
        return data

    def write(self, data: bytes) -> None:
        self.sent += data
        if self.replies:
            self.waiting += self.replies.popleft().encode("latin1")

    def set_baud(self, baud: int) -> bool:
        return baud > 0

    def now(self) -> float:
        return self.time

    def fileno(self) -> int | None:
        return None

    def close(self) -> None:
        self.closed = True


def client(*replies: str) -> tuple[TextDut, ScriptedLine]:
    line = ScriptedLine(*(f"{reply}m-ready\r\n" for reply in replies))
    return TextDut(line, KWS, []), line


def loads(last: str = "m-load-done\r\n") -> tuple[str, ...]:
    return ("m-[Expecting 490 bytes]\r\n", "", "", "", "", last)


def test_greeting_drops_what_was_said_before() -> None:
    dut, line = client("m-name-dut-[box]\r\n", "m-profile-[P]\r\nm-model-[kws01]\r\n")
    line.waiting = b"m-init-done\r\nm-ready\r\n"
    dut.greet()
    assert dut.name == "box"
    assert line.sent == b"name%profile%"


def test_load_and_infer() -> None:
    dut, line = client(*loads(), GOOD_INFER)
    lap = dut.measure(bytes(range(245)) * 2, 3, 1)
    assert (lap.iterations, lap.elapsed_us, lap.vector) == (3, 300.0, (0.25, 0.75))
    commands = line.sent.split(b"%")
    assert commands[0] == b"db load 490"
    assert commands[-2:] == [b"infer 3 1", b""]
    sent = b"".join(bytes.fromhex(word.split()[1].decode()) for word in commands[1:-2])
    assert sent == bytes(range(245)) * 2
    assert max(len(word) for word in commands) <= 243
    assert "m-results-[0.250,0.750]" in dut.log
    assert not any(len(text) > 60 for text in dut.log)  # no item's bytes
    dut.close()
    assert line.closed


def test_another_profile() -> None:
    dut, _ = client("m-name-dut-[box]\r\n", "m-profile-[P]\r\nm-model-[ic01]\r\n")
    with pytest.raises(ProtocolError, match="profile is 'ic01', expected 'kws01'"):
        dut.greet()


@pytest.mark.parametrize(
    ("reply", "error", "part"),
    [
        ("e-[The inference failed: status 7]\r\n", DeviceFault, "status 7"),
        ("m-lap-us-100\r\nm-results-[1]\r\n", ProtocolError, "two m-lap-us"),
        ("m-lap-us-4\r\nm-lap-us-1\r\nm-results-[1]\r\n", ProtocolError, "two m-lap-us"),
        ("m-lap-us-1\r\nm-lap-us-4\r\n", ProtocolError, "one m-results"),
        ("m-lap-us-1\r\nm-lap-us-4\r\nm-results-[1,,2]\r\n", ProtocolError, "expected numbers"),
        ("m-lap-us-1\r\nm-lap-us-4\r\nm-results-[1e999]\r\n", ProtocolError, "expected numbers"),
        ("m-lap-us-1\r\nm-lap-us-4\r\nm-results-[\xff]\r\n", ProtocolError, "one m-results"),
    ],
)
def test_answers_that_cannot_be_right(reply: str, error: type[BoardError], part: str) -> None:
    dut, _ = client(*loads(), reply)
    with pytest.raises(error, match=part):
        dut.measure(bytes(490), 1, 0)


def test_a_load_that_is_not_acknowledged() -> None:
    dut, _ = client(*loads(""))
    with pytest.raises(ProtocolError, match="expected m-load-done"):
        dut.measure(bytes(490), 1, 0)


def test_silence_and_chatter_end() -> None:
    dut, _ = client("m-[Expecting 490 bytes]\r\n")
    with pytest.raises(TransportTimeout, match="no m-ready within 5 s after 'db 00"):
        dut.measure(bytes(490), 1, 0)
    chatter = ScriptedLine("x" * (1 << 20) + "yyyyyyyyyyyyyyyy")
    with pytest.raises(TransportTimeout, match="received b'"):
        TextDut(chatter, KWS, []).greet()


def test_a_device_that_never_stops_talking(monkeypatch: pytest.MonkeyPatch) -> None:
    dut, line = client()
    seconds = iter(range(100))
    monkeypatch.setattr(type(line), "now", lambda _: float(next(seconds)))
    monkeypatch.setattr(type(line), "read", lambda *_: b"m-noise\r\n")
    with pytest.raises(TransportTimeout, match=r"not stopped within 5 s; it last said b'm-noise"):
        dut.greet()


def test_no_name() -> None:
    dut, _ = client("")
    with pytest.raises(ProtocolError, match=r"expected m-name-dut-\[\.\.\.\]"):
        dut.greet()


def test_the_simulator_answers_what_the_program_gives() -> None:
    program = compile_model(small_kws(), CompileOptions(name="small"))
    items = [bytes(np.random.default_rng(n).integers(0, 256, 490, np.uint8)) for n in range(3)]
    dut = SimDut(program, KWS, 1234.5, [])
    codes = np.array([np.frombuffer(item, np.int8) for item in items]).reshape(3, -1, 1, 1)
    real = dequantize_output(program, interpret(program, codes.reshape(
        3, *program.input_dims.shape)).outputs[0]).reshape(3, -1)  # fmt: skip
    assert dut.answer(items) == [tuple(float(f"{value:.3f}") for value in row) for row in real]
    assert dut.measure(items[0], 10, 5).elapsed_us == pytest.approx(12345.0)
    dut.close()


def test_pixels_lose_128() -> None:
    program = compile_model(small_kws(), CompileOptions(name="small"))
    item = bytes(range(245)) * 2
    pixels = to_codes(program, BENCHMARKS["ic01"], [item]).ravel()
    assert pixels.tolist() == [value - 128 for value in item]


def test_an_autoencoder_gives_its_error() -> None:
    program = compile_model(small_autoencoder(), CompileOptions(name="small"))
    real = np.random.default_rng(4).normal(0, 2, 640).astype("<f4")
    shape = (1, *program.input_dims.shape)
    codes = quantize_input(program, real.astype(np.float64).reshape(shape))
    restored = dequantize_output(program, interpret(program, codes).outputs[0]).ravel()
    wanted = float(np.mean((restored - real.astype(np.float64)) ** 2))
    vector = SimDut(program, AD, 1.0, []).answer([real.tobytes()])[0]
    assert len(vector) == 1
    assert vector[0] == pytest.approx(wanted, abs=0.0005)


def test_a_model_of_another_benchmark() -> None:
    program = compile_model(small_kws(), CompileOptions(name="small"))
    check_program(program, KWS, "m.tflite")
    with pytest.raises(ConfigError, match=r"m\.tflite takes 490 values; ic01 .* has 3072"):
        check_program(program, BENCHMARKS["ic01"], "m.tflite")
    with pytest.raises(ConfigError, match="has 640"):
        check_program(program, AD, "m.tflite")
