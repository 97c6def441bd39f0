"""The history's file: its tables, its version, and how it is opened.

One SQLite file with a rollback journal. A transaction is acknowledged only after the data and the
folder entry of the removed journal are on the disk (`synchronous=EXTRA`), so a process that dies,
or a machine that loses power, takes no acknowledged record with it; the next reader rolls a
half-written transaction back. Writers take the write lock before they read (`BEGIN IMMEDIATE`) and
wait for each other. The file must be on a local disk: locks of network file systems do not hold.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from harness.errors import ConfigError

SCHEMA: Final = 1
APPLICATION: Final = 0x41585248
"""`application_id` of a history: the letters AXRH."""

BUSY_S: Final = 60.0
"""How long a writer waits for the others."""

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        """CREATE TABLE night (
            id TEXT PRIMARY KEY, begun TEXT NOT NULL, finished TEXT, host TEXT NOT NULL,
            revision TEXT, code TEXT NOT NULL, matrix TEXT NOT NULL, versions TEXT NOT NULL
        ) STRICT""",
        "CREATE INDEX night_by_time ON night (begun, id)",
        """CREATE TABLE result (
            number INTEGER PRIMARY KEY, night TEXT NOT NULL REFERENCES night (id),
            model TEXT NOT NULL, board TEXT NOT NULL, variant TEXT NOT NULL,
            status TEXT NOT NULL CHECK (status IN ('ok', 'failed', 'skipped')),
            reason TEXT, source TEXT, ended TEXT NOT NULL, folder TEXT, manifest TEXT,
            conditions TEXT NOT NULL, UNIQUE (model, board, variant, night)
        ) STRICT""",
        "CREATE INDEX result_by_night ON result (night)",
        """CREATE TABLE metric (
            result INTEGER NOT NULL REFERENCES result (number) ON DELETE CASCADE,
            name TEXT NOT NULL, value ANY NOT NULL, unit TEXT NOT NULL,
            kind TEXT NOT NULL CHECK (kind IN ('exact', 'measured')), source TEXT NOT NULL,
            PRIMARY KEY (result, name)
        ) STRICT, WITHOUT ROWID""",
        """CREATE TABLE sample (
            result INTEGER NOT NULL REFERENCES result (number) ON DELETE CASCADE,
            metric TEXT NOT NULL, run TEXT NOT NULL, unit TEXT NOT NULL, data BLOB NOT NULL,
            PRIMARY KEY (result, metric, run)
        ) STRICT, WITHOUT ROWID""",
        """CREATE TABLE finding (
            night TEXT NOT NULL REFERENCES night (id),
            model TEXT NOT NULL, board TEXT NOT NULL, variant TEXT NOT NULL,
            metric TEXT NOT NULL, gate TEXT NOT NULL, verdict TEXT NOT NULL, text TEXT NOT NULL,
            before ANY, after ANY, unit TEXT NOT NULL, since TEXT, p_value REAL, effect REAL,
            PRIMARY KEY (night, model, board, variant, metric, gate)
        ) STRICT, WITHOUT ROWID""",
    ),
)
"""MIGRATIONS[v] brings a file of schema v to v + 1; schema 0 is an empty file."""


def connect(path: Path, *, create: bool) -> sqlite3.Connection:
    """Open a history and bring its schema up to date; in autocommit, see `transaction`.

    create: make the file when it is not there. Raises ConfigError when there is none, when it is
    no history, or when a newer axonrig wrote it.
    """
    if not create and not path.is_file():
        raise ConfigError(f"there is no history {path}: 'axonrig nightly --history' makes one")
    if not path.parent.is_dir():
        raise ConfigError(f"the history {path} cannot be made: {path.parent} is no folder")
    with mapped(path):
        connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
        try:
            _prepare(connection, path)
        except BaseException:
            connection.close()
            raise
    return connection


@contextmanager
def mapped(path: Path) -> Iterator[None]:
    """SQLite's exceptions as ConfigError."""
    try:
        yield
    except sqlite3.OperationalError as error:
        what = "another program keeps it locked" if "locked" in str(error) else str(error)
        raise ConfigError(f"the history {path} cannot be used: {what}") from error
    except sqlite3.DatabaseError as error:
        raise ConfigError(
            f"{path} is no undamaged history ({error}): restore a copy, or import its JSON lines "
            "into a new file"
        ) from error


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing; the write lock is held from the start."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    for name, value in (
        ("synchronous", "EXTRA"),
        ("foreign_keys", "ON"),
        ("trusted_schema", "OFF"),
        ("cell_size_check", "ON"),
    ):
        connection.execute(f"PRAGMA {name} = {value}")
    if _number(connection, "user_version") == SCHEMA:
        _check_owner(connection, path)
        return
    with transaction(connection):
        _migrate(connection, path)


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Inside a transaction: another process may have been first."""
    version = _number(connection, "user_version")
    if version == 0 and connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise ConfigError(f"{path} is an SQLite file of another program, not a history")
    if version:
        _check_owner(connection, path)
    if version > SCHEMA:
        raise ConfigError(
            f"the history {path} has schema {version}; this axonrig knows up to {SCHEMA}: update it"
        )
    for step in MIGRATIONS[version:]:
        for statement in step:
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION}")
    connection.execute(f"PRAGMA user_version = {SCHEMA}")


def _check_owner(connection: sqlite3.Connection, path: Path) -> None:
    if _number(connection, "application_id") != APPLICATION:
        raise ConfigError(f"{path} is an SQLite file of another program, not a history")


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    value: int = connection.execute(f"PRAGMA {pragma}").fetchone()[0]
    return value
