"""Every party on the same samples, compared pair by pair, and judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Final

from compiler import CompilerError
from harness.compare import Comparison, LayerDifference, Side, compare
from harness.errors import ExitCode, HarnessError
from harness.golden import KernelSet
from harness.progress import Observer
from harness.verify.case import Case
from harness.verify.gaps import Repeat, hidden_sample, meanings_of, own_layers, repeats_of
from harness.verify.layers import OwnDifference
from harness.verify.locate import first_layer
from harness.verify.parties import (
    Answer,
    DefinitionParty,
    EngineParty,
    HostParty,
    Party,
    VendorParty,
)
from harness.verify.verdict import Meaning, Role, heaviest, judge_pair

STANDARD_PARTIES: Final[tuple[Party, ...]] = (
    HostParty(KernelSet.REFERENCE),
    HostParty(KernelSet.OPTIMISED),
    DefinitionParty(),
    EngineParty(),
    VendorParty(),
)


@dataclass(frozen=True, slots=True, eq=False)
class Attendance:
    """A party and what came of it: an answer, or why it is not there, or how it failed.

    exit_code: of the failure, else OK.
    """

    party: Party
    answer: Answer | None = None
    reason: str = ""
    exit_code: ExitCode = ExitCode.OK

    @property
    def state(self) -> str:
        """ "ran", "not there" or "failed"."""
        if self.answer is not None:
            return "ran"
        return "failed" if self.exit_code else "not there"


@dataclass(frozen=True, slots=True, eq=False)
class PairFinding:
    """Two parties. first_layer: on the sample in which the outputs differ most, None when no layer
    differs or none can be seen; search_failure: why the search for it broke off, else empty."""

    left: Party
    right: Party
    comparison: Comparison
    meaning: Meaning
    sample: int = 0
    first_layer: LayerDifference | None = None
    search_failure: str = ""

    @property
    def names(self) -> tuple[str, str]:
        """Of both."""
        return self.left.name, self.right.name

    @property
    def other_class(self) -> int:
        """Samples with two classes."""
        return self.comparison.samples - round(self.comparison.top1 * self.comparison.samples)

    @property
    def differing(self) -> int:
        """Output values that differ."""
        return sum(count for step, count in self.comparison.histogram if step)

    @property
    def values(self) -> int:
        """Output values in all."""
        return sum(count for _, count in self.comparison.histogram)


@dataclass(frozen=True, slots=True, eq=False)
class Study:
    """own: layers one at a time against host TFLite, by party, each at its worst sample. repeats:
    what boards gave for the samples that differ, run again, by party."""

    case: Case
    attendance: tuple[Attendance, ...]
    pairs: tuple[PairFinding, ...]
    own: Mapping[str, tuple[OwnDifference, ...]]
    repeats: Mapping[str, Repeat]

    @property
    def meaning(self) -> Meaning:
        """The weightiest of all pairs."""
        return heaviest(pair.meaning for pair in self.pairs)

    @property
    def subject(self) -> PairFinding | None:
        """The pair that the verdict is about; one with the definition where there is one."""
        found = [pair for pair in self.pairs if pair.meaning is self.meaning]
        ours = [p for p in found if Role.DEFINITION in (p.left.role, p.right.role)]
        return next(iter(ours or found), None) if self.meaning is not Meaning.EQUAL else None

    @property
    def exit_code(self) -> ExitCode:
        """1 for a disagreement that is not explained, else the first failure's."""
        if not self.meaning.explained:
            return ExitCode.NO
        return next((item.exit_code for item in self.attendance if item.exit_code), ExitCode.OK)

    def side(self, name: str) -> Side:
        """The outputs of a party that ran."""
        return next(
            item.answer.side
            for item in self.attendance
            if item.party.name == name and item.answer is not None
        )

    def pair(self, left: str, right: str) -> PairFinding | None:
        """The pair with these names, in either order; None when one of them did not run."""
        return next((pair for pair in self.pairs if set(pair.names) == {left, right}), None)


def study(
    case: Case, parties: Sequence[Party], observe: Observer | None = None, *, layers: bool = True
) -> Study:
    """Run every party that is there and judge.

    parties: host parties first, TFLite's reference kernels and the definition among them. layers:
    also find the first layer that differs for each pair. Raises HarnessError or CompilerError when
    one of those two fails; the failure of another one is an `Attendance`.
    """
    attendance = tuple(_attend(party, case, observe) for party in parties)
    present = [(item.party, item.answer) for item in attendance if item.answer is not None]
    own = own_layers(case, present)
    repeats = repeats_of(case, present)
    meanings = meanings_of(case, present, own, repeats)
    pairs = []
    for (left, a), (right, b) in combinations(present, 2):
        comparison = compare(a.side, b.side, case.labels)
        both = meanings[left.name], meanings[right.name]
        meaning = judge_pair(left.role, right.role, both, equal=not comparison.max_lsb)
        pair = PairFinding(left, right, comparison, meaning)
        pairs.append(_located(case, pair, observe) if layers else pair)
    return Study(case, attendance, tuple(pairs), own, repeats)


def _located(case: Case, pair: PairFinding, observe: Observer | None) -> PairFinding:
    """Find the first layer, on the sample whose outputs differ most."""
    if pair.meaning is Meaning.EQUAL:
        return pair
    if observe:
        observe(f"layers {pair.left.name}, {pair.right.name}", 0, 1)
    sample = _telling_sample(case, pair)
    try:
        found = first_layer(case, pair.left, pair.right, sample)
    except (HarnessError, CompilerError) as error:
        # What it computed stands; where it differs first stays unknown.
        return replace(pair, sample=sample, search_failure=str(error))
    return replace(pair, sample=sample, first_layer=found)


def _telling_sample(case: Case, pair: PairFinding) -> int:
    """The one that differs most; where all outputs are equal, one in which a layer differs."""
    if pair.comparison.worst:
        return pair.comparison.worst[0].index
    engines = [party for party in (pair.left, pair.right) if isinstance(party, EngineParty)]
    return (hidden_sample(case, engines[0]) or 0) if engines else 0


def _attend(party: Party, case: Case, observe: Observer | None) -> Attendance:
    reason = party.absence(case)
    if reason is not None:
        return Attendance(party, reason=reason)
    progress = None if observe is None else lambda done, total: observe(party.name, done, total)
    try:
        return Attendance(party, party.run(case, progress))
    except HarnessError as error:
        if party.role in (Role.REFERENCE, Role.DEFINITION):
            raise
        return Attendance(party, reason=str(error), exit_code=error.exit_code)
    except CompilerError as error:
        if party.role in (Role.REFERENCE, Role.DEFINITION):
            raise
        return Attendance(party, reason=str(error), exit_code=ExitCode.NO)
