"""Moments, effect sizes and tests of grouped rows against pandas and scipy, and where there are none."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from rust_kmeans.workflow import _effects, _groups
from rust_kmeans.workflow._correction import holm
from rust_kmeans.workflow._groups import PROBABILITIES, Groups, grouped

Values = NDArray[np.float64]
N_CLUSTERS = 4


def rows_of(seed: int, n_samples: int = 400) -> tuple[Values, NDArray[np.int32]]:
    """Draw rows of clusters with other means and spreads, a tenth of the values missing."""
    random = np.random.default_rng(seed)
    labels = random.choice(N_CLUSTERS, n_samples, p=(0.5, 0.3, 0.15, 0.05)).astype(np.int32)
    values = random.normal(size=(n_samples, 3)) * (1 + labels[:, None]) + labels[:, None] * (0.0, 1.0, -5.0)
    values[random.random(values.shape) < 0.1] = np.nan
    return values, labels


@pytest.fixture(scope="module")
def rows() -> tuple[Values, NDArray[np.int32]]:
    return rows_of(0)


@pytest.fixture(scope="module")
def groups(rows: tuple[Values, NDArray[np.int32]]) -> Groups:
    return grouped(*rows, N_CLUSTERS)


def cell(rows: tuple[Values, NDArray[np.int32]], cluster: int, feature: int) -> Values:
    """Return the values of a column in a cluster that are not missing."""
    values, labels = rows
    column: Values = values[labels == cluster, feature]
    return column[~np.isnan(column)]


def outside(rows: tuple[Values, NDArray[np.int32]], cluster: int, feature: int) -> Values:
    values, labels = rows
    column: Values = values[labels != cluster, feature]
    return column[~np.isnan(column)]


def test_moments_and_quantiles_are_those_of_pandas(
    rows: tuple[Values, NDArray[np.int32]], groups: Groups
) -> None:
    values, labels = rows
    by_cluster: Any = pd.DataFrame(values).groupby(labels)
    np.testing.assert_array_equal(groups.counts, by_cluster.size())
    np.testing.assert_array_equal(groups.present, by_cluster.count())
    np.testing.assert_allclose(groups.means, by_cluster.mean())
    np.testing.assert_allclose(groups.squares / (groups.present - 1), by_cluster.var())
    for position, probability in enumerate(PROBABILITIES):
        np.testing.assert_allclose(groups.quantiles[:, :, position], by_cluster.quantile(probability))


def test_quantiles_are_the_bits_of_numpys() -> None:
    random = np.random.default_rng(0)
    for size in range(1, 60):
        for column in (random.normal(size=size), random.integers(0, 3, size) / 10, np.full(size, 0.1)):
            column.sort()
            np.testing.assert_array_equal(_groups._quantiles(column), np.quantile(column, PROBABILITIES))


def test_histograms_count_every_value_between_their_edges(
    rows: tuple[Values, NDArray[np.int32]], groups: Groups
) -> None:
    for feature in range(groups.n_features):
        for cluster in range(N_CLUSTERS):
            expected, _ = np.histogram(cell(rows, cluster, feature), groups.edges[feature])
            np.testing.assert_array_equal(groups.histograms[cluster, feature], expected)
    drawn = groups.histograms.sum(axis=(0, 2)) / groups.present.sum(axis=0)
    assert (drawn >= 0.98).all()


@pytest.mark.parametrize(
    "column",
    [
        [0.0, 1.0, 1.0, 0.0],
        list(map(float, range(300))),
        [5.0],
        [7.25] * 9,
        [0.0] * 1000 + [9.5],
        [1.0, np.nextafter(1.0, 2.0)],
        [-1e150, 1e150],
        [np.nan, np.nan],
        [1e300, 1e300],
    ],
)
def test_any_column_has_bars_that_hold_its_bulk(column: list[float]) -> None:
    values = np.array(column)[:, None]
    groups = grouped(values, np.zeros(len(values), dtype=np.int32), 1)
    edges = groups.edges[0][~np.isnan(groups.edges[0])]
    assert len(edges) >= 2
    assert (np.diff(edges) > 0).all()
    assert groups.histograms.sum() >= 0.98 * groups.present.sum()


def test_whole_numbers_lie_amid_their_bars() -> None:
    values = np.repeat(np.arange(6.0), 10)[:, None]
    groups = grouped(values, np.zeros(60, dtype=np.int32), 1)
    np.testing.assert_array_equal(groups.edges[0][:7], np.arange(7) - 0.5)
    np.testing.assert_array_equal(groups.histograms[0, 0, :6], np.full(6, 10))


def test_the_rest_is_all_rows_outside(rows: tuple[Values, NDArray[np.int32]], groups: Groups) -> None:
    rest = _effects.rest(groups)
    for cluster in range(N_CLUSTERS):
        for feature in range(groups.n_features):
            others = outside(rows, cluster, feature)
            assert rest.present[cluster, feature] == len(others)
            np.testing.assert_allclose(rest.means[cluster, feature], others.mean())
            np.testing.assert_allclose(rest.squares[cluster, feature], others.var() * len(others))


def test_effects_are_hedges_g_with_the_normal_interval(
    rows: tuple[Values, NDArray[np.int32]], groups: Groups
) -> None:
    effect = _effects.hedges(groups, _effects.rest(groups))
    for cluster in range(N_CLUSTERS):
        for feature in range(groups.n_features):
            inside, others = cell(rows, cluster, feature), outside(rows, cluster, feature)
            n, m = len(inside), len(others)
            pooled = np.sqrt(((n - 1) * inside.var(ddof=1) + (m - 1) * others.var(ddof=1)) / (n + m - 2))
            g = (inside.mean() - others.mean()) / pooled * (1 - 3 / (4 * (n + m - 2) - 1))
            half = stats.norm.ppf(0.975) * np.sqrt((n + m) / (n * m) + g**2 / (2 * (n + m)))
            found = [array[cluster, feature] for array in effect]
            np.testing.assert_allclose(found, [g, g - half, g + half])


def test_intervals_cover_a_known_effect_as_often_as_they_say() -> None:
    random = np.random.default_rng(0)
    labels = np.repeat(np.array([0, 1], dtype=np.int32), (30, 170))
    # Two thousand columns are as many experiments: means 0.6 standard deviations apart.
    values = random.normal(size=(200, 2_000)) + 0.6 * (labels == 0)[:, None]
    groups = grouped(values, labels, 2)
    effect = _effects.hedges(groups, _effects.rest(groups))
    covered = ((effect.low[0] < 0.6) & (effect.high[0] > 0.6)).mean()
    # Three standard errors of a share of 2,000 about 95 %.
    assert abs(covered - _effects.CONFIDENCE) < 0.015
    np.testing.assert_allclose(effect.size[0].mean(), 0.6, atol=0.02)


def test_analysis_of_variance_is_that_of_scipy(
    rows: tuple[Values, NDArray[np.int32]], groups: Groups
) -> None:
    fisher = _effects.anova(groups)
    share = _effects.eta_squared(groups)
    for feature in range(groups.n_features):
        samples = [cell(rows, cluster, feature) for cluster in range(N_CLUSTERS)]
        expected = stats.f_oneway(*samples)
        np.testing.assert_allclose(fisher.statistic[feature], expected.statistic)
        np.testing.assert_allclose(fisher.p_value[feature], expected.pvalue, rtol=1e-6)
        together = np.concatenate(samples)
        between = sum(len(one) * (one.mean() - together.mean()) ** 2 for one in samples)
        np.testing.assert_allclose(share[feature], between / (together.var() * len(together)))


def test_welchs_analysis_of_two_clusters_is_his_t_test_squared(
    rows: tuple[Values, NDArray[np.int32]],
) -> None:
    values, labels = rows
    two = labels < 2
    groups = grouped(values[two], labels[two], 2)
    welch = _effects.welch_anova(groups)
    for feature in range(groups.n_features):
        samples = [cell(rows, cluster, feature) for cluster in range(2)]
        expected = stats.ttest_ind(*samples, equal_var=False)
        np.testing.assert_allclose(welch.statistic[feature], expected.statistic**2)
        np.testing.assert_allclose(welch.freedom_within[feature], expected.df)
        np.testing.assert_allclose(welch.p_value[feature], expected.pvalue, rtol=1e-6)


def test_welchs_analysis_is_that_of_scipy(rows: tuple[Values, NDArray[np.int32]], groups: Groups) -> None:
    welch = _effects.welch_anova(groups)
    for feature in range(groups.n_features):
        samples = [cell(rows, cluster, feature) for cluster in range(N_CLUSTERS)]
        expected = stats.f_oneway(*samples, equal_var=False)
        np.testing.assert_allclose(welch.statistic[feature], expected.statistic)
        np.testing.assert_allclose(welch.p_value[feature], expected.pvalue, rtol=1e-6)


def test_pairwise_tests_are_those_of_scipy(rows: tuple[Values, NDArray[np.int32]], groups: Groups) -> None:
    first, second = np.array(list(combinations(range(N_CLUSTERS), 2)), dtype=np.intp).T
    test = _effects.pairwise(groups, first, second)
    for pair, (one, other) in enumerate(zip(first, second, strict=True)):
        for feature in range(groups.n_features):
            expected = stats.ttest_ind(cell(rows, one, feature), cell(rows, other, feature), equal_var=False)
            np.testing.assert_allclose(test.statistic[pair, feature], expected.statistic)
            np.testing.assert_allclose(test.freedom[pair, feature], expected.df)
            np.testing.assert_allclose(test.p_value[pair, feature], expected.pvalue, rtol=1e-6)


def test_tests_of_groups_that_are_no_clusters_reject_as_often_as_their_level() -> None:
    random = np.random.default_rng(1)
    labels = random.choice(3, 300).astype(np.int32)
    groups = grouped(random.normal(size=(300, 3_000)), labels, 3)
    for test in (_effects.anova(groups), _effects.welch_anova(groups)):
        assert abs((test.p_value < 0.05).mean() - 0.05) < 0.012


@pytest.mark.parametrize("n_clusters", [2, 3])
def test_tests_of_fitted_clusters_of_noise_reject_nearly_always(n_clusters: int) -> None:
    """What the caveat says, shown: data without clusters, and the p-values are tiny."""
    from rust_kmeans import KMeans

    values = np.random.default_rng(2).normal(size=(300, 2))
    labels = KMeans(n_clusters, random_state=0, n_init=1).fit(values).labels_
    p_values = _effects.anova(grouped(values, labels, n_clusters)).p_value
    assert p_values.min() < 1e-20
    assert "circular" in _effects.CIRCULAR


def test_holm_is_the_textbook_procedure() -> None:
    p_values = np.array([0.01, np.nan, 0.04, 0.03, 0.005])
    np.testing.assert_allclose(holm(p_values), [0.03, np.nan, 0.06, 0.06, 0.02])
    assert holm(np.array([[0.6, 0.7]])).tolist() == [[1.0, 1.0]]
    assert holm(np.array([])).tolist() == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_keeps_the_order_and_lies_between_none_and_bonferroni(p_values: list[float]) -> None:
    given_ones = np.array(p_values)
    corrected = holm(given_ones)
    assert (corrected >= given_ones).all()
    assert (corrected <= np.minimum(given_ones * len(given_ones), 1)).all()
    order = np.argsort(given_ones, kind="stable")
    assert (np.diff(corrected[order]) >= 0).all()


def test_what_has_no_spread_has_no_test_and_its_effect_is_no_number_of_rounding() -> None:
    # 0.1 has no exact sum: a mean of it differs from it in the last bit.
    values = np.array([[0.1, 1.0]] * 3 + [[0.2, 1.0]] * 7)
    labels = np.array([0] * 3 + [1] * 7, dtype=np.int32)
    groups = grouped(values, labels, 2)
    effect = _effects.hedges(groups, _effects.rest(groups))
    np.testing.assert_array_equal(effect.size, [[-np.inf, 0.0], [np.inf, 0.0]])
    for test in (_effects.anova(groups), _effects.welch_anova(groups)):
        assert np.isnan(test.p_value).all()
    pairs = _effects.pairwise(groups, np.array([0]), np.array([1]))
    assert np.isnan(pairs.p_value).all()
    np.testing.assert_array_equal(_effects.eta_squared(groups), [1.0, np.nan])


def test_single_values_and_empty_clusters_take_part_where_they_can() -> None:
    values = np.array([[1.0], [2.0], [3.0], [10.0]])
    labels = np.array([0, 0, 0, 1], dtype=np.int32)
    groups = grouped(values, labels, 3)
    assert groups.counts.tolist() == [3, 1, 0]
    assert np.isnan(groups.means[2]).all()
    pairs = _effects.pairwise(groups, np.array([0, 0, 1]), np.array([1, 2, 2]))
    assert np.isnan(pairs.p_value).all()
    effect = _effects.hedges(groups, _effects.rest(groups))
    assert np.isfinite(effect.size[:2]).all()
    assert np.isnan(effect.size[2]).all()
    assert np.isfinite(_effects.anova(groups).p_value).all()
    assert np.isnan(_effects.welch_anova(groups).p_value).all()


values_of_any_kind = st.one_of(
    st.floats(-1e150, 1e150), st.sampled_from([0.0, 1.0, -1.0, 0.1, np.nan]), st.integers(-5, 5).map(float)
)


@settings(max_examples=150)
@given(st.data())
def test_no_rows_make_it_fail_or_leave_their_range(data: st.DataObject) -> None:
    n_clusters = data.draw(st.integers(1, 4))
    n_samples = data.draw(st.integers(1, 12))
    cells = st.lists(values_of_any_kind, min_size=2 * n_samples, max_size=2 * n_samples)
    values = np.array(data.draw(cells)).reshape(n_samples, 2)
    labels = np.array(
        data.draw(st.lists(st.integers(0, n_clusters - 1), min_size=n_samples, max_size=n_samples)),
        dtype=np.int32,
    )
    groups = grouped(values, labels, n_clusters)
    assert groups.counts.sum() == n_samples
    some = groups.present > 0
    slack = 1e-12 * np.fmax(np.abs(groups.lowest), np.abs(groups.highest))
    assert (groups.means[some] >= (groups.lowest - slack)[some]).all()
    assert (groups.means[some] <= (groups.highest + slack)[some]).all()
    share = _effects.eta_squared(groups)
    assert ((share >= 0) & (share <= 1))[~np.isnan(share)].all()
    effect = _effects.hedges(groups, _effects.rest(groups))
    known = ~np.isnan(effect.size)
    assert (effect.low[known] <= effect.size[known]).all()
    assert (effect.size[known] <= effect.high[known]).all()
    first, second = np.array([*combinations(range(n_clusters), 2)], dtype=np.intp).reshape(-1, 2).T
    tests = _effects.anova(groups), _effects.welch_anova(groups), _effects.pairwise(groups, first, second)
    for test in tests:
        made = test.p_value[~np.isnan(test.p_value)]
        assert ((made >= 0) & (made <= 1)).all()


def test_more_labels_than_sixteen_bits_hold_are_sorted_too() -> None:
    labels = np.array([65_536, 0, 69_999, 0], dtype=np.int32)
    groups = grouped(np.array([[1.0], [2.0], [3.0], [4.0]]), labels, 70_000)
    assert (groups.means[0, 0], groups.means[65_536, 0], groups.means[69_999, 0]) == (3.0, 1.0, 3.0)


def test_equal_rows_in_other_orders_give_the_same_numbers() -> None:
    values, labels = rows_of(3)
    order = np.random.default_rng(4).permutation(len(values))
    for one, other in zip(
        vars(grouped(values, labels, N_CLUSTERS)).values(),
        vars(grouped(values[order], labels[order], N_CLUSTERS)).values(),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
