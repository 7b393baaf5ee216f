"""Fits over streams: `KMeans.fit_stream` is `fit`, bit for bit, in bounded memory."""

from __future__ import annotations

import importlib
import itertools
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from rust_kmeans import KMeans, MiniBatchKMeans

Floats = NDArray[Any]


def _data(n: int = 10_000, d: int = 3, dtype: type = np.float32, seed: int = 0) -> Floats:
    random = np.random.default_rng(seed)
    centers = random.uniform(-8, 8, size=(6, d))
    return (centers[random.integers(6, size=n)] + random.normal(size=(n, d))).astype(dtype)


def _assert_same_fit(streamed: KMeans, in_memory: KMeans) -> None:
    np.testing.assert_array_equal(streamed.cluster_centers_, in_memory.cluster_centers_)
    assert streamed.cluster_centers_.dtype == in_memory.cluster_centers_.dtype
    np.testing.assert_array_equal(streamed.labels_, in_memory.labels_)
    assert streamed.inertia_ == in_memory.inertia_
    assert streamed.n_iter_ == in_memory.n_iter_


class Recount:
    """Gives other batches from the second pass on."""

    def __init__(self, first: list[Floats], later: list[Floats]) -> None:
        self._first, self._later = first, later
        self.passes = 0

    def __iter__(self) -> Iterator[Floats]:
        self.passes += 1
        return iter(self._first if self.passes == 1 else self._later)


@settings(max_examples=40, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 9_000), max_size=6),
    n=st.integers(20, 9_000),
    d=st.integers(1, 20),
    k=st.integers(1, 12),
    dtype=st.sampled_from([np.float32, np.float64]),
    init=st.sampled_from(["k-means++", "random", "given", "callable"]),
    tol=st.sampled_from([0.0, 1e-4]),
    is_weighted=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_a_streamed_fit_is_the_fit_in_memory_bit_for_bit_however_the_rows_are_cut(
    cuts: list[int], n: int, d: int, k: int, dtype: type, init: str, tol: float, is_weighted: bool, seed: int
) -> None:
    X = _data(n, d, dtype, seed)
    weights = np.random.default_rng(seed).integers(0, 4, size=n) / 2 if is_weighted else None
    if weights is not None:
        weights[:k] = 1.0
    start: Any = {"given": X[:k], "callable": lambda X, k, random_state: X[-k:]}.get(init, init)
    model = KMeans(k, init=start, n_init=1 if init == "given" else 2, tol=tol, max_iter=20, random_state=seed)
    edges = [0, *sorted(min(cut, n) for cut in cuts), n]
    pieces = [slice(a, b) for a, b in itertools.pairwise(edges)]
    stream = [X[piece] if weights is None else (X[piece], weights[piece]) for piece in pieces]
    streamed = _quietly(lambda: _clone(model).fit_stream(stream))
    in_memory = _quietly(lambda: _clone(model).fit(X, sample_weight=weights))
    _assert_same_fit(streamed, in_memory)


def _clone(model: KMeans) -> KMeans:
    return KMeans(**model.get_params())


