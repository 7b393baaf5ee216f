"""Any estimator with scikit-learn's interface, for the bench."""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.contract import FitResult, FitSpec, FloatArray, LabelArray, Settings
from harness.datasets import Dataset
from rust_impl import extension


@dataclass
class EstimatorState:
    """The samples and the estimator."""

    X: FloatArray
    estimator: Any


@dataclass(frozen=True)
class EstimatorAdapter:
    """Measures one estimator class.

    Parameters
    ----------
    module, estimator : str
        Where the class is, and its name; imported when used.
    distribution : str
        The installed distribution that does the work.
    fixed : dict
        Parameters that make it this implementation, on both tracks.
    own_stopping : bool
        Whether it keeps its own ``tol`` on the matched track because strict convergence means nothing to it.
    refusal : callable
        Says why it must not be measured although it can be imported, or None.
    isa : callable
        Names its instruction set, or None.
    make : str
        The target of the Makefile that installs it with others of its kind; empty where none does.
    """

    module: str
    estimator: str
    distribution: str
    fixed: dict[str, Any] = field(default_factory=dict)
    own_stopping: bool = False
    refusal: Callable[[], str | None] = lambda: None
    isa: Callable[[], str | None] = lambda: None
    make: str = ""

    def available(self) -> str | None:
        """Return None, or what is missing."""
        if (reason := self.refusal()) is not None:
            return reason
        try:
            self._class()
        except ImportError as error:
            also = f" (make {self.make} installs every peer)" if self.make else ""
            return f"{error}; install it: pip install {self.distribution}{also}"
        return None

    def version(self) -> str:
        """Return the distribution's version."""
        return importlib.metadata.version(self.distribution)

    def prepare(self, dataset: Dataset, spec: FitSpec) -> EstimatorState:
        """Read the samples and make the estimator: to ask for its parameters takes as long as a small fit.

        The core budget goes by the environment unless there is a parameter for it.
        """
        estimator: Any = self._class()(n_clusters=spec.n_clusters, random_state=spec.seed, **self.fixed)
        parameters = estimator.get_params()
        given = {
            "init": spec.init,
            "n_init": spec.n_init,
            "max_iter": spec.max_iter,
            "tol": None if self.own_stopping else spec.tol,
            "n_threads": spec.n_threads if "n_threads" in parameters else None,
            "n_jobs": spec.n_threads if "n_jobs" in parameters else None,
        }
        estimator.set_params(**{name: value for name, value in given.items() if value is not None})
        return EstimatorState(dataset.load(), estimator)

    def fit(self, state: EstimatorState, spec: FitSpec) -> Any:  # noqa: ANN401  # of any library
        """Fit the estimator; none of them computes an attribute when it is first read."""
        return state.estimator.fit(state.X)

    def result(self, fitted: Any, spec: FitSpec) -> FitResult:  # noqa: ANN401  # of any library
        """Read the attributes of the fitted estimator."""
        return FitResult(
            centers=np.asarray(fitted.cluster_centers_),
            n_iter=fitted.n_iter_,
            reported_inertia=fitted.inertia_,
            settings=_settings(fitted),
            labels=np.asarray(fitted.labels_),
            isa=self.isa(),
            # Ours says what it chose, scikit-learn's KMeans what it was told; MiniBatchKMeans has no choice.
            algorithm=getattr(fitted, "algorithm_", getattr(fitted, "algorithm", None)),
        )

    def predict(self, state: EstimatorState, fitted: Any) -> LabelArray:  # noqa: ANN401  # of any library
        """Let the fitted estimator assign the samples."""
        return np.asarray(fitted.predict(state.X))

    def close(self, state: EstimatorState) -> None:
        """Nothing was started."""

    def _class(self) -> type:
        found: type = getattr(importlib.import_module(self.module), self.estimator)
        return found


def lloyd() -> EstimatorAdapter:
    """Return the registry's ``sklearn-lloyd``."""
    return EstimatorAdapter("sklearn.cluster", "KMeans", "scikit-learn", {"algorithm": "lloyd"})


def elkan() -> EstimatorAdapter:
    """Return the registry's ``sklearn-elkan``."""
    return EstimatorAdapter("sklearn.cluster", "KMeans", "scikit-learn", {"algorithm": "elkan"})


def minibatch() -> EstimatorAdapter:
    """Return the registry's ``sklearn-minibatch``."""
    return EstimatorAdapter("sklearn.cluster", "MiniBatchKMeans", "scikit-learn", own_stopping=True)


def rust() -> EstimatorAdapter:
    """Return the registry's ``rust``."""
    return EstimatorAdapter(
        "rust_kmeans", "KMeans", "rust-kmeans", refusal=extension.refusal, isa=extension.isa
    )


def rust_minibatch() -> EstimatorAdapter:
    """Return the registry's ``rust-minibatch``."""
    return EstimatorAdapter(
        "rust_kmeans",
        "MiniBatchKMeans",
        "rust-kmeans",
        refusal=extension.refusal,
        isa=extension.isa,
        own_stopping=True,
    )


def sklearnex() -> EstimatorAdapter:
    """Return the registry's ``sklearnex``: its own class, with nothing of scikit-learn patched."""
    return EstimatorAdapter("sklearnex.cluster", "KMeans", "scikit-learn-intelex", make="peers")


def _settings(estimator: Any) -> Settings:  # noqa: ANN401  # of any library
    return Settings(
        init=estimator.init if isinstance(estimator.init, str) else "given",
        # "auto" is one start from k-means++ or from given centers, the only two cases of the bench.
        n_init=1 if estimator.n_init == "auto" else estimator.n_init,
        max_iter=estimator.max_iter,
        tol=estimator.tol,
    )
