"""`KMeans` as scikit-learn's users know it, and many fits at once."""

# scikit-learn ships no types.
# mypy: disallow-subclassing-any=False

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self, TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions, validate_params
from sklearn.utils.validation import validate_data

from rust_kmeans import _core, _data, _stream
from rust_kmeans._base import CentersMixin, Init, KeptFeatures, RandomState, seed_of, seeds_of, weights_of
from rust_kmeans._batches import Stream
from rust_kmeans._data import FLOATS, Fit, Floats, InitName, Samples, Start
from rust_kmeans._watch import CallbackSupportMixin, FitWatch, is_watched, with_callbacks

Algorithm = Literal["auto", "lloyd", "hamerly", "yinyang", "elkan"]
_Function = TypeVar("_Function", bound=Callable[..., Any])
_INITS = ("k-means++", "k-means||", "random")
_ALGORITHMS = ("auto", "lloyd", "hamerly", "yinyang", "elkan")
# What `fit_stream` may hold of the data to draw starting centers from.
_SAMPLE_BYTES = 64 << 20


class KMeans(CallbackSupportMixin, CentersMixin):
    """Exact k-means: Lloyd's algorithm, in parallel, in place of `sklearn.cluster.KMeans`.

    Parameters
    ----------
    n_clusters : int, default=8
        Number of clusters, at most the number of samples.
    init : {"k-means++", "k-means||", "random"}, array-like of shape (n_clusters, n_features), or callable
        Starting centers: greedy k-means++, k-means|| (five rounds that draw about 2 * `n_clusters` candidates
        each, then the best of up to eight greedy k-means++ on them), random samples, the centers themselves,
        or a function, called as ``init(X, n_clusters, random_state=random_state)``, that returns them.
    n_init : "auto" or int, default="auto"
        Number of runs, the best of which is kept; "auto" is 10 for "random" and callables, else 1. Runs share
        each pass over X; the result is that of one run after the other.
    max_iter : int, default=300
        Most iterations of a run.
    tol : float, default=1e-4
        A run stops when the summed squared shift of its centers is at most `tol` times the mean variance of
        the features; 0 stops when no label changes.
    verbose : int, default=0
        Above 0 each iteration is printed as it ends, with its inertia, and why a run has converged. Runs then
        go one after the other and take longer; the result is the same.
    random_state : int, RandomState instance or None, default=None
        Makes the starting centers reproducible. They differ from those scikit-learn draws.
    copy_x : bool, default=True
        Accepted for compatibility; X is not changed.
    algorithm : {"auto", "lloyd", "hamerly", "yinyang", "elkan"}, default="auto"
        How labels are found: distances to all centers for every sample ("lloyd"), or only for samples whose
        label is not proven by bounds ("hamerly", 4 or 8 bytes a sample), and for these only to groups of
        centers that bounds do not exclude ("yinyang", for wide rows; at most 16 bytes a sample, or a
        sixteenth of a row if that is more). "auto" chooses for each iteration. "elkan",
        scikit-learn's name for bounds, is taken as "hamerly". The result does not depend on it; sparse X
        always takes "lloyd".
    n_threads : int or None, default=None
        Threads. None for ``RAYON_NUM_THREADS`` if that is set, else the CPUs at hand (affinity and cgroup
        quota of the process), but no more than ``OMP_NUM_THREADS``, by which joblib and Dask share the CPUs
        among their worker processes. The result does not depend on it.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features), dtype of X
        The centers.
    labels_ : ndarray of shape (n_samples,), int32
        Nearest center of each sample; of equal distances the lowest index.
    inertia_ : float
        Weighted sum of squared distances to the nearest centers, in squared units of X.
    inertia_history_ : ndarray of shape (`n_iter_`,), float64
        For each iteration of the best run the inertia of the labels it found, under the centers they were
        found with, in squared units of X. Computed from the sums of the clusters, with an error of some 1e-15
        times the weight of all samples times the squared range of X; with `sample_weight`, range times
        largest value. It never increases by more than that, unless an empty cluster was relocated.
        `inertia_` is that of the labels found last, under `cluster_centers_`: the last entry if no label
        changed in the last iteration.
    n_iter_ : int
        Iterations of the best run.
    algorithm_ : {"lloyd", "hamerly", "yinyang"}
        What the best run used: "hamerly" or "yinyang" if bounds proved labels in some iteration.
    n_features_in_ : int
        Features seen in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, if X had names.

    Notes
    -----
    float32 data stay float32, everything else is converted to float64. Fortran order and other strides are
    read in place. Relocation of empty clusters and stopping rules are those of scikit-learn.

    k-means++ draws from the samples in the order of their values: with the same `random_state` a fit finds
    the same centers for the samples in any order, and takes a weight for as many equal samples. k-means||
    and "random" draw in the order of X.

    Callbacks (`set_callbacks`, experimental in scikit-learn since 1.9) see a task "run" for each of `n_init`,
    with a task "iteration" for each iteration. One that returns True from `on_fit_task_end` ends the
    iterations of the run as `max_iter` does, or leaves out the runs to come. With an older scikit-learn
    there is no `set_callbacks`.

    Sparse X is never made dense: SciPy's CSR matrices and arrays are read in place (after a copy if indices
    are unsorted or occur twice), other formats are converted to CSR. Labels and centers are the same bits as
    those of the dense data from the same start (with a `tol` that does not fall between them by rounding),
    `inertia_` is the same up to rounding. ``init="k-means||"`` takes dense X only.

    References
    ----------
    Y. Ding, Y. Zhao, X. Shen, M. Musuvathi, T. Mytkowicz, Yinyang k-means, ICML 2015.
    G. Hamerly, Making k-means even faster, SDM 2010.
    S. P. Lloyd, Least squares quantization in PCM, IEEE Trans. Information Theory 28 (1982).
    D. Arthur, S. Vassilvitskii, k-means++: the advantages of careful seeding, SODA 2007.
    B. Bahmani, B. Moseley, A. Vattani, R. Kumar, S. Vassilvitskii, Scalable k-means++, PVLDB 5 (2012).

    Examples
    --------
    >>> import numpy as np
    >>> from rust_kmeans import KMeans
    >>> X = np.array([[1, 2], [1, 4], [1, 0], [10, 2], [10, 4], [10, 0]])
    >>> KMeans(n_clusters=2, random_state=0).fit(X).inertia_
    16.0
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_clusters": [Interval(Integral, 1, None, closed="left")],
        "init": [StrOptions(set(_INITS)), callable, "array-like"],
        "n_init": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
        "copy_x": ["boolean"],
        "algorithm": [StrOptions(set(_ALGORITHMS))],
        "n_threads": [Interval(Integral, 1, None, closed="left"), None],
    }
    #: Whether the kernel scales means to unit length.
    _spherical: ClassVar[bool] = False

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: Init = "k-means++",
        n_init: int | Literal["auto"] = "auto",
        max_iter: int = 300,
        tol: float = 1e-4,
        verbose: int = 0,
        random_state: RandomState = None,
        copy_x: bool = True,
        algorithm: Algorithm = "auto",
        n_threads: int | None = None,
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

    def fit(self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None) -> Self:
        """Find the centers.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.
        y : ignored
            For scikit-learn's interface.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights, finite and not negative; None for 1 each.

        Returns
        -------
        KMeans
            Itself.

        Raises
        ------
        ValueError
            For parameters, shapes and values that are not valid.
        TypeError
            For data that are not numbers.
        """
        # The short way, for samples that are read as they are given; everything else is left to the long one.
        found = None if self._spherical else _core.plain_fit(self.__dict__, X, sample_weight)
        if found is not None:
            if found < self.n_clusters:
                _warn_of_duplicates([self], [found])
            return self
        with KeptFeatures(self):
            if is_watched(self):
                distinct = self._fit_watched(X, y, sample_weight)
            else:
                distinct = _fit_together([self], X, sample_weight)
        _warn_of_duplicates([self], distinct)
        return self

    @with_callbacks  # type: ignore[untyped-decorator]  # scikit-learn ships no types
    def _fit_watched(self, X: ArrayLike, y: object, sample_weight: ArrayLike | None) -> list[int]:
        watch = FitWatch(self, X, y, sample_weight)
        distinct = _fit_together([self], X, sample_weight, watch)
        watch.finish()
        return distinct

    def fit_stream(self, batches: object) -> Self:
        """Find the centers of data that need not fit into memory, exactly: as `fit` on all of them.

        In memory are a few blocks of some megabytes, for each run the labels (4 bytes a sample), the weights
        if there are any (8 bytes a sample), and while starting centers are drawn the sample they come from.
        The stream is read once an iteration, once more at each end, once for `tol` unless it is 0 and once
        for starting centers; an iteration that leaves clusters empty reads it twice.

        Parameters
        ----------
        batches : path, array, data frame, pyarrow table or dataset, iterable, or callable
            Batches: arrays, data frames, pyarrow tables, record batches, datasets and Parquet files, paths of
            ``.npy`` and Parquet files and folders of the latter, or tuples of an array, data frame, table or
            record batch and its weights. In a list or another object that gives the same batches each time it
            is iterated, or a function that returns an iterable of them. Or one such path, array (which may be
            memory-mapped), data frame or pyarrow object alone. Batches get the dtype of the first, and those
            with named columns must have its names in its order.

        Returns
        -------
        KMeans
            Itself.

        Raises
        ------
        ValueError
            For parameters, shapes and values that are not valid, for a stream without rows or one that
            changes between two passes, and for ``init="k-means||"``.
        TypeError
            For what is no stream or can be read only once, as a generator.
        ImportError
            For Parquet files without pyarrow.

        Notes
        -----
        From the same starting centers, centers, labels, inertia and number of iterations are those of `fit`,
        bit for bit, however the rows are cut into batches; the last bits of `inertia_history_` may be others,
        and `algorithm_` is "lloyd". "random" draws the same starting centers as `fit`. "k-means++" and a
        callable do on data of at most 64 MiB (or 16 * `n_clusters` samples, if that is more); from larger
        data they draw a sample of that size.

        `verbose` and callbacks see what they see of `fit`; runs then read the stream one after the other.
        Callbacks get `batches` for X, so that one that scores X does not serve here.

        Examples
        --------
        >>> import numpy as np
        >>> from rust_kmeans import KMeans
        >>> X = np.array([[1, 2], [1, 4], [1, 0], [10, 2], [10, 4], [10, 0]])
        >>> KMeans(n_clusters=2, random_state=0).fit_stream([X[:4], X[4:]]).inertia_
        16.0
        """
        with KeptFeatures(self):
            distinct = self._fit_stream_watched(batches) if is_watched(self) else self._fit_stream(batches)
        _warn_of_duplicates([self], [distinct])
        return self

    @with_callbacks  # type: ignore[untyped-decorator]  # scikit-learn ships no types
    def _fit_stream_watched(self, batches: object) -> int:
        # The stream is what callbacks get for X, which there is none of.
        watch = FitWatch(self, batches, None, None)
        distinct = self._fit_stream(batches, watch)
        watch.finish()
        return distinct

    def _fit_stream(self, batches: object, watch: FitWatch | None = None) -> int:
        """Find the centers; return how many clusters have samples."""
        self._validate_params()
        stream = Stream(batches, self._converter())
        if stream.reads_once:
            msg = (
                f"batches is a {type(batches).__name__}, which can be read once only: pass a list, a path, "
                "an array, or a function that returns a new iterator."
            )
            raise TypeError(msg)
        known = _stream.survey(stream, self.n_threads)
        if known.scale.n_rows < self.n_clusters:
            msg = f"n_samples={known.scale.n_rows} should be >= n_clusters={self.n_clusters}."
            raise ValueError(msg)
        self._warn_of_parameters()
        tol = self.tol
        if tol > 0:
            tol *= _stream.mean_variance(stream, known, self.n_threads)

        def fit(starts: list[Floats]) -> list[Fit]:
            found = _stream.lloyd(
                stream,
                known,
                starts,
                max_iter=self.max_iter,
                tol=tol,
                n_threads=self.n_threads,
                watch=watch,
            )
            return [found]

        starts = self._stream_start(stream, known)
        if watch is None:
            [found] = fit(starts)
        else:
            found = watch.best([[start] for start in starts], fit, known.first_row.dtype)
        self._keep(found)
        return found[-1]

    def _stream_start(self, stream: Stream, known: _stream.Survey) -> list[Floats]:
        """Return the starting centers of each run."""
        init: Any = self.init
        self._n_init = self._runs(10)
        if not (isinstance(init, str) or callable(init)):
            return [self._given(known.first_row, init)]
        if isinstance(init, str) and init == "k-means||":
            msg = "init='k-means||' needs all data in memory: use 'k-means++', which draws from a sample."
            raise ValueError(msg)
        n, k = known.scale.n_rows, self.n_clusters
        random_state = check_random_state(self.random_state)
        seeds = []
        if isinstance(init, str):
            seeds = [seed_of(random_state) for _ in range(self._n_init)]
        # The kernel draws rows by weight, without a look at the data.
        rows = np.broadcast_to(known.first_row[:, :1], (n, 1))
        if isinstance(init, str) and init == "random":
            drawn = [_core.random_rows(rows, k, sample_weight=known.weights, seed=seed)[1] for seed in seeds]
            return np.split(_stream.gather(stream, known, np.concatenate(drawn)), len(drawn))
        size = min(n, max(_SAMPLE_BYTES // known.first_row.nbytes, 16 * k))
        chosen = np.arange(n)
        if size < n:
            chosen = np.sort(_core.random_rows(rows, size, seed=seed_of(random_state))[1])
        sample = _stream.gather(stream, known, chosen)
        if callable(init):
            return [
                self._given(sample, init(sample, k, random_state=random_state)) for _ in range(self._n_init)
            ]
        weights = None if known.weights is None else known.weights[chosen]
        return [
            _core.kmeans_plusplus(sample, k, sample_weight=weights, seed=seed, n_threads=self.n_threads)[0]
            for seed in seeds
        ]

    def _training_data(self, X: ArrayLike) -> Samples:
        """Return X as the kernel reads it; set the number of features and their names.

        The kernel checks that values are finite in a pass it needs anyway, and says where they are not.
        """
        data = validate_data(self, X, accept_sparse="csr", dtype=FLOATS, ensure_all_finite=False)
        return _data.canonical(data)

    def _warn_of_parameters(self) -> None:
        """Warn, as scikit-learn does, of parameters that have no effect."""
        self._warn_of_n_init(stacklevel=5)
        if self.algorithm == "elkan" and self.n_clusters == 1:
            warnings.warn(
                "algorithm='elkan' doesn't make sense for a single cluster: distances to it are computed.",
                RuntimeWarning,
                # Whoever called `fit`.
                stacklevel=4,
            )

    def _start(self, X: Samples) -> Start:
        """Return what the kernel starts from, for each run."""
        init: Any = self.init
        self._n_init = self._runs(10)
        if isinstance(init, str):
            # Validated before: one of the names that the kernel knows.
            return cast(InitName, init), self.n_clusters, seeds_of(self.random_state, self._n_init)
        if not callable(init):
            return [self._given(X, init)]
        random_state = check_random_state(self.random_state)
        return [
            self._given(X, init(X, self.n_clusters, random_state=random_state)) for _ in range(self._n_init)
        ]

    def _keep(self, fit: Fit) -> None:
        centers, labels, inertia, history, n_iter, algorithm, _ = fit
        self.cluster_centers_, self.labels_, self.inertia_ = centers, labels, inertia
        self.inertia_history_, self.n_iter_, self.algorithm_ = history, n_iter, algorithm
        self._n_features_out = self.n_clusters


def kmeans_sweep(
    X: ArrayLike,
    n_clusters: Iterable[int] = range(1, 21),
    *,
    init: Init = "k-means++",
    n_init: int | Literal["auto"] = "auto",
    max_iter: int = 300,
    tol: float = 1e-4,
    random_state: RandomState = None,
    algorithm: Algorithm = "auto",
    sample_weight: ArrayLike | None = None,
    n_threads: int | None = None,
) -> list[KMeans]:
    """Fit `KMeans` for many numbers of clusters at once.

    All runs of all fits share passes over X. Each fit is bit for bit that of ``KMeans(k, ...).fit(X)``, one k
    after the other.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Samples.
    n_clusters : iterable of int, default=range(1, 21)
        Numbers of clusters, at least one, each at most the number of samples.
    init : {"k-means++", "random"} or callable, default="k-means++"
        As for `KMeans`. Centers themselves fit one number of clusters only and are refused.
    n_init : "auto" or int, default="auto"
        Number of runs for each k, as for `KMeans`.
    max_iter : int, default=300
        Most iterations of a run.
    tol : float, default=1e-4
        As for `KMeans`.
    random_state : int, RandomState instance or None, default=None
        Makes the starting centers reproducible; an int is the seed of each fit.
    algorithm : {"auto", "lloyd", "hamerly", "yinyang", "elkan"}, default="auto"
        As for `KMeans`; the result does not depend on it.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights, finite and not negative; None for 1 each.
    n_threads : int or None, default=None
        Threads; the result does not depend on it.

    Returns
    -------
    list of KMeans
        The fitted estimators, in the order of `n_clusters`.

    Raises
    ------
    ValueError
        For parameters, shapes and values that are not valid.
    TypeError
        For data that are not numbers.

    Notes
    -----
    Besides the labels of each fit (4 bytes a sample), runs under way take at most as many bytes as X, or
    64 MiB if that is more: as many runs advance together as that allows, one at least. Of sparse X runs are
    done one after the other.

    Examples
    --------
    >>> import numpy as np
    >>> from rust_kmeans import kmeans_sweep
    >>> X = np.array([[1, 2], [1, 4], [1, 0], [10, 2], [10, 4], [10, 0]])
    >>> [model.inertia_ for model in kmeans_sweep(X, [1, 2], random_state=0)]
    [137.5, 16.0]
    """
    if not (isinstance(init, str) or callable(init)):
        msg = "init must be 'k-means++', 'random' or a callable: centers fit one number of clusters only."
        raise ValueError(msg)
    models = [
        KMeans(
            k,
            init=init,
            n_init=n_init,
            max_iter=max_iter,
            tol=tol,
            random_state=random_state,
            algorithm=algorithm,
            n_threads=n_threads,
        )
        for k in n_clusters
    ]
    if not models:
        msg = "n_clusters is empty: at least one number of clusters is needed."
        raise ValueError(msg)
    _warn_of_duplicates(models, _fit_together(models, X, sample_weight))
    return models


def _fit_together(
    models: Sequence[KMeans],
    X: ArrayLike,
    sample_weight: ArrayLike | None,
    watch: FitWatch | None = None,
) -> list[int]:
    """Fit estimators that differ in what they start from alone; one, if it is watched.

    Return how many clusters of each have samples.
    """
    first = models[0]
    for model in models:
        # Others differ from the first in the number of clusters alone, and scikit-learn's check takes as long
        # as a fit of a thousand samples.
        if model is first or type(model.n_clusters) is not int or model.n_clusters < 1:
            model._validate_params()
    data = first._training_data(X)
    for model in models[1:]:
        validate_data(model, X, skip_check_array=True)
    for model in models:
        if data.shape[0] < model.n_clusters:
            msg = f"n_samples={data.shape[0]} should be >= n_clusters={model.n_clusters}."
            raise ValueError(msg)
        model._warn_of_parameters()
    weights = weights_of(sample_weight)

    def fit(starts: Sequence[Start]) -> list[Fit]:
        return _data.fit(
            data,
            starts,
            "hamerly" if first.algorithm == "elkan" else first.algorithm,
            sample_weight=weights,
            # More iterations than the kernel can count are as good as without end.
            max_iter=min(first.max_iter, sys.maxsize),
            tol=first.tol,
            spherical=first._spherical,
            n_threads=first.n_threads,
            watch=watch,
        )

    starts = [model._start(data) for model in models]
    fits = fit(starts) if watch is None else [watch.best(_runs_of(starts[0]), fit, data.dtype)]
    for model, fitted in zip(models, fits, strict=True):
        model._keep(fitted)
    return [distinct for *_, distinct in fits]


def _warn_of_duplicates(models: Sequence[KMeans], distinct: Sequence[int]) -> None:
    for model, found in zip(models, distinct, strict=True):
        if found < model.n_clusters:
            warnings.warn(
                f"Number of distinct clusters ({found}) found smaller than n_clusters "
                f"({model.n_clusters}). Possibly due to duplicate points in X.",
                ConvergenceWarning,
                # Whoever called `fit` or `kmeans_sweep`.
                stacklevel=3,
            )


def _runs_of(start: Start) -> list[list[Start]]:
    """Return what each run alone starts from, as `_core.fit` takes it."""
    if isinstance(start, list):
        return [[[centers]] for centers in start]
    init, n_clusters, seeds = start
    return [[(init, n_clusters, [seed])] for seed in seeds]


def _validated(constraints: dict[str, list[Any]], *, all_of_them: bool) -> Callable[[_Function], _Function]:
    """Return what makes a function refuse wrong parameters as scikit-learn's do, and leaves its type.

    Unless these are `all_of_them`, what the function calls checks the rest.
    """
    decorated: Callable[[_Function], _Function] = validate_params(
        constraints, prefer_skip_nested_validation=all_of_them
    )
    return decorated


@_validated(
    {
        "X": ["array-like", "sparse matrix"],
        "n_clusters": [Interval(Integral, 1, None, closed="left")],
        "sample_weight": ["array-like", None],
        "x_squared_norms": ["array-like", None],
        "random_state": ["random_state"],
        "n_local_trials": [Interval(Integral, 1, None, closed="left"), None],
        "n_threads": [Interval(Integral, 1, None, closed="left"), None],
    },
    all_of_them=True,
)
def kmeans_plusplus(
    X: ArrayLike,
    n_clusters: int,
    *,
    sample_weight: ArrayLike | None = None,
    x_squared_norms: ArrayLike | None = None,
    random_state: RandomState = None,
    n_local_trials: int | None = None,
    n_threads: int | None = None,
) -> tuple[Floats, NDArray[np.int64]]:
    """Draw starting centers by greedy k-means++.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Samples.
    n_clusters : int
        Number of centers, at most the number of samples.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights, finite and not negative; None for 1 each.
    x_squared_norms : array-like of shape (n_samples,), default=None
        Accepted for compatibility; only its length is looked at.
    random_state : int, RandomState instance or None, default=None
        Makes the draw reproducible.
    n_local_trials : int, default=None
        Samples tried for each center but the first; None for ``2 + int(log(n_clusters))``.
    n_threads : int or None, default=None
        Threads; the result does not depend on it.

    Returns
    -------
    centers : ndarray of shape (n_clusters, n_features), dtype of X
        The centers.
    indices : ndarray of shape (n_clusters,), int64
        ``X[indices]`` are the centers.

    Raises
    ------
    ValueError
        For parameters, shapes and values that are not valid.

    References
    ----------
    D. Arthur, S. Vassilvitskii, k-means++: the advantages of careful seeding, SODA 2007.

    Examples
    --------
    >>> import numpy as np
    >>> from rust_kmeans import kmeans_plusplus
    >>> X = np.array([[1.0, 2], [1, 4], [1, 0], [10, 2], [10, 4], [10, 0]])
    >>> centers, indices = kmeans_plusplus(X, 2, random_state=0)
    >>> bool((X[indices] == centers).all())
    True
    """
    data = check_array(X, accept_sparse="csr", dtype=FLOATS, ensure_all_finite=False)
    if data.shape[0] < n_clusters:
        msg = f"n_samples={data.shape[0]} should be >= n_clusters={n_clusters}."
        raise ValueError(msg)
    if x_squared_norms is not None:
        length = np.shape(x_squared_norms)[:1]
        if length != data.shape[:1]:
            msg = (
                f"The length of x_squared_norms {length} should be equal to the length of n_samples "
                f"{data.shape[:1]}."
            )
            raise ValueError(msg)
    [seed] = seeds_of(random_state, 1)
    return _data.kmeans_plusplus(
        _data.canonical(data),
        n_clusters,
        sample_weight=weights_of(sample_weight),
        seed=seed,
        n_local_trials=None if n_local_trials is None else min(n_local_trials, sys.maxsize),
        n_threads=n_threads,
    )


# Other parameters are checked by `fit`; its messages then name this function.
@_validated(
    {
        "X": ["array-like", "sparse matrix"],
        "sample_weight": ["array-like", None],
        "return_n_iter": [bool],
    },
    all_of_them=False,
)
def k_means(
    X: ArrayLike,
    n_clusters: int,
    *,
    sample_weight: ArrayLike | None = None,
    init: Init = "k-means++",
    n_init: int | Literal["auto"] = "auto",
    max_iter: int = 300,
    verbose: int = 0,
    tol: float = 1e-4,
    random_state: RandomState = None,
    copy_x: bool = True,
    algorithm: Algorithm = "auto",
    return_n_iter: bool = False,
    n_threads: int | None = None,
) -> tuple[Floats, NDArray[np.int32], float] | tuple[Floats, NDArray[np.int32], float, int]:
    """Fit `KMeans` and return what it found, as `sklearn.cluster.k_means`.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Samples.
    n_clusters : int
        Number of clusters, at most the number of samples.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights, finite and not negative; None for 1 each.
    init, n_init, max_iter, verbose, tol, random_state, copy_x, algorithm
        As for `KMeans`.
    return_n_iter : bool, default=False
        Whether the number of iterations is returned too.
    n_threads : int or None, default=None
        As for `KMeans`; the result does not depend on it.

    Returns
    -------
    centroid : ndarray of shape (n_clusters, n_features), dtype of X
        The centers.
    label : ndarray of shape (n_samples,), int32
        Nearest center of each sample; of equal distances the lowest index.
    inertia : float
        Weighted sum of squared distances to the nearest centers, in squared units of X.
    best_n_iter : int
        Iterations of the best run; only if `return_n_iter`.

    Raises
    ------
    ValueError
        For parameters, shapes and values that are not valid.
    TypeError
        For data that are not numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from rust_kmeans import k_means
    >>> X = np.array([[1, 2], [1, 4], [1, 0], [10, 2], [10, 4], [10, 0]])
    >>> centers, labels, inertia = k_means(X, 2, random_state=0)
    >>> inertia
    16.0
    """
    model = KMeans(
        n_clusters,
        init=init,
        n_init=n_init,
        max_iter=max_iter,
        tol=tol,
        verbose=verbose,
        random_state=random_state,
        copy_x=copy_x,
        algorithm=algorithm,
        n_threads=n_threads,
    ).fit(X, sample_weight=sample_weight)
    found = model.cluster_centers_, model.labels_, model.inertia_
    return (*found, model.n_iter_) if return_n_iter else found
