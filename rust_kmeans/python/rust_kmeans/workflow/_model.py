"""A fitted model as plain data: centers, how rows are prepared for them, what the training data were like."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rust_kmeans import _data
from rust_kmeans._data import Floats
from rust_kmeans._kmeans import KMeans
from rust_kmeans.workflow._preparation import Preparation
from rust_kmeans.workflow._statistics import TrainingStatistics


class Prediction(NamedTuple):
    """What a model says of rows.

    Parameters
    ----------
    labels : ndarray of shape (n_samples,), int32
        The nearest center, the lowest index of equally near ones.
    distances : ndarray of shape (n_samples, n_clusters), float64
        Euclidean distances to all centers, in units of the features.
    margins : ndarray of shape (n_samples,), float64
        Distance to the second nearest center less that to the nearest, in units of the features; infinite
        for a model of one cluster.
    """

    labels: NDArray[np.int32]
    distances: NDArray[np.float64]
    margins: NDArray[np.float64]


@dataclass(frozen=True)
class ClusterModel:
    """Centers with all that is needed to use them on new tables; plain data, no code.

    Parameters
    ----------
    centers : ndarray of shape (n_clusters, n_features), float32 or float64
        In units of the features.
    preparation : Preparation
        How rows become features.
    statistics : TrainingStatistics
        What the training data were like.
    parameters : mapping of str
        How the model was fitted (n_clusters, init, random_state, ...) and how it went (n_iter, inertia):
        text, numbers, booleans and None.

    Attributes
    ----------
    n_clusters : int
        How many centers there are.
    names : tuple of str
        The columns that are used, in the order of the features.
    centers_in_units : ndarray of shape (n_clusters, n_features), float64
        The centers in units of the columns.
    model_id : str
        Sixteen hexadecimal digits of what decides a prediction: the same for equal models, anywhere.
    estimator : KMeans
        A fitted `rust_kmeans.KMeans` over the features.
    """

    centers: Floats
    preparation: Preparation
    statistics: TrainingStatistics
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def n_clusters(self) -> int:
        """How many centers there are."""
        return int(self.centers.shape[0])

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that are used, in the order of the features."""
        return self.preparation.names

    @property
    def centers_in_units(self) -> NDArray[np.float64]:
        """The centers in units of the columns, shape (n_clusters, n_features)."""
        return self.preparation.originals(self.centers)

    @cached_property
    def model_id(self) -> str:
        """Sixteen hexadecimal digits of what decides a prediction: the same for equal models, anywhere."""
        of = self.preparation
        content = hashlib.sha256(json.dumps([of.names, of.dtype, self.centers.shape]).encode())
        arrays = (self.centers, of.fill, of.offset, of.divisor)
        for array in arrays:
            content.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
        return content.hexdigest()[:16]

    @cached_property
    def estimator(self) -> KMeans:
        """A fitted `rust_kmeans.KMeans` over the features."""
        estimator = KMeans(self.n_clusters, init=self.centers, n_init=1)
        estimator.cluster_centers_ = self.centers
        estimator.n_features_in_ = self.preparation.n_features
        return estimator

    def predict(self, values: NDArray[Any], *, n_threads: int | None = None) -> Prediction:
        """Return labels, distances and margins of rows: the same bits for a row alone or among others.

        Parameters
        ----------
        values : ndarray of shape (n_samples, n_features)
            The columns `names`, in units of the columns; NaN is missing.
        n_threads : int, default=None
            Threads that find labels; None for one per core.

        Returns
        -------
        Prediction
            Of each row.

        Raises
        ------
        WorkflowError
            For rows that the model cannot take, as `Preparation.features` says.
        """
        features = self.preparation.features(values)
        labels = _data.predict(features, self.centers, n_threads)
        distances = distances_to(features, self.centers)
        if self.n_clusters == 1:
            return Prediction(labels, distances, np.full(len(labels), np.inf))
        nearest = np.partition(distances, 1, axis=1)
        return Prediction(labels, distances, nearest[:, 1] - nearest[:, 0])


def distances_to(features: Floats, centers: Floats) -> NDArray[np.float64]:
    """Return the Euclidean distances of rows to centers: the same bits for a row alone or among others.

    Squares of differences are summed in the order of the features. The usual sum of norms and a product of
    matrices loses the small distances, and its last bits depend on how many rows there are.

    Parameters
    ----------
    features : ndarray of shape (n_samples, n_features)
        Rows.
    centers : ndarray of shape (n_clusters, n_features)
        Centers in the same units.

    Returns
    -------
    ndarray of shape (n_samples, n_clusters), float64
        In units of the features.
    """
    if len(features) == 1:
        squares = (centers.T.astype(np.float64) - features.T) ** 2
        # Unlike a sum, which takes a lone axis in pairs, this keeps the order.
        return np.sqrt(np.add.accumulate(squares, axis=0)[-1:])
    distances = np.empty((len(features), len(centers)))
    n_rows = max(_BLOCK_VALUES // features.shape[1], 2)
    for first in range(0, len(features), n_rows):
        # A last block of one row takes its neighbour along.
        first = min(first, len(features) - 2)  # noqa: PLW2901  # as said above
        columns = np.ascontiguousarray(features[first : first + n_rows].T, dtype=np.float64)
        squares = np.empty((len(centers), columns.shape[1]))
        for label, center in enumerate(centers.astype(np.float64)):
            differences = columns - center[:, np.newaxis]
            differences *= differences
            np.add.reduce(differences, axis=0, out=squares[label])
        distances[first : first + n_rows] = np.sqrt(squares, out=squares).T
    return distances


#: Values of rows whose distances are found at a time: few enough to stay in the cache.
_BLOCK_VALUES = 1 << 16