def _quietly(fit: Callable[[], KMeans]) -> KMeans:
    """Fit without the warning of fewer distinct clusters than asked for."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return fit()


def test_empty_clusters_are_relocated_as_in_memory() -> None:
    X = _data(9_000)
    start = np.concatenate([X[:4], np.full((3, 3), 1e4, dtype=np.float32)])
    model = KMeans(7, init=start, n_init=1, max_iter=5, tol=0)
    _assert_same_fit(_clone(model).fit_stream([X[:5_000], X[5_000:]]), _clone(model).fit(X))


def test_rows_that_all_lie_on_one_center_leave_nothing_to_relocate() -> None:
    X = np.ones((5_000, 2))
    model = KMeans(3, init=np.ones((3, 2)), n_init=1)
    streamed = _quietly(lambda: _clone(model).fit_stream([X]))
    _assert_same_fit(streamed, _quietly(lambda: _clone(model).fit(X)))
    with pytest.warns(match="distinct clusters"):
        _clone(model).fit_stream([X])


def _npy(folder: Path, X: Floats) -> Path:
    np.save(folder / "data.npy", X)
    return folder / "data.npy"


def _parquet(folder: Path, X: Floats) -> Path:
    pyarrow = importlib.import_module("pyarrow")
    parquet = importlib.import_module("pyarrow.parquet")
    table = pyarrow.table({f"x{j}": column for j, column in enumerate(X.T)})
    (folder / "data").mkdir()
    parquet.write_table(table[:3_000], folder / "data" / "0.parquet", row_group_size=700)
    parquet.write_table(table[3_000:], folder / "data" / "1.parquet")
    return folder / "data"


def _table(folder: Path, X: Floats) -> Any:
    return importlib.import_module("pyarrow.parquet").read_table(_parquet(folder, X))


def _dataset(folder: Path, X: Floats) -> Any:
    return importlib.import_module("pyarrow.dataset").dataset(_parquet(folder, X))


def _parquet_file(folder: Path, X: Floats) -> Any:
    parquet = importlib.import_module("pyarrow.parquet")
    parquet.write_table(_table(folder, X), folder / "all.parquet")
    return parquet.ParquetFile(folder / "all.parquet")


STREAMS: dict[str, Callable[[Path, Floats], Any]] = {
    "an array": lambda _, X: X,
    "an array in Fortran order": lambda _, X: np.asfortranarray(X),
    "a memory-mapped array": lambda folder, X: np.load(_npy(folder, X), mmap_mode="r"),
    "an .npy file": _npy,
    "an .npy file in Fortran order": lambda folder, X: _npy(folder, np.asfortranarray(X)),
    "a list of files": lambda folder, X: [str(_npy(folder, X[:500])), X[500:]],
    "a folder of Parquet files": _parquet,
    "a pyarrow table": _table,
    "a pyarrow dataset": _dataset,
    "a pyarrow Parquet file": _parquet_file,
    "a polars data frame": lambda _, X: importlib.import_module("polars").DataFrame(X),
    "batches, one of them empty": lambda _, X: [X[:100], X[:0], X[100:]],
    "a function that returns a generator": lambda _, X: (
        lambda: (X[i : i + 999] for i in range(0, len(X), 999))
    ),
    "an object that iterates anew": lambda _, X: Recount([X], [X[:1], X[1:]]),
    "lists": lambda _, X: [X[:10].tolist(), X[10:].tolist()],
}


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_may_be(name: str, tmp_path: Path) -> None:
    X = _data(6_000, dtype=np.float64)
    stream = STREAMS[name](tmp_path, X)
    model = KMeans(5, random_state=0, max_iter=10)
    _assert_same_fit(_clone(model).fit_stream(stream), model.fit(X))


def test_names_of_data_frames_are_kept_and_compared() -> None:
    pandas = importlib.import_module("pandas")
    X = _data(300)
    frame = pandas.DataFrame(X, columns=list("abc"))
    model = KMeans(2, random_state=0).fit_stream([frame[:100], frame[100:]])
    assert list(model.feature_names_in_) == list("abc")
    with pytest.raises(ValueError, match="feature names"):
        KMeans(2).fit_stream([frame, frame.rename(columns={"a": "z"})])


def _pyarrow_streams(folder: Path) -> dict[str, Callable[[Any], Any]]:
    """Return by name what makes a batch out of a table, each a way in which pyarrow's data may come."""
    parquet = importlib.import_module("pyarrow.parquet")
    dataset = importlib.import_module("pyarrow.dataset")

    def written(table: Any) -> Path:
        path = folder / f"{'-'.join(table.column_names)}.parquet"
        parquet.write_table(table, path)
        return path

    return {
        "table": lambda table: table,
        "record batch": lambda table: table.to_batches()[0],
        "weighted record batch": lambda table: (table.to_batches()[0], np.ones(len(table))),
        "dataset": lambda table: dataset.dataset(written(table)),
        "Parquet file": lambda table: parquet.ParquetFile(written(table)),
        "path": written,
    }


@pytest.mark.parametrize(
    "kind", ["table", "record batch", "weighted record batch", "dataset", "Parquet file", "path"]
)
def test_column_names_of_pyarrow_are_kept_and_compared(kind: str, tmp_path: Path) -> None:
    pyarrow = importlib.import_module("pyarrow")
    table = pyarrow.table(dict(zip("abc", _data(300).T, strict=True)))
    batch = _pyarrow_streams(tmp_path)[kind]
    for fit in (
        lambda stream: KMeans(2, random_state=0).fit_stream(stream),
        lambda stream: MiniBatchKMeans(2, batch_size=100, random_state=0).partial_fit_stream(stream),
    ):
        model = fit([batch(table), batch(table)])
        assert list(model.feature_names_in_) == list("abc")
        # Without a warning that the model knows no names.
        model.predict(table)
        with pytest.raises(ValueError, match="same order") as reordered:
            fit([batch(table), batch(table.select(["c", "b", "a"]))])
        with pytest.raises(ValueError, match="unseen at fit time:\n- z"):
            fit([batch(table), batch(table.rename_columns(["a", "b", "z"]))])
        if kind == "path":
            assert "c-b-a.parquet" in str(reordered.value)


