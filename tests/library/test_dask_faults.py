"""What goes wrong while a cluster fits, for real: processes that are killed, and more rows than memory."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import distributed
import numpy as np
import pandas as pd
import pytest

import rust_kmeans
from rust_kmeans.dask import KMeans, RustKernel
from tests.library.test_dask import assert_nothing_left, chunked, samples

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's")


@pytest.fixture(autouse=True)
def _no_hanging() -> Iterator[None]:
    """End a test that waits for ever: a cluster that fails often shows in nothing else."""

    def give_up(*_: object) -> None:
        raise TimeoutError("the test waits for something that does not happen")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(150)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@contextmanager
def cluster(**parameters: Any) -> Iterator[Any]:
    """Start worker processes and make their client the current one."""
    parameters = {"n_workers": 2, "threads_per_worker": 1, **parameters}
    with (
        distributed.LocalCluster(
            host="127.0.0.1",
            dashboard_address=None,
            scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
            **parameters,
        ) as started,
        distributed.Client(started, set_as_default=False) as client,
        client.as_current(),
    ):
        yield client


@dataclass(frozen=True)
class FaultyKernel(RustKernel):
    """Sends a signal to a process in a step of some block, once for each of its files that is not there yet.

    Parameters
    ----------
    folder : Path
        Where files are made.
    times : int
        How many files.
    from_step : int
        Steps of a block before the first signal.
    pid : int
        The process; 0 for the worker itself.
    signal_number : int
        What is sent.
    """

    folder: Path
    times: int
    from_step: int = 3
    pid: int = 0
    signal_number: int = signal.SIGKILL

    def start(self, *args: Any) -> Any:
        return FaultyState(super().start(*args), self)

    def strike(self) -> None:
        for i in range(self.times):
            try:
                (self.folder / str(i)).touch(exist_ok=False)
            except FileExistsError:
                continue
            os.kill(self.pid or os.getpid(), self.signal_number)
            return


class FaultyState:
    def __init__(self, state: Any, kernel: FaultyKernel) -> None:
        self._state, self._kernel, self._n_steps = state, kernel, 0

    def step(self, *args: Any, **kwargs: Any) -> Any:
        self._n_steps += 1
        if self._n_steps >= self._kernel.from_step:
            # So that a new state, which starts with two steps, goes on for a while.
            self._n_steps = 0
            self._kernel.strike()
        return self._state.step(*args, **kwargs)

    def farthest_rows(self, *args: Any) -> Any:
        return self._state.farthest_rows(*args)


def test_workers_killed_twice_in_the_middle_of_a_fit_change_no_bit(tmp_path: Path) -> None:
    X = samples(3_000)
    expected = rust_kmeans.KMeans(12, init=X[:12], tol=0).fit(X)
    assert expected.n_iter_ > 8
    with cluster() as client:
        kernel = FaultyKernel(tmp_path, times=2)
        model = KMeans(12, init=X[:12], tol=0, kernel=kernel).fit(chunked(X, (900, 600, 1_500)))
        assert len(list(tmp_path.iterdir())) == 2
        np.testing.assert_array_equal(model.cluster_centers_, expected.cluster_centers_)
        np.testing.assert_array_equal(model.inertia_history_, expected.inertia_history_)
        assert model.inertia_ == expected.inertia_
        assert_nothing_left(client)


def test_a_task_that_ends_every_worker_is_one_error_and_leaves_nothing(tmp_path: Path) -> None:
    X = chunked(samples(), (300, 300))
    with dask.config.set({"distributed.scheduler.allowed-failures": 0}), cluster(n_workers=1) as client:
        kernel = FaultyKernel(tmp_path, times=10, from_step=1)
        with pytest.raises(RuntimeError, match=r"ended its worker 1 time.*Give workers more memory"):
            KMeans(4, init=samples()[:4], kernel=kernel).fit(X)
        client.wait_for_workers(1, timeout=20)
        assert_nothing_left(client)


def test_an_interrupt_leaves_nothing_on_the_cluster(tmp_path: Path) -> None:
    X = chunked(samples(), (300, 300))
    with cluster() as client:
        kernel = FaultyKernel(tmp_path, times=1, pid=os.getpid(), signal_number=signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            KMeans(12, init=samples()[:12], tol=0, kernel=kernel).fit(X)
        gc.collect()
        assert_nothing_left(client)
        # And the cluster goes on working.
        assert KMeans(4, random_state=0).fit(X).n_iter_ > 0


def test_an_interrupt_on_threads_goes_through(tmp_path: Path) -> None:
    kernel = FaultyKernel(tmp_path, times=1, pid=os.getpid(), signal_number=signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), dask.config.set(scheduler="threads", num_workers=2):
        KMeans(12, init=samples()[:12], tol=0, kernel=kernel, n_threads=1).fit(chunked(samples(), (300, 300)))


def test_a_lost_scheduler_is_one_error(tmp_path: Path) -> None:
    where = tmp_path / "scheduler.json"
    python = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    options = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--dashboard-address", "127.0.0.1:0"]
    scheduler = subprocess.Popen(
        [*python, *options, "--scheduler-file", str(where)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", "--nthreads", "1", "--no-dashboard"]
    worker += ["--death-timeout", "5", "--scheduler-file", str(where), "--local-directory", str(tmp_path)]
    started = [scheduler, subprocess.Popen(worker, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)]
    (tmp_path / "signals").mkdir()
    try:
        with (
            dask.config.set({"distributed.comm.timeouts.connect": "5s"}),
            distributed.Client(scheduler_file=str(where), set_as_default=False) as client,
            client.as_current(),
        ):
            client.wait_for_workers(1, timeout=20)
            kernel = FaultyKernel(tmp_path / "signals", times=1, pid=scheduler.pid)
            with pytest.raises(RuntimeError, match=r"scheduler is gone.*call fit again"):
                KMeans(12, init=samples()[:12], tol=0, kernel=kernel).fit(chunked(samples(), (300, 300)))
    finally:
        for process in started:
            process.terminate()
            process.wait(20)


def test_what_workers_spill_is_reported_and_changes_no_bit() -> None:
    X = samples(200_000)
    expected = rust_kmeans.KMeans(5, init=X[:5], tol=0, max_iter=4).fit(X)
    limits = {"distributed.worker.memory.target": 0.002, "distributed.worker.memory.spill": False}
    with dask.config.set(limits), cluster(memory_limit="1GiB") as client:
        model = KMeans(5, init=X[:5], tol=0, max_iter=4, persist=True)
        model.fit(da.from_array(X, chunks=(25_000, 3)))
        assert model.spilled_bytes_ > 0
        np.testing.assert_array_equal(model.cluster_centers_, expected.cluster_centers_)
        assert model.inertia_ == expected.inertia_
        assert_nothing_left(client)


# A worker has 300 MiB in memory before it has read anything, and pauses for good when what it cannot give
# back reaches 80 % of its limit: of a limit much lower, no more than that would be shown.
N_FILES, ROWS, COLUMNS = 200, 400_000, 10
LIMIT = N_FILES * ROWS * COLUMNS * 4 // 4


def peak_memory() -> int:
    """Return the most bytes that this process has had in memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is read from /proc")
