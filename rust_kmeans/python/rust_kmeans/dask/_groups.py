"""Where blocks are: groups of blocks in this process or on workers, and one task per group and pass.

A task costs Dask up to a millisecond, as much as an iteration over a hundred thousand rows, so blocks are not
scheduled one by one: blocks in memory form one group per worker. Blocks that do not fit into memory are read
again in every pass; then each is a group of its own, made when it is needed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial as bind
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

import dask
import distributed
import numpy as np
from distributed.comm import CommClosedError

from rust_kmeans._data import Floats, Weights
from rust_kmeans.dask._input import Place, Source

if TYPE_CHECKING:
    from distributed import Client, Future

#: Arrays of fewer bytes travel with each task; larger ones are sent once.
_SMALL = 1 << 18
#: Of arrays sent once so many are kept, the latest: an iteration takes its centers and those before.
_SHARED = 3
#: Blocks a thread must have before blocks, rather than the rows of each, are shared among threads.
_BLOCKS_PER_THREAD = 2

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Block:
    """Rows of a chunk, or of several that follow each other: their places, the rows and their weights."""

    places: tuple[Place, ...]
    X: Floats
    weights: Weights

    @property
    def first_row(self) -> int:
        """The number of the first row in X."""
        return self.places[0].first_row

    @property
    def end(self) -> int:
        """The number of the row after the last."""
        return self.first_row + len(self.X)


class Group:
    """Blocks that one task works on, where they lie, and what is kept of them between tasks.

    Parameters
    ----------
    blocks : sequence of Block
        At least one.
    n_threads : int
        Threads of a task.

    Attributes
    ----------
    cache : object
        Whatever a task leaves for the next one. It does not travel: a copy of the group has None.
    lock : threading.Lock
        Held by the task that works with the cache.
    """

    def __init__(self, blocks: Sequence[Block], n_threads: int) -> None:
        # In a group from another process, or one that was spilled, arrays lie wherever the message put them.
        self.blocks = tuple(
            Block(block.places, aligned(block.X), None if block.weights is None else aligned(block.weights))
            for block in blocks
        )
        self.n_threads = n_threads
        self.cache: Any = None
        self.lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None

    def __sizeof__(self) -> int:
        """Return the bytes of the rows: what moving the group would cost."""
        return sum(block.X.nbytes for block in self.blocks)

    def __reduce__(self) -> tuple[type[Group], tuple[tuple[Block, ...], int]]:
        """Leave behind what is kept."""
        return Group, (self.blocks, self.n_threads)

    def map(self, function: Callable[[int, int], T]) -> list[T]:
        """Return ``function(i, n_threads)`` for each block number i; many blocks are shared among threads."""
        numbers = range(len(self.blocks))
        if self.n_threads == 1 or len(self.blocks) < _BLOCKS_PER_THREAD * self.n_threads:
            return [function(i, self.n_threads) for i in numbers]
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.n_threads, "rust_kmeans.dask")
        return list(self._pool.map(lambda i: function(i, 1), numbers))


class Groups(Protocol):
    """The groups of a fit."""

    #: Whether blocks stay in memory from pass to pass.
    persisted: bool

    def share(self, array: Floats) -> Any:  # noqa: ANN401  # an array to type checkers and tasks alike
        """Return what stands for an array among the arguments of `each`."""
        ...

    def each(
        self, function: Callable[Concatenate[Group, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> list[T]:
        """Call a function with each group; return the answers, always in the same order."""
        ...

    def spilled_bytes(self) -> int:
        """Return how many bytes workers hold on disk because of their memory limits."""
        ...

    def close(self) -> None:
        """Let go of the blocks."""
        ...


class LocalGroups:
    """Groups in this process.

    Parameters
    ----------
    sources : list of Source
        The blocks.
    get : callable
        The scheduler that reads them.
    n_workers : int
        Threads of all tasks together.
    n_threads : int or None
        Threads of a task; None for all. Of rows that do not stay in memory see `_threads_of_task`.
    least_rows : int
        Rows that a block in memory has at least, if chunks that follow each other give as many.
    persist : bool
        Whether blocks stay in memory.
    """

    def __init__(
        self,
        sources: list[Source],
        get: Callable[..., Any],
        n_workers: int,
        n_threads: int | None,
        least_rows: int,
        *,
        persist: bool,
    ) -> None:
        self.persisted = persist
        self._get, self._sources = get, [] if persist else sources
        self._threads_of_task = _threads_of_task(n_workers, n_threads)
        self._groups: list[Group] = []
        self._pool: ThreadPoolExecutor | None = None
        if persist:
            threads = n_threads or n_workers
            values = dask.compute([source.parts for source in sources], scheduler=get)[0]
            places = [source.place for source in sources]
            blocks = [_block(place, *parts) for place, parts in zip(places, values, strict=True)]
            shares = split([place.n_rows for place in places], max(1, n_workers // threads))
            self._groups = [
                Group(_merged([blocks[i] for i in share], least_rows), threads) for share in shares
            ]
            self._pool = ThreadPoolExecutor(len(shares), "rust_kmeans.dask")

    def share(self, array: Floats) -> Any:  # noqa: ANN401  # see `Groups`
        """Return the array."""
        return array

    def each(
        self, function: Callable[Concatenate[Group, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> list[T]:
        """Call a function with each group, each on a thread of its own, or as the scheduler has them."""
        if self._pool is None:
            calls = _calls(self._sources, bind(_call, function, args, kwargs), self._threads_of_task)
            return list(dask.compute(*calls, scheduler=self._get))
        if len(self._groups) == 1:
            return [function(self._groups[0], *args, **kwargs)]
        return list(self._pool.map(lambda group: function(group, *args, **kwargs), self._groups))

    def spilled_bytes(self) -> int:
        """Return 0: threads have no limit."""
        return 0

    def close(self) -> None:
        """Let go of the blocks; a task that still runs after Ctrl-C ends by itself."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        self._groups.clear()


