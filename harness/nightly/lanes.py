"""Who runs which job when: side by side here or on a Dask cluster; boards one job at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Final

from harness.errors import BoardError, ConfigError, ToolchainError
from harness.history import Recorded
from harness.nightly.launch import Order, carry_out, stop_workers
from harness.nightly.worker import failed

Put = Callable[[Order, Recorded], None]
Lane = Callable[[Put], None]
"""Carries out some orders one after the other, and puts each outcome as it comes."""

_CONNECT_S: Final = 20.0


_LOOK_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What a lane has put; it goes on when `handled` is set."""

    order: Order
    outcome: Recorded
    handled: threading.Event


@dataclass(frozen=True, slots=True)
class _End:
    """A lane is through; failure: what it raised."""

    failure: BaseException | None = None


def run_lanes(lanes: Sequence[Lane], side_by_side: int) -> Iterator[tuple[Order, Recorded]]:
    """Run lanes in threads, at most so many at once; every outcome as it comes.

    A lane waits with its next order until the caller has asked for the next outcome: what the
    caller does with a board (measure again) does not meet the board's next job. What a lane raises
    is raised here, after the other lanes have ended. When the caller is interrupted, the running
    workers are stopped and nothing more is begun.
    """
    ready: SimpleQueue[_Outcome | _End] = SimpleQueue()
    interrupted = threading.Event()

    def put(order: Order, outcome: Recorded) -> None:
        item = _Outcome(order, outcome, threading.Event())
        ready.put(item)
        while not item.handled.wait(_LOOK_S):
            if interrupted.is_set():
                raise InterruptedError

    def run(lane: Lane) -> None:
        try:
            if not interrupted.is_set():
                lane(put)
        except BaseException as error:  # handed to the caller's thread
            ready.put(_End(error))
        else:
            ready.put(_End())

    with ThreadPoolExecutor(max_workers=side_by_side) as threads:
        for lane in lanes:
            threads.submit(run, lane)
        try:
            yield from _until_ended(ready, len(lanes))
        except BaseException:
            interrupted.set()
            stop_workers()
            raise


def _until_ended(
    ready: SimpleQueue[_Outcome | _End], lanes: int
) -> Iterator[tuple[Order, Recorded]]:
    failure = None
    while lanes:
        item = ready.get()
        if isinstance(item, _End):
            lanes, failure = lanes - 1, failure or item.failure
        else:
            yield item.order, item.outcome
            item.handled.set()
    if failure is not None:
        raise failure


def sequence(orders: Sequence[Order], work: Callable[[Order], Recorded]) -> Lane:
    """A lane on this machine: jobs that share a board, or a single job."""

    def lane(put: Put) -> None:
        for order in orders:
            put(order, work(order))

    return lane


def on_dask(address: str, orders: Sequence[Order]) -> Lane:
    """A lane that hands its orders to a Dask cluster, all at once.

    Each worker needs axonrig and sees the night's folder and the models under the same paths. A job
    whose worker is lost runs again on another; each has one outcome in the end.
    """

    def lane(put: Put) -> None:
        distributed = _distributed()
        with _client(distributed, address) as client:
            futures = {
                client.submit(
                    carry_out, order, key=f"axonrig-{order.night}-{order.job.name}"
                ): order
                for order in orders
            }
            for future in distributed.as_completed(list(futures), loop=client.loop):
                put(futures[future], _outcome(future, futures[future]))

    return lane


def check_dask(address: str) -> None:
    """Raise ToolchainError without the package, BoardError when no scheduler answers."""
    with _client(_distributed(), address) as client:
        if not client.scheduler_info()["workers"]:
            raise BoardError(f"the Dask scheduler {address} has no workers: start some")


def _distributed() -> Any:
    try:
        import distributed
    except ImportError as error:
        raise ToolchainError(
            "the package 'distributed' is not installed, and --dask needs it: "
            "pip install '.[dask]' in a checkout of axonrig"
        ) from error
    return distributed


def _client(distributed: Any, address: str) -> Any:
    try:
        return distributed.Client(address, timeout=_CONNECT_S, set_as_default=False)
    except (OSError, TimeoutError) as error:
        raise BoardError(f"no Dask scheduler answers at {address}: {error}") from error
    except ValueError as error:
        raise ConfigError(f"'{address}' is no address like tcp://HOST:8786: {error}") from error


def _outcome(future: Any, order: Order) -> Recorded:
    # Not `status`: when the worker that holds a result dies, a finished job is pending once more.
    error = future.exception()
    if error is None:
        outcome: Recorded = future.result()
        return outcome
    reason = f"the Dask cluster could not run it: {error}"
    return failed(order.job, " ".join(reason.split()), "infrastructure")
