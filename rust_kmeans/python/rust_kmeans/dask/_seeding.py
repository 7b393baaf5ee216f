"""Starting centers from blocks anywhere, bit for bit those of `KMeans` with all rows in one place.

What needs the rows happens where they are. A driver is given ``each(function, *args)``, which calls
``function(block, *args)`` for every `Block`, in the order of the rows, and returns the list of results.
Blocks keep state between calls: one that is lost is made again by the same calls in the same order, and a
call may be repeated.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from rust_kmeans import _core
from rust_kmeans._data import Floats, Weights

# Exact sums, shape (n, 2): high and low parts, which add up without rounding in any order.
_Sums = NDArray[np.float64]
_Rows = NDArray[np.int64]
# Centers, shape (n_clusters, n_features), and the numbers of the rows they are.
_Seeds = tuple[Floats, _Rows]
_R = TypeVar("_R")

# Heights of all blocks together from which buckets follow; seeds do not depend on it.
_HEIGHTS = 8192


class Each(Protocol):
    """Calls a function for every block."""

    def __call__(self, function: Callable[..., _R], /, *args: object) -> list[_R]:
        """Return ``function(block, *args)`` of all blocks in the order of their rows."""


class Block:
    """One block as seeding sees it: at least one row, and what is kept with it.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features), float32 or float64
        The rows. They must not change.
    sample_weight : ndarray of shape (n_samples,) or None
        Weights; None for 1 each, then for all blocks.
    scale : Scale
        The merged scale of all blocks.
    first_row : int
        Number of rows in the blocks before this one.
    n_threads : int or None, default=1
        Threads of a call.
    """

    def __init__(
        self,
        X: Floats,
        sample_weight: Weights,
        scale: _core.Scale,
        first_row: int,
        n_threads: int | None = 1,
    ) -> None:
        self.X = X
        self.sample_weight = sample_weight
        self.scale = scale
        self.first_row = first_row
        self.n_threads = n_threads
        self._nearest: _core.Nearest | None = None
        self._search: _core.BlockSearch | None = None

    @property
    def nearest(self) -> _core.Nearest:
        """What k-means|| keeps."""
        if self._nearest is None:
            self._nearest = _core.Nearest(self.X, self.sample_weight, self.scale, self.n_threads)
        return self._nearest

    @property
    def search(self) -> _core.BlockSearch:
        """What k-means++ keeps, once it has begun."""
        if self._search is None:
            msg = "k-means++ has not begun on this block: make its calls from the first on again."
            raise RuntimeError(msg)
        return self._search

    def begin_search(self, splits: NDArray[np.float64], n_clusters: int, n_local_trials: int) -> None:
        """Begin k-means++, unless it has begun."""
        if self._search is None:
            self._search = _core.BlockSearch(
                self.X, self.sample_weight, self.scale, splits, n_clusters, n_local_trials, self.n_threads
            )


def kmeans_parallel(
    each: Each, scale: _core.Scale, n_clusters: int, seed: int, *, weighted: bool, n_threads: int | None = 1
) -> _Seeds:
    """Return the seeds of ``init="k-means||"``.

    Parameters
    ----------
    each : callable
        Calls a function for every block.
    scale : Scale
        The merged scale of all blocks.
    n_clusters : int
        Centers to draw.
    seed : int
        64 bits.
    weighted : bool
        Whether blocks have weights.
    n_threads : int or None, default=1
        Threads where the driver chooses among the candidates.

    Returns
    -------
    centers : ndarray of shape (n_clusters, n_features)
        Rows of the data.
    indices : ndarray of shape (n_clusters,), int64
        Which rows.

    Raises
    ------
    ValueError
        For more clusters than rows, and weights that are all zero.

    References
    ----------
    B. Bahmani, B. Moseley, A. Vattani, R. Kumar, S. Vassilvitskii, Scalable k-means++, PVLDB 5 (2012).
    """
    _check(scale, n_clusters)
    random = _core.Random(seed)
    row = _first_row(each, scale, random, weighted=weighted)
    rows, candidates = np.array([row]), _gather(each, row)
    potential = _total(each(_add, candidates, 0))
    for _ in range(_core.Nearest.ROUNDS):
        drawn = each(_draw, _core.Nearest.OVERSAMPLING * n_clusters, float(potential.sum()), random.bits())
        found = np.concatenate([own for own, _ in drawn])
        if found.size:
            added = np.concatenate([X for _, X in drawn])
            potential = _total(each(_add, added, rows.size))
            rows, candidates = np.concatenate([rows, found]), np.concatenate([candidates, added])
    weights = _total(each(_candidate_weights)).sum(axis=1) / scale.n_rows
    kept = weights > 0.0
    if np.count_nonzero(kept) < n_clusters:
        return kmeans_plusplus(each, scale, n_clusters, seed, weighted=weighted)
    centers, chosen = _core.choose_seeds(
        candidates[kept], n_clusters, weights[kept], scale.n_rows, seed=random.bits(), n_threads=n_threads
    )
    return centers, rows[kept][chosen]


def kmeans_plusplus(
    each: Each,
    scale: _core.Scale,
    n_clusters: int,
    seed: int,
    *,
    weighted: bool,
    n_local_trials: int | None = None,
) -> _Seeds:
    """Return the seeds of greedy k-means++, ``init="k-means++"``.

    A center takes three rounds of calls: the rows of the buckets that random numbers fall into, the
    potentials of the trials, and the potentials of the buckets with the best of them; a fourth where rows
    are repeated.

    Parameters
    ----------
    each, scale, n_clusters, seed, weighted
        As in `kmeans_parallel`.
    n_local_trials : int or None, default=None
        Trials a center; None for 2 + ⌊ln k⌋.

    Returns
    -------
    centers : ndarray of shape (n_clusters, n_features)
        Rows of the data.
    indices : ndarray of shape (n_clusters,), int64
        Which rows.

    Raises
    ------
    ValueError
        For more clusters than rows, and weights that are all zero.

    References
    ----------
    D. Arthur, S. Vassilvitskii, k-means++: the advantages of careful seeding, SODA 2007.
    """
    _check(scale, n_clusters)
    random = _core.Random(seed)
    n_trials = 2 + int(math.log(n_clusters)) if n_local_trials is None else n_local_trials
    splits = _core.bucket_splits(np.concatenate(each(_heights)), scale.n_rows)
    sums = _total(each(_begin, splits, n_clusters, n_trials))
    total = float(sums.sum(axis=0).sum())
    target = random.part_of(total) if weighted else float(random.below(scale.n_rows))
    first = _find(each, sums, [target], np.empty(0, dtype=np.int64))[0]
    chosen, indices = [first.values], [_exact_row(each, first)]
    sums = _total(each(_start, first.values))
    for number in range(1, n_clusters):
        total = float(sums.sum(axis=0).sum())
        targets = [random.part_of(total) for _ in range(n_trials)]
        drawn = _find(each, sums, targets, np.array(indices))
        trials = np.concatenate([one.values for one in drawn])
        potentials = _total(each(_evaluate, trials)).sum(axis=1)
        # Of equal ones the first.
        best = int(np.argmin(potentials))
        chosen.append(drawn[best].values)
        indices.append(_exact_row(each, drawn[best]))
        if number + 1 < n_clusters:
            sums = _total(each(_accept, number, best))
    return np.concatenate(chosen), np.array(indices)


@dataclass(frozen=True)
class _Levels:
    """Rows of a bucket of one block, equal ones together, in order."""

    first_row: int
    # Of each level the first row, its place in the bucket, and how many rows there are.
    rows: _Rows
    places: _Rows
    counts: _Rows
    heights: NDArray[np.float64]
    terms: _Sums
    X: Floats


@dataclass(frozen=True)
class _Drawn:
    """What a random number stands for: a row, or one of several equal ones."""

    # Shape (1, n_features).
    values: Floats
    row: int
    # First row of its block, its bucket and its place there, if rows are equal.
    unsettled: tuple[int, int, int] | None


def _check(scale: _core.Scale, n_clusters: int) -> None:
    if n_clusters > scale.n_rows:
        msg = f"n_samples={scale.n_rows} should be >= n_clusters={n_clusters}: ask for fewer clusters"
        raise ValueError(msg)
    if scale.max_weight == 0.0:
        msg = "every sample_weight is zero: at least one weight must be positive"
        raise ValueError(msg)


def _total(sums: list[_Sums]) -> _Sums:
    """Merge the exact sums of blocks."""
    return cast(_Sums, np.sum(sums, axis=0))


def _first_row(each: Each, scale: _core.Scale, random: _core.Random, *, weighted: bool) -> int:
    """Draw a row by weight, in the order of the data."""
    if not weighted:
        return random.below(scale.n_rows)
    own = each(_weight)
    ends = np.cumsum(np.concatenate([weight for _, weight in own]), axis=0)
    target = random.part_of(float(ends[-1].sum()))
    at = int(np.searchsorted(ends.sum(axis=1), target, side="right"))
    before = (0.0, 0.0) if at == 0 else (float(ends[at - 1, 0]), float(ends[at - 1, 1]))
    found = each(_row_at_weight, own[at][0], before, target)
    return next(row for row in found if row is not None)


def _gather(each: Each, row: int) -> Floats:
    """Return the values of a row, shape (1, n_features)."""
    return np.concatenate(each(_values, row))


def _find(each: Each, sums: _Sums, targets: list[float], used: _Rows) -> list[_Drawn]:
    """Return for each target the first row, in the order of the values, up to which terms sum to more.

    `sums` are those of the buckets. Where no row is, because all lie on centers, it is the lowest that is not
    among the `used` ones.
    """
    ends = np.cumsum(sums, axis=0)
    buckets = [int(at) for at in np.searchsorted(ends.sum(axis=1), targets, side="right")]
    wanted = sorted({bucket for bucket in buckets if bucket < len(ends)})
    levels = each(_levels, wanted) if wanted else []
    starts = np.concatenate([np.zeros((1, 2)), ends])
    merged = {
        bucket: _Bucket([own[i] for own in levels], starts[bucket], bucket) for i, bucket in enumerate(wanted)
    }
    drawn = []
    for bucket, target in zip(buckets, targets, strict=True):
        if bucket in merged:
            drawn.append(merged[bucket].find(target))
            continue
        row = next(row for row in range(used.size + 1) if row not in used)
        drawn.append(_Drawn(_gather(each, row), row, None))
    return drawn


class _Bucket:
    """The levels of a bucket of all blocks, in the order of the rows."""

    def __init__(self, levels: list[_Levels], before: _Sums, bucket: int) -> None:
        X = np.concatenate([own.X for own in levels])
        heights = np.concatenate([own.heights for own in levels])
        # Both sorts are stable: equal rows stay in the order of the data.
        order = np.argsort(heights, kind="stable")
        if np.any(heights[order[1:]] == heights[order[:-1]]):
            order = np.lexsort((*X.T[::-1], heights))
        self.bucket = bucket
        self.X = X[order]
        self.first_rows = np.repeat([own.first_row for own in levels], [own.rows.size for own in levels])[
            order
        ]
        self.rows = np.concatenate([own.rows for own in levels])[order]
        self.places = np.concatenate([own.places for own in levels])[order]
        self.counts = np.concatenate([own.counts for own in levels])[order]
        self.terms = np.concatenate([own.terms for own in levels])[order]
        # Multiples of the terms are exact too.
        self.starts = np.concatenate(
            [[before], before + np.cumsum(self.terms * self.counts[:, None], axis=0)]
        )

    def find(self, target: float) -> _Drawn:
        """Return the first row up to which the terms sum to more."""
        at = int(np.searchsorted(self.starts[1:].sum(axis=1), target, side="right"))
        repeats, one = int(self.counts[at]), self.terms[at]
        skipped, end = 0, repeats - 1
        while skipped < end:
            middle = (skipped + end) // 2
            if float((self.starts[at] + one * (middle + 1)).sum()) > target:
                end = middle
            else:
                skipped = middle + 1
        first_row = int(self.first_rows[at])
        unsettled = (first_row, self.bucket, int(self.places[at]) + skipped) if repeats > 1 else None
        return _Drawn(self.X[at : at + 1], first_row + int(self.rows[at]), unsettled)


def _exact_row(each: Each, drawn: _Drawn) -> int:
    """Return which row it is: later ones may have to be others."""
    if drawn.unsettled is None:
        return drawn.row
    return next(row for row in each(_row_at, *drawn.unsettled) if row is not None)


# What follows is called where the rows are.


def _weight(block: Block) -> tuple[int, _Sums]:
    return block.first_row, block.nearest.weight()


def _row_at_weight(block: Block, first_row: int, before: tuple[float, float], target: float) -> int | None:
    if block.first_row != first_row:
        return None
    row = block.nearest.row_at_weight(before, target)
    return None if row is None else first_row + row


def _values(block: Block, row: int) -> Floats:
    own = row - block.first_row
    return block.X[own : own + 1] if own >= 0 else block.X[:0]


def _add(block: Block, candidates: Floats, before: int) -> _Sums:
    return block.nearest.add(candidates, before)


def _draw(block: Block, expected: float, potential: float, bits: int) -> tuple[_Rows, Floats]:
    rows = block.nearest.draw(expected, potential, bits, block.first_row)
    return rows + block.first_row, block.X[rows]


def _candidate_weights(block: Block) -> _Sums:
    return block.nearest.weights()


def _heights(block: Block) -> NDArray[np.float64]:
    part = len(block.X) / block.scale.n_rows
    return _core.block_heights(block.X, math.ceil(_HEIGHTS * part))


def _begin(block: Block, splits: NDArray[np.float64], n_clusters: int, n_local_trials: int) -> _Sums:
    block.begin_search(splits, n_clusters, n_local_trials)
    return block.search.weights()


def _levels(block: Block, buckets: list[int]) -> list[_Levels]:
    levels = []
    for bucket in buckets:
        rows, places, counts, heights, terms = block.search.levels(bucket)
        levels.append(_Levels(block.first_row, rows, places, counts, heights, terms, block.X[rows]))
    return levels


def _row_at(block: Block, first_row: int, bucket: int, place: int) -> int | None:
    return first_row + block.search.row_at(bucket, place) if block.first_row == first_row else None


def _start(block: Block, center: Floats) -> _Sums:
    return block.search.start(center)


def _evaluate(block: Block, trials: Floats) -> _Sums:
    return block.search.evaluate(trials)


def _accept(block: Block, number: int, trial: int) -> _Sums:
    return block.search.accept(number, trial)
