"""SuperKMeans, for the bench: over all samples, and as it comes."""

from __future__ import annotations

import importlib
import importlib.metadata
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.contract import FitResult, FitSpec, FloatArray, LabelArray, Settings
from harness.datasets import Dataset

#: Every sample, one level of clusters, and as many iterations as were asked for.
LIKE_FOR_LIKE: dict[str, Any] = {
    "hierarchical": False,
    "sampling_fraction": 1.0,
    "max_points_per_cluster": 2**31 - 1,
    "early_termination": False,
}
#: Its default of ``iters``.
DEFAULT_ITERATIONS = 10


@dataclass(frozen=True)
class SuperKMeansFit:
    """The trained model, and the centers that training returned."""

    model: Any
    centers: FloatArray


@dataclass(frozen=True)
class SuperKMeansAdapter:
    """``superkmeans.SuperKMeans``, float32: GEMM, then distances pruned by a statistical test.

    A sample may therefore keep a center that is not its nearest: other mathematics, whatever the parameters
    (with few features or clusters it does not prune). It starts from samples of its own choice only.

    Parameters
    ----------
    fixed : dict
        Parameters that make it this implementation.
    """

    fixed: dict[str, Any] = field(default_factory=dict)

    def available(self) -> str | None:
        """Return None, or what is missing."""
        try:
            importlib.import_module("superkmeans")
        except ImportError as error:
            return f"{error}; install it: pip install superkmeans (make peers installs every peer)"
        return None

    def version(self) -> str:
        """Return the library's version."""
        return importlib.metadata.version("superkmeans")

    def prepare(self, dataset: Dataset, spec: FitSpec) -> FloatArray:
        """Read the samples."""
        return dataset.load()

    def fit(self, state: FloatArray, spec: FitSpec) -> SuperKMeansFit:
        """Train; a model can be trained once, so that making it is part of the fit."""
        from superkmeans import SuperKMeans

        model: Any = SuperKMeans(
            n_clusters=spec.n_clusters,
            dimensionality=state.shape[1],
            iters=_iterations(spec),
            n_threads=spec.n_threads,
            seed=spec.seed,
            **self.fixed,
        )
        return SuperKMeansFit(model, model.train(state))

    def result(self, fitted: SuperKMeansFit, spec: FitSpec) -> FitResult:
        """Read the model's statistics."""
        stats = fitted.model.iteration_stats
        # Its two levels run each a number of iterations of its own, and it counts none of them.
        hierarchical = bool(fitted.model.hierarchical_)
        return FitResult(
            centers=fitted.centers,
            n_iter=None if hierarchical else len(stats),
            reported_inertia=float(stats[-1].objective) if stats and not hierarchical else None,
            settings=Settings(
                init="random", n_init=1, max_iter=None if hierarchical else _iterations(spec), tol=None
            ),
        )

    def predict(self, state: FloatArray, fitted: SuperKMeansFit) -> LabelArray:
        """Assign by brute force, as its documentation tells users to."""
        return np.asarray(fitted.model.assign(state, fitted.centers))

    def close(self, state: FloatArray) -> None:
        """Nothing was started."""


def superkmeans() -> SuperKMeansAdapter:
    """Return the registry's ``superkmeans``."""
    return SuperKMeansAdapter(LIKE_FOR_LIKE)


def superkmeans_default() -> SuperKMeansAdapter:
    """Return the registry's ``superkmeans-default``."""
    return SuperKMeansAdapter()


def _iterations(spec: FitSpec) -> int:
    return DEFAULT_ITERATIONS if spec.max_iter is None else spec.max_iter
