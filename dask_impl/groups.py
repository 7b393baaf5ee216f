"""Where the blocks live: one group of blocks per thread or worker, and one task per group and pass.

A Dask task costs a fraction of a millisecond, as much as an iteration over ten thousand rows; so blocks are
not scheduled one by one. A group also keeps the labels of its rows between passes, which is only a cache: it
is looked up by the centers the labels belong to and computed again when it is missing.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial as bind
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

import dask
import dask.array as da
import dask.threaded
import numpy as np
from threadpoolctl import threadpool_limits

from dask_impl.kernels import FloatArray, LabelArray, aligned

if TYPE_CHECKING:
    from distributed import Client

MIN_SCATTERED_BYTES = 1 << 18

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Block:
    """Consecutive rows of the array: its chunk number, the number of its first row, and the rows."""

    index: int
    first_row: int
    X: FloatArray


class Group:
    """Blocks that are worked on together, in this order, where they lie.

    Parameters
    ----------
    blocks : sequence of Block
        At least one, none empty.
    """

    def __init__(self, blocks: Sequence[Block]) -> None:
        self.blocks = tuple(blocks)
        self._labelled: tuple[FloatArray, list[LabelArray]] | None = None

    def __sizeof__(self) -> int:
        """Return the bytes of the rows, so that the scheduler knows what moving a group would cost."""
        return sum(block.X.nbytes for block in self.blocks)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the cache behind."""
        return {"blocks": self.blocks, "_labelled": None}

    def remember(self, centers: FloatArray, labels: list[LabelArray]) -> None:
        """Keep the labels of each block under these centers."""
        self._labelled = (centers, labels)

    def labels(
        self, centers: FloatArray, predict: Callable[[FloatArray, FloatArray], LabelArray]
    ) -> list[LabelArray]:
        """Return the labels of each block under these centers: the ones kept, or else predicted."""
        # One read of the attribute: another task may replace it meanwhile.
        labelled = self._labelled
        if labelled is not None and np.array_equal(labelled[0], centers):
            return labelled[1]
        return [predict(block.X, centers) for block in self.blocks]


class Groups(Protocol):
    """The groups of an array, wherever they are."""

    dtype: np.dtype[Any]
    n_features: int

    def share(self, value: T) -> T:
        """Return a value, or a stand-in for it that tasks take in its place, so that it travels once."""
        ...

    def map(self, function: Callable[Concatenate[Group, P], T], *args: P.args, **kwargs: P.kwargs) -> list[T]:
        """Return ``function(group, ...)`` of every group, in the order of the rows."""
        ...


@contextmanager
def distribute(X: da.Array, n_threads: int, client: Client | None) -> Iterator[Groups]:
    """Bring an array's blocks into groups.

    Parameters
    ----------
    X : dask.array.Array of shape (n_samples, n_features)
        The samples. Computed once; blocks that are persisted already stay where they are, without a copy.
    n_threads : int
        Threads of this process, and so groups, when there is no client.
    client : distributed.Client or None
        A cluster's client: then there is one group for each worker that holds blocks.

    Raises
    ------
    ValueError
        If the array is not two-dimensional, is split by columns, or has no rows.
    """
    X = _check(X)
    if client is not None:
        yield _ClusterGroups(X, client)
        return
    # Threads share the cores already; a BLAS that starts its own on top would only make them wait.
    with ThreadPoolExecutor(n_threads) as pool, threadpool_limits(1, user_api="blas"):
        yield _ThreadGroups(X, pool, n_threads)


