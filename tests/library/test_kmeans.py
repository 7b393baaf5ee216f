"""`rust_kmeans.KMeans`: what its short cuts and its own seeding must not change."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rust_kmeans import KMeans, MiniBatchKMeans, _core, k_means, kmeans_sweep

X = np.random.default_rng(0).normal(size=(3_000, 6)).astype(np.float32)
X[:1_500] += 8


@pytest.mark.parametrize("init", ["k-means++", "k-means||", "random"])
def test_a_seed_gives_the_same_bits_for_any_number_of_threads(init: Any) -> None:
    fits = [KMeans(7, init=init, n_init=2, random_state=3, n_threads=n).fit(X) for n in (1, 2, 2)]
    assert len({fit.cluster_centers_.tobytes() for fit in fits}) == 1
    other = KMeans(7, init=init, n_init=2, random_state=4).fit(X)
    assert other.cluster_centers_.tobytes() != fits[0].cluster_centers_.tobytes()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_clusters", 0),
        ("init", "k-means"),
        ("n_init", 0),
        ("max_iter", 0),
        ("tol", -1.0),
        ("tol", float("inf")),
        ("verbose", -1),
        ("random_state", -1),
        ("copy_x", "no"),
        ("algorithm", "full"),
        ("n_threads", 0),
    ],
)
def test_a_wrong_parameter_is_refused_by_name_whatever_is_checked_first(name: str, value: Any) -> None:
    # A negative seed is refused where it is used, by NumPy.
    with pytest.raises(ValueError, match="Seed must be" if name == "random_state" else name):
        KMeans(**{"n_clusters": 2, name: value}).fit(X)


def test_plain_arrays_and_what_needs_converting_give_the_same_fit() -> None:
    plain = KMeans(3, random_state=0).fit(X.astype(np.float64))
    for other in (X.astype(np.float64).tolist(), X.astype(">f8")):
        converted = KMeans(3, random_state=0).fit(other)
        assert plain.cluster_centers_.tobytes() == converted.cluster_centers_.tobytes()
        assert plain.n_features_in_ == converted.n_features_in_ == 6


def test_a_second_fit_without_names_forgets_those_of_the_first() -> None:
    pandas = pytest.importorskip("pandas", reason="names come with a data frame")
    model = KMeans(3, random_state=0).fit(pandas.DataFrame(X, columns=list("abcdef")))
    assert list(model.feature_names_in_) == list("abcdef")
    model.fit(X)
    assert not hasattr(model, "feature_names_in_")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (X[0], "2D array"),
        (X[:0], "0 sample"),
        (X.astype("c8"), "[Cc]omplex"),
        (np.where(X > 9, np.float32(np.nan), X), "row"),
    ],
)
def test_wrong_data_is_refused_with_what_is_wrong(wrong: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        KMeans(2).fit(wrong)


def test_elkan_is_hamerly_by_another_name() -> None:
    elkan, hamerly = (KMeans(5, algorithm=name, random_state=0).fit(X) for name in ("elkan", "hamerly"))
    assert elkan.cluster_centers_.tobytes() == hamerly.cluster_centers_.tobytes()
    assert elkan.algorithm_ == hamerly.algorithm_ == "hamerly"
    assert kmeans_sweep(X, [5], algorithm="elkan", random_state=0)[0].inertia_ == elkan.inertia_


def test_the_function_k_means_returns_what_the_estimator_finds() -> None:
    weights = np.arange(X.shape[0]) % 3
    model = KMeans(4, init="random", n_init=2, random_state=1, tol=0).fit(X, sample_weight=weights)
    found = k_means(
        X, 4, sample_weight=weights, init="random", n_init=2, random_state=1, tol=0, return_n_iter=True
    )
    assert len(found) == 4
    centers, labels, inertia, n_iter = found
    assert centers.tobytes() == model.cluster_centers_.tobytes()
    assert np.array_equal(labels, model.labels_)
    assert (inertia, n_iter) == (model.inertia_, model.n_iter_)
    assert len(k_means(X, 4, random_state=1)) == 3


@pytest.mark.parametrize("init", ["k-means++", "random"])
def test_samples_without_weight_are_never_drawn_and_weights_change_what_is_drawn(init: str) -> None:
    weights = np.random.default_rng(1).random(3_000)
    weights[::2] = 0

    def drawn(weights: NDArray[np.float64], seed: int) -> list[int]:
        if init == "k-means++":
            _, rows = _core.kmeans_plusplus(X, 10, sample_weight=weights, seed=seed)
        else:
            _, rows = _core.random_rows(X, 10, sample_weight=weights, seed=seed)
        return [int(row) for row in rows]

    for seed in range(5):
        assert all(row % 2 == 1 for row in drawn(weights, seed))
        assert drawn(weights, seed) != drawn(np.ones(X.shape[0]), seed)


def test_a_fit_does_not_depend_on_the_order_of_samples_and_takes_weights_for_repeated_ones() -> None:
    order = np.random.default_rng(2).permutation(X.shape[0])
    weights = np.arange(X.shape[0]) % 4
    model = KMeans(6, random_state=0).fit(X)
    other = KMeans(6, random_state=0).fit(X[order])
    assert other.cluster_centers_.tobytes() == model.cluster_centers_.tobytes()
    assert np.array_equal(other.labels_, model.labels_[order])
    weighted = KMeans(6, random_state=0).fit(X[order], sample_weight=weights[order])
    repeated = KMeans(6, random_state=0).fit(np.repeat(X, weights, axis=0))
    assert np.allclose(weighted.cluster_centers_, repeated.cluster_centers_)
    assert np.array_equal(np.repeat(weighted.labels_[np.argsort(order)], weights), repeated.labels_)


@pytest.mark.parametrize(
    "fit",
    [
        lambda init: KMeans(3, init=init, n_init=1).fit(X),
        lambda init: KMeans(3, init=init, n_init=1).fit_stream(X),
        lambda init: MiniBatchKMeans(3, init=init, n_init=1).fit(X),
        lambda init: MiniBatchKMeans(3, init=init, n_init=1).partial_fit(X),
    ],
)
def test_a_callable_init_gets_its_random_state_by_keyword_as_in_scikit_learn(fit: Any) -> None:
    seen = []

    def init(data: Any, n: int, *, random_state: Any) -> Any:
        seen.append(random_state)
        return data[:n]

    fit(init)
    assert [type(state) for state in seen] == [np.random.RandomState]


@pytest.mark.parametrize(
    "refit",
    [
        lambda model, wrong: model.fit(wrong),
        lambda model, wrong: model.fit(wrong.tolist()),
        lambda model, wrong: model.fit_stream(wrong),
    ],
)
@pytest.mark.parametrize("is_named", [False, True])
def test_a_fit_that_fails_leaves_the_model_that_was_there(refit: Any, is_named: bool) -> None:
    data: Any = X
    if is_named:
        pandas = pytest.importorskip("pandas", reason="names come with a data frame")
        data = pandas.DataFrame(X, columns=list("abcdef"))
    model = KMeans(3, random_state=0).fit(data)
    before = {**vars(model)}
    with pytest.raises(ValueError, match="NaN"):
        refit(model, np.full((50, 2), np.nan))
    assert vars(model).keys() - {"_n_init"} == before.keys() - {"_n_init"}
    np.testing.assert_array_equal(model.predict(data), model.labels_)


def test_a_first_fit_that_fails_leaves_nothing() -> None:
    for method in ("fit", "fit_stream"):
        model = KMeans(3)
        with pytest.raises(ValueError, match="NaN"):
            getattr(model, method)(np.full((50, 2), np.nan))
        assert not hasattr(model, "n_features_in_")
