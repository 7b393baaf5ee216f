"""Types of the extension module. Errors: `ValueError` for values, `TypeError` for dtypes, `MemoryError`."""

from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, Protocol, TypedDict, TypeVar, final, type_check_only

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BlockRun",
    "BlockSearch",
    "History",
    "Moments",
    "Nearest",
    "Partial",
    "Random",
    "Sampler",
    "Scale",
    "__version__",
    "assign_block",
    "block_heights",
    "block_scale",
    "bucket_splits",
    "choose_seeds",
    "farthest_rows",
    "fit",
    "inertia",
    "kernel_info",
    "kmeans_plusplus",
    "lloyd",
    "mean_variance",
    "minibatch_fit",
    "minibatch_step",
    "next_centers",
    "plain_fit",
    "predict",
    "random_rows",
    "sampler",
    "seeds",
    "sparse_fit",
    "sparse_inertia",
    "sparse_kmeans_plusplus",
    "sparse_minibatch_fit",
    "sparse_minibatch_step",
    "sparse_predict",
    "sparse_sampler",
]

_Float = TypeVar("_Float", np.float32, np.float64)
_Weights = NDArray[np.floating[Any]] | None
# Data, indices, indptr and number of columns of a CSR matrix; both index arrays int32, or both int64.
_Csr = tuple[NDArray[_Float], NDArray[Any], NDArray[Any], int]
_Init = Literal["k-means++", "k-means||", "random"]
_Algorithm = Literal["auto", "lloyd", "hamerly", "yinyang"]
_Used = Literal["lloyd", "hamerly", "yinyang"]
# Centers, labels, inertia, its history, n_iter, algorithm used, clusters in use.
_Fit = tuple[NDArray[_Float], NDArray[np.int32], float, NDArray[np.float64], int, _Used, int]
# Centers, shape (n_clusters, n_features), the weight each has taken in, rows since the last reassignment.
_Running = tuple[NDArray[_Float], NDArray[np.float64], int]
# Step, centers reassigned, mean inertia of the batch, its moving average, why the fit stops here.
_Say = Callable[[int, int, float, float | None, Literal["shift", "no improvement"] | None], object]

__version__: Final[str]

@type_check_only
class _KernelInfo(TypedDict):
    """What `kernel_info` returns."""

    version: str
    isa: Literal["scalar", "neon", "avx2", "avx512", "avx512vnni"]
    isa_available: list[str]
    n_threads: int
    profile: Literal["debug", "release"]

@type_check_only
class _Watch(Protocol):
    """What sees the runs of a fit, one after the other. What it raises ends the fit."""

    def started(self) -> None:
        """See a run that has its starting centers."""

    def iterated(
        self,
        number: int,
        inertia: float,
        centers: NDArray[np.float64],
        shift: float,
        tol: float,
        converged: Literal["strict", "shift"] | None,
        /,
    ) -> bool:
        """See an iteration of the run, the first is 0; True ends the run as `max_iter` would.

        `inertia` is that of the labels found under the centers before; `centers` are those after, `shift` is
        their summed squared shift, `tol` the absolute one that ends a run.
        """

@final
class Scale:
    """Ranges of the features, largest weight and number of rows of some blocks."""

    @property
    def n_rows(self) -> int:
        """Number of rows."""

    @property
    def n_features(self) -> int:
        """Number of features."""

    @property
    def max_weight(self) -> float:
        """Largest weight; 1 without weights."""

    @property
    def lowest(self) -> NDArray[np.float64]:
        """Smallest value of each feature, shape (n_features,)."""

    @property
    def highest(self) -> NDArray[np.float64]:
        """Largest value of each feature, shape (n_features,)."""

    def merge(self, other: Scale) -> Scale:
        """Return the scale of the rows of both."""