class ClusterGroups:
    """Groups on the workers of a cluster.

    A group is a future, and so is made again from its blocks, wherever there is room, if its worker is lost.

    Parameters
    ----------
    sources : list of Source
        The blocks.
    client : distributed.Client
        The client of the cluster.
    n_threads : int or None
        Threads of a task; None for those of the worker. Of rows that do not stay in memory see
        `_threads_of_task`.
    least_rows : int
        Rows that a block in memory has at least, if chunks that follow each other give as many.
    persist : bool
        Whether blocks stay in memory; those that workers have already mostly stay where they are.
    """

    def __init__(
        self,
        sources: list[Source],
        client: Client,
        n_threads: int | None,
        least_rows: int,
        *,
        persist: bool,
    ) -> None:
        self.persisted = persist
        self._client, self._sources = client, sources
        self._n_threads, self._least_rows = n_threads, least_rows
        self._held: list[Future] = []
        self._shared: list[Future] = []
        self._groups: list[Future] = []
        if persist:
            try:
                self._persist()
            except BaseException:
                self.close()
                raise

    def share(self, array: Floats) -> Any:  # noqa: ANN401  # see `Groups`
        """Return the array if it is small, else a future of it.

        Scattering would do it too, but what is scattered is lost with the worker that holds it.
        """
        if not self.persisted or array.nbytes < _SMALL:
            return array
        future = self._client.submit(np.asarray, array, pure=False)
        self._shared.append(future)
        if len(self._shared) > _SHARED:
            self._shared.pop(0).release()
        return future

    def each(
        self, function: Callable[Concatenate[Group, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> list[T]:
        """Call a function with each group, where it is."""
        if self.persisted:
            # Impure: a repeated call must not be answered from the scheduler's memory.
            futures = [
                self._client.submit(function, group, *args, **kwargs, pure=False) for group in self._groups
            ]
        else:
            threads = _threads_of_task(max(threads_of(self._client).values(), default=1), self._n_threads)
            futures = self._client.compute(
                _calls(self._sources, bind(_call, function, args, kwargs), threads)
            )
        try:
            answers: list[T] = self._client.gather(futures)
        finally:
            for future in futures:
                future.release()
        return answers

    def spilled_bytes(self) -> int:
        """Return how many bytes of all data workers hold on disk at this moment.

        A worker that does not answer counts as 0: the fit has its result already.
        """
        try:
            answers = self._client.run(_spilled_bytes, on_error="return")
        except (OSError, RuntimeError, CancelledError):
            return 0
        return sum(answer for answer in answers.values() if isinstance(answer, int))

    def close(self) -> None:
        """Let go of all that the fit holds on the cluster."""
        for future in self._held + self._shared:
            future.release()
        self._held.clear()
        self._shared.clear()
        self._groups.clear()

    def _persist(self) -> None:
        """Read the blocks and make the groups.

        Nothing is pinned to a worker: tasks go where their group is. What is pinned, even loosely, would wait
        for ever if all workers were lost at once, as Dask looks for the old ones.
        """
        client = self._client
        loaded = client.persist([part for source in self._sources for part in source.parts])
        chunks = [distributed.futures_of(part)[0] for part in loaded]
        self._held += chunks
        with client.as_current():
            distributed.wait(chunks)
        # Now there are workers, if there were none before.
        threads = threads_of(client)
        width = len(self._sources[0].parts)
        sizes = [source.place.n_rows for source in self._sources]
        for worker, blocks in self._placed(chunks[::width], sizes, threads).items():
            n_threads = self._n_threads or threads[worker]
            shares = split([sizes[i] for i in blocks], max(1, threads[worker] // n_threads))
            for share in ([blocks[i] for i in share] for share in shares):
                group = client.submit(
                    make_group,
                    [self._sources[i].place for i in share],
                    n_threads,
                    self._least_rows,
                    *(chunk for i in share for chunk in chunks[i * width : (i + 1) * width]),
                    pure=False,
                )
                self._held.append(group)
                self._groups.append(group)
        for chunk in chunks:
            # The groups have the rows from now on.
            chunk.release()
        self._sources = []

    def _placed(
        self, chunks: list[Future], sizes: list[int], threads: dict[str, int]
    ) -> dict[str, list[int]]:
        """Return which blocks each worker shall work on: those it has, unless others have far fewer."""
        holders = self._client.who_has(chunks)
        placed: dict[str, list[int]] = {worker: [] for worker in sorted(threads)}
        for i, chunk in enumerate(chunks):
            # There may be copies: always the same one of them. A block that is lost just now has none.
            known = [worker for worker in holders[chunk.key] if worker in placed]
            placed[min(known or placed)].append(i)

        def load(worker: str, more: int = 0) -> float:
            return (sum(sizes[i] for i in placed[worker]) + more) / threads[worker]

        while True:
            most, least = max(placed, key=load), min(placed, key=load)
            better = [i for i in placed[most] if load(least, sizes[i]) < load(most)]
            if not better:
                return {worker: sorted(blocks) for worker, blocks in placed.items() if blocks}
            moved = max(better, key=lambda i: sizes[i])
            placed[most].remove(moved)
            placed[least].append(moved)


def workers_of(client: Client) -> dict[str, dict[str, Any]]:
    """Return what the scheduler says of each worker, by address.

    ``Client.scheduler_info`` is no help: before it returns, what it asked for may be replaced by what the
    client asks for every two seconds, which names no worker.
    """
    if client.scheduler is None:
        msg = "the client has no scheduler"
        raise CommClosedError(msg)
    found: dict[str, Any] = client.sync(client.scheduler.identity, n_workers=-1)
    workers: dict[str, dict[str, Any]] = found["workers"]
    return workers


def threads_of(client: Client) -> dict[str, int]:
    """Return the address of each worker and the tasks it runs at a time."""
    return {address: worker["nthreads"] for address, worker in workers_of(client).items()}


def _threads_of_task(n_tasks: int, n_threads: int | None) -> int:
    """Return the threads of a task that Dask, not a group, schedules: `n_threads` if it runs alone, else 1.

    Dask runs as many tasks at a time as there are threads, so that more of a task would be too many of all.
    """
    return n_threads or 1 if n_tasks == 1 else 1


def split(sizes: Sequence[int], n_parts: int) -> list[list[int]]:
    """Split positions 0, 1, ... into at most ``n_parts`` runs of about the same total size, none empty."""
    total = sum(sizes)
    parts: list[list[int]] = [[] for _ in range(n_parts)]
    start = 0
    for position, size in enumerate(sizes):
        # The part in which the middle of this position falls.
        parts[min((2 * start + size) * n_parts // (2 * total), n_parts - 1)].append(position)
        start += size
    return [part for part in parts if part]


def make_group(places: list[Place], n_threads: int, least_rows: int, *arrays: Floats) -> Group:
    """Return the group of these chunks; each has one array, or two: rows and weights.

    Smaller ones than `least_rows` are joined with those that follow.
    """
    width = len(arrays) // len(places)
    blocks = [_block(place, *arrays[i * width : (i + 1) * width]) for i, place in enumerate(places)]
    return Group(_merged(blocks, least_rows), n_threads)


def _block(place: Place, X: Floats, weights: Weights = None) -> Block:
    if len(X) != place.n_rows:
        msg = (
            f"Chunk {place.chunk} of X had {place.n_rows} rows at first and has {len(X)} now: it must give "
            "the same rows whenever it is computed."
        )
        raise ValueError(msg)
    if X.shape[1:] != (place.n_features,) or X.dtype != place.dtype:
        msg = (
            f"Chunk {place.chunk} of X has shape {X.shape} and dtype {X.dtype}, while X promises "
            f"{place.n_features} features of dtype {place.dtype}: give what makes the chunks the true meta."
        )
        raise ValueError(msg)
    return Block((place,), X, weights)


def _merged(blocks: list[Block], least_rows: int) -> list[Block]:
    """Return blocks of at least so many rows where chunks that follow each other are smaller.

    What a kernel keeps of a block grows with the centers, which is much for many blocks of few rows.
    """
    runs: list[list[Block]] = []
    n_rows = 0
    for block in blocks:
        if runs and n_rows < least_rows and runs[-1][-1].end == block.first_row:
            runs[-1].append(block)
            n_rows += len(block.X)
        else:
            runs.append([block])
            n_rows = len(block.X)
    return [run[0] if len(run) == 1 else _concatenated(run) for run in runs]


def _concatenated(run: list[Block]) -> Block:
    places = tuple(place for block in run for place in block.places)
    weights = [block.weights for block in run if block.weights is not None]
    X = np.concatenate([block.X for block in run])
    return Block(places, X, np.concatenate(weights) if weights else None)


def aligned(array: Floats) -> Floats:
    """Return the array, or a copy: one from another process lies wherever the message put it."""
    return np.require(array, requirements=["C", "A"])


def _calls(sources: list[Source], call: Callable[..., T], n_threads: int) -> list[Any]:
    """Return delayed calls, one per block; what they share is one node of the graph."""
    shared = dask.delayed(call, pure=False, traverse=False)
    run = dask.delayed(_run, pure=False)
    return [run(shared, source.place, n_threads, *source.parts) for source in sources]


def _run(call: Callable[[Group], T], place: Place, n_threads: int, *arrays: Floats) -> T:
    return call(make_group([place], n_threads, 1, *arrays))


def _call(function: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any], group: Group) -> T:
    return function(group, *args, **kwargs)


def _spilled_bytes(dask_worker: Any) -> int:  # noqa: ANN401  # Dask's types are not known to type checkers
    return int(getattr(dask_worker.data, "spilled_total", (0, 0))[1])
