"""`rust_kmeans.KMeans`: what its short cuts and its own seeding must not change."""

from __future__ import annotations

import copy
import importlib
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import InvalidParameterError

from rust_kmeans import (
    KMeans,
    MiniBatchKMeans,
    SphericalKMeans,
    _core,
    k_means,
    kmeans_plusplus,
    kmeans_sweep,
)
from rust_kmeans._base import seeds_of

X = np.random.default_rng(0).normal(size=(3_000, 6)).astype(np.float32)
X[:1_500] += 8


@pytest.mark.parametrize("init", ["k-means++", "k-means||", "random"])
def test_a_seed_gives_the_same_bits_for_any_number_of_threads(init: Any) -> None:
    fits = [KMeans(7, init=init, n_init=2, random_state=3, n_threads=n).fit(X) for n in (1, 2, 2)]
    assert len({fit.cluster_centers_.tobytes() for fit in fits}) == 1
    other = KMeans(7, init=init, n_init=2, random_state=4).fit(X)
    assert other.cluster_centers_.tobytes() != fits[0].cluster_centers_.tobytes()


@pytest.mark.parametrize("seed", [0, 7, 2**32 - 1, np.int64(7), np.random.RandomState(7)])
def test_seeds_are_those_that_scikit_learns_generator_draws_even_while_others_draw(seed: Any) -> None:
    generator = check_random_state(copy.deepcopy(seed))
    expected = [int(generator.randint(2**63, dtype=np.int64)) for _ in range(3)]
    assert seeds_of(copy.deepcopy(seed), 3) == expected
    with ThreadPoolExecutor(8) as threads:
        drawn = list(threads.map(lambda _: seeds_of(copy.deepcopy(seed), 3), range(400)))
    assert drawn == [expected] * 400


def test_seeding_from_a_number_leaves_numpys_own_generator_alone() -> None:
    before = np.random.get_state(legacy=False)
    KMeans(3, random_state=0).fit(X)
    after = np.random.get_state(legacy=False)
    assert before["state"]["pos"] == after["state"]["pos"]
    assert (before["state"]["key"] == after["state"]["key"]).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arrays_that_carry_a_type_object_of_their_own_are_fitted_alike(dtype: Any) -> None:
    data = X.astype(dtype)
    other = pickle.loads(pickle.dumps(data))
    starts = data[:3], pickle.loads(pickle.dumps(data[:3]))
    assert other.dtype is not data.dtype
    first, second = (
        KMeans(3, init=start).fit(each) for start, each in zip(starts, (data, other), strict=True)
    )
    assert first.cluster_centers_.tobytes() == second.cluster_centers_.tobytes()
    assert second.cluster_centers_.dtype == dtype


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
        ("random_state", 2**32),
        ("copy_x", "no"),
        ("algorithm", "full"),
        ("n_threads", 0),
    ],
)
def test_a_wrong_parameter_is_refused_by_name_whatever_is_checked_first(name: str, value: Any) -> None:
    with pytest.raises(InvalidParameterError, match=f"The '{name}' parameter of KMeans must be"):
        KMeans(**{"n_clusters": 2, "init": X[:2], name: value}).fit(X)


def test_plain_arrays_and_what_needs_converting_give_the_same_fit() -> None:
    plain = KMeans(3, random_state=0).fit(X.astype(np.float64))
    for other in (X.astype(np.float64).tolist(), X.astype(">f8")):
        converted = KMeans(3, random_state=0).fit(other)
        assert plain.cluster_centers_.tobytes() == converted.cluster_centers_.tobytes()
        assert plain.n_features_in_ == converted.n_features_in_ == 6


def test_a_second_fit_without_names_forgets_those_of_the_first() -> None:
    pandas = importlib.import_module("pandas")
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


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_clusters", 0),
        ("n_clusters", "a"),
        ("n_clusters", 2.0),
        ("n_local_trials", 0),
        ("random_state", -1),
        ("n_threads", 0),
        ("X", 1.0),
    ],
)
def test_kmeans_plusplus_refuses_a_wrong_parameter_by_name(name: str, value: Any) -> None:
    with pytest.raises(InvalidParameterError, match=f"The '{name}' parameter of kmeans_plusplus must be"):
        kmeans_plusplus(**{"X": X, "n_clusters": 2, name: value})