@final
class Partial:
    """Sums, counts and inertia of some rows under some centers."""

    @property
    def n_rows(self) -> int:
        """Number of rows."""

    @property
    def sums(self) -> NDArray[np.float64]:
        """Weighted sums of the rows of each cluster, shape (n_clusters, n_features)."""

    @property
    def counts(self) -> NDArray[np.float64]:
        """Weight of the rows of each cluster, shape (n_clusters,)."""

    @property
    def inertia(self) -> float:
        """Weighted sum of squared distances to the centers used; `ValueError` if it was not asked for."""

    def merge(self, other: Partial) -> Partial:
        """Return the partial of the rows of both; `ValueError` unless scale and centers were the same."""

    def centers(self, old: NDArray[_Float]) -> NDArray[_Float]:
        """Return the means, shape (n_clusters, n_features); a cluster without weight keeps `old`."""

@final
class BlockRun:
    """What one run knows of one block of rows: labels, bounds and exact sums.

    X and `sample_weight` are referred to, not copied, and must not change. A lost one is computed again by
    two steps, to the centers before the present ones and to these.
    """

    def __new__(
        cls,
        X: NDArray[_Float],
        sample_weight: _Weights,
        scale: Scale,
        algorithm: _Algorithm = "auto",
        *,
        check: bool = True,
        n_threads: int | None = 1,
    ) -> BlockRun:
        """Start without labels; `scale` and `check` as in `assign_block`."""

    def step(
        self, centers: NDArray[_Float], n_threads: int | None = 1, *, inertia: bool = False
    ) -> tuple[Partial, int]:
        """Find the labels under `centers`; return the partial and how many labels changed, at first all.

        The partial has an inertia only if asked for, which costs a look at all rows. The centers of the last
        step give that one's answer again.
        """

    def farthest_rows(
        self, count: int, n_threads: int | None = 1
    ) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int32]]:
        """Return squared distances, indices, labels of the rows farthest from the last centers, in order."""

    @property
    def labels(self) -> NDArray[np.int32]:
        """Label of each row after the last step, shape (n_samples,); -1 before the first. A copy."""

    @property
    def algorithm(self) -> Literal["lloyd", "hamerly", "yinyang"]:
        """What has proved labels, "lloyd" if nothing has."""

@final
class History:
    """What the inertia of each iteration of a fit over blocks follows from, for the bits of `fit`."""

    def __new__(cls, scale: Scale) -> History:
        """Start with no iteration; `scale` is that of all rows."""

    def add(self, centers: NDArray[_Float], partial: Partial) -> None:
        """Note an iteration: the centers that labels were found with, and the merged partial."""

    def inertias(self, centers: NDArray[_Float], partial: Partial) -> NDArray[np.float64]:
        """Return the inertia of each iteration, given the last step's centers and merged partial."""

# Exact sums, shape (n, 2): high and low parts, which add up without rounding in any order.
_Sums = NDArray[np.float64]

@final
class Random:
    """Random numbers that depend on a seed alone."""

    def __new__(cls, seed: int) -> Random:
        """Start the sequence of a 64-bit seed."""

    def bits(self) -> int:
        """Return the next 64 bits."""

    def below(self, n: int) -> int:
        """Return the next number of 0..n, not n itself."""

    def part_of(self, total: float) -> float:
        """Return a number from 0 to less than `total`; 0 for a total of 0."""

@final
class Nearest:
    """The nearest candidate of every row of a block, for k-means||. The arrays are referred to."""

    ROUNDS: Final[int]
    OVERSAMPLING: Final[float]

    def __new__(
        cls, X: NDArray[_Float], sample_weight: _Weights, scale: Scale, n_threads: int | None = 1
    ) -> Nearest:
        """Start without candidates; `scale` is that of all blocks."""

    def weight(self) -> _Sums:
        """Return the sum of the weights, shape (1, 2); 0 without weights."""

    def row_at_weight(self, before: tuple[float, float], target: float) -> int | None:
        """Return the first row up to which weights, those `before` included, sum to more than `target`."""

    def add(self, candidates: NDArray[_Float], before: int) -> _Sums:
        """Add candidates to the `before` ones there were; return the potential of the block, shape (1, 2)."""

    def draw(self, expected: float, potential: float, bits: int, first_row: int) -> NDArray[np.int64]:
        """Return the rows a round draws; `first_row` counts the rows in blocks before this one."""

    def weights(self) -> _Sums:
        """Return the weight of the rows nearest to each candidate, shape (n_candidates, 2)."""

