"""What the kernel does with samples of either kind, dense or sparse."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from rust_kmeans import _core

Floats = NDArray[Any]
#: An ndarray, or one of SciPy's CSR matrices and arrays with sorted indices without duplicates.
Samples = Any
Weights = NDArray[np.float64] | None
InitName = Literal["k-means++", "k-means||", "random"]
Algorithm = Literal["auto", "lloyd", "hamerly", "yinyang"]
Used = Literal["lloyd", "hamerly", "yinyang"]
#: What the runs of one fit start from, as `_core.fit` takes it.
Start = tuple[InitName, int, list[int]] | list[Floats]
#: Centers, labels, inertia, its history, n_iter, algorithm, clusters in use: what `_core.fit` returns.
Fit = tuple[Floats, NDArray[np.int32], float, NDArray[np.float64], int, Used, int]
#: Centers of batches, what weight each has taken in, and rows seen since centers were last reassigned.
Running = tuple[Floats, NDArray[np.float64], int]
FLOATS: list[type[np.floating[Any]]] = [np.float64, np.float32]


class FitSettings(TypedDict):
    """What a fit takes by name."""

    sample_weight: Weights
    max_iter: int
    tol: float
    spherical: bool
    n_threads: int | None
    watch: _core._Watch | None


class StepSettings(TypedDict):
    """What a step of mini-batches takes by name."""

    sample_weight: Weights
    seed: int
    reassignment_ratio: float
    n_threads: int | None


class BatchSettings(StepSettings):
    """What a fit of mini-batches takes by name."""

    batch_size: int
    n_steps: int
    tol: float
    max_no_improvement: int | None
    compute_labels: bool
    watch: Callable[[int, int, float, float | None, Literal["shift", "no improvement"] | None], object] | None


def canonical(X: Samples) -> Samples:
    """Return X, or a copy: sparse with indices sorted and duplicates summed, dense aligned in memory."""
    if not sparse.issparse(X):
        return np.require(X, requirements="A")
    if not X.has_canonical_format:
        X = X.copy()
        X.sum_duplicates()
    return X


def fit(
    X: Samples, starts: Sequence[Start], algorithm: Algorithm, **settings: Unpack[FitSettings]
) -> list[Fit]:
    """Return the best fit of each start. Sparse data know one algorithm."""
    # Asked in this order, since the other question takes longer.
    if isinstance(X, np.ndarray):
        return _core.fit(X, starts, algorithm=algorithm, **settings)
    return _core.sparse_fit(_arrays(X), starts, **settings)


def predict(X: Samples, centers: Floats, n_threads: int | None) -> NDArray[np.int32]:
    """Return the index of the nearest center of each sample."""
    if sparse.issparse(X):
        return _core.sparse_predict(_arrays(X), centers, n_threads=n_threads)
    return _core.predict(X, centers, n_threads=n_threads)


def inertia(
    X: Samples, centers: Floats, labels: NDArray[np.int32], sample_weight: Weights, n_threads: int | None
) -> float:
    """Return the weighted sum of squared distances of the samples to the centers their labels name."""
    if sparse.issparse(X):
        X = _arrays(X)
        return _core.sparse_inertia(X, centers, labels, sample_weight=sample_weight, n_threads=n_threads)
    return _core.inertia(X, centers, labels, sample_weight=sample_weight, n_threads=n_threads)


def kmeans_plusplus(
    X: Samples,
    n_clusters: int,
    *,
    sample_weight: Weights,
    seed: int,
    n_local_trials: int | None,
    n_threads: int | None,
) -> tuple[Floats, NDArray[np.int64]]:
    """Return centers and which samples they are."""
    rest: dict[str, Any] = {
        "sample_weight": sample_weight,
        "seed": seed,
        "n_local_trials": n_local_trials,
        "n_threads": n_threads,
    }
    if sparse.issparse(X):
        return _core.sparse_kmeans_plusplus(_arrays(X), n_clusters, **rest)
    return _core.kmeans_plusplus(X, n_clusters, **rest)


def random_rows(X: Samples, n_clusters: int, *, sample_weight: Weights, seed: int) -> Floats:
    """Return centers: distinct samples, drawn by weight."""
    # Drawn without a look at the data.
    rows = np.broadcast_to(np.zeros((1, 1)), (X.shape[0], 1))
    chosen = X[_core.random_rows(rows, n_clusters, sample_weight=sample_weight, seed=seed)[1]]
    centers: Floats = chosen.toarray() if sparse.issparse(chosen) else chosen
    return centers


def sampler(X: Samples, sample_weight: Weights, n_threads: int | None) -> _core.Sampler:
    """Return what draws samples by weight; refuse values and weights that are not valid."""
    if sparse.issparse(X):
        return _core.sparse_sampler(_arrays(X), sample_weight=sample_weight, n_threads=n_threads)
    return _core.sampler(X, sample_weight=sample_weight, n_threads=n_threads)


def minibatch_fit(
    X: Samples, centers: Floats, sampler: _core.Sampler, **settings: Unpack[BatchSettings]
) -> tuple[Running, tuple[int, float], tuple[NDArray[np.int32], float] | None]:
    """Return what runs on, the steps made and the smoothed mean inertia, the labels and the inertia."""
    if sparse.issparse(X):
        return _core.sparse_minibatch_fit(_arrays(X), centers, sampler, **settings)
    return _core.minibatch_fit(X, centers, sampler, **settings)


def minibatch_step(
    X: Samples, running: Running, **settings: Unpack[StepSettings]
) -> tuple[Running, float, int]:
    """Return the same three after a batch; its inertia before; how many centers were reassigned."""
    if sparse.issparse(X):
        return _core.sparse_minibatch_step(_arrays(X), *running, **settings)
    return _core.minibatch_step(X, *running, **settings)


def unit_rows(X: Samples) -> Samples:
    """Return X with every row scaled to unit length, in float64 and rounded to the dtype of X.

    Rows with a value that is not finite stay as they are: the kernel, which reads the result, says where.

    Raises
    ------
    ValueError
        For a row of zeros, which has no direction.
    """
    if sparse.issparse(X):
        rows = np.repeat(np.arange(X.shape[0]), np.diff(X.indptr))
        data = X.data.astype(np.float64)
        largest = np.zeros(X.shape[0])
        # NumPy warns of NaN here alone.
        with np.errstate(invalid="ignore"):
            np.maximum.at(largest, rows, np.abs(data))
        data /= _divisors(largest, 0)[rows]
        squares = np.bincount(rows, weights=data * data, minlength=X.shape[0])
        data /= _divisors(np.sqrt(squares), 0)[rows]
        return type(X)((data.astype(X.dtype), X.indices, X.indptr), shape=X.shape)
    unit = np.empty(X.shape, X.dtype)
    for first in range(0, X.shape[0], _ROWS):
        block = X[first : first + _ROWS].astype(np.float64)
        # Relative to the largest value first, so that no square overflows and none that matters underflows.
        block /= _divisors(np.abs(block).max(axis=1), first)[:, np.newaxis]
        squares = np.einsum("ij,ij->i", block, block)
        block /= _divisors(np.sqrt(squares), first)[:, np.newaxis]
        unit[first : first + _ROWS] = block
    return unit


#: Rows scaled at a time: their float64 copy is small.
_ROWS = 4096


def _divisors(sizes: NDArray[np.float64], first: int) -> NDArray[np.float64]:
    """Return the sizes of rows from `first` on, 1 for those that are not finite; refuse zeros."""
    zeros = np.flatnonzero(sizes == 0)
    if len(zeros):
        msg = (
            f"Row {first + zeros[0]} of X is zero and has no direction: "
            "leave such rows out, or use KMeans, which takes them."
        )
        raise ValueError(msg)
    return np.where(np.isfinite(sizes), sizes, 1.0)


def _arrays(X: Samples) -> tuple[Floats, NDArray[Any], NDArray[Any], int]:
    """Return a CSR matrix as the kernel takes it: both index arrays of one type."""
    dtype = np.promote_types(X.indices.dtype, X.indptr.dtype)
    indices, indptr = (array.astype(dtype, copy=False) for array in (X.indices, X.indptr))
    data, indices, indptr = (np.require(array, requirements="A") for array in (X.data, indices, indptr))
    return data, indices, indptr, X.shape[1]
