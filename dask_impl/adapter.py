"""Our Dask driver over the Rust and the NumPy kernel, on threads and on worker processes, for the bench."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import dask
import numpy as np

from dask_impl import driver
from dask_impl.groups import make_group
from dask_impl.kernels import BlockKernel, NumpyKernel, RustKernel
from dask_impl.local import dask_array, persist_on_workers, start_cluster, stop_cluster
from harness.contract import FitResult, FitSpec, LabelArray, Settings
from harness.datasets import Dataset
from rust_impl import extension


@dataclass(frozen=True)
class DaskState:
    """The persisted array, and the cluster it lies on if there is one."""

    X: Any
    client: Any | None
    n_threads: int


@dataclass(frozen=True)
class DaskKMeans:
    """The driver with one kernel.

    Parameters
    ----------
    kernel : BlockKernel
        What runs on a block.
    processes : bool
        Worker processes with one thread each, instead of threads of this process.
    refusal : callable
        Says why the kernel cannot be measured, or None.
    isa : callable
        Names the kernel's instruction set, or None.
    """

    kernel: BlockKernel[Any, Any]
    processes: bool
    refusal: Callable[[], str | None]
    isa: Callable[[], str | None]

    def available(self) -> str | None:
        """Return None, or why the kernel cannot be measured."""
        return self.refusal()

    def version(self) -> str:
        """Return the versions of the kernel and of Dask."""
        return f"{self.kernel.version()} dask-{dask.__version__}"

    def prepare(self, dataset: Dataset, spec: FitSpec) -> DaskState:
        """Start the cluster, if it takes one, and load the chunks."""
        X = dask_array(dataset, spec.n_threads)
        if not self.processes:
            X = X.persist(scheduler="threads", num_workers=spec.n_threads)
            return DaskState(X, None, spec.n_threads)
        client = start_cluster(spec.n_threads)
        # Like this process after the bench's warm-up, the workers shall have their libraries loaded.
        client.run(_warm_up, self.kernel)
        return DaskState(persist_on_workers(X, client), client, spec.n_threads)

    def fit(self, state: DaskState, spec: FitSpec) -> FitResult:
        """Seed, if no start is given, and iterate; the labels stay with the blocks."""
        seeding = f"k-means++ of {driver.seeding_rows(spec.n_clusters)} rows"
        settings = Settings(
            init=seeding if spec.init is None else "given",
            n_init=1,
            max_iter=300 if spec.max_iter is None else spec.max_iter,
            tol=1e-4 if spec.tol is None else spec.tol,
        )
        result = driver.fit(
            state.X,
            spec.n_clusters,
            self.kernel,
            init=spec.init,
            max_iter=settings.max_iter or 300,
            tol=settings.tol or 0.0,
            seed=spec.seed,
            n_threads=state.n_threads,
            client=state.client,
        )
        return FitResult(
            centers=result.centers,
            n_iter=result.n_iter,
            reported_inertia=result.inertia,
            settings=settings,
            seeding_seconds=result.seeding_seconds if spec.init is None else None,
            isa=self.isa(),
        )

    def predict(self, state: DaskState, result: FitResult) -> LabelArray:
        """Assign the samples to the final centers and bring the labels here."""
        labels = driver.predict(state.X, result.centers, self.kernel)
        if state.client is not None:
            return np.asarray(state.client.compute(labels).result())
        return np.asarray(labels.compute(scheduler="threads", num_workers=state.n_threads))

    def close(self, state: DaskState) -> None:
        """Stop the cluster."""
        if state.client is not None:
            stop_cluster(state.client)


def dask_rust() -> DaskKMeans:
    """Return the registry's ``dask-rust``."""
    return DaskKMeans(RustKernel(), False, extension.refusal, extension.isa)


def dask_rust_processes() -> DaskKMeans:
    """Return the registry's ``dask-rust-processes``."""
    return DaskKMeans(RustKernel(), True, extension.refusal, extension.isa)


def dask_numpy() -> DaskKMeans:
    """Return the registry's ``dask-numpy``."""
    return DaskKMeans(NumpyKernel(), False, lambda: None, lambda: None)


def dask_numpy_processes() -> DaskKMeans:
    """Return the registry's ``dask-numpy-processes``."""
    return DaskKMeans(NumpyKernel(), True, lambda: None, lambda: None)


def _warm_up(kernel: BlockKernel[Any, Any]) -> None:
    X = np.zeros((1, 1))
    driver.assign_group(make_group([0], [0], X), kernel, kernel.block_scale(X), X, None)
