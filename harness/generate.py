"""Generated data: Gaussian blobs of any size, and the two-Gaussians teaching set.

The bytes are promised. Random bits come from Philox, a counter-based generator whose raw stream NumPy
keeps stable, keyed by the seed and positioned by the absolute row; they become normal deviates through
addition, multiplication, division and square root alone, which IEEE 754 defines to the last bit, one NumPy
call each, so that nothing is fused. No logarithm of a math library, no distribution of
``numpy.random.Generator``: those differ in the last bit between CPUs and versions. The same arguments
therefore give the same values for any block size, on any machine with IEEE doubles.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from decimal import Decimal

import numpy as np
import numpy.typing as npt

from harness.errors import UserError

Float64Array = npt.NDArray[np.float64]
UInt64Array = npt.NDArray[np.uint64]

#: Part of every cache name: raise it when a change alters a single byte.
GENERATOR_VERSION = 1

#: Side of the cube around the origin that the centers of blobs are uniform in.
CUBE_SIDE = 20.0

#: A larger spread would take samples beyond the range of float32.
MAX_SPREAD = 1e30

#: Words that keep the uses of one seed apart.
SAMPLES, CENTERS, START, OFFSETS = 0, 1, 2, 3

#: The work unit: rows that share a counter. It must never depend on the block size, and is small enough
#: for a unit's arrays to stay in a core's cache.
_UNIT_VALUES = 40_960
_UNIT_ROWS = 4_096


def blobs(
    n_samples: int,
    n_features: int,
    n_clusters: int,
    *,
    seed: int = 0,
    spread: float = 2.0,
    imbalance: float = 1.0,
    block_rows: int | None = None,
) -> Iterator[Float64Array]:
    """Return Gaussian blobs block by block.

    A larger ``n_samples`` continues a smaller one: the first rows are the same.

    Parameters
    ----------
    n_samples, n_features, n_clusters : int
        Shape, and number of blobs. Their centers are uniform in a cube of side 20 around the origin.
    seed : int
        Seed of centers and samples.
    spread : float
        Standard deviation of every blob in every direction; 0 puts the samples on the centers.
    imbalance : float
        Ratio of the largest blob's expected share to the smallest's, at least 1; the shares are a geometric
        progression. Each sample draws its blob, so that sizes vary around the shares.
    block_rows : int, optional
        Rows of a block, about 16 MB of them by default. Has no influence on the values.

    Returns
    -------
    iterator of ndarray of shape (at most block_rows, n_features), float64
        The samples in order, each block made when it is asked for.

    Raises
    ------
    UserError
        If a parameter is out of its range.
    """
    if min(n_samples, n_features, n_clusters) < 1:
        raise UserError(
            f"blobs: {n_samples} samples, {n_features} features, {n_clusters} clusters; none may be 0"
        )
    if not 0 <= spread <= MAX_SPREAD:
        raise UserError(f"blobs: spread {spread} is out of range; give a number from 0 to {MAX_SPREAD:g}")
    if not 1 <= imbalance < math.inf:
        raise UserError(f"blobs: imbalance {imbalance} is not a ratio of largest to smallest; give 1 or more")
    centers = blob_centers(n_features, n_clusters, seed=seed)
    shares = cumulative_shares(n_clusters, imbalance)
    rows = block_rows or max(1, 2**21 // n_features)
    # A function yields nothing itself, so that a wrong value is refused at the call, not at the first block.
    return (
        _blob_rows(range(start, min(start + rows, n_samples)), centers, shares, seed=seed, spread=spread)
        for start in range(0, n_samples, rows)
    )


def two_gaussians(*, seed: int = 0) -> Float64Array:
    """Return the teaching set: 100 points around (1, 1), then 100 around (5, 5), both of unit deviation.

    Returns
    -------
    ndarray of shape (200, 2), float64
        The points.
    """
    points = normals(random_words(seed, SAMPLES, 0, 400)).reshape(200, 2)
    points += np.repeat([[1.0], [5.0]], 100, axis=0)
    return points


def blob_centers(n_features: int, n_clusters: int, *, seed: int = 0) -> Float64Array:
    """Return the true centers of the blobs, of shape (n_clusters, n_features), float64."""
    words = random_words(seed, CENTERS, 0, n_clusters * n_features)
    return ((_uniforms(words) - 0.5) * CUBE_SIDE).reshape(n_clusters, n_features)


def cumulative_shares(n_clusters: int, imbalance: float) -> Float64Array:
    """Return the running sum of the blobs' expected shares, largest first: (n_clusters,), ending at 1."""
    # Decimal powers are computed digit by digit in software; the math library's may differ in the last bit.
    steps = max(1, n_clusters - 1)
    weights = [float(Decimal(imbalance) ** (Decimal(-i) / steps)) for i in range(n_clusters)]
    running = np.cumsum(weights)
    shares: Float64Array = running / running[-1]
    return shares


