"""How each party differs from the definition, and what is known of such differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from compiler import Op
from harness.compare import Side
from harness.errors import HarnessError
from harness.verify.case import Case
from harness.verify.layers import OwnDifference, by_number, own_differences
from harness.verify.parties import (
    Answer,
    BoardParty,
    DefinitionParty,
    EngineParty,
    HostParty,
    Party,
)
from harness.verify.verdict import Again, Gap, Leg, Meaning, Role, heaviest, judge_leg

Array = npt.NDArray[Any]
IntArray = npt.NDArray[np.int64]
Present = Sequence[tuple[Party, Answer]]
"""The parties that ran."""

TRACED_SAMPLES: Final = 32
"""Samples whose layers are compared with TFLite's one at a time: those that differ most."""
HIDDEN_SAMPLES: Final = 8
"""Samples whose layers are compared although their outputs are equal."""


@dataclass(frozen=True, slots=True)
class Repeat:
    """A board's samples that differ, run a second time. reason: why that failed, else empty."""

    again: Again
    reason: str = ""


def own_layers(case: Case, present: Present) -> dict[str, tuple[OwnDifference, ...]]:
    """Layers one at a time, by set of host kernels, each layer at its worst sample."""
    definition = _definition(present)
    found = {}
    for party, answer in present:
        if isinstance(party, HostParty):
            rows = [
                _own_of_sample(case, party, sample)
                for sample in _most_different(definition, answer.side)
            ]
            found[party.name] = tuple(_worst(layer) for layer in zip(*rows, strict=True))
    return found


def repeats_of(case: Case, present: Present) -> dict[str, Repeat]:
    """What each board gave for the samples in which it differs, run again, by its name.

    Boards that do not differ are left out, and so are all where a sample depends on those before.
    """
    definition = _definition(present)
    found = {}
    for party, answer in present:
        differing = np.flatnonzero(_largest(definition, answer.side))[:TRACED_SAMPLES].tolist()
        if isinstance(party, BoardParty) and differing and not case.keeps_state:
            found[party.name] = _repeat(case, party, answer, differing)
    return found


def meanings_of(
    case: Case,
    present: Present,
    own: Mapping[str, Sequence[OwnDifference]],
    repeats: Mapping[str, Repeat],
) -> dict[str, Meaning]:
    """What each party's gap to the definition means, by its name."""
    definition = _definition(present)
    gaps = {p.name: _gap(case, definition, p, answer, own.get(p.name)) for p, answer in present}
    reference = next(gaps[party.name] for party, _ in present if party.role is Role.REFERENCE)
    vendors = [(party, answer.side) for party, answer in present if party.role is Role.VENDOR]
    vendor = heaviest(judge_leg(Leg(Role.VENDOR, gaps[p.name]), reference) for p, _ in vendors)
    return {
        party.name: judge_leg(
            Leg(
                party.role,
                gaps[party.name],
                repeats[party.name].again if party.name in repeats else Again.SAME,
                any(_equal(side, answer.side) for _, side in vendors),
            ),
            reference,
            vendor,
        )
        for party, answer in present
    }


def _own_of_sample(case: Case, party: HostParty, sample: int) -> tuple[OwnDifference, ...]:
    traced = by_number(party.layers(case, sample))
    inputs = case.inputs[sample : sample + 1]
    return own_differences(case.program, case.graph, case.places, inputs, traced)


def _definition(present: Present) -> Side:
    return next(answer.side for party, answer in present if party.role is Role.DEFINITION)


def _most_different(left: Side, right: Side) -> list[int]:
    """Samples by their largest difference; those without one last."""
    order = np.argsort(-_largest(left, right), kind="stable")
    return [int(sample) for sample in order[:TRACED_SAMPLES]]


def _largest(left: Side, right: Side) -> IntArray:
    """The largest difference of each sample, int64 [N]."""
    gaps = [
        np.abs(a.astype(np.int64) - b.astype(np.int64)).reshape(len(a), -1).max(axis=1)
        for a, b in zip(left.outputs, right.outputs, strict=True)
    ]
    return np.asarray(np.max(gaps, axis=0), np.int64)


def _worst(layer: Sequence[OwnDifference]) -> OwnDifference:
    """One layer over several samples: where it is most beyond, else most different."""
    worst = max(layer, key=lambda item: (item.beyond_lsb, item.difference.max_lsb))
    return replace(
        worst,
        coarse=sum(item.coarse for item in layer),
        beyond=sum(item.beyond for item in layer),
    )


def _gap(
    case: Case,
    definition: Side,
    party: Party,
    answer: Answer,
    own: Sequence[OwnDifference] | None,
) -> Gap:
    if answer.gap is Gap.BEYOND or (own is not None and any(layer.beyond for layer in own)):
        return Gap.BEYOND
    if _equal(definition, answer.side):
        hidden = isinstance(party, EngineParty) and hidden_sample(case, party) is not None
        return Gap.BEYOND if hidden else answer.gap or Gap.NONE
    if own is not None or _is_softmax_step(case, definition, party, answer):
        return Gap.KNOWN
    return Gap.BEYOND


def hidden_sample(case: Case, engine: EngineParty) -> int | None:
    """The first of a few samples in which a layer of an engine differs from the definition."""
    definition = DefinitionParty()
    for sample in range(min(len(case.inputs), HIDDEN_SAMPLES)):
        ours, theirs = definition.layers(case, sample), engine.layers(case, sample)
        if not all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True)):
            return sample
    return None


def _is_softmax_step(case: Case, definition: Side, party: Party, answer: Answer) -> bool:
    """Whether only softmax outputs of an NPU differ, by one step: its exponential is not known to
    the last bit. The CPU back end has our own."""
    if party.role is not Role.VENDOR and "npu" not in answer.backend:
        return False
    for pair, left, right in zip(case.pairs, definition.outputs, answer.side.outputs, strict=True):
        allowed = int(case.program.layers[pair.layer].op is Op.SOFTMAX)
        if np.abs(left.astype(np.int64) - right.astype(np.int64)).max() > allowed:
            return False
    return True


def _repeat(case: Case, board: BoardParty, answer: Answer, samples: list[int]) -> Repeat:
    try:
        again = board.run(case.only(samples)).side
    except HarnessError as error:
        return Repeat(Again.FAILED, str(error))
    once = [output[samples] for output in answer.side.outputs]
    same = all(np.array_equal(a, b) for a, b in zip(once, again.outputs, strict=True))
    return Repeat(Again.SAME if same else Again.OTHER)


def _equal(left: Side, right: Side) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(left.outputs, right.outputs, strict=True))
