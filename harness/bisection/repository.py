"""What bisection needs of git: a clone of its own, so that nothing of the user's is touched.

The clone shares the objects of the user's repository (`git clone --shared`) and has its own
checkout, index, refs and bisection state in a temporary folder: a dirty tree stays as it is, and a
crash leaves nothing behind in it.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.errors import ConfigError, ToolchainError
from harness.tool_process import ToolRun, find_tool, run_logged

_TIMEOUT_S: Final = 600.0
_FOUND: Final = re.compile(r"^([0-9a-f]{40,64}) is the first bad commit", re.MULTILINE)
_SKIPPED: Final = "'skip'ped commits left to test"
_REVISION: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./~^@{}-]{0,199}")


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit. subject: first line of its message."""

    hash: str
    author: str
    date: str
    subject: str


@dataclass(frozen=True, slots=True)
class Clone:
    """A private clone with a checkout at `path`."""

    path: Path

    def check_out(self, commit: str) -> None:
        """Make the checkout that of a commit, without leftovers."""
        self._git("checkout", "--quiet", "--force", "--detach", commit)
        self._git("clean", "-ffdxq")

    def commit(self, revision: str) -> Commit:
        """Facts of a commit."""
        text = self._git("log", "-1", "--format=%H%n%an%n%as%n%s", revision).stdout
        fields = [*text.split("\n"), "", "", ""]
        return Commit(*fields[:4])

    def parent(self, commit: str) -> str | None:
        """The first parent, None for a root."""
        words = self._git("rev-list", "--parents", "-1", commit).stdout.split()
        return words[1] if len(words) > 1 else None

    def count(self, good: str, bad: str) -> int:
        """Commits of `bad` that `good` does not have."""
        return int(self._git("rev-list", "--count", bad, f"^{good}").stdout)

    def start(self, good: str, bad: str) -> str:
        """Begin to bisect; the commit to test first."""
        self._git("bisect", "start", "--no-checkout", bad, good)
        return self._next()

    def tell(self, word: str, commit: str) -> str | None:
        """Say `good`, `bad` or `skip` of a commit; the next one to test, None at the end."""
        done = self._run("bisect", word, commit)
        if _FOUND.search(done.stdout) or _SKIPPED in done.stdout + done.stderr:
            return None
        if done.status:
            raise ToolchainError(done.failure("git bisect failed"))
        return self._next()

    def first_bad(self) -> tuple[str, ...]:
        """The commits that can be the first bad one: a single one unless some had to be skipped."""
        good = self._git("for-each-ref", "--format=%(objectname)", "refs/bisect/good-*").stdout
        words = ("refs/bisect/bad", *(f"^{name}" for name in good.split()))
        return tuple(self._git("rev-list", *words).stdout.split())

    def _next(self) -> str:
        return self._git("rev-parse", "--verify", "BISECT_HEAD").stdout.strip()

    def _git(self, *words: str) -> ToolRun:
        done = self._run(*words)
        if done.status:
            raise ToolchainError(done.failure(f"git {words[0]} failed"))
        return done

    def _run(self, *words: str) -> ToolRun:
        return _git(self.path, *words)


@contextmanager
def cloned(repository: Path) -> Iterator[Clone]:
    """A private clone of the repository around `repository`; gone at the end.

    Raises ConfigError when that is no repository, ToolchainError when git is missing or fails.
    """
    root = top(repository)
    with tempfile.TemporaryDirectory(prefix="axonrig-bisect-") as folder:
        path = Path(folder) / "clone"
        done = _git(root, "clone", "--quiet", "--shared", "--no-checkout", str(root), str(path))
        if done.status:
            raise ToolchainError(done.failure("the repository cannot be cloned"))
        yield Clone(path)


def top(folder: Path) -> Path:
    """The root of the checkout around `folder`. Raises ConfigError when there is none."""
    if not folder.is_dir():
        raise ConfigError(f"{folder} is no folder; name a git repository with --repo")
    done = _git(folder, "rev-parse", "--show-toplevel")
    if done.status:
        raise ConfigError(f"{folder} is in no git repository; name one with --repo")
    return Path(done.stdout.strip())


def resolve(repository: Path, revision: str) -> str:
    """The full hash of a revision. Raises ConfigError when it names no commit."""
    if not _REVISION.fullmatch(revision):
        raise ConfigError(f"'{revision}' is no name of a commit")
    done = _git(repository, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    if done.status:
        raise ConfigError(f"'{revision}' names no commit of {repository}")
    return done.stdout.strip()


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
    """Run git without hooks, and without taking optional locks of the repository."""
    tool = find_tool("git", "install it; axonrig bisect walks through commits with it")
    environment = {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}
    command = [tool, "-C", str(folder), "-c", f"core.hooksPath={os.devnull}", *words]
    return run_logged(command, timeout_s=_TIMEOUT_S, environment=environment)
