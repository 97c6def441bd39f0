"""Measuring a latency in rounds, interleaved with a baseline image when there is one.

A round is one start of the firmware and a number of inputs. Values within a round hang together
(the same start, the same temperature), so the gates take rounds, not inferences, as independent.
The order is A B B A A B B A ...: a steady drift then touches both sides alike.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

from harness.board import BoardKind, BoardSpec
from harness.device import Array
from harness.errors import ConfigError
from harness.link import RunOptions
from harness.nightly.images import KeptImage, open_image
from harness.stream import InputResult

CANDIDATE, BASELINE = "candidate", "baseline"
AGAIN = "again-"
"""Begins the names of the series of a confirming re-run."""


@dataclass(frozen=True, slots=True)
class Reach:
    """A board and how it is reached, see `BoardEntry`."""

    board: BoardSpec
    port: str | None = None
    serial_number: str | None = None

    @property
    def source(self) -> str:
        """The label of a measured latency. `host` is this machine and says nothing of a board."""
        return "host" if self.board.kind is BoardKind.PROCESS else "board"


@dataclass(frozen=True, slots=True)
class Rounds:
    """Latencies in us by side and round, [rounds][inputs]; baseline is empty without one.

    baud, clock_hz: of the link and the counter, for the conditions of the result.
    """

    candidate: tuple[tuple[float, ...], ...]
    baseline: tuple[tuple[float, ...], ...]
    baud: int
    clock_hz: int


def order(rounds: int, *, with_baseline: bool) -> tuple[str, ...]:
    """Which side each round measures. rounds: of each side, even."""
    if rounds < 2 or rounds % 2:
        raise ConfigError(f"{rounds} rounds; expected an even number of at least 2")
    if not with_baseline:
        return (CANDIDATE,) * rounds
    return (CANDIDATE, BASELINE, BASELINE, CANDIDATE) * (rounds // 2)


def measure(
    reach: Reach, candidate: KeptImage, baseline: KeptImage | None, inputs: Array, rounds: int
) -> Rounds:
    """Measure `rounds` rounds of each side.

    inputs: int8 [N, C, H, W] in the program's layout. Raises BoardError or ToolchainError.
    """
    data = inputs.transpose(0, 2, 3, 1).tobytes()
    found: dict[str, list[tuple[float, ...]]] = {CANDIDATE: [], BASELINE: []}
    baud = clock_hz = 0
    for side in order(rounds, with_baseline=baseline is not None):
        image = candidate if side == CANDIDATE or baseline is None else baseline
        session = open_image(image, reach.board, reach.port, reach.serial_number)
        with closing(session):
            baud, clock_hz = session.link.baud, session.link.device.cycle_hz
            found[side].append(_round(session.infer(data, RunOptions(warmup=1)), clock_hz))
    return Rounds(tuple(found[CANDIDATE]), tuple(found[BASELINE]), baud, clock_hz)


def _round(results: list[InputResult], clock_hz: int) -> tuple[float, ...]:
    return tuple(result.cycles_median * 1e6 / clock_hz for result in results)
