"""The textbook algorithm in NumPy, written to be read; the project's reference.

K-means looks for ``n_clusters`` centers such that the *inertia*, the sum of squared distances of the samples
to their nearest center, is small. Lloyd's algorithm [1]_ alternates two steps, neither of which can raise it:

1. *assign*: every sample takes the label of its nearest center;
2. *update*: every center moves to the mean of the samples that carry its label.

It stops when no label changes. The result depends on the start; k-means++ [2]_ finds a good one.

Correctness comes before speed here. Labels are those of float64 distances from the samples to the centers as
they are stored, ties going to the lowest index; sums are float64; the rules for empty clusters and for
stopping are those of ``sklearn.cluster.KMeans(algorithm="lloyd")``. No array of n_samples × n_clusters is
ever made: samples are taken in chunks small enough for the processor's cache.

References
----------
.. [1] S. P. Lloyd, "Least squares quantization in PCM", IEEE Transactions on Information Theory 28 (1982).
.. [2] D. Arthur and S. Vassilvitskii, "k-means++: the advantages of careful seeding", SODA 2007.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial as bind
from time import perf_counter
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating[Any]]
Float64Array = npt.NDArray[np.float64]
LabelArray = npt.NDArray[np.int32]
IndexArray = npt.NDArray[np.int64]

#: Elements of a temporary float64 array: 256 KiB, so that the few that live at once stay in the L2 cache.
CHUNK_ELEMENTS = 1 << 15


@dataclass(frozen=True)
class Partial:
    """What a set of rows adds to the update; two sets' partials merge into the partial of their union.

    Parameters
    ----------
    sums : ndarray of shape (n_clusters, n_features), float64
        Sum of the samples of each cluster.
    counts : ndarray of shape (n_clusters,), int64
        Number of samples of each cluster.
    inertia : float
        Sum of squared distances of the samples to the centers they were assigned to; 0.0 if not asked for.
    """

    sums: Float64Array
    counts: IndexArray
    inertia: float

    @classmethod
    def empty(cls, n_clusters: int, n_features: int) -> Partial:
        """Return the partial of no rows."""
        return cls(np.zeros((n_clusters, n_features)), np.zeros(n_clusters, dtype=np.int64), 0.0)

    def merge(self, other: Partial) -> Partial:
        """Return the partial of the rows of both."""
        return Partial(self.sums + other.sums, self.counts + other.counts, self.inertia + other.inertia)


@dataclass(frozen=True)
class Farthest:
    """Samples far from their centers: farthest first, of equal distances the lower row first.

    Parameters
    ----------
    samples : ndarray of shape (count, n_features), float64
        The samples.
    labels : ndarray of shape (count,), int32
        Their labels.
    distances : ndarray of shape (count,), float64
        Their squared distances to the centers of their labels.
    rows : ndarray of shape (count,), int64
        Their rows.
    """

    samples: Float64Array
    labels: LabelArray
    distances: Float64Array
    rows: IndexArray


@dataclass(frozen=True)
class Result:
    """What a fit ends with.

    Parameters
    ----------
    centers : ndarray of shape (n_clusters, n_features)
        Final centers, in the dtype of the samples.
    labels : ndarray of shape (n_samples,), int32
        Nearest of these centers, for every sample.
    inertia : float
        Sum of squared distances of the samples to their centers.
    n_iter : int
        Number of iterations, that is of updates.
    seeding_seconds : float
        Time spent on finding the start; 0.0 when it was given.
    """

    centers: FloatArray
    labels: LabelArray
    inertia: float
    n_iter: int
    seeding_seconds: float = 0.0


def kmeans(
    X: FloatArray,
    n_clusters: int,
    *,
    init: Literal["k-means++", "random"] | FloatArray = "k-means++",
    n_init: int = 1,
    max_iter: int = 300,
    tol: float = 1e-4,
    seed: int = 0,
) -> Result:
    """Seed and run Lloyd's algorithm ``n_init`` times; return the run of least inertia.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features), float32 or float64
        The samples; finite, at least ``n_clusters`` of them.
    n_clusters : int
        Number of clusters.
    init : {"k-means++", "random"} or ndarray of shape (n_clusters, n_features)
        How to find the start, or the start itself.
    n_init, max_iter, tol, seed
        Number of starts; for the rest see `lloyd` and `numpy.random.default_rng`.

    Raises
    ------
    ValueError
        If the parameters do not fit the samples, or these are not finite.
    """
    _check(X, n_clusters, init, n_init, max_iter)
    rng = np.random.default_rng(seed)
    seeding_seconds = 0.0
    best: Result | None = None
    for _ in range(n_init):
        started = perf_counter()
        if isinstance(init, str):
            choose: Callable[..., FloatArray] = kmeans_plusplus if init == "k-means++" else random_rows
            start = choose(X, n_clusters, rng)
            seeding_seconds += perf_counter() - started
        else:
            start = init
        result = lloyd(X, start, max_iter=max_iter, tol=tol)
        if best is None or result.inertia < best.inertia:
            best = result
    assert best is not None
    return Result(best.centers, best.labels, best.inertia, best.n_iter, seeding_seconds)


def lloyd(X: FloatArray, centers: FloatArray, *, max_iter: int = 300, tol: float = 1e-4) -> Result:
    """Run Lloyd's algorithm from given centers.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features), float32 or float64
        The samples.
    centers : ndarray of shape (n_clusters, n_features)
        The start; not modified.
    max_iter : int
        Most iterations, at least 1.
    tol : float
        Stop when the squared shifts of all centers in an iteration add up to at most ``tol`` times the mean
        variance of the features. With 0.0 it stops when no label changes: *strict convergence*.
    """
    centers = centers.astype(X.dtype)
    labels = np.full(len(X), -1, dtype=np.int32)
    most_shift = tol * mean_variance(X) if tol > 0 else 0.0
    n_iter = 0
    while n_iter < max_iter:
        n_iter += 1
        previous_labels, previous_centers = labels, centers
        labels, partial = assign_block(X, centers, with_inertia=False)
        partial = relocate_empty_clusters(partial, bind(farthest_samples, X, labels, centers))
        centers = means(partial).astype(X.dtype)
        if np.array_equal(labels, previous_labels) or squared_shift(previous_centers, centers) <= most_shift:
            break
    # The last update may have moved the centers away from the labels.
    labels, partial = assign_block(X, centers)
    return Result(centers, labels, partial.inertia, n_iter)


def assign(X: FloatArray, centers: FloatArray) -> tuple[LabelArray, Float64Array]:
    """Return the nearest center of every sample and the squared distance to it.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        The samples.
    centers : ndarray of shape (n_clusters, n_features)
        The centers.

    Returns
    -------
    labels : ndarray of shape (n_samples,), int32
        Index of the nearest center, the lowest one of a tie.
    distances : ndarray of shape (n_samples,), float64
        Squared distances, summed directly: no cancellation.
    """
    labels = np.empty(len(X), dtype=np.int32)
    distances = np.empty(len(X))
    nearest = _NearestCenter(centers)
    for rows in _chunks(X, width=max(centers.shape)):
        samples = X[rows].astype(np.float64)
        labels[rows] = nearest(samples)
        distances[rows] = _squared_distances(samples, nearest.centers[labels[rows]])
    return labels, distances


def assign_block(
    X: FloatArray, centers: FloatArray, *, with_inertia: bool = True
) -> tuple[LabelArray, Partial]:
    """Assign rows and add up what they contribute to the update: one pass over them.

    The inside of `lloyd`, and the kernel of the Dask driver.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features)
        Some of the samples, or all.
    centers : ndarray of shape (n_clusters, n_features)
        The centers.
    with_inertia : bool
        Whether to sum the distances too, which takes about a sixth longer.
    """
    n_clusters, n_features = centers.shape
    labels = np.empty(len(X), dtype=np.int32)
    nearest = _NearestCenter(centers)
    clusters = np.arange(n_clusters)[:, np.newaxis]
    sums = np.zeros((n_clusters, n_features))
    inertia = 0.0
    for rows in _chunks(X, width=max(centers.shape)):
        samples = X[rows].astype(np.float64)
        labels[rows] = nearest(samples)
        # Row j of the membership matrix has a one for each sample of cluster j: times the samples, their sum.
        membership = (labels[rows] == clusters).astype(np.float64)
        sums += membership @ samples
        if with_inertia:
            inertia += float(_squared_distances(samples, nearest.centers[labels[rows]]).sum())
    return labels, Partial(sums, np.bincount(labels, minlength=n_clusters), inertia)


def relocate_empty_clusters(partial: Partial, find_farthest: Callable[[int], Farthest]) -> Partial:
    """Give each empty cluster a sample of its own: the farthest from their centers, in order.

    The sample's contribution moves from the cluster it came from (the donor) to the empty one. When no sample
    is away from its center, which means fewer distinct samples than clusters, nothing is moved.

    Parameters
    ----------
    partial : Partial
        Of all samples.
    find_farthest : callable
        Returns that many of the samples farthest from their centers. Called only when a cluster is empty.
    """
    empty = np.flatnonzero(partial.counts == 0)
    if len(empty) == 0:
        return partial
    farthest = find_farthest(len(empty))
    if farthest.distances[0] == 0:
        return partial
    sums, counts = partial.sums.copy(), partial.counts.copy()
    for cluster, sample, donor in zip(empty, farthest.samples, farthest.labels, strict=True):
        sums[donor] -= sample
        counts[donor] -= 1
        sums[cluster] = sample
        counts[cluster] = 1
    return Partial(sums, counts, partial.inertia)


def farthest_samples(X: FloatArray, labels: LabelArray, centers: FloatArray, count: int) -> Farthest:
    """Return the ``count`` samples, or all if there are fewer, farthest from the centers of their labels."""
    centers64 = centers.astype(np.float64)
    distances = np.empty(len(X))
    for rows in _chunks(X, width=X.shape[1]):
        distances[rows] = _squared_distances(X[rows].astype(np.float64), centers64[labels[rows]])
    # A stable sort of the negated distances keeps equal ones in the order of their rows.
    order = np.argsort(-distances, kind="stable")[:count]
    return Farthest(X[order].astype(np.float64), labels[order], distances[order], order)


def means(partial: Partial) -> Float64Array:
    """Return the mean of each cluster; a cluster that is still empty shares the largest one's."""
    divisors = np.maximum(partial.counts, 1)[:, np.newaxis]
    centers: Float64Array = partial.sums / divisors
    centers[partial.counts == 0] = centers[np.argmax(partial.counts)]
    return centers


