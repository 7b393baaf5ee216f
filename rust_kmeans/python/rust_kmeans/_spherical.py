"""`SphericalKMeans`: clusters of directions."""

# scikit-learn ships no types.
# mypy: disallow-subclassing-any=False

from __future__ import annotations

from typing import Any, ClassVar, Self

from numpy.typing import ArrayLike
from sklearn.metrics.pairwise import cosine_distances

from rust_kmeans import _data
from rust_kmeans._data import Floats, Samples
from rust_kmeans._kmeans import KMeans


class SphericalKMeans(KMeans):
    """Spherical k-means: clusters samples by the cosine of the angle between them, exactly and in parallel.

    Samples are scaled to unit length; a center is the mean of its samples, scaled to unit length. A sample's
    label is that of the nearest center, the one with the largest cosine. Fits minimise the sum of squared
    euclidean distances on the unit sphere, Σ w ‖x − c‖² = 2 Σ w (1 − cos(x, c)), by Lloyd's algorithm.

    Parameters
    ----------
    n_clusters, init, n_init, max_iter, tol, verbose, random_state, copy_x, algorithm, n_threads
        As for `KMeans`; starting centers that are given are scaled to unit length too.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features), dtype of X
        The centers, of unit length.
    labels_ : ndarray of shape (n_samples,), int32
        Nearest center of each sample; of equal distances the lowest index.
    inertia_ : float
        Weighted sum of 2 (1 − cos) between the samples and their centers; without unit.
    inertia_history_ : ndarray of shape (`n_iter_`,), float64
        For each iteration of the best run the inertia of the labels it found, as for `KMeans`.
    n_iter_ : int
        Iterations of the best run.
    algorithm_ : {"lloyd", "hamerly", "yinyang"}
        What the best run used, as for `KMeans`.
    n_features_in_ : int
        Features seen in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, if X had names.

    Notes
    -----
    X is dense or sparse and not changed: a copy is scaled, in float64, and keeps the dtype of X. Sparse X
    stays sparse. A sample of zeros has no direction and is refused by its row. A cluster whose samples
    cancel keeps its center. `tol` is relative to the mean variance of the scaled samples. Labels and bits
    are exact as for `KMeans`, for the scaled samples.

    References
    ----------
    I. S. Dhillon, D. S. Modha, Concept decompositions for large sparse text data using clustering, Machine
    Learning 42 (2001).

    Examples
    --------
    >>> import numpy as np
    >>> from rust_kmeans import SphericalKMeans
    >>> X = np.array([[1, 0.1], [20, 1], [0.1, 1], [1, 20]])
    >>> SphericalKMeans(n_clusters=2, init=X[[0, 2]]).fit(X).labels_
    array([0, 0, 1, 1], dtype=int32)
    """

    _spherical: ClassVar[bool] = True

    def fit_stream(self, batches: object) -> Self:
        """Refuse: streams are not scaled, and their means are not either.

        Parameters
        ----------
        batches : ignored
            As for `KMeans`.

        Returns
        -------
        SphericalKMeans
            Never.

        Raises
        ------
        TypeError
            Always.
        """
        msg = "SphericalKMeans has no fit_stream: use fit, or KMeans.fit_stream for euclidean distances."
        raise TypeError(msg)

    def transform(self, X: ArrayLike) -> Floats:
        """Return the cosine distance of each sample to each center.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples, converted to the dtype of the centers.

        Returns
        -------
        ndarray of shape (n_samples, n_clusters), dtype of the centers
            1 − cos, from 0 to 2.

        Raises
        ------
        ValueError
            For shapes and values that are not valid, and samples of zeros.
        """
        distances: Floats = cosine_distances(self._samples(X), self.cluster_centers_)
        return distances

    def score(self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None) -> float:
        """Return the negative of what `fit` makes small.

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
            The negative of the weighted sum of 2 (1 − cos) between the samples and their centers.

        Raises
        ------
        ValueError
            For shapes and values that are not valid, and samples of zeros.
        """
        return super().score(X, y, sample_weight)

    def _training_data(self, X: ArrayLike) -> Samples:
        return _data.unit_rows(super()._training_data(X))

    def _samples(self, X: ArrayLike) -> Samples:
        return _data.unit_rows(super()._samples(X))

    def _given(self, X: Samples, start: Any) -> Floats:  # noqa: ANN401  # whatever a callable returns
        centers: Floats = _data.unit_rows(super()._given(X, start))
        return centers
