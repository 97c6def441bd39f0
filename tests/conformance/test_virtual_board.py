"""The emulated nRF54L15 runs real images: exact results, repeatable counts, faults by name."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import unicorn

from compiler import CompileOptions, build_image, compile_model, interpret
from harness.board import load_boards
from harness.errors import BoardError, ConfigError, DeviceFault
from harness.firmware.build import FirmwareImage, build_firmware, firmware_model
from harness.firmware.image import load_elf
from harness.firmware.source import FirmwareModel
from harness.link import Link, RunOptions
from harness.model_file import DEFAULT_MODEL
from harness.protocol import Place
from harness.virtual.block_counter import PythonCounter, count_blocks
from harness.virtual.board import VirtualBoard, open_virtual_board
from harness.virtual.chip import BURST_BYTES, RESET_REQUEST, UnmodelledAccess
from harness.virtual.register_map import read_register_map
from tests.support.golden import golden_parameters, golden_run
from tests.support.small_elf import small_elf

UNDEFINED = bytes.fromhex("00de")  # udf #0
READ_SAADC = bytes.fromhex("45f20000c5f20d000068")  # movw, movt r0, 0x500D5000; ldr r0, [r0]
READ_LAST_WORD = bytes.fromhex("002004380068")  # movs r0, #0; subs r0, #4; ldr r0, [r0]
WRITE_ZERO_PAGE = bytes.fromhex("00200060")  # movs r0, #0; str r0, [r0]
BUS_FAULT, USAGE_FAULT = 3, 4

BOARDS = load_boards()
CHIP, EMULATED = BOARDS["nrf54l15dk"], BOARDS["virt-nrf54l15"]
MEMORY = CHIP.memory
SLOT_BYTES, ARENA_BYTES = 96 * 1024, 80_000

Opener = Callable[[FirmwareImage], VirtualBoard]


@pytest.fixture(scope="module")
def digits() -> FirmwareImage:
    program = compile_model(DEFAULT_MODEL.read_bytes(), CompileOptions(name="digits"))
    return build_firmware(CHIP, firmware_model(program, profile="ic01", memory=MEMORY))


@pytest.fixture(scope="module")
def empty_firmware() -> FirmwareImage:
    """No model inside, room for all that are uploaded."""
    model = FirmwareModel(
        image=b"",
        arena_bytes=ARENA_BYTES,
        input_bytes=14_000,
        output_bytes=1_000,
        layers=40,
        ram_slot_bytes=SLOT_BYTES,
    )
    return build_firmware(CHIP, model)


@pytest.fixture
def opened() -> Iterator[Opener]:
    boards: list[VirtualBoard] = []

    def open_image(image: FirmwareImage) -> VirtualBoard:
        boards.append(open_virtual_board(EMULATED, CHIP, image.elf))
        return boards[-1]

    yield open_image
    for board in boards:
        board.close()


def connected(board: VirtualBoard) -> Link:
    link = Link(board)
    link.hello()
    return link


def run_for_a_while(board: VirtualBoard) -> None:
    for _ in range(100):
        board.read(0.05)


def patch(board: VirtualBoard, image: FirmwareImage, function: str, code: bytes) -> int:
    """Put `code` where a function starts; returns its address."""
    address = load_elf(image.elf).symbols[function] & ~1
    board.machine.poke(address, code)
    return address


def test_hello_names_the_image_that_was_built(opened: Opener, digits: FirmwareImage) -> None:
    hello = connected(opened(digits)).device
    assert hello.build_id == digits.build_id
    assert hello.model_hash == digits.model_hash
    assert hello.board.rstrip(b"\0") == b"nrf54l15dk"
    assert hello.core_hz == hello.cycle_hz == 128_000_000
    assert hello.fault_cause == 0


def test_results_are_exact_and_counts_repeat(opened: Opener, digits: FirmwareImage) -> None:
    program = compile_model(DEFAULT_MODEL.read_bytes(), CompileOptions(name="digits"))
    shape = (2, *program.input_dims.shape)
    inputs = np.random.default_rng(7).integers(-128, 128, shape, dtype=np.int8)
    expected = interpret(program, inputs).outputs[0]
    counts = []
    for _ in range(2):
        link = connected(opened(digits))
        results = link.infer(channels_last(inputs), RunOptions(laps=2, with_layers=True))
        outputs = b"".join(result.outputs for result in results)
        assert outputs == channels_last(expected)
        counts.append([(r.cycles_min, r.cycles_max, r.layer_cycles) for r in results])
        assert all(len(r.layer_cycles) == len(program.layers) for r in results)
        assert link.statistics().overruns == 0
    assert counts[0] == counts[1]


@pytest.mark.parametrize("name", golden_parameters())
def test_recorded_programs_are_exact(
    opened: Opener, empty_firmware: FirmwareImage, name: str
) -> None:
    run = golden_run(name)
    image = build_image(run.program)
    if len(image.data) <= SLOT_BYTES and image.arena_bytes <= ARENA_BYTES:
        link = connected(opened(empty_firmware))
        assert link.upload(image.data).model_hash == image.source_sha256
    else:
        built = build_firmware(CHIP, firmware_model(run.program, memory=MEMORY))
        link = connected(opened(built))
        assert link.device.model_hash == image.source_sha256
    results = link.infer(channels_last(run.inputs))
    outputs = [
        per_input(array, len(results)) for array in interpret(run.program, run.inputs).outputs
    ]
    for vector, result in enumerate(results):
        assert result.outputs == b"".join(channels_last(array[vector]) for array in outputs)


def per_input(array: npt.NDArray[np.integer], inputs: int) -> npt.NDArray[np.integer]:
    """[inputs, batch, C, H, W]: a program may make several maps of one."""
    return array.reshape(inputs, -1, *array.shape[1:])


def channels_last(arrays: npt.NDArray[np.integer]) -> bytes:
    """[..., C, H, W] in the firmware's order."""
    return np.ascontiguousarray(np.moveaxis(arrays, -3, -1)).tobytes()


