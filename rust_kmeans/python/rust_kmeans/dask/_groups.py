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
    """Rows of a chunk: their place, the rows and their weights."""

    place: Place
    X: Floats
    weights: Weights


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
            Block(block.place, aligned(block.X), None if block.weights is None else aligned(block.weights))
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
        Threads of a task; None for all.
    persist : bool
        Whether blocks stay in memory.
    """

    def __init__(
        self,
        sources: list[Source],
        get: Callable[..., Any],
        n_workers: int,
        n_threads: int | None,
        *,
        persist: bool,
    ) -> None:
        self.persisted = persist
        self._get, self._sources, self._n_threads = get, sources, n_threads
        self._groups: list[Group] = []
        self._pool: ThreadPoolExecutor | None = None
        if persist:
            threads = n_threads or n_workers
            values = dask.compute([source.parts for source in sources], scheduler=get)[0]
            places = [source.place for source in sources]
            blocks = [_block(place, *parts) for place, parts in zip(places, values, strict=True)]
            shares = split([place.n_rows for place in places], max(1, n_workers // threads))
            self._groups = [Group([blocks[i] for i in share], threads) for share in shares]
            self._pool = ThreadPoolExecutor(len(shares), "rust_kmeans.dask")

    def share(self, array: Floats) -> Any:  # noqa: ANN401  # see `Groups`
        """Return the array."""
        return array

    def each(
        self, function: Callable[Concatenate[Group, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> list[T]:
        """Call a function with each group, each on a thread of its own, or as the scheduler has them."""
        if self._pool is None:
            calls = _calls(self._sources, bind(_call, function, args, kwargs), self._n_threads)
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
        Threads of a task; None for those of the worker.
    persist : bool
        Whether blocks stay in memory; those that workers have already mostly stay where they are.
    """

    def __init__(
        self, sources: list[Source], client: Client, n_threads: int | None, *, persist: bool
    ) -> None:
        self.persisted = persist
        self._client, self._sources, self._n_threads = client, sources, n_threads
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
            futures = self._client.compute(
                _calls(self._sources, bind(_call, function, args, kwargs), self._n_threads)
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
        threads = threads_of(client)
        loaded = client.persist([part for source in self._sources for part in source.parts])
        chunks = [distributed.futures_of(part)[0] for part in loaded]
        self._held += chunks
        with client.as_current():
            distributed.wait(chunks)
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
                    *(chunk for i in share for chunk in chunks[i * width : (i + 1) * width]),
                    pure=False,
                )
                self._held.append(group)
                self._groups.append(group)
        for chunk in chunks:
            # The groups have the rows from now on.
            chunk.release()

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


def threads_of(client: Client) -> dict[str, int]:
    """Return the address of each worker and the tasks it runs at a time."""
    workers = client.scheduler_info(n_workers=-1)["workers"]
    return {address: worker["nthreads"] for address, worker in workers.items()}


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


def make_group(places: list[Place], n_threads: int, *arrays: Floats) -> Group:
    """Return the group of these blocks; each has one array, or two: rows and weights."""
    width = len(arrays) // len(places)
    return Group(
        [_block(place, *arrays[i * width : (i + 1) * width]) for i, place in enumerate(places)], n_threads
    )


def _block(place: Place, X: Floats, weights: Weights = None) -> Block:
    if len(X) != place.n_rows:
        msg = (
            f"Chunk {place.chunk} of X had {place.n_rows} rows at first and has {len(X)} now: it must give "
            "the same rows whenever it is computed."
        )
        raise ValueError(msg)
    return Block(place, X, weights)


def aligned(array: Floats) -> Floats:
    """Return the array, or a copy: one from another process lies wherever the message put it."""
    return np.require(array, requirements=["C", "A"])


def _calls(sources: list[Source], call: Callable[..., T], n_threads: int | None) -> list[Any]:
    """Return delayed calls, one per block; what they share is one node of the graph."""
    shared = dask.delayed(call, pure=False, traverse=False)
    run = dask.delayed(_run, pure=False)
    return [run(shared, source.place, n_threads or 1, *source.parts) for source in sources]


def _run(call: Callable[[Group], T], place: Place, n_threads: int, *arrays: Floats) -> T:
    return call(make_group([place], n_threads, *arrays))


def _call(function: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any], group: Group) -> T:
    return function(group, *args, **kwargs)


def _spilled_bytes(dask_worker: Any) -> int:  # noqa: ANN401  # Dask's types are not known to type checkers
    return int(getattr(dask_worker.data, "spilled_total", (0, 0))[1])
