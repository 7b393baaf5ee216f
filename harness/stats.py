"""What figures of several repeats say: medians, bootstrap intervals, paired ratios, slopes, instability.

Arrays in, numbers out: nothing here knows of rows or files. No value is left out, however far it lies from
the others; an interval that a few repeats cannot give is NaN, never a guess.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Floats = NDArray[np.float64]

#: Of every interval, unless another is asked for.
CONFIDENCE = 0.95
#: Bootstrap samples of an interval, and the seed they are drawn with: the same rows give the same interval.
N_RESAMPLES = 2_000
SEED = 0
#: The range of n repeats holds the median with probability 1 - 2**(1 - n): six are the fewest for 95 %, and
#: of fewer the interval is no more than the range seen.
MIN_REPEATS = 6
#: Interquartile range over median above which repeats disagree too much for the third digit of a ratio.
WIDE_SPREAD = 0.10
#: A repeat in which the median implementation takes this much more than it mostly does: the machine, not it.
NOISY_REPEAT = 0.10
#: Load per core when the run began, above which something else was running.
NOISY_LOAD = 0.5
#: Slowdown from the first repeat to the last, of all implementations alike, that is no noise any more.
THROTTLING = 0.05
#: Fewer implementations than this cannot tell a slow machine from a slow implementation.
MIN_IMPLEMENTATIONS = 3
#: Rows of samples bootstrapped at a time: some 50 MB of resamples.
_BATCH = 256


class Instability(StrEnum):
    """Why figures should be read with care."""

    TOO_FEW_REPEATS = "too few repeats"
    WIDE_SPREAD = "wide spread"
    NOISY_MACHINE = "noisy machine"
    THROTTLING = "throttling"


@dataclass(frozen=True)
class Interval:
    """An estimate and what it may as well be.

    Parameters
    ----------
    estimate : float
        NaN if there is no value at all.
    low, high : float
        Ends of the interval; NaN where the values are too few for any.
    """

    estimate: float
    low: float
    high: float

    @property
    def known(self) -> bool:
        """Whether there is an interval and not the estimate alone."""
        return not math.isnan(self.low)


NOTHING = Interval(math.nan, math.nan, math.nan)


def median_interval(values: ArrayLike, confidence: float = CONFIDENCE) -> Interval:
    """Return the median and its bootstrap interval.

    Parameters
    ----------
    values : array-like of shape (n_repeats,)
        All of them count.
    confidence : float, default=0.95
        Of the interval, two-sided.
    """
    samples = np.asarray(values, dtype=np.float64)
    if samples.size == 0:
        return NOTHING
    low, high = median_bounds(samples[None, :], confidence)
    return Interval(float(np.median(samples)), float(low[0]), float(high[0]))


def median_bounds(samples: Floats, confidence: float = CONFIDENCE) -> tuple[Floats, Floats]:
    """Return the ends of the bootstrap intervals of many medians.

    Percentile bootstrap (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13) by
    `scipy.stats.bootstrap`. It is kept to the percentile method because the others need an estimate of the
    median's bias or variance that a handful of repeats does not hold.

    Parameters
    ----------
    samples : ndarray of shape (n_rows, n_repeats)
        One median a row. All rows are resampled alike, so that what a row gets does not depend on the others.
    confidence : float, default=0.95
        Of the intervals, two-sided.

    Returns
    -------
    low, high : ndarray of shape (n_rows,)
        NaN if there is but one repeat.
    """
    n_rows, n_repeats = samples.shape
    low, high = np.full(n_rows, np.nan), np.full(n_rows, np.nan)
    if n_repeats < 2:
        return low, high
    for start in range(0, n_rows, _BATCH):
        rows = slice(start, start + _BATCH)
        interval = stats.bootstrap(
            (samples[rows],),
            np.median,
            axis=-1,
            vectorized=True,
            n_resamples=N_RESAMPLES,
            confidence_level=confidence,
            method="percentile",
            rng=SEED,
        ).confidence_interval
        low[rows], high[rows] = interval.low, interval.high
    return low, high


def ragged_medians(rows: Floats, confidence: float = CONFIDENCE) -> tuple[Floats, Floats, Floats]:
    """Return medians and ends of their intervals where some repeats are missing.

    Parameters
    ----------
    rows : ndarray of shape (n_rows, n_repeats)
        NaN where there is no value.
    confidence : float, default=0.95
        Of the intervals, two-sided.

    Returns
    -------
    estimates, low, high : ndarray of shape (n_rows,)
        Of the values each row has.
    """
    estimates, low, high = (np.full(len(rows), np.nan) for _ in range(3))
    counts = np.count_nonzero(~np.isnan(rows), axis=1)
    for count in np.unique(counts[counts > 0]):
        chosen = counts == count
        members = rows[chosen]
        samples = members[~np.isnan(members)].reshape(-1, count)
        estimates[chosen] = np.median(samples, axis=1)
        low[chosen], high[chosen] = median_bounds(samples, confidence)
    return estimates, low, high


def paired_ratio(numerators: ArrayLike, denominators: ArrayLike, confidence: float = CONFIDENCE) -> Interval:
    """Return the median of the ratios repeat by repeat, and its bootstrap interval.

    Two measurements of one repeat stand next to each other in time (and, on the default track, have the same
    seed), so that a drift of the machine falls on both and cancels. Ratios are taken on a logarithmic scale:
    the ratio of b to a is the inverse of that of a to b, interval included.

    Parameters
    ----------
    numerators, denominators : array-like of shape (n_repeats,)
        Positive; entry r of both is of repeat r. A pair in which one is NaN is left out, since it has no
        ratio.
    confidence : float, default=0.95
        Of the interval, two-sided.
    """
    logs = log_ratios(np.asarray(numerators, dtype=np.float64), np.asarray(denominators, dtype=np.float64))
    return exponential(median_interval(logs[~np.isnan(logs)], confidence))


def log_ratios(numerators: Floats, denominators: Floats) -> Floats:
    """Return the logarithms of ratios, entry by entry; NaN where one of the two is."""
    return np.log(numerators) - np.log(denominators)


def mean_ratio(cells: Sequence[ArrayLike], confidence: float = CONFIDENCE) -> Interval:
    """Return the geometric mean over cells of their median ratios, and its bootstrap interval.

    The cells were chosen, not drawn: what is resampled are the repeats within each, so the interval says
    what measuring the same cells again would give, not what other data would.

    Parameters
    ----------
    cells : sequence of array-like of shape (n_repeats,)
        Logarithms of paired ratios, a cell an array.
    confidence : float, default=0.95
        Of the interval, two-sided.
    """
    samples = [np.asarray(cell, dtype=np.float64) for cell in cells]
    if not samples:
        return NOTHING
    estimate = float(np.mean([np.median(sample) for sample in samples]))
    if min(map(len, samples)) < 2:
        return exponential(Interval(estimate, math.nan, math.nan))

    def mean_of_medians(*resamples: Floats, axis: int) -> Floats:
        medians = [np.median(resample, axis=axis) for resample in resamples]
        return np.asarray(np.mean(medians, axis=0))

    interval = stats.bootstrap(
        samples,
        mean_of_medians,
        vectorized=True,
        n_resamples=N_RESAMPLES,
        confidence_level=confidence,
        method="percentile",
        rng=SEED,
    ).confidence_interval
    return exponential(Interval(estimate, float(interval.low), float(interval.high)))


def undisturbed_ratio(
    numerators: ArrayLike, denominators: ArrayLike, confidence: float = CONFIDENCE
) -> Interval:
    """Return the ratio of the first quartiles of two series of times, and its bootstrap interval.

    What else runs on a machine can only add to a time, seldom and much: the quarter that was disturbed least
    tells two builds of one program apart with fewer repeats than the median does. Pairs are resampled
    together, so that a drift of the machine falls on both.

    Parameters
    ----------
    numerators, denominators : array-like of shape (n_repeats,)
        Positive; entry r of both is of repeat r.
    confidence : float, default=0.95
        Of the interval, two-sided; none of fewer than two repeats.
    """
    above, below = np.asarray(numerators, dtype=np.float64), np.asarray(denominators, dtype=np.float64)
    if above.size == 0:
        return NOTHING

    def quartiles(first: Floats, second: Floats, axis: int) -> Floats:
        return np.asarray(np.log(np.quantile(first, 0.25, axis=axis) / np.quantile(second, 0.25, axis=axis)))

    estimate = float(quartiles(above, below, axis=0))
    if above.size < 2:
        return exponential(Interval(estimate, math.nan, math.nan))
    interval = stats.bootstrap(
        (above, below),
        quartiles,
        paired=True,
        vectorized=True,
        n_resamples=N_RESAMPLES,
        confidence_level=confidence,
        method="percentile",
        rng=SEED,
    ).confidence_interval
    return exponential(Interval(estimate, float(interval.low), float(interval.high)))


def exponential(interval: Interval) -> Interval:
    """Return the interval of what an interval is the logarithm of."""
    # A ratio to about nothing may be beyond all numbers.
    with np.errstate(over="ignore"):
        ends = np.exp([interval.estimate, interval.low, interval.high])
    return Interval(*map(float, ends))


def spread(values: ArrayLike) -> float:
    """Return the interquartile range over the median, NaN of fewer than two values."""
    samples = np.asarray(values, dtype=np.float64)
    if samples.size < 2:
        return math.nan
    lower, middle, upper = np.percentile(samples, [25, 50, 75])
    return float((upper - lower) / middle)


def slow_repeats(times: Floats) -> list[int]:
    """Return the repeats in which the machine was slower than it mostly was.

    Parameters
    ----------
    times : ndarray of shape (n_implementations, n_repeats)
        Of one cell; NaN where there is none.

    Returns
    -------
    list of int
        Repeats in which the median over the implementations of time over own median exceeds 1.1. None with
        fewer than three implementations, which cannot tell the machine from themselves.
    """
    known = times[~np.isnan(times).all(axis=1)]
    if len(known) < MIN_IMPLEMENTATIONS:
        return []
    relative = known / np.nanmedian(known, axis=1, keepdims=True)
    return [
        repeat
        for repeat, column in enumerate(relative.T)
        if np.count_nonzero(~np.isnan(column)) >= MIN_IMPLEMENTATIONS
        and np.nanmedian(column) > 1 + NOISY_REPEAT
    ]


def slowdown(times: Floats, confidence: float = CONFIDENCE) -> Interval:
    """Return how much slower everything became from the first repeat of a cell to the last.

    Least squares of the logarithm of time on the repeat, all implementations with one slope: it is the
    machine's if it is common to them, and what is not common widens the interval.

    Parameters
    ----------
    times : ndarray of shape (n_implementations, n_repeats)
        Of one cell; NaN where there is none.
    confidence : float, default=0.95
        Of the interval, two-sided.

    Returns
    -------
    Interval
        Of the last time over the first; nothing with fewer than three implementations or three repeats.
    """
    seen = ~np.isnan(times)
    if np.count_nonzero(seen.any(axis=1)) < MIN_IMPLEMENTATIONS or times.shape[1] < 3:
        return NOTHING
    implementations, repeats = np.nonzero(seen)
    slope = log_slope(np.exp(repeats), times[seen], implementations, confidence)
    span = times.shape[1] - 1
    return exponential(Interval(slope.estimate * span, slope.low * span, slope.high * span))


def machine_instability(times: Floats, load_per_core: float) -> list[Instability]:
    """Name what was wrong with the machine while one cell was measured.

    Parameters
    ----------
    times : ndarray of shape (n_implementations, n_repeats)
        Of the cell; NaN where there is none.
    load_per_core : float
        Load average over cores when the run began; NaN where the system tells none.
    """
    named = []
    if load_per_core > NOISY_LOAD or slow_repeats(times):
        named.append(Instability.NOISY_MACHINE)
    if slowdown(times).low > 1 + THROTTLING:
        named.append(Instability.THROTTLING)
    return named


def sample_instability(values: ArrayLike) -> list[Instability]:
    """Name what is wrong with the repeats of one figure."""
    samples = np.asarray(values, dtype=np.float64)
    named = []
    if samples.size < MIN_REPEATS:
        named.append(Instability.TOO_FEW_REPEATS)
    if spread(samples) > WIDE_SPREAD:
        named.append(Instability.WIDE_SPREAD)
    return named


def log_slope(
    x: ArrayLike, y: ArrayLike, groups: ArrayLike | None = None, confidence: float = CONFIDENCE
) -> Interval:
    """Return the exponent b of ``y = a x**b`` by least squares on logarithms, and its interval.

    Parameters
    ----------
    x, y : array-like of shape (n_points,)
        Positive.
    groups : array-like of shape (n_points,), optional
        Points of one group share a factor ``a``; b is common to all. Without: one group.
    confidence : float, default=0.95
        Of the interval (Student's t), two-sided.

    Returns
    -------
    Interval
        Nothing where no group has two values of x; without an interval where no point is left to tell the
        error from.
    """
    log_x, log_y = np.log(np.asarray(x, dtype=np.float64)), np.log(np.asarray(y, dtype=np.float64))
    labels = np.zeros(log_x.size, dtype=np.int64)
    if groups is not None:
        labels = np.unique(np.asarray(groups), return_inverse=True)[1]
    counts = np.bincount(labels)
    centered_x = log_x - (np.bincount(labels, log_x) / counts)[labels]
    centered_y = log_y - (np.bincount(labels, log_y) / counts)[labels]
    # Rounding of the mean leaves a trace where all x of a group are one value.
    total = float(centered_x @ centered_x)
    if total <= 1e-12:
        return NOTHING
    slope = float(centered_x @ centered_y) / total
    freedom = log_x.size - counts.size - 1
    if freedom < 1:
        return Interval(slope, math.nan, math.nan)
    residuals = centered_y - slope * centered_x
    error = math.sqrt(float(residuals @ residuals) / freedom / total)
    reach = float(stats.t.ppf((1 + confidence) / 2, freedom)) * error
    return Interval(slope, slope - reach, slope + reach)
