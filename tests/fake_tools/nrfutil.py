"""Stands in for nRF Util: prints what `nrfutil --json device ...` prints, errors included.

The shape of the messages follows the tool's documentation and Zephyr's runner for it; they were not
recorded on a device. FAKE_SCENARIO chooses the behaviour, FAKE_LOG gets one line per call.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

SERIALS = {"two_probes": ["001057712345", "001057799999"], "none": []}


def emit(kind: str, **data: object) -> None:
    print(json.dumps({"type": kind, "data": data}))


def end(data: object, task: str = "task") -> int:
    emit("task_end", task={"name": task}, result="success", data=data)
    return 0


def fail(code: int, message: str) -> int:
    error = {"code": code, "message": message}
    emit("task_end", task={"name": "task"}, result="fail", error=error)
    print(f"Error: {message}", file=sys.stderr)
    return 1


def device(serial: str) -> dict[str, object]:
    return {
        "id": 1,
        "serialNumber": serial,
        "devkit": {"boardVersion": "PCA10156"},
        "traits": {"jlink": True, "devkit": True, "serialPorts": True},
        "serialPorts": [
            {"comName": "/dev/ttyACM1", "vcom": 1},
            {"comName": "/dev/ttyACM0", "vcom": 0},
        ],
    }


def list_devices(scenario: str) -> int:
    serials = SERIALS.get(scenario, ["001057712345"])
    print("a line that is no JSON")
    devices = [device(serial) for serial in serials]
    devices.append({"id": 9, "serialNumber": "E66", "traits": {"usb": True}})
    return end({"devices": devices})


def device_info(scenario: str) -> int:
    if scenario == "locked_silent":
        return fail(512, "The operation is unavailable due to readback protection")
    version = "NRF52840_xxAA_REV2" if scenario == "wrong_chip" else "NRF54L15_xxAA_REV2"
    if scenario == "no_version":
        return end({"deviceInfo": {}})
    return end({"deviceInfo": {"jlink": {"deviceVersion": version}}})


def protection(scenario: str, marker: Path) -> int:
    locked = scenario in ("locked", "locked_silent") and not marker.exists()
    return end({"protectionStatus": "NRFDL_PROTECTION_STATUS_" + ("ALL" if locked else "NONE")})


def program(scenario: str) -> int:
    emit("task_begin", task={"name": "program"})
    emit("task_progress", progress={"progressPercentage": 40, "description": "Programming"})
    if scenario == "verify_fails":
        return fail(3, "Verify failed: data at 0x00001000 differs")
    if scenario == "silent":
        return 0
    if scenario == "crash":
        print("thread 'main' panicked at probe.rs:12", file=sys.stderr)
        return 101
    return end({}, "program")


def main() -> int:
    words = sys.argv[1:]
    scenario = os.environ.get("FAKE_SCENARIO", "")
    log = Path(os.environ["FAKE_LOG"])
    with log.open("a", encoding="utf-8") as stream:
        stream.write(" ".join(words) + "\n")
    marker = log.with_suffix(".recovered")
    if words[:1] != ["--json"] or words[1:2] != ["device"]:
        print("unexpected arguments", file=sys.stderr)
        return 2
    command = words[2]
    if command == "list":
        return list_devices(scenario)
    if command == "device-info":
        return device_info("" if marker.exists() else scenario)
    if command == "protection-get":
        return protection(scenario, marker)
    if command == "recover":
        marker.touch()
        return end({})
    if command == "program":
        status = program(scenario)
        if not status:
            image = words[words.index("--firmware") + 1]
            log.with_suffix(".flashed").write_text(image, encoding="utf-8")
        return status
    return fail(2, f"unknown command {command}")


if __name__ == "__main__":
    sys.exit(main())
