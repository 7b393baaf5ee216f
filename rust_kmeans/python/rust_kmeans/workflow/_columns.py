"""Ranges, means, spreads and quantiles of columns that come in parts: the same bits however they are cut.

Values are of size `LARGEST` at most, so that squares do not overflow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Gives rows of float64 in parts, the same ones each time it is called; NaN is missing.
Parts = Callable[[], Iterable[NDArray[np.float64]]]
#: Values of a larger size count as infinite.
LARGEST = 1e150

# Rows that are worked on at a time, so that what is computed of them stays in the cache.
_PIECE = 4096
# Of more rows than these, quantiles are bracketed by a sample of so many: the more there are the longer it
# takes to sort them, and the fewer values lie in the brackets.
_SAMPLED_ROWS = 1 << 15
# A bracket reaches so many standard deviations of the rank of a quantile in a sample.
_REACH = 6.0


@dataclass(frozen=True)
class Ranges:
    """How many values columns have, and between which they lie.

    Parameters
    ----------
    n_rows : int
        Rows of the parts.
    present : ndarray of shape (n_columns,), int64
        Rows in which a column has a value.
    lowest, highest : ndarray of shape (n_columns,), float64
        Of the values; NaN without any.
    """

    n_rows: int
    present: NDArray[np.int64]
    lowest: NDArray[np.float64]
    highest: NDArray[np.float64]


def ranges(parts: Parts, n_columns: int) -> Ranges:
    """Return the ranges of columns, after one pass."""
    n_rows = 0
    present = np.zeros(n_columns, dtype=np.int64)
    lowest, highest = np.full(n_columns, np.nan), np.full(n_columns, np.nan)
    for part in _pieces(parts):
        n_rows += len(part)
        present += np.count_nonzero(~np.isnan(part), axis=0)
        lowest = np.fmin(lowest, np.fmin.reduce(part, axis=0))
        highest = np.fmax(highest, np.fmax.reduce(part, axis=0))
    return Ranges(n_rows, present, lowest, highest)


def means(parts: Parts, known: Ranges) -> NDArray[np.float64]:
    """Return the means of what is not missing, after one pass; NaN for a column without values."""
    largest = np.fmax(np.abs(known.lowest), np.abs(known.highest))
    total = _sums(parts, np.zeros_like(largest), _units(largest), known, power=1)
    # The mean lies in the range of the values, whatever rounding makes of it.
    return np.clip(_ratio(total, known.present), known.lowest, known.highest)


def deviations(parts: Parts, known: Ranges, about: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the roots of the mean squares of what is not missing less `about`, after one pass.

    `about` lies in the ranges; where it is the means, these are the standard deviations.
    """
    unit = _units(np.fmax(about - known.lowest, known.highest - about))
    total = _sums(parts, about, unit, known, power=2)
    roots: NDArray[np.float64] = np.sqrt(_ratio(total, known.present)) * unit
    return roots


def quantiles(parts: Parts, known: Ranges, probabilities: list[float]) -> NDArray[np.float64]:
    """Return quantiles of what is not missing, interpolated linearly, shape (n_columns, n_probabilities).

    Up to 32,768 rows are sorted. Of more rows a sample is, from which follows between which values each
    quantile must lie; a second pass counts the values outside and gathers those between, so that the result
    is exact too. Columns without values have NaN.
    """
    n_columns = len(known.present)
    sample = _sample(parts, known.n_rows, n_columns)
    columns = [np.sort(column[~np.isnan(column)]) for column in sample.T]
    if known.n_rows <= _SAMPLED_ROWS:
        wanted = [[_interpolated(column, p) for p in probabilities] for column in columns]
        return np.array(wanted).reshape(n_columns, len(probabilities))
    del sample
    found = np.full((n_columns, len(probabilities)), np.nan)
    open_ones = [
        _Bracket(j, i, p, known.present[j])
        for j in range(n_columns)
        for i, p in enumerate(probabilities)
        if known.present[j]
    ]
    reach = _REACH
    while open_ones:
        for bracket in open_ones:
            bracket.place(columns[bracket.column], reach)
        for part in _pieces(parts):
            by_column = np.ascontiguousarray(part.T)
            for bracket in open_ones:
                bracket.add(by_column[bracket.column])
        for bracket in open_ones:
            found[bracket.column, bracket.position] = bracket.quantile()
        open_ones = [one for one in open_ones if math.isnan(found[one.column, one.position])]
        reach *= 8.0
    return found


