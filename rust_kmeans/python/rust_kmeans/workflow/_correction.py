"""Correction of p-values for being many."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def holm(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return p-values corrected for being many (Holm 1979): a level kept by each is kept by all of them.

    Parameters
    ----------
    p_values : ndarray of any shape
        NaN where a test was not made; it counts for nothing.

    Returns
    -------
    ndarray of the same shape
        The corrected p-values, NaN where they were.
    """
    flat = p_values.ravel()
    corrected = np.full(flat.shape, np.nan)
    made = np.flatnonzero(~np.isnan(flat))
    order = made[np.argsort(flat[made], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(flat[order] * factors), 1.0)
    return corrected.reshape(p_values.shape)