def squared_shift(before: FloatArray, after: FloatArray) -> float:
    """Return the sum of the squared distances that the centers moved."""
    return float(_squared_distances(after.astype(np.float64), before.astype(np.float64)).sum())


def mean_variance(X: FloatArray) -> float:
    """Return the mean of the features' variances: the unit of ``tol``."""
    one_cluster = np.zeros((1, X.shape[1]))
    _, whole = assign_block(X, one_cluster, with_inertia=False)
    _, about_mean = assign_block(X, whole.sums / len(X))
    return about_mean.inertia / X.size


def kmeans_plusplus(X: FloatArray, n_clusters: int, rng: np.random.Generator) -> FloatArray:
    """Choose rows as centers, each with probability proportional to its squared distance to those before.

    Greedy, as in scikit-learn: of 2 + ⌊ln(n_clusters)⌋ rows drawn for each center, keep the one that leaves
    the least inertia.

    Returns
    -------
    ndarray of shape (n_clusters, n_features)
        The chosen rows.
    """
    n_trials = 2 + int(np.log(n_clusters))
    chosen = [int(rng.integers(len(X)))]
    closest = _fast_squared_distances_to(X, X[chosen])[0]
    while len(chosen) < n_clusters:
        # Drawing from the distribution: a uniform number on the cumulated distances falls on a row.
        cumulated = np.cumsum(closest)
        drawn = np.searchsorted(cumulated, rng.uniform(size=n_trials) * cumulated[-1], side="right")
        candidates = np.minimum(drawn, len(X) - 1)
        # Row t: distances to the closest center if candidate t were taken.
        outcomes = np.minimum(_fast_squared_distances_to(X, X[candidates]), closest)
        best = int(np.argmin(outcomes.sum(axis=1)))
        chosen.append(int(candidates[best]))
        closest = outcomes[best]
    return X[chosen]


