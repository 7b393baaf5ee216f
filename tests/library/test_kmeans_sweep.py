"""Runs and fits that share passes over X: the bits of one after the other, and one clear error."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from rust_kmeans import KMeans, kmeans_sweep

Floats = NDArray[np.floating[Any]]


def blobs(dtype: str = "float64", n: int = 3000) -> Floats:
    rng = np.random.default_rng(0)
    X: Floats = (rng.normal(size=(n, 4)) + 3 * rng.integers(-1, 2, size=(n, 4))).astype(dtype)
    return X


def bits(model: KMeans) -> tuple[bytes, bytes, float, int, str]:
    return (
        model.cluster_centers_.tobytes(),
        model.labels_.tobytes(),
        model.inertia_,
        model.n_iter_,
        model.algorithm_,
    )


@pytest.mark.parametrize("init", ["k-means++", "random"])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_n_init_keeps_the_best_of_fits_seeded_likewise(init: Any, n_threads: int) -> None:
    X = blobs("float32")
    together = KMeans(7, init=init, n_init=5, random_state=3, n_threads=n_threads).fit(X)
    state = np.random.RandomState(3)
    apart = [KMeans(7, init=init, n_init=1, random_state=state).fit(X) for _ in range(5)]
    assert len({model.inertia_ for model in apart}) > 1
    assert bits(together) == bits(min(apart, key=lambda model: model.inertia_))


def test_callables_are_asked_once_a_run_in_order() -> None:
    X = blobs()
    asked: list[Floats] = []

    def rows(X: Floats, n_clusters: int, random_state: np.random.RandomState) -> Floats:
        asked.append(X[random_state.choice(X.shape[0], n_clusters, replace=False)])
        return asked[-1]

    together = KMeans(6, init=rows, n_init=4, random_state=5).fit(X)
    assert len(asked) == 4
    apart = [KMeans(6, init=start).fit(X) for start in asked[:4]]
    assert bits(together) == bits(min(apart, key=lambda model: model.inertia_))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_init", [1, 3])
def test_a_sweep_is_the_bits_of_separate_fits(dtype: str, weighted: bool, n_init: int) -> None:
    X = blobs(dtype)
    weight = np.random.default_rng(1).random(len(X)) if weighted else None
    ks = [5, 1, 12, 5]
    sweep = kmeans_sweep(X, ks, n_init=n_init, random_state=0, sample_weight=weight, n_threads=2)
    assert [model.n_clusters for model in sweep] == ks
    for k, model in zip(ks, sweep, strict=True):
        apart = KMeans(k, n_init=n_init, random_state=0).fit(X, sample_weight=weight)
        assert bits(model) == bits(apart)
        assert model.n_features_in_ == 4
        np.testing.assert_array_equal(model.predict(X), model.labels_)
        assert model.get_feature_names_out().tolist() == apart.get_feature_names_out().tolist()


def test_a_sweep_draws_from_a_random_state_as_fits_one_after_the_other() -> None:
    X = blobs()
    sweep = kmeans_sweep(X, range(2, 6), init="random", random_state=np.random.RandomState(9))
    state = np.random.RandomState(9)
    apart = [KMeans(k, init="random", random_state=state).fit(X) for k in range(2, 6)]
    assert [bits(model) for model in sweep] == [bits(model) for model in apart]


def test_by_default_a_sweep_goes_from_1_to_20() -> None:
    X = blobs(n=200)
    assert [len(model.cluster_centers_) for model in kmeans_sweep(X, random_state=0)] == list(range(1, 21))
    assert [model.n_clusters for model in kmeans_sweep(X.tolist(), iter([2, 3]), random_state=0)] == [2, 3]


def test_a_sweep_warns_of_each_k_with_too_few_distinct_samples() -> None:
    X = np.repeat([[0.0], [1.0]], 10, axis=0)
    with pytest.warns(ConvergenceWarning) as caught:
        kmeans_sweep(X, [2, 3, 4], random_state=0)
    assert [str(warning.message)[:35] for warning in caught] == ["Number of distinct clusters (2) fou"] * 2
    assert {warning.filename for warning in caught} == {__file__}


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"n_clusters": []}, "n_clusters is empty: at least one"),
        ({"n_clusters": [2, 0]}, "'n_clusters' parameter of KMeans must be an int"),
        ({"n_clusters": [2, 2.5]}, "'n_clusters' parameter of KMeans must be an int"),
        ({"n_clusters": [2, 51]}, "n_samples=50 should be >= n_clusters=51"),
        ({"init": np.zeros((2, 4))}, "centers fit one number of clusters only"),
        ({"init": "middle"}, "'init' parameter of KMeans must be"),
        ({"tol": -1}, "'tol' parameter of KMeans must be"),
        ({"n_init": 0}, "'n_init' parameter of KMeans must be"),
        ({"sample_weight": np.zeros(50)}, "every sample_weight is zero"),
        ({"sample_weight": np.ones(49)}, "sample_weight has 49 entries, expected 50"),
        ({"n_threads": 0}, "'n_threads' parameter of KMeans must be"),
    ],
)
def test_a_mistake_is_one_clear_error(keywords: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"n_clusters": [2, 3], **keywords}
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        kmeans_sweep(blobs(n=50), **arguments)


def test_a_value_that_is_not_finite_is_named() -> None:
    X = blobs(n=50)
    X[7, 2] = np.nan
    with pytest.raises(ValueError, match="NaN at row 7, column 2"):
        kmeans_sweep(X, [2, 3])
