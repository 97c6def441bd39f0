"""Every flasher against stand-ins of its tool, error paths included."""

from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path

import pytest

from harness.board import BoardSpec, load_boards
from harness.errors import BoardNotFound, ConfigError, FlashError, ToolchainError, WrongBoard
from harness.flasher import (
    ChipIdentity,
    ChipLocked,
    FlashJob,
    Probe,
    ProbeBusy,
    choose_flasher,
    choose_probe,
    flash,
    flash_checked,
)
from harness.flasher.procedure import is_busy, probe_lock
from tests.support.fake_tools import FakeTools, install
from tests.support.small_elf import small_elf

SERIAL = "001057712345"


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeTools:
    return install(tmp_path, monkeypatch, "nrfutil", "JLinkExe", "west")


@pytest.fixture
def board() -> BoardSpec:
    return load_boards()["nrf54l15dk"]


@pytest.fixture
def job(tmp_path: Path, board: BoardSpec) -> FlashJob:
    elf = small_elf(tmp_path / "firmware.elf", bytes(range(256)) * 2)
    image = tmp_path / "firmware.hex"
    image.write_bytes(b":00000001FF\n")
    return FlashJob(board, SERIAL, image, elf, tmp_path / "logs")


def test_nrfutil_programs_with_read_back_and_reset(tools: FakeTools, job: FlashJob) -> None:
    flash(job, choose_flasher(job.board))
    program = tools.calls[-1]
    assert "program" in program
    assert f"--serial-number {SERIAL}" in program
    assert "verify=VERIFY_READ" in program
    assert "reset=RESET_PIN" in program
    assert "ERASE_ALL" not in program
    assert not any("recover" in call for call in tools.calls)
    assert (job.log_folder / "nrfutil.log").read_text("utf-8").startswith("$ ")


def test_nrfutil_lists_probes_with_ports_in_order(tools: FakeTools, board: BoardSpec) -> None:
    del tools
    probes = choose_flasher(board).probes()
    assert probes == (Probe(SERIAL, "PCA10156", ("/dev/ttyACM0", "/dev/ttyACM1")),)


def test_wrong_chip_stops_before_writing(tools: FakeTools, job: FlashJob) -> None:
    tools.choose("wrong_chip")
    with pytest.raises(WrongBoard, match=r"NRF52840.*nRF54L15"):
        flash(job, choose_flasher(job.board))
    assert not any("program" in call for call in tools.calls)


def test_a_chip_that_says_nothing_is_not_written(tools: FakeTools, job: FlashJob) -> None:
    tools.choose("no_version")
    with pytest.raises(WrongBoard, match="Nothing was written"):
        flash(job, choose_flasher(job.board))


@pytest.mark.parametrize("scenario", ["locked", "locked_silent"])
def test_locked_chip_needs_the_callers_word(tools: FakeTools, job: FlashJob, scenario: str) -> None:
    tools.choose(scenario)
    with pytest.raises(ChipLocked, match="--allow-erase-all"):
        flash(job, choose_flasher(job.board))
    assert not any("recover" in call or "program" in call for call in tools.calls)
    flash(job, choose_flasher(job.board), allow_erase_all=True)
    words = [call.split()[2] for call in tools.calls]
    assert words.index("recover") < words.index("program")


@pytest.mark.parametrize(
    ("scenario", "text"),
    [
        ("verify_fails", "data at 0x00001000 differs"),
        ("silent", "status 0"),
        ("crash", "status 101.*panicked"),
    ],
)
def test_nrfutil_failures_carry_command_and_last_lines(
    tools: FakeTools, job: FlashJob, scenario: str, text: str
) -> None:
    tools.choose(scenario)
    with pytest.raises(FlashError, match=f"(?s){text}") as caught:
        flash(job, choose_flasher(job.board))
    assert "nrfutil.log" in str(caught.value)


def test_missing_tool_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, job: FlashJob
) -> None:
    install(tmp_path, monkeypatch)
    for name in ("nrfutil", "jlink", "west"):
        with pytest.raises(ToolchainError, match=r"not on the PATH: (install|run inside)"):
            flash(job, choose_flasher(job.board, name))


def test_two_probes_need_a_serial_number(tools: FakeTools, board: BoardSpec) -> None:
    tools.choose("two_probes")
    probes = choose_flasher(board).probes()
    with pytest.raises(BoardNotFound, match=r"001057712345.*001057799999.*--serial-number"):
        choose_probe(board, probes, None)
    assert choose_probe(board, probes, "1057799999").serial_number == "001057799999"
    with pytest.raises(BoardNotFound, match="no probe has the serial number 5"):
        choose_probe(board, probes, "5")


def test_no_probe_names_doctor(tools: FakeTools, board: BoardSpec) -> None:
    tools.choose("none")
    with pytest.raises(BoardNotFound, match="axonrig doctor"):
        choose_probe(board, choose_flasher(board).probes(), None)
    other_kit = Probe("1", "PCA10056")
    with pytest.raises(BoardNotFound, match="PCA10056"):
        choose_probe(board, [other_kit], None)


