"""mlpack's k-means, for the bench: one row an algorithm of its exact family."""

from __future__ import annotations

import importlib
import importlib.metadata
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.contract import FitResult, FitSpec, FloatArray, LabelArray, Settings
from harness.datasets import Dataset

#: Built into mlpack: it stops when the centers, all together, move less than this (Euclidean norm).
SHIFT = 1e-5
#: Its default of ``max_iterations``.
DEFAULT_ITERATIONS = 1000


@dataclass(frozen=True)
class MlpackFit:
    """The centers, and the labels as the whole numbers they are."""

    centers: FloatArray
    labels: LabelArray


@dataclass(frozen=True)
class MlpackKMeans:
    """``mlpack.kmeans``, which computes in float64 only.

    It has no tolerance to set: see `SHIFT`, which is absolute. It does not tell its iterations, nor an
    objective. An empty cluster takes the farthest sample of the cluster of largest variance.

    Parameters
    ----------
    algorithm : {"elkan", "hamerly", "dualtree"}
        mlpack's name for the way to find the nearest centers; all are exact.
    """

    algorithm: str

    def available(self) -> str | None:
        """Return None, or what is missing."""
        try:
            importlib.import_module("mlpack")
        except ImportError as error:
            return f"{error}; install it: pip install mlpack (make peers installs every peer)"
        return None

    def version(self) -> str:
        """Return mlpack's version."""
        return importlib.metadata.version("mlpack")

    def prepare(self, dataset: Dataset, spec: FitSpec) -> npt.NDArray[np.float64]:
        """Read the samples as float64: the type and order in which mlpack uses them without a copy."""
        return np.ascontiguousarray(dataset.load(), dtype=np.float64)

    def fit(self, state: npt.NDArray[np.float64], spec: FitSpec) -> MlpackFit:
        """Cluster; what `spec` leaves open stays at mlpack's defaults: random samples, 1000 iterations."""
        import mlpack

        parameters: dict[str, Any] = {}
        if spec.init is not None:
            # mlpack iterates in this very memory and may return it as the centers without owning it: it must
            # be a copy, and outlive the call.
            parameters["initial_centroids"] = np.array(spec.init, dtype=np.float64, order="C")
        found = mlpack.kmeans(
            clusters=spec.n_clusters,
            input_=state,
            algorithm=self.algorithm,
            max_iterations=_iterations(spec),
            # Without it the labels come as a column of a copy of the samples.
            labels_only=True,
            copy_all_inputs=False,
            # Zero would mean the time of day.
            seed=spec.seed + 1,
            **parameters,
        )
        # The labels come as a column of float64.
        return MlpackFit(np.array(found["centroid"]), np.asarray(found["output"]).ravel().astype(np.int32))

    def result(self, fitted: MlpackFit, spec: FitSpec) -> FitResult:
        """Return what the fit found and what it was told."""
        return FitResult(
            centers=fitted.centers,
            n_iter=None,
            reported_inertia=None,
            settings=Settings(
                init="random" if spec.init is None else "given",
                n_init=1,
                max_iter=_iterations(spec),
                tol=SHIFT,
            ),
            labels=fitted.labels,
        )

    def predict(self, state: npt.NDArray[np.float64], fitted: MlpackFit) -> LabelArray | None:
        """Return None: it has no predict, and its fit yields the labels."""
        return None

    def close(self, state: npt.NDArray[np.float64]) -> None:
        """Nothing was started."""


def elkan() -> MlpackKMeans:
    """Return the registry's ``mlpack-elkan``."""
    return MlpackKMeans("elkan")


def hamerly() -> MlpackKMeans:
    """Return the registry's ``mlpack-hamerly``."""
    return MlpackKMeans("hamerly")


def dualtree() -> MlpackKMeans:
    """Return the registry's ``mlpack-dualtree``."""
    return MlpackKMeans("dualtree")


def _iterations(spec: FitSpec) -> int:
    return DEFAULT_ITERATIONS if spec.max_iter is None else spec.max_iter
