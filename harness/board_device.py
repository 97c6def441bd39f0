"""Boards as devices: real, emulated, and the firmware as a process of this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from compiler import AxonProgram, Dims, Op, encode
from harness.artefacts import sha256
from harness.board import BoardKind, BoardSpec, image_board, load_boards
from harness.device import Array, DeviceInfo, Inference, check_inputs
from harness.errors import BoardNotFound, ConfigError, DeviceFault, ProtocolError
from harness.firmware.board_image import Target, build_board_image, check_target
from harness.link import RunOptions
from harness.progress import Progress
from harness.protocol import HelloReply
from harness.session import Expected, Session, SessionPlan, not_flashed
from harness.stream import InputResult
from harness.transport import Transport, open_port

if TYPE_CHECKING:
    from harness.firmware.build import FirmwareImage
    from harness.vendor.codegen import Generated
    from harness.vendor.sdk import Sdk

VENDOR_SIM: Final = "vendor-sim"
SOURCES: Final[Mapping[BoardKind, str]] = {
    BoardKind.HARDWARE: "board",
    BoardKind.EMULATED: "emulated",
    BoardKind.PROCESS: "sim",
}


@dataclass(frozen=True, slots=True)
class BoardChoice:
    """How to reach and prepare a board; every field has a default that the board file gives.

    port: serial device or URL. target: what runs the model. firmware_folder: where builds are kept.
    realtime: hold an emulated board back to real time. layer_times: layers are timed.
    """

    serial_number: str | None = None
    port: str | None = None
    toolchain: str | None = None
    flasher: str | None = None
    allow_erase_all: bool = False
    realtime: bool = False
    profile: str = ""
    firmware_folder: Path | None = None
    target: Target = "cpu"
    layer_times: bool = False


@dataclass(slots=True, eq=False)
class BoardDevice:
    """A session with a board as a `Device`.

    run: laps, warm-up and whether layers are timed. code: what Nordic's simulator runs; its cycles
    count then, the firmware's clock means nothing. sdk: Nordic's, when its code is in the firmware.
    """

    program: AxonProgram
    board: BoardSpec
    session: Session
    run: RunOptions = field(default_factory=RunOptions)
    code: Generated | None = None
    sdk: Sdk | None = None
    _closed: bool = False

    @property
    def info(self) -> DeviceInfo:
        """See `Device`."""
        hello = self.session.link.device
        backend = f"firmware, {hello.text('backend')}"
        if self.sdk is not None:
            backend += f" (Axon {self.sdk.compiler_version}, sdk-edge-ai {self.sdk.version})"
        return DeviceInfo(
            board=self.board.name,
            source=source_of(self.board),
            backend=backend,
            model=self.program.name,
            model_sha256=sha256(encode(self.program)),
            clock_hz=hello.cycle_hz if self._counts_cycles else None,
            versions=self._versions(hello),
        )

    def _versions(self, hello: HelloReply) -> dict[str, str]:
        firmware = {"firmware_build": hello.build_id.hex()}
        sdk = {} if self.sdk is None else self.sdk.facts()
        return firmware | {f"sdk_edge_ai_{name}": value for name, value in sdk.items()}

    @property
    def _counts_cycles(self) -> bool:
        """A process of this machine has a clock, but its figures say nothing about any board."""
        return self.board.kind is not BoardKind.PROCESS

    def infer(self, inputs: Array, progress: Progress | None = None) -> Inference:
        """See `Device`."""
        if self._closed:
            raise DeviceFault(f"{self.board.name} was closed; open it again")
        check_inputs(inputs, self.program.input_dims)
        data = np.ascontiguousarray(inputs.transpose(0, 2, 3, 1)).tobytes()

        def report(result: InputResult) -> None:
            if progress:
                progress(result.number + 1, len(inputs))

        results = self.session.infer(data, self.run, report)
        return self._inference(results)

    def _inference(self, results: list[InputResult]) -> Inference:
        outputs = split_outputs(self.program, [result.outputs for result in results])
        if self.code is not None:
            cycles = np.full(len(results), self.code.ticks, np.int64)
            return Inference(outputs, cycles=cycles, latency_source=source_of(self.board))
        if not self._counts_cycles:
            return Inference(outputs)
        layers = [result.layer_cycles for result in results]
        return Inference(
            outputs,
            cycles=np.array([result.cycles_median for result in results], np.int64),
            layer_cycles=np.array(layers, np.int64) if self.run.with_layers else None,
            latency_source=source_of(self.board),
        )

    def close(self) -> None:
        """See `Device`."""
        self._closed = True
        self.session.close()


def source_of(board: BoardSpec) -> str:
    """The label of every number that comes from this board."""
    return VENDOR_SIM if runs_vendor_simulator(board) else SOURCES[board.kind]


def runs_vendor_simulator(board: BoardSpec) -> bool:
    """Whether the board is a process with the NPU back end on Nordic's simulator."""
    return board.kind is BoardKind.PROCESS and "npu" in board.features


