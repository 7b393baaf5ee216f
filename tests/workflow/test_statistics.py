"""Training statistics: what they are by definition, the same bits however rows are cut, in bounded memory."""

from __future__ import annotations

import itertools
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rust_kmeans.workflow import StatisticsBuilder, TrainingStatistics, WorkflowError, _statistics
from rust_kmeans.workflow._nearest import two_nearest
from tests.workflow.models import Values, blobs, fitted, prepared


def assert_same_bits(one: TrainingStatistics, other: TrainingStatistics) -> None:
    for field in fields(TrainingStatistics):
        assert np.array_equal(
            np.asarray(getattr(one, field.name)), np.asarray(getattr(other, field.name)), equal_nan=True
        ), field.name


def built(values: Values, cuts: list[int], n_clusters: int = 4) -> TrainingStatistics:
    preparation = prepared(values)
    builder = StatisticsBuilder(preparation, preparation.features(values[:n_clusters]))
    for first, last in itertools.pairwise([0, *sorted(cuts), len(values)]):
        batch = values[first:last].copy()
        builder.add(batch)
        # The array is the caller's again.
        batch[:] = np.nan
    return builder.finish(n_left_out=7)


def with_gaps(n_samples: int, seed: int = 0) -> Values:
    values = blobs(n_samples, seed=seed)
    values[np.random.default_rng(seed).random(values.shape) < 0.1] = np.nan
    return values


def test_statistics_are_what_they_are_by_definition() -> None:
    values = with_gaps(3000)
    preparation = prepared(values)
    centers = preparation.features(values[:4])
    found = built(values, [])
    features = preparation.features(values)
    distances = np.linalg.norm(features[:, np.newaxis] - centers, axis=2)
    labels = distances.argmin(axis=1)
    assert (found.n_samples, found.n_left_out, found.n_sampled) == (3000, 7, 3000)
    np.testing.assert_array_equal(found.counts, np.bincount(labels))
    np.testing.assert_array_equal(found.missing, np.isnan(values).mean(axis=0))
    np.testing.assert_allclose(found.shares.sum(), 1)
    filled = preparation.filled(values)
    for label in range(4):
        np.testing.assert_allclose(found.means[label], filled[labels == label].mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(found.deviations[label], filled[labels == label].std(axis=0), rtol=1e-12)
    for column, quantiles in zip(values.T, found.quantiles, strict=True):
        expected = np.nanquantile(column, found.probabilities, method="inverted_cdf")
        # Where a step falls on a row, rounding decides in NumPy.
        assert (quantiles != expected).mean() < 0.02
        shares = (column[~np.isnan(column), np.newaxis] <= quantiles).mean(axis=0)
        assert (shares >= found.probabilities).all()
        assert (shares - found.probabilities <= 1 / np.isfinite(column).sum()).all()
    ordered = np.sort(distances, axis=1)
    for quantiles, expected in (
        (found.distances, ordered[:, 0]),
        (found.margins, ordered[:, 1] - ordered[:, 0]),
    ):
        np.testing.assert_allclose(quantiles[[0, -1]], [expected.min(), expected.max()], atol=1e-12)
        np.testing.assert_allclose(quantiles[250], np.sort(expected)[1499], rtol=1e-12)


@settings(max_examples=40, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 400), max_size=6),
    n_samples=st.integers(4, 400),
    block=st.integers(1, 64),
    most=st.integers(1, 500),
    seed=st.integers(0, 100),
)
def test_statistics_are_the_same_bits_however_rows_are_cut(
    cuts: list[int], n_samples: int, block: int, most: int, seed: int
) -> None:
    values = with_gaps(n_samples, seed)
    values[:4] = np.nan_to_num(values[:4])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_statistics, "_BLOCK_ROWS", block)
        patch.setattr(_statistics, "MOST_ROWS", most)
        whole = built(values, [])
        in_parts = built(values, [min(cut, n_samples) for cut in cuts])
    assert_same_bits(whole, in_parts)
    assert whole.n_sampled == min(most, n_samples)


