"""dask-ml's own KMeans, for the bench."""

from __future__ import annotations

import importlib
import importlib.metadata
from dataclasses import dataclass
from typing import Any

import dask
import numpy as np

from dask_impl.local import dask_array
from harness.contract import FitResult, FitSpec, LabelArray, Settings
from harness.datasets import Dataset

#: dask-ml stops when the squared shift of the centers is *below* tol: with 0 it never does. Below the
#: smallest positive number there is only "no center moves": the strict convergence of the matched track.
STRICT_TOL = float(np.nextafter(0.0, 1.0))


@dataclass
class DaskMLState:
    """The persisted array and the core budget."""

    X: Any
    n_threads: int


class DaskMLKMeans:
    """``dask_ml.cluster.KMeans`` on Dask's default scheduler for arrays, threads."""

    def available(self) -> str | None:
        """Return None, or what is missing."""
        try:
            importlib.import_module("dask_ml.cluster")
        except ImportError as error:
            return f"{error}; install it: pip install dask-ml"
        return None

    def version(self) -> str:
        """Return dask-ml's version."""
        return importlib.metadata.version("dask-ml")

    def prepare(self, dataset: Dataset, spec: FitSpec) -> DaskMLState:
        """Load the chunks."""
        X = dask_array(dataset, spec.n_threads)
        return DaskMLState(X.persist(scheduler="threads", num_workers=spec.n_threads), spec.n_threads)

    def fit(self, state: DaskMLState, spec: FitSpec) -> Any:  # noqa: ANN401  # an estimator without types
        """Fit the estimator.

        It has no restarts: its ``n_init`` is passed on to a k-means of the candidates of its seeding.
        """
        from dask_ml.cluster import KMeans

        parameters: dict[str, Any] = {"n_clusters": spec.n_clusters, "random_state": spec.seed}
        if spec.init is not None:
            parameters["init"] = spec.init
        if spec.max_iter is not None:
            parameters["max_iter"] = spec.max_iter
        if spec.tol is not None:
            parameters["tol"] = max(spec.tol, STRICT_TOL)
        estimator = KMeans(**parameters)
        with dask.config.set(scheduler="threads", num_workers=state.n_threads):
            return estimator.fit(state.X)

    def result(self, fitted: Any, spec: FitSpec) -> FitResult:  # noqa: ANN401  # an estimator without types
        """Read the attributes of the fitted estimator.

        Its objective sums unsquared distances: it is reported, and means nothing.
        """
        return FitResult(
            centers=np.asarray(fitted.cluster_centers_),
            n_iter=fitted.n_iter_,
            reported_inertia=fitted.inertia_,
            settings=Settings(
                init="given" if spec.init is not None else fitted.init,
                n_init=1,
                max_iter=fitted.max_iter,
                tol=fitted.tol,
            ),
        )

    def predict(self, state: DaskMLState, fitted: Any) -> LabelArray:  # noqa: ANN401  # without types
        """Assign the samples to the final centers; ``labels_`` is lazy and would take the same work."""
        with dask.config.set(scheduler="threads", num_workers=state.n_threads):
            return np.asarray(fitted.predict(state.X).compute())

    def close(self, state: DaskMLState) -> None:
        """Nothing was started."""


def dask_ml() -> DaskMLKMeans:
    """Return the registry's ``dask-ml``."""
    return DaskMLKMeans()
