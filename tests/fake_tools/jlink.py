"""Stands in for J-Link Commander: runs its command file against a chip held in a Python object.

The texts follow SEGGER's documentation; they were not recorded on a device.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from harness.firmware.image import load_elf


def run_line(line: str, scenario: str, memory: dict[int, bytes]) -> int:
    if line.startswith("ShowEmuList"):
        print("J-Link[0]: Connection: USB, Serial number: 1057712345, ProductName: J-Link OB")
    elif line.startswith("mem32"):
        value = "00054B15" if scenario != "wrong_chip" else "00052840"
        if scenario == "mute":
            print("Could not read memory.")
            return 1
        print(f"00FFC31C = {value} ")
    elif line.startswith("loadfile"):
        elf = Path(line.split('"')[1]).with_suffix(".elf")
        Path(os.environ["FAKE_LOG"]).with_suffix(".flashed").write_text(str(elf), encoding="utf-8")
        memory.update({part.address: part.data for part in load_elf(elf).segments})
        print("O.K.")
    elif match := re.match(r'savebin "(.+)", (0x[0-9a-f]+), (0x[0-9a-f]+)', line):
        data = bytearray(memory[int(match[2], 16)])
        if scenario == "incomplete":
            data[100:] = bytes(len(data) - 100)
        Path(match[1]).write_bytes(data)
    return 0


def main() -> int:
    words = sys.argv[1:]
    scenario = os.environ.get("FAKE_SCENARIO", "")
    with Path(os.environ["FAKE_LOG"]).open("a", encoding="utf-8") as stream:
        stream.write(" ".join(words) + "\n")
    if scenario == "locked":
        print("ERROR: Device is secured. Use unlock.")
        return 1
    if scenario == "absent":
        print("FAILED: Cannot connect to J-Link.")
        return 1
    memory: dict[int, bytes] = {}
    for line in Path(words[words.index("-CommandFile") + 1]).read_text("utf-8").splitlines():
        if status := run_line(line, scenario, memory):
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
