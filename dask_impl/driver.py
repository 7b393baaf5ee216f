"""One Dask driver for k-means over a block kernel: `fit` and `predict`.

The loop and its rules are those of `python_impl.kmeans.lloyd`, which is scikit-learn's; what differs is that
the samples lie in groups of blocks on threads or workers, and only centers, sums and counts travel. Labels
stay where they are: a pass returns how many of them changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import partial as bind
from functools import reduce
from time import perf_counter
from typing import TYPE_CHECKING, Generic

import dask.array as da
import numpy as np

from dask_impl.groups import Group, Groups, distribute
from dask_impl.kernels import BlockKernel, FloatArray, Q, S
from python_impl import kmeans as textbook
from python_impl.kmeans import IndexArray

if TYPE_CHECKING:
    from distributed import Client

#: Rows that seeding looks at, at most; or this many per cluster, where that is more.
SEEDING_ROWS = 1 << 16
SEEDING_ROWS_PER_CLUSTER = 256


@dataclass(frozen=True)
class DaskResult:
    """What a fit ends with.

    Parameters
    ----------
    centers : ndarray of shape (n_clusters, n_features)
        Final centers, in the dtype of the samples.
    inertia : float
        Sum of squared distances of the samples to their nearest center.
    n_iter : int
        Number of iterations.
    seeding_seconds : float
        Time spent on finding the start; 0.0 when it was given.
    """

    centers: FloatArray
    inertia: float
    n_iter: int
    seeding_seconds: float


def fit(
    X: da.Array,
    n_clusters: int,
    kernel: BlockKernel[S, Q],
    *,
    init: FloatArray | None = None,
    max_iter: int = 300,
    tol: float = 1e-4,
    seed: int = 0,
    n_threads: int = 1,
    client: Client | None = None,
) -> DaskResult:
    """Cluster a Dask array.

    Parameters
    ----------
    X : dask.array.Array of shape (n_samples, n_features)
        The samples; empty, uneven and unknown chunks are fine, and chunks of fewer rows than clusters.
    n_clusters : int
        Number of clusters.
    kernel : BlockKernel
        What runs on a block.
    init : ndarray of shape (n_clusters, n_features) or None
        The start; None for greedy k-means++ on a random sample of the rows, of `seeding_rows` rows.
    max_iter, tol
        As in `python_impl.kmeans.lloyd`: with ``tol=0.0`` it stops when no label changes.
    seed : int
        Of the seeding. The chosen rows do not depend on the chunks.
    n_threads : int
        Threads of this process that work on the blocks when there is no client.
    client : distributed.Client or None
        The cluster to work on; None for threads of this process.

    Raises
    ------
    ValueError
        If the array cannot be clustered: it is split by columns, has no rows or fewer than clusters, or holds
        missing or infinite values; then the first such block is named.
    """
    if max_iter < 1:
        raise ValueError(f"max_iter={max_iter} must be at least 1")
    with distribute(X, n_threads, client) as groups:
        return _fit(groups, n_clusters, kernel, init, max_iter, tol, seed)


def predict(X: da.Array, centers: FloatArray, kernel: BlockKernel[S, Q]) -> da.Array:
    """Return the label of each row as a lazy Dask array of int32 with the chunks of ``X``."""
    return X.map_blocks(
        kernel.predict, centers, dtype=np.int32, drop_axis=1, meta=np.empty(0, dtype=np.int32)
    )


def seeding_rows(n_clusters: int) -> int:
    """Return how many rows the seeding looks at, at most."""
    return max(SEEDING_ROWS, SEEDING_ROWS_PER_CLUSTER * n_clusters)


def _fit(
    groups: Groups,
    n_clusters: int,
    kernel: BlockKernel[S, Q],
    init: FloatArray | None,
    max_iter: int,
    tol: float,
    seed: int,
) -> DaskResult:
    n_samples, scale = _scan_all(groups, n_clusters, kernel)

    started = perf_counter()
    centers = _seed(groups, n_samples, n_clusters, seed) if init is None else init.astype(groups.dtype)
    if centers.shape != (n_clusters, groups.n_features):
        raise ValueError(f"init has shape {centers.shape}, not {(n_clusters, groups.n_features)}")
    seeding_seconds = perf_counter() - started if init is None else 0.0

    most_shift = tol * _mean_variance(groups, n_samples, kernel, scale) if tol > 0 else 0.0
    shared_before, shared = None, groups.share(centers)
    n_iter = 0
    while n_iter < max_iter:
        n_iter += 1
        steps = groups.map(assign_group, kernel, scale, shared, shared_before)
        partial = kernel.finish(_merged([step.partial for step in steps]))
        inertia = partial.inertia

        partial = textbook.relocate_empty_clusters(partial, bind(_find_farthest, groups, kernel, shared))
        previous, centers = centers, textbook.means(partial).astype(groups.dtype)
        shared_before, shared = shared, groups.share(centers)
        n_changed = sum(step.n_changed for step in steps)
        if n_changed == 0 or textbook.squared_shift(previous, centers) <= most_shift:
            break
    if not np.array_equal(previous, centers):
        steps = groups.map(assign_group, kernel, scale, shared, shared_before)
        inertia = kernel.finish(_merged([step.partial for step in steps])).inertia
    return DaskResult(centers, inertia, n_iter, seeding_seconds)


# What follows runs on the groups, where the rows are.


@dataclass(frozen=True)
class Step(Generic[Q]):
    """What an assignment of a group returns: its partial, and how many of its labels changed."""

    partial: Q
    n_changed: int


def scan_group(group: Group, kernel: BlockKernel[S, Q]) -> tuple[int, S]:
    """Return the number of rows and the kernel's scale, after a look at every value."""
    scales = []
    for block in group.blocks:
        try:
            scales.append(kernel.block_scale(block.X))
        except ValueError as error:
            rows = f"rows {block.first_row} to {block.first_row + len(block.X) - 1}"
            raise ValueError(f"block {block.index} of X ({rows}): {error}") from None
    return sum(len(block.X) for block in group.blocks), reduce(kernel.merge_scales, scales)