def random_rows(X: FloatArray, n_clusters: int, rng: np.random.Generator) -> FloatArray:
    """Choose different rows as centers, all equally likely: shape (n_clusters, n_features)."""
    return X[rng.choice(len(X), size=n_clusters, replace=False)]


def check_finite(X: FloatArray) -> None:
    """Raise `ValueError` if there are missing or infinite values."""
    if not all(np.isfinite(X[rows]).all() for rows in _chunks(X, width=X.shape[1])):
        raise ValueError("X holds missing or infinite values (NaN, inf); drop or fill these rows first")


class _NearestCenter:
    """Finds the nearest center of samples: fast by matrix product, and exactly.

    Of ‖x − c‖² = ‖x‖² − 2x·c + ‖c‖² the first term is the same for all centers, so ½‖c‖² − x·c ranks them,
    which is one matrix product. It cancels where the data lie far from the origin, so the origin is moved
    among the centers first. Where the best two still lie closer than rounding can tell apart, the distances
    are summed directly.
    """

    def __init__(self, centers: FloatArray) -> None:
        self.centers: Float64Array = centers.astype(np.float64)
        self._origin: Float64Array = self.centers.mean(axis=0)
        self._moved: Float64Array = self.centers - self._origin
        norms = np.einsum("ij,ij->i", self._moved, self._moved)
        self._half_norms: Float64Array = 0.5 * norms[:, np.newaxis]
        self._radius = float(np.sqrt(norms.max()))

    def __call__(self, samples: Float64Array) -> LabelArray:
        """Return the label of each float64 sample."""
        moved = samples - self._origin
        scores = self._half_norms - self._moved @ moved.T
        labels: LabelArray = scores.argmin(axis=0).astype(np.int32)
        # An inner product of d terms is off by less than d·eps·‖x‖‖c‖ (Higham, Accuracy and Stability of
        # Numerical Algorithms, eq. 3.5); 4 more cover the move of the origin, the norms, and the rounding of
        # the direct sum itself. Twice: either score may be off.
        eps = np.finfo(np.float64).eps
        reach = np.sqrt(np.einsum("ij,ij->i", moved, moved)) + self._radius
        margin = 2 * (samples.shape[1] + 4) * eps * reach**2
        is_candidate = scores <= scores.min(axis=0) + margin
        doubtful = np.flatnonzero(np.count_nonzero(is_candidate, axis=0) > 1)
        if len(doubtful) > 0:
            labels[doubtful] = _squared_distances_to(samples[doubtful], self.centers).argmin(axis=0)
        return labels


