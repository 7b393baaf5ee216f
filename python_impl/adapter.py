"""The textbook NumPy implementation, for the bench."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.contract import FitResult, FitSpec, FloatArray, LabelArray, Settings
from harness.datasets import Dataset
from python_impl.kmeans import assign, kmeans


class NumpyKMeans:
    """`python_impl.kmeans`; its BLAS takes the core budget from the environment."""

    def available(self) -> str | None:
        """Return None: NumPy is always there."""
        return None

    def version(self) -> str:
        """Return NumPy's version."""
        return np.__version__

    def prepare(self, dataset: Dataset, spec: FitSpec) -> FloatArray:
        """Read the samples."""
        return dataset.load()

    def fit(self, state: FloatArray, spec: FitSpec) -> FitResult:
        """Seed, if no start is given, and iterate."""
        settings = Settings(
            init="k-means++" if spec.init is None else "given",
            n_init=1 if spec.n_init is None else spec.n_init,
            max_iter=300 if spec.max_iter is None else spec.max_iter,
            tol=1e-4 if spec.tol is None else spec.tol,
        )
        arguments: dict[str, Any] = {
            "n_init": settings.n_init,
            "max_iter": settings.max_iter,
            "tol": settings.tol,
            "seed": spec.seed,
        }
        if spec.init is not None:
            arguments["init"] = spec.init
        result = kmeans(state, spec.n_clusters, **arguments)
        return FitResult(
            centers=result.centers,
            n_iter=result.n_iter,
            reported_inertia=result.inertia,
            settings=settings,
            labels=result.labels,
            seeding_seconds=result.seeding_seconds if spec.init is None else None,
        )

    def predict(self, state: FloatArray, result: FitResult) -> LabelArray:
        """Assign the samples to the final centers."""
        return assign(state, result.centers)[0]

    def close(self, state: FloatArray) -> None:
        """Nothing was started."""


def numpy_kmeans() -> NumpyKMeans:
    """Return the registry's ``numpy``."""
    return NumpyKMeans()