def split_outputs(program: AxonProgram, raw: list[bytes]) -> tuple[Array, ...]:
    """Raw results, [height][width][channel] one output after the other, as [N, C, H, W] arrays.

    Raises ProtocolError when their size is not the program's.
    """
    dims = [program.layers[index].output_dims for index in program.output_layers]
    wanted = sum(item.elements * item.byte_width for item in dims)
    for number, data in enumerate(raw):
        if len(data) != wanted:
            raise ProtocolError(
                f"the outputs of input {number} have {len(data)} bytes; the program has {wanted}"
            )
    table: npt.NDArray[np.uint8] = np.frombuffer(b"".join(raw), np.uint8).reshape(len(raw), wanted)
    outputs, at = [], 0
    for item in dims:
        size = item.elements * item.byte_width
        outputs.append(_as_maps(table[:, at : at + size], item))
        at += size
    return tuple(outputs)


def _as_maps(raw: npt.NDArray[np.uint8], dims: Dims) -> Array:
    values = np.ascontiguousarray(raw).view(f"<i{dims.byte_width}")
    shape = (-1, dims.height, dims.width, dims.channels)
    return np.ascontiguousarray(values.reshape(shape).transpose(0, 3, 1, 2))


def keeps_state(program: AxonProgram) -> bool:
    """Whether an inference depends on those before it."""
    return any(layer.op == Op.PERSISTENT_VARIABLE for layer in program.layers)


def open_board_device(
    board: BoardSpec,
    program: AxonProgram,
    choice: BoardChoice | None = None,
    run: RunOptions | None = None,
) -> BoardDevice:
    """Build, flash, open and greet `board` with `program`; the caller closes it.

    Raises HarnessError of the step that failed.
    """
    asked = run or RunOptions()
    chosen = choice or BoardChoice()
    with_layers = asked.with_layers or chosen.layer_times
    options = RunOptions(asked.laps, asked.warmup, with_layers, keeps_state(program))
    code, sdk = None, None
    if runs_vendor_simulator(board):
        from harness.vendor.driver import generate_for

        code = generate_for(program, layer_models=chosen.layer_times)
        sdk = code.sdk
        plan = _plan_vendor(board, program, chosen, code)
    else:
        plan = plan_session(board, program, chosen)
        sdk = _find_sdk() if chosen.target == "npu" else None
    session = Session(plan)
    session.start()
    _check_model(session.link.device, program)
    return BoardDevice(program, board, session, options, code, sdk)


def _find_sdk() -> Sdk:
    from harness.vendor.sdk import find_sdk

    return find_sdk()


def _check_model(hello: HelloReply, program: AxonProgram) -> None:
    wanted = bytes.fromhex(sha256(encode(program)))[:16]
    if hello.model_hash != wanted:
        raise ProtocolError(
            f"the firmware has the model {hello.model_hash.hex()}, not {wanted.hex()}"
        )


def open_line(board: BoardSpec, program: AxonProgram, choice: BoardChoice) -> Transport:
    """Build and flash, check what answers, and return the line for a client of its own.

    The line is at its default rate and no session is open on it. Raises HarnessError.
    """
    plan = replace(plan_session(board, program, choice), bauds=())
    session = Session(plan)
    session.start()
    return session.release()


