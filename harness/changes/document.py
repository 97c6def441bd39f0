"""Changes as a JSON document, for other programs (docs/nightly.md, "What changed, and where")."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from harness.changes import Change, Changes
from harness.history import Result

SCHEMA: Final = 1


def changes_document(found: Sequence[Changes]) -> str:
    """The comparisons as one JSON object."""
    facts = {"schema": SCHEMA, "comparisons": [_comparison(item) for item in found]}
    return json.dumps(facts, indent=1, allow_nan=False)


def _comparison(item: Changes) -> dict[str, Any]:
    return {
        "a": _side(item.before),
        "b": _side(item.after),
        "worse": item.worse,
        "equal": item.equal,
        "first_layer": None if item.first_layer is None else int(item.first_layer),
        "conditions": [asdict(flag) for flag in item.flags],
        "changes": [_change(item, change) for change in item.changes],
    }


def _side(result: Result) -> dict[str, Any]:
    return {
        "job": asdict(result.job),
        "source": result.source,
        "ended": result.ended,
        "folder": result.folder,
    }


def _change(item: Changes, change: Change) -> dict[str, Any]:
    found = change.difference
    metric = item.after.metric(found.metric) or item.before.metric(found.metric)
    return {
        "metric": found.metric,
        "before": found.before,
        "after": found.after,
        "unit": found.unit,
        "source": None if metric is None else metric.source,
        "relative": found.relative,
        "verdict": found.verdict.value,
        "worse": change.worse,
        "p_value": None if change.shift is None else change.shift.p_value,
        "layers": [asdict(layer) for layer in change.layers],
    }
