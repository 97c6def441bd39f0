"""A whole stay at a board: build, flash, open, hello, infer, close. The first failure is kept.

What each step does for a kind of board is in `harness.board_device`; here is the order, the check
that the firmware which answers is the one that was built, and what happens after a failure: every
later call raises the first cause again, because what follows it says nothing about the board.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from harness.errors import BoardError, ConfigError, HarnessError
from harness.flasher import flash_checked
from harness.link import Link, LinkOptions, RunOptions
from harness.protocol import HelloReply, Place
from harness.stream import InputResult
from harness.transport import Transport


class Stage(Enum):
    """How far a session is."""

    NEW = "new"
    BUILT = "built"
    READY = "ready"
    CLOSED = "closed"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Expected:
    """What the firmware's hello has to say after the flash. model_hash: 16 bytes."""

    build_id: bytes
    model_hash: bytes


@dataclass(frozen=True, slots=True)
class SessionPlan:
    """The steps of one board.

    build: makes (or finds) the image. flash: writes it; may be called twice. connect: opens the
    line at `default_baud`. bauds: rates to try, none for a line without rates.
    """

    board: str
    build: Callable[[], Expected]
    flash: Callable[[], None]
    connect: Callable[[], Transport]
    default_baud: int = 0
    bauds: tuple[int, ...] = ()
    options: LinkOptions = field(default_factory=LinkOptions)


@dataclass(slots=True)
class Session:
    """One board with one model. Use `start`, `infer`, `close`; or as a context manager."""

    plan: SessionPlan
    stage: Stage = Stage.NEW
    failure: HarnessError | None = None
    _link: Link | None = None

    def __enter__(self) -> Session:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def link(self) -> Link:
        """The open link. Raises the first failure, or ConfigError when the session is not open."""
        if self.failure is not None:
            raise self.failure
        if self._link is None or self.stage is not Stage.READY:
            raise ConfigError(f"the session with {self.plan.board} is {self.stage.value}, not open")
        return self._link

    def start(self) -> HelloReply:
        """Build, flash, open and greet; raise the rate of the line when it is clean.

        Raises HarnessError of the step that failed, FlashError when another firmware answers.
        """
        if self.stage is Stage.READY:
            return self.link.device
        if self.failure is not None:
            raise self.failure
        try:
            return self._start()
        except HarnessError as error:
            self._break(error)
            raise

    def _start(self) -> HelloReply:
        expected = self.plan.build()
        self.stage = Stage.BUILT
        flash_checked(self.plan.flash, self._greet, (expected.build_id, expected.model_hash))
        assert self._link is not None  # _greet opened it
        self._link.raise_baud(self.plan.bauds)
        self.stage = Stage.READY
        return self._link.device

    def _greet(self) -> tuple[bytes, bytes]:
        """Open the line; build id and model hash of the firmware that answers."""
        self._drop()
        self._link = Link(self.plan.connect(), self.plan.options, baud=self.plan.default_baud)
        self._link.hello()
        # Whatever an earlier session left behind: the built-in model, from its first state.
        hello = self._link.select(Place.BUILT_IN)
        return hello.build_id, hello.model_hash

    def infer(
        self,
        data: bytes | memoryview,
        options: RunOptions | None = None,
        on_result: Callable[[InputResult], None] | None = None,
    ) -> list[InputResult]:
        """See `Link.infer`. A BoardError breaks the session."""
        link = self.link
        try:
            return link.infer(data, options, on_result)
        except BoardError as error:
            self._break(error)
            raise

    def close(self) -> None:
        """End the session. The first failure stays known."""
        self._drop()
        if self.stage is not Stage.BROKEN:
            self.stage = Stage.CLOSED

    def release(self) -> Transport:
        """End the session but keep the line open, for another client."""
        link = self.link
        self._link = None
        self.stage = Stage.CLOSED
        return link.release()

    def _break(self, error: HarnessError) -> None:
        self.failure = error
        self.stage = Stage.BROKEN
        self._drop()

    def _drop(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()


def not_flashed() -> None:
    """The flash step of a board that is loaded when it is opened."""
