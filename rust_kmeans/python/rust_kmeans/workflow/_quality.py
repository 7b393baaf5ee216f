"""How good clusters are, by themselves and against known classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.spatial.distance import cdist
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.utils import check_array

from rust_kmeans import _core
from rust_kmeans._data import Floats
from rust_kmeans.workflow._errors import WorkflowError

if TYPE_CHECKING:
    import pandas as pd

#: Up to this many rows a silhouette is that of all rows.
ALL_PAIRS = 5_000
#: Of more rows: how many have their silhouette computed, and against how many others.
POINTS = 2_000
REFERENCE = 4_000
#: Parts of the reference, each left out once, to see how much the silhouette depends on what was drawn.
PARTS = 10
#: Rows of which distances are in memory at once.
_POINTS_AT_ONCE = 500
#: Classes of which a confusion table can still be made.
MOST_CLASSES = 1_000
#: Rows whose distances to their means are in memory at once: a block and its labels stay in the cache.
_ROWS_AT_ONCE = 8_192
#: Half a 95 % interval in standard errors.
_NORMAL_95 = 1.959964


class Silhouette(NamedTuple):
    """A mean silhouette and how sure it is.

    Parameters
    ----------
    value : float
        From -1 to 1; NaN for one cluster.
    half_width : float
        The 95 % interval is `value` ± this; 0 where all rows were looked at.
    """

    value: float
    half_width: float

    def __str__(self) -> str:
        """Return both, as text."""
        return f"{self.value:.3f} ± {self.half_width:.3f}" if self.half_width else f"{self.value:.3f}"


@dataclass(frozen=True)
class Agreement:
    """How clusters fit known classes.

    Parameters
    ----------
    adjusted_rand : float
        Adjusted Rand index: 1 for the same partition, 0 on average for one by chance.
    mutual_information : float
        Normalised mutual information, 0..1.
    accuracy : float
        Share of the rows whose class is that of their cluster, 0..1.
    majority : ndarray of shape (n_clusters,)
        The class of each cluster.
    confusion : DataFrame
        How many rows of each class (the lines) are in clusters of each class (the columns).
    """

    adjusted_rand: float
    mutual_information: float
    accuracy: float
    majority: NDArray[Any]
    confusion: pd.DataFrame


@dataclass(frozen=True)
class Quality:
    """How good clusters are.

    Parameters
    ----------
    n_samples, n_clusters : int
        Rows, and clusters that have rows.
    inertia : float
        Sum of squared distances to the centers, in squared units of the features.
    silhouette : Silhouette
        How much nearer rows are to their own cluster than to the next, from -1 to 1; NaN for one cluster.
    davies_bouldin : float
        Spread of clusters over the distance between them, for each the worst; 0 is best; NaN for one cluster.
    calinski_harabasz : float
        Variance between clusters over that within; more is better; NaN for one cluster.
    agreement : Agreement or None
        With known classes, where there are any.
    """

    n_samples: int
    n_clusters: int
    inertia: float
    silhouette: Silhouette
    davies_bouldin: float
    calinski_harabasz: float
    agreement: Agreement | None = None


def quality(
    X: ArrayLike,
    labels: ArrayLike,
    centers: ArrayLike,
    y: ArrayLike | None = None,
    *,
    majority: ArrayLike | None = None,
    random_state: int = 0,
) -> Quality:
    """Return how good clusters are, by themselves and, with `y`, against known classes.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Features.
    labels : array-like of shape (n_samples,), int
        Cluster of each row, the index of a center.
    centers : array-like of shape (n_clusters, n_features)
        Centers.
    y : array-like of shape (n_samples,), default=None
        Known class of each row: numbers or text, none missing.
    majority : array-like of shape (n_clusters,), default=None
        The class of each cluster, as `majority_labels` found it on other rows; None to find it on these,
        which flatters: with as many clusters as rows every row is right.
    random_state : int, default=0
        Which rows are drawn for the silhouette of more than 5,000 (see `silhouettes`).

    Returns
    -------
    Quality
        Davies-Bouldin and Calinski-Harabasz are about the means of the rows given, as scikit-learn's are,
        inertia about `centers`.

    Raises
    ------
    WorkflowError
        For lengths that do not match, labels without a center, missing classes, and more than 1,000 classes.
    ValueError
        For values that are not finite numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from rust_kmeans.workflow import quality
    >>> X = np.array([[0.0], [1.0], [10.0], [11.0]])
    >>> found = quality(X, [0, 0, 1, 1], [[0.5], [10.5]], y=["low", "low", "high", "low"])
    >>> found.inertia, found.agreement.accuracy
    (1.0, 0.75)
    """
    X = check_array(X, dtype=[np.float64, np.float32], order="C")
    C = check_array(centers, dtype=X.dtype, order="C")
    labels = _labels_for(labels, len(X), len(C))
    scatter = scatters(X, [labels])[0]
    return Quality(
        n_samples=len(X),
        n_clusters=len(scatter.counts),
        inertia=_core.inertia(X, C, labels),
        silhouette=silhouettes(X, [labels], random_state=random_state)[0],
        davies_bouldin=scatter.davies_bouldin,
        calinski_harabasz=scatter.calinski_harabasz,
        agreement=None if y is None else _agreement(labels, y, len(C), majority),
    )


def majority_labels(labels: ArrayLike, y: ArrayLike, n_clusters: int | None = None) -> NDArray[Any]:
    """Return the class of each cluster: the one most of its rows have.

    Parameters
    ----------
    labels : array-like of shape (n_samples,), int
        Cluster of each row, from 0.
    y : array-like of shape (n_samples,)
        Known class of each row: numbers or text, none missing.
    n_clusters : int, default=None
        How many clusters there are; None for as many as `labels` has.

    Returns
    -------
    ndarray of shape (n_clusters,), dtype of y
        Of equally frequent classes the first in their order; a cluster without rows gets the most frequent
        class of all rows.

    Raises
    ------
    WorkflowError
        For lengths that do not match, no rows, missing classes, and more than 1,000 classes.

    Examples
    --------
    >>> from rust_kmeans.workflow import majority_labels
    >>> majority_labels([0, 0, 0, 1], ["cat", "dog", "dog", "cat"]).tolist()
    ['dog', 'cat']
    """
    codes, classes = _classes(y)
    if n_clusters is None:
        n_clusters = int(np.max(labels, initial=-1)) + 1
    return _majority(_labels_for(labels, len(codes), n_clusters), codes, classes, n_clusters)


class Scatter(NamedTuple):
    """How rows lie about the means of their clusters; clusters without rows are left out.

    Parameters
    ----------
    counts : ndarray of shape (n_clusters,), float64
        Rows of each cluster.
    means : ndarray of shape (n_clusters, n_features), float64
        Of the rows of each cluster.
    squares : float
        Sum of the squared distances of all rows to the means of their clusters.
    distances : ndarray of shape (n_clusters,), float64
        Mean distance of the rows of each cluster to their mean.
    """

    counts: NDArray[np.float64]
    means: NDArray[np.float64]
    squares: float
    distances: NDArray[np.float64]

    @property
    def davies_bouldin(self) -> float:
        """Mean over the clusters of their likeness to the one most like them; 0 is best; NaN for one."""
        if len(self.counts) == 1:
            return float("nan")
        apart = cdist(self.means, self.means)
        np.fill_diagonal(apart, np.inf)
        likeness = (self.distances[:, None] + self.distances) / np.maximum(apart, np.finfo(float).tiny)
        return float(likeness.max(axis=1).mean())

    @property
    def calinski_harabasz(self) -> float:
        """Variance between clusters over that within, by degrees of freedom; NaN for one cluster."""
        n_samples, n_clusters = self.counts.sum(), len(self.counts)
        if n_clusters == 1:
            return float("nan")
        if self.squares == 0.0:
            return float("inf")
        overall = self.counts @ self.means / n_samples
        between = self.counts @ ((self.means - overall) ** 2).sum(axis=1)
        return float(between / self.squares * (n_samples - n_clusters) / (n_clusters - 1))


def scatters(X: Floats, labelings: Sequence[NDArray[np.integer[Any]]]) -> list[Scatter]:
    """Return how the rows of every labeling scatter: two passes over the rows, whatever the labelings.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Features.
    labelings : sequence of ndarray of shape (n_samples,), int
        Labels, from 0.

    Returns
    -------
    list of Scatter
        Of each labeling.
    """
    # Sums of rows less the mean of all are those of small numbers, whatever the offset of the data.
    center = X.mean(axis=0, dtype=np.float64)
    starts = range(0, len(X), _ROWS_AT_ONCE)

    ends = np.cumsum([0, *(int(labels.max()) + 1 for labels in labelings)])
    counts, sums = np.zeros(ends[-1]), np.zeros((ends[-1], X.shape[1]))
    for start in starts:
        rows = slice(start, start + _ROWS_AT_ONCE)
        block = X[rows] - center
        columns = np.stack([labels[rows] for labels in labelings], axis=1) + ends[:-1]
        members = sparse.csr_array(
            (np.ones(columns.size), columns.ravel(), np.arange(0, columns.size + 1, len(labelings))),
            shape=(len(block), ends[-1]),
        )
        counts += members.sum(axis=0)
        sums += members.T @ block
    means = sums / np.maximum(counts, 1)[:, None]
    squares, distances = np.zeros(len(labelings)), np.zeros(ends[-1])
    for start in starts:
        rows = slice(start, start + _ROWS_AT_ONCE)
        block = X[rows] - center
        for place, labels in enumerate(labelings):
            those = slice(ends[place], ends[place + 1])
            apart = block - means[those].take(labels[rows], axis=0)
            squared = np.einsum("ij,ij->i", apart, apart)
            squares[place] += squared.sum()
            distances[those] += np.bincount(labels[rows], np.sqrt(squared), ends[place + 1] - ends[place])
    found = []
    for place, (first, last) in enumerate(pairwise(ends)):
        some = first + np.flatnonzero(counts[first:last])
        found.append(
            Scatter(counts[some], means[some] + center, float(squares[place]), distances[some] / counts[some])
        )
    return found


def silhouettes(
    X: Floats, labelings: Sequence[NDArray[np.integer[Any]]], *, random_state: int = 0
) -> list[Silhouette]:
    """Return the mean silhouette of every labeling of the same rows; distances are computed once for all.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Features.
    labelings : sequence of ndarray of shape (n_samples,), int
        Labels, from 0.
    random_state : int
        Which rows are drawn.

    Returns
    -------
    list of Silhouette
        Of each labeling.

    Notes
    -----
    Up to 5,000 rows it is scikit-learn's. Of more, 2,000 rows are drawn, each against the same 4,000 others
    (fewer where there are not so many). The variance is that of the mean over the 2,000, plus that by which
    the mean changes with the 4,000, estimated by a jackknife over ten parts of them (Kunsch 1989). A row
    that has no row of its cluster among the others counts 0, as that of a cluster of one does.

    References
    ----------
    P. J. Rousseeuw, Silhouettes, J. Computational and Applied Mathematics 20 (1987).
    H. R. Kunsch, The jackknife and the bootstrap for general stationary observations, Annals of Statistics 17
    (1989): the variance when whole parts are left out.
    """
    n_samples = len(X)
    if n_samples <= ALL_PAIRS:
        points = reference = np.arange(n_samples)
        parts = [reference]
    else:
        rows = np.random.default_rng(random_state).choice(
            n_samples, min(n_samples, POINTS + REFERENCE), replace=False
        )
        points, reference = rows[:POINTS], rows[POINTS:]
        parts = np.array_split(reference, PARTS)
    drawn = np.union1d(points, reference)
    compact = [np.unique(labels[drawn], return_inverse=True)[1] for labels in labelings]
    starts = np.cumsum([0, *(int(labels.max()) + 1 for labels in compact)])
    columns = np.stack(compact, axis=1) + starts[:-1]
    members = [_members(columns[np.searchsorted(drawn, part)], int(starts[-1])) for part in parts]
    counts = np.stack([of.sum(axis=0) for of in members])
    # About zero, so that the expansion of the square in `euclidean_distances` loses nothing.
    center = X[reference].mean(axis=0, dtype=np.float64)
    others = [X[part] - center for part in parts]
    sums = np.empty((len(parts), len(points), int(starts[-1])))
    for begin in range(0, len(points), _POINTS_AT_ONCE):
        some = slice(begin, begin + _POINTS_AT_ONCE)
        rows = X[points[some]] - center
        for part, (those, of) in enumerate(zip(others, members, strict=True)):
            sums[part, some] = euclidean_distances(rows, those) @ of
    at = np.searchsorted(drawn, points)
    own = n_samples <= ALL_PAIRS
    return [
        _silhouette(sums[:, :, first:last], counts[:, first:last], labels[at], own=own)
        for labels, first, last in zip(compact, starts[:-1], starts[1:], strict=True)
    ]


def _silhouette(
    sums: NDArray[np.float64], counts: NDArray[np.float64], labels: NDArray[np.integer[Any]], *, own: bool
) -> Silhouette:
    """Return the silhouette from sums of distances to clusters, shape (n_parts, n_points, n_clusters)."""
    if sums.shape[2] == 1:
        return Silhouette(np.nan, 0.0)
    total, count = sums.sum(axis=0), counts.sum(axis=0)
    values = _values(total, count, labels, own=own)
    if len(sums) == 1:
        return Silhouette(float(values.mean()), 0.0)
    without = np.array(
        [_values(total - sums[g], count - counts[g], labels, own=own).mean() for g in range(len(sums))]
    )
    of_reference = (len(sums) - 1) * float(without.var())
    return Silhouette(
        float(values.mean()), _NORMAL_95 * float(np.sqrt(values.var() / len(values) + of_reference))
    )


def _values(
    sums: NDArray[np.float64], counts: NDArray[np.float64], labels: NDArray[np.integer[Any]], *, own: bool
) -> NDArray[np.float64]:
    rows = np.arange(len(labels))
    # Where the points are part of the reference, a point is no neighbour of its own.
    neighbours = counts[labels] - own
    with np.errstate(divide="ignore", invalid="ignore"):
        within = sums[rows, labels] / neighbours
        means = sums / counts
        means[:, counts == 0] = np.inf
        means[rows, labels] = np.inf
        nearest = means.min(axis=1)
        values = (nearest - within) / np.maximum(within, nearest)
    values[(neighbours == 0) | ~np.isfinite(nearest) | ~np.isfinite(values)] = 0.0
    result: NDArray[np.float64] = values
    return result


def _members(columns: NDArray[np.integer[Any]], n_columns: int) -> NDArray[np.float64]:
    """Return which clusters each row is in, one of every labeling, as a matrix of ones and zeros."""
    members = np.zeros((len(columns), n_columns))
    np.put_along_axis(members, columns, 1.0, axis=1)
    return members


def _agreement(
    labels: NDArray[np.int32], y: ArrayLike, n_clusters: int, majority: ArrayLike | None
) -> Agreement:
    import pandas as pd

    codes, classes = _classes(y)
    if len(codes) != len(labels):
        msg = f"y has {len(codes)} classes for {len(labels)} rows: there must be one for each row."
        raise WorkflowError(msg)
    if majority is None:
        of_clusters = _majority(labels, codes, classes, n_clusters)
    else:
        of_clusters = np.asarray(majority)
        if of_clusters.shape != (n_clusters,):
            msg = f"majority has shape {of_clusters.shape}: it must be ({n_clusters},), one of each cluster."
            raise WorkflowError(msg)
    # Classes of other rows may be none of these: then they come last, as columns only.
    known = pd.Index(classes)
    known = known.append(pd.Index(pd.unique(of_clusters)).difference(known))
    assigned = known.get_indexer(pd.Index(of_clusters))[labels]
    counts = np.bincount(codes * len(known) + assigned, minlength=len(classes) * len(known))
    confusion = pd.DataFrame(
        counts.reshape(len(classes), len(known)),
        index=pd.Index(classes, name="class"),
        columns=pd.Index(known, name="assigned"),
    )
    return Agreement(
        adjusted_rand=float(adjusted_rand_score(codes, labels)),
        mutual_information=float(normalized_mutual_info_score(codes, labels)),
        accuracy=float(np.mean(assigned == codes)),
        majority=of_clusters,
        confusion=confusion,
    )


def _majority(
    labels: NDArray[np.int32], codes: NDArray[np.int64], classes: NDArray[Any], n_clusters: int
) -> NDArray[Any]:
    counts = np.bincount(labels * np.int64(len(classes)) + codes, minlength=n_clusters * len(classes))
    counts = counts.reshape(n_clusters, len(classes))
    most = np.where(counts.any(axis=1), counts.argmax(axis=1), counts.sum(axis=0).argmax())
    found: NDArray[Any] = classes[most]
    return found


def _classes(y: ArrayLike) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Return the class of each row as its index, and the classes in their order."""
    import pandas as pd

    codes, classes = pd.factorize(np.asarray(y), sort=True)
    if codes.ndim != 1 or not len(codes):
        msg = "y must be one class for each row, and at least one."
        raise WorkflowError(msg)
    if (missing := int(np.count_nonzero(codes < 0))) > 0:
        msg = f"y is missing for {missing} of {len(codes)} rows: leave these rows out."
        raise WorkflowError(msg)
    if len(classes) > MOST_CLASSES:
        msg = f"y has {len(classes)} different values: it must be classes, {MOST_CLASSES} at most."
        raise WorkflowError(msg)
    return codes.astype(np.int64), classes


def _labels_for(labels: ArrayLike, n_samples: int, n_clusters: int) -> NDArray[np.int32]:
    found = np.asarray(labels)
    if found.shape != (n_samples,) or (n_samples and found.dtype.kind not in "iu"):
        msg = f"labels are {found.dtype}, shape {found.shape}: they must be integers, shape ({n_samples},)."
        raise WorkflowError(msg)
    if n_samples and not 0 <= found.min() <= found.max() < n_clusters:
        msg = f"labels are from {found.min()} to {found.max()}: there are centers 0 to {n_clusters - 1}."
        raise WorkflowError(msg)
    return found.astype(np.int32)
