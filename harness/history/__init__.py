"""What every night found: one SQLite file, read and written through `History`.

How to read it::

    with open_history(Path("history.db")) as history:
        for night in history.nights():                  # oldest first
            results = history.results(night.id)         # every job: ok, failed or skipped
            findings = history.findings(night.id)       # what the gates said of this night
        for job in history.jobs():
            for metric in history.metrics(job):
                points = history.series(job, metric)    # over all nights, oldest first
                marks = history.changes(job, metric)    # findings on this metric, oldest first

A job is a model on a board in a variant. Each night has at most one result of a job. A metric is
`exact` (the same inputs give the same value: any difference is a change) or `measured` (it
scatters: only a test on `samples` says whether it changed); its `source` says what it is (`sim`,
`emulated`, `board`, ...). Never draw two sources as one line. A finding of the gate `change-point`
carries in `since` the night with which the new level begins.

How to write: `begin`, `record` for each job, `finish`. Each returns once its record is on the disk.
"""

from __future__ import annotations

import json
import math
import sqlite3
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, TypeVar

from harness.errors import ConfigError
from harness.history.records import (
    Finding,
    Gate,
    Job,
    Kind,
    Merged,
    Metric,
    Night,
    Point,
    Record,
    Recorded,
    Result,
    Samples,
    Status,
    Value,
    Verdict,
)
from harness.history.schema import connect, mapped, transaction

__all__ = [
    "Finding",
    "Gate",
    "History",
    "Job",
    "Kind",
    "Merged",
    "Metric",
    "Night",
    "Point",
    "Record",
    "Recorded",
    "Result",
    "Samples",
    "Status",
    "Value",
    "Verdict",
    "open_history",
]

E = TypeVar("E", bound=StrEnum)

_NIGHT: Final = "SELECT id, begun, finished, host, revision, code, matrix, versions FROM night"
_RESULT: Final = (
    "SELECT number, model, board, variant, status, reason, source, ended, folder, manifest, "
    "conditions FROM result"
)
_FINDING: Final = (
    "SELECT finding.night, model, board, variant, metric, gate, verdict, text, before, after, "
    "unit, since, p_value, effect FROM finding"
)
_LARGEST: Final = 1 << 63


