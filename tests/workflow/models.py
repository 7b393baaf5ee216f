"""Models for tests: fitted to rows that are prepared in the simplest way."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rust_kmeans import KMeans
from rust_kmeans.workflow import ClusterModel, Preparation, StatisticsBuilder

Values = NDArray[np.float64]


def prepared(
    values: Values, dtype: Literal["float32", "float64"] = "float64", names: tuple[str, ...] | None = None
) -> Preparation:
    """Standardise the columns; what is missing counts as the mean."""
    mean, deviation = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
    n_features = values.shape[1]
    return Preparation(
        names=names or tuple(f"x{j}" for j in range(n_features)),
        fill=mean,
        lower=np.full(n_features, -np.inf),
        upper=np.full(n_features, np.inf),
        offset=mean,
        divisor=np.where(deviation > 0, deviation, 1.0),
        dtype=dtype,
        scale="standard",
        missing="mean",
    )


def fitted(
    values: Values, n_clusters: int = 3, preparation: Preparation | None = None, **parameters: Any
) -> ClusterModel:
    """Fit a model and compute its statistics."""
    preparation = preparation or prepared(values)
    features = preparation.features(values)
    kmeans = KMeans(n_clusters, n_init=1, random_state=0).fit(features)
    builder = StatisticsBuilder(preparation, kmeans.cluster_centers_)
    builder.add(values)
    found = {"n_clusters": n_clusters, "inertia": kmeans.inertia_, "n_iter": kmeans.n_iter_, **parameters}
    return ClusterModel(kmeans.cluster_centers_, preparation, builder.finish(n_left_out=0), found)


def blobs(n_samples: int, n_features: int = 3, seed: int = 0) -> Values:
    """Draw rows of four clusters."""
    random = np.random.default_rng(seed)
    centers = np.random.default_rng(99).uniform(-6, 6, size=(4, n_features))
    values: Values = centers[random.integers(4, size=n_samples)] + random.normal(size=(n_samples, n_features))
    return values