def random_words(seed: int, purpose: int, unit: int, count: int) -> UInt64Array:
    """Return ``count`` random 64-bit words of one unit of one purpose of a seed (Philox 4x64-10)."""
    key = np.array([seed % 2**64, purpose], dtype=np.uint64)
    counter = np.array([0, unit, 0, 0], dtype=np.uint64)
    words: UInt64Array = np.random.Philox(key=key, counter=counter).random_raw(count)
    return words


def normals(words: UInt64Array) -> Float64Array:
    """Turn random words into standard normal deviates, of relative accuracy 1e-7, one each.

    The quantile function of Wichura (1988), Algorithm AS 241: The Percentage Points of the Normal
    Distribution, Applied Statistics 37(3), routine PPND7. Deviates reach from -8.2 to 8.2.
    """
    uniform = _uniforms(words)
    q = uniform - 0.5
    r = 0.180625 - q * q
    deviates = _ratio(r, _CENTRAL)
    deviates *= q
    outer = np.flatnonzero(np.abs(q) > 0.425)
    tail = uniform[outer]
    upper = tail > 0.5
    np.subtract(1.0, tail, out=tail, where=upper)
    depth = np.sqrt(-_log(tail))
    far = depth > 5.0
    values = _ratio(depth - 1.6, _MIDDLE)
    values[far] = _ratio(depth[far] - 5.0, _FAR)
    np.negative(values, out=values, where=~upper)
    deviates[outer] = values
    return deviates


def _blob_rows(
    wanted: range, centers: Float64Array, shares: Float64Array, *, seed: int, spread: float
) -> Float64Array:
    n_features = centers.shape[1]
    unit_rows = min(_UNIT_ROWS, max(1, _UNIT_VALUES // n_features))
    block = np.empty((len(wanted), n_features))
    for unit in range(wanted.start // unit_rows, -(-wanted.stop // unit_rows)):
        first = unit * unit_rows
        rows = slice(max(wanted.start - first, 0), min(wanted.stop - first, unit_rows))
        target = block[first + rows.start - wanted.start : first + rows.stop - wanted.start]
        words = random_words(seed, SAMPLES, unit, rows.stop * (n_features + 1))
        words = words.reshape(rows.stop, n_features + 1)[rows]
        # One word per sample picks its blob, the others are its coordinates.
        blob = np.searchsorted(shares, _uniforms(words[:, 0]), side="right")
        np.multiply(normals(words[:, 1:].ravel()).reshape(target.shape), spread, out=target)
        target += centers[blob]
    return block


def _uniforms(words: UInt64Array) -> Float64Array:
    # The middles of 2**52 equal cells: exact in a double, and never 0 or 1, where the quantile is infinite.
    uniform = (words >> np.uint64(12)).astype(np.float64)
    uniform += 0.5
    uniform *= 2.0**-52
    return uniform


def _log(values: Float64Array) -> Float64Array:
    # values = m * 2**e with m in [1/2, 1): log = (e - 1/2) log 2 + 2 atanh(s), s = (m - c)/(m + c),
    # c = sqrt(1/2), where |s| < 0.172 and the odd series to s**17 is exact to 1e-15.
    mantissa, exponent = np.frexp(values)
    s = (mantissa - _HALF_ROOT) / (mantissa + _HALF_ROOT)
    square = s * s
    series = np.full_like(s, 2.0 / 17)
    for odd in range(15, 0, -2):
        series *= square
        series += 2.0 / odd
    series *= s
    series += (exponent - 0.5) * _LOG_2
    return series


def _ratio(x: Float64Array, coefficients: tuple[tuple[float, ...], tuple[float, ...]]) -> Float64Array:
    upper, lower = (_polynomial(x, c) for c in coefficients)
    upper /= lower
    return upper


def _polynomial(x: Float64Array, coefficients: tuple[float, ...]) -> Float64Array:
    value = np.full_like(x, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        value *= x
        value += c
    return value


_HALF_ROOT = 0.7071067811865476
_LOG_2 = 0.6931471805599453

# PPND7: numerator and denominator, from the constant up, of the three ranges.
_CENTRAL = (
    (3.3871327179, 50.434271938, 159.29113202, 59.109374720),
    (1.0, 17.895169469, 78.757757664, 67.187563600),
)
_MIDDLE = (
    (1.4234372777, 2.7568153900, 1.3067284816, 0.17023821103),
    (1.0, 0.73700164250, 0.12021132975),
)
_FAR = (
    (6.6579051150, 3.0812263860, 0.42868294337, 0.017337203997),
    (1.0, 0.24197894225, 0.012258202635),
)
