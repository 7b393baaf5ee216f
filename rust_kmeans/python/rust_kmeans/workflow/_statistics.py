"""What training data were like: enough to explain clusters and to notice drift, and no rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class TrainingStatistics:
    """Summaries of the rows that a model was fitted to, outliers left out.

    Parameters
    ----------
    n_samples : int
        Rows of the fit.
    n_left_out : int
        Rows left out as outliers or for missing values.
    probabilities : ndarray of shape (n_quantiles,), float64
        From 0 to 1, ascending: of what the quantiles below are.
    quantiles : ndarray of shape (n_features, n_quantiles), float64
        Of each column, in its units, before missing values are filled.
    missing : ndarray of shape (n_features,), float64
        Share of the rows in which the column is missing, 0..1.
    counts : ndarray of shape (n_clusters,), int64
        Rows of each cluster.
    means, deviations : ndarray of shape (n_clusters, n_features), float64
        Of each column in each cluster, in its units, missing values filled; divided by the number of rows.
    distances : ndarray of shape (n_quantiles,), float64
        Quantiles of the distance to the nearest center, in units of the features.
    margins : ndarray of shape (n_quantiles,), float64
        Quantiles of the distance to the second nearest center less that to the nearest; infinite for one
        cluster.
    """

    n_samples: int
    n_left_out: int
    probabilities: NDArray[np.float64]
    quantiles: NDArray[np.float64]
    missing: NDArray[np.float64]
    counts: NDArray[np.int64]
    means: NDArray[np.float64]
    deviations: NDArray[np.float64]
    distances: NDArray[np.float64]
    margins: NDArray[np.float64]

    @property
    def shares(self) -> NDArray[np.float64]:
        """Share of the rows of each cluster, 0..1."""
        shares: NDArray[np.float64] = self.counts / self.counts.sum()
        return shares
