"""What a disagreement means. Pure functions over a few facts; the tests go through every case.

Everything is measured against the definition, the compiler's reference executor: each party has a
gap to it, and what a party's gap means depends on who the party is. Two parties that are not the
definition disagree for the weightier of their two reasons.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final


class Role(Enum):
    """Who a party is."""

    REFERENCE = "host TFLite, reference kernels"
    OPTIMISED = "host TFLite, optimised kernels"
    DEFINITION = "reference executor"
    ENGINE = "native engine"
    VENDOR = "vendor's simulator"
    FIRMWARE = "firmware on this machine"
    BOARD = "board"

    @property
    def is_host(self) -> bool:
        """Whether it is TFLite."""
        return self in (Role.REFERENCE, Role.OPTIMISED)


class Gap(Enum):
    """How a party differs from the definition."""

    NONE = "none"
    KNOWN = "known"
    """Every difference is within what is known of kernels and approximations."""
    BEYOND = "beyond"


class Meaning(Enum):
    """What it comes to, the lightest first: what is upstream explains what follows from it."""

    EQUAL = "equal"
    KERNELS = "kernel difference"
    NOT_REPEATED = "not repeated"
    TRANSPORT = "transport"
    SILICON = "silicon or transport"
    FIRMWARE = "firmware fault"
    ENGINE = "simulator fault"
    VENDORS = "vendor differs: theirs"
    VENDORS_OR_OURS = "vendor differs: ours"
    COMPILER = "compiler fault"

    @property
    def explained(self) -> bool:
        """Whether nobody has to act."""
        return self in (Meaning.EQUAL, Meaning.KERNELS)

    @property
    def text(self) -> str:
        """One sentence: what it means and what to do."""
        return _TEXTS[self]


_TEXTS: Final = {
    Meaning.EQUAL: "Every output value is equal.",
    Meaning.KERNELS: (
        "The arithmetic differs within known bounds (rounding, bits of multipliers and "
        "activations); nothing is wrong. Judge the model by its accuracy."
    ),
    Meaning.NOT_REPEATED: (
        "The board gave other results than the definition, and failed when the same samples were "
        "to run again, so nobody knows whether it would repeat them. Mend what made it fail and "
        "verify again."
    ),
    Meaning.TRANSPORT: (
        "The same samples gave other results the second time: look at cable, power supply and "
        "link before anything else."
    ),
    Meaning.SILICON: (
        "The board repeats its results, and they are neither ours nor those of the vendor's "
        "simulator: silicon, or the firmware built for this board. Reduce it with --minimise and "
        "report it."
    ),
    Meaning.FIRMWARE: (
        "Our firmware computes something else than its definition, without any silicon involved: "
        "a fault of axonrig, please report it."
    ),
    Meaning.ENGINE: (
        "The native engine computes something else than its definition: a fault of axonrig, "
        "please report it. AXONRIG_ENGINE=reference avoids it."
    ),
    Meaning.VENDORS: (
        "The vendor's simulator differs from our definition, and host TFLite sides with us: most "
        "likely a fault of the vendor's code generator or simulator. Reduce it with --minimise "
        "for a support ticket."
    ),
    Meaning.VENDORS_OR_OURS: (
        "The vendor's simulator differs from our definition, and host TFLite does not side with "
        "us: most likely a fault of axonrig. Reduce it with --minimise and report it."
    ),
    Meaning.COMPILER: (
        "A layer of the program computes something else than TFLite on the same operands, by more "
        "than kernels differ: a fault of axonrig's compiler, or damage to the program. Reduce it "
        "with --minimise and report it."
    ),
}

_WEIGHT: Final = {meaning: weight for weight, meaning in enumerate(Meaning)}


class Again(Enum):
    """What became of a board's samples that differ when they were run a second time."""

    SAME = "same"
    OTHER = "other"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Leg:
    """A party against the definition.

    again: SAME where nobody tried. like_vendor: equal to what the vendor's simulator computes,
    which ran as well.
    """

    role: Role
    gap: Gap
    again: Again = Again.SAME
    like_vendor: bool = False


def judge_leg(leg: Leg, reference: Gap, vendor: Meaning = Meaning.EQUAL) -> Meaning:
    """What a party's gap to the definition means.

    reference: the gap of TFLite's reference kernels. vendor: the meaning of the vendor's gap.
    """
    if leg.gap is Gap.NONE or leg.role is Role.DEFINITION:
        return Meaning.EQUAL
    if leg.role is Role.ENGINE:
        return Meaning.ENGINE
    if leg.role in (Role.FIRMWARE, Role.BOARD) and leg.again is not Again.SAME:
        return Meaning.TRANSPORT if leg.again is Again.OTHER else Meaning.NOT_REPEATED
    if leg.role is Role.FIRMWARE:
        return Meaning.FIRMWARE
    if leg.gap is Gap.KNOWN:
        return Meaning.KERNELS
    if leg.role is Role.BOARD:
        return vendor if leg.like_vendor and vendor is not Meaning.EQUAL else Meaning.SILICON
    if leg.role is Role.VENDOR:
        return Meaning.VENDORS_OR_OURS if reference is Gap.BEYOND else Meaning.VENDORS
    # Host TFLite. Its optimised kernels accuse nobody whom its reference kernels clear.
    return Meaning.COMPILER if reference is Gap.BEYOND else Meaning.KERNELS


def judge_pair(
    left: Role, right: Role, meanings: tuple[Meaning, Meaning], *, equal: bool
) -> Meaning:
    """What it means that two parties differ. meanings: of their gaps to the definition."""
    if Role.DEFINITION in (left, right):
        return heaviest(meanings)
    if equal:
        return Meaning.EQUAL
    if left.is_host and right.is_host:
        return Meaning.KERNELS
    return heaviest(meanings)


def heaviest(meanings: Iterable[Meaning]) -> Meaning:
    """The weightiest of some; EQUAL for none."""
    return max(meanings, key=_WEIGHT.__getitem__, default=Meaning.EQUAL)
