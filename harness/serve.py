"""Holds a device open for one client after another: a TCP port or a pseudo-terminal.

Bytes pass unchanged in both directions, so any client of the firmware works: the binary host, an
MLPerf Tiny runner, a terminal program. What the device says while nobody listens is dropped: a
client must not find an earlier client's answers.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import termios
import tty
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from harness.errors import BoardError, ConfigError
from harness.transport import Transport

_CHUNK: Final = 65536
_POLL_S: Final = 0.002
"""Wait for a device that `select` cannot watch; small, because it delays every answer."""
_IDLE_S: Final = 0.5
_CLIENT_S: Final = 10.0
"""A client that takes nothing for this long is dropped."""


class Endpoint(Protocol):
    """Where clients come to."""

    @property
    def address(self) -> str:
        """What a client opens."""

    def filenos(self) -> list[int]:
        """What becomes readable when a client comes, speaks or goes."""

    def receive(self, ready: list[int]) -> bytes:
        """What the client said; takes up a new client first."""

    @property
    def fresh(self) -> bool:
        """True once after a client has come: what the device said before is not for it."""

    def send(self, data: bytes) -> None:
        """Pass to the client, if there is one."""

    def close(self) -> None:
        """Release everything."""


@dataclass(slots=True)
class TcpEndpoint:
    """A listening socket and at most one connected client."""

    listener: socket.socket
    _client: socket.socket | None = None
    _fresh: bool = False

    @property
    def address(self) -> str:
        """See `Endpoint`."""
        host, port = self.listener.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    @property
    def fresh(self) -> bool:
        """See `Endpoint`."""
        was, self._fresh = self._fresh, False
        return was

    def filenos(self) -> list[int]:
        """See `Endpoint`. A second client waits until the first has gone."""
        return [(self._client or self.listener).fileno()]

    def receive(self, ready: list[int]) -> bytes:
        """See `Endpoint`."""
        if self._client is None:
            if self.listener.fileno() in ready:
                self._accept()
            return b""
        if self._client.fileno() not in ready:
            return b""
        try:
            data = self._client.recv(_CHUNK)
            self._acknowledge(self._client)
        except OSError:
            data = b""
        if not data:
            self._drop()
        return data

    @staticmethod
    def _acknowledge(client: socket.socket) -> None:
        """A client that writes a command in two pieces waits for our acknowledgement of the first;
        the kernel would hold that back for 40 ms."""
        if hasattr(socket, "TCP_QUICKACK"):
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            self._client, _ = self.listener.accept()
            self._client.settimeout(_CLIENT_S)
            self._client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._acknowledge(self._client)
            self._fresh = True

    def send(self, data: bytes) -> None:
        """See `Endpoint`."""
        if self._client is not None:
            try:
                self._client.sendall(data)
            except OSError:
                self._drop()

    def _drop(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def close(self) -> None:
        """See `Endpoint`."""
        self._drop()
        self.listener.close()


@dataclass(slots=True)
class PtyEndpoint:
    """A pseudo-terminal with a link of a chosen name. Clients may open and close it at will."""

    link: Path
    master: int
    slave: int

    @property
    def address(self) -> str:
        """See `Endpoint`."""
        return str(self.link)

    @property
    def fresh(self) -> bool:
        """See `Endpoint`. A terminal does not tell when a client comes."""
        return False

    def filenos(self) -> list[int]:
        """See `Endpoint`."""
        return [self.master]

    def receive(self, ready: list[int]) -> bytes:
        """See `Endpoint`."""
        return os.read(self.master, _CHUNK) if self.master in ready else b""

    def send(self, data: bytes) -> None:
        """See `Endpoint`. What nobody reads within the terminal's buffer is dropped."""
        left = memoryview(data)
        while left:
            if not select.select([], [self.master], [], _CLIENT_S)[1]:
                termios.tcflush(self.slave, termios.TCIFLUSH)
                return
            try:
                left = left[os.write(self.master, left) :]
            except BlockingIOError:
                continue

    def close(self) -> None:
        """See `Endpoint`."""
        if self.link.is_symlink():
            self.link.unlink()
        os.close(self.master)
        os.close(self.slave)


def listen_tcp(host: str, port: int) -> TcpEndpoint:
    """Listen on HOST:PORT; port 0 takes a free one. Raises ConfigError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return TcpEndpoint(socket.create_server((host, port), family=family, backlog=4))
    except OSError as error:
        raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error


def open_pty(link: Path) -> PtyEndpoint:
    """A raw pseudo-terminal behind the symbolic link `link`.

    The slave side stays open here, so that a client which closes and opens it again finds the same
    terminal. Raises ConfigError when `link` is there already and no link.
    """
    if link.exists() and not link.is_symlink():
        raise ConfigError(f"{link} exists and is no symbolic link; choose another name")
    master, slave = os.openpty()
    tty.setraw(slave)
    os.set_blocking(master, False)
    try:
        link.unlink(missing_ok=True)
        link.symlink_to(os.ttyname(slave))
    except OSError as error:
        os.close(master)
        os.close(slave)
        raise ConfigError(f"{link} cannot be made: {error.strerror}") from error
    return PtyEndpoint(link, master, slave)


def drain(transport: Transport) -> None:
    """Drop what the device has said."""
    while transport.read(0.0):
        pass


def serve(transport: Transport, endpoint: Endpoint, stop: Callable[[], bool] | None = None) -> None:
    """Pass bytes until `stop` says so; for ever without it.

    Raises BoardError when the device is gone; a client that goes is no error.
    """
    while stop is None or not stop():
        device = transport.fileno()
        wanted = endpoint.filenos() if device is None else [*endpoint.filenos(), device]
        ready = select.select(wanted, [], [], _POLL_S if device is None else _IDLE_S)[0]
        heard = endpoint.receive(ready)
        if endpoint.fresh:
            drain(transport)
        if heard:
            transport.write(heard)
        if device is None or device in ready or heard:
            said = transport.read(_POLL_S if device is None else 0.0)
            if said:
                endpoint.send(said)


def check_alive(transport: Transport) -> None:
    """Raise BoardError when the device has gone already, before anyone is told to come."""
    try:
        transport.read(0.0)
    except BoardError as error:
        raise BoardError(f"the device ended before it could be served: {error}") from error