def test_parquet_of_four_times_the_memory_of_the_workers_is_fitted_within_it(tmp_path: Path) -> None:
    import dask.dataframe as dd

    rng = np.random.default_rng(0)
    # Few different values, so that files are small.
    X = rng.integers(-40, 40, size=(ROWS, COLUMNS)).astype(np.float32)
    X[: ROWS // 2] += 60
    names = [f"x{j}" for j in range(COLUMNS)]
    pd.DataFrame(X, columns=names).to_parquet(tmp_path / "0.parquet", index=False)
    for i in range(1, N_FILES):
        shutil.copy(tmp_path / "0.parquet", tmp_path / f"{i}.parquet")
    start = np.stack([X[0], X[-1]])
    with cluster(n_workers=1, memory_limit=LIMIT) as client:
        model = KMeans(2, init=start, tol=0, max_iter=1).fit(dd.read_parquet(tmp_path))
        peaks = client.run(peak_memory)
        assert not model.persisted_
        assert max(peaks.values()) < LIMIT
    once = rust_kmeans.KMeans(2, init=start, tol=0, max_iter=1).fit(X)
    # As many copies of all rows have the same means.
    np.testing.assert_array_equal(model.cluster_centers_, once.cluster_centers_)
    assert model.inertia_ == pytest.approx(N_FILES * once.inertia_, rel=1e-9)
