"""Lloyd's algorithm over groups of blocks: what drives it, and what runs on each group.

The steps are those of `KMeans.fit_stream`, and so the bits are those of `KMeans.fit`: partials are exact, and
merging them is all that the driver does with the data. Labels stay where the blocks are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import reduce
from typing import Any, Generic, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from rust_kmeans import _core
from rust_kmeans._data import Algorithm, Floats, Weights
from rust_kmeans.dask._groups import Block, Group, Groups, aligned
from rust_kmeans.dask._input import Place, naming
from rust_kmeans.dask._kernel import BlockKernel, BlockState, Labels, P


@dataclass(frozen=True)
class Survey:
    """What a first pass learns.

    Parameters
    ----------
    scale : Scale
        Ranges of the features, largest weight and number of rows.
    plain_scale : Scale
        The same as if there were no weights.
    is_weighted : bool
        Whether there are weights.
    has_weight : bool
        Whether some weight is not zero.
    first_row : ndarray of shape (1, n_features)
        The first row of a group, which shows dtype and number of features.
    """

    scale: _core.Scale
    plain_scale: _core.Scale
    is_weighted: bool
    has_weight: bool
    first_row: Floats


@dataclass(frozen=True)
class Run(Generic[P]):
    """What all steps of a run have in common; its number tells it from other runs of the same fit."""

    number: int
    kernel: BlockKernel[P]
    scale: _core.Scale
    algorithm: Algorithm


@dataclass(frozen=True)
class Fit:
    """What a run ends with.

    Parameters
    ----------
    centers : ndarray of shape (n_clusters, n_features), dtype of X
        The centers.
    inertia : float
        Weighted sum of squared distances to them, in squared units of X.
    history : ndarray of shape (n_iter,), float64
        The inertia of each iteration.
    counts : ndarray of shape (n_clusters,), float64
        Weight of the samples of each cluster.
    """

    centers: Floats
    inertia: float
    history: NDArray[np.float64]
    counts: NDArray[np.float64]

    @property
    def n_clusters(self) -> int:
        """Clusters that have weight."""
        return int(np.count_nonzero(self.counts))


_NO_LABELS = np.empty(0, dtype=np.int32)


def survey(groups: Groups) -> Survey:
    """Look at all rows and weights for the first time.

    Raises
    ------
    ValueError
        For a value or weight that is not valid, naming the block, and for weights that are all zero.
    """
    known = _joined_surveys(groups.each(_survey_group))
    if not known.has_weight:
        msg = "every sample_weight is zero: at least one weight must be positive."
        raise ValueError(msg)
    return known


def mean_variance(groups: Groups, known: Survey) -> float:
    """Return the mean over the features of their variances, in squared units of X, whatever the chunks."""
    scale = known.plain_scale
    # Squares about any one point will do; about the middle of the ranges they cancel little.
    middle = ((scale.lowest + scale.highest) / 2).astype(known.first_row.dtype)[np.newaxis]
    whole = _merged(groups.each(_assign_group, scale, middle))
    off = whole.sums / scale.n_rows - middle
    variance = whole.inertia / scale.n_rows - float((off * off).sum())
    return max(float(variance), 0.0) / scale.n_features


def rows_of(groups: Groups, numbers: NDArray[np.int64]) -> tuple[Floats, Weights]:
    """Return some rows, given by their numbers in any order, and their weights."""
    order = np.argsort(numbers, kind="stable")
    found = _joined(groups.each(_rows_of_group, numbers[order]))
    # The row that is i-th by number is the one asked for at place order[i].
    rows = np.empty_like(order)
    rows[order] = np.argsort(found.numbers, kind="stable")
    in_order = found.take(rows)
    return in_order.X, in_order.weights


def weights_of(groups: Groups) -> Weights:
    """Return the weights of all rows in their order."""
    found = [pair for each in groups.each(_weights_of_group) for pair in each]
    parts = [weights for _, weights in sorted(found, key=lambda pair: pair[0]) if weights is not None]
    return np.concatenate(parts) if parts else None


def lloyd(
    groups: Groups, run: Run[P], start: Floats, *, max_iter: int, tol: float, is_told: bool = False
) -> Fit:
    """Iterate from given centers.

    Parameters
    ----------
    groups : Groups
        All rows.
    run : Run
        The kernel and what it must know.
    start : ndarray of shape (n_clusters, n_features), dtype of X
        The centers to start from.
    max_iter : int
        Most iterations.
    tol : float
        Stop when the summed squared shift of the centers is at most this, in squared units of X; 0 for when
        no label changes.
    is_told : bool, default=False
        Whether to print each iteration, which then takes longer.
    """
    history = run.kernel.history(run.scale)
    centers, shared = start, groups.share(start)
    shared_before: Any = None
    n_iter, converged = 0, ""
    while not converged and n_iter < max_iter:
        partial, n_changed = _step(groups, run, n_iter, shared_before, shared, inertia=is_told)
        history.add(centers, partial)
        if is_told:
            _say(f"Iteration {n_iter}, inertia {partial.inertia}.")
        n_empty = int(np.count_nonzero(partial.counts == 0))
        far = _farthest(groups, run, n_iter, shared_before, shared, n_empty) if n_empty else None
        n_iter += 1
        if far is None:
            centers, shift = run.kernel.next_centers(partial, centers, centers[:0], _NO_LABELS, None)
        else:
            centers, shift = run.kernel.next_centers(partial, centers, far.X, far.labels, far.weights)
        shared_before, shared = shared, groups.share(centers)
        if n_changed == 0:
            converged = "strict convergence"
        elif shift <= tol:
            converged = f"center shift {shift} within tolerance {tol}"
    if is_told and converged:
        _say(f"Converged at iteration {n_iter - 1}: {converged}.")
    partial, _ = _step(groups, run, n_iter, shared_before, shared, inertia=True)
    counts = np.asarray(partial.counts, dtype=np.float64)
    return Fit(centers, partial.inertia, history.inertias(centers, partial), counts)


def _step(
    groups: Groups, run: Run[P], number: int, before: Floats | None, centers: Floats, *, inertia: bool
) -> tuple[P, int]:
    """Return the partial of all rows, and how many labels changed."""
    found = groups.each(_step_group, run, number, before, centers, inertia=inertia)
    return _merged(partial for partial, _ in found), sum(n_changed for _, n_changed in found)


def _farthest(
    groups: Groups, run: Run[P], number: int, before: Floats | None, centers: Floats, count: int
) -> _Far | None:
    """Return the rows farthest from their centers, farthest first, lowest of equals first.

    None where all rows lie on their centers: there is nothing to put an empty cluster on.
    """
    found = _joined(groups.each(_farthest_of_group, run, number, before, centers, count))
    if not found.distances.any():
        return None
    return found.take(np.lexsort((found.numbers, -found.distances))[:count])


def _merged(partials: Iterable[Any]) -> Any:  # noqa: ANN401  # scales or partials, all of one type
    """Return what all are together, merged from first to last."""
    return reduce(lambda merged, other: merged.merge(other), partials)


def _say(line: str) -> None:
    print(line)  # noqa: T201  # what verbose is for


# What follows runs on the groups, where the rows are.


@dataclass(frozen=True)
class _Found:
    """Some rows: their numbers in X, values and weights."""

    numbers: NDArray[np.int64]
    X: Floats
    weights: Weights

    def take(self, places: NDArray[np.int64]) -> Self:
        """Return some of them, in this order."""
        columns: list[Any] = [getattr(self, field.name) for field in fields(self)]
        taken: list[Any] = [None if column is None else column[places] for column in columns]
        return type(self)(*taken)


@dataclass(frozen=True)
class _Far(_Found):
    """Rows with their labels and squared distances."""

    labels: Labels
    distances: NDArray[np.float64]


_F = TypeVar("_F", bound=_Found)


@dataclass(frozen=True)
class _Kept(Generic[P]):
    """What a group keeps: the states of its blocks after a step."""

    run: int
    number: int
    states: list[BlockState[P]]


def _survey_group(group: Group) -> Survey:
    """Return what a survey learns of a group."""

    def look(i: int, n_threads: int) -> Survey:
        block = group.blocks[i]
        return _joined_surveys([_survey_of(block, place, n_threads) for place in block.places])

    return _joined_surveys(group.map(look))


def _survey_of(block: Block, place: Place, n_threads: int) -> Survey:
    """Return what a survey learns of a chunk of a block."""
    own = slice(place.first_row - block.first_row, place.first_row - block.first_row + place.n_rows)
    X, weights = block.X[own], None if block.weights is None else block.weights[own]
    with naming(place.chunk, place.first_row, place.n_rows):
        plain = _core.block_scale(X, n_threads=n_threads)
        scale = plain if weights is None else _core.block_scale(X, weights, n_threads=n_threads)
    has_weight = weights is None or bool(weights.any())
    return Survey(scale, plain, weights is not None, has_weight, X[:1].copy())


def _joined_surveys(found: Sequence[Survey]) -> Survey:
    """Return what a survey of all would have learned."""
    return Survey(
        _merged(each.scale for each in found),
        _merged(each.plain_scale for each in found),
        found[0].is_weighted,
        any(each.has_weight for each in found),
        found[0].first_row,
    )


def _assign_group(group: Group, scale: _core.Scale, centers: Floats) -> _core.Partial:
    """Return the partial of a group as if there were no weights."""
    centers = aligned(centers)

    def assign(i: int, n_threads: int) -> _core.Partial:
        X = group.blocks[i].X
        return _core.assign_block(X, centers, scale=scale, check=False, n_threads=n_threads)[1]

    partial: _core.Partial = _merged(group.map(assign))
    return partial


def _step_group(
    group: Group, run: Run[P], number: int, before: Floats | None, centers: Floats, *, inertia: bool
) -> tuple[P, int]:
    """Return the group's partial and how many of its labels changed."""
    with group.lock:
        states, group.cache = _states(group, run, number, before), None
        centers = aligned(centers)
        found = group.map(lambda i, n_threads: states[i].step(centers, n_threads, inertia=inertia))
        group.cache = _Kept(run.number, number, states)
    return _merged(partial for partial, _ in found), sum(n_changed for _, n_changed in found)