def test_reception_survives_many_turns_of_the_ring(opened: Opener, digits: FirmwareImage) -> None:
    link = connected(opened(digits))
    assert link.raise_baud((1_000_000, 921_600, 1_500_000)) == 1_000_000
    assert MEMORY is not None
    for _ in range(12):
        assert link.echo_burst() == 0
    statistics = link.statistics()
    assert statistics.received_bytes > 5 * 2 * MEMORY.receive_bytes
    assert (statistics.overruns, statistics.line_errors, statistics.crc_errors) == (0, 0, 0)


def test_text_commands(opened: Opener, digits: FirmwareImage) -> None:
    board = opened(digits)
    board.write(b"profile%")
    text = b""
    while text.count(b"m-ready") < 2:
        piece = board.read(2.0)
        assert piece
        text += piece
    assert b"ic01" in text


def test_reset_is_reported(opened: Opener, digits: FirmwareImage) -> None:
    link = connected(opened(digits))
    link.reset()
    hello = link.hello()
    assert hello.reset_reason == RESET_REQUEST
    assert hello.fault_cause == 0


@pytest.mark.parametrize(
    ("code", "cause", "offset", "address"),
    [(UNDEFINED, USAGE_FAULT, 0, 0), (READ_LAST_WORD, BUS_FAULT, 4, 0xFFFFFFFC)],
    ids=["undefined instruction", "read from nowhere"],
)
def test_faults_are_reported_with_place_and_cause(
    opened: Opener, digits: FirmwareImage, code: bytes, cause: int, offset: int, address: int
) -> None:
    board = opened(digits)
    link = connected(board)
    place = patch(board, digits, "axr_port_set_baud", code)
    with contextlib.suppress(BoardError):
        link.raise_baud((230_400,))
    hello = link.hello()
    assert (hello.fault_cause, hello.fault_pc) == (cause, place + offset)
    assert hello.fault_address == address
    assert hello.reset_reason == RESET_REQUEST
    assert link.hello().fault_cause in (0, cause)


def test_unmodelled_register_stops_the_board_by_name(opened: Opener, digits: FirmwareImage) -> None:
    board = opened(digits)
    link = connected(board)
    patch(board, digits, "axr_port_set_baud", READ_SAADC)
    with pytest.raises(UnmodelledAccess, match=r"read 4 bytes at 0x500d5000 \(SAADC \+ 0x000\)"):
        link.raise_baud((230_400,))
    with pytest.raises(UnmodelledAccess):
        board.write(b"x")


def test_endless_resets_are_an_error(opened: Opener, digits: FirmwareImage) -> None:
    board = opened(digits)
    connected(board)
    patch(board, digits, "axr_port_idle", UNDEFINED)
    with pytest.raises(DeviceFault, match="again and again"):
        run_for_a_while(board)


def test_time_is_virtual_and_close_is_final(opened: Opener, digits: FirmwareImage) -> None:
    board = opened(digits)
    before = board.now()
    board.read(0.0)
    while board.read(0.02):
        pass
    assert board.now() >= before + 0.02
    assert board.fileno() is not None
    board.close()
    board.close()
    assert board.fileno() is None
    with pytest.raises(Exception, match="closed"):
        board.read(0.1)


