"""`KMeans` over Dask arrays and data frames."""

# scikit-learn ships no types.
# mypy: disallow-subclassing-any=False

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from itertools import accumulate
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import dask
import dask.array as da
import dask.local
import numpy as np
from dask.base import get_scheduler
from dask.system import CPU_COUNT
from distributed.system import MEMORY_LIMIT
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import euclidean_distances
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils._set_output import _get_output_config
from sklearn.utils.validation import check_is_fitted, validate_data

from rust_kmeans import _data
from rust_kmeans._base import CentersMixin, Init, RandomState, seed_of
from rust_kmeans._data import Floats
from rust_kmeans._kmeans import Algorithm
from rust_kmeans._minibatch import MiniBatchKMeans
from rust_kmeans.dask import _fit, _starts
from rust_kmeans.dask._faults import explained
from rust_kmeans.dask._groups import ClusterGroups, Groups, LocalGroups, aligned, workers_of
from rust_kmeans.dask._input import (
    Collection,
    Samples,
    Source,
    is_lazy,
    naming,
    samples,
    sizes_of,
    sources,
    stream,
)
from rust_kmeans.dask._kernel import BlockKernel, RustKernel

if TYPE_CHECKING:
    from distributed import Client

#: Of the memory of all workers, what the rows and what is kept of them may take. Above it reading the rows in
#: every pass is faster than having workers write them to disk and read them back.
_SHARE_OF_MEMORY = 0.4
#: What is kept of a row at most, besides the row: label and bounds.
_KEPT_BYTES = 20
#: What is kept of a block for each value of the centers: the centers and their sums.
_KEPT_BYTES_OF_CENTERS = 16
#: Rows of a block in memory at least, in all and for each center, so that rows outweigh what is kept.
_LEAST_ROWS = 4096
_ROWS_PER_CENTER = 8


