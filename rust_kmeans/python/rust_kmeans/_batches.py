"""Data that come in batches: what a stream may be, and its rows in blocks of one size."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from rust_kmeans._base import weights_of
from rust_kmeans._data import Samples, Weights

Block = tuple[Samples, Weights]

# Blocks of float64 of about this size: beside the one worked on there are the one read ahead and its parts.
_BLOCK_BYTES = 8 << 20
# The variance of the features is summed in pieces of so many rows; whole ones make a stream's the same bits.
_PIECE = 4096


class _Batch(NamedTuple):
    """A batch as it came: an array, a sparse matrix or a data frame."""

    X: Any
    sample_weight: Any = None
    # Of the file it was read from, if it was.
    path: Path | None = None


class Stream:
    """The rows of batches in blocks of one size, whatever the size of the batches.

    Parameters
    ----------
    batches : path, array, data frame, pyarrow table or dataset, iterable, or callable
        What `KMeans.fit_stream` and `MiniBatchKMeans.partial_fit_stream` take.
    convert : callable
        Makes a matrix of float32 or float64 out of an array, a sparse matrix or a data frame.
    n_rows : int, default=None
        Rows of a block, but for the last; None for as many as make a few megabytes.
    """

    def __init__(
        self, batches: object, convert: Callable[[Any], Samples], *, n_rows: int | None = None
    ) -> None:
        self._batches = batches
        self._convert = convert
        self._n_rows = n_rows

    @property
    def reads_once(self) -> bool:
        """Whether a second pass would find nothing."""
        return isinstance(self._batches, Iterator)

    def __iter__(self) -> Iterator[Block]:
        """Read the stream from its start, one block ahead of the caller."""
        blocks = self._blocks()
        with ThreadPoolExecutor(max_workers=1) as reader:
            following = reader.submit(next, blocks, None)
            while (block := following.result()) is not None:
                following = reader.submit(next, blocks, None)
                yield block

    def _blocks(self) -> Iterator[Block]:
        held: list[Block] = []
        count = 0
        for X, weights in self._parts():
            size = self._n_rows or _rows_of(X)
            first = 0
            while first < X.shape[0]:
                rows = slice(first, first + size - count)
                held.append((X[rows], None if weights is None else weights[rows]))
                count += held[-1][0].shape[0]
                first = rows.stop
                if count == size:
                    yield _joined(held)
                    held, count = [], 0
        if held:
            yield _joined(held)

    def _parts(self) -> Iterator[Block]:
        weighted = None
        for X, sample_weight, path in self._raw(self._batches, top=True):
            if (X.shape[0] if sparse.issparse(X) else len(X)) == 0:
                continue
            if weighted not in (None, sample_weight is not None):
                msg = "Some batches have weights and some have none: give weights to all of them or to none."
                raise ValueError(msg)
            weighted = sample_weight is not None
            try:
                converted = self._convert(_with_names(X))
            except ValueError as error:
                if path is None:
                    raise
                msg = f"In {path}: {error}"
                raise ValueError(msg) from error
            weights = weights_of(sample_weight)
            if weights is not None and weights.shape[0] != converted.shape[0]:
                msg = f"A batch has {converted.shape[0]} rows and {weights.shape[0]} weights."
                raise ValueError(msg)
            yield converted, weights

    def _raw(self, batches: Any, *, top: bool = False) -> Iterator[_Batch]:  # noqa: ANN401  # whatever users have
        """Yield what can be converted; large arrays in parts."""
        if isinstance(batches, str | os.PathLike):
            yield from self._file(Path(batches))
        elif isinstance(batches, np.ndarray):
            step = _rows_of(batches)
            for first in range(0, max(batches.shape[0], 1), step):
                yield _Batch(batches[first : first + step])
        elif hasattr(batches, "to_batches") or hasattr(batches, "iter_batches"):
            # Of tables and datasets, or of a Parquet file.
            read = batches.to_batches if hasattr(batches, "to_batches") else batches.iter_batches
            for batch in read():
                yield _Batch(batch)
        elif not top and isinstance(batches, tuple):
            if len(batches) != 2:
                msg = f"A batch is a tuple of {len(batches)}: it must be data, or (data, sample_weight)."
                raise ValueError(msg)
            yield _Batch(*batches)
        elif not top or _is_frame(batches) or sparse.issparse(batches):
            yield _Batch(batches)
        elif callable(batches):
            yield from self._raw_of(batches())
        elif isinstance(batches, Iterable) and not isinstance(batches, Mapping | Set | bytes):
            yield from self._raw_of(batches)
        else:
            msg = (
                f"batches is a {type(batches).__name__}: it must be a path, an array, a data frame, a "
                "pyarrow table or dataset, an iterable of batches, or a function that returns one."
            )
            raise TypeError(msg)

    def _raw_of(self, items: Iterable[Any]) -> Iterator[_Batch]:
        for item in items:
            yield from self._raw(item)

    def _file(self, path: Path) -> Iterator[_Batch]:
        if path.suffix == ".npy":
            for X in self._npy(path):
                yield _Batch(X, path=path)
        elif path.suffix in (".parquet", ".pq") or path.is_dir():
            for batch in _parquet(path):
                yield _Batch(batch, path=path)
        else:
            msg = f"{path} is neither a .npy file nor a .parquet file or a folder of them."
            raise ValueError(msg)

    def _npy(self, path: Path) -> Iterator[NDArray[Any]]:
        """Read blocks of a file, rather than map it: pages of a map would count as memory of the process."""
        mapped: NDArray[Any] = np.load(path, mmap_mode="r")
        if mapped.ndim != 2 or not mapped.flags.c_contiguous:
            for batch in self._raw(mapped):
                yield batch.X
            return
        (n, columns), dtype, step = mapped.shape, mapped.dtype, _rows_of(mapped)
        offset: int = getattr(mapped, "offset", 0)
        del mapped
        for first in range(0, n, step):
            count = min(step, n - first) * columns
            start = offset + first * columns * dtype.itemsize
            values = np.fromfile(path, dtype=dtype, count=count, offset=start)
            if values.size < count:
                msg = f"{path} ends before row {first + step}: it was cut while it was read."
                raise ValueError(msg)
            yield values.reshape(-1, columns)


def _rows_of(X: NDArray[Any]) -> int:
    """Return how many rows are read at a time."""
    row_bytes = 8 * max(X.shape[1], 1) if X.ndim == 2 else 8
    return max(_BLOCK_BYTES // row_bytes // _PIECE, 1) * _PIECE


def _is_frame(batches: object) -> bool:
    """Return whether batches is a data frame, and iterating over it would give its columns."""
    return hasattr(batches, "shape") and hasattr(batches, "columns")


def _with_names(X: Any) -> Any:  # noqa: ANN401  # whatever users have
    """Return X; of a pyarrow record batch, whose names scikit-learn does not read, its table."""
    pyarrow = sys.modules.get("pyarrow")
    if pyarrow is not None and isinstance(X, pyarrow.RecordBatch):
        return pyarrow.Table.from_batches([X])
    return X


def _joined(parts: list[Block]) -> Block:
    if len(parts) == 1:
        return parts[0]
    weights = [weights for _, weights in parts if weights is not None]
    matrices = [X for X, _ in parts]
    # Of two kinds, the whole is sparse.
    is_sparse = any(sparse.issparse(X) for X in matrices)
    X = sparse.vstack(matrices, format="csr") if is_sparse else np.concatenate(matrices)
    return X, np.concatenate(weights) if weights else None


def _parquet(path: Path) -> Iterator[Any]:
    try:
        from pyarrow import dataset
    except ImportError as error:
        msg = f"{path} cannot be read without pyarrow: pip install pyarrow."
        raise ImportError(msg) from error
    yield from dataset.dataset(path, format="parquet").to_batches(batch_readahead=1, fragment_readahead=1)
