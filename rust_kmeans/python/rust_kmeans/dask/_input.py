"""What a fit reads: Dask arrays and data frames as blocks of rows, and the weights that go with them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NamedTuple

import dask
import dask.array as da
import numpy as np

from rust_kmeans._data import FLOATS, Floats

#: Dask's own types are not known to type checkers.
Collection = Any
Compute = Callable[[list[Any]], list[Any]]


class Place(NamedTuple):
    """Where a block stands in X, and what X promises of it.

    Its chunk, the number of its first row, how many rows and features it has, and of what dtype.
    """

    chunk: int
    first_row: int
    n_rows: int
    n_features: int
    dtype: np.dtype[Any]


@contextmanager
def naming(chunk: int, first_row: float, n_rows: int) -> Iterator[None]:
    """Say in a ValueError which block of X it is about; its first row is NaN if that is unknown."""
    try:
        yield
    except ValueError as error:
        rows = "" if math.isnan(first_row) else f" (rows {first_row} to {first_row + n_rows - 1})"
        msg = f"Block {chunk} of X{rows}: {error}"
        raise ValueError(msg) from None


@dataclass(frozen=True)
class Source:
    """A block that can be read: its place, and its rows and (if there are any) weights, each delayed."""

    place: Place
    parts: list[Any]


@dataclass(frozen=True)
class Samples:
    """X as an array, and what scikit-learn's checks of features read.

    Parameters
    ----------
    array : dask.array.Array of shape (n_samples, n_features), float32 or float64
        The rows; chunks may be unknown, features lie in one chunk.
    meta : ndarray or data frame of no rows
        Number and names of the features.
    """

    array: da.Array
    meta: Any


def is_lazy(X: object) -> bool:
    """Return whether X is one of Dask's collections."""
    return bool(dask.is_dask_collection(X))


def samples(X: Collection, dtype: np.dtype[Any] | None = None) -> Samples:
    """Return a Dask array or data frame as samples.

    Parameters
    ----------
    X : dask.array.Array or dask.dataframe.DataFrame
        The samples.
    dtype : dtype, default=None
        What they are converted to; None for float32 if they are, else float64.

    Raises
    ------
    ValueError
        If X is not two-dimensional, has no features, or its features lie in several chunks.
    TypeError
        If X is no such collection or does not hold numbers.
    """
    if not (is_lazy(X) and hasattr(X, "to_delayed") and hasattr(X, "ndim")):
        msg = (
            f"X is a {type(X).__name__}: rust_kmeans.dask takes Dask arrays and data frames; "
            "for data in memory use rust_kmeans.KMeans, or dask.array.from_array(X)."
        )
        raise TypeError(msg)
    if X.ndim != 2:
        msg = f"X has {X.ndim} dimension(s): it must have two, (n_samples, n_features)."
        raise ValueError(msg)
    if hasattr(X, "columns"):
        return _of_frame(X, dtype)
    if not isinstance(X._meta, np.ndarray):
        msg = (
            f"The chunks of X are of type {type(X._meta).__name__}: they must be NumPy arrays; "
            "for sparse chunks call X.map_blocks(lambda chunk: chunk.toarray()) first."
        )
        raise TypeError(msg)
    if X.dtype.kind not in "biufO":
        msg = f"X has dtype {X.dtype}: k-means needs real numbers."
        raise TypeError(msg)
    if math.isnan(X.shape[1]):
        msg = "The number of features of X is unknown: call X.compute_chunk_sizes() first."
        raise ValueError(msg)
    if X.shape[1] == 0:
        msg = f"X has shape {X.shape}: at least one feature is needed."
        raise ValueError(msg)
    if X.numblocks[1] > 1:
        msg = (
            f"The features of X lie in {X.numblocks[1]} chunks: a sample must lie in one; "
            "call X.rechunk({1: -1}) first."
        )
        raise ValueError(msg)
    if dtype is None:
        dtype = X.dtype if X.dtype in FLOATS else np.dtype(np.float64)
    return Samples(X.astype(dtype, copy=False), np.empty((0, X.shape[1]), dtype))


def sizes_of(X: Samples, compute: Compute) -> list[int]:
    """Return the number of rows of each chunk, computed where it is unknown.

    Raises
    ------
    ValueError
        If there are no rows.
    """
    sizes: list[Any] = list(X.array.chunks[0])
    if any(math.isnan(size) for size in sizes):
        # Those of the very chunks: of a frame of fewer columns Dask may make fewer partitions.
        sizes = compute(_lengths(X.array))
    _check_rows(X, sum(sizes))
    return [int(size) for size in sizes]


def sources(X: da.Array, sizes: Sequence[int], sample_weight: object, compute: Compute) -> list[Source]:
    """Return the blocks of X that have rows.

    Parameters
    ----------
    X : dask.array.Array of shape (n_samples, n_features)
        The samples.
    sizes : sequence of int
        Rows of each chunk.
    sample_weight : dask array, series, array-like of shape (n_samples,), or None
        Weights, cut however they are.
    compute : callable
        Computes delayed values.

    Raises
    ------
    ValueError
        For weights of another shape.
    """
    firsts = [0, *accumulate(sizes)]
    places = [Place(i, firsts[i], size, X.shape[1], X.dtype) for i, size in enumerate(sizes)]
    chunks = X.to_delayed().ravel().tolist()
    if sample_weight is None:
        return [Source(place, [chunk]) for place, chunk in zip(places, chunks, strict=True) if place.n_rows]
    filled = [(place, chunk) for place, chunk in zip(places, chunks, strict=True) if place.n_rows]
    weights = _weights(sample_weight, [place for place, _ in filled], compute)
    return [Source(place, [chunk, part]) for (place, chunk), part in zip(filled, weights, strict=True)]


