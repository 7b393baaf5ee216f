"""``rust_kmeans.dask.KMeans`` over the Rust and the NumPy kernel, on threads and on worker processes."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dask
import dask.array as da
import numpy as np
from threadpoolctl import threadpool_limits

from dask_impl.kernels import NumpyKernel
from dask_impl.local import dask_array, start_cluster, stop_cluster
from harness.contract import FitResult, FitSpec, LabelArray, Settings
from harness.datasets import Dataset
from rust_impl import extension

if TYPE_CHECKING:
    from distributed import Client

    from rust_kmeans.dask import KMeans


@dataclass
class DaskState:
    """The persisted array, and the cluster it lies on if there is one."""

    X: Any
    client: Any | None
    n_threads: int


@dataclass(frozen=True)
class DaskKMeans:
    """The estimator with one kernel.

    Parameters
    ----------
    kernel : BlockKernel or None
        What runs on a block; None for the Rust kernel.
    processes : bool
        Worker processes with one thread each, instead of threads of this process.
    """

    kernel: NumpyKernel | None
    processes: bool

    def available(self) -> str | None:
        """Return None, or why the package cannot be measured."""
        return extension.refusal()

    def version(self) -> str:
        """Return the versions of the kernel's library and of Dask."""
        library = f"rust-kmeans-{importlib.metadata.version('rust-kmeans')}"
        if self.kernel is not None:
            library = f"numpy-{np.__version__}"
        return f"{library} dask-{dask.__version__}"

    def prepare(self, dataset: Dataset, spec: FitSpec) -> DaskState:
        """Start the cluster, if it takes one, and load the chunks."""
        X = dask_array(dataset, spec.n_threads)
        if not self.processes:
            X = X.persist(scheduler="threads", num_workers=spec.n_threads)
            return DaskState(X, None, spec.n_threads)
        client = start_cluster(spec.n_threads)
        # Like this process after the bench's warm-up, the workers shall have their libraries loaded.
        client.run(_warm_up)
        return DaskState(persist_on_workers(X, client), client, spec.n_threads)

    def fit(self, state: DaskState, spec: FitSpec) -> KMeans:
        """Fit the estimator; the labels stay with the blocks."""
        from rust_kmeans.dask import KMeans

        parameters: dict[str, Any] = {"n_clusters": spec.n_clusters, "random_state": spec.seed}
        if spec.init is not None:
            parameters["init"] = spec.init
        if spec.max_iter is not None:
            parameters["max_iter"] = spec.max_iter
        if spec.tol is not None:
            parameters["tol"] = spec.tol
        # NumPy's threads are Dask's: a group of blocks for each.
        n_threads = None if self.kernel is None else 1
        estimator = KMeans(**parameters, kernel=self.kernel, n_threads=n_threads)
        with _scheduler(state):
            return estimator.fit(state.X)

    def result(self, fitted: KMeans, spec: FitSpec) -> FitResult:
        """Read the attributes of the fitted estimator."""
        return FitResult(
            centers=fitted.cluster_centers_,
            n_iter=fitted.n_iter_,
            reported_inertia=fitted.inertia_,
            settings=Settings(
                init="given" if spec.init is not None else str(fitted.init),
                n_init=1,
                max_iter=fitted.max_iter,
                tol=fitted.tol,
            ),
            isa=extension.isa() if self.kernel is None else None,
        )

    def predict(self, state: DaskState, fitted: KMeans) -> LabelArray:
        """Assign the samples to the final centers and bring the labels here."""
        with _scheduler(state):
            return np.asarray(fitted.predict(state.X).compute())

    def close(self, state: DaskState) -> None:
        """Stop the cluster."""
        if state.client is not None:
            stop_cluster(state.client)


def dask_rust() -> DaskKMeans:
    """Return the registry's ``dask-rust``."""
    return DaskKMeans(None, processes=False)


def dask_rust_processes() -> DaskKMeans:
    """Return the registry's ``dask-rust-processes``."""
    return DaskKMeans(None, processes=True)


def dask_numpy() -> DaskKMeans:
    """Return the registry's ``dask-numpy``."""
    return DaskKMeans(NumpyKernel(), processes=False)


def dask_numpy_processes() -> DaskKMeans:
    """Return the registry's ``dask-numpy-processes``."""
    return DaskKMeans(NumpyKernel(), processes=True)


def persist_on_workers(X: da.Array, client: Client) -> da.Array:
    """Compute an array on a cluster, each worker getting consecutive chunks of about as many rows."""
    import distributed

    from rust_kmeans.dask._groups import split

    # `scheduler_info` may know of no worker: what the client asks for every two seconds comes in between.
    workers = sorted(client.nthreads())
    parts = [
        client.persist(X.blocks[part[0] : part[-1] + 1], workers=[worker], allow_other_workers=True)
        for part, worker in zip(split(X.chunks[0], len(workers)), workers, strict=False)
    ]
    persisted = da.concatenate(parts)
    with client.as_current():
        distributed.wait(persisted)
    return persisted


@contextmanager
def _scheduler(state: DaskState) -> Iterator[None]:
    """Make Dask compute on the cluster, or on threads of this process."""
    if state.client is not None:
        with state.client.as_current():
            yield
        return
    # Threads share the cores already; a BLAS that starts its own on top would only make them wait.
    with (
        dask.config.set(scheduler="threads", num_workers=state.n_threads),
        threadpool_limits(1, user_api="blas"),
    ):
        yield


def _warm_up() -> None:
    from rust_kmeans.dask import KMeans

    X = da.zeros((2, 1), chunks=(2, 1))
    with dask.config.set(scheduler="synchronous"):
        KMeans(1, init=[[0.0]]).fit(X)
