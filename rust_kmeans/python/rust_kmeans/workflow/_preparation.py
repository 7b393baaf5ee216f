"""What preparing a table has learned, as plain arrays: how values become the features that are clustered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rust_kmeans._data import Floats
from rust_kmeans.workflow._errors import WorkflowError

ScaleName = Literal["standard", "minmax", "robust", "none"]
MissingName = Literal["mean", "median", "drop", "error"]


@dataclass(frozen=True)
class Preparation:
    """How rows in their own units become the features that are clustered, and back.

    A feature is `(x - offset) / divisor`, computed in float64 and rounded once to `dtype`, so that a row has
    the same bits whether it comes alone or with a million others.

    Parameters
    ----------
    names : tuple of str
        The columns that are used, in the order of the features.
    fill : ndarray of shape (n_features,), float64
        What a missing value counts as, in units of the column; NaN where none may be missing.
    lower, upper : ndarray of shape (n_features,), float64
        Rows with a value outside were left out of the fit as outliers; infinite where there is no limit.
    offset, divisor : ndarray of shape (n_features,), float64
        The scaling, in units of the column.
    dtype : {"float32", "float64"}
        Of the features.
    scale, missing, outliers : str
        The options they come from.

    Attributes
    ----------
    n_features : int
        How many columns are used.
    """

    names: tuple[str, ...]
    fill: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    offset: NDArray[np.float64]
    divisor: NDArray[np.float64]
    dtype: Literal["float32", "float64"]
    scale: ScaleName = "none"
    missing: MissingName = "error"
    outliers: str = "none"

    @property
    def n_features(self) -> int:
        """How many columns are used."""
        return len(self.names)

    def filled(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Return rows with missing values filled.

        Parameters
        ----------
        values : ndarray of shape (n_samples, n_features)
            The columns `names`, in units of the columns; NaN is missing.

        Returns
        -------
        ndarray of shape (n_samples, n_features), float64
            The same rows.

        Raises
        ------
        WorkflowError
            For another shape, for infinite values, and for missing values of a column that may have none.
        """
        rows = np.asarray(values, dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] != self.n_features:
            msg = f"rows have shape {rows.shape}: they must be (n_samples, {self.n_features})."
            raise WorkflowError(msg)
        missing = np.isnan(rows)
        if missing.any():
            rows = np.where(missing, self.fill, rows)
        if not np.isfinite(rows).all():
            row, column = np.argwhere(~np.isfinite(rows))[0]
            what = "missing" if missing[row, column] else "infinite"
            msg = f"row {row} has a value of '{self.names[column]}' that is {what}: give a finite number."
            raise WorkflowError(msg)
        return rows

    def features(self, values: NDArray[Any]) -> Floats:
        """Return the features of rows: filled, scaled and rounded to `dtype`.

        Parameters
        ----------
        values : ndarray of shape (n_samples, n_features)
            The columns `names`, in units of the columns; NaN is missing.

        Returns
        -------
        ndarray of shape (n_samples, n_features), `dtype`
            What is clustered.

        Raises
        ------
        WorkflowError
            As `filled`, and for values too large for `dtype`.
        """
        with np.errstate(over="ignore"):
            # Infinite ones are too large, which is said below.
            scaled = (self.filled(values) - self.offset) / self.divisor
        largest = float(np.finfo(self.dtype).max)
        if scaled.size and float(np.abs(scaled).max()) > largest:
            row, column = np.argwhere(np.abs(scaled) > largest)[0]
            msg = f"row {row} has a value of '{self.names[column]}' too large for {self.dtype}."
            raise WorkflowError(msg)
        features: Floats = np.ascontiguousarray(scaled, dtype=self.dtype)
        return features

    def originals(self, features: Floats) -> NDArray[np.float64]:
        """Return features in units of the columns.

        Parameters
        ----------
        features : ndarray of shape (n_samples, n_features)
            As `features` returns them, or centers of them.

        Returns
        -------
        ndarray of shape (n_samples, n_features), float64
            The same rows in units of the columns.
        """
        return np.asarray(features, dtype=np.float64) * self.divisor + self.offset

    def inliers(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """Return which rows have no value outside `lower` and `upper`.

        Parameters
        ----------
        values : ndarray of shape (n_samples, n_features)
            The columns `names`, in units of the columns; what is missing counts as inside.

        Returns
        -------
        ndarray of shape (n_samples,), bool
            False for outliers.
        """
        outside = (values < self.lower) | (values > self.upper)
        return ~np.asarray(outside.any(axis=1))
