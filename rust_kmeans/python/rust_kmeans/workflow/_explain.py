"""What the clusters of a model are, told from a table: sizes, centers, spread, what sets each one apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from rust_kmeans._data import Floats
from rust_kmeans.workflow import _correction, _effects
from rust_kmeans.workflow._effects import CIRCULAR, LARGE, MEDIUM, SMALL
from rust_kmeans.workflow._errors import WorkflowError
from rust_kmeans.workflow._files import write_bytes
from rust_kmeans.workflow._groups import Groups, grouped
from rust_kmeans.workflow._learning import kept
from rust_kmeans.workflow._model import ClusterModel
from rust_kmeans.workflow._preparation import Preparation
from rust_kmeans.workflow._tables import read_table, values_of

if TYPE_CHECKING:
    import pandas as pd

#: Rows that the projection is learned from, at most.
N_PROJECTED = 50_000
#: Pairwise tests above which none is made: nobody reads them, and each one costs all others significance.
MAX_TESTS = 200_000
#: What stands in a file of `Explanation.tables`, for the reader of the folder.
COLUMNS: Mapping[str, str] = {
    "sizes": "Rows of each cluster: n_samples, their share (0..1), and the share in the rows of the fit.",
    "centers": "The model's centers in units of the columns, one line a cluster.",
    "spread": "Each column in each cluster, in its units: n present and n missing values, mean, std (divided "
    "by n - 1), iqr (q75 - q25), quantiles from min to max. Missing values take no part.",
    "effects": "Each column in each cluster against all other rows: both means in units of the column; "
    "hedges_g, the difference in pooled standard deviations with a 95 % interval (low, high); effect, its "
    f"size in words by the end of the interval that is nearer to 0 (small from {SMALL}, medium from "
    f"{MEDIUM}, large from {LARGE}, Cohen 1988). The intervals are as circular as the p-values: too narrow, "
    "and too far from 0.",
    "features": "Each column over all clusters: eta_squared, the share of its variance between the clusters "
    "(0..1); Fisher's analysis of variance (f, its degrees of freedom df and df_within, p_value, p_adjusted) "
    "and Welch's (welch_...), which does not take equal spreads for granted; p_adjusted is corrected over "
    f"the columns (Holm 1979). reason: what was not tested, and why. {CIRCULAR}",
    "tests": "Welch's t-test of each column between each two clusters: difference of the means in units of "
    "the column, t, df, p_value, p_adjusted (corrected over all of these tests, Holm 1979). reason: why a "
    f"test was not made. {CIRCULAR}",
}


@dataclass(frozen=True)
class Projection:
    """The features in the plane in which they scatter most (principal components).

    Parameters
    ----------
    points : ndarray of shape (n_points, 2), float64
        A sample of the rows.
    labels : ndarray of shape (n_points,), int32
        Their clusters.
    centers : ndarray of shape (n_clusters, 2), float64
        Of the model.
    explained : ndarray of shape (2,), float64
        Share of the variance along each axis, 0..1.
    n_projected : int
        Rows that the plane was found from.
    """

    points: NDArray[np.float64]
    labels: NDArray[np.int32]
    centers: NDArray[np.float64]
    explained: NDArray[np.float64]
    n_projected: int


@dataclass(frozen=True)
class Explanation:
    """Clusters in numbers: `describe_clusters` makes words of them and `write_explanation` a page.

    Parameters
    ----------
    model_id : str
        Of the model.
    names : tuple of str
        The columns, in the order of the features.
    n_samples : int
        Rows of the table that are explained.
    n_outliers : int
        Rows outside the limits of the fit, left out here as they were there.
    n_incomplete : int
        Rows left out for missing values, where the fit does not fill them.
    groups : Groups
        What the tables below are made of, with the histograms.
    sizes : DataFrame
        A line a cluster: cluster, n_samples, share, share_of_fit.
    centers : DataFrame of shape (n_clusters, n_features)
        In units of the columns.
    spread : DataFrame
        A line a cluster and feature: cluster, feature, n, missing, mean, std, iqr, min, q05, q25, median,
        q75, q95, max.
    effects : DataFrame
        A line a cluster and feature: cluster, feature, mean, mean_of_rest, hedges_g, low, high, effect.
    features : DataFrame
        A line a feature, what sets the clusters apart most first: feature, eta_squared, f, df, df_within,
        p_value, p_adjusted, welch_f, welch_df, welch_df_within, welch_p_value, welch_p_adjusted, reason.
    tests : DataFrame
        A line a feature and pair of clusters: feature, cluster, other, difference, t, df, p_value,
        p_adjusted, reason. Empty above `MAX_TESTS` pairs.
    projection : Projection or None
        None for a single feature and for rows that are all equal.

    Attributes
    ----------
    n_clusters : int
        How many clusters the model has.
    tables : dict of str to DataFrame
        All tables by name, as `write_explanation_tables` stores them.

    Notes
    -----
    Tests on clusters that were fitted to the same columns are circular: `CIRCULAR` stands wherever this
    library shows a p-value.
    """

    model_id: str
    names: tuple[str, ...]
    n_samples: int
    n_outliers: int
    n_incomplete: int
    groups: Groups
    sizes: pd.DataFrame
    centers: pd.DataFrame
    spread: pd.DataFrame
    effects: pd.DataFrame
    features: pd.DataFrame
    tests: pd.DataFrame
    projection: Projection | None

    @property
    def n_clusters(self) -> int:
        """How many clusters the model has."""
        return len(self.sizes)

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """All tables by name, as `write_explanation_tables` stores them."""
        return {name: getattr(self, name) for name in COLUMNS}


def explain(
    model: ClusterModel,
    table: object,
    *,
    n_points: int = 2_000,
    random_state: int | np.random.RandomState | None = 0,
) -> Explanation:
    """Tell what sets the clusters of a model apart, from the rows of a table.

    All figures are of all rows; only the projection draws a sample. Missing values take no part in any
    figure, though they are filled to find the cluster of a row.

    Parameters
    ----------
    model : ClusterModel
        What clusters are.
    table : str, Path, pandas or polars DataFrame, or array of shape (n_samples, n_features)
        The rows of the fit or others of the same kind; the columns of an array are those of the model.
    n_points : int, default=2000
        Rows that the projection shows, at most.
    random_state : int, RandomState instance or None, default=0
        Draws them.

    Returns
    -------
    Explanation
        Numbers in units of the columns.

    Raises
    ------
    WorkflowError
        For a table that lacks a column of the model or cannot be read, and where no row is left.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from rust_kmeans.workflow import describe_clusters, explain, fit_table
    >>> trips = pd.DataFrame({"miles": np.r_[1:3:100j, 8:10:50j], "riders": np.tile([1.0, 2.0], 75)})
    >>> explanation = explain(fit_table(trips, 2, scale="none").model, trips)
    >>> explanation.sizes["n_samples"].tolist()
    [100, 50]
    >>> describe_clusters(explanation)[1].traits[0].text
    'much higher miles (9.0 against 2.0)'
    """
    if n_points < 1:
        msg = f"n_points is {n_points}: it must be at least 1."
        raise WorkflowError(msg)
    if isinstance(table, str | Path):
        table = read_table(table, model.names)
    values, n_outliers, n_incomplete = _rows_of_the_fit(model.preparation, values_of(table, model.names))
    features = model.preparation.features(values)
    labels = model.estimator.predict(features)
    groups = grouped(values, labels, model.n_clusters)
    by_feature = _by_feature(groups, model.names)
    return Explanation(
        model_id=model.model_id,
        names=model.names,
        n_samples=len(values),
        n_outliers=n_outliers,
        n_incomplete=n_incomplete,
        groups=groups,
        sizes=_sizes(model, groups),
        centers=_centers(model),
        spread=_spread(groups, model.names),
        effects=_of_effects(groups, model.names),
        features=by_feature,
        tests=_tests(groups, model.names, [model.names.index(name) for name in by_feature["feature"]]),
        projection=_projection(features, labels, model.centers, n_points, random_state),
    )


def write_explanation_tables(explanation: Explanation, folder: str | Path) -> list[Path]:
    """Store every table as CSV and a README.txt that tells what their columns are.

    Parameters
    ----------
    explanation : Explanation
        Of `explain`.
    folder : str or Path
        Made where it does not exist; files of the same names are replaced.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    OSError
        If the folder cannot be written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    about = "\n\n".join(f"{name}.csv\n{text}" for name, text in COLUMNS.items())
    texts = {
        f"{name}.csv": frame.to_csv(lineterminator="\n", index=name == "centers")
        for name, frame in explanation.tables.items()
    }
    for name, text in {**texts, "README.txt": about + "\n"}.items():
        write_bytes(folder / name, text.encode())
    return sorted(folder / name for name in (*texts, "README.txt"))


