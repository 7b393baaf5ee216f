"""Rows as JSON says them: a list, an object with names, or many of either."""

from __future__ import annotations

import math
from dataclasses import dataclass
from http import HTTPStatus
from itertools import chain
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from rust_kmeans.workflow._model import ClusterModel
from rust_kmeans.workflow.service._bodies import few, kind_of, object_of, refuse_repeated_names
from rust_kmeans.workflow.service._refusals import Refusal, unprocessable


class Rows(NamedTuple):
    """Rows of a request.

    Parameters
    ----------
    values : ndarray of shape (n_samples, n_features), float64
        In units of the columns; NaN is missing.
    alone : bool
        Whether the request has one row and no list of rows.
    """

    values: NDArray[np.float64]
    alone: bool


@dataclass(frozen=True)
class Accepted:
    """What rows a model takes.

    Parameters
    ----------
    names : tuple of str
        The columns.
    may_miss : tuple of bool
        Of each column, whether a value may be missing.
    largest : float
        No value may have a larger magnitude.
    max_rows : int
        Rows of a request.
    """

    names: tuple[str, ...]
    may_miss: tuple[bool, ...]
    largest: float
    max_rows: int

    @classmethod
    def by(cls, model: ClusterModel, max_rows: int) -> Self:
        """Return what a model takes: magnitudes that no scaling and no squared distance overflows."""
        of = model.preparation
        most = float(np.finfo(np.float32).max) if of.dtype == "float32" else _LARGEST_FEATURE
        bound = float((most * np.minimum(of.divisor, 1.0) - np.abs(of.offset)).min())
        # A round number reads well in the description of the service.
        largest = 10.0 ** math.floor(math.log10(max(bound, np.finfo(np.float64).tiny)))
        return cls(model.names, tuple(np.isfinite(of.fill).tolist()), largest, max_rows)

    def refuse_many(self, n_rows: int) -> None:
        """Refuse no rows and too many."""
        if n_rows == 0:
            msg = "there are no rows: send at least one."
            raise unprocessable(msg)
        if n_rows > self.max_rows:
            reason = f"there are {n_rows} rows: send at most {self.max_rows} at a time."
            raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, reason)

    def numbers(self, flat: list[Any]) -> NDArray[np.float64]:
        """Return JSON's values, row after row, as rows of numbers, null as NaN; refuse all others."""
        if not _NUMBERS.issuperset(map(type, flat)):
            place = next(place for place, value in enumerate(flat) if type(value) not in _NUMBERS)
            row, column = divmod(place, len(self.names))
            msg = f"row {row} has {kind_of(flat[place])} for '{self.names[column]}': it must be a number."
            raise unprocessable(msg)
        values = np.array(flat, dtype=np.float64).reshape(-1, len(self.names))
        self.refuse_large(values)
        return values

    def refuse_large(self, values: NDArray[np.floating[Any]]) -> None:
        """Refuse values that would overflow."""
        large = np.abs(values) > self.largest
        if large.any():
            row, column = np.argwhere(large)[0]
            msg = f"row {row} has a value of '{self.names[column]}' beyond {self.largest:g}: it is too large."
            raise unprocessable(msg)


def rows_of(body: bytes, accepted: Accepted) -> Rows:
    """Return the rows of a request.

    Parameters
    ----------
    body : bytes
        JSON, `{"features": rows}`: an array of numbers, an object of numbers by name, or an array of arrays
        or of objects. Null is missing.
    accepted : Accepted
        What rows may be.

    Returns
    -------
    Rows
        In the order of the columns.

    Raises
    ------
    Refusal
        4xx with the first thing that is wrong.
    """
    document = object_of(body)
    if document.keys() != {"features"}:
        unknown = document.keys() - {"features"}
        msg = f"{few(unknown)} is not known: send 'features' alone." if unknown else "'features' is missing."
        raise unprocessable(msg)
    features = document["features"]
    if not isinstance(features, list | dict):
        msg = f"'features' is {kind_of(features)}: it must be a row or an array of rows."
        raise unprocessable(msg)
    alone = isinstance(features, dict) or not (features and isinstance(features[0], list | dict))
    rows: list[Any] = [features] if alone else list(features)
    accepted.refuse_many(len(rows))
    flat = _flat(rows, accepted.names)
    values = accepted.numbers(flat)
    # What is no number, however deep, has been refused.
    refuse_repeated_names(body)
    return Rows(values, alone)


#: Squares of such features, and sums of many, are far from overflowing float64.
_LARGEST_FEATURE = 1e140
_NUMBERS = frozenset((float, int, type(None)))


def _flat(rows: list[Any], names: tuple[str, ...]) -> list[Any]:
    """Return the values of all rows, one row after the other; refuse rows unlike the first or the model."""
    kind = type(rows[0])
    if set(map(type, rows)) != {kind}:
        place = next(place for place, row in enumerate(rows) if type(row) is not kind)
        msg = f"row {place} is {kind_of(rows[place])}: row 0 is {kind_of(rows[0])}, and all must be alike."
        raise unprocessable(msg)
    if kind is dict:
        rows = _by_name(rows, names)
    elif set(map(len, rows)) != {len(names)}:
        place = next(place for place, row in enumerate(rows) if len(row) != len(names))
        msg = f"row {place} has {len(rows[place])} values: it must have {len(names)}."
        raise unprocessable(msg)
    return rows[0] if len(rows) == 1 else list(chain.from_iterable(rows))


def _by_name(rows: list[dict[str, Any]], names: tuple[str, ...]) -> list[list[Any]]:
    expected = set(names)
    for place, row in enumerate(rows):
        if row.keys() != expected:
            absent = [name for name in names if name not in row]
            unknown = sorted(row.keys() - expected)
            wrong = (
                f"has no {few(absent)}" if absent else f"has {few(unknown)}, which the model does not know"
            )
            msg = f"row {place} {wrong}: name each of the {len(names)} columns once."
            raise unprocessable(msg)
    return [[row[name] for name in names] for row in rows]