def test_a_stream_of_other_columns_than_those_taken_in_before_is_refused() -> None:
    pyarrow = importlib.import_module("pyarrow")
    table = pyarrow.table(dict(zip("abc", _data(300).T, strict=True)))
    model = MiniBatchKMeans(2, random_state=0).partial_fit(table)
    with pytest.raises(ValueError, match="same order"):
        model.partial_fit_stream(table.select(["c", "b", "a"]))


def test_k_means_plus_plus_draws_from_a_sample_where_all_would_take_too_much(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    X = _data(20_000)
    monkeypatch.setattr("rust_kmeans._kmeans._SAMPLE_BYTES", 2_000 * X[:1].nbytes)
    sizes = []

    def init(sample: Floats, k: int, random_state: object) -> Floats:
        sizes.append(len(sample))
        return sample[:k]

    KMeans(3, init=init, n_init=1, random_state=0).fit_stream([X])
    assert sizes == [2_000]
    weights = np.random.default_rng(0).uniform(size=len(X))
    models = [
        KMeans(6, random_state=0).fit_stream([(X[:n], weights[:n]), (X[n:], weights[n:])]) for n in (1, 9_000)
    ]
    _assert_same_fit(*models)
    best = KMeans(6, random_state=0, n_init=5).fit(X, sample_weight=weights).inertia_
    assert models[0].inertia_ < 1.5 * best


@pytest.mark.parametrize(
    ("stream", "error", "said"),
    [
        (iter([_data(10)]), TypeError, "can be read once only"),
        (7, TypeError, "batches is a int"),
        ({"x": _data(10)}, TypeError, "batches is a dict"),
        ({1, 2}, TypeError, "batches is a set"),
        ([], ValueError, "no rows"),
        ([_data(10), _data(10, d=4)], ValueError, "4 features"),
        ([(_data(10), np.ones(10), 0)], ValueError, "a tuple of 3"),
        ([(_data(10), np.ones(9))], ValueError, "10 rows and 9 weights"),
        ([(_data(10), np.ones(10)), _data(10)], ValueError, "Some batches have weights"),
        ([(_data(10), np.zeros(10))], ValueError, "every sample_weight is zero"),
        ([_data(4_096), np.full((1, 3), np.nan)], ValueError, "NaN at row"),
        ([_data(1)], ValueError, "n_samples=1 should be >= n_clusters=2"),
        ("data.csv", ValueError, "neither a .npy file nor"),
        (Recount([_data(10)], [_data(9)]), ValueError, "had 10 rows at first"),
        (Recount([_data(10)], [_data(11)]), ValueError, "had 10 rows at first"),
        (Recount([_data(10)], [_data(10) * 9]), ValueError, "changed since it was read first"),
    ],
)
def test_a_wrong_stream_is_refused_with_what_is_wrong(stream: Any, error: type, said: str) -> None:
    with pytest.raises(error, match=said):
        KMeans(2, init="random", n_init=1, tol=0, random_state=0).fit_stream(stream)


def test_batches_get_the_dtype_of_the_first() -> None:
    X = _data(900)
    streamed = KMeans(3, random_state=0).fit_stream([X[:400], X[400:].astype(np.float64)])
    _assert_same_fit(streamed, KMeans(3, random_state=0).fit(X))
    model = MiniBatchKMeans(3, batch_size=100, random_state=0)
    model.partial_fit_stream([X[:450], X[450:].astype(np.float64)])
    whole = MiniBatchKMeans(3, batch_size=100, random_state=0).partial_fit_stream(X)
    assert model.cluster_centers_.tobytes() == whole.cluster_centers_.tobytes()
    for go_on in (model.partial_fit_stream, MiniBatchKMeans(3).partial_fit_stream):
        with pytest.raises(ValueError, match="4 features"):
            go_on([X, _data(9, d=4)])


def test_a_lazy_frame_is_refused_without_being_asked_for_its_columns() -> None:
    lazy = importlib.import_module("polars").DataFrame(_data(10)).lazy()
    with pytest.raises(TypeError, match="batches is a LazyFrame"):
        KMeans(2).fit_stream(lazy)


def test_k_means_parallel_needs_all_data() -> None:
    with pytest.raises(ValueError, match=r"k-means\|\|"):
        KMeans(2, init="k-means||").fit_stream([_data(10)])


def test_an_error_of_the_stream_reaches_the_caller() -> None:
    def broken() -> Iterator[Floats]:
        yield _data(5_000)
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        KMeans(2).fit_stream(broken)


def test_parquet_without_pyarrow_names_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match="pip install pyarrow"):
        KMeans(2).fit_stream(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="reads VmHWM")