def test_kmeans_plusplus_refuses_more_clusters_than_samples() -> None:
    with pytest.raises(ValueError, match="n_samples=3 should be >= n_clusters=4"):
        kmeans_plusplus(X[:3], 4)


@pytest.mark.parametrize(("name", "value"), [("n_clusters", 0), ("tol", -1.0), ("return_n_iter", "yes")])
def test_the_function_k_means_refuses_a_wrong_parameter_in_its_own_name(name: str, value: Any) -> None:
    with pytest.raises(InvalidParameterError, match=f"The '{name}' parameter of k_means must be"):
        k_means(**{"X": X, "n_clusters": 2, name: value})


def test_counts_beyond_those_of_the_kernel_are_without_end() -> None:
    model = KMeans(3, max_iter=2**70, random_state=0).fit(X)
    assert model.inertia_ == KMeans(3, random_state=0).fit(X).inertia_
    batches = MiniBatchKMeans(3, max_iter=2, max_no_improvement=2**70, batch_size=2**70, random_state=0)
    whole = MiniBatchKMeans(3, max_iter=2, max_no_improvement=None, batch_size=len(X), random_state=0)
    assert batches.fit(X).inertia_ == whole.fit(X).inertia_


def _unaligned(array: NDArray[Any]) -> NDArray[Any]:
    """Return a view that holds the same values one byte off."""
    raw = np.zeros(array.nbytes + 1, dtype=np.uint8)[1:]
    view = raw.view(array.dtype).reshape(array.shape)
    view[...] = array
    assert not view.flags.aligned
    return view


def test_arrays_that_are_not_aligned_are_copied() -> None:
    data, weights, start = X.astype(np.float64), np.arange(len(X), dtype=np.float64), X[:3].astype(np.float64)
    other, other_weights, other_start = _unaligned(data), _unaligned(weights), _unaligned(start)
    for kind in (KMeans, SphericalKMeans, MiniBatchKMeans):
        model = kind(3, init=start, random_state=0).fit(data, sample_weight=weights)
        same = kind(3, init=other_start, random_state=0).fit(other, sample_weight=other_weights)
        assert same.cluster_centers_.tobytes() == model.cluster_centers_.tobytes()
        assert same.predict(other).tobytes() == model.predict(data).tobytes()
        assert same.transform(other).tobytes() == model.transform(data).tobytes()
        assert same.score(other, None, other_weights) == model.score(data, None, weights)
    streamed = KMeans(3, init=other_start).fit_stream([(other, other_weights)])
    assert streamed.inertia_ == KMeans(3, init=start).fit(data, sample_weight=weights).inertia_
    drawn = [kmeans_plusplus(each, 3, random_state=0)[1].tolist() for each in (data, other)]
    assert drawn[0] == drawn[1]
    compressed = sparse.csr_array(data)
    compressed.data = _unaligned(compressed.data)
    assert np.array_equal(
        KMeans(3, init=start).fit(compressed).labels_, KMeans(3, init=start).fit(data).labels_
    )


@pytest.mark.parametrize(
    ("weights", "error", "said"),
    [
        (np.ones(len(X), dtype=complex), ValueError, "Complex data not supported"),
        (
            sparse.csr_array(np.ones((1, len(X)))),
            TypeError,
            r"sample_weight.*[Ss]parse|[Ss]parse.*sample_weight",
        ),
        (np.ones((len(X), 1)), ValueError, "1D array"),
        (["a"] * len(X), ValueError, "could not convert"),
        (np.zeros(len(X)), ValueError, "every sample_weight is zero"),
    ],
)
def test_what_are_no_weights_is_refused_wherever_weights_are_taken(
    weights: Any, error: type[Exception], said: str
) -> None:
    model = KMeans(2, init=X[:2]).fit(X)
    takers = (
        lambda: KMeans(2).fit(X, sample_weight=weights),
        lambda: model.score(X, sample_weight=weights),
        lambda: kmeans_plusplus(X, 2, sample_weight=weights),
        lambda: MiniBatchKMeans(2).partial_fit(X, sample_weight=weights),
    )
    for take in takers:
        with pytest.raises(error, match=said):
            take()


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
        pandas = importlib.import_module("pandas")
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
