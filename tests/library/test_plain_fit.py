"""The short way of `KMeans.fit` for plain parameters and samples, and what it leaves to the long one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from rust_kmeans import KMeans, _core
from rust_kmeans._base import seed_of, seeds_of


class Subclass(np.ndarray):
    """An array that only the long way reads."""


def blobs(dtype: str = "float32") -> np.ndarray:
    """Return 300 samples around five places."""
    rng = np.random.default_rng(0)
    return (rng.integers(0, 5, (300, 1)) * 7 + rng.normal(size=(300, 4))).astype(dtype)


def attributes(model: KMeans) -> dict[str, Any]:
    """Return what a fit has set."""
    return {name: value for name, value in vars(model).items() if name not in model.get_params()}


def short(model: KMeans, X: object, sample_weight: object = None) -> int | None:
    """Return what the short way says."""
    return _core.plain_fit(model.__dict__, X, sample_weight)


GIVEN = blobs()[:5].copy()
FITS = [
    pytest.param("float32", {"init": "k-means++", "random_state": 3}, id="drawn"),
    pytest.param("float64", {"init": "random", "random_state": 1}, id="ten random starts"),
    pytest.param("float32", {"init": "k-means||", "random_state": 1, "n_init": 2}, id="parallel"),
    pytest.param("float32", {"init": GIVEN, "tol": 0, "algorithm": "hamerly"}, id="given"),
    pytest.param(
        "float64", {"init": GIVEN.astype("f8")[:, ::-1], "n_threads": 1, "max_iter": 2}, id="strides"
    ),
]


@pytest.mark.parametrize(("dtype", "params"), FITS)
@pytest.mark.parametrize("weighted", [False, True])
def test_both_ways_set_the_same_attributes_to_the_same_bits(
    dtype: str, params: dict[str, Any], weighted: bool
) -> None:
    X = blobs(dtype)
    weights = np.random.default_rng(1).uniform(0, 2, len(X)) if weighted else None
    one, other = KMeans(5, **params), KMeans(5, **params).fit(X.view(Subclass), sample_weight=weights)
    assert short(one, X, weights) == len(np.unique(other.labels_))
    assert attributes(one).keys() == attributes(other).keys()
    for name, value in attributes(one).items():
        expected = getattr(other, name)
        assert type(value) is type(expected), name
        np.testing.assert_array_equal(value, expected, err_msg=name)
        assert np.asarray(value).dtype == np.asarray(expected).dtype, name


class Integer(int):
    """An int whose methods may be anybody's."""


UNUSUAL = [
    {"n_clusters": 0},
    {"n_clusters": 301},
    {"n_clusters": 2**70},
    {"n_clusters": -1},
    {"n_clusters": True},
    {"n_clusters": np.int64(5)},
    {"n_clusters": Integer(5)},
    {"n_clusters": 5.0},
    {"init": "k-means"},
    {"init": lambda X, k, random_state: X[:k]},
    {"init": GIVEN.tolist()},
    {"init": GIVEN.astype("f8")},
    {"init": GIVEN[:4]},
    {"init": GIVEN[:, :3]},
    {"init": GIVEN.ravel()},
    {"init": GIVEN, "n_init": 2},
    {"init": GIVEN.view(Subclass)},
    {"n_init": "all"},
    {"n_init": 0},
    {"n_init": 1.0},
    {"max_iter": 0},
    {"max_iter": 2**64},
    {"tol": -1.0},
    {"tol": float("nan")},
    {"tol": float("inf")},
    {"tol": 10**400},
    {"tol": "small"},
    {"verbose": 1},
    {"verbose": True},
    {"random_state": None},
    {"random_state": -1},
    {"random_state": 2**32},
    {"random_state": np.random.RandomState(0)},
    {"copy_x": False},
    {"copy_x": 1},
    {"algorithm": "elkan"},
    {"algorithm": "full"},
    {"algorithm": None},
    {"n_threads": 0},
    {"n_threads": "all"},
]


@pytest.mark.parametrize("params", UNUSUAL, ids=" ".join)
def test_unusual_parameters_are_left_to_the_long_way(params: dict[str, Any]) -> None:
    model = KMeans(**{"n_clusters": 5, "random_state": 0, **params})
    before = dict(vars(model))
    assert short(model, blobs()) is None
    assert list(vars(model).items()) == list(before.items())


@pytest.mark.parametrize(
    "X",
    [
        blobs().tolist(),
        blobs().view(Subclass),
        blobs().astype(int),
        blobs().astype("f2"),
        blobs().astype(">f4"),
        blobs()[:0],
        blobs()[:, :0],
        blobs()[0],
        blobs()[None],
        blobs()[:4],
        np.frombuffer(b"0" + blobs().tobytes(), "f4", offset=1).reshape(300, 4),
        None,
    ],
    ids=lambda X: f"{type(X).__name__} {getattr(X, 'dtype', '')} {getattr(X, 'shape', '')}",
)
def test_unusual_samples_are_left_to_the_long_way(X: object) -> None:
    assert short(KMeans(5, random_state=0), X) is None


@pytest.mark.parametrize(
    "weights",
    [
        [1.0] * 300,
        np.ones(300, "f4"),
        np.ones(299),
        np.ones((300, 1)),
        np.ones(600)[::2],
        np.ones(300).view(Subclass),
    ],
    ids=lambda weights: f"{type(weights).__name__} {np.shape(weights)}",
)
def test_unusual_weights_are_left_to_the_long_way(weights: object) -> None:
    assert short(KMeans(5, random_state=0), blobs(), weights) is None


def test_what_the_data_are_wrong_with_leaves_an_estimator_as_it_was() -> None:
    X = blobs()
    model = KMeans(5, random_state=0).fit(X)
    before = dict(vars(model))
    wrong = np.hstack([X, X])
    wrong[7, 6] = np.nan
    with pytest.raises(ValueError, match="row 7, column 6"):
        model.fit(wrong)
    assert list(vars(model).items()) == list(before.items())


def test_names_of_features_go_when_there_are_none() -> None:
    X = blobs()
    model = KMeans(5, random_state=0)
    model.feature_names_in_ = np.array(["a", "b", "c", "d"], dtype=object)
    model.fit(X)
    assert not hasattr(model, "feature_names_in_")
    assert model.n_features_in_ == 4


def test_fewer_distinct_samples_than_clusters_warn_the_caller() -> None:
    with pytest.warns(ConvergenceWarning, match=r"distinct clusters \(1\) found smaller") as caught:
        KMeans(3, random_state=0).fit(np.ones((10, 2)))
    assert caught[0].filename == __file__


@pytest.mark.parametrize("seed", [0, 1, 42, 2**31, 2**32 - 1])
def test_seeds_are_those_of_numpys_generator(seed: int) -> None:
    generator = np.random.RandomState(seed)
    # More than the generator has words, so that it begins again.
    assert seeds_of(seed, 700) == [seed_of(generator) for _ in range(700)]


def test_more_seeds_than_fit_into_memory_are_an_error() -> None:
    with pytest.raises(MemoryError, match="seeds of 1000000000000000000 runs"):
        KMeans(5, n_init=10**18, random_state=0).fit(blobs())
