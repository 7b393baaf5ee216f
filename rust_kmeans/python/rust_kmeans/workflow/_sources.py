"""Where the rows of a fit come from: a table in memory, a file read in parts, or a Dask data frame."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rust_kmeans.workflow._tables import PathLike, bytes_of, frame_of, iter_table, values_of

if TYPE_CHECKING:
    import pandas as pd

#: Told of what goes on: what it is, rows done so far, and of how many if that is known.
Progress = Callable[[str, int, int | None], None]

# Files of numbers that take more than this share of the memory at hand are read in parts: beside them a fit
# needs the values as float64, the features and labels.
_SHARE_OF_MEMORY = 0.2


class Source(Protocol):
    """Rows that can be read again and again, in parts."""

    #: Whether all rows are in memory anyway, in one part.
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

    def tables(self) -> Iterator[pd.DataFrame]:
        """Yield the table."""
        yield self._frame

    def values(self, names: Sequence[str]) -> Iterator[NDArray[np.float64]]:
        """Yield some columns as numbers."""
        yield values_of(self._frame, names)


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
    """A Dask data frame, of which one partition is in memory at a time."""

    is_in_memory = False

    def __init__(self, frame: Any) -> None:  # noqa: ANN401  # Dask ships no types
        self.frame = frame

    def tables(self) -> Iterator[pd.DataFrame]:
        """Yield the partitions."""
        for part in self.frame.to_delayed():
            yield frame_of(part.compute())

    def values(self, names: Sequence[str]) -> Iterator[NDArray[np.float64]]:
        """Yield some columns as numbers."""
        for part in self.frame[list(names)].to_delayed():
            yield values_of(part.compute(), names)


def is_larger_than_memory(path: PathLike) -> bool:
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