@contextmanager
def open_history(path: Path, *, create: bool = False) -> Iterator[History]:
    """Open a history, and close it at the end. create: make an empty one when there is none.

    Raises ConfigError when there is none, when the file is damaged or of another program, or when
    a newer axonrig wrote it.
    """
    connection = connect(path, create=create)
    try:
        yield History(path, connection)
    finally:
        connection.close()


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """An open history. Every method raises ConfigError when the file cannot be read or written."""

    path: Path
    connection: sqlite3.Connection

    # ---- reading ----

    def nights(self) -> tuple[Night, ...]:
        """Every night, oldest first."""
        return tuple(_night(row) for row in self._rows(f"{_NIGHT} ORDER BY begun, id"))

    def night(self, night: str) -> Night | None:
        """The night with this id."""
        return next((_night(row) for row in self._rows(f"{_NIGHT} WHERE id = ?", night)), None)

    def jobs(self) -> tuple[Job, ...]:
        """Every job that any night has a result of, in alphabetical order."""
        query = "SELECT DISTINCT model, board, variant FROM result ORDER BY 1, 2, 3"
        return tuple(Job(*row) for row in self._rows(query))

    def results(self, night: str) -> tuple[Result, ...]:
        """The jobs of a night with their metrics, in alphabetical order."""
        metrics: dict[int, list[Metric]] = {}
        query = (
            "SELECT result, name, value, unit, kind, metric.source FROM metric JOIN result "
            "ON number = result WHERE night = ? ORDER BY result, name"
        )
        for number, *row in self._rows(query, night):
            metrics.setdefault(number, []).append(_metric(row))
        rows = self._rows(f"{_RESULT} WHERE night = ? ORDER BY model, board, variant", night)
        return tuple(_result(row, tuple(metrics.get(row[0], ()))) for row in rows)

    def result(self, night: str, job: Job) -> Result | None:
        """The result of one job in one night."""
        return next((item for item in self.results(night) if item.job == job), None)

    def endings(self) -> tuple[tuple[str, Job, Status], ...]:
        """How every job ended in every night, oldest night first, without metrics."""
        query = (
            "SELECT night, model, board, variant, status FROM result "
            "JOIN night ON night.id = night ORDER BY begun, night, model, board, variant"
        )
        return tuple(
            (night, Job(*names), _word(Status, status))
            for night, *names, status in self._rows(query)
        )

    def samples(self, night: str, job: Job) -> tuple[Samples, ...]:
        """Raw values of the measured metrics of one result."""
        query = (
            "SELECT metric, run, unit, data FROM sample JOIN result ON number = result "
            "WHERE night = ? AND model = ? AND board = ? AND variant = ? ORDER BY metric, run"
        )
        rows = self._rows(query, night, *_words(job))
        return tuple(Samples(metric, run, unit, _floats(data)) for metric, run, unit, data in rows)

    def metrics(self, job: Job) -> tuple[str, ...]:
        """Names of the metrics that any night has of a job, in alphabetical order."""
        query = (
            "SELECT DISTINCT name FROM metric JOIN result ON number = result "
            "WHERE model = ? AND board = ? AND variant = ? ORDER BY name"
        )
        return tuple(name for (name,) in self._rows(query, *_words(job)))

    def series(self, job: Job, metric: str) -> tuple[Point, ...]:
        """One metric of one job over the nights that have it, oldest first."""
        query = (
            "SELECT night, begun, value, unit, kind, metric.source FROM result "
            "JOIN night ON night.id = night JOIN metric ON number = result AND name = ? "
            "WHERE model = ? AND board = ? AND variant = ? AND status = 'ok' ORDER BY begun, night"
        )
        rows = self._rows(query, metric, *_words(job))
        return tuple(
            Point(night, begun, value, unit, _word(Kind, kind), source)
            for night, begun, value, unit, kind, source in rows
        )

    def findings(self, night: str) -> tuple[Finding, ...]:
        """What the gates said of a night."""
        query = f"{_FINDING} WHERE night = ? ORDER BY model, board, variant, metric, gate"
        return tuple(_finding(row) for row in self._rows(query, night))

    def changes(self, job: Job, metric: str) -> tuple[Finding, ...]:
        """Every finding on one metric of one job, oldest night first."""
        query = (
            f"{_FINDING} JOIN night ON night.id = night WHERE model = ? AND board = ? "
            "AND variant = ? AND metric = ? ORDER BY begun, night, gate"
        )
        return tuple(_finding(row) for row in self._rows(query, *_words(job), metric))

    # ---- writing ----

    def begin(self, night: Night) -> Night:
        """Store a new night, or give the stored one with this id."""
        with mapped(self.path), transaction(self.connection):
            _insert_night(self.connection, night)
        stored = self.night(night.id)
        assert stored is not None  # inserted above
        return stored

    def record(self, night: str, result: Result, samples: Iterable[Samples] = ()) -> bool:
        """Store how a job of a night ended; return whether it was stored.

        A job ends once: after an `ok` result nothing more is stored for it (False). A failed or
        skipped result gives way to a later one.
        """
        with mapped(self.path), transaction(self.connection):
            return _insert_result(self.connection, night, result, tuple(samples))

    def finish(self, night: str, finished: str, findings: Iterable[Finding]) -> None:
        """Store the night's findings (in place of earlier ones) and that it is complete."""
        with mapped(self.path), transaction(self.connection):
            self.connection.execute("DELETE FROM finding WHERE night = ?", (night,))
            for finding in findings:
                _insert_finding(self.connection, finding)
            self.connection.execute("UPDATE night SET finished = ? WHERE id = ?", (finished, night))

    def merge(self, records: Iterable[Record]) -> Merged:
        """Store records of another history, all or none.

        What is here stays: an `ok` result, a finding. A night comes before its results and
        findings. Raises ConfigError for a result of a night that neither has.
        """
        stored = kept = 0
        with mapped(self.path), transaction(self.connection):
            for record in records:
                new = _merge(self.connection, record)
                stored, kept = stored + new, kept + (not new)
        return Merged(stored, kept)

    def records(self) -> Iterator[Record]:
        """Everything, in the order in which `merge` takes it."""
        for night in self.nights():
            yield night
            for result in self.results(night.id):
                yield Recorded(night.id, result, self.samples(night.id, result.job))
            yield from self.findings(night.id)

    def _rows(self, query: str, *values: Value) -> list[tuple[Any, ...]]:
        with mapped(self.path):
            return self.connection.execute(query, values).fetchall()


def _words(job: Job) -> tuple[str, str, str]:
    return job.model, job.board, job.variant


def _night(row: tuple[Any, ...]) -> Night:
    name, begun, finished, host, revision, code, matrix, versions = row
    found = _mapping(versions, f"night {name}")
    return Night(name, begun, host, code, matrix, found, revision, finished)


def _metric(row: Iterable[Any]) -> Metric:
    name, value, unit, kind, source = row
    return Metric(name, value, unit, _word(Kind, kind), source)


