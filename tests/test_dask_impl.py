"""The Dask driver: same answer as in one piece, whatever the chunks, the kernel and the scheduler."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dask_impl import adapter, dask_ml, driver, groups
from dask_impl.kernels import BlockKernel, NumpyKernel, RustKernel
from dask_impl.local import dask_array, persist_on_workers, start_cluster, stop_cluster
from harness.contract import FitSpec
from harness.datasets import Dataset
from python_impl import kmeans as textbook
from rust_impl import extension

FloatArray = npt.NDArray[np.floating[Any]]
N, D, K = 600, 3, 5
# Whole, halves, empty chunks, chunks of a single row, fewer rows than clusters.
CHUNKINGS: tuple[tuple[int, ...], ...] = (
    (600,),
    (300, 300),
    (0, 1, 2, 0, 597),
    (599, 1, 0),
    (3,) * 200,
)


@pytest.fixture(params=["numpy", "rust"])
def kernel(request: pytest.FixtureRequest) -> BlockKernel[Any, Any]:
    if request.param == "numpy":
        return NumpyKernel()
    return rust_kernel()


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    started = start_cluster(2)
    yield started
    stop_cluster(started)


def rust_kernel() -> RustKernel:
    if (reason := extension.refusal()) is not None and "debug" not in reason:
        pytest.skip(reason)
    return RustKernel()


def samples(seed: int = 0, dtype: str = "float64") -> FloatArray:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(N, D)) + 3 * rng.integers(-1, 2, size=(N, D))).astype(dtype)


def chunked(X: FloatArray, rows: tuple[int, ...]) -> da.Array:
    # In parts: from_array merges nothing, but does not make empty chunks either.
    bounds = np.cumsum((0, *rows))
    parts = [
        da.from_array(X[first:last], chunks=(max(1, last - first), D)) for first, last in pairwise(bounds)
    ]
    return da.concatenate(parts, allow_unknown_chunksizes=True)


@pytest.mark.parametrize("rows", CHUNKINGS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_any_chunking_gives_the_answer_of_the_textbook(
    kernel: BlockKernel[Any, Any], rows: tuple[int, ...], dtype: str
) -> None:
    X = samples(dtype=dtype)
    expected = textbook.lloyd(X, X[:K], tol=0.0)
    result = driver.fit(chunked(X, rows), K, kernel, init=X[:K], tol=0.0, n_threads=2)
    assert result.n_iter == expected.n_iter
    assert result.inertia == pytest.approx(expected.inertia, rel=1e-12)
    np.testing.assert_allclose(result.centers, expected.centers, rtol=1e-12 if dtype == "float64" else 1e-6)
    assert result.centers.dtype == X.dtype
    labels = driver.predict(chunked(X, rows), result.centers, kernel).compute(scheduler="sync")
    np.testing.assert_array_equal(labels, expected.labels)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rust_kernel_gives_the_same_bits_for_any_chunks_and_threads(dtype: str) -> None:
    kernel, X = rust_kernel(), samples(1, dtype)
    results = [
        driver.fit(chunked(X, rows), K, kernel, tol=1e-4, seed=2, n_threads=n_threads)
        for rows in CHUNKINGS
        for n_threads in (1, 2, 3)
    ]
    for result in results[1:]:
        np.testing.assert_array_equal(result.centers, results[0].centers)
        assert (result.inertia, result.n_iter) == (results[0].inertia, results[0].n_iter)


def test_processes_give_the_same_result_as_threads(kernel: BlockKernel[Any, Any], client: Any) -> None:
    X = chunked(samples(2), (0, 100, 200, 50, 250))
    on_threads = driver.fit(X, K, kernel, seed=1, n_threads=2)
    on_workers = driver.fit(X, K, kernel, seed=1, client=client)
    np.testing.assert_allclose(on_workers.centers, on_threads.centers, rtol=1e-12)
    assert on_workers.inertia == pytest.approx(on_threads.inertia, rel=1e-12)
    assert on_workers.n_iter == on_threads.n_iter
    if isinstance(kernel, RustKernel):
        np.testing.assert_array_equal(on_workers.centers, on_threads.centers)


def test_persisted_blocks_are_spread_over_the_workers(client: Any) -> None:
    X = persist_on_workers(da.from_array(samples(), chunks=(100, D)), client)
    with groups.distribute(X, 1, client) as distributed_groups:
        assert distributed_groups.map(number_of_rows) == [300, 300]


def number_of_rows(group: groups.Group) -> int:
    return sum(len(block.X) for block in group.blocks)


def test_empty_clusters_take_the_farthest_samples_of_all_blocks(kernel: BlockKernel[Any, Any]) -> None:
    X = samples(3)
    start = np.vstack([X[:2], np.full((3, D), 1e3) + np.eye(3)])
    expected = textbook.lloyd(X, start, tol=0.0)
    result = driver.fit(chunked(X, (7, 400, 0, 193)), K, kernel, init=start, tol=0.0, n_threads=2)
    np.testing.assert_allclose(result.centers, expected.centers, rtol=1e-12)
    assert result.n_iter == expected.n_iter


@pytest.mark.parametrize("max_iter", [1, 3, 300])
@pytest.mark.parametrize("tol", [0.0, 1e-3])
def test_stops_where_the_textbook_stops(kernel: BlockKernel[Any, Any], tol: float, max_iter: int) -> None:
    X = samples(4)
    expected = textbook.lloyd(X, X[:K], tol=tol, max_iter=max_iter)
    result = driver.fit(
        chunked(X, (250, 350)), K, kernel, init=X[:K], tol=tol, max_iter=max_iter, n_threads=2
    )
    assert result.n_iter == expected.n_iter
    assert result.inertia == pytest.approx(expected.inertia, rel=1e-12)


def test_lost_labels_are_computed_again() -> None:
    kernel, X = NumpyKernel(), samples()
    group = groups.make_group([0, 1], [0, 400], X[:400], X[400:])
    before, after = X[:K], X[1 : K + 1]
    driver.assign_group(group, kernel, None, before, None)
    kept = driver.assign_group(group, kernel, None, after, before)
    fresh = groups.make_group([0, 1], [0, 400], X[:400], X[400:])
    lost = driver.assign_group(fresh, kernel, None, after, before)
    assert 0 < kept.n_changed == lost.n_changed < N


@dataclass(frozen=True)
class FatalKernel(NumpyKernel):
    """Ends the worker process that is the first to assign a block, as the kernel's memory limit would."""

    marker: Path = Path()

    def assign_block(
        self, X: FloatArray, centers: FloatArray, scale: None
    ) -> tuple[npt.NDArray[np.int32], textbook.Partial]:
        try:
            self.marker.touch(exist_ok=False)
        except FileExistsError:
            return super().assign_block(X, centers, scale)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("still here")