def block_heights(X: NDArray[_Float], most: int) -> NDArray[np.float64]:
    """Return the heights of at most so many rows, for `bucket_splits`."""

def bucket_splits(heights: NDArray[np.float64], n_rows: int) -> NDArray[np.float64]:
    """Return heights that part the order of all rows into buckets, given those of some rows."""

@final
class BlockSearch:
    """What greedy k-means++ keeps of one block. The arrays are referred to. Every call may be repeated."""

    def __new__(
        cls,
        X: NDArray[_Float],
        sample_weight: _Weights,
        scale: Scale,
        splits: NDArray[np.float64],
        n_clusters: int,
        n_local_trials: int | None = None,
        n_threads: int | None = 1,
    ) -> BlockSearch:
        """Start without centers; `scale` and `splits` are those of all blocks."""

    def weights(self) -> _Sums:
        """Return the weight of the rows of each bucket."""

    def levels(
        self, bucket: int
    ) -> tuple[
        NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]
    ]:
        """Return first rows, places, counts, heights and terms of the bucket's rows, equal ones together.

        In order. A row's term is its weight before there is a center, then its part of the potential.
        """

    def row_at(self, bucket: int, place: int) -> int:
        """Return the row at a place of a bucket."""

    def start(self, center: NDArray[_Float]) -> _Sums:
        """Take the first center, shape (1, n_features); return the potentials of the buckets."""

    def evaluate(self, trials: NDArray[_Float]) -> _Sums:
        """Return the potential of the block with each trial as one more center."""

    def accept(self, number: int, trial: int) -> _Sums:
        """Make a trial the center of that number; return the potentials of the buckets."""

@final
class Moments:
    """Sums from which the mean variance of the features of some blocks follows."""

    def __new__(cls, scale: Scale) -> Moments:
        """Start with no rows; `scale` is that of all rows to come."""

    def add(self, X: NDArray[_Float], *, n_threads: int | None = None) -> None:
        """Add a block; blocks must start at multiples of 4096 rows for `_core.mean_variance`'s bits."""

    def mean_variance(self) -> float:
        """Return the mean over the features of their variances, in squared units of X."""

def lloyd(
    X: NDArray[_Float],
    centers: NDArray[_Float],
    *,
    sample_weight: _Weights = None,
    max_iter: int = 300,
    tol: float = 0.0,
    algorithm: _Algorithm = "auto",
    n_threads: int | None = None,
) -> tuple[NDArray[_Float], NDArray[np.int32], float, int, bool, _Used]:
    """Return centers, labels, inertia, n_iter, whether the last iteration changed no label, algorithm used.

    `tol` bounds the summed squared shift of the centers, in squared units of X.
    """

def fit(
    X: NDArray[_Float],
    starts: Sequence[tuple[_Init, int, Sequence[int]] | list[NDArray[_Float]]],
    *,
    sample_weight: _Weights = None,
    max_iter: int = 300,
    tol: float = 0.0,
    algorithm: _Algorithm = "auto",
    spherical: bool = False,
    n_threads: int | None = None,
    watch: _Watch | None = None,
) -> list[_Fit[_Float]]:
    """Return centers, labels, inertia, its history, n_iter, algorithm used, clusters in use; for each start.

    A start is (init, n_clusters, one 64-bit seed a run) or a list of starting centers; of its runs, one at
    least, the best is returned. All runs of all starts share each pass over X, bit for bit as one at a time.
    `tol` is relative to the mean variance of the features. `spherical` scales means to unit length. With a
    `watch` runs go one after the other.
    """

def seeds(random_state: int, count: int, /) -> list[int]:
    """Return what ``numpy.random.RandomState(random_state).randint(2**63)`` draws, `count` times."""

