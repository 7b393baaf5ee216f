"""The bench's Dask rows: our estimator over the NumPy kernel, the adapters, dask-ml, and their chunks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import numpy.typing as npt
import pytest

from dask_impl import adapter, dask_ml
from dask_impl.adapter import persist_on_workers
from dask_impl.kernels import NumpyKernel
from dask_impl.local import dask_array, start_cluster, stop_cluster
from harness.contract import FitSpec
from harness.datasets import Dataset
from python_impl import kmeans as textbook
from rust_kmeans.dask import KMeans

FloatArray = npt.NDArray[np.floating[Any]]
N, D, K = 600, 3, 5
# Whole, halves, fewer rows than clusters.
CHUNKINGS: tuple[tuple[int, ...], ...] = ((600,), (300, 300), (1, 2, 597), (3,) * 200)


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    started = start_cluster(2)
    yield started
    stop_cluster(started)


def samples(seed: int = 0, dtype: str = "float64") -> FloatArray:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(N, D)) + 3 * rng.integers(-1, 2, size=(N, D))).astype(dtype)


def assert_near(model: KMeans, expected: textbook.Result) -> None:
    rtol = 1e-12 if model.cluster_centers_.dtype == np.float64 else 1e-6
    np.testing.assert_allclose(model.cluster_centers_, expected.centers, rtol=rtol)
    assert model.inertia_ == pytest.approx(expected.inertia, rel=1e-12)
    assert model.n_iter_ == expected.n_iter
    np.testing.assert_array_equal(model.labels_.compute(), expected.labels)


@pytest.mark.parametrize("rows", CHUNKINGS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_textbook_on_blocks_is_the_textbook(rows: tuple[int, ...], dtype: str) -> None:
    X = samples(dtype=dtype)
    with dask.config.set(scheduler="threads", num_workers=2):
        model = KMeans(K, init=X[:K], tol=0.0, kernel=NumpyKernel(), n_threads=1)
        assert_near(model.fit(da.from_array(X, chunks=(rows, D))), textbook.lloyd(X, X[:K], tol=0.0))
    assert model.cluster_centers_.dtype == X.dtype
    assert len(model.inertia_history_) == model.n_iter_


@pytest.mark.parametrize("max_iter", [1, 3, 300])
@pytest.mark.parametrize("tol", [0.0, 1e-3])
def test_it_stops_where_the_textbook_stops(tol: float, max_iter: int) -> None:
    X = samples(4)
    model = KMeans(K, init=X[:K], tol=tol, max_iter=max_iter, kernel=NumpyKernel())
    assert_near(
        model.fit(da.from_array(X, chunks=(250, D))), textbook.lloyd(X, X[:K], tol=tol, max_iter=max_iter)
    )


def test_empty_clusters_take_the_samples_that_the_textbook_gives_them() -> None:
    X = samples(3)
    start = np.vstack([X[:2], np.full((3, D), 1e3) + np.eye(3)])
    model = KMeans(K, init=start, tol=0.0, kernel=NumpyKernel())
    assert_near(model.fit(da.from_array(X, chunks=((7, 400, 193), D))), textbook.lloyd(X, start, tol=0.0))


def test_the_textbook_runs_on_worker_processes(client: Any) -> None:
    X = samples(2)
    with client.as_current():
        model = KMeans(K, init=X[:K], tol=0.0, kernel=NumpyKernel(), n_threads=1)
        assert_near(model.fit(da.from_array(X, chunks=(100, D))), textbook.lloyd(X, X[:K], tol=0.0))


def test_the_numpy_kernel_refuses_weights() -> None:
    with pytest.raises(ValueError, match="no sample_weight"):
        KMeans(2, kernel=NumpyKernel()).fit(da.from_array(samples()), sample_weight=np.ones(N))


def test_persisted_blocks_are_spread_over_the_workers_though_the_client_last_heard_of_none(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What the client asks for every two seconds names no worker, and may come in between.
    monkeypatch.setattr(client, "scheduler_info", lambda **_: {"workers": {}})
    X = persist_on_workers(da.from_array(samples(), chunks=(100, D)), client)
    holders = client.who_has(X).values()
    assert sorted(len(set(each)) for each in holders) == [1] * 6
    first = [worker for (worker,) in holders]
    assert sorted(first.count(worker) for worker in set(first)) == [3, 3]


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    X = samples(8, "float32")
    np.save(tmp_path / "X.npy", X)
    return Dataset(tmp_path / "X.npy", X.shape[0], X.shape[1], "float32")


def test_chunks_of_the_bench_cover_the_file(tmp_path: Path) -> None:
    X = np.arange(2 * 50_000, dtype=np.float64).reshape(-1, 2)
    np.save(tmp_path / "X.npy", X)
    array = dask_array(Dataset(tmp_path / "X.npy", X.shape[0], X.shape[1], "float64"), n_threads=2)
    assert array.chunks == ((25_000, 25_000), (2,))
    np.testing.assert_array_equal(array.compute(scheduler="sync"), X)


ADAPTERS = {
    "dask-numpy": adapter.dask_numpy,
    "dask-rust": adapter.dask_rust,
    "dask-numpy-processes": adapter.dask_numpy_processes,
    "dask-rust-processes": adapter.dask_rust_processes,
    "dask-ml": dask_ml.dask_ml,
}


@pytest.mark.parametrize("name", ADAPTERS)
def test_adapter_goes_through_its_whole_life_on_both_tracks(name: str, dataset: Dataset) -> None:
    implementation: Any = ADAPTERS[name]()
    if (reason := implementation.available()) is not None:
        pytest.skip(reason)
    X = dataset.load()
    matched = FitSpec(K, X[:K], 1, 100, 0.0, 0, 2, "float32")
    default = FitSpec(K, None, None, None, None, 0, 2, "float32")
    assert implementation.version()
    state = implementation.prepare(dataset, matched)
    try:
        fits = [implementation.fit(state, spec) for spec in (matched, default)]
        labels = implementation.predict(state, fits[1])
    finally:
        implementation.close(state)

    results = [
        implementation.result(fitted, spec) for fitted, spec in zip(fits, (matched, default), strict=True)
    ]
    nearest, distances = textbook.assign(X, results[1].centers)
    np.testing.assert_array_equal(labels, nearest)
    assert (results[1].settings.max_iter, results[1].settings.tol) == (300, 1e-4)
    assert "k-means" in results[1].settings.init
    if name != "dask-ml":
        assert results[1].reported_inertia == pytest.approx(float(distances.sum()), rel=1e-6)

    expected = textbook.lloyd(X, X[:K], tol=0.0, max_iter=100)
    inertia = float(textbook.assign(X, results[0].centers)[1].sum())
    assert inertia == pytest.approx(expected.inertia, rel=1e-5)
    assert results[0].n_iter == pytest.approx(expected.n_iter, abs=1)
    assert results[0].settings.init == "given"


def test_dask_ml_stops_when_no_center_moves(dataset: Dataset) -> None:
    implementation = dask_ml.dask_ml()
    X = dataset.load()
    spec = FitSpec(K, X[:K], 1, 300, 0.0, 0, 1, "float32")
    fitted = implementation.fit(implementation.prepare(dataset, spec), spec)
    result = implementation.result(fitted, spec)
    assert result.settings.tol == dask_ml.STRICT_TOL
    assert result.n_iter is not None
    assert result.n_iter < 100
