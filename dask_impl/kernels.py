"""What the Dask driver runs on a block: one protocol, two kernels."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt

from python_impl import kmeans as textbook

if TYPE_CHECKING:
    from rust_kmeans import Partial, Scale

FloatArray = npt.NDArray[np.floating[Any]]
LabelArray = npt.NDArray[np.int32]


class BlockPartial(Protocol):
    """What a block adds to the update."""

    def merge(self, other: Self, /) -> Self:
        """Return the partial of the rows of both."""
        ...


S = TypeVar("S")
Q = TypeVar("Q", bound=BlockPartial)


class BlockKernel(Protocol[S, Q]):
    """The inside of an iteration: assigns the rows of one block and adds them up.

    ``S`` is the type of its scales, ``Q`` that of its partials. Kernels, scales and partials travel to and
    from worker processes: they must be picklable.
    """

    def version(self) -> str:
        """Return the version of the library that does the work."""
        ...

    def block_scale(self, X: FloatArray) -> S:
        """Return what the kernel must know of a block before the first iteration, such as its range.

        Raises
        ------
        ValueError
            If the block holds missing or infinite values.
        """
        ...

    def merge_scales(self, first: S, second: S) -> S:
        """Return the scale of two sets of blocks."""
        ...

    def assign_block(self, X: FloatArray, centers: FloatArray, scale: S) -> tuple[LabelArray, Q]:
        """Return the label of each row and the block's partial, given the scale of all blocks."""
        ...

    def finish(self, partial: Q) -> textbook.Partial:
        """Return the merged partial as float64 sums, counts and inertia."""
        ...

    def predict(self, X: FloatArray, centers: FloatArray) -> LabelArray:
        """Return the label of each row."""
        ...


def aligned(array: FloatArray) -> FloatArray:
    """Return the array, or a copy if it is not C-contiguous and aligned.

    Arrays that arrive from another process lie wherever the message put them.
    """
    return np.require(array, requirements=["C", "A"])


@dataclass(frozen=True)
class NumpyKernel:
    """The textbook code of `python_impl`; its sums depend on the chunking in the last bits."""

    def version(self) -> str:
        """Return NumPy's version."""
        return f"numpy-{np.__version__}"

    def block_scale(self, X: FloatArray) -> None:
        """Return None, float64 sums need no scale, after a look at every value."""
        textbook.check_finite(X)

    def merge_scales(self, first: None, second: None) -> None:
        """Return None."""

    def assign_block(
        self, X: FloatArray, centers: FloatArray, scale: None
    ) -> tuple[LabelArray, textbook.Partial]:
        """See `python_impl.kmeans.assign_block`."""
        return textbook.assign_block(X, centers)

    def finish(self, partial: textbook.Partial) -> textbook.Partial:
        """Return it as it is."""
        return partial

    def predict(self, X: FloatArray, centers: FloatArray) -> LabelArray:
        """Return the label of each row."""
        return textbook.assign_block(X, centers, with_inertia=False)[0]


@dataclass(frozen=True)
class RustKernel:
    """The block interface of ``rust_kmeans``: sums are exact, so nothing depends on the chunking.

    One thread: threads or workers share the cores already.
    """

    def version(self) -> str:
        """Return the extension's version."""
        return f"rust-kmeans-{importlib.metadata.version('rust-kmeans')}"

    def block_scale(self, X: FloatArray) -> Scale:
        """Return the ranges of the block, from which the grid of the exact sums follows."""
        import rust_kmeans

        return rust_kmeans.block_scale(aligned(X), n_threads=1)

    def merge_scales(self, first: Scale, second: Scale) -> Scale:
        """Return the ranges of both."""
        return first.merge(second)

    def assign_block(self, X: FloatArray, centers: FloatArray, scale: Scale) -> tuple[LabelArray, Partial]:
        """See ``rust_kmeans.assign_block``."""
        import rust_kmeans

        # No check: the block passed `block_scale` before.
        return rust_kmeans.assign_block(aligned(X), aligned(centers), scale=scale, check=False, n_threads=1)

    def finish(self, partial: Partial) -> textbook.Partial:
        """Return the exact sums, each rounded once."""
        return textbook.Partial(partial.sums, partial.counts.astype(np.int64), partial.inertia)

    def predict(self, X: FloatArray, centers: FloatArray) -> LabelArray:
        """Return the label of each row."""
        from rust_kmeans import _core

        return _core.predict(aligned(X), aligned(centers), n_threads=1)
