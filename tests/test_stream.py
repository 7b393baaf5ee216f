"""Fits over streams: `KMeans.fit_stream` is `fit`, bit for bit, in bounded memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

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
    start: Any = {"given": X[:k], "callable": lambda X, k, _: X[-k:]}.get(init, init)
    model = KMeans(k, init=start, n_init=1 if init == "given" else 2, tol=tol, max_iter=20, random_state=seed)
    edges = [0, *sorted(min(cut, n) for cut in cuts), n]
    pieces = [slice(a, b) for a, b in zip(edges, edges[1:], strict=False)]
    stream = [X[piece] if weights is None else (X[piece], weights[piece]) for piece in pieces]
    with np.errstate(all="ignore"):
        streamed = _quietly(lambda: _clone(model).fit_stream(stream))
        in_memory = _quietly(lambda: _clone(model).fit(X, sample_weight=weights))
    _assert_same_fit(streamed, in_memory)


def _clone(model: KMeans) -> KMeans:
    return KMeans(**model.get_params())


def _quietly(fit: Callable[[], KMeans]) -> KMeans:
    """Fit without the warning of fewer distinct clusters than asked for."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fit()
