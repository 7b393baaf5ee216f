"""Starting centers of a distributed fit: those of the local one, drawn where the rows are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rust_kmeans import _core
from rust_kmeans._data import Floats
from rust_kmeans.dask import _seeding
from rust_kmeans.dask._fit import Survey, rows_of, weights_of
from rust_kmeans.dask._groups import Group, Groups, aligned

#: What the driver holds of data that are read in every pass, to draw k-means++ centers from.
_SAMPLE_BYTES = 64 << 20

#: A function of `_seeding`'s blocks and its arguments.
_Call = tuple[Callable[..., Any], tuple[Any, ...]]


def random_rows(groups: Groups, known: Survey, n_clusters: int, seeds: Sequence[int]) -> list[Floats]:
    """Return for each seed distinct rows drawn by weight."""
    weights = weights_of(groups)
    rows = _any_rows(known)
    drawn = [_core.random_rows(rows, n_clusters, sample_weight=weights, seed=seed)[1] for seed in seeds]
    return np.split(rows_of(groups, np.concatenate(drawn))[0], len(drawn))


def kmeans_parallel(groups: Groups, known: Survey, n_clusters: int, seeds: Sequence[int]) -> list[Floats]:
    """Return for each seed the centers of k-means||."""
    return [
        _seeding.kmeans_parallel(
            _Each(groups, known.scale, session), known.scale, n_clusters, seed, weighted=known.is_weighted
        )[0]
        for session, seed in enumerate(seeds)
    ]


def kmeans_plusplus(
    groups: Groups, known: Survey, n_clusters: int, seeds: Sequence[int], sample_seed: int
) -> list[Floats]:
    """Return for each seed the centers of greedy k-means++.

    It looks at the rows some times for each center: where each look would read them again, centers are drawn
    from a sample of the rows, unless all are as few.
    """
    n_rows = known.scale.n_rows
    size = max(_SAMPLE_BYTES // known.first_row.nbytes, 16 * n_clusters)
    if groups.persisted:
        return [
            _seeding.kmeans_plusplus(
                _Each(groups, known.scale, session), known.scale, n_clusters, seed, weighted=known.is_weighted
            )[0]
            for session, seed in enumerate(seeds)
        ]
    chosen = np.arange(n_rows)
    if size < n_rows:
        chosen = np.sort(_core.random_rows(_any_rows(known), size, seed=sample_seed)[1])
    sample, weights = rows_of(groups, chosen)
    return [_core.kmeans_plusplus(sample, n_clusters, sample_weight=weights, seed=seed)[0] for seed in seeds]


def _any_rows(known: Survey) -> Floats:
    """Return as many rows as X has: the kernel draws them by weight, without a look at their values."""
    rows: Floats = np.broadcast_to(known.first_row[:, :1], (known.scale.n_rows, 1))
    return rows


class _Each:
    """Calls a function for every block, as `_seeding` wants it.

    What blocks keep between calls is a cache: if it is lost, all calls are made again.
    """

    def __init__(self, groups: Groups, scale: _core.Scale, session: int) -> None:
        self._groups, self._scale, self._session = groups, scale, session
        self._calls: list[_Call] = []

    def __call__(self, function: Callable[..., Any], /, *args: object) -> list[Any]:
        self._calls.append((function, args))
        number = len(self._calls)
        found: list[Any] = [None]
        if self._groups.persisted:
            found = self._groups.each(_call, self._session, self._scale, number, self._calls[-1:])
        if any(each is None for each in found):
            found = self._groups.each(_call, self._session, self._scale, number, self._calls)
        results = [result for each in found for result in each]
        return [result for _, result in sorted(results, key=lambda pair: pair[0])]


@dataclass(frozen=True)
class _Kept:
    """What a group keeps: the blocks of a session after so many calls."""

    session: int
    number: int
    blocks: list[_seeding.Block]


def _call(
    group: Group, session: int, scale: _core.Scale, number: int, calls: list[_Call]
) -> list[tuple[int, Any]] | None:
    """Make the last of `calls`, the `number`-th; return the first row and the result of each block.

    None if what the group kept is lost and `calls` are not all from the first on.
    """
    with group.lock:
        kept, group.cache = group.cache, None
        if isinstance(kept, _Kept) and kept.session == session and kept.number in (number - 1, number):
            blocks, calls = kept.blocks, calls[-1:]
        elif len(calls) == number:
            blocks = [
                _seeding.Block(block.X, block.weights, scale, block.first_row) for block in group.blocks
            ]
        else:
            return None
        results: list[Any] = []
        for function, args in calls:
            own = [aligned(each) if isinstance(each, np.ndarray) else each for each in args]
            results = group.map(_bound(function, blocks, own))
        group.cache = _Kept(session, number, blocks)
    return [(block.first_row, result) for block, result in zip(blocks, results, strict=True)]


def _bound(
    function: Callable[..., Any], blocks: list[_seeding.Block], args: list[Any]
) -> Callable[[int, int], Any]:
    """Return what calls a function with a block by its number."""

    def call(i: int, n_threads: int) -> Any:  # noqa: ANN401  # what the function returns
        blocks[i].n_threads = n_threads
        return function(blocks[i], *args)

    return call
