"""What bisection needs of git. Nothing here touches the user's checkout, index or branches."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.errors import ToolchainError
from harness.tool_process import ToolRun, find_tool, run_logged

_TIMEOUT_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit. subject: first line of its message."""

    hash: str
    subject: str

    @property
    def short(self) -> str:
        """Enough of the hash to name it."""
        return self.hash[:12]


def head(folder: Path) -> str | None:
    """The commit of the checkout around `folder`, with `-dirty` when files differ; None when it is
    no checkout or there is no git."""
    try:
        done = _git(folder, "rev-parse", "--verify", "HEAD")
        changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except ToolchainError:
        return None
    if done.status or changes.status:
        return None
    return done.stdout.strip() + ("-dirty" if changes.stdout.strip() else "")


def _git(folder: Path, *words: str) -> ToolRun:
    """Run git without the user's hooks, and without taking optional locks of the repository."""
    tool = find_tool("git", "install it; axonrig bisect walks through commits with it")
    environment = {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}
    command = [tool, "-C", str(folder), "-c", f"core.hooksPath={os.devnull}", *words]
    return run_logged(command, timeout_s=_TIMEOUT_S, environment=environment)