def assign_group(
    group: Group, kernel: BlockKernel[S, Q], scale: S, centers: FloatArray, centers_before: FloatArray | None
) -> Step[Q]:
    """Assign the rows of a group and compare their labels with those under the centers before."""
    before = None if centers_before is None else group.labels(centers_before, kernel.predict)
    results = [kernel.assign_block(block.X, centers, scale) for block in group.blocks]
    labels = [result[0] for result in results]
    group.remember(centers, labels)
    if before is None:
        n_changed = sum(len(block.X) for block in group.blocks)
    else:
        n_changed = sum(int(np.count_nonzero(new != old)) for new, old in zip(labels, before, strict=True))
    return Step(_merged([result[1] for result in results]), n_changed)


def farthest_of_group(
    group: Group, kernel: BlockKernel[S, Q], centers: FloatArray, count: int
) -> textbook.Farthest:
    """Return the group's ``count`` samples farthest from their centers."""
    return _farthest(
        [
            replace(found, rows=found.rows + block.first_row)
            for block, labels in zip(group.blocks, group.labels(centers, kernel.predict), strict=True)
            for found in [textbook.farthest_samples(block.X, labels, centers, count)]
        ],
        count,
    )


def rows_of_group(group: Group, rows: IndexArray) -> tuple[IndexArray, FloatArray]:
    """Return those rows, given in ascending order, that lie in this group: their numbers and samples."""
    numbers, samples = [], []
    for block in group.blocks:
        first, last = np.searchsorted(rows, (block.first_row, block.first_row + len(block.X)))
        numbers.append(rows[first:last])
        samples.append(block.X[rows[first:last] - block.first_row])
    return np.concatenate(numbers), np.concatenate(samples)


# What follows runs where the groups are driven from.


def _scan_all(groups: Groups, n_clusters: int, kernel: BlockKernel[S, Q]) -> tuple[int, S]:
    scans = groups.map(scan_group, kernel)
    n_samples = sum(n_rows for n_rows, _ in scans)
    if not 1 <= n_clusters <= n_samples:
        raise ValueError(f"n_clusters={n_clusters} must be from 1 to n_samples={n_samples}")
    return n_samples, reduce(kernel.merge_scales, (scale for _, scale in scans))


def _seed(groups: Groups, n_samples: int, n_clusters: int, seed: int) -> FloatArray:
    """Return greedy k-means++ centers of a random sample of the rows: of all rows, if there are few."""
    rng = np.random.default_rng(seed)
    count = min(n_samples, seeding_rows(n_clusters))
    rows = np.sort(rng.choice(n_samples, size=count, replace=False, shuffle=False))
    found = groups.map(rows_of_group, groups.share(rows))
    # Back into the order of the rows, so that the choice does not depend on where they lie.
    order = np.argsort(np.concatenate([numbers for numbers, _ in found]))
    sample = np.concatenate([samples for _, samples in found])[order]
    return textbook.kmeans_plusplus(sample, n_clusters, rng)


def _mean_variance(groups: Groups, n_samples: int, kernel: BlockKernel[S, Q], scale: S) -> float:
    """Return the mean of the features' variances: the inertia of a single cluster, per value."""
    n_features = groups.n_features
    center = np.zeros((1, n_features), dtype=groups.dtype)
    steps = groups.map(assign_group, kernel, scale, groups.share(center), None)
    center = textbook.means(kernel.finish(_merged([step.partial for step in steps]))).astype(groups.dtype)
    steps = groups.map(assign_group, kernel, scale, groups.share(center), None)
    return kernel.finish(_merged([step.partial for step in steps])).inertia / (n_samples * n_features)


def _find_farthest(
    groups: Groups, kernel: BlockKernel[S, Q], centers: FloatArray, count: int
) -> textbook.Farthest:
    return _farthest(groups.map(farthest_of_group, kernel, centers, count), count)


def _merged(partials: Sequence[Q]) -> Q:
    """Return the partial of all, merged from first to last."""
    return reduce(lambda merged, partial: merged.merge(partial), partials)


def _farthest(found: Sequence[textbook.Farthest], count: int) -> textbook.Farthest:
    samples, labels, distances, rows = (
        np.concatenate([getattr(part, field.name) for part in found]) for field in fields(textbook.Farthest)
    )
    order = np.lexsort((rows, -distances))[:count]
    return textbook.Farthest(samples[order], labels[order], distances[order], rows[order])
