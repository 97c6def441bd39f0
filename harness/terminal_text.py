"""Text of others on a terminal: names of files and what devices say may hold anything."""

from __future__ import annotations


def printable(text: str) -> str:
    """The text on one line, with everything escaped that could move the cursor or set a colour."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