class KMeans(CentersMixin):
    """Exact k-means on Dask arrays and data frames: `rust_kmeans.KMeans` beyond one machine's memory.

    Works on the cluster of the current ``distributed.Client`` if there is one, else on the scheduler of
    Dask's configuration, which is threads. From the same starting centers it finds the same centers, labels
    and inertia as `rust_kmeans.KMeans` on the same rows in memory, bit for bit, however X is cut into chunks
    and however many workers there are.

    Parameters
    ----------
    n_clusters : int, default=8
        Number of clusters, at most the number of samples.
    init : {"k-means||", "k-means++", "random"}, array-like of shape (n_clusters, n_features), or callable
        Starting centers: k-means|| (five rounds that draw about 2 * `n_clusters` candidates each, then the
        best of up to eight greedy k-means++ on them), greedy k-means++, random samples, the centers themselves, or a function
        ``init(X, n_clusters, random_state=random_state)`` that is given X as a Dask array and returns them.
    n_init : "auto" or int, default="auto"
        Number of runs, the best of which is kept; "auto" is 10 for "random" and callables, else 1.
    max_iter : int, default=300
        Most iterations of a run.
    tol : float, default=1e-4
        A run stops when the summed squared shift of its centers is at most `tol` times the mean variance of
        the features; 0 stops when no label changes.
    verbose : int, default=0
        Above 0 each iteration is printed as it ends, with its inertia, and why a run has converged. An
        iteration then takes longer; the result is the same.
    random_state : int, RandomState instance or None, default=None
        Makes the starting centers reproducible.
    copy_x : bool, default=True
        Accepted for compatibility; X is not changed.
    algorithm : {"auto", "lloyd", "hamerly", "yinyang", "elkan"}, default="auto"
        How labels are found, as for `rust_kmeans.KMeans`. The result does not depend on it.
    n_threads : int or None, default=None
        Threads of a task of the fit; a worker (or this process) runs as many tasks at a time as fill its
        threads. None for one task with all threads. Where rows are read in each pass a task takes 1, since
        Dask runs as many of them at a time as there are threads, unless that is one at a time. `predict` and
        the like take 1 unless this says more. The result does not depend on it.
    kernel : BlockKernel or None, default=None
        What runs on the blocks; None for that of this package, `RustKernel`.
    persist : bool or None, default=None
        Whether the rows stay in memory during the fit. False reads X again in each pass, so that a worker has
        few chunks at a time. None keeps them if workers have them already, or if they and what the fit keeps
        of them take at most two fifths of the workers' memory limits; for that, chunks of unknown sizes are
        read once more before.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features), dtype of X
        The centers.
    labels_ : dask.array.Array of shape (n_samples,), int32
        Nearest center of each sample; of equal distances the lowest index. Lazy: computing it reads X again.
        Not pickled.
    inertia_ : float
        Weighted sum of squared distances to the nearest centers, in squared units of X.
    inertia_history_ : ndarray of shape (`n_iter_`,), float64
        For each iteration of the best run the inertia of the labels it found, under the centers they were
        found with, as for `rust_kmeans.KMeans`.
    n_iter_ : int
        Iterations of the best run.
    n_steps_ : int
        Batches that `partial_fit` took in. After `partial_fit` only.
    n_features_in_ : int
        Features seen in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, if X was a data frame.
    persisted_ : bool
        Whether the rows stayed in memory during `fit`.
    spilled_bytes_ : int
        Bytes of any data that workers had on disk because of their memory limits when `fit` ended.

    Notes
    -----
    Chunks may be empty, of any and of unknown sizes, and of fewer rows than clusters; features must lie in
    one chunk. float32 stays float32, everything else is converted to float64.

    With the rows in memory an iteration is one task for each worker. Labels, bounds and sums stay with the
    rows, as a cache: if a worker is lost, its rows are read again and the cache is computed again from the
    present centers and those before, with the same result. Rows read in each pass have no cache.

    A scheduler of processes ("processes" in Dask's configuration) reads the chunks; since it keeps nothing,
    the fit goes on with threads of this process.

    Starting centers are those of `rust_kmeans.KMeans` with the same `init` and `random_state`, whatever the
    chunks; only k-means++ draws from a sample of 64 MiB (or 16 * `n_clusters` rows, if that is more) where
    the rows are read in each pass. k-means|| looks at the rows some fourteen times, k-means++ three times for
    each center.

    The same bits as in memory need a `tol` that does not fall between two shifts by rounding: the mean
    variance of the features is summed in another order here, the same for all chunks.

    References
    ----------
    S. P. Lloyd, Least squares quantization in PCM, IEEE Trans. Information Theory 28 (1982).
    B. Bahmani, B. Moseley, A. Vattani, R. Kumar, S. Vassilvitskii, Scalable k-means++, PVLDB 5 (2012).

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> from rust_kmeans.dask import KMeans
    >>> X = da.from_array(np.array([[1, 2], [1, 4], [1, 0], [10, 2], [10, 4], [10, 0]]), chunks=(2, 2))
    >>> model = KMeans(n_clusters=2, random_state=0).fit(X)
    >>> model.inertia_
    16.0
    >>> np.bincount(model.labels_.compute()).tolist()
    [3, 3]
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_clusters": [Interval(Integral, 1, None, closed="left")],
        "init": [StrOptions({"k-means++", "k-means||", "random"}), callable, "array-like"],
        "n_init": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
        "copy_x": ["boolean"],
        "algorithm": [StrOptions({"auto", "lloyd", "hamerly", "yinyang", "elkan"})],
        "n_threads": [Interval(Integral, 1, None, closed="left"), None],
        "kernel": [HasMethods(["start", "history", "next_centers"]), None],
        "persist": ["boolean", None],
    }

    labels_: da.Array
    _batches: MiniBatchKMeans

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: Init = "k-means||",
        n_init: int | Literal["auto"] = "auto",
        max_iter: int = 300,
        tol: float = 1e-4,
        verbose: int = 0,
        random_state: RandomState = None,
        copy_x: bool = True,
        algorithm: Algorithm = "auto",
        n_threads: int | None = None,
        kernel: BlockKernel[Any] | None = None,
        persist: bool | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.verbose = verbose
        self.random_state = random_state
        self.copy_x = copy_x
        self.algorithm = algorithm
        self.n_threads = n_threads
        self.kernel = kernel
        self.persist = persist

    def fit(self, X: Collection, y: object = None, sample_weight: object = None) -> Self:
        """Find the centers.

        Parameters
        ----------
        X : dask.array.Array or dask.dataframe.DataFrame of shape (n_samples, n_features)
            Samples.
        y : ignored
            For scikit-learn's interface.
        sample_weight : dask array, dask series or array-like of shape (n_samples,), default=None
            Weights, finite and not negative, cut however they are; None for 1 each.

        Returns
        -------
        KMeans
            Itself.

        Raises
        ------
        ValueError
            For parameters, shapes and values that are not valid, and for X that changes between two passes.
        TypeError
            For X that is no Dask collection or does not hold numbers.
        RuntimeError
            If the cluster fails: a task ended its worker again and again, or the scheduler is gone.
        """
        self._validate_params()
        data = samples(X)
        validate_data(self, data.meta, skip_check_array=True)
        self._warn_of_n_init(stacklevel=3)
        get = get_scheduler(collections=[data.array])
        client = _client_of(get)
        # Rows or weights in the memory of this process are part of what is sent: no news to the user.
        no_warning = dask.config.set({"distributed.admin.large-graph-warning-threshold": "1TB"})
        with explained(client), no_warning:
            groups, array = self._read(data, sample_weight, get, client)
            try:
                best = self._best_run(groups, array)
                self.persisted_, self.spilled_bytes_ = groups.persisted, groups.spilled_bytes()
            finally:
                groups.close()
        self._keep(best)
        self.labels_ = self._labels(array)
        if best.n_clusters < self.n_clusters:
            warnings.warn(
                f"Number of distinct clusters ({best.n_clusters}) found smaller than n_clusters "
                f"({self.n_clusters}). Possibly due to duplicate points in X.",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    def partial_fit(self, X: Collection, y: object = None, sample_weight: object = None) -> Self:
        """Move the centers by a stream of blocks, each read once.

        The steps are those of `MiniBatchKMeans.partial_fit` on each block in turn. The first block also
        starts the centers, unless `fit` has found some.

        Parameters
        ----------
        X : dask.array.Array or dask.dataframe.DataFrame of shape (n_samples, n_features), or array-like
            Each chunk is a block, one step of the centers; an array in memory is one block. The first block
            has at least `n_clusters` rows; its dtype is that of the centers.
        y : ignored
            For scikit-learn's interface.
        sample_weight : dask array, dask series or array-like of shape (n_samples,), default=None
            Weights, finite and not negative, one positive at least in each block; None for 1 each.

        Returns
        -------
        KMeans
            Itself.

        Raises
        ------
        ValueError
            For parameters, shapes and values that are not valid, and where `n_clusters` is no longer the
            number of the centers.
        TypeError
            For data that are not numbers.
        RuntimeError
            If the cluster fails.
        """
        self._validate_params()
        is_begun = hasattr(self, "cluster_centers_")
        if is_begun and len(self.cluster_centers_) != self.n_clusters:
            n_centers = len(self.cluster_centers_)
            msg = (
                f"n_clusters={self.n_clusters}, but there are {n_centers} centers already, whose number "
                f"partial_fit keeps: call set_params(n_clusters={n_centers}), or start anew with a clone."
            )
            raise ValueError(msg)
        if not is_lazy(X):
            dtype = self.cluster_centers_.dtype if is_begun else None
            return self._step(self._converter(dtype, accept_sparse="csr")(X), sample_weight)
        data = samples(X)
        validate_data(self, data.meta, skip_check_array=True, reset=not is_begun)
        get = get_scheduler(collections=[data.array])
        with explained(_client_of(get)):
            for place, parts in stream(data, sample_weight, lambda values: _computed(values, get)):
                with naming(place.chunk, place.first_row, place.n_rows):
                    self._step(*(aligned(part) for part in parts))
        return self

    def fit_predict(self, X: Collection, y: object = None, sample_weight: object = None) -> da.Array:
        """Find the centers; return the label of each sample.

        Parameters
        ----------
        X : dask.array.Array or dask.dataframe.DataFrame of shape (n_samples, n_features)
            Samples.
        y : ignored
            For scikit-learn's interface.
        sample_weight : dask array, dask series or array-like of shape (n_samples,), default=None
            Weights, as `fit` takes them.

        Returns
        -------
        dask.array.Array of shape (n_samples,), int32
            `labels_`, lazy.

        Raises
        ------
        ValueError, TypeError, RuntimeError
            As `fit`.
        """
        return self.fit(X, sample_weight=sample_weight).labels_

    def predict(self, X: Collection) -> Any:  # noqa: ANN401  # as X
        """Return the index of the nearest center of each sample.

        Parameters
        ----------
        X : dask.array.Array or dask.dataframe.DataFrame of shape (n_samples, n_features), or array-like
            Samples, converted to the dtype of the centers.

        Returns
        -------
        dask.array.Array of shape (n_samples,), int32, or ndarray
            Labels, lazy if X is; of equal distances the lowest index.

        Raises
        ------
        ValueError
            For shapes and values that are not valid; values of lazy X are looked at when it is computed.
        TypeError
            For X that does not hold numbers.
        """
        return self._labels(self._lazy(X)) if is_lazy(X) else super().predict(X)

    def transform(self, X: Collection) -> Any:  # noqa: ANN401  # as X
        """Return the distance of each sample to each center.

        Parameters
        ----------
        X : dask.array.Array or dask.dataframe.DataFrame of shape (n_samples, n_features), or array-like
            Samples, converted to the dtype of the centers.

        Returns
        -------
        dask.array.Array or ndarray of shape (n_samples, n_clusters), dtype of the centers
            Euclidean distances in units of X, lazy if X is.

        Raises
        ------
        ValueError
            For shapes and values that are not valid; values of lazy X are looked at when it is computed. For
            lazy X if `set_output` asks for data frames.
        TypeError
            For X that does not hold numbers.
        """
        if not is_lazy(X):
            return super().transform(X)
        container = _get_output_config("transform", self)["dense"]
        if container != "default":
            msg = (
                f"The distances of lazy X are a Dask array, which cannot be put into {container!r}: call "
                'set_output(transform="default"), or sklearn.set_config(transform_output="default").'
            )
            raise ValueError(msg)
        centers = self.cluster_centers_
        array = self._lazy(X)
        return array.map_blocks(
            _distances,
            centers,
            dtype=centers.dtype,
            chunks=(array.chunks[0], (len(centers),)),
            meta=np.empty((0, 0), dtype=centers.dtype),
        )

    def score(self, X: Collection, y: object = None, sample_weight: object = None) -> Any:  # noqa: ANN401  # as X
        """Return the negative of the inertia of X under the centers.

        Parameters
        ----------
        X : dask.array.Array or dask.dataframe.DataFrame of shape (n_samples, n_features), or array-like
            Samples, converted to the dtype of the centers.
        y : ignored
            For scikit-learn's interface.
        sample_weight : dask array, dask series or array-like of shape (n_samples,), default=None
            Weights, finite and not negative; None for 1 each.

        Returns
        -------
        dask.array.Array of shape (), float64, or float
            The negative of the weighted sum of squared distances to the nearest centers, in squared units of
            X, lazy if X is. Its last bits depend on the chunks.

        Raises
        ------
        ValueError
            For shapes and values that are not valid; values of lazy X are looked at when it is computed.
        TypeError
            For X that does not hold numbers.

        Notes
        -----
        With weights unknown chunks are computed at once, for their numbers of rows.
        """
        if not is_lazy(X):
            return super().score(X, sample_weight=sample_weight)  # type: ignore[arg-type]  # as X in memory has
        array = self._lazy(X)
        if sample_weight is None:
            firsts = [0, *accumulate(array.chunks[0])]
            blocks = [((i, firsts[i]), [chunk]) for i, chunk in enumerate(array.to_delayed().ravel())]
        else:
            get = get_scheduler(collections=[array])
            sizes = sizes_of(Samples(array, None), lambda values: _computed(values, get))
            read = sources(array, sizes, sample_weight, lambda values: _computed(values, get))
            blocks = [((source.place.chunk, source.place.first_row), source.parts) for source in read]
        inertia = dask.delayed(_inertia, pure=False)
        inertias = [
            inertia(self.cluster_centers_, self.n_threads or 1, where, *parts) for where, parts in blocks
        ]
        total = dask.delayed(_negative_sum, pure=False)(inertias)
        return da.from_delayed(total, shape=(), dtype=np.float64)

    def _read(
        self, data: Samples, sample_weight: object, get: Callable[..., Any], client: Client | None
    ) -> tuple[Groups, da.Array]:
        """Return the blocks where a fit works on them, and X with known chunks."""
        array = data.array
        if self.persist and any(math.isnan(size) for size in array.chunks[0]):
            # Counted where they stay, so that they are not read twice.
            array = dask.persist(array, scheduler=get)[0] if client is None else client.persist(array)
        sizes = sizes_of(Samples(array, data.meta), lambda values: _computed(values, get))
        if sum(sizes) < self.n_clusters:
            msg = f"n_samples={sum(sizes)} should be >= n_clusters={self.n_clusters}."
            raise ValueError(msg)
        array = _with_sizes(array, sizes)
        blocks = sources(array, sizes, sample_weight, lambda values: _computed(values, get))
        return self._groups(array, blocks, get, client), _with_sizes(data.array, sizes)

    def _groups(
        self, array: da.Array, blocks: list[Source], get: Callable[..., Any], client: Client | None
    ) -> Groups:
        """Return the blocks where a fit works on them."""
        least_rows = max(_LEAST_ROWS, _ROWS_PER_CENTER * self.n_clusters)
        n_rows, n_features = array.shape
        n_blocks = min(len(blocks), n_rows // least_rows + 1)
        need = array.nbytes + _KEPT_BYTES * n_rows
        need += _KEPT_BYTES_OF_CENTERS * n_blocks * self.n_clusters * n_features
        if client is None:
            persist = need <= _SHARE_OF_MEMORY * MEMORY_LIMIT if self.persist is None else self.persist
            return LocalGroups(blocks, get, _local_threads(get), self.n_threads, least_rows, persist=persist)
        persist = self.persist
        if persist is None:
            persist = _is_held(array, client) or need <= _SHARE_OF_MEMORY * _memory_of(client)
        return ClusterGroups(blocks, client, self.n_threads, least_rows, persist=persist)

    def _block_kernel(self) -> BlockKernel[Any]:
        return RustKernel() if self.kernel is None else self.kernel

    def _best_run(self, groups: Groups, array: da.Array) -> _fit.Fit:
        """Return the run of least inertia, the first of equals."""
        known = _fit.survey(groups)
        starts = self._starting_centers(groups, known, array)
        tol = self.tol * _fit.mean_variance(groups, known) if self.tol > 0 else 0.0
        algorithm: Any = "hamerly" if self.algorithm == "elkan" else self.algorithm
        runs = [
            _fit.lloyd(
                groups,
                _fit.Run(number, self._block_kernel(), known.scale, algorithm),
                start,
                max_iter=self.max_iter,
                tol=tol,
                is_told=bool(self.verbose),
            )
            for number, start in enumerate(starts)
        ]
        return min(runs, key=lambda run: run.inertia)

    def _starting_centers(self, groups: Groups, known: _fit.Survey, array: da.Array) -> list[Floats]:
        """Return the starting centers of each run."""
        init: Any = self.init
        if not (isinstance(init, str) or callable(init)):
            return [self._given(known.first_row, aligned(np.asarray(init)))]
        random_state = check_random_state(self.random_state)
        n_runs = self._runs(10)
        if callable(init):
            drawn = [init(array, self.n_clusters, random_state=random_state) for _ in range(n_runs)]
            return [self._given(known.first_row, aligned(np.asarray(start))) for start in drawn]
        seeds = [seed_of(random_state) for _ in range(n_runs)]
        if init == "random":
            return _starts.random_rows(groups, known, self.n_clusters, seeds)
        if init == "k-means||":
            return _starts.kmeans_parallel(groups, known, self.n_clusters, seeds)
        return _starts.kmeans_plusplus(groups, known, self.n_clusters, seeds, seed_of(random_state))

    def _keep(self, fit: _fit.Fit) -> None:
        self.cluster_centers_, self.inertia_ = fit.centers, fit.inertia
        self.inertia_history_, self.n_iter_ = fit.history, fit.history.size
        self._counts = fit.counts
        self._n_features_out = len(self.cluster_centers_)
        for of_batches in ("_batches", "n_steps_"):
            self.__dict__.pop(of_batches, None)

    def _step(self, X: ArrayLike, sample_weight: Any = None) -> Self:  # noqa: ANN401  # whatever users have
        """Move the centers by one block, whose features have been checked."""
        batches = self._batches if hasattr(self, "_batches") else self._first_batches()
        batches.partial_fit(X, sample_weight=sample_weight)
        self._batches = batches
        self.cluster_centers_, self.n_steps_ = batches.cluster_centers_, batches.n_steps_
        self._n_features_out = len(self.cluster_centers_)
        for of_fit in ("labels_", "inertia_", "inertia_history_", "n_iter_", "persisted_", "spilled_bytes_"):
            self.__dict__.pop(of_fit, None)
        return self

    def _first_batches(self) -> MiniBatchKMeans:
        """Return what takes the first block, from the centers of `fit` if there are any."""
        batches = MiniBatchKMeans(
            self.n_clusters,
            init="k-means++" if isinstance(self.init, str) and self.init == "k-means||" else self.init,
            compute_labels=False,
            random_state=self.random_state,
            n_threads=self.n_threads,
        )
        if hasattr(self, "cluster_centers_"):
            batches.n_features_in_ = self.n_features_in_
            batches._keep((self.cluster_centers_, self._counts, 0))
        return batches

    def _lazy(self, X: Collection) -> da.Array:
        """Return X as an array of the dtype of the centers, whose features are those of `fit`."""
        check_is_fitted(self)
        data = samples(X, self.cluster_centers_.dtype)
        validate_data(self, data.meta, skip_check_array=True, reset=False)
        return data.array

    def _labels(self, array: da.Array) -> da.Array:
        return array.map_blocks(
            _predict,
            self.cluster_centers_,
            self._block_kernel(),
            self.n_threads or 1,
            dtype=np.int32,
            drop_axis=1,
            meta=np.empty(0, dtype=np.int32),
        )

    def __getstate__(self) -> dict[str, Any]:
        """Leave out `labels_`, which may hold all of X."""
        return {key: value for key, value in super().__getstate__().items() if key != "labels_"}

    def __sklearn_tags__(self) -> Any:  # noqa: ANN401  # scikit-learn's own type, which it does not publish
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = False
        return tags


def _with_sizes(array: da.Array, sizes: list[int]) -> da.Array:
    """Return the array, whose chunks were perhaps unknown, with chunks of so many rows."""
    return da.Array(array.dask, array.name, (tuple(sizes), array.chunks[1]), array.dtype)


def _computed(values: list[Any], get: Callable[..., Any]) -> list[Any]:
    return list(dask.compute(*values, scheduler=get))


def _client_of(get: Callable[..., Any]) -> Client | None:
    """Return the client that a scheduler function belongs to."""
    from distributed import Client

    owner = getattr(get, "__self__", None)
    return owner if isinstance(owner, Client) else None


def _local_threads(get: Callable[..., Any]) -> int:
    """Return how many threads of this process may work."""
    if get is dask.local.get_sync:
        return 1
    pool = dask.config.get("pool", None)
    return int(dask.config.get("num_workers", None) or getattr(pool, "_max_workers", None) or CPU_COUNT)


def _memory_of(client: Client) -> float:
    """Return the memory limits of all workers together; a limit of 0 is none."""
    limits = [worker["memory_limit"] for worker in workers_of(client).values()]
    return math.inf if not all(limits) else float(sum(limits))


def _is_held(array: da.Array, client: Client) -> bool:
    """Return whether the cluster has the chunks of an array in memory, or is computing them."""
    held = set(client.futures)
    return all(key in held for (key, *_) in array.__dask_keys__())


def _where(block_info: Any) -> tuple[int, float]:  # noqa: ANN401  # what Dask tells of a block
    """Return the number of a block and of its first row, NaN where that is unknown."""
    info = block_info[0]
    return info["chunk-location"][0], info["array-location"][0][0]


def _predict(
    X: Floats,
    centers: Floats,
    kernel: BlockKernel[Any],
    n_threads: int,
    block_info: Any = None,  # noqa: ANN401  # see `_where`
) -> NDArray[np.int32]:
    if len(X) == 0:
        return np.empty(0, dtype=np.int32)
    with naming(*_where(block_info), len(X)):
        return kernel.predict(aligned(X), aligned(centers), n_threads)


def _distances(X: Floats, centers: Floats, block_info: Any = None) -> Floats:  # noqa: ANN401  # see `_where`
    if len(X) == 0:
        return np.empty((0, len(centers)), dtype=centers.dtype)
    with naming(*_where(block_info), len(X)):
        distances: Floats = euclidean_distances(aligned(X), aligned(centers))
    return distances


def _inertia(
    centers: Floats,
    n_threads: int,
    where: tuple[int, float],
    X: Floats,
    weights: NDArray[np.float64] | None = None,
) -> float:
    if len(X) == 0:
        return 0.0
    X, centers = aligned(X), aligned(centers)
    with naming(*where, len(X)):
        labels = _data.predict(X, centers, n_threads)
        return _data.inertia(X, centers, labels, None if weights is None else aligned(weights), n_threads)


def _negative_sum(inertias: list[float]) -> np.float64:
    return np.float64(-math.fsum(inertias))
