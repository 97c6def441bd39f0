"""A night on a Dask cluster: a killed worker costs no job and doubles none."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from harness.errors import BoardError, ConfigError
from harness.history import Job, Status, open_history
from harness.nightly.lanes import _outcome
from harness.nightly.launch import Order
from harness.nightly.matrix import load_matrix
from harness.nightly.night import NightRequest, NightStatus, run_night

pytest.importorskip("distributed", reason="the optional package distributed is not installed")

ROOT = Path(__file__).parents[2]
JOBS = 3
MATRIX = (
    "schema: 1\nmodels:\n"
    + "".join(f"  - {{name: m{k}, file: embedded, limit: {k + 1}}}\n" for k in range(JOBS))
    + "boards: [{name: sim}]\nvariants: [{name: int8}]\n"
)


@dataclass(frozen=True, slots=True)
class Cluster:
    address: str
    workers: tuple[subprocess.Popen[bytes], ...]


def _start(folder: Path, name: str, *words: str) -> subprocess.Popen[bytes]:
    """A process of the cluster on loopback; its messages go to a file."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "20s",
        "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "30s",
    }
    with (folder / f"{name}.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "distributed.cli." + words[0], *words[1:]],
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=environment,
            start_new_session=True,
        )


def _wait_for(folder: Path, name: str, pattern: str) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = re.search(pattern, (folder / f"{name}.log").read_text())
        if found:
            return found[1]
        time.sleep(0.05)
    pytest.fail(f"{name}: {(folder / f'{name}.log').read_text()}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A scheduler and two workers of one thread each."""
    options = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    started = [_start(tmp_path, "scheduler", "dask_scheduler", *options)]
    try:
        address = _wait_for(tmp_path, "scheduler", r"Scheduler at: +(tcp://127\S+)")
        words = ["--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1"]
        for name in ("one", "two"):
            started.append(_start(tmp_path, name, "dask_worker", address, *words))
        for name in ("one", "two"):
            _wait_for(tmp_path, name, r"(Starting established connection)")
        yield Cluster(address, tuple(started[1:]))
    finally:
        for process in started:
            _stop(process)


def request(tmp_path: Path, address: str) -> NightRequest:
    path = tmp_path / "nightly.yaml"
    path.write_text(MATRIX)
    return NightRequest(load_matrix(path), path, tmp_path / "out", dask=address, name="n")


def test_every_job_ends_once_though_a_worker_is_killed(tmp_path: Path, cluster: Cluster) -> None:
    seen: list[str] = []

    def kill_one(result: object) -> None:
        """At the first outcome all other jobs are waiting or running."""
        seen.append(str(result))
        if len(seen) == 1:
            _stop(cluster.workers[0])

    wanted = replace(request(tmp_path, cluster.address), observe=kill_one)
    with open_history(tmp_path / "h.db", create=True) as history:
        night = run_night(history, wanted)
    assert cluster.workers[0].poll() is not None
    assert night.status is NightStatus.FINE, [item.reason for item in night.results]
    assert [item.status for item in night.results] == [Status.OK] * JOBS
    assert len({item.job for item in night.results}) == len(seen) == JOBS
    for item in night.results:
        assert (Path(item.folder or "") / "manifest.json").is_file()


class LostOnce:
    """A future whose result was on a worker that died after it had finished; the job runs again."""

    status = "pending"

    def exception(self) -> None:
        """As of `distributed.Future`: waits for the end."""

    def result(self) -> str:
        """What the second worker gave."""
        return "outcome"


def test_a_result_that_was_lost_with_its_worker_is_awaited() -> None:
    order = Order(Path("n.yaml"), "", Job("m", "sim", "int8"), Path("out"), 1)
    found: object = _outcome(LostOnce(), order)
    assert found == "outcome"


def test_no_cluster_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.nightly.lanes._CONNECT_S", 0.3)
    with open_history(tmp_path / "h.db", create=True) as history:
        with pytest.raises(BoardError, match="no Dask scheduler answers at tcp://127"):
            run_night(history, request(tmp_path, "tcp://127.0.0.1:9"))
        with pytest.raises(ConfigError, match="is no address"):
            run_night(history, request(tmp_path, "nonsense://x"))
