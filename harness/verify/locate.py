"""The first layer in which two parties differ, for one sample."""

from __future__ import annotations

from contextlib import closing

from compiler import AxonProgram
from harness.compare import LayerDifference, LayerPair, first_difference, layer_difference
from harness.device import Array
from harness.golden import TracedTensor
from harness.selection import open_device
from harness.verify.case import Case
from harness.verify.cutting import first_layer_by_cutting
from harness.verify.gaps import by_number
from harness.verify.layers import pair_programs, pair_traces, pair_with_host
from harness.verify.parties import BoardParty, HostParty, Party
from harness.verify.verdict import Role


def first_layer(case: Case, left: Party, right: Party, sample: int) -> LayerDifference | None:
    """The first layer that differs; None when none does or none can be seen.

    A board's layers cannot be seen, but against the definition its program can be cut short.
    Raises what the parties raise.
    """
    for board, other in ((left, right), (right, left)):
        if isinstance(board, BoardParty):
            wanted = other.role is Role.DEFINITION and not case.keeps_state
            return _by_cutting(case, board, sample) if wanted else None
    return first_difference(layer_difference(pair) for pair in _pairs(case, left, right, sample))


def _pairs(case: Case, left: Party, right: Party, sample: int) -> tuple[LayerPair, ...]:
    """Layers of both, the left side's first."""
    if isinstance(left, HostParty) and isinstance(right, HostParty):
        return pair_traces(left.layers(case, sample), right.layers(case, sample))
    if isinstance(left, HostParty):
        traced = by_number(left.layers(case, sample))
        return pair_with_host(
            case.program, case.places, _program_layers(right, case, sample), traced
        )
    return pair_programs(
        case.program, _program_layers(left, case, sample), _program_layers(right, case, sample)
    )


def _program_layers(party: Party, case: Case, sample: int) -> tuple[Array, ...]:
    layers = party.layers(case, sample) or ()
    return tuple(layer for layer in layers if not isinstance(layer, TracedTensor))


def _by_cutting(case: Case, board: BoardParty, sample: int) -> LayerDifference | None:
    maps = case.maps[sample : sample + 1]

    def run(program: AxonProgram) -> tuple[Array, ...]:
        with closing(open_device(board.selection, program)) as device:
            return device.infer(maps).outputs

    pair = first_layer_by_cutting(case.program, maps, run)
    return None if pair is None else layer_difference(pair)
