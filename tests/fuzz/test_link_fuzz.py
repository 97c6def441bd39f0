"""Arbitrary bytes at the firmware's receiver: it stays alive, within its memory, and answers.

The host firmware is built with the address and undefined-behaviour sanitizers where gcc has them.
"""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.firmware.host_build import build_host
from harness.protocol import FRAME_MAX, Frame, Kind, encode_frame
from tests.support.echo_firmware import BACKEND, echo_model

RUNS = 400
MESSAGES = 60
SESSION = 7
_COMMANDS = (b"name%", b"db load 40%", b"db 0011%", b"infer 2 1%", b"db print 9 3%", b"results%")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = echo_model(40, 6, 3, profile="kws01")
    if shutil.which("gcc") is None:
        return build_host(model, backend_sources=[BACKEND]).path
    flags = ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    return build_host(
        model,
        compiler=["gcc"],
        backend_sources=[BACKEND],
        flags=flags,
        folder=tmp_path_factory.mktemp("fuzz"),
    ).path


def message(chooser: random.Random) -> bytes:
    """A frame with a plausible or wild body, a damaged frame, a command, or noise."""
    kind = chooser.choice([*Kind, chooser.randrange(256)])
    if kind == Kind.RESET:
        kind = Kind.ECHO
    small = b"".join(
        chooser.choice([0, 1, 2, 40, 80, chooser.getrandbits(32)]).to_bytes(4, "little")
        for _ in range(chooser.choice([0, 1, 2, 3, 4, 6]))
    )
    tail = chooser.randbytes(chooser.choice([0, 0, 1, 40, 80, 2048]))
    body = (small + tail)[: FRAME_MAX - 8]
    session = chooser.choice([SESSION, SESSION, SESSION, 0, chooser.getrandbits(32)])
    wire = encode_frame(Frame(kind, chooser.getrandbits(16), session, body))
    choice = chooser.random()
    if choice < 0.6:
        return wire
    if choice < 0.75:
        damaged = bytearray(wire)
        damaged[chooser.randrange(len(wire))] = chooser.randrange(256)
        return bytes(damaged)
    if choice < 0.9:
        return chooser.choice(_COMMANDS)
    return chooser.randbytes(chooser.randrange(3 * FRAME_MAX))


def test_arbitrary_bytes(program: Path, record_property: Callable[[str, object], None]) -> None:
    hello = encode_frame(Frame(Kind.HELLO, 1, SESSION, b"\1\0\0\0"))
    for seed in range(RUNS):
        chooser = random.Random(seed)
        stream = hello + b"".join(message(chooser) for _ in range(MESSAGES))
        done = subprocess.run(
            [str(program)],
            input=stream + b"\0" + hello + b"name%",
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, f"seed {seed}: {done.stderr.decode()[-2000:]}"
        assert done.stdout.endswith(b"m-name-dut-[axonrig]\r\nm-ready\r\n"), f"seed {seed}"
    record_property("runs", RUNS)
    record_property("messages", RUNS * MESSAGES)
