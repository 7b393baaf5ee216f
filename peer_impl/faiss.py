"""faiss' k-means, for the bench: over all samples, and as it comes."""

from __future__ import annotations

import importlib
import importlib.metadata
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.contract import FitResult, FitSpec, FloatArray, LabelArray, Settings
from harness.datasets import Dataset

#: A sample of this many per cluster is all of them; faiss holds it in a C int.
ALL_POINTS = 2**31 - 1


@dataclass(frozen=True)
class FaissKMeans:
    """``faiss.Kmeans``: Lloyd's iteration over a brute-force index, in float32.

    It has no tolerance: it stops when its objective, summed in float32, is what it was an iteration ago
    (``early_stop_threshold=0``, its default), or at the cap. Of many samples that sum stands still before the
    labels do; what it then returns is the referee's to judge. An empty cluster becomes a perturbed copy of
    another one's center, where scikit-learn moves it to the farthest sample.

    Parameters
    ----------
    subsample : bool
        Keep faiss' limit of 256 random samples per cluster, which is its default, and other mathematics.
    """

    subsample: bool = False

    def available(self) -> str | None:
        """Return None, or what is missing."""
        try:
            importlib.import_module("faiss")
        except ImportError as error:
            return f"{error}; install it: pip install faiss-cpu (make peers installs every peer)"
        return None

    def version(self) -> str:
        """Return faiss' version."""
        return importlib.metadata.version("faiss-cpu")

    def prepare(self, dataset: Dataset, spec: FitSpec) -> FloatArray:
        """Read the samples and size the thread pool."""
        import faiss

        faiss.omp_set_num_threads(spec.n_threads)
        return dataset.load()

    def fit(self, state: FloatArray, spec: FitSpec) -> Any:  # noqa: ANN401  # a class without types
        """Train; what `spec` leaves open stays at faiss' defaults: 25 iterations from random samples."""
        import faiss

        parameters: dict[str, Any] = {"seed": spec.seed, "niter": spec.max_iter, "nredo": spec.n_init}
        if not self.subsample:
            parameters |= {"max_points_per_centroid": ALL_POINTS, "min_points_per_centroid": 1}
        given = {name: value for name, value in parameters.items() if value is not None}
        kmeans: Any = faiss.Kmeans(state.shape[1], spec.n_clusters, **given)
        kmeans.train(state, init_centroids=spec.init)
        return kmeans

    def result(self, fitted: Any, spec: FitSpec) -> FitResult:  # noqa: ANN401  # a class without types
        """Read what the training left."""
        return FitResult(
            centers=np.asarray(fitted.centroids),
            n_iter=len(fitted.obj),
            # Of the centers before the last step, and of the subsample where there is one.
            reported_inertia=float(fitted.obj[-1]) if len(fitted.obj) else None,
            settings=Settings(
                init="random" if spec.init is None else "given",
                n_init=fitted.cp.nredo,
                max_iter=fitted.cp.niter,
                tol=fitted.cp.early_stop_threshold,
            ),
        )

    def predict(self, state: FloatArray, fitted: Any) -> LabelArray:  # noqa: ANN401  # a class without types
        """Search the nearest center of every sample."""
        _, labels = fitted.assign(state)
        return np.asarray(labels)

    def close(self, state: FloatArray) -> None:
        """Nothing was started."""


def faiss() -> FaissKMeans:
    """Return the registry's ``faiss``."""
    return FaissKMeans()


def faiss_default() -> FaissKMeans:
    """Return the registry's ``faiss-default``."""
    return FaissKMeans(subsample=True)
