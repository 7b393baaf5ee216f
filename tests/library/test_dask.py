"""`rust_kmeans.dask.KMeans` is `rust_kmeans.KMeans`, bit for bit, whatever the chunks and the scheduler."""

from __future__ import annotations

import importlib
import pickle
import subprocess
import sys
import uuid
import warnings
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dask
import dask.array as da
import dask.bag as db
import distributed
import numpy as np
import pandas as pd
import pytest
import sklearn
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

import rust_kmeans
from rust_kmeans import MiniBatchKMeans
from rust_kmeans.dask import KMeans, RustKernel
from rust_kmeans.dask._groups import make_group, split
from rust_kmeans.dask._input import Place

Floats = NDArray[Any]
D = 3


def samples(n: int = 600, seed: int = 0, dtype: str = "float64") -> Floats:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n, D)) + 4 * rng.integers(-1, 2, size=(n, D))).astype(dtype)


def chunked(X: Floats, rows: tuple[int, ...]) -> da.Array:
    """Cut an array by rows; Dask's own functions leave out empty chunks."""
    name = f"chunked-{uuid.uuid4()}"
    rest = (0,) * (X.ndim - 1)
    edges = pairwise(np.cumsum((0, *rows)))
    graph = {(name, i, *rest): X[first:last] for i, (first, last) in enumerate(edges)}
    return da.Array(graph, name, (rows, *((size,) for size in X.shape[1:])), X.dtype)


def frame(X: Floats, n_parts: int = 3) -> Any:
    import dask.dataframe as dd

    return dd.from_pandas(pd.DataFrame(X, columns=list("abcdef")[: X.shape[1]]), npartitions=n_parts)


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """Two worker processes of two threads."""
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=2,
            host="127.0.0.1",
            dashboard_address=None,
            scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as started,
    ):
        yield started


def assert_same_fit(lazy: Any, in_memory: Any) -> None:
    np.testing.assert_array_equal(lazy.cluster_centers_, in_memory.cluster_centers_)
    assert lazy.cluster_centers_.dtype == in_memory.cluster_centers_.dtype
    np.testing.assert_array_equal(lazy.labels_.compute(), in_memory.labels_)
    assert lazy.inertia_ == in_memory.inertia_
    assert lazy.n_iter_ == in_memory.n_iter_
    np.testing.assert_array_equal(lazy.inertia_history_, in_memory.inertia_history_)


