"""The textbook as a block kernel: the Dask driver over NumPy differs from that over Rust in one argument."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from python_impl import kmeans as textbook
from python_impl.kmeans import Farthest, FloatArray, IndexArray, LabelArray, Partial

Far = tuple[npt.NDArray[np.float64], IndexArray, LabelArray]


class NumpyBlock:
    """What `NumpyKernel` keeps of a block: its labels, and what the last step said.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features)
        The rows.
    """

    def __init__(self, X: FloatArray) -> None:
        self._X = X
        self._labels = np.full(len(X), -1, dtype=np.int32)
        self._last: tuple[FloatArray, tuple[Partial, int]] | None = None

    def step(self, centers: FloatArray, n_threads: int, *, inertia: bool) -> tuple[Partial, int]:
        """Assign the rows; the inertia comes with it, asked for or not: the history is made of it."""
        if self._last is not None and np.array_equal(self._last[0], centers):
            return self._last[1]
        labels, partial = textbook.assign_block(self._X, centers)
        n_changed = int(np.count_nonzero(labels != self._labels))
        self._labels, self._last = labels, (centers, (partial, n_changed))
        return self._last[1]

    def farthest_rows(self, count: int, n_threads: int) -> Far:
        """Return the rows farthest from their centers of the last step."""
        centers = self._X[:0] if self._last is None else self._last[0]
        found = textbook.farthest_samples(self._X, self._labels, centers, count)
        return found.distances, found.rows, found.labels


class NumpyHistory:
    """The inertias of the iterations, each computed in its own."""

    def __init__(self) -> None:
        self._inertias: list[float] = []

    def add(self, centers: FloatArray, partial: Partial) -> None:
        """Take in an iteration."""
        self._inertias.append(partial.inertia)

    def inertias(self, centers: FloatArray, partial: Partial) -> npt.NDArray[np.float64]:
        """Return them all."""
        return np.array(self._inertias)


@dataclass(frozen=True)
class NumpyKernel:
    """The textbook code of `python_impl`; its sums depend on the chunking in the last bits. No weights."""

    def start(
        self,
        X: FloatArray,
        sample_weight: FloatArray | None,
        scale: Any,  # noqa: ANN401  # float64 sums need none
        algorithm: str,
    ) -> NumpyBlock:
        """Return the state of a block.

        Raises
        ------
        ValueError
            For weights.
        """
        if sample_weight is not None:
            raise ValueError("the NumPy kernel knows no sample_weight; leave it out, or take the Rust kernel")
        return NumpyBlock(X)

    def history(self, scale: Any) -> NumpyHistory:  # noqa: ANN401  # see `start`
        """Return a history of no iterations."""
        return NumpyHistory()

    def next_centers(
        self,
        partial: Partial,
        centers: FloatArray,
        X: FloatArray,
        labels: LabelArray,
        sample_weight: FloatArray | None,
    ) -> tuple[FloatArray, float]:
        """Return the means, empty clusters put on the rows of X, and their summed squared shift."""
        if len(X) > 0:
            # They were sorted by their distances before, and some is not zero.
            far = Farthest(X.astype(np.float64), labels, np.ones(len(X)), np.arange(len(X)))
            partial = textbook.relocate_empty_clusters(partial, lambda _: far)
        moved = textbook.means(partial).astype(centers.dtype)
        return moved, textbook.squared_shift(centers, moved)

    def predict(self, X: FloatArray, centers: FloatArray, n_threads: int) -> LabelArray:
        """Return the label of each row."""
        return textbook.assign(X, centers)[0]
