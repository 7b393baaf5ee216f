"""Preparing tables as a transformer of scikit-learn."""

# scikit-learn ships no types.
# mypy: disallow-subclassing-any=False

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from rust_kmeans._data import Floats
from rust_kmeans.workflow._errors import WorkflowError
from rust_kmeans.workflow._learning import DtypeName, Options, UnusableName, learn
from rust_kmeans.workflow._preparation import MissingName, ScaleName
from rust_kmeans.workflow._sources import InMemory
from rust_kmeans.workflow._tables import frame_of, has_columns, values_of

if TYPE_CHECKING:
    import pandas as pd


class TablePreparer(TransformerMixin, BaseEstimator):
    """Learns how a table's rows become features to cluster: columns, missing values, outliers, scaling.

    Parameters
    ----------
    columns : sequence of str, default=None
        The columns to use, in this order; None for all.
    drop : sequence of str, default=()
        Columns not to use.
    scale : {"standard", "minmax", "robust", "none"}, default="standard"
        What a column is less and is divided by: its mean and standard deviation, its smallest value and
        range, its median and the range of its middle half (its standard deviation where that is zero), or
        nothing.
    missing : {"median", "mean", "drop", "error"}, default="median"
        What a missing value is: filled with the median or the mean of the column, a reason to leave the row
        out, or an error. In `transform` it is an error wherever it is not filled.
    outliers : str, default="gross"
        Which rows are left out of what is learned: "gross" for those with a value that lies beyond the middle
        99 % of its column (from the 0.5 to the 99.5 percentile) by more than 10 times its width, "iqr" beyond
        the quartiles by 1.5 times the range between them, "zscore" more than 3 standard deviations from the
        mean, "none" for none. "iqr:3" and the like give another factor. Where the width is zero there is no
        limit. Rows with infinite values, or larger ones than 1e150, are left out in any case.
    unusable : {"drop", "error"}, default="drop"
        What happens to columns that hold text, dates or categories, are constant or have no value, and,
        unless they are named in `columns`, those missing in more than half of the rows and those without a
        name that number the rows.
    dtype : {"float32", "float64"}, default="float32"
        Of the features.

    Attributes
    ----------
    preparation_ : Preparation
        What was learned.
    decisions_ : list of Decision
        What was decided, column by column.
    n_features_in_ : int
        Columns seen in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names.

    Notes
    -----
    Means and standard deviations are summed so that they are the same bits for rows in any parts; quantiles
    are exact. `transform` leaves no row out: a transformer must not. Booleans count as 0 and 1.

    Examples
    --------
    >>> import pandas as pd
    >>> from rust_kmeans.workflow import TablePreparer
    >>> table = pd.DataFrame({"size": [1.0, 3.0, None], "name": ["a", "b", "c"]})
    >>> preparer = TablePreparer(scale="minmax").fit(table)
    >>> preparer.transform(table)[:, 0].tolist()
    [0.0, 1.0, 0.5]
    >>> print(preparer.decisions_[0])
    dropped name: it holds text, such as 'a'
    """

    def __init__(
        self,
        columns: Sequence[str] | None = None,
        *,
        drop: Sequence[str] = (),
        scale: ScaleName = "standard",
        missing: MissingName = "median",
        outliers: str = "gross",
        unusable: UnusableName = "drop",
        dtype: DtypeName = "float32",
    ) -> None:
        self.columns = columns
        self.drop = drop
        self.scale = scale
        self.missing = missing
        self.outliers = outliers
        self.unusable = unusable
        self.dtype = dtype

    def fit(self, X: Any, y: object = None) -> Self:  # noqa: ANN401  # whatever users have
        """Learn from a table.

        Parameters
        ----------
        X : data frame of pandas or polars, pyarrow table, or array-like of shape (n_samples, n_columns)
            The table.
        y : ignored
            For scikit-learn's interface.

        Returns
        -------
        TablePreparer
            Itself.

        Raises
        ------
        WorkflowError
            For parameters that are not valid, tables without usable rows or columns, and what the parameters
            say is an error.
        """
        frame = frame_of(X)
        options = Options(**self.get_params())
        learned = learn(InMemory(frame), options, _say_nothing)
        self.preparation_, self.decisions_ = learned.preparation, learned.decisions
        self.n_features_in_ = frame.shape[1]
        self.feature_names_in_ = np.array(frame.columns, dtype=object)
        return self

    def transform(self, X: Any) -> Floats:  # noqa: ANN401  # whatever users have
        """Return the features of rows.

        Parameters
        ----------
        X : data frame of pandas or polars, pyarrow table, or array-like of shape (n_samples, n_columns)
            The rows, columns of a frame by name, those of an array as in `fit`.

        Returns
        -------
        ndarray of shape (n_samples, n_features), `dtype`
            Their features.

        Raises
        ------
        WorkflowError
            For columns that are not there or hold no numbers, and for values that are infinite, or missing
            and not filled.
        """
        check_is_fitted(self)
        return self.preparation_.features(values_of(self._named(X), self.preparation_.names))

    def inverse_transform(self, X: Floats) -> NDArray[np.float64]:
        """Return features in units of the columns in use.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
            Features.

        Returns
        -------
        ndarray of shape (n_samples, n_features), float64
            The same rows; what was filled stays so.
        """
        check_is_fitted(self)
        return self.preparation_.originals(X)

    def get_feature_names_out(self, input_features: object = None) -> NDArray[np.object_]:
        """Return the names of the columns in use.

        Parameters
        ----------
        input_features : ignored
            For scikit-learn's interface.

        Returns
        -------
        ndarray of shape (n_features,), object
            The names, in the order of the features.
        """
        check_is_fitted(self)
        return np.array(self.preparation_.names, dtype=object)

    def _named(self, X: Any) -> pd.DataFrame:  # noqa: ANN401  # whatever users have
        frame = frame_of(X)
        if has_columns(X):
            return frame
        if frame.shape[1] != self.n_features_in_:
            msg = f"X has {frame.shape[1]} features, but {type(self).__name__} expects {self.n_features_in_}."
            raise WorkflowError(msg)
        return frame.set_axis(self.feature_names_in_, axis=1)

    def __sklearn_tags__(self) -> Any:  # noqa: ANN401  # scikit-learn's own type, which it does not publish
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = []
        return tags


def _say_nothing(stage: str, n_rows: int, total: int | None) -> None:
    """Tell no one."""
