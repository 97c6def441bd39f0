"""What a disagreement means: every combination of the facts."""

from __future__ import annotations

from itertools import product

import pytest

from harness.verify.verdict import Again, Gap, Leg, Meaning, Role, heaviest, judge_leg, judge_pair

HOSTS = (Role.REFERENCE, Role.OPTIMISED)
VENDOR_MEANINGS = (Meaning.EQUAL, Meaning.KERNELS, Meaning.VENDORS, Meaning.VENDORS_OR_OURS)

# (role, gap, gap of TFLite's reference kernels) -> meaning, for a board that repeats its results
# and is unlike the vendor's simulator.
TABLE: dict[tuple[Role, Gap, Gap], Meaning] = {
    **{(role, Gap.NONE, gap): Meaning.EQUAL for role, gap in product(Role, Gap)},
    **{(Role.DEFINITION, gap, ref): Meaning.EQUAL for gap, ref in product(Gap, Gap)},
    **{(Role.ENGINE, gap, ref): Meaning.ENGINE for gap in list(Gap)[1:] for ref in Gap},
    **{(Role.FIRMWARE, gap, ref): Meaning.FIRMWARE for gap in list(Gap)[1:] for ref in Gap},
    **{
        (role, Gap.KNOWN, ref): Meaning.KERNELS
        for role in (*HOSTS, Role.VENDOR, Role.BOARD)
        for ref in Gap
    },
    **{(Role.BOARD, Gap.BEYOND, ref): Meaning.SILICON for ref in Gap},
    (Role.VENDOR, Gap.BEYOND, Gap.NONE): Meaning.VENDORS,
    (Role.VENDOR, Gap.BEYOND, Gap.KNOWN): Meaning.VENDORS,
    (Role.VENDOR, Gap.BEYOND, Gap.BEYOND): Meaning.VENDORS_OR_OURS,
    (Role.OPTIMISED, Gap.BEYOND, Gap.NONE): Meaning.KERNELS,
    (Role.OPTIMISED, Gap.BEYOND, Gap.KNOWN): Meaning.KERNELS,
    (Role.OPTIMISED, Gap.BEYOND, Gap.BEYOND): Meaning.COMPILER,
    # The reference kernels' own gap is the third fact, so the other two cannot happen.
    (Role.REFERENCE, Gap.BEYOND, Gap.BEYOND): Meaning.COMPILER,
}
IMPOSSIBLE = {
    (Role.REFERENCE, Gap.BEYOND, Gap.NONE),
    (Role.REFERENCE, Gap.BEYOND, Gap.KNOWN),
}


def test_the_table_has_every_combination() -> None:
    assert set(TABLE) | IMPOSSIBLE == set(product(Role, Gap, Gap))


@pytest.mark.parametrize("facts", list(TABLE), ids=str)
def test_a_partys_gap(facts: tuple[Role, Gap, Gap]) -> None:
    role, gap, reference = facts
    for again, like_vendor, vendor in product(Again, (True, False), VENDOR_MEANINGS):
        expected = TABLE[facts]
        if role in (Role.FIRMWARE, Role.BOARD) and gap is not Gap.NONE and again is Again.OTHER:
            expected = Meaning.TRANSPORT
        elif role in (Role.FIRMWARE, Role.BOARD) and gap is not Gap.NONE and again is Again.FAILED:
            expected = Meaning.NOT_REPEATED
        elif expected is Meaning.SILICON and like_vendor and vendor is not Meaning.EQUAL:
            expected = vendor  # the board does what the vendor's simulator does
        assert judge_leg(Leg(role, gap, again, like_vendor), reference, vendor) is expected


@pytest.mark.parametrize(("left", "right"), list(product(Role, Role)))
def test_a_pair(left: Role, right: Role) -> None:
    for a, b in product(Meaning, Meaning):
        worse = max((a, b), key=list(Meaning).index)
        with_definition = Role.DEFINITION in (left, right)
        hosts = left in HOSTS and right in HOSTS
        apart = Meaning.KERNELS if hosts and not with_definition else worse
        assert judge_pair(left, right, (a, b), equal=False) is apart
        # A layer inside may be wrong although the outputs are equal.
        alike = worse if with_definition else Meaning.EQUAL
        assert judge_pair(left, right, (a, b), equal=True) is alike


def test_meanings_have_an_order_and_words() -> None:
    assert heaviest([]) is Meaning.EQUAL
    assert heaviest([Meaning.ENGINE, Meaning.COMPILER, Meaning.KERNELS]) is Meaning.COMPILER
    assert [m for m in Meaning if m.explained] == [Meaning.EQUAL, Meaning.KERNELS]
    assert len({m.text for m in Meaning}) == len(Meaning)
