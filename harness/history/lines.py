"""A history as JSON lines: one record on each line, for other tools and for moving it.

The first line is `{"record": "history", "schema": 1}`; then, night by night, the night, its results
with metrics and raw samples, and its findings. The same history gives the same bytes. Reading is
strict: an unknown key, a wrong type or a torn line is refused with its number, and nothing of the
file is stored.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from typing import Any, Final

from harness.errors import ConfigError
from harness.history.records import (
    NAME,
    Finding,
    Gate,
    Job,
    Kind,
    Metric,
    Night,
    Record,
    Recorded,
    Result,
    Samples,
    Status,
    Value,
    Verdict,
)
from harness.strict_mapping import Fields

SCHEMA: Final = 1
MAX_LINE_BYTES: Final = 64 << 20
_LONG: Final = re.compile(r".{0,100000}", re.DOTALL)
_SHORT: Final = re.compile(r".{0,200}")
_HEAD: Final = {"record": "history", "schema": SCHEMA}


def to_lines(records: Iterable[Record]) -> Iterator[str]:
    """Each record as a line of JSON, after the head."""
    yield _line(_HEAD)
    for record in records:
        yield _line(_facts(record))


def from_lines(lines: Iterable[str], where: str) -> Iterator[Record]:
    """The records of such lines. Raises ConfigError that names `where` and the line."""
    number = 0
    for number, line in enumerate(lines, 1):
        place = f"{where}, line {number}"
        fields = Fields(_parsed(line, place), place)
        kind = fields.choice("record", ("history", "night", "result", "finding"))
        if (kind == "history") != (number == 1):
            raise ConfigError(f"{place}: a history begins with its head, and only once")
        if kind == "history":
            fields.number("schema", SCHEMA, SCHEMA)
        else:
            yield _READERS[kind](fields)
        fields.close()
    if number == 0:
        raise ConfigError(f"{where} is empty; expected the JSON lines of a history")


def _line(facts: object) -> str:
    return json.dumps(facts, allow_nan=False, separators=(",", ":")) + "\n"


def _facts(record: Record) -> dict[str, Any]:
    if isinstance(record, Recorded):
        facts = {"record": "result", "night": record.night, **asdict(record.result)}
        return {**facts, "samples": [asdict(item) for item in record.samples]}
    kind = "night" if isinstance(record, Night) else "finding"
    return {"record": kind, **asdict(record)}


def _parsed(line: str, place: str) -> object:
    if len(line) > MAX_LINE_BYTES:
        raise ConfigError(f"{place} is longer than {MAX_LINE_BYTES} bytes")
    try:
        return json.loads(line, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{place} is no JSON, or was cut off: {error}") from error


def _refuse(word: str) -> float:
    raise ValueError(f"{word} is no number")


def _night(fields: Fields) -> Night:
    return Night(
        id=fields.text("id", NAME),
        begun=fields.text("begun"),
        host=fields.text("host"),
        code=fields.text("code"),
        matrix=fields.text("matrix"),
        versions=fields.words("versions"),
        revision=fields.optional_text("revision"),
        finished=fields.optional_text("finished"),
    )


def _recorded(fields: Fields) -> Recorded:
    night = fields.text("night", NAME)
    result = Result(
        job=_job(fields),
        status=Status(fields.choice("status", list(Status))),
        ended=fields.text("ended"),
        reason=fields.optional_text("reason", _LONG),
        source=fields.optional_text("source"),
        folder=fields.optional_text("folder", _LONG),
        manifest=fields.optional_text("manifest"),
        conditions=fields.words("conditions"),
        metrics=fields.parts("metrics", _metric),
    )
    return Recorded(night, result, fields.parts("samples", _samples))


def _job(fields: Fields) -> Job:
    job = fields.part("job", _job_names)
    if job is None:
        raise ConfigError(f"{fields.where}: the key 'job' is missing")
    return job


def _job_names(fields: Fields) -> Job:
    return Job(fields.text("model", NAME), fields.text("board", NAME), fields.text("variant", NAME))


def _metric(fields: Fields) -> Metric:
    return Metric(
        name=fields.text("name"),
        value=_value(fields),
        unit=fields.text("unit", _SHORT),
        kind=Kind(fields.choice("kind", list(Kind))),
        source=fields.text("source"),
    )


def _value(fields: Fields) -> Value:
    value = fields.value("value")
    if value is None:
        raise ConfigError(f"{fields.where}: the key 'value' is missing")
    return value


def _samples(fields: Fields) -> Samples:
    return Samples(
        metric=fields.text("metric"),
        run=fields.text("run"),
        unit=fields.text("unit", _SHORT),
        values=fields.reals("values"),
    )


def _finding(fields: Fields) -> Finding:
    return Finding(
        night=fields.text("night", NAME),
        job=_job(fields),
        metric=fields.text("metric"),
        gate=Gate(fields.choice("gate", list(Gate))),
        verdict=Verdict(fields.choice("verdict", list(Verdict))),
        text=fields.text("text", _LONG),
        before=fields.value("before"),
        after=fields.value("after"),
        unit=fields.text("unit", _SHORT),
        since=fields.optional_text("since", NAME),
        p_value=_real(fields, "p_value"),
        effect=_real(fields, "effect"),
    )


def _real(fields: Fields, key: str) -> float | None:
    value = fields.value(key)
    if isinstance(value, str):
        raise ConfigError(f"{fields.where}: '{key}' is {value!r}; expected a number")
    return None if value is None else float(value)


_READERS: Final[dict[str, Callable[[Fields], Record]]] = {
    "night": _night,
    "result": _recorded,
    "finding": _finding,
}
