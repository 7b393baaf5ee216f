"""What training data were like: enough to explain clusters and to notice drift, and no rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rust_kmeans._data import Floats
from rust_kmeans.workflow._errors import WorkflowError
from rust_kmeans.workflow._nearest import two_nearest
from rust_kmeans.workflow._preparation import Preparation

#: Quantiles are of so many rows at most, and of at most so many values if that is fewer rows; beyond, of a
#: random sample that size.
MOST_ROWS = 100_000
MOST_VALUES = 1 << 24
#: Steps between the stored quantiles: a fifth of a per cent each.
STEPS = 500
#: Rows, and values, that are summed together.
_BLOCK_ROWS = 1 << 16
_BLOCK_VALUES = 1 << 22


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
    n_sampled : int, default=0
        Rows that the quantiles are of: all, or a random sample of them; 0 where the training rows were not
        at hand, and quantiles are NaN.

    Attributes
    ----------
    shares : ndarray of shape (n_clusters,), float64
        Share of the rows of each cluster, 0..1.
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
    n_sampled: int = 0

    @property
    def shares(self) -> NDArray[np.float64]:
        """Share of the rows of each cluster, 0..1; all 0 where no row is known."""
        shares: NDArray[np.float64] = self.counts / max(int(self.counts.sum()), 1)
        return shares


class StatisticsBuilder:
    """Computes `TrainingStatistics` in one pass over rows in batches, in bounded memory.

    The same rows in the same order give the same bits, however they are cut into batches. Quantiles are exact
    for up to 100,000 rows (fewer of more than 167 columns: 2**24 values); beyond, they are of a random
    sample of so many rows, drawn without replacement.

    Parameters
    ----------
    preparation : Preparation
        How rows become features.
    centers : ndarray of shape (n_clusters, n_features), float32 or float64
        In units of the features.
    random_state : int, default=0
        Seed of the sample.

    Examples
    --------
    >>> import numpy as np
    >>> from rust_kmeans.workflow import Preparation, StatisticsBuilder
    >>> nan, zeros, inf = np.full(1, np.nan), np.zeros(1), np.full(1, np.inf)
    >>> as_it_is = Preparation(("x",), nan, -inf, inf, zeros, np.ones(1), "float64")
    >>> builder = StatisticsBuilder(as_it_is, np.array([[0.0], [10.0]]))
    >>> builder.add(np.array([[-1.0], [1.0]]))
    >>> builder.add(np.array([[9.0], [10.0], [11.0]]))
    >>> statistics = builder.finish(n_left_out=0)
    >>> statistics.counts.tolist(), statistics.means.ravel().tolist()
    ([2, 3], [0.0, 10.0])
    """

    def __init__(self, preparation: Preparation, centers: Floats, *, random_state: int = 0) -> None:
        n_clusters, n_features = centers.shape
        self._preparation, self._centers = preparation, centers
        self._block = max(min(_BLOCK_ROWS, _BLOCK_VALUES // n_features), 1)
        self._pending: list[NDArray[np.float64]] = []
        self._n_pending = self._n_samples = 0
        self._missing = np.zeros(n_features, dtype=np.int64)
        self._counts = np.zeros(n_clusters, dtype=np.int64)
        # Of differences from the center in float64, in units of the features: small, so that little rounds.
        self._sums = np.zeros((n_features, n_clusters))
        self._squares = np.zeros((n_features, n_clusters))
        self._sample = _Sample(max(min(MOST_ROWS, MOST_VALUES // n_features), 1), random_state)

    def add(self, values: NDArray[Any]) -> None:
        """Take in rows.

        Parameters
        ----------
        values : ndarray of shape (n_samples, n_features)
            The columns of the preparation, in units of the columns; NaN is missing. Outliers have been left
            out before.

        Raises
        ------
        WorkflowError
            For rows that the preparation cannot take, at this call or a later one.
        """
        rows = np.asarray(values, dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] != self._preparation.n_features:
            msg = f"rows have shape {rows.shape}: they must be (n_samples, {self._preparation.n_features})."
            raise WorkflowError(msg)
        while len(rows):
            part, rows = rows[: self._block - self._n_pending], rows[self._block - self._n_pending :]
            # What waits is copied: the caller may use the array again.
            whole = len(part) == self._block
            self._pending.append(part if whole else part.copy())
            self._n_pending += len(part)
            if self._n_pending == self._block:
                self._take()

    def finish(self, n_left_out: int) -> TrainingStatistics:
        """Return the statistics of the rows so far.

        Parameters
        ----------
        n_left_out : int
            Rows that were left out as outliers or for missing values, and so never added.

        Returns
        -------
        TrainingStatistics
            The mean of a cluster without rows is its center.

        Raises
        ------
        WorkflowError
            If there were no rows, and for those that the preparation cannot take.
        """
        if self._n_pending:
            self._take()
        if not self._n_samples:
            msg = "no row is left to compute statistics of: give a table with rows that are not all left out."
            raise WorkflowError(msg)
        counts = np.maximum(self._counts, 1)
        shift = self._sums / counts
        variances = np.maximum(self._squares / counts - shift**2, 0.0)
        divisor = self._preparation.divisor
        quantiles = np.array([_quantiles(column) for column in self._sample.rows().T])
        return TrainingStatistics(
            n_samples=self._n_samples,
            n_left_out=n_left_out,
            probabilities=np.arange(STEPS + 1) / STEPS,
            quantiles=quantiles[:-2],
            missing=self._missing / self._n_samples,
            counts=self._counts.copy(),
            means=self._preparation.originals(self._centers) + shift.T * divisor,
            deviations=np.sqrt(variances).T * divisor,
            distances=quantiles[-2],
            margins=quantiles[-1],
            n_sampled=min(self._n_samples, self._sample.n_rows),
        )

    def _take(self) -> None:
        """Count, sum and sample the rows that wait."""
        values = self._pending[0] if len(self._pending) == 1 else np.concatenate(self._pending)
        self._pending, self._n_pending = [], 0
        features = self._preparation.features(values)
        labels, distances, margins = two_nearest(features, self._centers)
        n_clusters = len(self._centers)
        self._n_samples += len(values)
        self._missing += np.isnan(values).sum(axis=0)
        self._counts += np.bincount(labels, minlength=n_clusters)
        for j, center in enumerate(self._centers.T.astype(np.float64)):
            difference = features[:, j] - center[labels]
            self._sums[j] += np.bincount(labels, difference, n_clusters)
            difference *= difference
            self._squares[j] += np.bincount(labels, difference, n_clusters)
        self._sample.add(np.column_stack([values, distances, margins]))


class _Sample:
    """A random sample of rows without replacement: every row draws a number, the smallest ones stay.

    Parameters
    ----------
    n_rows : int
        Of the sample; all rows are kept until there are more.
    random_state : int
        Seed.
    """

    def __init__(self, n_rows: int, random_state: int) -> None:
        self.n_rows = n_rows
        self._random = np.random.default_rng(random_state)
        self._keys: list[NDArray[np.float64]] = []
        self._rows: list[NDArray[np.float64]] = []
        self._held = 0
        self._largest = np.inf

    def add(self, rows: NDArray[np.float64]) -> None:
        keys = self._random.random(len(rows))
        if self._largest < np.inf:
            chosen = keys < self._largest
            keys, rows = keys[chosen], rows[chosen]
        self._keys.append(keys)
        self._rows.append(rows)
        self._held += len(keys)
        # Rows that fall out again wait until there are as many as stay: each is then moved once or twice.
        if self._held > 2 * self.n_rows:
            self._reduce()

    def rows(self) -> NDArray[np.float64]:
        """Return the sample, shape (n, n_columns), in no particular order."""
        self._reduce()
        return self._rows[0]

    def _reduce(self) -> None:
        keys, rows = np.concatenate(self._keys), np.concatenate(self._rows)
        if len(keys) > self.n_rows:
            chosen = np.argpartition(keys, self.n_rows - 1)[: self.n_rows]
            keys, rows = keys[chosen], rows[chosen]
            self._largest = float(keys.max())
        self._keys, self._rows, self._held = [keys], [rows], len(keys)


def _quantiles(column: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return values of the column up to which so many steps of its values lie; NaN if all are missing."""
    values = np.sort(column[~np.isnan(column)])
    if not len(values):
        return np.full(STEPS + 1, np.nan)
    ranks = -(-np.arange(STEPS + 1) * len(values) // STEPS)
    quantiles: NDArray[np.float64] = values[np.maximum(ranks - 1, 0)]
    return quantiles
