"""A served device: clients come, go and come back; nothing of one client reaches the next."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import serial

from harness.errors import BoardError, ConfigError
from harness.serve import Endpoint, drain, listen_tcp, open_pty, serve
from harness.transport import Transport, open_port
from harness.transport.process import start_process
from tests.support.echo_firmware import echo_firmware, echo_model

ROOT = Path(__file__).parents[2]
NAME = b"m-name-dut-[axonrig]\r\nm-ready\r\n"


def device() -> Transport:
    line = start_process(echo_firmware(echo_model(100, 10), "process").path)
    while b"m-ready" not in line.read(5.0):
        pass
    return line


@contextmanager
def serving(endpoint: Endpoint, line: Transport) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=serve, args=(line, endpoint, stop.is_set))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)
        endpoint.close()
        line.close()


def ask(read: Callable[[], bytes]) -> bytes:
    got = b""
    while not got.endswith(b"m-ready\r\n"):
        got += read()
    return got


def test_tcp_clients_one_after_the_other() -> None:
    endpoint = listen_tcp("127.0.0.1", 0)
    with serving(endpoint, device()):
        for _ in range(3):
            port = open_port(f"socket://{endpoint.address}", 0)
            for part in (b"name", b"%"):
                port.write(part)
            assert ask(lambda: port.read(5.0)) == NAME  # noqa: B023  # called at once
            port.close()


def test_a_client_that_leaves_in_the_middle() -> None:
    """It asks for a long answer and goes: the next client gets its own answers only."""
    endpoint = listen_tcp("127.0.0.1", 0)
    with serving(endpoint, device()):
        host, port = endpoint.address.split(":")
        with socket.create_connection((host, int(port))) as rude:
            rude.sendall(b"help%" * 50)
        polite = open_port(f"socket://{endpoint.address}", 0)
        polite.write(b"%name%")
        seen = b""
        while NAME not in seen:
            seen += polite.read(5.0)
        assert seen.endswith(NAME)
        polite.close()


def test_pty_can_be_opened_twice(tmp_path: Path) -> None:
    link = tmp_path / "board"
    endpoint = open_pty(link)
    assert endpoint.address == str(link)
    with serving(endpoint, device()):
        for _ in range(2):
            with serial.Serial(str(link), 115200, timeout=5) as port:
                port.write(b"name%")
                assert port.read_until(b"m-ready\r\n") == NAME
    assert not link.is_symlink()


def test_names_that_cannot_be_used(tmp_path: Path) -> None:
    taken = tmp_path / "file"
    taken.write_text("x")
    with pytest.raises(ConfigError, match="exists and is no symbolic link"):
        open_pty(taken)
    assert taken.read_text() == "x"
    with pytest.raises(ConfigError, match="cannot be made"):
        open_pty(tmp_path / "no" / "folder")
    endpoint = listen_tcp("127.0.0.1", 0)
    with pytest.raises(ConfigError, match=r"cannot listen on 127\.0\.0\.1"):
        listen_tcp("127.0.0.1", int(endpoint.address.split(":")[1]))
    endpoint.close()


def test_a_device_that_is_gone_ends_the_serving() -> None:
    endpoint = listen_tcp("127.0.0.1", 0)
    line = device()
    line.close()
    with pytest.raises(BoardError, match="was closed"):
        serve(line, endpoint)
    with pytest.raises(BoardError, match="was closed"):
        drain(line)
    endpoint.close()


def test_the_command(tmp_path: Path) -> None:
    """One line on stdout when ready; SIGTERM ends it with 0 and removes the link."""
    link = tmp_path / "board"
    command = [sys.executable, "-m", "harness", "serve", "--board", "host", "--pty", str(link)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [*command, "--profile", "ic01"], cwd=tmp_path, stdout=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"listening on {link}\n".encode()
        with serial.Serial(str(link), 115200, timeout=10) as port:
            port.write(b"profile%")
            assert b"m-model-[ic01]\r\n" in port.read_until(b"m-ready\r\n")
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == b""
        assert process.wait(10) == 0
    assert not link.is_symlink()


@pytest.mark.parametrize(
    ("words", "status", "text"),
    [
        (["--board", "host", "--tcp", "nonsense"], 3, "is not an address"),
        (["--board", "host", "--profile", "ic99"], 3, "unknown profile 'ic99'"),
        (["--board", "hosst"], 3, "unknown board 'hosst'"),
        (["--board", "sim"], 3, "the board 'sim' runs no firmware"),
        ([], 2, "--board"),
    ],
)
def test_command_lines_that_are_wrong(words: list[str], status: int, text: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "harness", "serve", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status
    assert text in done.stderr
    assert done.stdout == ""
