"""Starting centers of a distributed fit."""

from __future__ import annotations

import numpy as np

from rust_kmeans import _core
from rust_kmeans._data import Floats
from rust_kmeans.dask._fit import Survey, rows_of, weights_of
from rust_kmeans.dask._groups import Groups

#: What is held at the driver of the data to draw k-means++ centers from.
_SAMPLE_BYTES = 64 << 20


def random_rows(groups: Groups, known: Survey, n_clusters: int, seeds: list[int]) -> list[Floats]:
    """Return for each seed distinct rows drawn by weight: those that the local fit draws."""
    weights = weights_of(groups)
    drawn = [
        _core.random_rows(_any_rows(known), n_clusters, sample_weight=weights, seed=seed)[1] for seed in seeds
    ]
    return np.split(rows_of(groups, np.concatenate(drawn))[0], len(drawn))


def kmeans_plusplus(
    groups: Groups, known: Survey, n_clusters: int, seeds: list[int], sample_seed: int
) -> list[Floats]:
    n_rows = known.scale.n_rows
    size = min(n_rows, max(_SAMPLE_BYTES // known.first_row.nbytes, 16 * n_clusters))
    chosen = np.arange(n_rows)
    if size < n_rows:
        chosen = np.sort(_core.random_rows(_any_rows(known), size, seed=sample_seed)[1])
    sample, weights = rows_of(groups, chosen)
    return [_core.kmeans_plusplus(sample, n_clusters, sample_weight=weights, seed=seed)[0] for seed in seeds]


def _any_rows(known: Survey) -> Floats:
    """Return as many rows as X has: the kernel draws them by weight, without a look at their values."""
    rows: Floats = np.broadcast_to(known.first_row[:, :1], (known.scale.n_rows, 1))
    return rows
