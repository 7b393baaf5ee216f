"""Each column in each cluster: moments, quantiles and histograms over all rows, as plain arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Of what `Groups.quantiles` are.
PROBABILITIES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
#: Bars of a histogram at most.
N_BINS = 40
#: Histograms span what lies between these quantiles of a column, so that a few far values do not squeeze the
#: rest into one bar.
SPAN = (0.005, 0.995)


@dataclass(frozen=True)
class Groups:
    """What rows of each cluster are like, column by column; missing values take no part.

    Parameters
    ----------
    counts : ndarray of shape (n_clusters,), int64
        Rows of each cluster.
    present : ndarray of shape (n_clusters, n_features), int64
        Values that are not missing.
    means : ndarray of shape (n_clusters, n_features), float64
        In units of the columns; NaN without values.
    squares : ndarray of shape (n_clusters, n_features), float64
        Sums of squared deviations from the means; 0 exactly where all values are equal.
    quantiles : ndarray of shape (n_clusters, n_features, n_quantiles), float64
        Of `PROBABILITIES`, interpolated linearly; the first and the last are the smallest and largest value.
    edges : ndarray of shape (n_features, n_edges), float64
        Of the bars of a column's histogram, ascending; NaN beyond the last edge of columns with fewer bars.
    histograms : ndarray of shape (n_clusters, n_features, n_edges - 1), int64
        Values from an edge to the next one; what lies outside the edges is not counted.
    """

    counts: NDArray[np.int64]
    present: NDArray[np.int64]
    means: NDArray[np.float64]
    squares: NDArray[np.float64]
    quantiles: NDArray[np.float64]
    edges: NDArray[np.float64]
    histograms: NDArray[np.int64]

    @property
    def n_clusters(self) -> int:
        """How many clusters there are, empty ones included."""
        return int(self.means.shape[0])

    @property
    def n_features(self) -> int:
        """How many columns there are."""
        return int(self.means.shape[1])

    @property
    def lowest(self) -> NDArray[np.float64]:
        """The smallest values, shape (n_clusters, n_features)."""
        return self.quantiles[:, :, 0]

    @property
    def highest(self) -> NDArray[np.float64]:
        """The largest values, shape (n_clusters, n_features)."""
        return self.quantiles[:, :, -1]


def grouped(values: NDArray[np.float64], labels: NDArray[np.int32], n_clusters: int) -> Groups:
    """Summarise rows by cluster.

    Parameters
    ----------
    values : ndarray of shape (n_samples, n_features), float64
        In units of the columns; NaN is missing.
    labels : ndarray of shape (n_samples,)
        The cluster of each row, from 0 to `n_clusters` - 1.
    n_clusters : int
        How many clusters there are; some may have no row.

    Returns
    -------
    Groups
        Of all rows.
    """
    n_features = values.shape[1]
    shape = (n_clusters, n_features)
    counts = np.bincount(labels, minlength=n_clusters).astype(np.int64)
    present = np.zeros(shape, dtype=np.int64)
    means = np.full(shape, np.nan)
    squares = np.zeros(shape)
    quantiles = np.full((*shape, len(PROBABILITIES)), np.nan)
    edges = np.full((n_features, N_BINS + 1), np.nan)
    histograms = np.zeros((*shape, N_BINS), dtype=np.int64)
    # A sort by 16 bits is a radix sort, many times as fast as any other.
    small = n_clusters <= np.iinfo(np.uint16).max
    order = np.argsort(labels.astype(np.uint16) if small else labels, kind="stable")
    ends = np.cumsum(counts)
    for feature in range(n_features):
        column = values[:, feature][order]
        of_column = _edges(column)
        edges[feature, : len(of_column)] = of_column
        for cluster, (end, count) in enumerate(zip(ends, counts, strict=True)):
            # NaN are sorted to the end.
            cell = np.sort(column[end - count : end])
            cell = cell[: count - np.isnan(cell).sum()]
            if not cell.size:
                continue
            present[cluster, feature] = cell.size
            quantiles[cluster, feature] = _quantiles(cell)
            means[cluster, feature], squares[cluster, feature] = _moments(cell)
            bars = np.diff(_positions(cell, of_column))
            histograms[cluster, feature, : bars.size] = bars
    return Groups(counts, present, means, squares, quantiles, edges, histograms)


def _quantiles(ascending: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the quantiles of sorted values: the bits of `numpy.quantile`, which takes far longer for few."""
    places = np.array(PROBABILITIES) * (ascending.size - 1)
    below = places.astype(np.intp)
    low, high = ascending[below], ascending[np.minimum(below + 1, ascending.size - 1)]
    share = places - below
    with np.errstate(over="ignore", invalid="ignore"):
        step = high - low
        # From the nearer end, so that no rounding leaves the range.
        found: NDArray[np.float64] = np.where(share < 0.5, low + step * share, high - step * (1 - share))
    return np.where(share == 0, low, found)


def _moments(ascending: NDArray[np.float64]) -> tuple[float, float]:
    """Return mean and sum of squared deviations of sorted values."""
    if ascending[0] == ascending[-1]:
        # A rounded mean of equal values would leave a deviation that nothing in the data has.
        return float(ascending[0]), 0.0
    mean = float(ascending.mean())
    with np.errstate(over="ignore"):
        return mean, float(np.square(ascending - mean).sum())


def _edges(column: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return edges of bars that hold the bulk of a column; whole numbers lie amid their bars."""
    present = column[~np.isnan(column)]
    if not present.size:
        return np.array([0.0, 1.0])
    # Values of the column themselves, so that of a few none lies outside.
    low, high = np.quantile(present, SPAN[0], method="lower"), np.quantile(present, SPAN[1], method="higher")
    if low == high:
        low, high = present.min(), present.max()
    whole = bool((present == np.floor(present)).all()) and high - low < 2.0**52
    if low == high:
        half = max(0.5, abs(low) / 2)
        return np.array([low - half, low + half])
    if whole:
        low, high = np.floor(low), np.ceil(high)
        width = np.ceil((high - low + 1) / N_BINS)
        n_bins = int(np.ceil((high - low + 1) / width))
        edges: NDArray[np.float64] = low - 0.5 + width * np.arange(n_bins + 1)
        return edges
    edges = np.linspace(low, high, N_BINS + 1)
    # Values next to each other may lie too near for so many edges between them.
    return edges if (np.diff(edges) > 0).all() else np.array([low, high])


def _positions(ascending: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return how many of sorted values lie below each edge; the last edge takes in what is equal to it."""
    positions = np.searchsorted(ascending, edges, side="left")
    positions[-1] = np.searchsorted(ascending, edges[-1], side="right")
    return positions
