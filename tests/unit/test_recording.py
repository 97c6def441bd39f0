"""A replay gives what was recorded, says so, and refuses everything else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compiler import AxonProgram, CompileOptions, compile_model, interpret
from harness.device import Inference, SimDevice
from harness.errors import ConfigError, DeviceFault
from harness.model_file import DEFAULT_MODEL
from harness.recording import RecordingDevice, open_replay


@pytest.fixture(scope="module")
def program() -> AxonProgram:
    return compile_model(DEFAULT_MODEL.read_bytes(), CompileOptions(name="digits"))


@pytest.fixture
def inputs(program: AxonProgram) -> np.ndarray:
    shape = (4, *program.input_dims.shape)
    return np.random.default_rng(1).integers(-128, 128, shape, dtype=np.int8)


class Counting(SimDevice):
    """The simulator with made-up cycles, as a board would report them."""

    def infer(self, inputs: np.ndarray, progress: object = None) -> Inference:
        assert progress is None
        outputs = SimDevice.infer(self, inputs).outputs
        cycles = np.arange(100, 100 + len(inputs))
        return Inference(outputs, cycles, np.stack([cycles, cycles * 2], axis=1), "board")


def record(path: Path, program: AxonProgram, inputs: np.ndarray, **options: bool) -> None:
    device = Counting(program) if options.get("counting") else SimDevice(program)
    recorder = RecordingDevice(device, path.open("w"))
    assert recorder.info.board == "sim"
    recorder.infer(inputs[:2])
    recorder.infer(inputs[2:])
    recorder.close()


def test_replay(tmp_path: Path, program: AxonProgram, inputs: np.ndarray) -> None:
    path = tmp_path / "session.jsonl"
    record(path, program, inputs, counting=True)
    device = open_replay(path, program)
    assert device.info == replace(SimDevice(program).info, source="replay")
    calls: list[tuple[int, int]] = []
    got = device.infer(inputs[::-1], lambda *step: calls.append(step))
    expected = interpret(program, inputs).outputs[0][::-1]
    assert np.array_equal(got.outputs[0], expected)
    assert got.outputs[0].dtype == expected.dtype
    assert got.cycles is not None
    assert got.cycles.tolist() == [101, 100, 101, 100]
    assert got.layer_cycles is not None
    assert got.layer_cycles.shape == (4, 2)
    assert got.latency_source == "board"
    assert calls[-1] == (4, 4)
    device.close()
    with pytest.raises(DeviceFault, match="was closed"):
        device.infer(inputs)


def test_without_cycles(tmp_path: Path, program: AxonProgram, inputs: np.ndarray) -> None:
    record(tmp_path / "s", program, inputs)
    got = open_replay(tmp_path / "s", program).infer(inputs)
    assert got.cycles is None
    assert got.layer_cycles is None
    assert got.latency_source is None


def test_other_samples(tmp_path: Path, program: AxonProgram, inputs: np.ndarray) -> None:
    record(tmp_path / "s", program, inputs)
    with pytest.raises(ConfigError, match=r"no result for sample 1 .*record the session again"):
        open_replay(tmp_path / "s", program).infer(np.stack([inputs[0], inputs[0] ^ 1]))


def test_the_same_sample_twice(tmp_path: Path, program: AxonProgram, inputs: np.ndarray) -> None:
    record(tmp_path / "s", program, inputs[[0, 1, 0, 1]], counting=True)
    device = open_replay(tmp_path / "s", program)
    assert np.array_equal(
        device.infer(inputs[[0, 0, 0]]).outputs[0],
        interpret(program, inputs[[0, 0, 0]]).outputs[0],
    )


def test_another_model(tmp_path: Path, program: AxonProgram, inputs: np.ndarray) -> None:
    record(tmp_path / "s", program, inputs)
    other = compile_model(DEFAULT_MODEL.read_bytes(), CompileOptions(name="other"))
    with pytest.raises(ConfigError, match="was recorded with the model digits"):
        open_replay(tmp_path / "s", other)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("not json", "line 6: not JSON"),
        ("[1]", "line 6: expected a JSON object"),
        ("{}", "line 6: not a recorded sample"),
        ('{"input_sha256": "x", "outputs": [{"dtype": "object"}]}', "line 6: not a recorded"),
        (
            json.dumps(
                {
                    "input_sha256": "x",
                    "outputs": [{"dtype": "int8", "shape": [3], "data": "AAAA*"}],
                }
            ),
            "line 6: not a recorded",
        ),
        (
            json.dumps(
                {"input_sha256": "x", "outputs": [{"dtype": "int8", "shape": [9], "data": "AAAA"}]}
            ),
            "line 6: not a recorded",
        ),
    ],
)
def test_damaged_lines(
    tmp_path: Path, program: AxonProgram, inputs: np.ndarray, line: str, text: str
) -> None:
    path = tmp_path / "s"
    record(path, program, inputs)
    with path.open("a") as stream:
        stream.write(line + "\n")
    with pytest.raises(ConfigError, match=text):
        open_replay(path, program)


def test_files_that_are_no_recording(tmp_path: Path, program: AxonProgram) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        open_replay(tmp_path / "none", program)
    for text in ("", "{}\n", '{"kind": "axonrig-session", "schema": 9}\n'):
        (tmp_path / "s").write_text(text)
        with pytest.raises(ConfigError, match="no session recording of schema 1"):
            open_replay(tmp_path / "s", program)
    (tmp_path / "s").write_text('{"kind": "axonrig-session", "schema": 1, "info": {"board": 1}}\n')
    with pytest.raises(ConfigError, match="line 1"):
        open_replay(tmp_path / "s", program)