class _Bracket:
    """One quantile of one column: two values between which it lies, and what is found there."""

    def __init__(self, column: int, position: int, probability: float, count: int) -> None:
        self.column, self.position = column, position
        self._probability = probability
        self._rank = probability * (int(count) - 1)

    def place(self, sample: NDArray[np.float64], reach: float) -> None:
        """Choose the values by a sorted sample; `reach` is in standard deviations of the rank."""
        p, size = self._probability, len(sample)
        spread = reach * (math.sqrt(size * p * (1.0 - p)) + 1.0)
        low, high = math.floor(p * size - spread), math.ceil(p * size + spread)
        self._low = sample[low] if low >= 0 else -math.inf
        self._high = sample[high] if high < size else math.inf
        # Values that occur often are counted rather than kept.
        self._below = self._at_low = self._at_high = 0
        self._between: list[NDArray[np.float64]] = []

    def add(self, values: NDArray[np.float64]) -> None:
        below = int(np.count_nonzero(values < self._low))
        up_to_low = values <= self._low
        self._below += below
        self._at_low += int(np.count_nonzero(up_to_low)) - below
        if self._high > self._low:
            self._at_high += int(np.count_nonzero(values == self._high))
            self._between.append(values[(values < self._high) & ~up_to_low])

    def quantile(self) -> float:
        """Return the quantile, or NaN if it lies elsewhere."""
        between = np.concatenate(self._between) if self._between else np.empty(0)
        first = math.floor(self._rank)
        # One value alone where the rank is whole: the next may lie outside.
        ranks = [first] if self._rank == first else [first, first + 1]
        ends = np.cumsum([self._at_low, len(between), self._at_high])
        values = []
        for rank in ranks:
            place = rank - self._below
            if not 0 <= place < ends[-1]:
                return math.nan
            if place < ends[0]:
                values.append(float(self._low))
            elif place < ends[1]:
                place -= ends[0]
                values.append(float(np.partition(between, place)[place]))
            else:
                values.append(float(self._high))
        return _between(values[0], values[-1], self._rank - first)


def _interpolated(column: NDArray[np.float64], probability: float) -> float:
    """Return a quantile of sorted values."""
    if not len(column):
        return math.nan
    rank = probability * (len(column) - 1)
    first = math.floor(rank)
    return _between(float(column[first]), float(column[min(first + 1, len(column) - 1)]), rank - first)


def _between(low: float, high: float, share: float) -> float:
    # Not low + share * (high - low): the difference may overflow, and equal values must stay what they are.
    return low if low == high else low * (1.0 - share) + high * share


def _sample(parts: Parts, n_rows: int, n_columns: int) -> NDArray[np.float64]:
    """Return all rows, or if they are many one drawn from each of equal stretches."""
    size = _SAMPLED_ROWS
    if n_rows <= size:
        held = list(parts())
        return np.concatenate(held) if held else np.empty((0, n_columns))
    starts = np.arange(size) * (n_rows / size)
    inside = np.random.default_rng(0).random(size) * (n_rows / size)
    rows = np.minimum((starts + inside).astype(np.int64), n_rows - 1)
    sample = np.empty((size, n_columns))
    first = 0
    for part in parts():
        low, high = np.searchsorted(rows, (first, first + len(part)))
        sample[low:high] = part[rows[low:high] - first]
        first += len(part)
    return sample


def _pieces(parts: Parts) -> Iterator[NDArray[np.float64]]:
    for part in parts():
        for first in range(0, len(part), _PIECE):
            yield part[first : first + _PIECE]


def _units(largest: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return powers of two that are larger, so that dividing by them is exact; 1 for zero and for NaN."""
    exponents = np.frexp(np.where(largest > 0, largest, 0.5))[1]
    # Smaller ones have no inverse; there are no values that would need larger ones.
    return np.ldexp(1.0, np.maximum(exponents, -1000))


def _sums(
    parts: Parts, about: NDArray[np.float64], unit: NDArray[np.float64], known: Ranges, *, power: int
) -> NDArray[np.float64]:
    """Return sums of ((values - about) / unit) ** power, what is missing left out, in any order alike.

    Each term, of size at most 1, is cut into a multiple of one power of two and a multiple of a smaller
    one. Both are so large that sums of `n_rows` of them are float64 numbers, so that no addition rounds. See
    `exact_sum.rs` of the kernel for the proof.
    """
    bits = max(known.n_rows, 1).bit_length() + 2
    coarse = math.ldexp(1.0, bits - 53)
    fine = math.ldexp(coarse, bits - 54)
    # Adding and subtracting these rounds to a multiple.
    to_coarse, to_fine = math.ldexp(1.5 * coarse, 52), math.ldexp(1.5 * fine, 52)
    is_gappy = bool((known.present < known.n_rows).any())
    high, low = np.zeros(len(unit)), np.zeros(len(unit))
    for part in _pieces(parts):
        terms = (part - about) / unit
        if is_gappy:
            terms[np.isnan(part)] = 0.0
        if power == 2:
            terms *= terms
        rounded = (terms + to_coarse) - to_coarse
        high += rounded.sum(axis=0)
        low += ((terms - rounded + to_fine) - to_fine).sum(axis=0)
    totals: NDArray[np.float64] = high + low
    return totals if power == 2 else totals * unit


def _ratio(total: NDArray[np.float64], count: NDArray[np.int64]) -> NDArray[np.float64]:
    ratios: NDArray[np.float64] = np.full(len(total), np.nan)
    return np.divide(total, count, out=ratios, where=count > 0)