def _result(row: tuple[Any, ...], metrics: tuple[Metric, ...]) -> Result:
    _, model, board, variant, status, reason, source, ended, folder, manifest, conditions = row
    job = Job(model, board, variant)
    return Result(
        job=job,
        status=_word(Status, status),
        ended=ended,
        reason=reason,
        source=source,
        folder=folder,
        manifest=manifest,
        conditions=_mapping(conditions, job.name),
        metrics=metrics,
    )


def _finding(row: tuple[Any, ...]) -> Finding:
    night, model, board, variant, metric, gate, verdict, *rest = row
    job = Job(model, board, variant)
    return Finding(night, job, metric, _word(Gate, gate), _word(Verdict, verdict), *rest)


def _word(kind: type[E], text: str) -> E:
    try:
        return kind(text)
    except ValueError as error:
        raise ConfigError(f"the history holds an unknown word: {error}") from error


def _mapping(text: str, where: str) -> dict[str, str]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"the history's record of {where} is damaged: {error}") from error
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise ConfigError(f"the history's record of {where} is damaged: expected words, not {text}")
    return value


def _floats(data: bytes) -> tuple[float, ...]:
    if len(data) % 8:
        raise ConfigError(f"samples in the history are damaged: {len(data)} bytes, not 8 for each")
    return struct.unpack(f"<{len(data) // 8}d", data)


def _json(value: Mapping[str, str]) -> str:
    return json.dumps(dict(value), sort_keys=True)


def _check(value: Value, where: str) -> Value:
    """Refuse what SQLite or JSON cannot keep."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{where} is {value}; the history keeps finite numbers only")
    if isinstance(value, int) and not -_LARGEST <= value < _LARGEST:
        raise ConfigError(f"{where} is {value}; the history keeps integers of 64 bits")
    return value


def _merge(connection: sqlite3.Connection, record: Record) -> bool:
    """Whether the record was new here."""
    if isinstance(record, Recorded):
        return _insert_result(connection, record.night, record.result, record.samples)
    if isinstance(record, Finding):
        return _insert_finding(connection, record)
    new = _insert_night(connection, record)
    connection.execute(
        "UPDATE night SET finished = ? WHERE id = ? AND finished IS NULL",
        (record.finished, record.id),
    )
    return new


def _insert_night(connection: sqlite3.Connection, night: Night) -> bool:
    done = connection.execute(
        "INSERT OR IGNORE INTO night VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            night.id,
            night.begun,
            night.finished,
            night.host,
            night.revision,
            night.code,
            night.matrix,
            _json(night.versions),
        ),
    )
    return done.rowcount == 1


def _check_night(connection: sqlite3.Connection, night: str) -> None:
    if connection.execute("SELECT 1 FROM night WHERE id = ?", (night,)).fetchone() is None:
        raise ConfigError(f"the history has no night '{night}'; begin it first")


def _insert_result(
    connection: sqlite3.Connection, night: str, result: Result, samples: tuple[Samples, ...]
) -> bool:
    job = _words(result.job)
    _check_night(connection, night)
    where = "WHERE night = ? AND model = ? AND board = ? AND variant = ?"
    there = connection.execute(f"SELECT status FROM result {where}", (night, *job)).fetchone()  # noqa: S608  # constant text
    if there is not None and there[0] == Status.OK:
        return False
    connection.execute(f"DELETE FROM result {where}", (night, *job))  # noqa: S608  # constant text
    facts = (result.status, result.reason, result.source, result.ended, result.folder)
    number = connection.execute(
        "INSERT INTO result VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (night, *job, *facts, result.manifest, _json(result.conditions)),
    ).lastrowid
    connection.executemany(
        "INSERT INTO metric VALUES (?, ?, ?, ?, ?, ?)",
        [
            (number, item.name, _check(item.value, item.name), item.unit, item.kind, item.source)
            for item in result.metrics
        ],
    )
    connection.executemany(
        "INSERT INTO sample VALUES (?, ?, ?, ?, ?)",
        [(number, item.metric, item.run, item.unit, _bytes(item)) for item in samples],
    )
    return True


def _bytes(samples: Samples) -> bytes:
    for value in samples.values:
        _check(value, samples.metric)
    return struct.pack(f"<{len(samples.values)}d", *samples.values)


def _insert_finding(connection: sqlite3.Connection, item: Finding) -> bool:
    _check_night(connection, item.night)
    done = connection.execute(
        "INSERT OR IGNORE INTO finding VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            item.night,
            *_words(item.job),
            item.metric,
            item.gate,
            item.verdict,
            item.text,
            item.before,
            item.after,
            item.unit,
            item.since,
            item.p_value,
            item.effect,
        ),
    )
    return done.rowcount == 1
