"""A device behind a TCP server that passes raw bytes (`socket://HOST:PORT`)."""

from __future__ import annotations

import select
import socket
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from harness.errors import BoardError, BoardNotFound, ConfigError

_CONNECT_S = 5.0
_CHUNK = 65536


@dataclass(slots=True)
class SocketTransport:
    """A connected socket."""

    connection: socket.socket
    name: str
    _closed: bool = False

    def read(self, timeout_s: float) -> bytes:
        """See `Transport`."""
        try:
            if not select.select([self.connection], [], [], max(0.0, timeout_s))[0]:
                return b""
            data = self.connection.recv(_CHUNK)
        except (OSError, ValueError) as error:
            raise BoardError(f"{self.name}: reading failed: {error}") from error
        if not data:
            raise BoardError(f"{self.name}: the other end closed the connection")
        return data

    def write(self, data: bytes) -> None:
        """See `Transport`."""
        try:
            self.connection.sendall(data)
        except OSError as error:
            raise BoardError(f"{self.name}: writing failed: {error}") from error

    def set_baud(self, baud: int) -> bool:  # noqa: ARG002  # a socket has no rate
        """See `Transport`."""
        return False

    def now(self) -> float:
        """See `Transport`."""
        return time.monotonic()

    def fileno(self) -> int | None:
        """See `Transport`."""
        return self.connection.fileno()

    def close(self) -> None:
        """See `Transport`."""
        if not self._closed:
            self._closed = True
            self.connection.close()


def parse_address(text: str) -> tuple[str, int]:
    """("host", port) of HOST:PORT or [IPv6]:PORT. Raises ConfigError."""
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or port is None or parts.path or parts.query or parts.username:
        raise ConfigError(f"'{text}' is not an address; expected HOST:PORT, e.g. 127.0.0.1:5000")
    return host, port


def open_socket(url: str) -> SocketTransport:
    """Connect to `socket://HOST:PORT`. Raises BoardNotFound when nobody listens there."""
    address = parse_address(url.removeprefix("socket://").rstrip("/"))
    try:
        connection = socket.create_connection(address, timeout=_CONNECT_S)
    except OSError as error:
        raise BoardNotFound(f"{url}: nobody answers ({error.strerror or error})") from error
    connection.settimeout(None)
    # Commands are small writes: waiting to merge them costs tens of milliseconds each.
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return SocketTransport(connection, url)
