"""Stands in for west: `build` lays down an image that the test gives, `flash` succeeds or not."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path


def main() -> int:
    words = sys.argv[1:]
    scenario = os.environ.get("FAKE_SCENARIO", "")
    with Path(os.environ["FAKE_LOG"]).open("a", encoding="utf-8") as stream:
        stream.write(" ".join(words) + "\n")
    if words[:1] == ["--version"]:
        print("West version: v1.2.0")
        return 0
    if scenario == "fails":
        print("FATAL ERROR: command exited with status 1: cmake", file=sys.stderr)
        return 1
    if words[0] == "build":
        folder = Path(words[words.index("--build-dir") + 1]) / "zephyr"
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("zephyr.elf", "zephyr.hex"):
            source = Path(os.environ["FAKE_IMAGE"]).with_suffix(Path(name).suffix)
            shutil.copyfile(source, folder / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