def stream(X: Samples, sample_weight: object, compute: Compute) -> Iterator[tuple[Place, list[Floats]]]:
    """Yield the blocks of X that have rows, each with its weights if there are any, and computed once.

    Only with weights, which are cut as X is, unknown chunks are computed twice.

    Raises
    ------
    ValueError
        If there are no rows, and for weights of another shape.
    """
    if sample_weight is not None:
        for source in sources(X.array, sizes_of(X, compute), sample_weight, compute):
            yield source.place, compute(source.parts)
        return
    first_row = 0
    for i, chunk in enumerate(X.array.to_delayed().ravel()):
        rows = compute([chunk])
        place = Place(i, first_row, len(rows[0]), X.array.shape[1], X.array.dtype)
        first_row += place.n_rows
        if place.n_rows > 0:
            yield place, rows
    _check_rows(X, first_row)


def _check_rows(X: Samples, n_samples: int) -> None:
    if n_samples == 0:
        msg = f"X has shape (0, {X.array.shape[1]}): at least one sample is needed."
        raise ValueError(msg)


def _of_frame(X: Collection, dtype: np.dtype[Any] | None) -> Samples:
    from pandas.api.types import is_complex_dtype, is_numeric_dtype

    if len(X.columns) == 0:
        msg = "X has no columns: at least one feature is needed."
        raise ValueError(msg)
    for name, kind in X.dtypes.items():
        if not is_numeric_dtype(kind) or is_complex_dtype(kind):
            msg = f"Column {name!r} of X has dtype {kind}: k-means needs real numbers; encode it or drop it."
            raise TypeError(msg)
    if dtype is None:
        dtype = _dtype_of_columns(list(X.dtypes))
    shape = (math.nan, len(X.columns))
    rows = dask.delayed(_rows_of_frame, pure=True)
    parts = [da.from_delayed(rows(part, dtype), shape=shape, dtype=dtype) for part in X.to_delayed()]
    return Samples(da.concatenate(parts, allow_unknown_chunksizes=True), X._meta)


def _dtype_of_columns(kinds: list[Any]) -> np.dtype[Any]:
    """Return float32 if that is the common dtype of the columns, else float64, as the local estimators do.

    The nullable dtypes of pandas make it float64 there.
    """
    is_plain = all(isinstance(kind, np.dtype) for kind in kinds)
    common = np.result_type(*kinds) if is_plain else np.dtype(np.float64)
    return common if common in FLOATS else np.dtype(np.float64)


def _rows_of_frame(part: Any, dtype: np.dtype[Any]) -> Floats:  # noqa: ANN401  # a data frame
    rows: Floats = part.to_numpy(dtype=dtype, na_value=np.nan)
    return rows


def _lengths(X: da.Array) -> list[Any]:
    return [dask.delayed(len)(chunk) for chunk in X.to_delayed().ravel()]


def _weights(sample_weight: Any, places: list[Place], compute: Compute) -> Iterator[Any]:  # noqa: ANN401  # whatever users have
    """Yield the weights of each place, delayed."""
    n_samples = places[-1].first_row + places[-1].n_rows
    if not is_lazy(sample_weight):
        weights = np.asarray(sample_weight)
        _check_weights(weights, n_samples)
        weights = weights.astype(np.float64, copy=False)
        for place in places:
            part = weights[place.first_row : place.first_row + place.n_rows]
            yield dask.delayed(part, pure=False, traverse=False)
        return
    # Of the type: a delayed value has whatever attribute one asks for.
    if hasattr(type(sample_weight), "to_dask_array"):
        array = sample_weight.to_dask_array()
    elif isinstance(sample_weight, da.Array):
        array = sample_weight
    else:
        msg = (
            f"sample_weight is a {type(sample_weight).__name__}: it must be a Dask array, a Dask series or "
            "an array in memory."
        )
        raise TypeError(msg)
    if array.ndim != 1:
        _check_weights(array, n_samples)
    if any(math.isnan(size) for size in array.chunks[0]):
        known = tuple(compute(_lengths(array)))
        array = da.Array(array.dask, array.name, (known,), array.dtype)
    _check_weights(array, n_samples)
    array = array.astype(np.float64)
    sizes = tuple(place.n_rows for place in places)
    filled = [i for i, size in enumerate(array.chunks[0]) if size > 0]
    if tuple(array.chunks[0][i] for i in filled) != sizes:
        array = array.rechunk((sizes,))
        filled = list(range(len(sizes)))
    chunks = array.to_delayed()
    yield from (chunks[i] for i in filled)


def _check_weights(weights: Any, n_samples: int) -> None:  # noqa: ANN401  # of NumPy or of Dask
    if weights.dtype.kind not in "biufO":
        msg = f"sample_weight has dtype {weights.dtype}: weights must be real numbers."
        raise TypeError(msg)
    if weights.shape != (n_samples,):
        msg = (
            f"sample_weight has shape {weights.shape}: one weight for each sample is needed, "
            f"shape ({n_samples},)."
        )
        raise ValueError(msg)
