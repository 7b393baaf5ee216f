"""What an implementation is: the only interface between the bench and what it measures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from harness.datasets import Dataset

FloatArray = npt.NDArray[np.floating[Any]]
LabelArray = npt.NDArray[np.integer[Any]]
State = TypeVar("State")
Fitted = TypeVar("Fitted")


@dataclass(frozen=True)
class FitSpec:
    """What every implementation is asked for; ``None`` means the library's own default.

    Parameters
    ----------
    n_clusters : int
        Number of clusters.
    init : ndarray of shape (n_clusters, n_features) or None
        Starting centers in the dataset's dtype (matched track); None asks for the library's own seeding.
    n_init, max_iter : int or None
        Restarts and the cap on iterations.
    tol : float or None
        0.0 asks for strict convergence: stop when no label changes.
    seed : int
        For the library's own random numbers.
    n_threads : int
        The core budget; the same for all.
    dtype : {"float32", "float64"}
        Type of the data, and of the computation where the library leaves a choice.
    """

    n_clusters: int
    init: FloatArray | None
    n_init: int | None
    max_iter: int | None
    tol: float | None
    seed: int
    n_threads: int
    dtype: str


@dataclass(frozen=True)
class Settings:
    """What the library really used, for the row; None where it has no such parameter."""

    init: str
    n_init: int | None
    max_iter: int | None
    tol: float | None


@dataclass(frozen=True)
class FitResult:
    """What a fit found, in the bench's own form.

    Parameters
    ----------
    centers : ndarray of shape (n_clusters, n_features)
        Final centers.
    n_iter : int or None
        Iterations as the library counts them.
    reported_inertia : float or None
        The library's own objective: a column of the row, never trusted.
    settings : Settings
        What was really used.
    labels : ndarray of shape (n_samples,) or None
        Labels of the training samples, where the fit yields them without further work.
    seeding_seconds : float or None
        Part of the fit spent on seeding, in seconds, where the library tells.
    reported_fit_seconds : float or None
        The implementation's own timing of its fit, in seconds, where it has one.
    started_peak_rss_bytes : int or None
        Exact peak resident set of a process the fit started and waited for, where it reports it.
    isa, algorithm : str or None
        Instruction set and algorithm the implementation chose, where it reports them.
    """

    centers: FloatArray
    n_iter: int | None
    reported_inertia: float | None
    settings: Settings
    labels: LabelArray | None = None
    seeding_seconds: float | None = None
    reported_fit_seconds: float | None = None
    started_peak_rss_bytes: int | None = None
    isa: str | None = None
    algorithm: str | None = None


class Implementation(Protocol[State, Fitted]):
    """One k-means under test, called in this order inside a fresh process.

    ``State`` is what ``prepare`` leaves for the other calls, ``Fitted`` what a user of the library has
    in hand after a fit.

    ``available`` and ``version`` are also called by ``runner.py list``.
    """

    def available(self) -> str | None:
        """Return None, or in one line why it cannot run here and the remedy."""
        ...

    def version(self) -> str:
        """Return the version of the library that does the work."""
        ...

    def prepare(self, dataset: Dataset, spec: FitSpec) -> State:
        """Load or convert the data, start a cluster: everything that is not the fit. Timed apart."""
        ...

    def fit(self, state: State, spec: FitSpec) -> Fitted:
        """Fit once, until its user has the centers. The only call behind ``fit_seconds``."""
        ...

    def result(self, fitted: Fitted, spec: FitSpec) -> FitResult:
        """Put what the fit found into the bench's form.

        Not timed: it must do nothing that a user of the library would wait for.
        """
        ...

    def predict(self, state: State, fitted: Fitted) -> LabelArray | None:
        """Return the labels of the training samples under the final centers, or None if it has no predict.

        Timed apart, as ``predict_seconds``.
        """
        ...

    def close(self, state: State) -> None:
        """Release what ``prepare`` started."""
        ...
