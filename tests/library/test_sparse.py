"""Sparse X: the fit of the dense data, without the dense data."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
import sklearn.cluster
from scipy import sparse

from rust_kmeans import KMeans, kmeans_plusplus, kmeans_sweep

DTYPES = [np.float32, np.float64]


def _random(n: int, d: int, density: float, dtype: Any = np.float64, seed: int = 0) -> Any:
    """A CSR matrix of normal numbers."""
    rng = np.random.default_rng(seed)
    X = sparse.random(n, d, density=density, format="csr", random_state=rng, dtype=dtype)
    X.data = rng.normal(size=X.nnz).astype(dtype)
    return X


def _same(one: KMeans, other: KMeans) -> None:
    """Labels and centers bit for bit, inertia up to rounding."""
    assert one.cluster_centers_.dtype == other.cluster_centers_.dtype
    assert one.cluster_centers_.tobytes() == other.cluster_centers_.tobytes()
    np.testing.assert_array_equal(one.labels_, other.labels_)
    assert one.n_iter_ == other.n_iter_
    assert one.inertia_ == pytest.approx(other.inertia_, rel=1e-10)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("init", ["k-means++", "random"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("density", [0.02, 0.3])
def test_a_sparse_fit_is_the_dense_fit(dtype: Any, init: Any, weighted: bool, density: float) -> None:
    X = _random(600, 80, density, dtype)
    weights = np.random.default_rng(1).uniform(0, 3, 600) if weighted else None
    model = KMeans(9, init=init, n_init=3, random_state=5)
    fit = model.fit(X, sample_weight=weights)
    dense = KMeans(9, init=init, n_init=3, random_state=5).fit(X.toarray(), sample_weight=weights)
    _same(fit, dense)
    assert fit.algorithm_ == "lloyd"
    other = _random(300, 80, density, dtype, seed=2)
    np.testing.assert_array_equal(fit.predict(other), dense.predict(other.toarray()))
    np.testing.assert_array_equal(fit.predict(X), fit.labels_)
    np.testing.assert_allclose(fit.transform(other), dense.transform(other.toarray()), rtol=1e-5)
    assert fit.score(X, sample_weight=weights) == pytest.approx(-fit.inertia_, rel=1e-12)
    np.testing.assert_array_equal(
        KMeans(9, random_state=5).fit_predict(X), KMeans(9, random_state=5).fit(X).labels_
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_fit_is_scikit_learns_from_the_same_start(dtype: Any) -> None:
    X = _random(500, 60, 0.1, dtype)
    start = X[:6].toarray()
    ours = KMeans(6, init=start, tol=0).fit(X)
    theirs = sklearn.cluster.KMeans(6, init=start, n_init=1, tol=0).fit(X)
    np.testing.assert_array_equal(ours.labels_, theirs.labels_)
    np.testing.assert_allclose(ours.cluster_centers_, theirs.cluster_centers_, rtol=1e-4, atol=1e-5)
    assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=1e-5)


def test_bits_do_not_depend_on_the_number_of_threads() -> None:
    # So large that three threads have work.
    X = _random(60_000, 400, 0.02, np.float32)
    fits = [KMeans(12, random_state=0, max_iter=5, n_threads=n).fit(X) for n in (1, 2, 3)]
    assert len({fit.cluster_centers_.tobytes() for fit in fits}) == 1
    assert len({fit.labels_.tobytes() for fit in fits}) == 1
    assert len({fit.inertia_ for fit in fits}) == 1
    assert len({fit.score(X) for fit in fits}) == 1


@pytest.mark.parametrize("kind", ["csr_array", "csc", "coo", "lil", "int64", "int32", "unsorted", "twice"])
def test_every_form_of_the_same_matrix_gives_the_same_fit(kind: str) -> None:
    X = _random(200, 40, 0.1)
    if kind in {"int64", "int32"}:
        other = X.copy()
        other.indices, other.indptr = X.indices.astype(kind), X.indptr.astype(kind)
    elif kind == "unsorted":
        order = np.concatenate([np.arange(a, b)[::-1] for a, b in zip(X.indptr, X.indptr[1:], strict=False)])
        other = sparse.csr_matrix((X.data[order], X.indices[order], X.indptr), shape=X.shape)
    elif kind == "twice":
        arrays = (np.repeat(X.data / 2, 2), np.repeat(X.indices, 2), 2 * X.indptr)
        other = sparse.csr_matrix(arrays, shape=X.shape)
    else:
        other = sparse.csr_array(X) if kind == "csr_array" else X.asformat(kind)
    before = other.copy()
    _same(KMeans(5, random_state=1).fit(other), KMeans(5, random_state=1).fit(X))
    assert (before != other).nnz == 0
    if kind in ("unsorted", "twice"):
        np.testing.assert_array_equal(other.indices, before.indices)


def test_rows_and_columns_without_nonzeros_are_points_and_features_like_others() -> None:
    X = _random(100, 30, 0.05).tolil()
    X[:50] = 0
    X[:, 7] = 0
    X = X.tocsr()
    fit = KMeans(6, random_state=0).fit(X)
    _same(fit, KMeans(6, random_state=0).fit(X.toarray()))
    assert len(set(fit.labels_[:50])) == 1


def test_a_matrix_of_zeros_is_one_cluster_at_the_origin() -> None:
    X = sparse.csr_matrix((20, 5))
    fit = KMeans(1, random_state=0).fit(X)
    assert not fit.cluster_centers_.any()
    assert fit.inertia_ == 0
    with pytest.warns(Warning, match="distinct clusters"):
        KMeans(3, random_state=0).fit(X)


def test_as_many_clusters_as_samples_leave_no_inertia() -> None:
    X = _random(40, 200, 0.05).tolil()
    X[:, 0] = np.arange(1, 41)[:, np.newaxis]
    fit = KMeans(40, random_state=0).fit(X)
    assert sorted(fit.labels_) == list(range(40))
    assert fit.inertia_ == 0


def test_of_equal_distances_the_lowest_index_wins() -> None:
    X = sparse.csr_matrix(np.array([[0.0, 0, 1], [0, 1, 0], [1, 0, 0], [0, 0, 0]]))
    centers = np.repeat(np.eye(3), 2, axis=0)
    fit = KMeans(6, init=centers, max_iter=1)
    fit.cluster_centers_, fit.n_features_in_ = centers, 3
    np.testing.assert_array_equal(fit.predict(X), [4, 2, 0, 0])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_named_by_row_and_column(bad: float) -> None:
    X = _random(30, 10, 0.5).tolil()
    X[17, 4] = bad
    with pytest.raises(ValueError, match="row 17, column 4"):
        KMeans(2).fit(X)
    with pytest.raises(ValueError, match="row 17, column 4"):
        KMeans(2, random_state=0).fit(_random(30, 10, 0.5)).predict(X)


@pytest.mark.parametrize(
    ("shape", "said"),
    [((0, 5), "0 sample"), ((5, 0), "0 feature"), ((2, 5), "n_samples=2 should be >= n_clusters=3")],
)
def test_too_small_a_matrix_is_refused(shape: tuple[int, int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        KMeans(3).fit(sparse.csr_matrix(shape))


def test_a_matrix_that_lies_about_its_indices_is_refused_by_row() -> None:
    X = sparse.csr_matrix(np.eye(4))
    assert X.has_canonical_format
    X.indices[2] = 9
    with pytest.raises(ValueError, match="row 2"):
        KMeans(2).fit(X)


def test_kmeans_parallel_is_refused_with_the_remedy() -> None:
    with pytest.raises(ValueError, match=r"for sparse data use k-means\+\+"):
        KMeans(2, init="k-means||").fit(_random(20, 5, 0.5))


def test_a_callable_gets_the_sparse_data() -> None:
    def first(X: Any, n_clusters: int, random_state: Any) -> Any:
        assert sparse.issparse(X)
        return X[:n_clusters].toarray()

    X = _random(50, 10, 0.3)
    _same(KMeans(4, init=first, n_init=1).fit(X), KMeans(4, init=X[:4].toarray()).fit(X))


def test_seeds_and_sweeps_are_those_of_the_dense_data() -> None:
    X = _random(300, 50, 0.1)
    weights = np.random.default_rng(3).uniform(0, 2, 300)
    centers, indices = kmeans_plusplus(X, 8, sample_weight=weights, random_state=2)
    dense = kmeans_plusplus(X.toarray(), 8, sample_weight=weights, random_state=2)
    np.testing.assert_array_equal(indices, dense[1])
    np.testing.assert_array_equal(centers, dense[0])
    np.testing.assert_array_equal(centers, X[indices].toarray())
    pairs = zip(
        kmeans_sweep(X, [2, 5, 7], random_state=0),
        kmeans_sweep(X.toarray(), [2, 5, 7], random_state=0),
        strict=True,
    )
    for one, other in pairs:
        _same(one, other)


def test_weights_are_repeated_rows_and_zero_weights_none() -> None:
    X = _random(60, 20, 0.3)
    start = X[:3].toarray()
    weights = np.random.default_rng(0).integers(0, 4, 60)
    repeated = sparse.csr_matrix(np.repeat(X.toarray(), weights, axis=0))
    one = KMeans(3, init=start, tol=0).fit(X, sample_weight=weights)
    other = KMeans(3, init=start, tol=0).fit(repeated)
    np.testing.assert_allclose(one.cluster_centers_, other.cluster_centers_, rtol=1e-12, atol=1e-15)
    assert one.inertia_ == pytest.approx(other.inertia_, rel=1e-12)
    with pytest.raises(ValueError, match="every sample_weight is zero"):
        KMeans(3).fit(X, sample_weight=np.zeros(60))


def test_a_matrix_too_large_to_be_dense_is_fitted() -> None:
    resource = pytest.importorskip("resource", reason="memory is measured on Unix")
    # Dense it takes 8 GB.
    X = _random(20_000, 50_000, 1e-4)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tracemalloc.start()
    fit = KMeans(5, random_state=0, max_iter=5, n_threads=2).fit(X)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert fit.labels_.shape == (20_000,)
    assert fit.predict(X[:10]).shape == (10,)
    # Kilobytes, as Linux counts; and what NumPy asked for, in bytes.
    assert grown < 300_000
    assert peak < 50_000_000
