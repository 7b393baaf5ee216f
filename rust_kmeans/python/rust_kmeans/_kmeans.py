"""`KMeans` as scikit-learn's users know it, and many fits at once."""

# scikit-learn ships no types.
# mypy: disallow-subclassing-any=False

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import euclidean_distances
from sklearn.utils import check_array, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from rust_kmeans import _data
from rust_kmeans._data import Algorithm, Floats, InitName, Samples, Start, Weights

RandomState = int | np.random.RandomState | None
Init = InitName | ArrayLike | Callable[[Samples, int, np.random.RandomState], ArrayLike]

_FLOATS: list[type[np.floating[Any]]] = [np.float64, np.float32]


class KMeans(ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, BaseEstimator):
    """Exact k-means: Lloyd's algorithm, in parallel, in place of `sklearn.cluster.KMeans`.

    Parameters
    ----------
    n_clusters : int, default=8
        Number of clusters, at most the number of samples.
    init : {"k-means++", "k-means||", "random"}, array-like of shape (n_clusters, n_features), or callable
        Starting centers: greedy k-means++, k-means|| (five rounds that draw about 2 * `n_clusters` candidates
        each, then greedy k-means++ on them), random samples, the centers themselves, or a function
        ``init(X, n_clusters, random_state)`` that returns them.
    n_init : "auto" or int, default="auto"
        Number of runs, the best of which is kept; "auto" is 10 for "random" and callables, else 1. Runs share
        each pass over X; the result is that of one run after the other.
    max_iter : int, default=300
        Most iterations of a run.
    tol : float, default=1e-4
        A run stops when the summed squared shift of its centers is at most `tol` times the mean variance of
        the features; 0 stops when no label changes.
    verbose : int, default=0
        Accepted for compatibility; nothing is printed.
    random_state : int, RandomState instance or None, default=None
        Makes the starting centers reproducible. They differ from those scikit-learn draws.
    copy_x : bool, default=True
        Accepted for compatibility; X is not changed.
    algorithm : {"auto", "lloyd", "hamerly"}, default="auto"
        How labels are found: distances to all centers for every sample ("lloyd"), or only for samples whose
        label is not proven by bounds ("hamerly", 4 or 8 bytes a sample). "auto" chooses for each iteration.
        The result does not depend on it; sparse X always takes "lloyd".
    n_threads : int or None, default=None
        Threads; None for ``RAYON_NUM_THREADS`` or the CPUs at hand. The result does not depend on it.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features), dtype of X
        The centers.
    labels_ : ndarray of shape (n_samples,), int32
        Nearest center of each sample; of equal distances the lowest index.
    inertia_ : float
        Weighted sum of squared distances to the nearest centers, in squared units of X.
    n_iter_ : int
        Iterations of the best run.
    algorithm_ : {"lloyd", "hamerly"}
        What the best run used: "hamerly" if bounds proved labels in some iteration.
    n_features_in_ : int
        Features seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, if X had names.

    Notes
    -----
    float32 data stay float32, everything else is converted to float64. Fortran order and other strides are
    read in place. Relocation of empty clusters and stopping rules are those of scikit-learn.

    Sparse X is never made dense: SciPy's CSR matrices and arrays are read in place (after a copy if indices
    are unsorted or occur twice), other formats are converted to CSR. Labels and centers are the same bits as
    those of the dense data from the same start (with a `tol` that does not fall between them by rounding),
    `inertia_` is the same up to rounding. ``init="k-means||"`` takes dense X only.

    References
    ----------
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
        "init": [StrOptions({"k-means++", "k-means||", "random"}), callable, "array-like"],
        "n_init": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
        "copy_x": ["boolean"],
        "algorithm": [StrOptions({"auto", "lloyd", "hamerly"})],
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
        _fit_together([self], X, sample_weight)
        return self

    def fit_predict(
        self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None
    ) -> NDArray[np.int32]:
        """Find the centers; return `labels_`, shape (n_samples,). Parameters and errors as in `fit`."""
        return self.fit(X, sample_weight=sample_weight).labels_

    def predict(self, X: ArrayLike) -> NDArray[np.int32]:
        """Return the index of the nearest center of each sample.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples, converted to the dtype of the centers.

        Returns
        -------
        ndarray of shape (n_samples,), int32
            Labels; of equal distances the lowest index.

        Raises
        ------
        ValueError
            For shapes and values that are not valid.
        """
        return _data.predict(self._samples(X), self.cluster_centers_, self.n_threads)

    def transform(self, X: ArrayLike) -> Floats:
        """Return the distance of each sample to each center, shape (n_samples, n_clusters), in units of X."""
        distances: Floats = euclidean_distances(self._samples(X), self.cluster_centers_)
        return distances

    def fit_transform(self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None) -> Floats:
        """Find the centers; return the distances to them, as `transform`."""
        return self.fit(X, sample_weight=sample_weight).transform(X)

    def score(self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None) -> float:
        """Return the negative of the inertia of X under the centers, in squared units of X."""
        data = self._samples(X)
        labels = _data.predict(data, self.cluster_centers_, self.n_threads)
        weights = _weights(sample_weight)
        return -_data.inertia(data, self.cluster_centers_, labels, weights, self.n_threads)

    def _has_plain_params(self) -> bool:
        """Return whether the parameters are of the plainest types and certainly valid.

        scikit-learn's own check takes as long as a fit of a thousand samples; it is left to what this one
        does not know.
        """
        return (
            _is_count(self.n_clusters)
            and (type(self.init) is np.ndarray or _is_one_of(self.init, ("k-means++", "k-means||", "random")))
            and (_is_count(self.n_init) or _is_one_of(self.n_init, ("auto",)))
            and _is_count(self.max_iter)
            and type(self.tol) in (int, float)
            and 0 <= self.tol < np.inf
            and type(self.verbose) is int
            and self.verbose == 0
            and (self.random_state is None or type(self.random_state) is int)
            and self.copy_x is True
            and _is_one_of(self.algorithm, ("auto", "lloyd", "hamerly"))
            and (self.n_threads is None or _is_count(self.n_threads))
        )

    def _training_data(self, X: ArrayLike) -> Samples:
        """Return X as the kernel reads it; set the number of features and their names.

        The kernel checks that values are finite in a pass it needs anyway, and says where they are not.
        """
        if type(X) is np.ndarray and X.dtype in _FLOATS and X.ndim == 2 and X.size > 0:
            # What scikit-learn's validation, which takes as long as a small fit, would end in.
            self.n_features_in_ = X.shape[1]
            if hasattr(self, "feature_names_in_"):
                del self.feature_names_in_
            return X
        data = validate_data(self, X, accept_sparse="csr", dtype=_FLOATS, ensure_all_finite=False)
        return _data.canonical(data)

    def _samples(self, X: ArrayLike) -> Samples:
        check_is_fitted(self)
        samples = validate_data(
            self,
            X,
            reset=False,
            accept_sparse="csr",
            dtype=self.cluster_centers_.dtype,
            ensure_all_finite=False,
        )
        return _data.canonical(samples)

    def _runs(self) -> int:
        if self.n_init != "auto":
            return self.n_init
        return 1 if isinstance(self.init, str) and self.init != "random" else 10

    def _start(self, X: Samples) -> Start:
        """Return what the kernel starts from, for each run."""
        init: Any = self.init
        if not (isinstance(init, str) or callable(init)):
            # Nothing is drawn, and making a generator takes longer than a small fit.
            return [self._given(X, init)]
        runs = self._runs()
        random_state = check_random_state(self.random_state)
        if isinstance(init, str):
            # Validated before: one of the names that the kernel knows.
            name = cast(InitName, init)
            seeds = [int(random_state.randint(2**63, dtype=np.int64)) for _ in range(runs)]
            return name, self.n_clusters, seeds
        return [self._given(X, init(X, self.n_clusters, random_state)) for _ in range(runs)]

    def _given(self, X: Samples, start: Any) -> Floats:  # noqa: ANN401  # whatever a callable returns
        # The kernel checks values itself; an array of the right type needs no more.
        ready = isinstance(start, np.ndarray) and start.dtype == X.dtype and start.ndim == 2
        centers: Floats = start if ready else check_array(start, dtype=X.dtype)
        if centers.shape != (self.n_clusters, X.shape[1]):
            msg = (
                f"The shape of the initial centers {centers.shape} does not match "
                f"(n_clusters={self.n_clusters}, n_features={X.shape[1]})."
            )
            raise ValueError(msg)
        return centers

    def _keep(
        self,
        centers: Floats,
        labels: NDArray[np.int32],
        inertia: float,
        n_iter: int,
        algorithm: Literal["lloyd", "hamerly"],
        distinct: int,
    ) -> None:
        self.cluster_centers_, self.labels_, self.inertia_ = centers, labels, inertia
        self.n_iter_, self.algorithm_ = n_iter, algorithm
        self._n_features_out = self.n_clusters
        if distinct < self.n_clusters:
            warnings.warn(
                f"Number of distinct clusters ({distinct}) found smaller than n_clusters "
                f"({self.n_clusters}). Possibly due to duplicate points in X.",
                ConvergenceWarning,
                # Whoever called `fit` or `kmeans_sweep`.
                stacklevel=4,
            )

    def __sklearn_tags__(self) -> Any:  # noqa: ANN401  # scikit-learn's own type, which it does not publish
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


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
    algorithm : {"auto", "lloyd", "hamerly"}, default="auto"
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
    _fit_together(models, X, sample_weight)
    return models


def _fit_together(models: Sequence[KMeans], X: ArrayLike, sample_weight: ArrayLike | None) -> None:
    """Fit estimators that differ in what they start from alone."""
    first = models[0]
    for model in models:
        if not model._has_plain_params():
            model._validate_params()
    data = first._training_data(X)
    for model in models[1:]:
        validate_data(model, X, skip_check_array=True)
    for model in models:
        if data.shape[0] < model.n_clusters:
            msg = f"n_samples={data.shape[0]} should be >= n_clusters={model.n_clusters}."
            raise ValueError(msg)
    weights = _weights(sample_weight)
    fits = _data.fit(
        data,
        [model._start(data) for model in models],
        sample_weight=weights,
        max_iter=first.max_iter,
        tol=first.tol,
        algorithm=first.algorithm,
        spherical=first._spherical,
        n_threads=first.n_threads,
    )
    for model, fit in zip(models, fits, strict=True):
        model._keep(*fit)


def kmeans_plusplus(
    X: ArrayLike,
    n_clusters: int,
    *,
    sample_weight: ArrayLike | None = None,
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
    """
    data = check_array(X, accept_sparse="csr", dtype=_FLOATS, ensure_all_finite=False)
    seed = int(check_random_state(random_state).randint(2**63, dtype=np.int64))
    return _data.kmeans_plusplus(
        _data.canonical(data),
        n_clusters,
        sample_weight=_weights(sample_weight),
        seed=seed,
        n_local_trials=n_local_trials,
        n_threads=n_threads,
    )


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 1


def _is_one_of(value: object, words: tuple[str, ...]) -> bool:
    return type(value) is str and value in words


def _weights(sample_weight: ArrayLike | None) -> Weights:
    if sample_weight is None:
        return None
    weights = np.asarray(sample_weight, dtype=np.float64)
    if weights.ndim != 1:
        msg = f"Sample weights must be 1D array or None, got {weights.ndim} dimensions"
        raise ValueError(msg)
    return weights