def plain_fit(state: dict[str, Any], X: object, sample_weight: object, /) -> int | None:
    """Fit a `KMeans` whose attributes are `state`; return how many clusters have samples.

    None, with nothing done, unless parameters, X and weights are of the plainest types and certainly valid,
    and nobody watches.
    """

def assign_block(
    X: NDArray[_Float],
    centers: NDArray[_Float],
    *,
    sample_weight: _Weights = None,
    scale: Scale | None = None,
    check: bool = True,
    n_threads: int | None = 1,
) -> tuple[NDArray[np.int32], Partial]:
    """Return the labels, shape (n_samples,), and the partial of a block of rows.

    `scale` must be the merged `block_scale` of all blocks whose partials will be merged. `check=False` leaves
    out the pass that proves the block finite and within `scale`: for a block whose own scale is in it.
    """

def block_scale(X: NDArray[_Float], sample_weight: _Weights = None, *, n_threads: int | None = 1) -> Scale:
    """Return the scale of a block; `ValueError` names the first NaN or infinity by row and column."""

def mean_variance(X: NDArray[_Float], *, n_threads: int | None = None) -> float:
    """Return the mean over the features of their variances, in squared units of X."""

@final
class Sampler:
    """Draws rows of one data set with replacement, by weight, whatever their order."""

    @property
    def n_samples(self) -> int:
        """Samples the rows stand for: the sum of weights, or how many are positive if that is more."""

    def draw(self, count: int, seed: int) -> NDArray[np.int64]:
        """Return rows, shape (count,)."""

def sampler(X: NDArray[_Float], *, sample_weight: _Weights = None, n_threads: int | None = None) -> Sampler:
    """Return what draws rows of X."""

def minibatch_fit(
    X: NDArray[_Float],
    centers: NDArray[_Float],
    sampler: Sampler,
    *,
    sample_weight: _Weights = None,
    seed: int,
    batch_size: int,
    n_steps: int,
    tol: float = 0.0,
    max_no_improvement: int | None = None,
    reassignment_ratio: float = 0.01,
    compute_labels: bool = True,
    watch: _Say | None = None,
    n_threads: int | None = None,
) -> tuple[_Running[_Float], tuple[int, float], tuple[NDArray[np.int32], float] | None]:
    """Return (centers, counts, rows since reassignment), (steps, smoothed mean inertia), (labels, inertia).

    `sampler` is that of X and its weights. `tol` is relative to the mean variance of the features. `watch` is
    called after each step.
    """

def minibatch_step(
    X: NDArray[_Float],
    centers: NDArray[_Float],
    counts: NDArray[np.float64],
    n_since_reassignment: int,
    *,
    sample_weight: _Weights = None,
    seed: int,
    reassignment_ratio: float = 0.01,
    n_threads: int | None = None,
) -> tuple[_Running[_Float], float, int]:
    """Return what the three were, moved by a batch; its inertia before; how many centers were reassigned."""

def predict(
    X: NDArray[_Float], centers: NDArray[_Float], *, n_threads: int | None = None
) -> NDArray[np.int32]:
    """Return the index of the nearest center of each row, shape (n_samples,)."""

def inertia(
    X: NDArray[_Float],
    centers: NDArray[_Float],
    labels: NDArray[np.int32],
    *,
    sample_weight: _Weights = None,
    n_threads: int | None = None,
) -> float:
    """Return the weighted sum of squared distances of the rows to the centers their labels name."""