def _rows_of_the_fit(
    preparation: Preparation, values: NDArray[np.float64]
) -> tuple[NDArray[np.float64], int, int]:
    """Return the rows that a fit would keep, and how many it leaves out as outliers and as incomplete."""
    usable = kept(preparation, values)
    if usable.all() and len(values):
        return values, 0, 0
    n_incomplete = int(np.isnan(values[~usable]).any(axis=1).sum())
    if preparation.missing not in {"drop", "error"}:
        n_incomplete = 0
    n_outliers = int((~usable).sum()) - n_incomplete
    if not usable.any():
        msg = (
            f"no row of the table is left to explain: {n_outliers} of {len(values)} are outliers of the fit, "
            f"{n_incomplete} lack a value; give a table like that of the fit."
        )
        raise WorkflowError(msg)
    return values[usable], n_outliers, n_incomplete


def _sizes(model: ClusterModel, groups: Groups) -> pd.DataFrame:
    import pandas as pd

    known = model.statistics.counts.any()
    return pd.DataFrame(
        {
            "cluster": np.arange(groups.n_clusters),
            "n_samples": groups.counts,
            "share": groups.counts / groups.counts.sum(),
            "share_of_fit": model.statistics.shares if known else np.nan,
        }
    )


def _centers(model: ClusterModel) -> pd.DataFrame:
    import pandas as pd

    index = pd.RangeIndex(model.n_clusters, name="cluster")
    return pd.DataFrame(model.centers_in_units, index=index, columns=list(model.names))


