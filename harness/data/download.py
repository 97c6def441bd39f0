"""Fetch a file over HTTP: resumed where it broke off, verified, and only then given its name."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from harness.errors import ConfigError, DownloadError

Progress = Callable[[int, int | None], None]
"""Called with bytes received and bytes in all (None when the server does not say)."""

ATTEMPTS: Final = 4
STALL_SECONDS: Final = 30.0
"""A server that sends nothing for this long has stalled; the next attempt resumes."""
MAX_BYTES: Final = 8 << 30
_CHUNK: Final = 1 << 18


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the file must be. size_bytes None: unknown."""

    url: str
    sha256: str
    size_bytes: int | None = None


def download(
    wanted: Wanted,
    target: Path,
    *,
    progress: Progress | None = None,
    stall_seconds: float = STALL_SECONDS,
) -> Path:
    """Give `target` the content of `wanted.url`; return `target`.

    A `target` that already has the right hash is not fetched again. What arrives is kept in
    `target` + ".part" until it is whole, so an interrupted download goes on where it stopped.
    Raises ConfigError for an address that is not http(s) or a file that is not the expected one,
    DownloadError when the server does not give it, OSError when it cannot be stored.
    """
    if not wanted.url.lower().startswith(("http://", "https://")):
        raise ConfigError(f"'{wanted.url}' is no http or https address; use --from for a file")
    if target.is_file() and file_sha256(target) == wanted.sha256:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    with _locked(part) as stream:
        try:
            _fetch(wanted, stream, progress, stall_seconds)
        except ConfigError:  # what came is not what was asked for: nothing to resume
            part.unlink()
            raise
        stream.flush()
        found = file_sha256(part)
        if found != wanted.sha256:
            part.unlink()
            raise ConfigError(
                f"{wanted.url} gave a file with sha256 {found}, expected {wanted.sha256}: it was "
                "discarded; if the dataset has moved, pass its address with --url"
            )
        part.replace(target)
    return target


def file_sha256(path: Path) -> str:
    """Hex digest of a file. Raises OSError."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextlib.contextmanager
def _locked(part: Path) -> Iterator[BinaryIO]:
    """`part` opened for appending, by one process at a time."""
    with part.open("ab") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError(
                f"{part} is being written by another download; wait for it, or remove the file"
            ) from None
        yield stream


def _fetch(
    wanted: Wanted, stream: BinaryIO, progress: Progress | None, stall_seconds: float
) -> None:
    """Append to `stream` until it is whole, resuming after each failure of the link."""
    reason = "nothing was received"
    for _ in range(ATTEMPTS):
        try:
            if _receive(wanted, stream, progress, stall_seconds):
                return
            reason = f"the connection ended after {stream.tell()} bytes"
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and stream.tell():
                stream.truncate(0)  # the part is longer than the file: it is another file's
                reason = "the server has fewer bytes than were received before"
                continue
            if error.code < http.HTTPStatus.INTERNAL_SERVER_ERROR:
                raise DownloadError(
                    f"{wanted.url} answered {error.code} {error.reason}: check the address, or "
                    "download the file yourself and pass it with --from"
                ) from None
            reason = f"the server answered {error.code} {error.reason}"
        except (OSError, http.client.HTTPException, ValueError) as error:
            cause = getattr(error, "reason", None) or error
            reason = str(cause) or type(cause).__name__
    raise DownloadError(
        f"{wanted.url} could not be downloaded ({reason}, {ATTEMPTS} attempts): check the network, "
        "run the command again to resume, or pass a file with --from"
    )


def _receive(
    wanted: Wanted, stream: BinaryIO, progress: Progress | None, stall_seconds: float
) -> bool:
    """One request; whether the file is complete afterwards."""
    start = stream.seek(0, 2)
    headers = {"User-Agent": "axonrig", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    request = urllib.request.Request(wanted.url, headers=headers)  # noqa: S310  # http(s), checked
    with urllib.request.urlopen(request, timeout=stall_seconds) as reply:  # noqa: S310  # as above
        if reply.status != http.HTTPStatus.PARTIAL_CONTENT:
            start = stream.truncate(0)
        length = reply.headers.get("Content-Length", "")
        total = start + int(length) if length.isdecimal() else None
        limit = wanted.size_bytes or MAX_BYTES
        if (total or 0) > limit:
            raise ConfigError(
                f"{wanted.url} offers {total} bytes, expected {limit}: not the expected file; if "
                "the dataset has moved, pass its address with --url"
            )
        received = start
        while block := reply.read(_CHUNK):
            received += len(block)
            if received > limit:
                raise ConfigError(f"{wanted.url} sends more than the expected {limit} bytes")
            stream.write(block)
            if progress:
                progress(received, total)
        expected = total if total is not None else wanted.size_bytes
        return expected is None or received >= expected