def test_a_probe_in_use_names_the_process(tools: FakeTools, job: FlashJob) -> None:
    del tools
    code = (
        "import sys\nfrom harness.flasher.procedure import probe_lock\n"
        f"with probe_lock({SERIAL!r}):\n print('held', flush=True)\n sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert is_busy(SERIAL)
        with pytest.raises(ProbeBusy, match=f"process {holder.pid}"):
            flash(job, choose_flasher(job.board))
        holder.communicate("")
    assert not is_busy(SERIAL)
    with probe_lock(SERIAL):
        pass


def test_jlink_reads_back_what_it_wrote(tools: FakeTools, job: FlashJob) -> None:
    flasher = choose_flasher(job.board, "jlink")
    assert flasher.probes() == (Probe("1057712345"),)
    flash(job, flasher)
    assert "-Device nRF54L15_M33 -SelectEmuBySN 1057712345" in tools.calls[-1]
    tools.choose("incomplete")
    with pytest.raises(FlashError, match=r"read back differs.*0x00000064"):
        flash(job, flasher)


@pytest.mark.parametrize(
    ("scenario", "error", "text"),
    [
        ("wrong_chip", WrongBoard, "0x00052840"),
        ("mute", FlashError, "does not answer"),
        ("locked", ChipLocked, "--allow-erase-all"),
        ("absent", BoardNotFound, "1057712345"),
    ],
)
def test_jlink_failures(
    tools: FakeTools, job: FlashJob, scenario: str, error: type[Exception], text: str
) -> None:
    tools.choose(scenario)
    with pytest.raises(error, match=text):
        flash(job, choose_flasher(job.board, "jlink"))


def test_jlink_without_an_identity_register_refuses(tools: FakeTools) -> None:
    del tools
    board = load_boards()["nrf54lm20dk"]
    with pytest.raises(ConfigError, match=r"soc\.identity"):
        choose_flasher(board, "jlink").identify(board, SERIAL)


def test_west_flashes_a_zephyr_build_only(tools: FakeTools, job: FlashJob, tmp_path: Path) -> None:
    west = choose_flasher(job.board, "west")
    with pytest.raises(ConfigError, match="--toolchain west"):
        flash(job, west)
    zephyr = FlashJob(job.board, SERIAL, job.hex, job.elf, job.log_folder, tmp_path)
    flash(zephyr, west)
    assert tools.calls[-1] == (f"flash --skip-rebuild --build-dir {tmp_path} --dev-id {SERIAL}")
    tools.choose("fails")
    with pytest.raises(FlashError, match="FATAL ERROR"):
        west.program(zephyr)


def _fake_pynrfjprog(*, locked: bool) -> types.ModuleType:
    class ApiError(Exception):
        err_code = -90

    class Api:
        def __enter__(self) -> Api:
            return self

        def __exit__(self, *_: object) -> None:
            return None

        def get_connected_probes(self) -> list[int]:
            return [683517317]

    class DebugProbe:
        def __init__(self, api: Api, number: int) -> None:
            self.place = (api, number)

        def get_device_info(self) -> types.SimpleNamespace:
            if locked:
                raise ApiError("protected")
            kind = types.SimpleNamespace(name="NRF52840_xxAA_REV2")
            return types.SimpleNamespace(device_type=kind)

    level = types.ModuleType("pynrfjprog.HighLevel")
    vars(level).update(API=Api, DebugProbe=DebugProbe)
    package = types.ModuleType("pynrfjprog")
    vars(package).update(HighLevel=level)
    return package


def test_pynrfjprog_is_for_older_families(
    monkeypatch: pytest.MonkeyPatch, board: BoardSpec, tmp_path: Path
) -> None:
    flasher = choose_flasher(board, "pynrfjprog")
    with pytest.raises(ConfigError, match="does not know the chip"):
        flasher.identify(board, "1")
    monkeypatch.setitem(sys.modules, "pynrfjprog", None)
    with pytest.raises(ToolchainError, match=r"\.\[nrfjprog\]"):
        flasher.probes()
    text = board.file.read_text("utf-8").replace("nrf54l15", "nrf52").replace("NRF54L15", "NRF52")
    path = tmp_path / "nrf52dk.yaml"
    path.write_text(text, encoding="utf-8")
    older = load_boards([tmp_path])["nrf52dk"]
    monkeypatch.setitem(sys.modules, "pynrfjprog", _fake_pynrfjprog(locked=False))
    assert flasher.probes() == (Probe("683517317"),)
    assert flasher.identify(older, "1") == ChipIdentity("NRF52840_xxAA_REV2")
    monkeypatch.setitem(sys.modules, "pynrfjprog", _fake_pynrfjprog(locked=True))
    assert flasher.identify(older, "1").locked


def test_virtual_loader_belongs_to_emulated_boards(
    tools: FakeTools, job: FlashJob, board: BoardSpec
) -> None:
    del tools
    with pytest.raises(ConfigError, match="not for the board"):
        choose_flasher(board, "virtual")
    emulated = load_boards()["virt-nrf54l15"]
    with pytest.raises(ConfigError, match="not for the board"):
        choose_flasher(emulated, "nrfutil")
    flash(FlashJob(emulated, "virtual", job.hex, job.elf, job.log_folder), choose_flasher(emulated))
    with pytest.raises(ConfigError, match="is not flashed"):
        choose_flasher(load_boards()["sim"])
    with pytest.raises(ConfigError, match="unknown flasher 'openocd'"):
        choose_flasher(board, "openocd")


def test_firmware_that_answers_wrongly_is_flashed_once_more() -> None:
    built, other = (b"b" * 16, b"m" * 16), (b"x" * 16, b"m" * 16)
    writes: list[int] = []
    answers = iter([other, built])
    flash_checked(lambda: writes.append(1), lambda: next(answers), built)
    assert len(writes) == 2
    with pytest.raises(FlashError, match="twice"):
        flash_checked(lambda: writes.append(1), lambda: other, built)
    assert len(writes) == 4


def test_firmware_that_is_silent_is_flashed_once_more() -> None:
    attempts: list[int] = []

    def silent() -> tuple[bytes, bytes]:
        attempts.append(1)
        raise BoardNotFound("no answer")

    with pytest.raises(BoardNotFound, match="no answer"):
        flash_checked(lambda: None, silent, (b"", b""))
    assert len(attempts) == 2