def _cells(groups: Groups, names: tuple[str, ...], columns: Mapping[str, NDArray[Any]]) -> pd.DataFrame:
    """Return a line a cluster and feature, from arrays of shape (n_clusters, n_features)."""
    import pandas as pd

    clusters = np.repeat(np.arange(groups.n_clusters), groups.n_features)
    features = list(names) * groups.n_clusters
    flat = {name: array.ravel() for name, array in columns.items()}
    return pd.DataFrame({"cluster": clusters, "feature": features, **flat})


def _spread(groups: Groups, names: tuple[str, ...]) -> pd.DataFrame:
    with np.errstate(divide="ignore", invalid="ignore"):
        deviations = np.sqrt(np.where(groups.present > 1, groups.squares / (groups.present - 1), np.nan))
    low, q05, q25, median, q75, q95, high = np.moveaxis(groups.quantiles, -1, 0)
    columns = {
        "n": groups.present,
        "missing": groups.counts[:, None] - groups.present,
        "mean": groups.means,
        "std": deviations,
        "iqr": q75 - q25,
        "min": low,
        "q05": q05,
        "q25": q25,
        "median": median,
        "q75": q75,
        "q95": q95,
        "max": high,
    }
    return _cells(groups, names, columns)


def _of_effects(groups: Groups, names: tuple[str, ...]) -> pd.DataFrame:
    others = _effects.rest(groups)
    effect = _effects.hedges(groups, others)
    columns = {
        "mean": groups.means,
        "mean_of_rest": others.means,
        "hedges_g": effect.size,
        "low": effect.low,
        "high": effect.high,
        "effect": _words(effect),
    }
    return _cells(groups, names, columns)


def _words(effect: _effects.Effect) -> NDArray[np.str_]:
    """Return sizes in words by the end of the interval nearer to 0, so that few rows claim little."""
    crosses = np.sign(effect.low) != np.sign(effect.high)
    certain = np.where(crosses, 0.0, np.fmin(np.abs(effect.low), np.abs(effect.high)))
    words = np.array(["none", "small", "medium", "large"])[np.digitize(certain, (SMALL, MEDIUM, LARGE))]
    return np.where(np.isnan(effect.size), "", words)