def contiguous_parts(sizes: Sequence[int], n_parts: int) -> list[list[int]]:
    """Split positions 0, 1, ... into at most ``n_parts`` runs of about the same total size.

    Positions of size 0 are left out, and so are empty parts.
    """
    total = sum(sizes)
    parts: list[list[int]] = [[] for _ in range(n_parts)]
    start = 0
    for position, size in enumerate(sizes):
        if size > 0:
            # The part in which the middle of this position falls.
            parts[(2 * start + size) * n_parts // (2 * total)].append(position)
        start += size
    return [part for part in parts if part]


def make_group(chunks: Sequence[int], first_rows: Sequence[int], *arrays: FloatArray) -> Group:
    """Return the group of these chunks; on a cluster, run where they are."""
    return Group(
        [
            Block(chunk, first_row, aligned(array))
            for chunk, first_row, array in zip(chunks, first_rows, arrays, strict=True)
        ]
    )


class _ThreadGroups:
    """Groups in this process, one task each on Dask's threaded scheduler."""

    def __init__(self, X: da.Array, pool: ThreadPoolExecutor, n_threads: int) -> None:
        self.dtype, self.n_features = X.dtype, X.shape[1]
        self._pool = pool
        arrays = dask.compute(*X.to_delayed().ravel(), scheduler="threads", pool=pool)
        sizes = [len(array) for array in arrays]
        first_rows = _first_rows(sizes)
        self._groups = [
            make_group(part, [first_rows[i] for i in part], *(arrays[i] for i in part))
            for part in contiguous_parts(sizes, n_threads)
        ]

    def share(self, value: T) -> T:
        return value

    def map(self, function: Callable[Concatenate[Group, P], T], *args: P.args, **kwargs: P.kwargs) -> list[T]:
        tasks = {i: (bind(function, group, *args, **kwargs),) for i, group in enumerate(self._groups)}
        return list(dask.threaded.get(tasks, list(tasks), pool=self._pool))


class _ClusterGroups:
    """Groups on the workers of a cluster: a group is a future, and so is made again if its worker is lost."""

    def __init__(self, X: da.Array, client: Client) -> None:
        import distributed

        self.dtype, self.n_features = X.dtype, X.shape[1]
        self._client = client
        X = client.persist(X)
        with client.as_current():
            distributed.wait(X)
        by_key = {future.key: future for future in distributed.futures_of(X)}
        futures = [by_key[key] for (key,) in X.__dask_keys__()]
        sizes = X.chunks[0]
        if any(math.isnan(size) for size in sizes):
            sizes = client.gather(client.map(len, futures, pure=False))
        first_rows = _first_rows(sizes)
        holders = client.who_has(futures)
        parts: dict[str, list[int]] = {}
        for chunk, future in enumerate(futures):
            if sizes[chunk] > 0:
                # A chunk may have copies: always the same one of them.
                parts.setdefault(min(holders[future.key]), []).append(chunk)
        # Loosely pinned: if the worker is lost, its part goes on elsewhere. Impure: a repeated call must not
        # be answered from the scheduler's memory.
        self._where = [{"workers": [worker], "allow_other_workers": True, "pure": False} for worker in parts]
        self._groups = [
            client.submit(
                make_group, part, [first_rows[i] for i in part], *(futures[i] for i in part), **where
            )
            for part, where in zip(parts.values(), self._where, strict=True)
        ]

    def share(self, value: T) -> T:
        # Scattering takes some 10 ms: small arrays travel with the tasks instead, one of which a worker gets.
        if not isinstance(value, np.ndarray) or value.nbytes < MIN_SCATTERED_BYTES:
            return value
        shared: T = self._client.scatter(value, broadcast=True, hash=False)
        return shared

    def map(self, function: Callable[Concatenate[Group, P], T], *args: P.args, **kwargs: P.kwargs) -> list[T]:
        futures = [
            self._client.submit(function, group, *args, **kwargs, **where)
            for group, where in zip(self._groups, self._where, strict=True)
        ]
        results: list[T] = self._client.gather(futures)
        return results


def _check(X: da.Array) -> da.Array:
    if X.ndim != 2:
        raise ValueError(f"X must be two-dimensional, not {X.ndim}-dimensional")
    if X.numblocks[1] > 1:
        raise ValueError(
            f"X is split by columns into {X.numblocks[1]} chunks; call X.rechunk({{1: -1}}) first"
        )
    if 0 in X.shape:
        raise ValueError(f"X is empty: its shape is {X.shape}")
    return X if X.dtype in (np.float32, np.float64) else X.astype(np.float64)


def _first_rows(sizes: Sequence[int]) -> list[int]:
    return [0, *itertools.accumulate(sizes)][:-1]