def quietly(model: Any, *args: Any, **kwargs: Any) -> Any:
    """Fit without the warning of fewer distinct clusters than asked for."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(*args, **kwargs)


def start_with_empty_clusters(X: Floats, n_clusters: int) -> Floats:
    start = X[:n_clusters].copy()
    start[n_clusters // 2 :] = 1e3
    return start


cases = {
    "cuts": st.lists(st.integers(0, 900), max_size=5),
    "n": st.integers(12, 900),
    "k": st.integers(1, 12),
    "dtype": st.sampled_from(["float32", "float64"]),
    "tol": st.sampled_from([0.0, 1e-3]),
    "is_weighted": st.booleans(),
    "has_empty": st.booleans(),
    "persist": st.sampled_from([None, False]),
    "n_threads": st.sampled_from([None, 1, 2]),
    "seed": st.integers(0, 1000),
}


def check_fit(
    *,
    cuts: list[int],
    n: int,
    k: int,
    dtype: str,
    tol: float,
    is_weighted: bool,
    has_empty: bool,
    persist: bool | None,
    n_threads: int | None,
    seed: int,
) -> None:
    X = samples(n, seed, dtype)
    weights = np.random.default_rng(seed).integers(1, 4, size=n) / 2 if is_weighted else None
    start = start_with_empty_clusters(X, k) if has_empty else X[:k]
    edges = np.diff([0, *sorted(min(cut, n) for cut in cuts), n]).tolist()
    of_weights = None if weights is None else chunked(weights, (n // 3, n - n // 3))
    parameters: dict[str, Any] = {"init": start, "tol": tol, "max_iter": 25, "n_threads": n_threads}
    lazy = KMeans(k, **parameters, persist=persist)
    quietly(lazy, chunked(X, tuple(edges)), sample_weight=of_weights)
    in_memory = quietly(rust_kmeans.KMeans(k, **parameters), X, sample_weight=weights)
    assert_same_fit(lazy, in_memory)
    assert lazy.persisted_ == (persist is None)


@settings(max_examples=40, deadline=None)
@given(scheduler=st.sampled_from(["threads", "synchronous"]), **cases)
def test_a_fit_in_this_process_is_the_fit_in_memory_bit_for_bit(scheduler: str, **case: Any) -> None:
    with dask.config.set(scheduler=scheduler, num_workers=2):
        check_fit(**case)


def test_a_fit_on_a_cluster_is_the_fit_in_memory_bit_for_bit(client: Any) -> None:
    @settings(max_examples=8, deadline=None)
    @given(**cases)
    def check(**case: Any) -> None:
        check_fit(**case)

    with client.as_current():
        check()


def test_a_fit_on_the_scheduler_of_processes_is_the_fit_in_memory() -> None:
    X = samples()
    with dask.config.set(scheduler="processes", num_workers=2):
        lazy = KMeans(5, init=X[:5]).fit(chunked(X, (200, 400)))
    assert_same_fit(lazy, rust_kmeans.KMeans(5, init=X[:5]).fit(X))


@pytest.mark.parametrize("init", ["random", "k-means++", "k-means||"])
@pytest.mark.parametrize("is_weighted", [False, True])
def test_starting_centers_do_not_depend_on_chunks(init: str, is_weighted: bool, client: Any) -> None:
    X = samples(500)
    weights = np.arange(500.0) if is_weighted else None
    model = KMeans(6, init=init, n_init=2, random_state=3)
    fits = [
        clone(model).fit(chunked(X, rows), sample_weight=weights)
        for rows in ((500,), (0, 1, 2, 497), (50,) * 10)
    ]
    with client.as_current():
        fits.append(clone(model).fit(chunked(X, (250, 250)), sample_weight=weights))
    for fit in fits[1:]:
        np.testing.assert_array_equal(fit.cluster_centers_, fits[0].cluster_centers_)


@pytest.mark.parametrize("is_weighted", [False, True])
@pytest.mark.parametrize("init", ["random", "k-means++", "k-means||"])
@pytest.mark.parametrize("persist", [None, False])
def test_starting_centers_are_those_of_the_local_fit(
    init: str, is_weighted: bool, persist: bool | None
) -> None:
    X = samples(500)
    weights = np.arange(500.0) if is_weighted else None
    parameters: dict[str, Any] = {"init": init, "n_init": 2, "random_state": 1}
    lazy = KMeans(6, **parameters, persist=persist).fit(chunked(X, (100, 0, 400)), sample_weight=weights)
    assert_same_fit(lazy, rust_kmeans.KMeans(6, **parameters).fit(X, sample_weight=weights))


def test_a_callable_is_given_the_lazy_array() -> None:
    X = samples()
    seen: list[Any] = []

    def first_rows(array: da.Array, n_clusters: int, random_state: np.random.RandomState) -> da.Array:
        seen.append((array, n_clusters, random_state))
        return array[:n_clusters]

    lazy = KMeans(4, init=first_rows, n_init=1, random_state=0).fit(chunked(X, (300, 300)))
    assert_same_fit(lazy, rust_kmeans.KMeans(4, init=X[:4]).fit(X))
    assert isinstance(seen[0][0], da.Array)


def test_chunks_of_unknown_size_are_computed_and_labels_know_theirs(client: Any) -> None:
    X = samples()
    lazy = chunked(X, (200, 400))
    known = X[X[:, 0] > 0]
    expected = rust_kmeans.KMeans(3, init=known[:3]).fit(known)
    for where in (None, client):
        with where.as_current() if where else dask.config.set(scheduler="threads"):
            model = KMeans(3, init=known[:3]).fit(lazy[lazy[:, 0] > 0])
            assert_same_fit(model, expected)
            assert model.labels_.shape == (len(known),)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16"])
def test_a_data_frame_is_its_array_with_names(dtype: str) -> None:
    X = (10 * samples()).astype(dtype)
    model = KMeans(4, init=X[:4]).fit(frame(X))
    assert_same_fit(model, rust_kmeans.KMeans(4, init=X[:4].astype(float)).fit(X))
    assert model.feature_names_in_.tolist() == ["a", "b", "c"]
    assert model.n_features_in_ == D
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame(X).rename(columns={"a": "z"}))


def test_weights_are_aligned_however_they_are_cut(tmp_path: Path) -> None:
    X = samples()
    weights = np.arange(600.0)
    expected = rust_kmeans.KMeans(4, init=X[:4]).fit(X, sample_weight=weights)
    series = frame(np.column_stack([X, weights]), 7)
    for sample_weight in (
        weights,
        weights.tolist(),
        chunked(weights, (0, 600)),
        chunked(weights, (1, 99, 500)),
        chunked(weights, (100, 500))[chunked(weights, (100, 500)) >= 0],
        series["d"],
    ):
        model = KMeans(4, init=X[:4]).fit(chunked(X, (300, 0, 300)), sample_weight=sample_weight)
        assert_same_fit(model, expected)
    assert_same_fit(KMeans(4, init=X[:4]).fit(series[["a", "b", "c"]], sample_weight=series["d"]), expected)


def test_weights_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match=r"sample_weight has shape \(5,\).*shape \(600,\)"):
        KMeans(2).fit(chunked(samples(), (600,)), sample_weight=np.ones(5))
    with pytest.raises(ValueError, match="every sample_weight is zero"):
        KMeans(2).fit(chunked(samples(), (600,)), sample_weight=np.zeros(600))


# Dask calls pandas in a way that the newest pandas warns of.
@pytest.mark.filterwarnings("ignore:The inplace keyword")
def test_parquet_and_csv_are_read(tmp_path: Path) -> None:
    import dask.dataframe as dd

    X = samples()
    frame(X).to_parquet(tmp_path / "parquet")
    frame(X).to_csv(str(tmp_path / "*.csv"), index=False, float_format="%.17g")
    expected = rust_kmeans.KMeans(4, init=X[:4]).fit(X)
    for persist in (None, False):
        model = KMeans(4, init=X[:4], persist=persist)
        assert_same_fit(clone(model).fit(dd.read_parquet(tmp_path / "parquet")), expected)
        assert_same_fit(clone(model).fit(dd.read_csv(str(tmp_path / "*.csv"))), expected)


# Dask joins partitions of which few columns are read: a frame then has other ones than each of its columns.
@pytest.mark.filterwarnings("ignore:The inplace keyword")
@pytest.mark.parametrize("persist", [None, True, False])
def test_parquet_that_is_changed_before_the_fit_is_fitted(tmp_path: Path, persist: bool | None) -> None:
    import dask.dataframe as dd

    X = np.hstack([samples(400, seed) for seed in range(4)])
    names = [f"x{j}" for j in range(X.shape[1])]
    dd.from_pandas(pd.DataFrame(X, columns=names), npartitions=8).to_parquet(tmp_path)
    read = dd.read_parquet(tmp_path)
    for changed in (read.astype("float32"), read * 2, read[read["x0"] > 0]):
        rows = changed.compute().to_numpy()
        model = KMeans(4, init=rows[:4], persist=persist)
        assert_same_fit(model.fit(changed), rust_kmeans.KMeans(4, init=rows[:4]).fit(rows))


@pytest.mark.parametrize("others", ["int16", "float16", "int32", "bool", "Float32"])
def test_a_frame_of_several_dtypes_has_that_of_the_local_fit(others: str) -> None:
    import dask.dataframe as dd

    X = pd.DataFrame(samples() > 0, columns=list("abc")).astype({"a": "float32", "b": others, "c": others})
    start = np.eye(3)[:2]
    lazy = quietly(KMeans(2, init=start), dd.from_pandas(X, npartitions=3))
    assert_same_fit(lazy, quietly(rust_kmeans.KMeans(2, init=start), X))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused_naming_block_row_and_column(bad: float, client: Any) -> None:
    X = samples()
    X[450, 1] = bad
    for where in (None, client):
        for persist in (None, False):
            with (
                where.as_current() if where else dask.config.set(scheduler="threads"),
                pytest.raises(ValueError, match=r"Block 2 of X \(rows 400 to 599\): .*row 50\b.*column 1\b"),
            ):
                KMeans(4, persist=persist).fit(chunked(X, (200, 200, 200)))


def refused() -> dict[str, tuple[Any, type[Exception], str]]:
    text = pd.DataFrame({"a": [1.0, 2.0], "name": ["x", "y"]})
    import dask.dataframe as dd

    return {
        "column chunks": (da.zeros((9, 4), chunks=(9, 2)), ValueError, r"call X\.rechunk\(\{1: -1\}\) first"),
        "few rows": (da.zeros((3, 2)), ValueError, "n_samples=3 should be >= n_clusters=4"),
        "no rows": (da.zeros((0, 2)), ValueError, "at least one sample"),
        "one dimension": (da.zeros(5), ValueError, "it must have two"),
        "no features": (da.zeros((5, 0)), ValueError, "at least one feature"),
        "NumPy": (np.zeros((5, 2)), TypeError, r"dask\.array\.from_array"),
        "text": (dd.from_pandas(text, npartitions=1), TypeError, "Column 'name' of X"),
        "complex": (da.zeros((5, 2), dtype=complex), TypeError, "real numbers"),
    }


@pytest.mark.parametrize("name", refused())
def test_what_cannot_be_clustered_is_refused_with_the_remedy(name: str) -> None:
    X, error, message = refused()[name]
    with pytest.raises(error, match=message):
        KMeans(4).fit(X)


@pytest.mark.parametrize("persist", [None, False])
def test_chunks_that_are_not_what_x_promises_are_refused(persist: bool | None) -> None:
    X = chunked(samples(), (300, 300))
    for make in (lambda chunk: chunk[:, :2], lambda chunk: chunk.astype("float32")):
        lazy = X.map_blocks(make, meta=np.empty((0, 0)), chunks=X.chunks)
        with pytest.raises(
            ValueError, match=r"Chunk [01] of X has shape .* promises 3 features of dtype float64"
        ):
            KMeans(2, persist=persist).fit(lazy)


def weights_of_a_wrong_kind() -> dict[str, tuple[Any, str]]:
    return {
        "delayed": (dask.delayed(np.ones(600)), "sample_weight is a Delayed.*: it must be a Dask array"),
        "bag": (db.from_sequence(range(600)), "sample_weight is a Bag"),
        "complex": (da.ones(600, dtype=complex), "dtype complex128: weights must be real numbers"),
        "text": (np.array(["1"] * 600), "dtype <U1: weights must be real numbers"),
    }


@pytest.mark.parametrize("kind", weights_of_a_wrong_kind())
def test_weights_of_a_wrong_kind_are_refused_naming_the_right_ones(kind: str) -> None:
    sample_weight, message = weights_of_a_wrong_kind()[kind]
    with pytest.raises(TypeError, match=message):
        KMeans(2).fit(chunked(samples(), (600,)), sample_weight=sample_weight)


def test_rows_that_change_between_two_passes_are_refused(tmp_path: Path) -> None:
    marker = tmp_path / "read"

    def read() -> Floats:
        rows = 10 if marker.exists() else 20
        marker.touch()
        return samples(rows)

    X = da.from_delayed(dask.delayed(read, pure=False)(), shape=(20, D), dtype=float)
    with pytest.raises(ValueError, match="Chunk 0 of X had 20 rows at first and has 10 now"):
        KMeans(2, persist=False).fit(X)


def test_results_are_lazy_with_the_right_meta() -> None:
    X = samples(dtype="float32")
    lazy = chunked(X, (0, 250, 350))
    model = KMeans(4, init=X[:4]).fit(lazy)
    local = rust_kmeans.KMeans(4, init=X[:4]).fit(X)
    labels, distances, score = model.predict(lazy), model.transform(lazy), model.score(lazy)
    for array, shape, dtype, chunks in (
        (model.labels_, (600,), np.int32, ((0, 250, 350),)),
        (labels, (600,), np.int32, ((0, 250, 350),)),
        (distances, (600, 4), np.float32, ((0, 250, 350), (4,))),
        (score, (), np.float64, ()),
    ):
        assert isinstance(array, da.Array)
        assert (array.shape, array.dtype, array.chunks) == (shape, dtype, chunks)
        assert array.compute().dtype == array._meta.dtype == dtype
    np.testing.assert_array_equal(labels.compute(), local.labels_)
    np.testing.assert_allclose(distances.compute(), local.transform(X), rtol=1e-4, atol=1e-3)
    assert float(score) == pytest.approx(local.score(X), rel=1e-12)
    weights = np.arange(600.0)
    weighted = model.score(lazy[lazy[:, 0] < 99], sample_weight=weights)
    assert float(weighted) == pytest.approx(local.score(X, sample_weight=weights), rel=1e-12)
    np.testing.assert_array_equal(model.fit_predict(lazy).compute(), local.labels_)


def test_data_in_memory_give_results_in_memory() -> None:
    X = samples()
    model = KMeans(4, init=X[:4]).fit(chunked(X, (600,)))
    local = rust_kmeans.KMeans(4, init=X[:4]).fit(X)
    np.testing.assert_array_equal(model.predict(X), local.predict(X))
    np.testing.assert_array_equal(model.transform(X), local.transform(X))
    assert model.score(X) == local.score(X)


def test_lazy_results_refuse_other_features_at_once() -> None:
    model = KMeans(2).fit(chunked(samples(), (600,)))
    with pytest.raises(ValueError, match="expecting 3 features"):
        model.predict(da.zeros((5, 4)))


def test_a_stream_of_blocks_takes_the_steps_of_the_mini_batches() -> None:
    X = samples()
    weights = np.arange(1.0, 601.0)
    lazy = KMeans(4, random_state=0).partial_fit(chunked(X, (300, 0, 100, 200)), sample_weight=weights)
    lazy.partial_fit(X[:50])
    expected = MiniBatchKMeans(4, random_state=0)
    for first, last in ((0, 300), (300, 400), (400, 600)):
        expected.partial_fit(X[first:last], sample_weight=weights[first:last])
    expected.partial_fit(X[:50])
    np.testing.assert_array_equal(lazy.cluster_centers_, expected.cluster_centers_)
    assert lazy.n_steps_ == 4
    np.testing.assert_array_equal(lazy.predict(chunked(X, (600,))).compute(), expected.predict(X))


def test_a_stream_goes_on_from_a_fit() -> None:
    X = samples()
    model = KMeans(4, random_state=0).fit(chunked(X, (600,)))
    before = model.cluster_centers_.copy()
    model.partial_fit(chunked(X + 0.01, (300, 300)))
    # Centers of 600 samples move little by as many again.
    np.testing.assert_allclose(model.cluster_centers_, before, atol=0.5)
    assert not np.array_equal(model.cluster_centers_, before)
    assert not hasattr(model, "labels_")


def test_an_estimator_can_be_cloned_and_pickled_without_its_lazy_labels() -> None:
    X = samples()
    model = KMeans(4, init="random", random_state=0, persist=False).fit(chunked(X, (600,)))
    assert clone(model).get_params() == model.get_params()
    loaded = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    assert not hasattr(loaded, "labels_")
    assert hasattr(model, "labels_")


def shifted(X: Floats) -> Floats:
    """Return a copy that is not aligned to its elements, as what comes out of a message may be."""
    whole = np.empty(X.nbytes + 4, dtype=np.uint8)
    copy: Floats = whole[4:].view(X.dtype).reshape(X.shape)
    copy[...] = X
    assert not copy.flags.aligned
    return copy


def test_what_comes_unaligned_out_of_a_message_is_taken() -> None:
    X, weights = samples(), np.arange(1.0, 601.0)
    lazy, of_weights = (chunked(each, (600,)).map_blocks(shifted, dtype=float) for each in (X, weights))
    local = rust_kmeans.KMeans(4, init=X[:4]).fit(X, sample_weight=weights)
    for init in (shifted(X[:4]), lambda *_, **__: shifted(X[:4])):
        model = KMeans(4, init=init, n_init=1).fit(lazy, sample_weight=of_weights)
        assert_same_fit(model, local)
        assert float(model.score(lazy, sample_weight=of_weights)) == pytest.approx(-local.inertia_, rel=1e-12)
        np.testing.assert_array_equal(model.transform(lazy).compute(), local.transform(X))
    streamed = KMeans(4, random_state=0).partial_fit(lazy, sample_weight=of_weights)
    expected = MiniBatchKMeans(4, random_state=0).partial_fit(X, sample_weight=weights)
    np.testing.assert_array_equal(streamed.cluster_centers_, expected.cluster_centers_)


def test_a_stream_is_taken_on_a_cluster(client: Any) -> None:
    X = samples(601, dtype="float32")
    with client.as_current():
        lazy = KMeans(4, random_state=0).partial_fit(chunked(X, (200, 201, 200)))
    expected = MiniBatchKMeans(4, random_state=0)
    for first, last in ((0, 200), (200, 401), (401, 601)):
        expected.partial_fit(X[first:last])
    np.testing.assert_array_equal(lazy.cluster_centers_, expected.cluster_centers_)


def test_a_stream_reads_chunks_of_unknown_size_once() -> None:
    X = samples()
    n_read = 0

    def read(chunk: Floats) -> Floats:
        nonlocal n_read
        n_read += 1
        return chunk

    lazy = chunked(X, (300, 0, 300)).map_blocks(read, meta=X[:0], chunks=((np.nan,) * 3, (D,)))
    KMeans(4, random_state=0).partial_fit(lazy)
    assert n_read == 3
    with pytest.raises(ValueError, match="at least one sample"):
        KMeans(4).partial_fit(lazy[lazy[:, 0] > 1e9])


def test_a_first_block_that_fails_leaves_nothing_behind() -> None:
    X = chunked(samples(), (100, 500))
    model = KMeans(200, random_state=0)
    with pytest.raises(ValueError, match=r"Block 0 of X \(rows 0 to 99\): n_samples=100 should be"):
        model.partial_fit(X)
    assert model.set_params(n_clusters=3).partial_fit(X).cluster_centers_.shape == (3, D)


@pytest.mark.parametrize("begin", ["fit", "partial_fit"])
def test_a_stream_keeps_the_number_of_centers(begin: str) -> None:
    X = chunked(samples(), (600,))
    model = getattr(KMeans(5, random_state=0), begin)(X).set_params(n_clusters=3)
    for batch in (X, samples()):
        with pytest.raises(ValueError, match=r"n_clusters=3, but .* 5 centers .*set_params\(n_clusters=5\)"):
            model.partial_fit(batch)
    assert model.get_feature_names_out().shape == (5,)


@pytest.mark.parametrize("begins_lazy", [False, True])
def test_a_stream_checks_names_of_features_in_memory_and_lazy(begins_lazy: bool) -> None:
    X = samples()
    in_memory = pd.DataFrame(X, columns=list("abc"))
    first, then = (frame(X), in_memory) if begins_lazy else (in_memory, frame(X))
    model = KMeans(5, random_state=0).partial_fit(first)
    assert model.feature_names_in_.tolist() == ["a", "b", "c"]
    model.partial_fit(then)
    for other in (frame(X)[["c", "b", "a"]], in_memory[["c", "b", "a"]]):
        with pytest.raises(ValueError, match="Feature names must be in the same order"):
            model.partial_fit(other)
    with pytest.warns(UserWarning, match="but KMeans was fitted with feature names"):
        model.partial_fit(X)


@pytest.mark.parametrize("method", ["predict", "transform", "score", "partial_fit"])
def test_every_method_names_the_block_of_a_value_that_is_not_finite(method: str) -> None:
    X = samples()
    model = KMeans(4, random_state=0).fit(chunked(X, (600,)))
    X[450, 1] = np.nan
    lazy = chunked(X, (200, 200, 200))
    unknown = da.Array(lazy.dask, lazy.name, ((np.nan,) * 3, (D,)), lazy.dtype)
    for array, where in ((lazy, r" \(rows 400 to 599\)"), (unknown, r"( \(rows 400 to 599\))?")):
        with pytest.raises(ValueError, match=f"Block 2 of X{where}: .*NaN"):
            getattr(model, method)(array).compute()


@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_lazy_distances_are_not_put_into_data_frames(container: str) -> None:
    importlib.import_module(container)
    X = samples()
    model = KMeans(4, random_state=0).fit(chunked(X, (600,)))
    asked = clone(model).set_output(transform=container).fit(chunked(X, (600,)))
    with pytest.raises(ValueError, match=rf"cannot be put into '{container}': call set_output"):
        asked.transform(chunked(X, (600,)))
    with sklearn.config_context(transform_output=container), pytest.raises(ValueError, match="set_config"):
        model.transform(chunked(X, (600,)))
    assert asked.transform(X).shape == (600, 4)


def test_fewer_distinct_samples_than_clusters_give_a_warning() -> None:
    with pytest.warns(ConvergenceWarning, match=r"distinct clusters \(1\)"):
        KMeans(2, init=np.ones((2, 2))).fit(da.ones((10, 2), chunks=(5, 2)))


def test_verbose_prints_each_iteration_and_why_a_run_converged(capsys: pytest.CaptureFixture[str]) -> None:
    model = KMeans(4, tol=0, random_state=0, verbose=1).fit(chunked(samples(), (300, 300)))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Iteration 0, inertia ")
    assert lines[-1] == f"Converged at iteration {model.n_iter_ - 1}: strict convergence."


def test_a_fit_leaves_nothing_on_the_cluster(client: Any) -> None:
    X = chunked(samples(), (300, 300))
    with client.as_current():
        KMeans(4, random_state=0).fit(X)
        with pytest.raises(ValueError, match="NaN"):
            KMeans(4).fit(X.map_blocks(lambda chunk: chunk * np.nan, dtype=float))
    assert_nothing_left(client)


def assert_nothing_left(client: Any) -> None:
    """Wait until scheduler and workers hold no data, or fail."""
    deadline = distributed.utils.Deadline.after(20)
    while client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)):
        assert not deadline.expired, client.run_on_scheduler(
            lambda dask_scheduler: list(dask_scheduler.tasks)
        )
    # Workers hear of it a little later.
    while any(client.run(lambda dask_worker: len(dask_worker.data)).values()):
        assert not deadline.expired, client.run(lambda dask_worker: list(dask_worker.data))


def test_rows_that_workers_hold_already_stay_where_they_are(client: Any) -> None:
    X = client.persist(chunked(samples(), (150,) * 4))
    with client.as_current():
        distributed.wait(X)
    held = client.who_has(X)
    with client.as_current():
        model = KMeans(4, init=samples()[:4]).fit(X)
    assert model.persisted_
    now = client.who_has(X)
    assert all(set(held[key]) <= set(now[key]) for key in held)
    assert_same_fit_on(client, model, rust_kmeans.KMeans(4, init=samples()[:4]).fit(samples()))
    del X, model


def test_a_worker_that_does_not_tell_what_it_spilled_fails_no_fit(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rust_kmeans.dask import _groups

    X = samples()
    for error in (ValueError("on a worker"), OSError("no connection")):
        run = fails_with(error) if isinstance(error, OSError) else client.run
        monkeypatch.setattr(_groups, "_spilled_bytes", fails_with(error))
        monkeypatch.setattr(client, "run", run)
        with client.as_current():
            model = KMeans(4, init=X[:4]).fit(chunked(X, (300, 300)))
        assert model.spilled_bytes_ == 0


def fails_with(error: Exception) -> Any:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def assert_same_fit_on(client: Any, model: KMeans, expected: Any) -> None:
    with client.as_current():
        assert_same_fit(model, expected)


def test_large_centers_are_sent_once_and_are_the_same(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from rust_kmeans.dask import _groups

    monkeypatch.setattr(_groups, "_SMALL", 1)
    X = samples()
    with client.as_current():
        model = KMeans(4, init=X[:4]).fit(chunked(X, (300, 300)))
        assert_same_fit(model, rust_kmeans.KMeans(4, init=X[:4]).fit(X))
    assert_nothing_left(client)


@given(sizes=st.lists(st.integers(0, 9_000), min_size=1, max_size=8), lost=st.integers(0, 7))
@settings(max_examples=60, deadline=None)
def test_small_chunks_that_follow_each_other_make_one_block(sizes: list[int], lost: int) -> None:
    least = 4_000
    arrays = np.split(np.arange(2.0 * sum(sizes)).reshape(-1, 2), np.cumsum(sizes)[:-1])
    firsts = np.cumsum([0, *sizes])
    # A group has not all chunks: where one is elsewhere, those before and after it do not follow each other.
    own = [i for i, size in enumerate(sizes) if size > 0 and i != lost]
    places = [Place(i, int(firsts[i]), sizes[i], 2, np.dtype(float)) for i in own]
    if not places:
        return
    blocks = make_group(places, 1, least, *(arrays[i] for i in own)).blocks
    assert [place for block in blocks for place in block.places] == places
    for block in blocks:
        np.testing.assert_array_equal(block.X[:, 0], 2.0 * np.arange(block.first_row, block.end))
    for block, following in pairwise(blocks):
        assert len(block.X) >= least or block.end < following.first_row


@pytest.mark.parametrize("scheduler", ["threads", "cluster"])
def test_chunks_of_unknown_size_that_stay_in_memory_are_read_once(
    scheduler: str, client: Any, tmp_path: Path
) -> None:
    X = samples()

    def read(chunk: Floats) -> Floats:
        (tmp_path / str(uuid.uuid4())).touch()
        return chunk

    lazy = chunked(X, (200, 0, 400)).map_blocks(read, meta=X[:0], chunks=((np.nan,) * 3, (D,)))
    with client.as_current() if scheduler == "cluster" else dask.config.set(scheduler=scheduler):
        model = KMeans(4, init=X[:4], persist=True).fit(lazy)
        assert len(list(tmp_path.iterdir())) == 3
        assert_same_fit(model, rust_kmeans.KMeans(4, init=X[:4]).fit(X))
    assert_nothing_left(client)


@pytest.mark.parametrize("n_workers", [1, 2])
@pytest.mark.parametrize("n_threads", [None, 1, 3])
def test_tasks_that_read_rows_take_no_more_threads_than_there_are(
    n_workers: int, n_threads: int | None
) -> None:
    seen: set[int] = set()

    class Watching(RustKernel):
        def start(self, *args: Any) -> Any:
            state = super().start(*args)

            def step(centers: Floats, threads: int, *, inertia: bool) -> Any:
                seen.add(threads)
                return state.step(centers, threads, inertia=inertia)

            return SimpleNamespace(step=step, farthest_rows=state.farthest_rows)

    X = samples()
    with dask.config.set(scheduler="threads", num_workers=n_workers):
        model = KMeans(4, init=X[:4], persist=False, n_threads=n_threads, kernel=Watching())
        assert_same_fit(model.fit(chunked(X, (300, 300))), rust_kmeans.KMeans(4, init=X[:4]).fit(X))
    assert seen == {(n_threads or 1) if n_workers == 1 else 1}


@given(sizes=st.lists(st.integers(1, 50), min_size=1, max_size=30), n_parts=st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_parts_are_runs_that_cover_all_rows_evenly(sizes: list[int], n_parts: int) -> None:
    parts = split(sizes, n_parts)
    assert [position for part in parts for position in part] == list(range(len(sizes)))
    assert len(parts) <= n_parts
    # A part is over its share by less than the positions at its two ends.
    for part in parts:
        assert sum(sizes[i] for i in part) < sum(sizes) / n_parts + max(sizes)


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_a_closed_cluster_is_one_error() -> None:
    X = samples()
    with distributed.LocalCluster(
        n_workers=1,
        processes=False,
        dashboard_address=None,
        scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
    ) as cluster:
        client = distributed.Client(cluster)
        held = client.persist(chunked(X, (300, 300)))
        distributed.wait(held)
    with client.as_current(), pytest.raises(RuntimeError, match=r"Connect a new distributed\.Client"):
        KMeans(4, init=X[:4]).fit(held)
    client.close()


def test_the_package_does_not_import_dask_until_asked() -> None:
    done = run_python("import rust_kmeans, sys; sys.exit('dask' in sys.modules)")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("missing", ["dask", "distributed"])
def test_a_missing_dask_is_one_error_with_the_remedy(missing: str) -> None:
    done = run_python(f"import sys; sys.modules[{missing!r}] = None; import rust_kmeans.dask")
    assert done.returncode == 1
    assert 'pip install "rust_kmeans[dask]"' in done.stderr.splitlines()[-1]
