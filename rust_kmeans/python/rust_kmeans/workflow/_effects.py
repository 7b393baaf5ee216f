"""How clusters differ: effect sizes, analysis of variance and pairwise tests, from moments alone.

The labels come from the same values that are tested here, so that the p-values answer no question of chance:
`CIRCULAR` says so and stands beside each of them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from rust_kmeans.workflow._groups import Groups

#: What a reader of p-values of fitted clusters must know.
CIRCULAR = (
    "These tests are circular: the clusters were chosen to differ in these very columns, so that the "
    "p-values are far too small, even for data without any clusters. They rank differences; they are no "
    "evidence that the clusters exist (Gao, Bien and Witten 2022, arXiv:2012.02936; for k-means: Chen and "
    "Witten 2023, arXiv:2203.15267)."
)
#: Of intervals of effect sizes.
CONFIDENCE = 0.95
#: Effect sizes from which Cohen (1988, section 2.2) speaks of a small, medium and large one.
SMALL, MEDIUM, LARGE = 0.2, 0.5, 0.8

Array = NDArray[np.float64]


class Rest(NamedTuple):
    """All rows outside a cluster, for each cluster and column: count, mean, squared deviations.

    Each of shape (n_clusters, n_features).
    """

    present: NDArray[np.int64]
    means: Array
    squares: Array


class Effect(NamedTuple):
    """Effect sizes with the ends of their intervals; NaN where there is none, infinite without any spread."""

    size: Array
    low: Array
    high: Array


class FTest(NamedTuple):
    """A ratio of variances, its degrees of freedom between and within clusters, its p-value.

    Each of shape (n_features,); NaN where there is no test.
    """

    statistic: Array
    freedom: Array
    freedom_within: Array
    p_value: Array


class TTest(NamedTuple):
    """A difference in standard errors, its degrees of freedom, its p-value.

    Each of shape (n_pairs, n_features); NaN where there is no test.
    """

    statistic: Array
    freedom: Array
    p_value: Array


def rest(groups: Groups) -> Rest:
    """Return the moments of what is outside each cluster.

    Summed anew over the other clusters, since a difference of sums over all would leave rounding where the
    others have no spread at all.
    """
    shape = groups.means.shape
    found = Rest(np.zeros(shape, dtype=np.int64), np.full(shape, np.nan), np.zeros(shape))
    for cluster in range(groups.n_clusters):
        others = np.arange(groups.n_clusters) != cluster
        moments = _pooled(groups, others)
        for target, moment in zip(found, moments, strict=True):
            target[cluster] = moment
    return found


def hedges(groups: Groups, others: Rest) -> Effect:
    """Return how far each cluster's mean lies from that of the other rows, in standard deviations.

    Hedges' g (1981): Cohen's d with the standard deviation pooled over both sides, times ``1 - 3 / (4 f -
    1)`` for f degrees of freedom, which takes out most of its bias. The interval is that of a normal
    distribution with variance ``1/n + 1/m + g**2 / (2 (n + m))`` (Hedges and Olkin 1985, chapter 5).

    Returns
    -------
    Effect
        Each of shape (n_clusters, n_features); NaN where either side has no value, or both together fewer
        than four.
    """
    n, m = groups.present.astype(float), others.present.astype(float)
    freedom = n + m - 2
    usable = (n > 0) & (m > 0) & (freedom > 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.sqrt((groups.squares + others.squares) / freedom)
        difference = groups.means - others.means
        size = np.where(difference == 0, 0.0, difference / spread * (1 - 3 / (4 * freedom - 1)))
        size = np.where(usable, size, np.nan)
        error = np.sqrt(1 / n + 1 / m + np.square(size) / (2 * (n + m)))
        half = special.ndtri((1 + CONFIDENCE) / 2) * error
        # Without any spread the size is infinite, and so are both ends.
        half = np.where(np.isinf(size), 0.0, half)
        return Effect(size, size - half, size + half)


def eta_squared(groups: Groups) -> Array:
    """Return the share of each column's variance that lies between the clusters, shape (n_features,).

    NaN for columns that are constant or without values.
    """
    between, within = _sums(groups)
    with np.errstate(invalid="ignore"):
        return between / (between + within)


def anova(groups: Groups) -> FTest:
    """Return Fisher's analysis of variance of each column over the clusters; it assumes equal spreads.

    Returns
    -------
    FTest
        NaN for columns with values in fewer than two clusters, without spread
        within clusters, or with no more values than clusters.
    """
    between, within = _sums(groups)
    n_used = (groups.present > 0).sum(axis=0)
    freedom = (n_used - 1).astype(float)
    freedom_within = (groups.present.sum(axis=0) - n_used).astype(float)
    usable = (freedom > 0) & (freedom_within > 0) & (within > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = (between / freedom) / (within / freedom_within)
    return _as_test(usable, statistic, freedom, freedom_within)


def welch_anova(groups: Groups) -> FTest:
    """Return Welch's analysis of variance (Biometrika 38, 1951), which lets each cluster have its own spread.

    Clusters with fewer than two values of a column, or equal ones only, have no variance to weigh by and take
    no part: `no_variance` tells which.

    Returns
    -------
    FTest
        NaN for columns with fewer than two clusters that take part.
    """
    taking_part = ~no_variance(groups)
    n_used = taking_part.sum(axis=0)
    n = np.where(taking_part, groups.present, 2).astype(float)
    variance = np.where(taking_part, groups.squares, 1.0) / (n - 1)
    weight = np.where(taking_part, n / variance, 0.0)
    means = np.where(taking_part, groups.means, 0.0)
    freedom = (n_used - 1).astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        total = weight.sum(axis=0)
        center = (weight * means).sum(axis=0) / total
        between = (weight * np.square(means - center)).sum(axis=0) / freedom
        doubt = (np.where(taking_part, np.square(1 - weight / total), 0.0) / (n - 1)).sum(axis=0)
        squared = np.square(n_used) - 1.0
        statistic = between / (1 + 2 * (n_used - 2) / squared * doubt)
        freedom_within = squared / (3 * doubt)
    return _as_test(n_used > 1, statistic, freedom, freedom_within)


def no_variance(groups: Groups) -> NDArray[np.bool_]:
    """Return in which clusters a column has fewer than two values or equal ones only.

    Shape (n_clusters, n_features).
    """
    without: NDArray[np.bool_] = (groups.present < 2) | (groups.squares == 0)
    return without


def pairwise(groups: Groups, first: NDArray[np.intp], second: NDArray[np.intp]) -> TTest:
    """Return Welch's t-test (Biometrika 34, 1947) of each column between pairs of clusters, two-sided.

    Parameters
    ----------
    groups : Groups
        Of the rows.
    first, second : ndarray of shape (n_pairs,), int
        The clusters of each pair.

    Returns
    -------
    TTest
        With Satterthwaite's degrees of freedom; NaN where either cluster has fewer than two values or both
        have no spread.
    """
    n, m = groups.present[first].astype(float), groups.present[second].astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        of_first = groups.squares[first] / (n - 1) / n
        of_second = groups.squares[second] / (m - 1) / m
        error = of_first + of_second
        statistic = (groups.means[first] - groups.means[second]) / np.sqrt(error)
        share = of_first / error
        freedom = 1 / (np.square(share) / (n - 1) + np.square(1 - share) / (m - 1))
        usable = (n > 1) & (m > 1) & (error > 0)
        p_value = 2 * special.stdtr(freedom, -np.abs(statistic))
    return TTest(*(np.where(usable, one, np.nan) for one in (statistic, freedom, p_value)))


def _pooled(groups: Groups, clusters: NDArray[np.bool_]) -> tuple[NDArray[np.int64], Array, Array]:
    """Return count, mean and squared deviations of several clusters taken together, each (n_features,)."""
    present, squares = groups.present[clusters], groups.squares[clusters]
    filled = present > 0
    means = np.where(filled, groups.means[clusters], 0.0)
    total = present.sum(axis=0)
    lowest = np.where(filled, groups.lowest[clusters], np.inf).min(axis=0, initial=np.inf)
    highest = np.where(filled, groups.highest[clusters], -np.inf).max(axis=0, initial=-np.inf)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = (present * means).sum(axis=0) / total
        # As within a cluster: equal values have no deviation, though their rounded mean may have one.
        equal = lowest == highest
        mean = np.where(equal, lowest, mean)
        deviations = (squares + present * np.square(means - mean)).sum(axis=0)
    return total, mean, np.where(equal | (total == 0), 0.0, deviations)


def _sums(groups: Groups) -> tuple[Array, Array]:
    """Return the sums of squares between and within clusters, each of shape (n_features,)."""
    total, mean, _ = _pooled(groups, np.ones(groups.n_clusters, dtype=bool))
    means = np.where(groups.present > 0, groups.means, 0.0)
    between = (groups.present * np.square(means - np.where(total > 0, mean, 0.0))).sum(axis=0)
    within: Array = groups.squares.sum(axis=0)
    return between, within


def _as_test(usable: NDArray[np.bool_], statistic: Array, freedom: Array, freedom_within: Array) -> FTest:
    """Return an F-test with NaN where it cannot be made."""
    with np.errstate(invalid="ignore"):
        p_value = special.fdtrc(freedom, freedom_within, statistic)
    return FTest(*(np.where(usable, one, np.nan) for one in (statistic, freedom, freedom_within, p_value)))
