"""The MLPerf Tiny text commands, answered by the host firmware on a simulated line."""

from __future__ import annotations

import re
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compiler import AxonProgram, decode, dequantize_output, interpret, quantize_input
from harness.firmware.build import firmware_model
from harness.firmware.host_build import build_host
from harness.link import Link, LinkOptions
from harness.transport.memory import MemoryTransport, load_memory
from tests.support.echo_firmware import echo_firmware, echo_model, echo_outputs

BANNER = ["m-timestamp-mode-performance", "m-lap-us-", "m-init-done", "m-ready"]


def echo_line(profile: str = "", size: int = 100) -> MemoryTransport:
    model = echo_model(size, 4, profile=profile)
    line = load_memory(echo_firmware(model, "memory").path, layer_ns=1000)
    assert [re.sub(r"\d+$", "", text) for text in answer(line)] == BANNER
    return line


def answer(line: MemoryTransport) -> list[str]:
    got = b""
    while not got.endswith(b"m-ready\r\n"):
        new = line.read(5.0)
        assert new, f"no m-ready after {got!r}"
        got += new
    return got.decode("ascii").removesuffix("\r\n").split("\r\n")


def ask(line: MemoryTransport, command: str) -> list[str]:
    """The reply without its m-ready, of which there is exactly one."""
    line.write(command.encode())
    line.write(b"%")
    *lines, ready = answer(line)
    assert ready == "m-ready"
    assert line.read(0.01) == b""
    assert "m-ready" not in lines
    return lines


def load(line: MemoryTransport, data: bytes, step: int = 31) -> None:
    assert ask(line, f"db load {len(data)}") == [f"m-[Expecting {len(data)} bytes]"]
    for at in range(0, len(data), step):
        reply = ask(line, f"db {data[at : at + step].hex()}")
        assert reply == (["m-load-done"] if at + step >= len(data) else [])


def test_identity() -> None:
    line = echo_line("kws01")
    assert ask(line, "name") == ["m-name-dut-[axonrig]"]
    assert ask(line, "profile") == [
        "m-profile-[ULPMark for tinyML Firmware V0.0.1]",
        "m-model-[kws01]",
    ]
    assert ask(echo_line(), "profile")[1] == "m-model-[echo]"
    assert re.fullmatch(r"m-lap-us-\d+", ask(line, "timestamp")[0])
    assert ask(line, "help")[0] == "ULPMark for tinyML Firmware V0.0.1"
    assert {"db load N", "infer [N] [W]"} <= {text.split("  ")[0].split(" :")[0].strip()
                                              for text in ask(line, "help")}  # fmt: skip


@pytest.mark.parametrize(
    ("command", "reply"),
    [
        ("", "e-[Unknown command: ]"),
        ("  ", "e-[Unknown command: ]"),
        ("namex", "e-[Unknown command: namex]"),
        ("Name", "e-[Unknown command: Name]"),
        ("db", "e-[Command 'db' requires a subcommand]"),
        ("db load", "e-[Command 'db load' requires the # of bytes]"),
        ("db load 0", "e-[Command 'db load' must be >0 bytes]"),
        ("db load -5", "e-[Command 'db load' must be >0 bytes]"),
        ("db load x", "e-[Command 'db load' must be >0 bytes]"),
        ("db load 99999999999", "e-[Command 'db load' takes at most 4160 bytes]"),
        ("db 123", "e-[Insufficent number of hex digits]"),
        ("db 12", "e-[No 'db load' is under way]"),
        ("infer 0", "e-[Inference iterations must be >0]"),
        ("infer -1 0", "e-[Inference iterations must be >0]"),
        ("infer 1 -1", "e-[Inference warmup must be >=0]"),
        ("infer 1 0", "e-[The loaded item has 0 bytes, the model takes 100]"),
        ("results", "e-[No inference has been run on this item]"),
    ],
)
def test_errors(command: str, reply: str) -> None:
    assert ask(echo_line(), command) == [reply]


def test_hex_digits() -> None:
    line = echo_line()
    ask(line, "db load 100")
    assert ask(line, "db 00gg") == ["e-[Invalid hex digit 'gg']"]
    assert ask(line, "db load 3") == ["m-[Expecting 3 bytes]"]
    assert ask(line, "db aBCd") == []
    assert ask(line, "db ef0011") == ["m-load-done"]
    assert ask(line, "db 22") == ["e-[No 'db load' is under way]"]
    assert ask(line, "db print") == ["m-buffer-ab-cd-ef"]


def test_print() -> None:
    line = echo_line()
    load(line, bytes(range(20)))
    assert ask(line, "db print") == [
        "m-buffer-00-01-02-03-04-05-06-07",
        "m-buffer-08-09-0a-0b-0c-0d-0e-0f",
        "m-buffer-10-11-12-13",
    ]
    assert ask(line, "db print 2 9") == ["m-buffer-09-0a"]
    assert ask(line, "db print 5 99") == []


