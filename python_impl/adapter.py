"""The textbook NumPy implementation, for the bench."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.contract import FitResult, FitSpec, FloatArray, LabelArray, Settings
from harness.datasets import Dataset
from python_impl.kmeans import Result, assign, kmeans


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

    def fit(self, state: FloatArray, spec: FitSpec) -> Result:
        """Seed, if no start is given, and iterate."""
        settings = _settings(spec)
        arguments: dict[str, Any] = {
            "n_init": settings.n_init,
            "max_iter": settings.max_iter,
            "tol": settings.tol,
            "seed": spec.seed,
        }
        if spec.init is not None:
            arguments["init"] = spec.init
        return kmeans(state, spec.n_clusters, **arguments)

    def result(self, fitted: Result, spec: FitSpec) -> FitResult:
        """Return what the fit found and what it was told."""
        return FitResult(
            centers=fitted.centers,
            n_iter=fitted.n_iter,
            reported_inertia=fitted.inertia,
            settings=_settings(spec),
            labels=fitted.labels,
            seeding_seconds=fitted.seeding_seconds if spec.init is None else None,
        )

    def predict(self, state: FloatArray, fitted: Result) -> LabelArray:
        """Assign the samples to the final centers."""
        return assign(state, fitted.centers)[0]

    def close(self, state: FloatArray) -> None:
        """Nothing was started."""


def numpy_kmeans() -> NumpyKMeans:
    """Return the registry's ``numpy``."""
    return NumpyKMeans()


def _settings(spec: FitSpec) -> Settings:
    """Return what is asked for, and this implementation's defaults where nothing is."""
    return Settings(
        init="k-means++" if spec.init is None else "given",
        n_init=1 if spec.n_init is None else spec.n_init,
        max_iter=300 if spec.max_iter is None else spec.max_iter,
        tol=1e-4 if spec.tol is None else spec.tol,
    )