def _farthest_of_group(
    group: Group, run: Run[P], number: int, before: Floats | None, centers: Floats, count: int
) -> _Far:
    """Return the group's rows farthest from their centers after a step."""
    with group.lock:
        states, group.cache = _states(group, run, number, before), None
        centers = aligned(centers)

        def look(i: int, n_threads: int) -> _Far:
            # Again or, where the states were lost, for the first time.
            states[i].step(centers, n_threads, inertia=False)
            distances, rows, labels = states[i].farthest_rows(count, n_threads)
            return _Far(*_rows(group.blocks[i], rows), labels, distances)

        found = group.map(look)
        group.cache = _Kept(run.number, number, states)
    return _joined(found)


def _states(group: Group, run: Run[P], number: int, before: Floats | None) -> list[BlockState[P]]:
    """Return the states of a group's blocks before a step: those kept, or else new ones.

    A task may be done a second time, so that those kept may be from after the same step.
    """
    kept = group.cache
    if isinstance(kept, _Kept) and kept.run == run.number and kept.number in (number - 1, number):
        states: list[BlockState[P]] = kept.states
        return states

    def start(i: int, n_threads: int) -> BlockState[P]:
        block = group.blocks[i]
        state = run.kernel.start(block.X, block.weights, run.scale, run.algorithm)
        if before is not None:
            state.step(aligned(before), n_threads, inertia=False)
        return state

    return group.map(start)


def _rows_of_group(group: Group, numbers: NDArray[np.int64]) -> _Found:
    """Return those rows, given by their numbers in ascending order, that lie in this group."""
    found = []
    for block in group.blocks:
        low, high = np.searchsorted(numbers, (block.first_row, block.end))
        found.append(_Found(*_rows(block, numbers[low:high] - block.first_row)))
    return _joined(found)


def _rows(block: Block, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], Floats, Weights]:
    """Return numbers, values and weights of some rows of a block."""
    return rows + block.first_row, block.X[rows], None if block.weights is None else block.weights[rows]


def _weights_of_group(group: Group) -> list[tuple[int, Weights]]:
    """Return the number of the first row of each block, and its weights."""
    return [(block.first_row, block.weights) for block in group.blocks]


def _joined(found: Sequence[_F]) -> _F:
    """Return the rows of all."""
    columns: list[Any] = [[getattr(each, field.name) for each in found] for field in fields(found[0])]
    joined: list[Any] = [None if parts[0] is None else np.concatenate(parts) for parts in columns]
    return type(found[0])(*joined)