def test_infer() -> None:
    line = echo_line("kws01")
    load(line, bytes(100))
    lines = ask(line, "infer 3 2")
    assert lines[:3] == ["m-warmup-start-2", "m-warmup-done", "m-infer-start-3"]
    assert [text.rstrip("0123456789") for text in lines[3:5]] == ["m-lap-us-"] * 2
    codes = [code - 256 if code > 127 else code for code in echo_outputs(bytes(100), 100, 4)[0]]
    wanted = ",".join(f"{(code + 128) / 256:.3f}" for code in codes)
    assert lines[5:] == ["m-infer-done", f"m-results-[{wanted}]"]
    assert ask(line, "results") == [f"m-results-[{wanted}]"]
    assert ask(line, "infer")[:3] == ["m-warmup-start-10", "m-warmup-done", "m-infer-start-1"]
    ask(line, "db load 100")
    assert ask(line, "results") == ["e-[No inference has been run on this item]"]


def test_unsigned_pixels_are_shifted() -> None:
    line = echo_line("ic01")
    pixels = bytes(range(0, 200, 2))
    load(line, pixels)
    output = echo_outputs(bytes(value ^ 0x80 for value in pixels), 100, 4)[0]
    signed = [code - 256 if code > 127 else code for code in output]
    wanted = ",".join(f"{(code + 128) / 256:.3f}" for code in signed)
    assert ask(line, "infer 1 0")[-1] == f"m-results-[{wanted}]"


def test_noise_is_no_command() -> None:
    line = echo_line()
    line.write(b"na\x80me%")
    assert line.read(0.5) == b""
    line.write(b"x" * 300 + b"%")
    assert line.read(0.5) == b""
    line.write(b"\r\nna\r\nme%")
    assert answer(line) == ["m-name-dut-[axonrig]", "m-ready"]


def test_text_and_frames_take_turns() -> None:
    line = echo_line()
    link = Link(line, LinkOptions(seed=1))
    for _ in range(3):
        link.hello()
        assert link.infer(bytes(100))[0].outputs == echo_outputs(bytes(100), 100, 4)[0]
        load(line, bytes(100))
        assert ask(line, "infer 1 0")[-1].startswith("m-results-[")
        assert ask(line, "name") == ["m-name-dut-[axonrig]"]


def test_a_binary_host_that_died_within_a_frame() -> None:
    line = echo_line()
    line.write(b"\0\x07half")
    line.read(1.5)
    assert ask(line, "name") == ["m-name-dut-[axonrig]"]


def golden_line(program: AxonProgram, profile: str) -> MemoryTransport:
    model = replace(firmware_model(program, profile=profile), profile=profile)
    line = load_memory(build_host(model, "memory").path)
    answer(line)
    return line


def vector(text: str) -> list[str]:
    found = re.fullmatch(r"m-results-\[([^]]+)\]", text)
    assert found is not None
    return found.group(1).split(",")


@pytest.mark.parametrize(
    ("name", "profile", "offset"),
    [("ic_int8", "ic01", 128), ("kws_int32", "kws01", 0), ("vww_int8", "vww01", 128)],
)
def test_benchmark_classifiers(shared_dir: Path, name: str, profile: str, offset: int) -> None:
    program = decode((shared_dir / "golden" / f"{name}.bin").read_bytes())
    dims = program.input_dims
    inputs = np.random.default_rng(7).integers(-128, 128, (1, *dims.shape)).astype(np.int8)
    line = golden_line(program, profile)
    item = (inputs[0].transpose(1, 2, 0).astype(np.int16) + offset) & 0xFF
    load(line, item.astype(np.uint8).tobytes(), step=100)
    got = vector(ask(line, "infer 1 1")[-1])
    raw = interpret(program, inputs).outputs[0]
    real = dequantize_output(program, raw).transpose(0, 2, 3, 1).ravel()
    assert got == [f"{value:.3f}" for value in real]


def test_benchmark_autoencoder(shared_dir: Path) -> None:
    program = decode((shared_dir / "golden" / "ad_int8.bin").read_bytes())
    real = np.random.default_rng(8).normal(0, 2.5, (1, *program.input_dims.shape))
    real = real.astype(np.float32)
    line = golden_line(program, "ad01")
    flat = real.transpose(0, 2, 3, 1).ravel()
    load(line, struct.pack(f"<{flat.size}f", *flat), step=100)
    raw = interpret(program, quantize_input(program, real)).outputs[0]
    restored = dequantize_output(program, raw).transpose(0, 2, 3, 1).ravel()
    expected = float(np.mean((restored - flat.astype(np.float64)) ** 2))
    assert vector(ask(line, "infer 1 0")[-1]) == [f"{expected:.3f}"]