def test_a_lost_worker_is_made_up_for(tmp_path: Path, client: Any) -> None:
    X = samples(10)
    kernel = FatalKernel(tmp_path / "marker")
    result = driver.fit(chunked(X, (300, 300)), K, kernel, init=X[:K], tol=0.0, client=client)
    assert kernel.marker.exists()
    expected = textbook.lloyd(X, X[:K], tol=0.0)
    np.testing.assert_allclose(result.centers, expected.centers, rtol=1e-12)
    assert result.n_iter == expected.n_iter
    client.wait_for_workers(2, timeout=30)


def test_unknown_chunks_are_computed(client: Any) -> None:
    X = chunked(samples(5), (200, 400))
    unknown = X[X[:, 0] > 0]
    known = samples(5)[samples(5)[:, 0] > 0]
    expected = textbook.lloyd(known, known[:2], tol=0.0)
    for where in ({"n_threads": 2}, {"client": client}):
        result = driver.fit(unknown, 2, NumpyKernel(), init=known[:2], tol=0.0, **where)
        np.testing.assert_allclose(result.centers, expected.centers, rtol=1e-12)


def test_seeding_of_few_rows_is_that_of_all_rows() -> None:
    X = samples(6)
    result = driver.fit(chunked(X, (1, 599)), K, NumpyKernel(), max_iter=300, seed=4)
    assert result.inertia < 1.3 * min(textbook.kmeans(X, K, seed=seed).inertia for seed in range(5))


