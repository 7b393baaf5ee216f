"""Lloyd's algorithm over a stream that can be read again, each step the same bits as in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rust_kmeans import _core
from rust_kmeans._batches import Stream
from rust_kmeans._data import Fit, Floats, Weights


@dataclass(frozen=True)
class Survey:
    """What a first pass learns: all that must be known of the stream before sums can be exact."""

    scale: _core.Scale
    weights: Weights
    first_row: Floats


class Run:
    """One run: its centers, and the labels of all rows (4 bytes each), which tell when none changes."""

    def __init__(self, centers: Floats, n_rows: int) -> None:
        self.centers = centers
        self.labels = np.full(n_rows, -1, dtype=np.int32)
        self.inertia: float | None = None
        # Of each iteration, under the centers it began with.
        self.history: list[float] = []
        # Whether the next pass finds labels and inertia only.
        self.is_last = False


@dataclass
class _Far:
    """Rows far from their centers, farthest first."""

    distances: NDArray[np.float64]
    rows: NDArray[np.int64]
    X: Floats


def survey(stream: Stream, n_threads: int | None) -> Survey:
    """Read the stream for the first time.

    Raises
    ------
    ValueError
        For a value or weight that is not valid, weights that are all zero, and a stream without rows.
    """
    scale = first_row = None
    weights: list[NDArray[np.float64]] = []
    n = 0
    for X, block_weights in stream:
        try:
            own = _core.block_scale(X, block_weights, n_threads=n_threads)
        except ValueError as error:
            msg = f"In the rows of the stream from {n} on: {error}"
            raise ValueError(msg) from error
        if block_weights is not None:
            weights.append(block_weights)
        scale = own if scale is None else scale.merge(own)
        first_row = X[:1].copy() if first_row is None else first_row
        n += X.shape[0]
    if scale is None or first_row is None:
        msg = "The stream has no rows: at least one batch is needed."
        raise ValueError(msg)
    all_weights = np.concatenate(weights) if weights else None
    if all_weights is not None and not all_weights.any():
        msg = "every sample_weight is zero: at least one weight must be positive."
        raise ValueError(msg)
    return Survey(scale, all_weights, first_row)


def mean_variance(stream: Stream, known: Survey, n_threads: int | None) -> float:
    """Return the mean over the features of their variances, after one pass."""
    moments = _core.Moments(known.scale)
    for _, X, _ in _pass(stream, known):
        moments.add(X, n_threads=n_threads)
    return moments.mean_variance()


def gather(stream: Stream, known: Survey, rows: NDArray[np.int64]) -> Floats:
    """Return some rows, given by their numbers in any order, after one pass."""
    order = np.argsort(rows)
    found = np.empty((rows.size, known.first_row.shape[1]), dtype=known.first_row.dtype)
    for first, X, _ in _pass(stream, known):
        low, high = np.searchsorted(rows, (first, first + X.shape[0]), sorter=order)
        found[order[low:high]] = X[rows[order[low:high]] - first]
    return found


def lloyd(
    stream: Stream,
    known: Survey,
    starts: list[Floats],
    *,
    max_iter: int,
    tol: float,
    n_threads: int | None,
    watch: _core._Watch | None = None,
) -> Fit:
    """Return the best run, the first of equals, as `_core.fit` does.

    All runs share each pass; where one watches there is one. `tol` bounds the summed squared shift of the
    centers, in squared units of the data.
    """
    runs = [Run(start, known.scale.n_rows) for start in starts]
    if watch is not None:
        watch.started()
    while active := [run for run in runs if run.inertia is None]:
        found = _assign(stream, known, active, n_threads)
        moving = [(run, *each) for run, each in zip(active, found, strict=True) if not run.is_last]
        for run, (partial, _) in zip(active, found, strict=True):
            if run.is_last:
                run.inertia = partial.inertia
        far = _farthest(stream, known, [(run, partial) for run, partial, _ in moving], n_threads)
        for (run, partial, changed), rows in zip(moving, far, strict=True):
            _advance(run, partial, rows, known, watch, changed=changed, max_iter=max_iter, tol=tol)
    inertias = [run.inertia for run in runs if run.inertia is not None]
    best = runs[int(np.argmin(inertias))]
    history = np.array(best.history)
    n_clusters = np.unique(best.labels).size
    return best.centers, best.labels, min(inertias), history, history.size, "lloyd", n_clusters


def _pass(stream: Stream, known: Survey) -> Iterator[tuple[int, Floats, Weights]]:
    """Yield the blocks with the number of their first row; refuse another number of rows than before."""
    first = 0
    for X, weights in stream:
        if first + X.shape[0] > known.scale.n_rows:
            break
        yield first, X, weights
        first += X.shape[0]
    else:
        if first == known.scale.n_rows:
            return
    msg = (
        f"The stream had {known.scale.n_rows} rows at first and has another number now: it must give the "
        "same rows whenever it is read."
    )
    raise ValueError(msg)


def _assign(
    stream: Stream, known: Survey, runs: list[Run], n_threads: int | None
) -> list[tuple[_core.Partial, bool]]:
    """Relabel all rows for each run; return the merged partials and whether a label changed."""
    partials: list[_core.Partial | None] = [None] * len(runs)
    changed = [False] * len(runs)
    for first, X, weights in _pass(stream, known):
        rows = slice(first, first + X.shape[0])
        for i, run in enumerate(runs):
            try:
                labels, own = _core.assign_block(
                    X, run.centers, sample_weight=weights, scale=known.scale, n_threads=n_threads
                )
            except ValueError as error:
                # All values were checked when the stream was read first.
                msg = f"The stream changed since it was read first, in the rows from {first} on: {error}"
                raise ValueError(msg) from error
            changed[i] |= not np.array_equal(run.labels[rows], labels)
            run.labels[rows] = labels
            merged = partials[i]
            partials[i] = own if merged is None else merged.merge(own)
    return [(partial, each) for partial, each in zip(partials, changed, strict=True) if partial is not None]


def _farthest(
    stream: Stream, known: Survey, runs: list[tuple[Run, _core.Partial]], n_threads: int | None
) -> list[_Far]:
    """Return for each run as many far rows as it has empty clusters, after one pass if there are any."""
    columns = known.first_row.shape[1]
    counts = [int(np.count_nonzero(partial.counts == 0.0)) for _, partial in runs]
    far = [
        _Far(np.empty(0), np.empty(0, dtype=np.int64), np.empty((0, columns), known.first_row.dtype))
        for _ in runs
    ]
    if not any(counts):
        return far
    for first, X, _ in _pass(stream, known):
        for i, (run, _) in enumerate(runs):
            if counts[i] > 0:
                labels = run.labels[first : first + X.shape[0]]
                distances, rows = _core.farthest_rows(X, run.centers, labels, counts[i], n_threads=n_threads)
                far[i] = _merged(far[i], _Far(distances, rows + first, X[rows]), counts[i])
    return far


def _merged(one: _Far, other: _Far, count: int) -> _Far:
    distances = np.concatenate([one.distances, other.distances])
    # Blocks come in order, so that a stable sort puts the lowest of equally far rows first.
    order = np.argsort(-distances, kind="stable")[:count]
    rows, X = np.concatenate([one.rows, other.rows]), np.concatenate([one.X, other.X])
    return _Far(distances[order], rows[order], X[order])


def _advance(
    run: Run,
    partial: _core.Partial,
    far: _Far,
    known: Survey,
    watch: _core._Watch | None,
    *,
    changed: bool,
    max_iter: int,
    tol: float,
) -> None:
    """Move the centers of a run, and see whether it ends."""
    # Where all rows lie on their centers there is nothing to put an empty cluster on.
    count = far.rows.size if far.distances.any() else 0
    rows = far.rows[:count]
    centers, shift = _core.next_centers(
        partial,
        run.centers,
        far.X[:count],
        run.labels[rows],
        sample_weight=None if known.weights is None else known.weights[rows],
    )
    settled = np.array_equal(centers, run.centers)
    run.centers = centers
    number = len(run.history)
    run.history.append(partial.inertia)
    converged: Literal["strict", "shift"] | None = None
    if not changed:
        converged = "strict"
    elif shift <= tol:
        converged = "shift"
    is_ended = watch is not None and watch.iterated(number, partial.inertia, centers, shift, tol, converged)
    if not changed and settled:
        # The partial is one of these centers.
        run.inertia = partial.inertia
    elif converged or is_ended or len(run.history) >= max_iter:
        run.is_last = True
