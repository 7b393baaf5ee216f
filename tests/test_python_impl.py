"""The textbook code: right by hand, the same as scikit-learn's, exact where distances tie."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.cluster import KMeans, kmeans_plusplus
from sklearn.exceptions import ConvergenceWarning

from harness.contract import FitSpec
from harness.datasets import Dataset
from python_impl import adapter
from python_impl import kmeans as textbook

FloatArray = npt.NDArray[np.floating[Any]]


def overlapping_blobs(seed: int, dtype: str, n: int = 2000, d: int = 5, k: int = 6) -> FloatArray:
    rng = np.random.default_rng(seed)
    means = rng.uniform(-5, 5, size=(k, d))
    return (means[rng.integers(k, size=n)] + rng.normal(size=(n, d))).astype(dtype)


def nearest_by_definition(X: FloatArray, centers: FloatArray) -> npt.NDArray[np.intp]:
    difference = X[:, np.newaxis].astype(np.float64) - centers.astype(np.float64)
    nearest: npt.NDArray[np.intp] = (difference**2).sum(axis=2).argmin(axis=1)
    return nearest


def test_toy_has_the_result_computed_by_hand() -> None:
    X = np.array([[0.0, 0.0], [0.0, 1.0], [9.0, 9.0], [9.0, 8.0]])
    result = textbook.lloyd(X, X[[0, 1]], tol=0.0)
    # 1st: {0}, {1, 2, 3}; 2nd: {0, 1}, {2, 3}; 3rd: no label changes.
    np.testing.assert_array_equal(result.centers, [[0.0, 0.5], [9.0, 8.5]])
    np.testing.assert_array_equal(result.labels, [0, 0, 1, 1])
    assert result.inertia == 4 * 0.25
    assert result.n_iter == 3


def test_empty_cluster_takes_the_farthest_sample_as_in_scikit_learn() -> None:
    X = np.array([[0.0], [1.0], [2.0], [10.0]])
    start = np.array([[1.0], [1000.0]])
    one = textbook.lloyd(X, start, max_iter=1, tol=0.0)
    # The sample at 10 moves, and its contribution with it: (0 + 1 + 2) / 3 = 1.
    np.testing.assert_array_equal(one.centers, [[1.0], [10.0]])
    np.testing.assert_array_equal(one.labels, [0, 0, 0, 1])
    assert one.inertia == 2.0
    theirs = KMeans(2, init=start, n_init=1, tol=0.0).fit(X)
    ours = textbook.lloyd(X, start, tol=0.0)
    np.testing.assert_array_equal(ours.centers, theirs.cluster_centers_)
    assert ours.n_iter == theirs.n_iter_


def test_several_empty_clusters_take_samples_farthest_first_and_ties_by_row() -> None:
    X = np.array([[0.0], [-3.0], [5.0], [3.0]])
    start = np.array([[0.0], [900.0], [800.0]])
    result = textbook.lloyd(X, start, max_iter=1, tol=0.0)
    np.testing.assert_array_equal(result.centers, [[1.5], [5.0], [-3.0]])


def test_donor_that_loses_its_only_sample_goes_to_the_largest_cluster() -> None:
    X = np.array([[0.0], [0.0], [0.5], [50.0]])
    # The second center owns the sample at 50 alone, and that is the farthest.
    result = textbook.lloyd(X, np.array([[0.0], [40.0], [900.0]]), max_iter=1, tol=0.0)
    np.testing.assert_allclose(result.centers, [[0.5 / 3], [0.5 / 3], [50.0]])


def test_nothing_is_relocated_when_every_sample_lies_on_its_center() -> None:
    X = np.ones((5, 2))
    result = textbook.lloyd(X, np.array([[1.0, 1.0], [7.0, 7.0]]), tol=0.0)
    np.testing.assert_array_equal(result.centers, np.ones((2, 2)))
    np.testing.assert_array_equal(result.labels, np.zeros(5))
    assert result.inertia == 0.0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("seed", range(5))
def test_same_labels_and_objective_as_scikit_learn_from_the_same_start(seed: int, dtype: str) -> None:
    X = overlapping_blobs(seed, dtype)
    start = X[:6]
    theirs = KMeans(6, init=start, n_init=1, tol=0.0, max_iter=300).fit(X)
    ours = textbook.lloyd(X, start, tol=0.0)
    assert ours.inertia == pytest.approx(theirs.inertia_, rel=1e-5 if dtype == "float32" else 1e-12)
    assert ours.centers.dtype == X.dtype
    if dtype == "float64":
        np.testing.assert_array_equal(ours.labels, theirs.labels_)
        assert ours.n_iter == theirs.n_iter_
    else:
        # scikit-learn computes distances in float32.
        assert (ours.labels == theirs.labels_).mean() > 0.999


@pytest.mark.parametrize("tol", [1e-4, 1e-2])
@pytest.mark.parametrize("max_iter", [1, 2, 300])
def test_stops_where_scikit_learn_stops(tol: float, max_iter: int) -> None:
    X = overlapping_blobs(1, "float64")
    with warnings.catch_warnings():
        # Running out of iterations is what is tested.
        warnings.simplefilter("ignore", ConvergenceWarning)
        theirs = KMeans(6, init=X[:6], n_init=1, tol=tol, max_iter=max_iter).fit(X)
    ours = textbook.lloyd(X, X[:6], tol=tol, max_iter=max_iter)
    assert ours.n_iter == theirs.n_iter_
    np.testing.assert_allclose(ours.centers, theirs.cluster_centers_, rtol=1e-10)
    np.testing.assert_array_equal(ours.labels, theirs.labels_)


coordinates = st.integers(-4, 4)


@given(
    X=arrays(np.float64, st.tuples(st.integers(1, 40), st.just(2)), elements=coordinates),
    centers=arrays(np.float64, st.tuples(st.integers(1, 9), st.just(2)), elements=coordinates),
    offset=st.sampled_from([0.0, 1e4, 1e7]),
    dtype=st.sampled_from(["float32", "float64"]),
)
@settings(max_examples=80, deadline=None)
def test_ties_go_to_the_lowest_index_also_far_from_the_origin(
    X: FloatArray, centers: FloatArray, offset: float, dtype: str
) -> None:
    X, centers = (X / 8 + offset).astype(dtype), (centers / 8 + offset).astype(dtype)
    labels, distances = textbook.assign(X, centers)
    np.testing.assert_array_equal(labels, nearest_by_definition(X, centers))
    expected = ((X.astype(np.float64) - centers.astype(np.float64)[labels]) ** 2).sum(axis=1)
    np.testing.assert_allclose(distances, expected, rtol=1e-15)


@given(
    X=arrays(np.float64, (30, 3), elements=st.floats(-1e3, 1e3)),
    cuts=st.lists(st.integers(0, 30), max_size=3).map(sorted),
)
@settings(max_examples=50, deadline=None)
def test_partials_of_parts_merge_into_the_partial_of_the_whole(X: FloatArray, cuts: list[int]) -> None:
    centers = X[:4]
    labels, whole = textbook.assign_block(X, centers)
    merged = textbook.Partial.empty(4, 3)
    for part in np.split(X, cuts):
        merged = merged.merge(textbook.assign_block(part, centers)[1])
    np.testing.assert_array_equal(merged.counts, whole.counts)
    np.testing.assert_array_equal(whole.counts, np.bincount(labels, minlength=4))
    np.testing.assert_allclose(merged.sums, whole.sums, rtol=1e-12, atol=1e-9)
    assert merged.inertia == pytest.approx(whole.inertia, rel=1e-12, abs=1e-9)


def test_chunks_do_not_change_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    X = overlapping_blobs(2, "float32")
    whole = textbook.lloyd(X, X[:6], tol=0.0)
    monkeypatch.setattr(textbook, "CHUNK_ELEMENTS", 60)
    chunked = textbook.lloyd(X, X[:6], tol=0.0)
    np.testing.assert_array_equal(chunked.labels, whole.labels)
    assert chunked.inertia == pytest.approx(whole.inertia, rel=1e-12)


def test_start_is_not_modified_and_an_optimum_is_kept() -> None:
    X = overlapping_blobs(3, "float64")
    start = X[:6].copy()
    result = textbook.lloyd(X, start, tol=0.0)
    np.testing.assert_array_equal(start, X[:6])
    again = textbook.lloyd(X, result.centers, tol=0.0)
    np.testing.assert_array_equal(again.centers, result.centers)
    # No center moved at all.
    assert again.n_iter == 1


def test_mean_variance_does_not_cancel() -> None:
    X = overlapping_blobs(4, "float64") + 1e6
    assert textbook.mean_variance(X) == pytest.approx(float(np.mean(np.var(X, axis=0))), rel=1e-9)


@pytest.mark.parametrize("offset", [0.0, 1e5])
def test_kmeans_plusplus_is_as_good_as_scikit_learns(offset: float) -> None:
    X = overlapping_blobs(5, "float64", n=1500, d=3, k=12) + offset

    def objective(centers: FloatArray) -> float:
        return float(textbook.assign(X, centers)[1].sum())

    ours = [objective(textbook.kmeans_plusplus(X, 12, np.random.default_rng(seed))) for seed in range(40)]
    theirs = [objective(kmeans_plusplus(X, 12, random_state=seed)[0]) for seed in range(40)]
    rows = [objective(textbook.random_rows(X, 12, np.random.default_rng(seed))) for seed in range(40)]
    # The medians of 40 draws scatter by a few percent; random rows are far worse, so the test can tell.
    assert np.median(ours) < 1.08 * np.median(theirs)
    assert np.median(rows) > 1.3 * np.median(theirs)


def test_seeding_copes_with_fewer_distinct_samples_than_clusters() -> None:
    X = np.repeat([[0.0], [1.0]], 5, axis=0)
    result = textbook.kmeans(X, 4)
    assert result.inertia == 0.0
    assert sorted(np.unique(result.centers)) == [0.0, 1.0]


def test_restarts_return_the_best() -> None:
    X = overlapping_blobs(6, "float64")
    single = textbook.kmeans(X, 6, init="random", seed=3)
    several = textbook.kmeans(X, 6, init="random", n_init=8, seed=3)
    assert several.inertia <= single.inertia
    assert several.inertia == pytest.approx(float(textbook.assign(X, several.centers)[1].sum()))


@pytest.mark.parametrize(
    ("X", "arguments", "message"),
    [
        (np.zeros((3, 2)), {"n_clusters": 4}, "n_clusters=4 must be from 1 to n_samples=3"),
        (np.zeros((3, 2)), {"n_clusters": 0}, "n_clusters=0"),
        (np.zeros((3, 2)), {"n_clusters": 2, "n_init": 0}, "n_init=0"),
        (np.zeros((3, 2)), {"n_clusters": 2, "init": "kmeans"}, "init='kmeans'"),
        (np.zeros((3, 2)), {"n_clusters": 2, "init": np.zeros((2, 3))}, r"shape \(2, 3\)"),
        (np.array([[0.0], [np.nan]]), {"n_clusters": 1}, "missing or infinite"),
        (np.zeros((3, 2), dtype=np.int64), {"n_clusters": 2}, "float32 or float64"),
    ],
)
def test_what_cannot_be_clustered_is_refused(X: FloatArray, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        textbook.kmeans(X, **arguments)


@pytest.mark.parametrize("matched", [True, False])
def test_adapter_reports_what_it_used(tmp_path: Path, matched: bool) -> None:
    X = overlapping_blobs(7, "float32")
    np.save(tmp_path / "X.npy", X)
    dataset = Dataset(tmp_path / "X.npy", X.shape[0], X.shape[1], "float32")
    spec = (
        FitSpec(6, X[:6], 1, 50, 0.0, 0, 1, "float32")
        if matched
        else FitSpec(6, None, None, None, None, 0, 1, "float32")
    )
    numpy_kmeans = adapter.numpy_kmeans()
    assert numpy_kmeans.available() is None
    assert numpy_kmeans.version() == np.__version__
    state = numpy_kmeans.prepare(dataset, spec)
    fitted = numpy_kmeans.fit(state, spec)
    result = numpy_kmeans.result(fitted, spec)
    assert result.labels is not None
    np.testing.assert_array_equal(numpy_kmeans.predict(state, fitted), result.labels)
    assert (result.settings.init, result.settings.tol) == (("given", 0.0) if matched else ("k-means++", 1e-4))
    assert (result.seeding_seconds is None) == matched
    numpy_kmeans.close(state)