def test_seeding_of_many_rows_looks_at_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "SEEDING_ROWS", 50)
    monkeypatch.setattr(driver, "SEEDING_ROWS_PER_CLUSTER", 1)
    seen: list[FloatArray] = []

    def record(X: FloatArray, n_clusters: int, rng: np.random.Generator) -> FloatArray:
        seen.append(X)
        return X[:n_clusters]

    monkeypatch.setattr(textbook, "kmeans_plusplus", record)
    for rows in CHUNKINGS:
        driver.fit(chunked(samples(), rows), K, NumpyKernel(), max_iter=1, seed=7, n_threads=3)
    assert len(seen[0]) == 50
    for sample in seen[1:]:
        np.testing.assert_array_equal(sample, seen[0])


def test_integers_become_float64() -> None:
    X = np.random.default_rng(0).integers(0, 50, size=(100, 2))
    result = driver.fit(da.from_array(X, chunks=(30, 2)), 3, NumpyKernel())
    assert result.centers.dtype == np.float64


def test_column_chunks_are_refused_with_the_remedy() -> None:
    with pytest.raises(ValueError, match=r"call X\.rechunk\(\{1: -1\}\) first"):
        driver.fit(da.zeros((10, 4), chunks=(5, 2)), 2, NumpyKernel())


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_missing_values_are_refused_naming_the_block(
    kernel: BlockKernel[Any, Any], bad: float, client: Any
) -> None:
    X = samples()
    X[450, 1] = bad
    for where in ({"n_threads": 2}, {"client": client}):
        with pytest.raises(ValueError, match=r"block 2 of X \(rows 400 to 599\): .*(NaN|inf)"):
            driver.fit(chunked(X, (200, 200, 200)), K, kernel, **where)


@pytest.mark.parametrize(
    ("X", "n_clusters", "message"),
    [
        (da.zeros((3, 2)), 4, "n_clusters=4 must be from 1 to n_samples=3"),
        (da.zeros((0, 2)), 1, "X is empty"),
        (da.zeros(5), 1, "two-dimensional"),
    ],
)
def test_what_cannot_be_clustered_is_refused(X: da.Array, n_clusters: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        driver.fit(X, n_clusters, NumpyKernel())


@given(sizes=st.lists(st.integers(0, 50), min_size=1, max_size=30), n_parts=st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_parts_are_runs_that_cover_all_rows_evenly(sizes: list[int], n_parts: int) -> None:
    parts = groups.contiguous_parts(sizes, n_parts)
    flat = [position for part in parts for position in part]
    assert flat == [position for position, size in enumerate(sizes) if size > 0]
    assert len(parts) <= n_parts
    # A part is over its share by less than the positions at its two ends.
    for part in parts:
        assert sum(sizes[i] for i in part) < sum(sizes) / n_parts + max(sizes)


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
        results = [implementation.fit(state, spec) for spec in (matched, default)]
        labels = implementation.predict(state, results[1])
    finally:
        implementation.close(state)

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


def test_large_arrays_are_shared_through_the_cluster(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "MIN_SCATTERED_BYTES", 1)
    X = chunked(samples(9), (300, 300))
    scattered = driver.fit(X, K, NumpyKernel(), init=samples(9)[:K], tol=0.0, client=client)
    expected = textbook.lloyd(samples(9), samples(9)[:K], tol=0.0)
    np.testing.assert_allclose(scattered.centers, expected.centers, rtol=1e-12)


def test_dask_ml_stops_when_no_center_moves(dataset: Dataset) -> None:
    implementation = dask_ml.dask_ml()
    X = dataset.load()
    spec = FitSpec(K, X[:K], 1, 300, 0.0, 0, 1, "float32")
    result = implementation.fit(implementation.prepare(dataset, spec), spec)
    assert result.settings.tol == dask_ml.STRICT_TOL
    assert result.n_iter is not None
    assert result.n_iter < 100
