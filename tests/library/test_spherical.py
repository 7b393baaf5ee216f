"""`rust_kmeans.SphericalKMeans` against the textbook in NumPy."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from rust_kmeans import KMeans, SphericalKMeans

DTYPES = [np.float32, np.float64]


def _directions(n: int = 600, d: int = 8, seed: int = 0) -> np.ndarray[Any, Any]:
    """Samples of several directions and all lengths, a third of the values zero."""
    rng = np.random.default_rng(seed)
    places = rng.normal(size=(5, d))
    X = (places[rng.integers(0, 5, n)] + 0.5 * rng.normal(size=(n, d))) * rng.uniform(0.01, 100, (n, 1))
    X[rng.random((n, d)) < 0.3] = 0
    X[:, 0] += 0.1
    return X


def _textbook(X: Any, centers: Any, weights: Any, n_iter: int) -> tuple[Any, Any, float]:
    """So many iterations of spherical k-means, then labels: centers, labels, sum of 2 (1 − cos)."""
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    centers = centers / np.linalg.norm(centers, axis=1, keepdims=True)
    for _ in range(n_iter):
        labels = np.argmax(unit @ centers.T, axis=1)
        for c in range(len(centers)):
            total = (unit * weights[:, np.newaxis])[labels == c].sum(axis=0)
            centers[c] = total / np.linalg.norm(total)
    labels = np.argmax(unit @ centers.T, axis=1)
    cosines = np.sum(unit * centers[labels], axis=1)
    return centers, labels, float(np.sum(weights * 2 * (1 - cosines)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("is_sparse", [False, True])
@pytest.mark.parametrize("n_iter", [1, 4])
def test_a_fit_is_the_textbooks(dtype: Any, is_sparse: bool, n_iter: int) -> None:
    X = _directions().astype(dtype)
    weights = np.random.default_rng(1).uniform(0.5, 2, len(X))
    fit = SphericalKMeans(5, init=X[:5], tol=0, max_iter=n_iter)
    fit.fit(sparse.csr_array(X) if is_sparse else X, sample_weight=weights)
    centers, labels, inertia = _textbook(X.astype(np.float64), X[:5].astype(np.float64), weights, n_iter)
    rtol = 1e-5 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(fit.cluster_centers_, centers, rtol=rtol, atol=rtol)
    np.testing.assert_array_equal(fit.labels_, labels)
    assert fit.inertia_ == pytest.approx(inertia, rel=100 * rtol)
    assert fit.cluster_centers_.dtype == dtype


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("init", ["k-means++", "random"])
def test_dense_and_sparse_are_the_same_fit(dtype: Any, init: Any) -> None:
    X = _directions(300, 40).astype(dtype)
    dense = SphericalKMeans(6, init=init, n_init=2, random_state=0).fit(X)
    other = SphericalKMeans(6, init=init, n_init=2, random_state=0).fit(sparse.csr_matrix(X))
    np.testing.assert_array_equal(dense.labels_, other.labels_)
    np.testing.assert_allclose(dense.cluster_centers_, other.cluster_centers_, rtol=1e-6, atol=1e-7)


def test_the_objective_never_rises() -> None:
    X = _directions(1_000, 12)
    inertias = [
        SphericalKMeans(8, init=X[:8], tol=0, max_iter=n).fit(X).inertia_ for n in (1, 2, 3, 5, 8, 13, 50)
    ]
    assert all(after <= before * (1 + 1e-12) for before, after in pairwise(inertias))
    assert inertias[-1] < inertias[0]


@pytest.mark.parametrize("algorithm", ["lloyd", "hamerly", "yinyang"])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_bits_do_not_depend_on_threads_or_algorithm(algorithm: Any, n_threads: int) -> None:
    X = _directions(20_000, 10).astype(np.float32)
    usual = SphericalKMeans(7, random_state=0, tol=0).fit(X)
    fit = SphericalKMeans(7, random_state=0, tol=0, algorithm=algorithm, n_threads=n_threads).fit(X)
    assert fit.cluster_centers_.tobytes() == usual.cluster_centers_.tobytes()
    assert fit.inertia_ == usual.inertia_
    np.testing.assert_array_equal(fit.labels_, usual.labels_)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("init", ["k-means++", "k-means||", "random"])
def test_centers_have_unit_length(dtype: Any, init: Any) -> None:
    fit = SphericalKMeans(5, init=init, random_state=0).fit(_directions().astype(dtype))
    lengths = np.linalg.norm(fit.cluster_centers_.astype(np.float64), axis=1)
    np.testing.assert_allclose(lengths, 1, rtol=4 * np.finfo(dtype).eps)


def test_lengths_of_samples_do_not_matter_and_x_stays_as_it_is() -> None:
    X = _directions()
    before = X.copy()
    scaled = X * np.exp2(np.random.default_rng(0).integers(-300, 300, (len(X), 1)))
    one, other = (SphericalKMeans(4, random_state=0).fit(data) for data in (X, scaled))
    assert one.cluster_centers_.tobytes() == other.cluster_centers_.tobytes()
    np.testing.assert_array_equal(one.predict(scaled), one.labels_)
    np.testing.assert_array_equal(X, before)


@pytest.mark.parametrize("is_sparse", [False, True])
def test_transform_gives_cosine_distances_and_score_the_objective(is_sparse: bool) -> None:
    X = _directions()
    data = sparse.csr_matrix(X) if is_sparse else X
    fit = SphericalKMeans(4, random_state=0).fit(data)
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    distances = fit.transform(data)
    np.testing.assert_allclose(distances, 1 - unit @ fit.cluster_centers_.T, atol=1e-12)
    np.testing.assert_array_equal(distances.argmin(axis=1), fit.predict(data))
    np.testing.assert_array_equal(fit.predict(data), fit.labels_)
    assert fit.score(data) == pytest.approx(-2 * distances.min(axis=1).sum(), rel=1e-10)
    assert fit.score(data) == pytest.approx(-fit.inertia_, rel=1e-12)


@pytest.mark.parametrize("is_sparse", [False, True])
def test_a_row_of_zeros_is_refused_by_its_number(is_sparse: bool) -> None:
    X = _directions(5_000)
    fit = SphericalKMeans(3, random_state=0).fit(X)
    X[4_500] = 0
    data = sparse.csr_matrix(X) if is_sparse else X
    for call in (fit.predict, fit.score, fit.transform, fit.fit):
        with pytest.raises(ValueError, match=r"Row 4500 of X is zero .* leave such rows out"):
            call(data)


@pytest.mark.parametrize("is_sparse", [False, True])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_value_that_is_not_finite_is_named_by_row_and_column(is_sparse: bool, bad: float) -> None:
    X = _directions()
    X[123, 4] = bad
    with pytest.raises(ValueError, match="row 123, column 4"):
        SphericalKMeans(3).fit(sparse.csr_matrix(X) if is_sparse else X)


def test_a_cluster_whose_samples_cancel_keeps_its_center() -> None:
    X = np.array([[1.0, 0], [-1, 0]])
    fit = SphericalKMeans(1, init=np.array([[0.0, 3]])).fit(X)
    np.testing.assert_array_equal(fit.cluster_centers_, [[0, 1]])
    assert fit.inertia_ == 4


def test_directions_that_lengths_hide_from_kmeans_are_found() -> None:
    angles = np.repeat([0.1, 1.4], 50)
    X = np.column_stack([np.cos(angles), np.sin(angles)]) * np.tile([1, 100], 50)[:, np.newaxis]
    truth = angles > 1
    spherical = SphericalKMeans(2, random_state=0).fit(X).labels_
    assert len(set(zip(spherical, truth, strict=True))) == 2
    assert len(set(zip(KMeans(2, init=X[[0, 1]]).fit(X).labels_, truth, strict=True))) > 2


def test_a_stream_is_refused() -> None:
    with pytest.raises(TypeError, match="has no fit_stream"):
        SphericalKMeans(2).fit_stream([_directions()])
