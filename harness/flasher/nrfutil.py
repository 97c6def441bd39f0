"""`nrfutil device`, Nordic's current tool, the one that knows the nRF54L.

It is run with --json: one JSON object per line, the last of type `task_end` with the result. By its
documentation it neither verifies nor resets unless told to, so it is told both.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from harness.board import BoardSpec
from harness.errors import BoardError, BoardNotFound, FlashError
from harness.flasher.base import ChipIdentity, FlashJob, Probe
from harness.tool_process import ToolRun, find_tool, run_logged

HINT: Final = (
    "install nRF Util from nordicsemi.com and run `nrfutil install device` (the package 'nrfutil' "
    "of the Python index is another, older program), or choose another --flasher"
)
OPTIONS: Final = (
    "chip_erase_mode=ERASE_RANGES_TOUCHED_BY_FIRMWARE,verify=VERIFY_READ,reset=RESET_PIN"
)
_LOOK_S: Final = 30.0
_WRITE_S: Final = 180.0
_UNPROTECTED: Final = ("none", "disabled", "unprotected")


@dataclass(frozen=True, slots=True)
class NrfUtil:
    """See `Flasher`."""

    name: str = "nrfutil"

    def probes(self) -> tuple[Probe, ...]:
        """See `Flasher`."""
        result = _result(_run("list"), "the probes could not be listed")
        found = result.get("devices", [])
        probes = [_probe(device) for device in found if isinstance(device, dict)]
        return tuple(probe for probe in probes if probe is not None)

    def identify(self, board: BoardSpec, serial_number: str) -> ChipIdentity:
        """See `Flasher`."""
        del board  # this tool finds out by itself
        run = _run("device-info", "--serial-number", serial_number)
        if _is_protected(run):
            return ChipIdentity(locked=True)
        info = _result(run, f"the chip behind probe {serial_number} could not be identified")
        version = next(_values(info, "deviceVersion"), None) or next(_values(info, "name"), None)
        protection = _run("protection-get", "--serial-number", serial_number)
        return ChipIdentity(
            device_version=str(version) if version else None, locked=_is_locked(protection)
        )

    def erase_all(self, board: BoardSpec, serial_number: str) -> None:
        """See `Flasher`."""
        del board
        run = _run("recover", "--serial-number", serial_number, timeout_s=_WRITE_S)
        _result(run, f"the chip behind probe {serial_number} could not be erased")

    def program(self, job: FlashJob) -> None:
        """See `Flasher`."""
        run = _run(
            *("program", "--firmware", str(job.hex), "--serial-number", job.serial_number),
            *("--options", OPTIONS),
            timeout_s=_WRITE_S,
            log=job.log_folder / "nrfutil.log",
        )
        _result(run, f"programming the {job.board.title} behind probe {job.serial_number} failed")


def _run(*words: str, timeout_s: float = _LOOK_S, log: Path | None = None) -> ToolRun:
    tool = find_tool("nrfutil", HINT)
    return run_logged([tool, "--json", "device", *words], timeout_s=timeout_s, log=log)


def _messages(run: ToolRun) -> Iterator[dict[str, Any]]:
    """The JSON lines; other lines are the tool's chatter."""
    for line in run.stdout.splitlines():
        try:
            message = json.loads(line)
        except ValueError:
            continue
        if isinstance(message, dict):
            yield message


def _result(run: ToolRun, what: str) -> dict[str, Any]:
    """The data of the last finished task. Raises FlashError unless it and the tool succeeded."""
    ends = [message for message in _messages(run) if message.get("type") == "task_end"]
    data = ends[-1].get("data") if ends else None
    if run.status == 0 and isinstance(data, dict) and data.get("result", "success") == "success":
        inner = data.get("data")
        return inner if isinstance(inner, dict) else {}
    reason = _reason(run)
    if "no devices" in reason.lower():
        raise BoardNotFound(f"{what}: nrfutil sees no such probe: {reason}")
    raise FlashError(run.failure(f"{what} ({reason})" if reason else what))


def _reason(run: ToolRun) -> str:
    texts = [
        str(value)
        for message in _messages(run)
        for key in ("message", "description")
        for value in _values({"error": _find_error(message)}, key)
    ]
    return texts[-1] if texts else ""


def _find_error(message: dict[str, Any]) -> object:
    data = message.get("data")
    if message.get("type") in ("task_end", "batch_end") and isinstance(data, dict):
        return data.get("error")
    return message if message.get("type") == "error" else None


def _values(data: object, key: str) -> Iterator[object]:
    """Every value under `key`, however deep: releases of the tool nest differently."""
    if isinstance(data, dict):
        for name, value in data.items():
            if name == key and not isinstance(value, dict | list):
                yield value
            else:
                yield from _values(value, key)
    elif isinstance(data, list):
        for item in data:
            yield from _values(item, key)


def _is_protected(run: ToolRun) -> bool:
    text = (run.stdout + run.stderr).lower()
    return run.status != 0 and ("protection" in text or "approtect" in text)


def _is_locked(run: ToolRun) -> bool:
    """An unknown answer counts as open: programming says the rest."""
    if run.status != 0:
        return _is_protected(run)
    words = [
        str(value).lower()
        for message in _messages(run)
        for key in ("protectionStatus", "protection_status", "protection")
        for value in _values(message, key)
    ]
    return any(not word.endswith(_UNPROTECTED) for word in words)


def _probe(device: dict[str, Any]) -> Probe | None:
    serial_number, traits = device.get("serialNumber"), device.get("traits")
    if not isinstance(serial_number, str) or not isinstance(traits, dict):
        return None
    if not traits.get("jlink"):
        return None
    ports = [port for port in device.get("serialPorts") or [] if isinstance(port, dict)]
    ports.sort(key=lambda port: int(port.get("vcom") or 0))
    paths = (port.get("comName") or port.get("path") for port in ports)
    kit = device.get("devkit")
    version = kit.get("boardVersion") if isinstance(kit, dict) else None
    return Probe(
        serial_number=serial_number,
        kit_version=str(version).upper() if version else None,
        ports=tuple(str(path) for path in paths if path),
    )


def check_usable() -> str:
    """The tool's version line. Raises ToolchainError when it is missing, BoardError when its
    `device` command is."""
    run = run_logged([find_tool("nrfutil", HINT), "device", "--version"], timeout_s=_LOOK_S)
    if run.status != 0:
        raise BoardError(run.failure(f"nrfutil has no working `device` command; {HINT}"))
    return (run.stdout.strip().splitlines() or ["nrfutil device"])[0]
