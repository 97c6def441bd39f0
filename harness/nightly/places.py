"""Where a board is while a job uses it: the seam for a farm manager.

The matrix says how a board is reached: its `port` (a serial device, `socket://HOST:PORT` or
`rfc2217://HOST:PORT`) and `serial_number`. A farm manager (labgrid, Jumpstarter) hands boards out
instead: pass a function of the type `Reserve` to `harness.nightly.night.run_night`. It is entered
before a job of that board and left after it, gets the entry with its `place`, and yields the entry
with `port` and `serial_number` filled in. Raise BoardError when the place cannot be had: the job
is then recorded as failed, and the others go on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from harness.nightly.matrix import BoardEntry

Reserve = Callable[[BoardEntry], AbstractContextManager[BoardEntry]]


@contextmanager
def as_written(board: BoardEntry) -> Iterator[BoardEntry]:
    """The board as the matrix says: nothing is reserved."""
    yield board