def _squared_distances(samples: Float64Array, centers: Float64Array) -> Float64Array:
    """Return the squared distance of each row to the same row of ``centers``, or to its only one."""
    difference = samples - centers
    distances: Float64Array = np.einsum("ij,ij->i", difference, difference)
    return distances


def _squared_distances_to(X: FloatArray, centers: FloatArray) -> Float64Array:
    """Return the squared distance of each row to each center: shape (n_centers, n_rows)."""
    centers64 = centers.astype(np.float64)
    distances = np.empty((len(centers), len(X)))
    for rows in _chunks(X, width=X.shape[1]):
        samples = X[rows].astype(np.float64)
        for center, row in zip(centers64, distances, strict=True):
            row[rows] = _squared_distances(samples, center)
    return distances


def _fast_squared_distances_to(X: FloatArray, centers: FloatArray) -> Float64Array:
    """Return the same up to rounding, by matrix product: good enough to draw by."""
    origin = centers[0].astype(np.float64)
    moved = centers - origin
    norms = np.einsum("ij,ij->i", moved, moved)[:, np.newaxis]
    distances = np.empty((len(centers), len(X)))
    for rows in _chunks(X, width=X.shape[1]):
        samples = X[rows] - origin
        distances[:, rows] = norms - 2 * moved @ samples.T + np.einsum("ij,ij->i", samples, samples)
    return np.maximum(distances, 0.0, out=distances)


def _chunks(X: FloatArray, width: int) -> Iterator[slice]:
    """Yield slices of rows such that an array of so many rows × ``width`` stays small."""
    step = max(1, CHUNK_ELEMENTS // width)
    for start in range(0, len(X), step):
        yield slice(start, start + step)


def _check(X: FloatArray, n_clusters: int, init: str | FloatArray, n_init: int, max_iter: int) -> None:
    if X.ndim != 2 or X.dtype not in (np.float32, np.float64):
        raise ValueError(f"X must be 2-d and float32 or float64, not {X.ndim}-d and {X.dtype}")
    if not 1 <= n_clusters <= len(X):
        raise ValueError(f"n_clusters={n_clusters} must be from 1 to n_samples={len(X)}")
    if n_init < 1:
        raise ValueError(f"n_init={n_init} must be at least 1")
    if max_iter < 1:
        raise ValueError(f"max_iter={max_iter} must be at least 1")
    if isinstance(init, str):
        if init not in ("k-means++", "random"):
            raise ValueError(f"init={init!r} must be 'k-means++', 'random' or an array")
    elif init.shape != (n_clusters, X.shape[1]):
        raise ValueError(f"init has shape {init.shape}, not {(n_clusters, X.shape[1])}")
    check_finite(X)