def test_other_files_are_refused(tmp_path: Path) -> None:
    text = tmp_path / "text.elf"
    text.write_text("no image")
    with pytest.raises(ConfigError, match="no firmware image"):
        open_virtual_board(EMULATED, CHIP, text)
    other = small_elf(tmp_path / "x86.elf", bytes(64), machine=62)
    with pytest.raises(ConfigError, match="another processor"):
        open_virtual_board(EMULATED, CHIP, other)
    outside = small_elf(tmp_path / "outside.elf", bytes(64), address=0x10000000)
    with pytest.raises(ConfigError, match="outside of the 1036288 bytes of flash"):
        open_virtual_board(EMULATED, CHIP, outside)
    with pytest.raises(ConfigError, match="no emulated board"):
        open_virtual_board(CHIP, CHIP, small_elf(tmp_path / "small.elf", bytes(64)))


def test_register_names_come_from_the_firmware_header() -> None:
    first = read_register_map("AXR_CHIP_NRF54L15")
    second = read_register_map("AXR_CHIP_NRF54LM20")
    assert first.addresses["GLITCHDET_CONFIG"] == 0x5004B5A0
    assert second.addresses["GLITCHDET_CONFIG"] == 0x5004E5A0
    assert "KMU_STATUS" not in first.addresses
    assert second.names[0x50049400] == "KMU_STATUS"
    assert first.names[0x500C6704] == "UARTE_DMA_RX_PTR"
    assert first.names[0x500D8280 + 4 * 31] == "P1_PIN_CNF[31]"
    assert first.place(0x500C6100) == "UARTE20 + 0x100"
    assert first.place(0x50FFF000) == "no register of the chip"


def test_both_ways_of_counting_agree(
    opened: Opener, digits: FirmwareImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    cycles = set()
    for counter in (count_blocks, PythonCounter):
        monkeypatch.setattr("harness.virtual.machine.count_blocks", counter)
        board = opened(digits)
        result = connected(board).infer(bytes(3072), RunOptions(with_layers=True))[0]
        cycles.add((result.cycles_median, result.layer_cycles))
    assert len(cycles) == 1


def test_counting_works_without_a_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AXONRIG_CACHE", str(tmp_path))
    monkeypatch.setattr("sys.executable", "/nonexistent/python")
    core = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
    assert isinstance(count_blocks(core), PythonCounter)


def test_a_model_in_flash_survives_a_reset(
    opened: Opener, empty_firmware: FirmwareImage, digits: FirmwareImage
) -> None:
    program = compile_model(DEFAULT_MODEL.read_bytes(), CompileOptions(name="digits"))
    image = build_image(program).data
    link = connected(opened(empty_firmware))
    assert MEMORY is not None
    assert link.device.nv_slot_bytes > len(image)
    hello = link.upload(image, Place.NON_VOLATILE)
    assert hello.model_hash == digits.model_hash
    link.reset()
    hello = link.hello()
    assert hello.model_place == Place.NON_VOLATILE
    assert hello.model_hash == digits.model_hash
    expected = interpret(program, np.zeros((1, *program.input_dims.shape), np.int8)).outputs[0]
    assert link.infer(bytes(3072))[0].outputs == channels_last(expected)


def test_flash_outside_of_a_write_is_read_only(opened: Opener, digits: FirmwareImage) -> None:
    board = opened(digits)
    link = connected(board)
    patch(board, digits, "axr_port_set_baud", WRITE_ZERO_PAGE)
    with contextlib.suppress(BoardError):
        link.raise_baud((230_400,))
    hello = link.hello()
    assert (hello.fault_cause, hello.fault_address) == (BUS_FAULT, 0)


def test_reception_recovers_after_running_into_the_end_of_memory(
    opened: Opener, digits: FirmwareImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = opened(digits)
    link = connected(board)
    monkeypatch.setattr("harness.virtual.chip.BURST_BYTES", 1 << 16)
    board.write(bytes(40_000))
    while board.machine.line.chip_has_input:
        board.read(0.01)
    monkeypatch.setattr("harness.virtual.chip.BURST_BYTES", BURST_BYTES)
    assert link.hello().build_id == digits.build_id
    assert link.statistics().overruns == 1
    assert link.echo_burst() == 0


def test_realtime_never_runs_ahead(digits: FirmwareImage) -> None:
    begin = time.monotonic()
    board = open_virtual_board(EMULATED, CHIP, digits.elf, realtime=True)
    try:
        link = connected(board)
        for _ in range(2):
            link.infer(bytes(3072))
        assert board.now() <= time.monotonic() - begin + 0.1
    finally:
        board.close()
