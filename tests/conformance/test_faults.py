"""A bad line: every result exactly once and as without faults, or an error that says what is done.

The firmware runs in this process on a virtual clock, so each seed is one and the same story for
ever: data, line rate, ring size, faults and their times.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from harness.errors import BoardError, DeviceFault, ExitCode
from harness.link import Link, LinkOptions, RunOptions
from harness.stream import InputResult
from harness.transport.faulty import FaultPlan, FaultyTransport
from harness.transport.memory import load_memory
from tests.support.echo_firmware import echo_firmware, echo_model, echo_outputs

RUNS = 600
INPUT = 300
OUTPUT = 12


@dataclass(frozen=True, slots=True)
class Story:
    data: bytes
    plan: FaultPlan
    options: RunOptions
    baud: int
    ring_bytes: int
    layer_ns: int
    ending: str


def story(seed: int) -> Story:
    chooser = random.Random(seed)
    count = chooser.randint(1, 40)
    level = chooser.choice([1e-4, 5e-4, 2e-3])
    ending = chooser.choice(["", "", "unplug", "reset"])

    def often() -> float:
        return level if chooser.random() < 0.6 else 0.0

    plan = FaultPlan(
        seed,
        drop=often(),
        flip=often(),
        duplicate=often(),
        split=often(),
        stall=often() / 4,
        unplug_after=chooser.randint(100, 2 * INPUT * count) if ending == "unplug" else None,
        reset_after=chooser.randint(300, 2 * INPUT * count) if ending == "reset" else None,
    )
    return Story(
        data=chooser.randbytes(INPUT * count),
        plan=plan,
        options=RunOptions(laps=chooser.choice([1, 3]), with_layers=chooser.random() < 0.3),
        baud=chooser.choice([0, 115200, 1000000]),
        ring_bytes=chooser.choice([512, 4096, 16384]),
        layer_ns=chooser.choice([0, 100_000, 5_000_000]),
        ending=ending,
    )


def tell(seed: int, told: Story) -> tuple[list[InputResult], BoardError | None, FaultyTransport]:
    firmware = echo_firmware(echo_model(INPUT, OUTPUT), "memory")
    line = load_memory(
        firmware.path, baud=told.baud, ring_bytes=told.ring_bytes, layer_ns=told.layer_ns
    )
    bad = FaultyTransport(line, told.plan, line.press_reset)
    link = Link(bad, LinkOptions(seed=seed), baud=told.baud or 1000000)
    seen: list[InputResult] = []
    try:
        link.hello()
        link.infer(told.data, told.options, seen.append)
    except BoardError as error:
        return seen, error, bad
    return seen, None, bad


def check(told: Story, seen: list[InputResult], error: BoardError | None) -> None:
    """Exactly once, in order, equal; and the sentence names the inputs that are done."""
    expected = echo_outputs(told.data, INPUT, OUTPUT)
    assert [result.number for result in seen] == list(range(len(seen)))
    assert [result.outputs for result in seen] == expected[: len(seen)]
    if error is None:
        assert len(seen) == len(expected)
        return
    assert error.exit_code == ExitCode.INFRASTRUCTURE
    if len(seen) > 1:
        assert f"inputs 0 to {len(seen) - 1} of {len(expected)} are done" in str(error)


def test_seeded_faults(record_property: Callable[[str, object], None]) -> None:
    outcomes: Counter[str] = Counter()
    events: Counter[str] = Counter()
    for seed in range(RUNS):
        told = story(seed)
        seen, error, line = tell(seed, told)
        check(told, seen, error)
        outcomes[type(error).__name__ if error else "complete"] += 1
        outcomes["complete after a restart"] += bool(line.resets and error is None)
        events.update(line.counts)
    record_property("outcomes", dict(outcomes))
    record_property("events", dict(events))
    assert min(events.values()) > RUNS / 10, "every kind of fault must have happened"
    assert outcomes["complete"] > RUNS / 2
    assert outcomes["complete after a restart"] > RUNS / 20


def test_a_story_is_the_same_every_time() -> None:
    told = story(11)
    first, second = tell(11, told), tell(11, told)
    assert first[0] == second[0]
    assert str(first[1]) == str(second[1])
    assert first[2].counts == second[2].counts
    assert first[2].now() == second[2].now()


def test_without_faults_nothing_is_sent_twice() -> None:
    firmware = echo_firmware(echo_model(INPUT, OUTPUT), "memory")
    link = Link(load_memory(firmware.path, baud=1000000), LinkOptions(seed=1), baud=1000000)
    link.hello()
    data = random.Random(2).randbytes(INPUT * 50)
    assert [item.outputs for item in link.infer(data)] == echo_outputs(data, INPUT, OUTPUT)
    counts = link.statistics()
    assert (counts.crc_errors, counts.frame_errors, counts.overruns) == (0, 0, 0)
    assert (counts.duplicates, counts.gaps, counts.inferences) == (0, 0, 50)
    assert link.counts.repeats == 0


def test_a_model_with_state_does_not_go_on_after_a_restart() -> None:
    firmware = echo_firmware(echo_model(INPUT, OUTPUT, state=True), "memory")
    line = load_memory(firmware.path, baud=1000000)
    bad = FaultyTransport(line, FaultPlan(1, reset_after=9000), line.press_reset)
    link = Link(bad, LinkOptions(seed=1), baud=1000000)
    link.hello()
    with pytest.raises(DeviceFault, match=r"no longer knows this session.*are done"):
        link.infer(bytes(INPUT * 40), RunOptions(stateful=True))


def test_too_small_a_ring_loses_bytes_and_nothing_else() -> None:
    """A device that reads rarely: the line overruns its ring, and the results are still right."""
    firmware = echo_firmware(echo_model(INPUT, OUTPUT), "memory")
    line = load_memory(firmware.path, baud=1000000, ring_bytes=512, layer_ns=20_000_000)
    bad = FaultyTransport(line, FaultPlan(3, duplicate=5e-3))
    link = Link(bad, LinkOptions(seed=1, silence_s=20.0), baud=1000000)
    link.hello()
    data = random.Random(3).randbytes(INPUT * 20)
    assert [item.outputs for item in link.infer(data)] == echo_outputs(data, INPUT, OUTPUT)
