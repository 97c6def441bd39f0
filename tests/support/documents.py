"""The documents of this repository and the commands that they show."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
DOCUMENTS: Final = tuple(sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]))


def commands(document: Path, tool: str) -> Iterator[str]:
    """Lines of indented or fenced blocks that start with a tool's name; comments are cut."""
    fenced = False
    for line in document.read_text(encoding="utf-8").splitlines():
        if line.strip().startswith("```"):
            fenced = not fenced
        elif (fenced or line.startswith("    ")) and line.strip().startswith(f"{tool} "):
            yield line.strip().split("  #")[0].split(" # ")[0].strip()


def is_synopsis(command: str) -> bool:
    """Whether a line shows the form of a command and no command: brackets, bars, dots."""
    return any(word in ("...", "COMMAND") or "[" in word or "|" in word for word in command.split())