def test_the_sample_holds_no_more_rows_than_stated_and_every_row_as_likely(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_statistics, "MOST_ROWS", 100)
    monkeypatch.setattr(_statistics, "_BLOCK_ROWS", 64)
    drawn = np.zeros(1000)
    for seed in range(300):
        sample = _statistics._Sample(100, seed)
        for first in range(0, 1000, 64):
            sample.add(np.arange(first, min(first + 64, 1000), dtype=float)[:, np.newaxis])
            assert sample._held <= 200
        rows = sample.rows()[:, 0].astype(int)
        assert len(set(rows)) == 100
        drawn[rows] += 1
    # 30 times each on average with a deviation of 5.2: the places of rows make no difference.
    for part in np.split(drawn, 10):
        assert abs(part.mean() - 30) < 4 * 5.2 / np.sqrt(100)
    assert drawn.max() < 30 + 6 * 5.2


def test_one_cluster_has_infinite_margins() -> None:
    found = fitted(blobs(50), 1).statistics
    assert np.isinf(found.margins).all()
    assert np.isfinite(found.distances).all()


def test_a_column_without_values_has_no_quantiles() -> None:
    values = blobs(50)
    preparation = prepared(values)
    values[:, 1] = np.nan
    builder = StatisticsBuilder(preparation, preparation.features(values[:2]))
    builder.add(values)
    found = builder.finish(0)
    assert found.missing.tolist() == [0, 1, 0]
    assert np.isnan(found.quantiles[1]).all()
    assert np.isfinite(found.quantiles[[0, 2]]).all()


def test_a_cluster_without_rows_has_its_center_as_mean() -> None:
    values = blobs(50)
    preparation = prepared(values)
    centers = np.vstack([np.zeros(3), np.full(3, 1e6)])
    builder = StatisticsBuilder(preparation, centers)
    builder.add(values)
    found = builder.finish(0)
    assert found.counts.tolist() == [50, 0]
    np.testing.assert_allclose(found.means[1], preparation.originals(centers)[1])
    assert found.deviations[1].tolist() == [0, 0, 0]


def test_shares_of_no_known_rows_are_zero() -> None:
    known = fitted(blobs(50), 2).statistics
    assert replace(known, counts=np.zeros(2, dtype=np.int64)).shares.tolist() == [0, 0]


def test_what_cannot_be_summed_up_is_refused() -> None:
    preparation = prepared(blobs(50))
    builder = StatisticsBuilder(preparation, np.zeros((1, 3)))
    with pytest.raises(WorkflowError, match="no row is left"):
        builder.finish(0)
    with pytest.raises(WorkflowError, match=r"shape \(2, 2\): they must be \(n_samples, 3\)"):
        builder.add(np.zeros((2, 2)))
    builder.add(np.array([[0.0, np.inf, 0.0]]))
    with pytest.raises(WorkflowError, match="'x1' that is infinite"):
        builder.finish(0)


def test_values_whose_squares_overflow_are_refused() -> None:
    preparation = replace(prepared(blobs(50)), divisor=np.ones(3), offset=np.zeros(3))
    builder = StatisticsBuilder(preparation, np.zeros((1, 3)))
    builder.add(np.array([[0.0, 1e200, 0.0]]))
    with pytest.raises(WorkflowError, match="rescale the data"):
        builder.finish(0)


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 300),
    d=st.integers(1, 9),
    k=st.integers(1, 9),
    is_coarse=st.booleans(),
    dtype=st.sampled_from([np.float32, np.float64]),
    seed=st.integers(0, 1000),
)
def test_the_two_nearest_centers_are_those_of_all_distances(
    n: int, d: int, k: int, is_coarse: bool, dtype: type, seed: int
) -> None:
    random = np.random.default_rng(seed)
    features: NDArray[Any] = random.normal(size=(n, d)).astype(dtype)
    centers: NDArray[Any] = random.normal(size=(k, d)).astype(dtype)
    if is_coarse:
        features, centers = features.round(), centers.round()
    found = two_nearest(features, centers)
    distances = np.linalg.norm(features[:, np.newaxis].astype(float) - centers.astype(float), axis=2)
    np.testing.assert_array_equal(found.labels, distances.argmin(axis=1))
    np.testing.assert_allclose(found.distances, distances.min(axis=1), rtol=1e-12)
    if k == 1:
        assert np.isinf(found.margins).all()
    else:
        ordered = np.sort(distances, axis=1)
        np.testing.assert_allclose(found.margins, ordered[:, 1] - ordered[:, 0], atol=1e-12)
    alone = [two_nearest(features[i : i + 1], centers) for i in range(n)]
    assert [float(row.distances[0]) for row in alone] == found.distances.tolist()
    assert [float(row.margins[0]) for row in alone] == found.margins.tolist()
