"""What the estimators share: everything that reads centers already found."""

# scikit-learn ships no types.
# mypy: disallow-subclassing-any=False

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin
from sklearn.metrics import euclidean_distances
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from rust_kmeans import _core, _data
from rust_kmeans._data import FLOATS, Floats, InitName, Samples, Weights
from rust_kmeans._state import VersionedState

RandomState = int | np.random.RandomState | None
# A callable is called as `init(X, n_clusters, random_state=random_state)`.
Init = InitName | ArrayLike | Callable[..., ArrayLike]

# What scikit-learn's validation sets.
_OF_FEATURES = ("n_features_in_", "feature_names_in_")


class CentersMixin(
    VersionedState, ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, BaseEstimator, ABC
):
    """An estimator whose model is `cluster_centers_`, of shape (n_clusters, n_features)."""

    n_clusters: int
    init: Init
    n_init: int | Literal["auto"]
    n_threads: int | None
    cluster_centers_: Floats
    labels_: NDArray[np.int32]

    @abstractmethod
    def fit(self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None) -> Self:
        """Find the centers."""

    def fit_predict(
        self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None
    ) -> NDArray[np.int32]:
        """Find the centers; return the label of each sample.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples, as `fit` takes them.
        y : ignored
            For scikit-learn's interface.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights, finite and not negative; None for 1 each.

        Returns
        -------
        ndarray of shape (n_samples,), int32
            `labels_`.

        Raises
        ------
        ValueError
            For parameters, shapes and values that are not valid.
        TypeError
            For data that are not numbers.
        """
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
        """Return the distance of each sample to each center.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples, converted to the dtype of the centers.

        Returns
        -------
        ndarray of shape (n_samples, n_clusters), dtype of the centers
            Euclidean distances, in units of X.

        Raises
        ------
        ValueError
            For shapes and values that are not valid.
        """
        distances: Floats = euclidean_distances(self._samples(X), self.cluster_centers_)
        return distances

    def fit_transform(self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None) -> Floats:
        """Find the centers; return the distance of each sample to each of them.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples, as `fit` takes them.
        y : ignored
            For scikit-learn's interface.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights, finite and not negative; None for 1 each.

        Returns
        -------
        ndarray of shape (n_samples, n_clusters), dtype of the centers
            As `transform` returns.

        Raises
        ------
        ValueError
            For parameters, shapes and values that are not valid.
        TypeError
            For data that are not numbers.
        """
        return self.fit(X, sample_weight=sample_weight).transform(X)

    def score(self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None) -> float:
        """Return the negative of the inertia of X under the centers.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples, converted to the dtype of the centers.
        y : ignored
            For scikit-learn's interface.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights, finite and not negative; None for 1 each.

        Returns
        -------
        float
            The negative of the weighted sum of squared distances to the nearest centers, in squared units
            of X.

        Raises
        ------
        ValueError
            For shapes and values that are not valid, and weights that are all zero.
        """
        data = self._samples(X)
        weights = weights_of(sample_weight)
        if weights is not None and not weights.any():
            msg = "every sample_weight is zero: at least one weight must be positive"
            raise ValueError(msg)
        labels = _data.predict(data, self.cluster_centers_, self.n_threads)
        return -_data.inertia(data, self.cluster_centers_, labels, weights, self.n_threads)

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

    def _converter(
        self,
        dtype: Any = None,  # noqa: ANN401  # a dtype or none
        *,
        accept_sparse: Literal["csr", False] = False,
    ) -> Callable[[ArrayLike], Samples]:
        """Return what makes matrices of batches.

        All have one dtype, that of the first unless given, and the same features: those of `fit` if a dtype
        is given, else those of the first.
        """

        def convert(X: ArrayLike) -> Samples:
            nonlocal dtype
            is_first = dtype is None
            batch = validate_data(
                self,
                X,
                reset=is_first,
                accept_sparse=accept_sparse,
                dtype=FLOATS if is_first else dtype,
                ensure_all_finite=False,
            )
            dtype = batch.dtype
            return _data.canonical(batch)

        return convert

    def _runs(self, several: int) -> int:
        """Return `n_init`, 1 for given centers; for "auto" one run where one is enough, else `several`."""
        if self._is_given():
            return 1
        if self.n_init != "auto":
            return self.n_init
        return several if callable(self.init) or self.init == "random" else 1

    def _is_given(self) -> bool:
        """Return whether `init` is the starting centers themselves."""
        return not (isinstance(self.init, str) or callable(self.init))

    def _warn_of_n_init(self, stacklevel: int) -> None:
        """Warn, as scikit-learn does, of restarts from given centers, which are not done."""
        if self.n_init not in ("auto", 1) and self._is_given():
            warnings.warn(
                "Explicit initial center position passed: performing only one init in "
                f"{type(self).__name__} instead of n_init={self.n_init}.",
                RuntimeWarning,
                stacklevel=stacklevel,
            )

    def _given(self, X: Samples, start: Any) -> Floats:  # noqa: ANN401  # whatever a callable returns
        # The kernel checks values itself; an array of the right type needs no more.
        is_ready = (
            isinstance(start, np.ndarray)
            and (start.dtype is X.dtype or start.dtype == X.dtype)
            and start.flags.aligned
            and start.ndim == 2
        )
        centers: Floats = start if is_ready else _data.canonical(check_array(start, dtype=X.dtype))
        if centers.shape != (self.n_clusters, X.shape[1]):
            name, expected = "number of clusters", self.n_clusters
            if len(centers) == expected:
                name, expected = "number of features of the data", X.shape[1]
            msg = f"The shape of the initial centers {centers.shape} does not match the {name} {expected}."
            raise ValueError(msg)
        return centers

    def __sklearn_tags__(self) -> Any:  # noqa: ANN401  # scikit-learn's own type, which it does not publish
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


