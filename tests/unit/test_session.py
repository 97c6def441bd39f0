"""The order of a session, the firmware that must answer, and the first failure that is kept."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from harness.errors import BoardError, ConfigError, FlashError, ToolchainError
from harness.firmware.host_build import HostFirmware
from harness.link import LinkOptions
from harness.session import Expected, Session, SessionPlan, Stage
from harness.transport import Transport
from harness.transport.faulty import FaultPlan, FaultyTransport
from harness.transport.memory import load_memory
from tests.support.echo_firmware import echo_firmware, echo_model, echo_outputs

INPUT, OUTPUT = 120, 10


def firmware(output_bytes: int = OUTPUT) -> HostFirmware:
    return echo_firmware(echo_model(INPUT, output_bytes), "memory")


@dataclass(slots=True)
class Desk:
    """A board on a desk: what is flashed is what answers, unless `flashes` says otherwise."""

    flashes: list[HostFirmware] = field(default_factory=lambda: [firmware()])
    steps: list[str] = field(default_factory=list)
    faults: FaultPlan = field(default_factory=lambda: FaultPlan(1))
    fail_at: str = ""
    _written: HostFirmware | None = None

    def plan(self) -> SessionPlan:
        return SessionPlan(
            board="desk",
            build=self.build,
            flash=self.flash,
            connect=self.connect,
            default_baud=115200,
            bauds=(1_000_000, 460_800),
            options=LinkOptions(seed=5, silence_s=2.0),
        )

    def build(self) -> Expected:
        self._step("build")
        return Expected(firmware().build_id, b"\xec" + bytes(15))

    def flash(self) -> None:
        self._step("flash")
        self._written = self.flashes.pop(0) if len(self.flashes) > 1 else self.flashes[0]

    def connect(self) -> Transport:
        self._step("connect")
        assert self._written is not None
        return FaultyTransport(load_memory(self._written.path, baud=115200), self.faults)

    def _step(self, name: str) -> None:
        self.steps.append(name)
        if name == self.fail_at:
            raise ToolchainError(f"{name} failed")


def test_the_whole_way() -> None:
    desk = Desk()
    with Session(desk.plan()) as session:
        assert session.link.baud == 1_000_000
        assert session.start().input_bytes == INPUT
        data = bytes(range(INPUT)) * 3
        got = [result.outputs for result in session.infer(data)]
        assert got == echo_outputs(data, INPUT, OUTPUT)
    assert desk.steps == ["build", "flash", "connect"]
    assert session.stage is Stage.CLOSED
    with pytest.raises(ConfigError, match="the session with desk is closed, not open"):
        session.infer(bytes(INPUT))


def test_old_firmware_is_flashed_again_once() -> None:
    desk = Desk(flashes=[firmware(11), firmware()])
    with Session(desk.plan()) as session:
        assert session.link.device.output_bytes == OUTPUT
    assert desk.steps == ["build", "flash", "connect", "flash", "connect"]


def test_old_firmware_that_stays() -> None:
    desk = Desk(flashes=[firmware(11)])
    session = Session(desk.plan())
    with pytest.raises(FlashError, match="not the one that was flashed, twice"):
        session.start()
    assert desk.steps.count("flash") == 2
    assert session.stage is Stage.BROKEN


@pytest.mark.parametrize("step", ["build", "flash", "connect"])
def test_the_first_failure_is_kept(step: str) -> None:
    desk = Desk(fail_at=step)
    session = Session(desk.plan())
    with pytest.raises(ToolchainError) as first:
        session.start()
    steps = list(desk.steps)
    desk.fail_at = ""
    for again in (session.start, lambda: session.infer(bytes(INPUT))):
        with pytest.raises(ToolchainError) as later:
            again()
        assert later.value is first.value
    session.close()
    assert desk.steps == steps
    assert session.stage is Stage.BROKEN


def test_a_lost_line_breaks_the_session() -> None:
    desk = Desk(faults=FaultPlan(1, unplug_after=60_000))
    session = Session(desk.plan())
    session.start()
    with pytest.raises(BoardError, match=r"unplugged.*are done") as first:
        session.infer(bytes(INPUT * 600))
    with pytest.raises(BoardError) as later:
        session.infer(bytes(INPUT))
    assert later.value is first.value
    session.close()


def test_release_leaves_the_line_open() -> None:
    session = Session(Desk().plan())
    session.start()
    line = session.release()
    assert session.stage is Stage.CLOSED
    while line.read(0.05):
        pass
    line.write(b"name%")
    assert line.read(1.0) == b"m-name-dut-[axonrig]\r\nm-ready\r\n"
    line.close()