def _by_feature(groups: Groups, names: tuple[str, ...]) -> pd.DataFrame:
    import pandas as pd

    share = _effects.eta_squared(groups)
    columns: dict[str, Any] = {"feature": list(names), "eta_squared": share}
    for prefix, test in (("", _effects.anova(groups)), ("welch_", _effects.welch_anova(groups))):
        columns |= {
            f"{prefix}f": test.statistic,
            f"{prefix}df": test.freedom,
            f"{prefix}df_within": test.freedom_within,
            f"{prefix}p_value": test.p_value,
            f"{prefix}p_adjusted": _correction.holm(test.p_value),
        }
    columns["reason"] = list(_reasons_of_features(groups))
    # Stable: features without a figure come last, equal ones stay in the order of the table.
    order = np.argsort(np.where(np.isnan(share), np.inf, -share), kind="stable")
    return pd.DataFrame(columns).iloc[order].reset_index(drop=True)


def _reasons_of_features(groups: Groups) -> Iterator[str]:
    """Yield for each feature what its analysis of variance leaves out; empty where nothing."""
    without = _effects.no_variance(groups)
    for feature in range(groups.n_features):
        filled = groups.present[:, feature] > 0
        out = np.flatnonzero(without[:, feature] & filled)
        if filled.sum() < 2:
            yield "fewer than two clusters have values"
        elif len(out) == filled.sum():
            yield "no spread within any cluster"
        elif len(out):
            listed = ", ".join(map(str, out[:10])) + (", ..." if len(out) > 10 else "")
            yield f"Welch's without clusters of fewer than two different values: {listed}"
        else:
            yield ""


def _tests(groups: Groups, names: tuple[str, ...], order: list[int]) -> pd.DataFrame:
    """Return the pairwise tests, features in this order."""
    import pandas as pd

    k = groups.n_clusters
    pairs = list(combinations(range(k), 2)) if k * (k - 1) // 2 * groups.n_features <= MAX_TESTS else []
    first, second = np.array(pairs, dtype=np.intp).reshape(-1, 2).T
    test = _effects.pairwise(groups, first, second)
    adjusted = _correction.holm(test.p_value)
    present = groups.present[first], groups.present[second]
    reasons = np.select(
        [
            np.isfinite(test.p_value),
            (present[0] == 0) | (present[1] == 0),
            (present[0] == 1) | (present[1] == 1),
        ],
        ["", "a cluster without values", "a cluster with one value"],
        "no spread in either cluster",
    )
    columns = {
        "difference": groups.means[first] - groups.means[second],
        "t": test.statistic,
        "df": test.freedom,
        "p_value": test.p_value,
        "p_adjusted": adjusted,
        "reason": reasons,
    }
    return pd.DataFrame(
        {
            "feature": [names[feature] for feature in order for _ in pairs],
            "cluster": np.tile(first, len(order)),
            "other": np.tile(second, len(order)),
            **{name: array[:, order].T.ravel() for name, array in columns.items()},
        }
    )


def _projection(
    features: Floats,
    labels: NDArray[np.int32],
    centers: Floats,
    n_points: int,
    random_state: int | np.random.RandomState | None,
) -> Projection | None:
    # Slow to import, for a command that only prints its help.
    from sklearn.decomposition import PCA

    if features.shape[1] < 2:
        return None
    random = check_random_state(random_state)
    n_projected = min(len(features), N_PROJECTED)
    chosen = random.permutation(len(features))[:n_projected]
    sample = features[chosen].astype(np.float64)
    # Centered and of size 1 at most: the covariance that scikit-learn takes is then free of large offsets.
    middle = sample.mean(axis=0)
    unit = float(np.abs(sample - middle).max())
    if unit == 0 or len(sample) < 2:
        return None
    components = PCA(n_components=2, random_state=random).fit((sample - middle) / unit)

    def projected(rows: NDArray[np.float64]) -> NDArray[np.float64]:
        plane: NDArray[np.float64] = components.transform((rows - middle) / unit) * unit
        return plane

    return Projection(
        points=projected(sample[:n_points]),
        labels=labels[chosen[:n_points]],
        centers=projected(centers.astype(np.float64)),
        explained=components.explained_variance_ratio_,
        n_projected=n_projected,
    )