def test_memory_is_bounded_whatever_the_size_of_the_file(tmp_path: Path) -> None:
    file = np.lib.format.open_memmap(tmp_path / "x.npy", mode="w+", dtype=np.float32, shape=(2_000_000, 16))
    random = np.random.default_rng(0)
    for block in np.split(file, 20):
        block[:] = random.normal(size=block.shape)
    size = file.nbytes
    file.flush()
    del file, block
    program = """
import sys
import numpy as np
from rust_kmeans import KMeans, MiniBatchKMeans

def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))

before = peak()
path, start = sys.argv[1], np.eye(4, 16, dtype=np.float32)
KMeans(4, init=start, n_init=1, max_iter=2, n_threads=2).fit_stream(path)
MiniBatchKMeans(4, random_state=0, n_threads=2).partial_fit_stream(path)
print(peak() - before)
"""
    run = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "x.npy")], capture_output=True, text=True, check=True
    )
    # Eight megabytes of it are labels.
    assert int(run.stdout) < size / 2


def test_a_stream_warns_of_parameters_as_fit_does_and_points_at_the_caller() -> None:
    X = _data(300)
    for model, said in (
        (KMeans(2, init=X[:2], n_init=5), "performing only one init"),
        (KMeans(1, algorithm="elkan"), "single cluster"),
    ):
        with pytest.warns(RuntimeWarning, match=said) as caught:
            model.fit_stream([X])
        assert caught[0].filename == __file__
        assert model._n_init == 1
    assert KMeans(2, init="random", n_init=3).fit_stream([X])._n_init == 3


def _numbers(lines: list[str]) -> list[float]:
    return [float(word.strip(".,:")) for line in lines for word in line.split() if word[0].isdigit()]


@pytest.mark.parametrize(("tol", "max_iter"), [(0, 300), (1e-2, 300), (0, 3)])
def test_verbose_prints_the_lines_of_fit_and_changes_no_bit(
    tol: float, max_iter: int, capsys: pytest.CaptureFixture[str]
) -> None:
    X = _data(9_000, dtype=np.float64)
    shared: dict[str, Any] = {"n_clusters": 5, "n_init": 2, "tol": tol, "max_iter": max_iter}
    watched = KMeans(**shared, random_state=0, verbose=1).fit(X)
    in_memory = capsys.readouterr().out.splitlines()
    streamed = KMeans(**shared, random_state=0, verbose=1).fit_stream([X[:5_000], X[5_000:]])
    lines = capsys.readouterr().out.splitlines()
    assert lines.count("Initialization complete") == 2
    assert [line.split()[:2] for line in lines] == [line.split()[:2] for line in in_memory]
    np.testing.assert_allclose(_numbers(lines), _numbers(in_memory), rtol=1e-9)
    _assert_same_fit(streamed, watched)
    _assert_same_fit(streamed, KMeans(**shared, random_state=0).fit_stream([X]))


def test_callbacks_see_of_a_stream_what_they_see_of_a_fit() -> None:
    pytest.importorskip("sklearn.callback", reason="callbacks came with scikit-learn 1.9")

    class Recorder:
        def __init__(self, stop_at: tuple[str, int] | None = None) -> None:
            self.seen: list[tuple[str, str, int]] = []
            self.stop_at = stop_at

        def setup(self, estimator: Any, context: Any) -> None:
            self.seen.append(("setup", context.task_name, context.task_id))

        def teardown(self, estimator: Any, context: Any) -> None:
            self.seen.append(("teardown", context.task_name, context.task_id))

        def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
            self.seen.append(("begin", context.task_name, context.task_id))

        def on_fit_task_end(self, estimator: Any, context: Any) -> bool:
            self.seen.append(("end", context.task_name, context.task_id))
            return (context.task_name, context.task_id) == self.stop_at

    X = _data(9_000)
    for stop_at in (None, ("iteration", 1), ("run", 0)):
        fits = [Recorder(stop_at), Recorder(stop_at)]
        models = [KMeans(5, n_init=2, random_state=0).set_callbacks(each) for each in fits]
        _assert_same_fit(models[0].fit_stream([X[:5_000], X[5_000:]]), models[1].fit(X))
        assert fits[0].seen == fits[1].seen
        assert fits[0].seen[-1] == ("teardown", "fit", 0)
