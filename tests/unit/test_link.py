"""Requests and runs against the host firmware on a simulated line."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from harness.errors import DeviceFault, ProtocolError, TransportTimeout
from harness.link import DeviceRestarted, Link, LinkOptions, RunOptions
from harness.protocol import DATA_MAX, LAP_SAMPLES, Kind, Place, Region
from harness.transport.memory import MemoryTransport, load_memory
from tests.support.echo_firmware import echo_firmware, echo_image, echo_model, echo_outputs

INPUT, OUTPUT, LAYERS = 200, 20, 4
LAYER_NS = 1000


@pytest.fixture
def line() -> MemoryTransport:
    path = echo_firmware(echo_model(INPUT, OUTPUT, LAYERS), "memory").path
    return load_memory(path, baud=115200, layer_ns=LAYER_NS)


@pytest.fixture
def link(line: MemoryTransport) -> Iterator[Link]:
    opened = Link(line, LinkOptions(seed=1), baud=115200)
    opened.hello()
    yield opened
    opened.close()


def test_hello_says_what_runs(link: Link) -> None:
    hello = link.device
    assert hello.text("board") == hello.text("core") == "host"
    assert hello.text("backend") == hello.text("model_name") == "echo"
    assert hello.text("time_source") == "virtual"
    assert (hello.input_bytes, hello.output_bytes, hello.layers) == (INPUT, OUTPUT, LAYERS)
    assert hello.program_version == 0x00010301
    assert hello.cycle_hz == 1_000_000_000
    assert hello.input_slots >= 2
    assert hello.result_slots >= 4
    assert hello.model_status == hello.fault_cause == 0
    assert hello.build_id == echo_firmware(echo_model(INPUT, OUTPUT, LAYERS), "memory").build_id


def test_laps_and_layers(link: Link) -> None:
    data = random.Random(1).randbytes(INPUT * 3)
    results = link.infer(data, RunOptions(laps=5, warmup=2, with_layers=True))
    assert [item.outputs for item in results] == echo_outputs(data, INPUT, OUTPUT)
    for result in results:
        assert result.laps == 5
        assert result.layer_cycles == (LAYER_NS,) * LAYERS
        assert result.cycles_min == result.cycles_median == result.cycles_max == LAYER_NS * LAYERS
    assert link.statistics().inferences == 3


def test_more_laps_than_samples(link: Link) -> None:
    result = link.infer(bytes(INPUT), RunOptions(laps=3 * LAP_SAMPLES + 1))[0]
    assert result.laps == 3 * LAP_SAMPLES + 1
    assert result.cycles_median == LAYER_NS * LAYERS


def test_several_runs_in_a_session(link: Link) -> None:
    for seed in range(4):
        data = random.Random(seed).randbytes(INPUT * (seed + 1))
        assert [r.outputs for r in link.infer(data)] == echo_outputs(data, INPUT, OUTPUT)


def test_inputs_must_be_whole(link: Link) -> None:
    for data in (b"", bytes(INPUT - 1), bytes(INPUT + 1)):
        with pytest.raises(ProtocolError, match="no whole number of inputs of 200 bytes"):
            link.infer(data)
    with pytest.raises(DeviceFault, match=r"LINK_ARGUMENT.*none of 1 inputs is done"):
        link.infer(bytes(INPUT), RunOptions(laps=0))


def test_read_back(link: Link) -> None:
    with pytest.raises(DeviceFault, match="LINK_RANGE"):
        link.read(Region.INPUT)
    data = random.Random(2).randbytes(INPUT * 2)
    results = link.infer(data)
    assert link.read(Region.INPUT) == data[INPUT:]
    assert link.read(Region.OUTPUT) == results[-1].outputs
    assert link.read(Region.OUTPUT, 5, 3) == results[-1].outputs[5:8]
    assert link.read(Region.MODEL) == echo_image(INPUT, OUTPUT, LAYERS)
    assert len(link.read(Region.ARENA)) == link.device.arena_bytes
    with pytest.raises(DeviceFault, match="LINK_RANGE"):
        link.read(Region.MODEL, 0, 21)


def test_echo_burst_is_whole(link: Link) -> None:
    assert link.echo(bytes(DATA_MAX)) == bytes(DATA_MAX)
    assert link.echo_burst() == 0


def test_upload_a_model(link: Link) -> None:
    image = echo_image(64, 300, 2)
    for place in (Place.RAM, Place.NON_VOLATILE):
        hello = link.upload(image, place)
        assert (hello.model_place, hello.input_bytes, hello.output_bytes) == (place, 64, 300)
        data = random.Random(3).randbytes(64 * 5)
        assert [r.outputs for r in link.infer(data)] == echo_outputs(data, 64, 300)
    assert link.select(Place.BUILT_IN).input_bytes == INPUT
    assert link.select(Place.NON_VOLATILE).input_bytes == 64


def test_a_result_of_several_frames(link: Link) -> None:
    link.upload(echo_image(64, 3 * DATA_MAX // 2, 2))
    data = random.Random(4).randbytes(64 * 3)
    assert [r.outputs for r in link.infer(data)] == echo_outputs(data, 64, 3 * DATA_MAX // 2)


@pytest.mark.parametrize(
    ("image", "name"),
    [
        (b"no model image at all", "IMAGE_MAGIC"),
        (b"short", "IMAGE_TOO_SHORT"),
        (bytes(5000), "SLOT_SIZE"),
        (echo_image(100_000, 1, 1), "ARENA_TOO_SMALL"),
    ],
)
def test_a_bad_model_is_refused_and_the_built_in_one_runs(
    link: Link, image: bytes, name: str
) -> None:
    with pytest.raises(DeviceFault, match=name):
        link.upload(image)
    assert link.select(Place.BUILT_IN).model_place == Place.BUILT_IN
    assert [r.outputs for r in link.infer(bytes(INPUT))] == echo_outputs(
        bytes(INPUT), INPUT, OUTPUT
    )


def test_results_too_large_for_the_build(link: Link) -> None:
    link.upload(echo_image(64, 5000, 2))
    with pytest.raises(DeviceFault, match="LINK_RESULTS"):
        link.infer(bytes(64))


def test_reset_ends_the_session(link: Link, line: MemoryTransport) -> None:
    link.reset()
    with pytest.raises(ProtocolError, match="no session is open"):
        link.infer(bytes(INPUT))
    link.hello()
    assert link.statistics().inferences == 0
    line.press_reset()
    with pytest.raises(DeviceRestarted, match="no longer knows this session"):
        link.statistics()


def test_highest_clean_rate(link: Link, line: MemoryTransport) -> None:
    assert link.raise_baud((115200, 1_000_000, 460_800, 9_000_000)) == 1_000_000
    before = line.now()
    link.infer(bytes(INPUT * 20))
    assert line.now() - before < 20 * INPUT * 10 / 115200
    link.hello()
    assert link.raise_baud((1_000_000,)) == 1_000_000


def test_a_rate_that_one_end_cannot_have(link: Link, line: MemoryTransport) -> None:
    """The host's end fails at the higher rates: the device comes back to the default by itself."""
    set_rate = line.library.axr_memory_host_baud
    line.library.axr_memory_host_baud = lambda baud: set_rate(baud if baud < 600_000 else 77)
    try:
        assert link.raise_baud((1_000_000, 921_600, 460_800)) == 460_800
    finally:
        line.library.axr_memory_host_baud = set_rate
    assert link.echo_burst() == 0


