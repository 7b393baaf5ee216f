"""Where the rows of a fit come from: a table in memory, a file read in parts, or a Dask data frame."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rust_kmeans.workflow._errors import WorkflowError
from rust_kmeans.workflow._tables import (
    PathLike,
    bytes_of,
    frame_of,
    iter_table,
    pieces_of,
    values_of,
)

if TYPE_CHECKING:
    import pandas as pd

#: Told of what goes on: what it is, rows done so far, and of how many if that is known.
Progress = Callable[[str, int, int | None], None]

_CACHED_ROWS = 1 << 13
# Files of numbers that take more than this share of the memory at hand are read in parts: beside them a fit
# needs the values as float64, the features and labels.
_SHARE_OF_MEMORY = 0.2


class Source(Protocol):
    """Rows that can be read again and again, in parts."""

    #: Whether all rows are in memory anyway.
    is_in_memory: bool

    def tables(self) -> Iterator[pd.DataFrame]:
        """Yield the rows with all columns."""

    def values(self, names: Sequence[str]) -> Iterator[NDArray[np.float64]]:
        """Yield some columns as numbers; NaN is missing."""


class InMemory:
    """A table in memory."""

    is_in_memory = True

    def __init__(self, frame: pd.DataFrame) -> None:
        self._frame = frame
        # Those asked for last: a fit asks for the same ones again and again.
        self._values: tuple[tuple[str, ...], NDArray[np.float64]] | None = None

    def tables(self) -> Iterator[pd.DataFrame]:
        """Yield the table."""
        yield self._frame

    def values(self, names: Sequence[str]) -> Iterator[NDArray[np.float64]]:
        """Yield some columns as numbers, in parts for which what is computed of them stays in the cache."""
        if self._values is None or self._values[0] != tuple(names):
            self._values = tuple(names), values_of(self._frame, names)
        values = self._values[1]
        for first in range(0, max(len(values), 1), _CACHED_ROWS):
            yield values[first : first + _CACHED_ROWS]


class Stored:
    """A file that is read in parts, anew in each pass."""

    is_in_memory = False

    def __init__(self, path: PathLike) -> None:
        self._path = path

    def tables(self) -> Iterator[pd.DataFrame]:
        """Yield the rows of the file."""
        return iter_table(self._path)

    def values(self, names: Sequence[str]) -> Iterator[NDArray[np.float64]]:
        """Yield some columns as numbers."""
        for table in iter_table(self._path, names):
            yield values_of(table, names)


class Partitioned:
    """Partitions that Dask computes, of which one is in memory here at a time."""

    is_in_memory = False

    def __init__(self, delayed: Callable[[Sequence[str] | None], list[Any]]) -> None:
        #: Returns the partitions with some columns or all, not computed.
        self.delayed = delayed

    def tables(self) -> Iterator[pd.DataFrame]:
        """Yield the partitions."""
        for part in self.delayed(None):
            yield frame_of(part.compute())

    def values(self, names: Sequence[str]) -> Iterator[NDArray[np.float64]]:
        """Yield some columns as numbers."""
        for part in self.delayed(names):
            yield values_of(part.compute(), names)


def rows_of(table: Any, names: Sequence[str]) -> Iterator[NDArray[np.float64]]:  # noqa: ANN401  # any table
    """Yield columns of a table as numbers, in parts, once.

    Parameters
    ----------
    table : data frame, array of shape (n_samples, n_columns), path, or iterator of tables
        The rows: columns are found by name, those of an array by position. A file is read in parts, as is
        what an iterator gives.
    names : sequence of str
        The columns.

    Yields
    ------
    ndarray of shape (n, n_columns), float64
        The next rows; NaN is missing.
    """
    if isinstance(table, str | Path):
        yield from Stored(table).values(names)
    elif isinstance(table, Iterator):
        for part in table:
            yield values_of(part, names)
    else:
        yield from InMemory(table).values(names)


def is_dask_frame(table: object) -> bool:
    """Return whether a table is a data frame of Dask."""
    return hasattr(table, "map_partitions") and hasattr(table, "to_delayed") and hasattr(table, "columns")


def of_dask_frame(frame: Any) -> Partitioned:  # noqa: ANN401  # Dask ships no types
    """Return the partitions of a Dask data frame."""
    by_name = {str(name): name for name in frame.columns}

    def delayed(names: Sequence[str] | None) -> list[Any]:
        some = frame if names is None else frame[[by_name[name] for name in names]]
        parts: list[Any] = some.to_delayed()
        return parts

    return Partitioned(delayed)


def partitioned(path: PathLike) -> Partitioned:
    """Return the pieces of a file as partitions.

    Raises
    ------
    WorkflowError
        For a file that cannot be read, and without Dask.
    """
    try:
        import dask
    except ImportError as error:
        msg = "Dask is not installed: pip install 'rust-kmeans[dask]'."
        raise WorkflowError(msg) from error
    # Not `read_csv` of Dask: it takes what a column holds from the first rows, and lines in quotes for rows.
    pieces = [dask.delayed(piece) for piece in pieces_of(path)]
    return Partitioned(lambda names: [piece(names) for piece in pieces])


def is_large(path: PathLike) -> bool:
    """Return whether a file is better read in parts, by what its numbers take of the memory at hand."""
    return bytes_of(path) > _SHARE_OF_MEMORY * _memory()


def _memory() -> float:
    """Return how many bytes of memory this process may hope for; infinite if nothing tells."""
    try:
        known = [float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))]
    except (AttributeError, ValueError, OSError):
        return float("inf")
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            known.append(float(Path(limit).read_text()))
        except (OSError, ValueError):
            # Not there, or "max".
            continue
    return min(known)
