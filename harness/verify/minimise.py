"""The smallest model in which two parties still disagree in the same way.

Parts of the model are tried in order of their size, those that end where the layers first differed
before others of the same size. A part gets as its input what was computed there for one sample.
A part of one operator then loses channels, rows and columns as far as the disagreement lasts.
Nothing is assumed: every candidate is compiled, run by both parties and judged.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from compiler import CompilerError
from harness.compare import Side
from harness.errors import HarnessError
from harness.golden import KernelSet
from harness.progress import Observer
from harness.verify.case import Case, make_candidate
from harness.verify.layers import by_number, tensor_values
from harness.verify.narrowing import Extent, narrow, size_of
from harness.verify.network import Cut, cuts_of, extract, operator_names
from harness.verify.parties import DefinitionParty, HostParty, Party
from harness.verify.study import PairFinding, Study, study
from harness.verify.verdict import Role

Array = npt.NDArray[Any]

MOST_TRIES: Final = 300
NAME: Final = "minimal"


@dataclass(frozen=True, slots=True, eq=False)
class Minimal:
    """case: the smallest model, with one sample (or all, when no single one shows it). pair: what
    the parties make of it. left, right: what they gave. tried: candidates that ran. steps: how it
    became smaller, in words."""

    case: Case
    pair: PairFinding
    left: Side
    right: Side
    tried: int
    steps: tuple[str, ...]

    @property
    def operators(self) -> tuple[str, ...]:
        """Names of the operators that are left."""
        return operator_names(self.case.model.data)


@dataclass(slots=True, eq=False)
class _Search:
    """Runs candidates; counts them."""

    parties: tuple[Party, ...]
    wanted: PairFinding
    observe: Observer | None
    tried: int = 0
    steps: list[str] = field(default_factory=list)

    def shows(self, data: bytes, inputs: Array) -> Minimal | None:
        """The candidate, if both parties disagree on it for the same reason."""
        if self.tried >= MOST_TRIES:
            return None
        self.tried += 1
        if self.observe:
            self.observe("smaller models", self.tried, MOST_TRIES)
        try:
            case = make_candidate(NAME, data, inputs)
            found = study(case, self.parties, layers=False)
        except (CompilerError, HarnessError):
            return None
        pair = found.pair(*self.wanted.names)
        if pair is None or pair.meaning is not self.wanted.meaning or not pair.differing:
            return None
        return _minimal(found, pair)


def minimise(whole: Study, pair: PairFinding, observe: Observer | None = None) -> Minimal:
    """Cut the model of `whole` down while `pair` disagrees as it does there."""
    search = _Search(_parties(whole, pair), pair, observe)
    case = whole.case
    single = search.shows(case.model.data, case.inputs[pair.sample : pair.sample + 1])
    found = single or _minimal(whole, pair)
    if single is not None:
        search.steps.append(f"sample {pair.sample} of {len(case.inputs)} alone")
    found = _smallest_part(search, whole, pair) or found
    found = _narrowed(search, found)
    return replace(found, tried=search.tried, steps=tuple(search.steps))


def _minimal(found: Study, pair: PairFinding) -> Minimal:
    left, right = (found.side(name) for name in pair.names)
    return Minimal(found.case, pair, left, right, 0, ())


def _parties(whole: Study, pair: PairFinding) -> tuple[Party, ...]:
    """The two, and what judging them takes."""
    names = set(pair.names)
    judges = {Role.REFERENCE, Role.DEFINITION}
    if Role.BOARD in (pair.left.role, pair.right.role):
        judges.add(Role.VENDOR)
    present = [item.party for item in whole.attendance if item.answer is not None]
    return tuple(party for party in present if party.name in names or party.role in judges)


def _smallest_part(search: _Search, whole: Study, pair: PairFinding) -> Minimal | None:
    case = whole.case
    recorded = _recorded(case, pair)
    for cut in _ordered(case, _suspect(whole, pair)):
        values = recorded.get(cut.source)
        if values is None or any(tensor not in recorded for tensor in cut.frozen):
            continue
        inputs = values.reshape(1, *case.graph.tensors[cut.source].shape).astype(np.int8)
        found = search.shows(extract(case.model.data, cut, recorded), inputs)
        if found is not None:
            search.steps.append(_describe(case, cut))
            return found
    return None


def _recorded(case: Case, pair: PairFinding) -> dict[int, Array]:
    """Every tensor for the pair's sample, by number: as TFLite computes it, or as the definition
    does where neither party is TFLite. A difference may hang on the last bit."""
    traced = by_number(HostParty(KernelSet.REFERENCE).layers(case, pair.sample))
    if not (pair.left.role.is_host or pair.right.role.is_host):
        layers = DefinitionParty().layers(case, pair.sample)
        traced |= tensor_values(case.translation, case.graph, layers)
    return {**traced, case.graph.input.index: case.inputs[pair.sample]}


def _ordered(case: Case, suspect: int | None) -> Iterator[Cut]:
    """By size; among equals those first that end in the suspect tensor."""
    cuts = cuts_of(case.model.data)
    yield from sorted(cuts, key=lambda cut: (len(cut.operators), cut.output != suspect))


def _suspect(whole: Study, pair: PairFinding) -> int | None:
    """The tensor of the layer that is beyond its bound, else of the first that differs."""
    if pair.first_layer is not None and pair.left.role.is_host and pair.right.role.is_host:
        tensors = whole.case.graph.tensors.values()
        return next((t.index for t in tensors if t.name == pair.first_layer.tensor), None)
    hosts = [party.name for party in (pair.left, pair.right) if party.role.is_host]
    own = next((whole.own[name] for name in hosts if name in whole.own), ())
    layers: Sequence[int] = [item.difference.index for item in own if item.beyond]
    if not layers and pair.first_layer is not None:
        layers = [pair.first_layer.index]
    place = whole.case.places.get(layers[0]) if layers else None
    return None if place is None else place.tensor.index


def _describe(case: Case, cut: Cut) -> str:
    names = operator_names(case.model.data)
    kept = ", ".join(f"{place} ({names[place]})" for place in cut.operators)
    frozen = f"; {len(cut.frozen)} operands as constants" if cut.frozen else ""
    return f"{len(cut.operators)} of {len(names)} operators: {kept}{frozen}"


def _narrowed(search: _Search, found: Minimal) -> Minimal:
    for extent in Extent:
        size = size_of(found.case.model.data, extent)
        if size > 1:
            found, kept = _shrink(search, found, extent, size)
            if kept != size:
                search.steps.append(f"{kept} of {size} {extent.value}")
    return found


def _shrink(search: _Search, found: Minimal, extent: Extent, size: int) -> tuple[Minimal, int]:
    """Drop pieces from both ends, halving the piece; the model and how many are left."""
    piece = max(1, size // 2)
    while True:
        smaller = None
        for start, stop in ((0, size - piece), (piece, size)):
            if stop > start and smaller is None:
                smaller = _try(search, found, extent, start, stop)
        if smaller is not None:
            found, size = smaller, size - piece
            piece = min(piece, max(1, size // 2))
        elif piece == 1:
            return found, size
        else:
            piece //= 2
        if size == 1:
            return found, size


def _try(search: _Search, found: Minimal, extent: Extent, start: int, stop: int) -> Minimal | None:
    try:
        data, inputs = narrow(found.case.model.data, found.case.inputs, extent, start, stop)
    except ValueError:
        return None
    return search.shows(data, inputs)