def plan_session(board: BoardSpec, program: AxonProgram, choice: BoardChoice) -> SessionPlan:
    """The steps for this kind of board.

    Raises ConfigError for a board that runs no firmware, and for the NPU on a board without one.
    """
    if board.link is None:
        raise ConfigError(f"the board '{board.name}' runs no firmware")
    if choice.target == "npu":
        check_target(board, load_boards(), choice.target)
    plans: dict[BoardKind, Callable[[BoardSpec, AxonProgram, BoardChoice], SessionPlan]] = {
        BoardKind.PROCESS: _plan_process,
        BoardKind.EMULATED: _plan_emulated,
        BoardKind.HARDWARE: _plan_hardware,
    }
    return plans[board.kind](board, program, choice)


def _plan_vendor(
    board: BoardSpec, program: AxonProgram, choice: BoardChoice, code: Generated
) -> SessionPlan:
    from harness.firmware.host_build import HostFirmware
    from harness.transport.process import start_process
    from harness.vendor.firmware import build_vendor_host

    built: list[HostFirmware] = []

    def build() -> Expected:
        firmware, model = build_vendor_host(
            program, code, profile=choice.profile, folder=choice.firmware_folder
        )
        built.append(firmware)
        return Expected(firmware.build_id, model.model_hash)

    return SessionPlan(board.name, build, not_flashed, lambda: start_process(built[-1].path))


def _plan_process(board: BoardSpec, program: AxonProgram, choice: BoardChoice) -> SessionPlan:
    if runs_vendor_simulator(board):
        from harness.vendor.driver import generate_for

        code = generate_for(program, layer_models=choice.layer_times)
        return _plan_vendor(board, program, choice, code)
    from harness.firmware.build import firmware_model
    from harness.firmware.host_build import HostFirmware, build_host
    from harness.transport.process import start_process

    built: list[HostFirmware] = []

    def build() -> Expected:
        model = firmware_model(program, profile=choice.profile)
        built.append(build_host(model, folder=choice.firmware_folder))
        return Expected(built[-1].build_id, model.model_hash)

    return SessionPlan(board.name, build, not_flashed, lambda: start_process(built[-1].path))


def _plan_emulated(board: BoardSpec, program: AxonProgram, choice: BoardChoice) -> SessionPlan:
    from harness.virtual.board import open_virtual_board

    owner = image_board(board, load_boards())
    built: list[FirmwareImage] = []

    def build() -> Expected:
        built.append(_build_image(owner, program, choice))
        return Expected(built[-1].build_id, built[-1].model_hash)

    def connect() -> Transport:
        return open_virtual_board(board, owner, built[-1].elf, realtime=choice.realtime)

    return SessionPlan(board.name, build, not_flashed, connect, *_rates(board))


def _plan_hardware(board: BoardSpec, program: AxonProgram, choice: BoardChoice) -> SessionPlan:
    from harness.flasher import FlashJob, choose_flasher, choose_probe, flash

    flasher = choose_flasher(board, choice.flasher)
    probe = choose_probe(board, flasher.probes(), choice.serial_number)
    number = board.probe.serial_port if board.probe else 0
    port = choice.port or (probe.ports[number] if number < len(probe.ports) else None)
    if port is None:
        raise BoardNotFound(
            f"probe {probe.serial_number} shows no serial port number {number}: name the port "
            "with --port"
        )
    built: list[FirmwareImage] = []

    def build() -> Expected:
        built.append(_build_image(board, program, choice))
        return Expected(built[-1].build_id, built[-1].model_hash)

    def write() -> None:
        image = built[-1]
        job = FlashJob(board, probe.serial_number, image.hex, image.elf, image.manifest.parent)
        flash(job, flasher, allow_erase_all=choice.allow_erase_all)

    default_baud, bauds = _rates(board)

    def connect() -> Transport:
        return open_port(port, default_baud)

    return SessionPlan(board.name, build, write, connect, default_baud, bauds)


def _build_image(board: BoardSpec, program: AxonProgram, choice: BoardChoice) -> FirmwareImage:
    return build_board_image(
        board,
        program,
        target=choice.target,
        layer_times=choice.layer_times,
        toolchain=choice.toolchain,
        profile=choice.profile,
        folder=choice.firmware_folder,
    )


def _rates(board: BoardSpec) -> tuple[int, tuple[int, ...]]:
    assert board.link is not None  # plan_session checked
    return board.link.default_baud, board.link.bauds
