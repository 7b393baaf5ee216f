"""What a fit runs on each block: one protocol, and the kernel of this package.

The driver looks after everything else (values that are not finite, the tolerance, which far samples empty
clusters get, seeding); a kernel assigns the rows of a block and adds them up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from rust_kmeans import _core
from rust_kmeans._data import Algorithm, Floats, Weights

Labels = NDArray[np.int32]
#: Squared distances, rows and labels of some rows of a block.
Far = tuple[NDArray[np.float64], NDArray[np.int64], Labels]


class BlockPartial(Protocol):
    """What rows add to the update of the centers."""

    @property
    def counts(self) -> NDArray[Any]:
        """Weight of the rows of each cluster, shape (n_clusters,)."""
        ...

    @property
    def inertia(self) -> float:
        """Weighted sum of squared distances of the rows to their centers; only where it was asked for."""
        ...

    def merge(self, other: Self, /) -> Self:
        """Return the partial of the rows of both."""
        ...


P = TypeVar("P", bound=BlockPartial)
P_co = TypeVar("P_co", bound=BlockPartial, covariant=True)
P_contra = TypeVar("P_contra", bound=BlockPartial, contravariant=True)


class BlockState(Protocol[P_co]):
    """What a kernel keeps of a block from one iteration to the next.

    It stays where the block is and may be lost at any time: a new one, stepped to the centers before and then
    to the present ones, must give the same answers.
    """

    def step(self, centers: Floats, n_threads: int, *, inertia: bool) -> tuple[P_co, int]:
        """Assign the rows; return their partial and how many labels differ from those of the step before.

        A step to the centers of the last one gives that one's answer again. In a first step all differ.
        """
        ...

    def farthest_rows(self, count: int, n_threads: int) -> Far:
        """Return the rows farthest from their centers of the last step, in order; lowest of equals first."""
        ...


class History(Protocol[P_contra]):
    """What the inertia of each iteration follows from."""

    def add(self, centers: Floats, partial: P_contra) -> None:
        """Take in an iteration: its centers and the merged partial under them."""
        ...

    def inertias(self, centers: Floats, partial: P_contra) -> NDArray[np.float64]:
        """Return the inertia of each iteration, given the last step, whose inertia was asked for."""
        ...


class BlockKernel(Protocol[P]):
    """The inside of an iteration. Kernels and their partials travel to workers: they must be picklable."""

    def start(
        self, X: Floats, sample_weight: Weights, scale: _core.Scale, algorithm: Algorithm
    ) -> BlockState[P]:
        """Return the state of a block before its first step.

        Parameters
        ----------
        X : ndarray of shape (n_rows, n_features), float32 or float64
            The rows, finite. They do not change.
        sample_weight : ndarray of shape (n_rows,), float64, or None
            Their weights.
        scale : Scale
            Ranges of all blocks.
        algorithm : {"auto", "lloyd", "hamerly", "yinyang"}
            How labels are found, on which the answers must not depend.
        """
        ...

    def history(self, scale: _core.Scale) -> History[P]:
        """Return the history of a run before its first iteration."""
        ...

    def next_centers(
        self, partial: P, centers: Floats, X: Floats, labels: Labels, sample_weight: Weights
    ) -> tuple[Floats, float]:
        """Return the means, and their summed squared shift from `centers`.

        Clusters without weight get the rows of X, the farthest of all first, one each; these are taken from
        the clusters that `labels` names.
        """
        ...

    def predict(self, X: Floats, centers: Floats, n_threads: int) -> Labels:
        """Return the index of the nearest center of each row, the lowest of equals."""
        ...


@dataclass(frozen=True)
class RustKernel:
    """The kernel of this package: sums are exact, so that nothing depends on how rows are cut into blocks."""

    def start(
        self, X: Floats, sample_weight: Weights, scale: _core.Scale, algorithm: Algorithm
    ) -> BlockState[_core.Partial]:
        """Return the state of a block, a ``BlockRun``."""
        # The survey has proved the block finite and within the scale.
        return _core.BlockRun(X, sample_weight, scale, algorithm, check=False)

    def history(self, scale: _core.Scale) -> History[_core.Partial]:
        """Return what computes inertias from the sums of the clusters."""
        return _core.History(scale)

    def next_centers(
        self, partial: _core.Partial, centers: Floats, X: Floats, labels: Labels, sample_weight: Weights
    ) -> tuple[Floats, float]:
        """Return the means of the exact sums, each rounded once, and their summed squared shift."""
        return _core.next_centers(partial, centers, X, labels, sample_weight=sample_weight)

    def predict(self, X: Floats, centers: Floats, n_threads: int) -> Labels:
        """Return the index of the nearest center of each row."""
        return _core.predict(X, centers, n_threads=n_threads)