class KeptFeatures:
    """Puts the features an estimator saw before back if what is done with it raises and finds no centers.

    The centers that it has then go on predicting for the data they were found for.
    """

    # A class, since to enter and leave a generator takes twice as long.
    __slots__ = ("_before", "_centers", "_state")

    def __init__(self, model: CentersMixin) -> None:
        self._state = state = model.__dict__
        self._before = {name: state[name] for name in _OF_FEATURES if name in state}
        self._centers = state.get("cluster_centers_")

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and self._state.get("cluster_centers_") is self._centers:
            for name in _OF_FEATURES:
                self._state.pop(name, None)
            self._state.update(self._before)


def weights_of(sample_weight: ArrayLike | None) -> Weights:
    """Return weights as the kernel, which checks their values, reads them; refuse what are none."""
    if sample_weight is None:
        return None
    if not (type(sample_weight) is np.ndarray and sample_weight.dtype.kind in "biuf"):
        sample_weight = check_array(
            sample_weight,
            dtype=np.float64,
            ensure_2d=False,
            ensure_all_finite=False,
            ensure_min_samples=0,
            input_name="sample_weight",
        )
    weights: NDArray[np.float64] = np.require(sample_weight, np.float64, "A")
    if weights.ndim != 1:
        msg = f"Sample weights must be 1D array or None, got {weights.ndim} dimensions"
        raise ValueError(msg)
    return weights


def seeds_of(random_state: RandomState, count: int) -> list[int]:
    """Draw seeds for the kernel: the first of ``check_random_state(random_state)``."""
    if type(random_state) is int and 0 <= random_state < 2**32:
        return _core.seeds(random_state, count)
    generator = check_random_state(random_state)
    return [seed_of(generator) for _ in range(count)]


def seed_of(random_state: np.random.RandomState) -> int:
    """Draw a seed for the kernel."""
    return int(random_state.randint(2**63, dtype=np.int64))
