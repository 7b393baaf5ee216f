"""`MiniBatchKMeans` as scikit-learn's users know it."""

# scikit-learn ships no types.
# mypy: disallow-subclassing-any=False

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import validate_data

from rust_kmeans import _core, _data
from rust_kmeans._base import CentersMixin, Init, KeptFeatures, RandomState, seed_of, weights_of
from rust_kmeans._batches import Stream
from rust_kmeans._data import FLOATS, Floats, Samples, Weights


class MiniBatchKMeans(CentersMixin):
    """K-means on random batches, or on batches as they come, in place of `sklearn.cluster.MiniBatchKMeans`.

    Each step finds the nearest center of every sample of a batch and makes each center the mean of all
    samples it has taken in so far.

    Parameters
    ----------
    n_clusters : int, default=8
        Number of clusters, at most the number of samples.
    init : {"k-means++", "random"}, array-like of shape (n_clusters, n_features), or callable
        Starting centers, as for `KMeans`, found on `init_size` samples drawn with replacement, by weight;
        k-means++ tries eight times as many candidates for each.
    max_iter : int, default=100
        Most times that as many samples are drawn as there are.
    batch_size : int, default=1024
        Samples a step.
    verbose : int, default=0
        Whether to print the start, each step and the reason to stop.
    compute_labels : bool, default=True
        Whether `fit` finds the labels of all samples when the centers are found, and `partial_fit` those of
        its batch.
    random_state : int, RandomState instance or None, default=None
        Makes starting centers, batches and reassignments reproducible. They differ from those scikit-learn
        draws.
    tol : float, default=0.0
        `fit` stops when the summed squared shift of the centers in a step is at most `tol` times the mean
        variance of the features; 0 for never.
    max_no_improvement : int or None, default=10
        `fit` stops after so many steps in a row in which the moving average of the batches' inertia found no
        new minimum; None for never.
    init_size : int or None, default=None
        Samples drawn to find starting centers; None for three batches, or ``3 * n_clusters`` if those have
        fewer samples than clusters.
    n_init : "auto" or int, default="auto"
        Number of starts, of which the best on `init_size` samples is taken; "auto" is 3 for "random" and
        callables, else 1. `partial_fit` makes one.
    reassignment_ratio : float, default=0.01
        Centers that took in less than this share of what the largest did are put on random samples of the
        batch, whenever ``10 * n_clusters`` samples were seen or some center has taken in none; 0 for never.
    n_threads : int or None, default=None
        Threads; None for ``RAYON_NUM_THREADS`` or the CPUs at hand. The result does not depend on it.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features), dtype of X
        The centers.
    labels_ : ndarray of shape (n_samples,), int32
        Nearest center of each sample, of the last batch after `partial_fit`; of equal distances the lowest
        index. Only with `compute_labels`.
    inertia_ : float
        Weighted sum of squared distances to the nearest centers, in squared units of X; without
        `compute_labels`, what the moving average makes of it, and nothing after `partial_fit`.
    n_iter_ : int
        Times that as many samples were drawn as there are, begun ones included. After `fit` only.
    n_steps_ : int
        Batches taken in.
    n_features_in_ : int
        Features seen in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, if X had names.

    Notes
    -----
    `fit` draws each batch with replacement and by weight, from the samples in the order of their values: the
    centers do not depend on the order of X, and a sample of weight w counts as w equal samples, but for what
    a callable or "random" as `init` or a positive `tol` reads off X itself. What `max_iter`, `batch_size` and
    `init_size` take for the number of samples is the sum of the weights, but at least how many are positive.

    Sparse matrices are read in CSR form and never made dense; a step takes time for all centers, which are
    dense. They give the centers of the dense data, unless inertias that differ by rounding stop the fit at
    another step. float32 data stay float32, everything else is converted to float64. Labels are those of
    float64 distances. The result is the same bits for any number of threads.

    References
    ----------
    D. Sculley, Web-scale k-means clustering, WWW 2010.

    Examples
    --------
    >>> import numpy as np
    >>> from rust_kmeans import MiniBatchKMeans
    >>> X = np.array([[1, 2], [1, 4], [1, 0], [10, 2], [10, 4], [10, 0]])
    >>> model = MiniBatchKMeans(n_clusters=2, batch_size=6, random_state=0).fit(X)
    >>> sorted(np.bincount(model.labels_).tolist())
    [3, 3]
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_clusters": [Interval(Integral, 1, None, closed="left")],
        "init": [StrOptions({"k-means++", "random"}), callable, "array-like"],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "verbose": ["verbose"],
        "compute_labels": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "max_no_improvement": [Interval(Integral, 0, None, closed="left"), None],
        "init_size": [Interval(Integral, 1, None, closed="left"), None],
        "n_init": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "reassignment_ratio": [Interval(Real, 0, None, closed="left")],
        "n_threads": [Interval(Integral, 1, None, closed="left"), None],
    }

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: Init = "k-means++",
        max_iter: int = 100,
        batch_size: int = 1024,
        verbose: int = 0,
        compute_labels: bool = True,
        random_state: RandomState = None,
        tol: float = 0.0,
        max_no_improvement: int | None = 10,
        init_size: int | None = None,
        n_init: int | Literal["auto"] = "auto",
        reassignment_ratio: float = 0.01,
        n_threads: int | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.init = init
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.verbose = verbose
        self.compute_labels = compute_labels
        self.random_state = random_state
        self.tol = tol
        self.max_no_improvement = max_no_improvement
        self.init_size = init_size
        self.n_init = n_init
        self.reassignment_ratio = reassignment_ratio
        self.n_threads = n_threads

    def fit(self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None) -> Self:
        """Find the centers from random batches of X.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.
        y : ignored
            For scikit-learn's interface.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights, finite and not negative; None for 1 each. Batches are drawn by them.

        Returns
        -------
        MiniBatchKMeans
            Itself.

        Raises
        ------
        ValueError
            For parameters, shapes and values that are not valid.
        TypeError
            For data that are not numbers.
        """
        with KeptFeatures(self):
            self._fit(X, sample_weight)
        return self

    def _fit(self, X: ArrayLike, sample_weight: ArrayLike | None) -> None:
        self._validate_params()
        data: Samples = _data.canonical(
            validate_data(self, X, accept_sparse="csr", dtype=FLOATS, ensure_all_finite=False)
        )
        weights = weights_of(sample_weight)
        sampler = self._check(data, weights)
        random_state = check_random_state(self.random_state)
        n_steps = min(self.max_iter * sampler.n_samples // self._batch_size, sys.maxsize)
        running, (self.n_steps_, inertia), labelled = _data.minibatch_fit(
            data,
            self._best_start(data, weights, sampler, random_state),
            sampler,
            sample_weight=weights,
            seed=seed_of(random_state),
            batch_size=self._batch_size,
            n_steps=n_steps,
            tol=self.tol,
            max_no_improvement=(
                None if self.max_no_improvement is None else min(self.max_no_improvement, sys.maxsize)
            ),
            reassignment_ratio=self.reassignment_ratio,
            compute_labels=self.compute_labels,
            watch=_Printer(n_steps) if self.verbose else None,
            n_threads=self.n_threads,
        )
        self._keep(running)
        self.n_iter_ = math.ceil(self.n_steps_ * self._batch_size / sampler.n_samples)
        if labelled is None:
            self.inertia_ = inertia * (data.shape[0] if weights is None else float(weights.sum()))
        else:
            self.labels_, self.inertia_ = labelled

    def partial_fit(self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None) -> Self:
        """Move the centers by one batch; the first one also starts them.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The batch: of any size, the first one of at least `n_clusters` samples. The dtype of the first one
            is that of the centers, to which others are converted.
        y : ignored
            For scikit-learn's interface.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights, finite and not negative, one positive at least; None for 1 each.

        Returns
        -------
        MiniBatchKMeans
            Itself.

        Raises
        ------
        ValueError
            For parameters, shapes and values that are not valid.
        TypeError
            For data that are not numbers.
        """
        self._validate_params()
        with KeptFeatures(self):
            return self._step(self._to_batch()(X), weights_of(sample_weight))

    def partial_fit_stream(self, batches: object) -> Self:
        """Call `partial_fit` for a stream, read once: a step for each `batch_size` rows.

        The result does not depend on how the stream is cut into batches.

        Parameters
        ----------
        batches : iterable, callable, path, array, data frame, or pyarrow table or dataset
            Batches: arrays, sparse matrices, data frames, pyarrow tables, record batches, datasets and
            Parquet files, paths of ``.npy`` and Parquet files and folders of the latter, or tuples of an
            array, sparse matrix, data frame, table or record batch and its weights. Or a function that
            returns an iterable of batches, or one such path, array (which may be memory-mapped), sparse
            matrix, data frame or pyarrow object alone. A generator will do. Batches get the dtype of the
            first, and those with named columns must have its names in its order.

        Returns
        -------
        MiniBatchKMeans
            Itself.

        Raises
        ------
        ValueError
            For parameters, shapes and values that are not valid, and a stream without rows.
        TypeError
            For what is no stream.
        ImportError
            For Parquet files without pyarrow.
        """
        self._validate_params()
        block = None
        with KeptFeatures(self):
            for block in Stream(batches, self._to_batch(), n_rows=self.batch_size):
                self._step(*block)
        if block is None:
            msg = "The stream has no rows: at least one batch is needed."
            raise ValueError(msg)
        return self

    def _to_batch(self) -> Callable[[ArrayLike], Samples]:
        """Return what makes batches as the kernel reads them, alike to those taken in before."""
        dtype = self.cluster_centers_.dtype if hasattr(self, "cluster_centers_") else None
        return self._converter(dtype, accept_sparse="csr")

    def _step(self, batch: Samples, weights: Weights) -> Self:
        if not hasattr(self, "cluster_centers_"):
            sampler = self._check(batch, weights)
            self._random_state = check_random_state(self.random_state)
            centers = self._start(batch, weights, sampler, self._random_state)
            self._keep((centers, np.zeros(self.n_clusters), 0))
        elif not hasattr(self, "_random_state"):
            # After `fit`.
            self._random_state = check_random_state(self.random_state)
        running, _, n_reassigned = _data.minibatch_step(
            batch,
            (self.cluster_centers_, self._counts, self._n_since_last_reassign),
            sample_weight=weights,
            seed=seed_of(self._random_state),
            reassignment_ratio=self.reassignment_ratio,
            n_threads=self.n_threads,
        )
        self._keep(running)
        self.n_steps_ = getattr(self, "n_steps_", 0) + 1
        if self.verbose:
            _print_reassigned(n_reassigned)
        if self.compute_labels:
            self.labels_ = _data.predict(batch, self.cluster_centers_, self.n_threads)
            self.inertia_ = _data.inertia(batch, self.cluster_centers_, self.labels_, weights, self.n_threads)
        return self

    def _check(self, X: Samples, weights: Weights) -> _core.Sampler:
        """Refuse what cannot be drawn from; set how many are drawn at a time. Return what draws."""
        sampler = _data.sampler(X, weights, self.n_threads)
        if X.shape[0] < self.n_clusters:
            msg = f"n_samples={X.shape[0]} should be >= n_clusters={self.n_clusters}."
            raise ValueError(msg)
        n_samples = sampler.n_samples
        self._batch_size = min(self.batch_size, n_samples)
        size = 3 * self._batch_size if self.init_size is None else self.init_size
        if size < self.n_clusters:
            if self.init_size is not None:
                warnings.warn(
                    f"init_size={self.init_size} should be larger than n_clusters={self.n_clusters}. "
                    "Setting it to min(3*n_clusters, n_samples)",
                    RuntimeWarning,
                    # Whoever called `fit` or `partial_fit`.
                    stacklevel=4,
                )
            size = 3 * self.n_clusters
        self._init_size = min(size, n_samples)
        self._n_init = self._runs(3)
        self._warn_of_n_init(stacklevel=5)
        return sampler

    def _best_start(
        self, X: Samples, weights: Weights, sampler: _core.Sampler, random_state: np.random.RandomState
    ) -> Floats:
        """Return the starting centers of least inertia on some samples."""
        # Samples drawn by weight weigh the same.
        sample = X[sampler.draw(self._init_size, seed_of(random_state))]
        starts: list[tuple[float, Floats]] = []
        for run in range(1, self._n_init + 1):
            if self.verbose:
                _say(f"Init {run}/{self._n_init} with method {self.init}")
            centers = self._start(X, weights, sampler, random_state)
            labels = _data.predict(sample, centers, self.n_threads)
            inertia = _data.inertia(sample, centers, labels, None, self.n_threads)
            if self.verbose:
                _say(f"Inertia for init {run}/{self._n_init}: {inertia}")
            starts.append((inertia, centers))
        return min(starts, key=lambda start: start[0])[1]

    def _start(
        self, X: Samples, weights: Weights, sampler: _core.Sampler, random_state: np.random.RandomState
    ) -> Floats:
        """Return starting centers found on `init_size` samples."""
        init: Any = self.init
        if not (isinstance(init, str) or callable(init)):
            return self._given(X, init)
        if self._init_size < sampler.n_samples:
            # Drawn by weight, the samples weigh the same, and none is of weight zero.
            X = X[sampler.draw(self._init_size, seed_of(random_state))]
            weights = None
        if callable(init):
            return self._given(X, init(X, self.n_clusters, random_state=random_state))
        seed = seed_of(random_state)
        if init == "random":
            return _data.random_rows(X, self.n_clusters, sample_weight=weights, seed=seed)
        return _data.kmeans_plusplus(
            X,
            self.n_clusters,
            sample_weight=weights,
            seed=seed,
            # Eight times the usual number: on a sample they cost little, and few steps leave a bad start.
            n_local_trials=8 * (2 + int(math.log(self.n_clusters))),
            n_threads=self.n_threads,
        )[0]

    def _keep(self, running: tuple[Floats, NDArray[np.float64], int]) -> None:
        self.cluster_centers_, self._counts, self._n_since_last_reassign = running
        self._n_features_out = self.n_clusters


class _Printer:
    """Prints what `_core.minibatch_fit` tells of each step."""

    def __init__(self, n_steps: int) -> None:
        self._n_steps = n_steps

    def __call__(
        self,
        step: int,
        n_reassigned: int,
        mean_inertia: float,
        ewa_inertia: float | None,
        stop: Literal["shift", "no improvement"] | None,
    ) -> None:
        _print_reassigned(n_reassigned)
        smoothed = "" if ewa_inertia is None else f", ewa inertia: {ewa_inertia}"
        at = f"step {step}/{self._n_steps}"
        _say(f"Minibatch {at}: mean batch inertia: {mean_inertia}{smoothed}")
        if stop is not None:
            reason = "small centers change" if stop == "shift" else "lack of improvement in inertia"
            _say(f"Converged ({reason}) at {at}")


def _print_reassigned(n_reassigned: int) -> None:
    if n_reassigned > 0:
        _say(f"[MiniBatchKMeans] Reassigning {n_reassigned} cluster centers.")


def _say(line: str) -> None:
    print(line)  # noqa: T201  # what `verbose` is for
