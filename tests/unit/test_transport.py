"""Every way to reach a device: bytes pass, and what goes wrong is a BoardError with a sentence."""

from __future__ import annotations

import os
import socket
import threading
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.errors import BoardError, BoardNotFound, ConfigError, TransportTimeout
from harness.link import Link
from harness.transport import open_port
from harness.transport.faulty import FaultPlan, FaultyTransport
from harness.transport.memory import load_memory
from harness.transport.process import start_process
from harness.transport.tcp import open_socket, parse_address
from tests.support.echo_firmware import echo_firmware, echo_model, echo_outputs

INPUT, OUTPUT = 100, 10


@pytest.fixture(scope="module")
def program() -> Path:
    return echo_firmware(echo_model(INPUT, OUTPUT), "process").path


@pytest.fixture
def echo_server() -> Iterator[str]:
    """A TCP server that returns what it gets, for one client."""
    server = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        client, _ = server.accept()
        with client:
            while data := client.recv(1024):
                client.sendall(data)
                if data == b"bye":
                    return

    thread = threading.Thread(target=answer)
    thread.start()
    yield f"socket://127.0.0.1:{server.getsockname()[1]}"
    thread.join(5)
    server.close()


def test_process(program: Path) -> None:
    link = Link(start_process(program))
    link.hello()
    data = os.urandom(INPUT * 7)
    assert [r.outputs for r in link.infer(data)] == echo_outputs(data, INPUT, OUTPUT)
    link.reset()
    assert link.hello().input_bytes == INPUT
    link.close()
    link.transport.close()
    with pytest.raises(BoardError, match="was closed"):
        link.transport.read(0.0)


def test_paced_process_raises_its_rate(program: Path) -> None:
    link = Link(start_process(program, ["--baud", "115200"]), baud=115200)
    link.hello()
    assert link.raise_baud((460_800,)) == 460_800
    assert link.infer(bytes(INPUT))[0].outputs == echo_outputs(bytes(INPUT), INPUT, OUTPUT)[0]
    link.close()


def test_process_that_ends(program: Path) -> None:
    line = start_process(program, ["--ring", "1"])
    with pytest.raises(BoardError, match="ended with status 2"):
        line.read(20.0)
    line.close()
    with pytest.raises(BoardError, match="cannot be started"):
        start_process(program.parent / "missing")


def test_serial_device(program: Path) -> None:
    """A pseudo-terminal is a serial device; the firmware sits at the other end of it."""
    master, slave = os.openpty()
    tty.setraw(slave)
    name = os.ttyname(slave)
    firmware = start_process(program)
    port = open_port(name, 115200)

    def carry() -> None:
        while data := os.read(master, 4096):
            if data == b"stop":
                return
            firmware.write(data)
            while not (said := firmware.read(1.0)):
                pass
            os.write(master, said)

    firmware.read(0.5)
    thread = threading.Thread(target=carry)
    thread.start()
    port.write(b"name%")
    got = b""
    while b"m-ready" not in got:
        got += port.read(1.0)
    assert got == b"m-name-dut-[axonrig]\r\nm-ready\r\n"
    assert port.read(0.01) == b""
    assert isinstance(port.fileno(), int)
    assert port.set_baud(230400)
    with pytest.raises(BoardError, match=f"{name}: another program uses this port"):
        open_port(name, 115200)
    port.write(b"stop")
    thread.join(5)
    port.close()
    firmware.close()
    os.close(slave)
    os.close(master)


def test_serial_device_that_is_not_there() -> None:
    with pytest.raises(BoardNotFound, match="/dev/none: the port cannot be opened"):
        open_port("/dev/none", 115200)
    with pytest.raises(BoardNotFound, match="not a serial port or URL"):
        open_port("nonsense://x", 115200)


def test_socket(echo_server: str) -> None:
    port = open_port(echo_server, 0)
    port.write(b"hello")
    assert port.read(5.0) == b"hello"
    assert port.read(0.0) == b""
    assert not port.set_baud(9600)
    port.write(b"bye")
    assert port.read(5.0) == b"bye"
    with pytest.raises(BoardError, match="the other end closed the connection"):
        port.read(5.0)
    port.close()
    port.close()
    with pytest.raises(BoardError, match="reading failed"):
        port.read(0.0)


def test_socket_without_listener() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
    with pytest.raises(BoardNotFound, match="nobody answers"):
        open_socket(f"socket://127.0.0.1:{address[1]}")


@pytest.mark.parametrize(
    "text", ["", "host", "host:", ":1", "host:99999", "a:1/b", "u@h:1", "[::1"]
)
def test_addresses_that_are_none(text: str) -> None:
    with pytest.raises(ConfigError, match="is not an address; expected HOST:PORT"):
        parse_address(text)


def test_addresses() -> None:
    assert parse_address("localhost:80") == ("localhost", 80)
    assert parse_address("[::1]:0") == ("::1", 0)


def test_memory_time_passes_only_in_reads() -> None:
    path = echo_firmware(echo_model(INPUT, OUTPUT), "memory").path
    line = load_memory(path, baud=115200)
    while line.read(0.01):
        pass
    before = line.now()
    line.write(b"name%")
    assert line.now() == before
    answer = b"m-name-dut-[axonrig]\r\nm-ready\r\n"
    assert line.read(1.0) == answer
    assert line.now() - before == pytest.approx((5 + len(answer)) * 10 / 115200, rel=0.01)
    line.close()
    with pytest.raises(BoardError, match="was closed"):
        line.read(0.0)


def test_unplugged() -> None:
    path = echo_firmware(echo_model(INPUT, OUTPUT), "memory").path
    bad = FaultyTransport(load_memory(path), FaultPlan(1, unplug_after=200))
    bad.write(b"name%")
    bad.read(0.1)
    with pytest.raises(BoardError, match="unplugged"):
        bad.write(bytes(200))
    with pytest.raises(BoardError, match="unplugged"):
        bad.read(0.1)


def test_deadline() -> None:
    now = [10.0]
    deadline = Deadline.after(2.0, lambda: now[0])
    assert deadline.remaining_s == 2.0
    assert deadline.soonest(5.0) == 2.0
    assert deadline.soonest(0.5) == 0.5
    deadline.check("something")
    now[0] = 12.5
    assert deadline.passed
    with pytest.raises(TransportTimeout, match="while waiting for something"):
        deadline.check("something")