def farthest_rows(
    X: NDArray[_Float],
    centers: NDArray[_Float],
    labels: NDArray[np.int32],
    count: int,
    *,
    n_threads: int | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return squared distances and indices of the rows farthest from their centers, farthest first."""

def next_centers(
    partial: Partial,
    centers: NDArray[_Float],
    X: NDArray[_Float],
    labels: NDArray[np.int32],
    *,
    sample_weight: _Weights = None,
) -> tuple[NDArray[_Float], float]:
    """Return the means, and their summed squared shift from `centers`.

    Clusters without weight get the rows of X, the farthest of all blocks in order, one each, which are taken
    from the clusters `labels` names; those left over go to the center of the heaviest.
    """

def kmeans_plusplus(
    X: NDArray[_Float],
    n_clusters: int,
    *,
    sample_weight: _Weights = None,
    seed: int,
    n_local_trials: int | None = None,
    n_threads: int | None = None,
) -> tuple[NDArray[_Float], NDArray[np.int64]]:
    """Return centers, shape (n_clusters, n_features), and which rows they are; `seed` has 64 bits."""

def choose_seeds(
    candidates: NDArray[_Float],
    n_clusters: int,
    sample_weight: NDArray[np.float64],
    n_rows: int,
    *,
    seed: int,
    n_threads: int | None = None,
) -> tuple[NDArray[_Float], NDArray[np.int64]]:
    """Return centers, shape (n_clusters, n_features), and which candidates they are.

    The best of several k-means++ on candidates that k-means|| drew of `n_rows` rows and gave weights to.
    """

def random_rows(
    X: NDArray[_Float], n_clusters: int, *, sample_weight: _Weights = None, seed: int
) -> tuple[NDArray[_Float], NDArray[np.int64]]:
    """Return distinct rows drawn by weight, shape (n_clusters, n_features), and which rows they are."""

def sparse_fit(
    X: _Csr[_Float],
    starts: Sequence[tuple[_Init, int, Sequence[int]] | list[NDArray[_Float]]],
    *,
    sample_weight: _Weights = None,
    max_iter: int = 300,
    tol: float = 0.0,
    spherical: bool = False,
    n_threads: int | None = None,
    watch: _Watch | None = None,
) -> list[_Fit[_Float]]:
    """Return what `fit` returns of the dense data: the same bits but for rounding of the inertia.

    Indices rise strictly within a row; `ValueError` names the first row where they do not. Runs are done one
    after the other; "k-means||" is refused.
    """

def sparse_predict(
    X: _Csr[_Float], centers: NDArray[_Float], *, n_threads: int | None = None
) -> NDArray[np.int32]:
    """Return what `predict` returns of the dense data."""

def sparse_inertia(
    X: _Csr[_Float],
    centers: NDArray[_Float],
    labels: NDArray[np.int32],
    *,
    sample_weight: _Weights = None,
    n_threads: int | None = None,
) -> float:
    """Return what `inertia` returns of the dense data, up to rounding."""

def sparse_kmeans_plusplus(
    X: _Csr[_Float],
    n_clusters: int,
    *,
    sample_weight: _Weights = None,
    seed: int,
    n_local_trials: int | None = None,
    n_threads: int | None = None,
) -> tuple[NDArray[_Float], NDArray[np.int64]]:
    """Return what `kmeans_plusplus` returns of the dense data."""

def kernel_info() -> _KernelInfo:
    """Return version, instruction set, default number of threads and build profile of the kernel."""

def sparse_sampler(
    X: _Csr[_Float], *, sample_weight: _Weights = None, n_threads: int | None = None
) -> Sampler:
    """Return what draws rows of X."""

def sparse_minibatch_fit(
    X: _Csr[_Float],
    centers: NDArray[_Float],
    sampler: Sampler,
    *,
    sample_weight: _Weights = None,
    seed: int,
    batch_size: int,
    n_steps: int,
    tol: float = 0.0,
    max_no_improvement: int | None = None,
    reassignment_ratio: float = 0.01,
    compute_labels: bool = True,
    watch: _Say | None = None,
    n_threads: int | None = None,
) -> tuple[_Running[_Float], tuple[int, float], tuple[NDArray[np.int32], float] | None]:
    """Return what `minibatch_fit` returns for the dense data, inertias up to rounding."""

def sparse_minibatch_step(
    X: _Csr[_Float],
    centers: NDArray[_Float],
    counts: NDArray[np.float64],
    n_since_reassignment: int,
    *,
    sample_weight: _Weights = None,
    seed: int,
    reassignment_ratio: float = 0.01,
    n_threads: int | None = None,
) -> tuple[_Running[_Float], float, int]:
    """Return what `minibatch_step` returns for the dense data, the inertia up to rounding."""