def test_a_new_host_at_the_default_rate_finds_a_device_left_at_another(
    link: Link, line: MemoryTransport
) -> None:
    assert link.raise_baud((1_000_000,)) == 1_000_000
    line.set_baud(115200)
    found = Link(line, LinkOptions(seed=9), baud=115200)
    assert found.hello().input_bytes == INPUT


def test_nobody_answers() -> None:
    class Silent:
        name = "silent"
        clock = 0.0

        def read(self, timeout_s: float) -> bytes:
            self.clock += timeout_s
            return b"m-ready\r\n\0\x05abcd\0"

        def write(self, data: bytes) -> None:
            assert data

        def set_baud(self, baud: int) -> bool:
            return baud > 0

        def now(self) -> float:
            return self.clock

        def fileno(self) -> None:
            return None

        def close(self) -> None:
            self.clock = 0.0

    with pytest.raises(TransportTimeout, match=r"silent: no answer to HELLO within 5 s"):
        Link(Silent()).hello()


def test_another_protocol_level(line: MemoryTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.link.PROTOCOL_LEVEL", 2)
    with pytest.raises(ProtocolError, match="speaks protocol level 1, this host level 2"):
        Link(line, LinkOptions(seed=1), baud=115200).hello()


def test_unknown_and_malformed_requests(link: Link) -> None:
    with pytest.raises(DeviceFault, match=r"frame of kind 99.*LINK_KIND"):
        link._ask(99)  # type: ignore[arg-type]  # a kind that does not exist
    with pytest.raises(DeviceFault, match=r"refused READ.*LINK_SIZE"):
        link._ask(Kind.READ, b"abc")


def test_transfer_overlaps_inference(line: MemoryTransport) -> None:
    """One inference takes as long as one transfer: together hardly more than either alone."""
    transfer_s = INPUT * 10 / 115200
    layer_ns = round(transfer_s / LAYERS / 2 * 1e9)
    overlapped = load_memory(
        echo_firmware(echo_model(INPUT, OUTPUT, LAYERS), "memory").path,
        baud=115200,
        layer_ns=layer_ns,
    )
    assert overlapped.name == line.name
    opened = Link(overlapped, LinkOptions(seed=1), baud=115200)
    opened.hello()
    before = overlapped.now()
    opened.infer(bytes(INPUT * 50))
    assert overlapped.now() - before < 1.35 * 50 * transfer_s
