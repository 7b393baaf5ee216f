"""The nearest center of rows and the second nearest, and how far away both are."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rust_kmeans import _data
from rust_kmeans._data import Floats
from rust_kmeans.workflow._errors import WorkflowError

#: Values looked at together: few enough to stay in the cache.
BLOCK = 1 << 15


class TwoNearest(NamedTuple):
    """The two nearest centers of rows.

    Parameters
    ----------
    labels : ndarray of shape (n_samples,), int32
        The nearest center, the lowest index of equally near ones.
    distances : ndarray of shape (n_samples,), float64
        Euclidean distance to it, in units of the features.
    margins : ndarray of shape (n_samples,), float64
        Distance to the second nearest center less that to the nearest; infinite for one center.
    """

    labels: NDArray[np.int32]
    distances: NDArray[np.float64]
    margins: NDArray[np.float64]


def two_nearest(features: Floats, centers: Floats, labels: NDArray[np.int32] | None = None) -> TwoNearest:
    """Return the nearest center of rows, its distance, and how much farther the second nearest is.

    The bits are those of a row alone, on any machine: equal rows stay equal in the quantiles of distances.

    Parameters
    ----------
    features : ndarray of shape (n_samples, n_features), float32 or float64
        Rows.
    centers : ndarray of shape (n_clusters, n_features), dtype of `features`
        Centers.
    labels : ndarray of shape (n_samples,), int32, default=None
        The nearest centers, where they are known already.

    Returns
    -------
    TwoNearest
        Of each row.

    Raises
    ------
    WorkflowError
        For values whose squares are too large for float64.
    """
    try:
        labels = _data.predict(features, centers, None) if labels is None else labels
    except ValueError as error:
        raise WorkflowError(str(error)) from error
    distances = _distances(features, centers, labels)
    if len(centers) == 1:
        return TwoNearest(labels, distances, np.full(len(labels), np.inf))
    margins = _distances(features, centers, _second_labels(features, centers, labels)) - distances
    return TwoNearest(labels, distances, margins)


def _second_labels(features: Floats, centers: Floats, labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the center that would be the nearest if that of `labels` were not there."""
    second = np.empty_like(labels)
    order = np.argsort(labels, kind="stable")
    edges = np.searchsorted(labels[order], np.arange(len(centers) + 1))
    for label in np.flatnonzero(np.diff(edges)):
        rows = order[edges[label] : edges[label + 1]]
        found = _data.predict(features[rows], np.delete(centers, label, axis=0), None)
        second[rows] = found + (found >= label)
    return second


def _distances(features: Floats, centers: Floats, labels: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return the distance of each row to the center of its label.

    Squares are summed in the order of the features, and each operation is on single numbers: all is rounded
    alike everywhere.
    """
    squares = np.zeros(len(features))
    n_rows = max(BLOCK // features.shape[1], 1)
    columns = centers.T.astype(np.float64)
    for first in range(0, len(features), n_rows):
        block = slice(first, first + n_rows)
        for column, center in zip(features[block].T, columns, strict=True):
            difference = column - center[labels[block]]
            difference *= difference
            squares[block] += difference
    return np.sqrt(squares, out=squares)
