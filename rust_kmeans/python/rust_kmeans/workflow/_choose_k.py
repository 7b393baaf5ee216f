"""How many clusters: a sweep over k, judged by several criteria, and how sure the answer is."""

from __future__ import annotations

import textwrap
import warnings
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array

from rust_kmeans import _core
from rust_kmeans._data import Floats
from rust_kmeans._kmeans import KMeans, kmeans_sweep
from rust_kmeans.workflow._errors import WorkflowError
from rust_kmeans.workflow._quality import Silhouette, scatters, silhouettes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Confidence = Literal["sure", "fairly sure", "unsure"]

#: How far below the straight line an elbow must lie, as a share of the whole fall of the curve. Rows without
#: clusters stay below 0.05, round clusters six standard deviations apart come above 0.1: the tests hold both.
ELBOW_DEPTH = 0.07
#: What "sure" and "fairly sure" need: criteria that name k, stability, silhouette.
SURE = (3, 0.8, 0.5)
FAIRLY_SURE = (2, 0.6, 0.25)
#: Stability and silhouette from which on clusters are clear even without an elbow.
CLEAR = (0.8, 0.71)
#: A cluster of a smaller share of the rows is rather a few outliers.
SMALLEST_SHARE = 0.002

# Fits to different rows from different starts, and on how many rows at most.
_FITS = 5
_ROWS_OF_A_FIT = 5_000
_SHARE_OF_A_FIT = 0.8
# On so many rows their labels are compared.
_ROWS_COMPARED = 2_000
# The sweep starts near its end: the best of the fits above.
_ITERATIONS = 10
# Relative to the inertia of one cluster, less is rounding.
_NOTHING = 1e-12
# After Okabe and Ito (2008), readable for the colour-blind.
_LINE, _MARK, _SPREAD = "#0072b2", "#d55e00", "#8a857b"
_STYLE: Any = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.dpi": 150,
    # The same figure is the same bytes.
    "svg.hashsalt": "k-means",
}


@dataclass(frozen=True)
class ChoiceOfK:
    """A number of clusters and what speaks for it.

    Parameters
    ----------
    table : DataFrame
        A line for each k (the index, "k"), 1 always the first; columns: "inertia" (of the rows looked at, in
        squared units of the features), "silhouette" and "silhouette_half_width" (of the 95 % interval; 0
        where it is exact), "davies_bouldin" (less is better), "calinski_harabasz" (more is better),
        "smallest" (rows of the smallest cluster), "stability" and "stability_spread" (mean and standard
        deviation of the adjusted Rand index between fits). What has no meaning for one cluster is NaN.
    n_clusters : int
        The number recommended, at least 2.
    confidence : {"sure", "fairly sure", "unsure"}
        How sure.
    elbow : int or None
        Where the inertia has an elbow, if it has one.
    sentence : str
        The recommendation and what it rests on, in words.
    n_samples : int
        Rows looked at.
    """

    table: pd.DataFrame
    n_clusters: int
    confidence: Confidence
    elbow: int | None
    sentence: str
    n_samples: int

    def figure(self) -> Figure:
        """Return a figure of the criteria over k, the recommended one marked.

        Returns
        -------
        matplotlib.figure.Figure
            Five panels; ``figure.savefig`` writes it.
        """
        return _drawn(self)


def choose_k(
    X: ArrayLike,
    n_clusters: Iterable[int] = range(1, 21),
    *,
    max_samples: int | None = 100_000,
    random_state: int = 0,
    n_threads: int | None = None,
) -> ChoiceOfK:
    """Return how many clusters rows have, and how sure that is.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Features, scaled as they are to be clustered.
    n_clusters : iterable of int, default=range(1, 21)
        Numbers to look at, at least one of them above 1. Those of which rows or distinct rows are too few are
        left out. An elbow can be found between the smallest and the largest only, so that the range should
        go well beyond what is expected.
    max_samples : int or None, default=100_000
        Of more rows a random sample of so many is looked at; None for all.
    random_state : int, default=0
        Makes the choice reproducible.
    n_threads : int or None, default=None
        Threads; the result does not depend on it.

    Returns
    -------
    ChoiceOfK
        The number, the criteria, and a sentence.

    Raises
    ------
    WorkflowError
        For too few rows, and where no number above 1 is left.
    ValueError
        For values that are not finite numbers.

    Notes
    -----
    First, five `kmeans_sweep` fit random parts of the rows (80 %, at most 5,000) from different starts.
    *Stability* of k is the mean adjusted Rand index between the labels that these fits give to the same rows,
    at most 2,000. The best of them is where one more sweep over all rows looked at starts from, at most ten
    iterations further; the other criteria are of that one.

    *Elbow*: log inertia over log k, both scaled to 0..1; without clusters it falls along a straight line,
    since k cells of n features in common have an inertia proportional to ``k ** (-2 / n_features)``. The
    elbow is the k farthest below the line between the ends (Satopää et al. 2011, on logarithms), if that is
    by 0.07 or more. Where the inertia is zero it is the first such k.

    *Silhouette*: of up to 5,000 rows exact, of more from a sample, with an interval (`quality` says how).

    *Decision*: where there is an elbow, elbow, silhouette, Davies-Bouldin and Calinski-Harabasz have a vote
    each, and the k with most votes is recommended; of equally many the elbow decides, then the order just
    given. Sure is: 3 votes, the elbow's among them, stability at least 0.8, silhouette at least 0.5. Fairly
    sure is: 2 votes, the elbow's among them, 0.6, and 0.25, below which Kaufman and Rousseeuw (1990) see no
    structure. A smallest cluster with less than 0.2 % of the rows takes one step off. Without an elbow the k
    of the best silhouette is recommended, unsure: the rows are then as if without clusters, or these are
    more than was looked at, or so many that the curve is straight. The sentence says which: a silhouette from
    0.71 on is that of strong structure after Kaufman and Rousseeuw, one that is highest at the last k leaves
    open whether there are more.

    Groups that are not round can have no elbow at their number: k-means would not find them either.

    References
    ----------
    V. Satopää, J. Albrecht, D. Irwin, B. Raghavan, Finding a "kneedle" in a haystack, ICDCS Workshops 2011.
    P. J. Rousseeuw, Silhouettes, J. Computational and Applied Mathematics 20 (1987).
    D. L. Davies, D. W. Bouldin, A cluster separation measure, IEEE PAMI 1 (1979).
    T. Caliński, J. Harabasz, A dendrite method for cluster analysis, Communications in Statistics 3 (1974).
    A. Ben-Hur, A. Elisseeff, I. Guyon, A stability based method for discovering structure in clustered data,
    Pacific Symposium on Biocomputing 2002.
    L. Kaufman, P. J. Rousseeuw, Finding groups in data, Wiley 1990.

    Examples
    --------
    >>> import numpy as np
    >>> from rust_kmeans.workflow import choose_k
    >>> rng = np.random.default_rng(0)
    >>> X = np.concatenate([rng.normal(center, 1.0, size=(200, 2)) for center in (0.0, 10.0, 20.0)])
    >>> choice = choose_k(X, range(1, 9))
    >>> choice.n_clusters, choice.confidence
    (3, 'sure')
    """
    rows: Floats = check_array(X, dtype=[np.float64, np.float32], order="C")
    n_given = len(rows)
    rng = np.random.default_rng(random_state)
    if max_samples is not None and n_given > max_samples:
        rows = rows[np.sort(rng.choice(n_given, max(max_samples, 0), replace=False))]
    asked = _asked(n_clusters, len(rows))
    with warnings.catch_warnings():
        # Fewer distinct rows than clusters: such k are left out below.
        warnings.simplefilter("ignore", ConvergenceWarning)
        starts, stability = _fitted_to_parts(rows, asked, rng, n_threads)
        models = kmeans_sweep(
            rows,
            asked,
            init=lambda X, n_clusters, random_state: starts[n_clusters],  # as it is called
            n_init=1,
            max_iter=_ITERATIONS,
            n_threads=n_threads,
        )
    table = _criteria(rows, models).join(stability)
    if len(table) < 2:
        msg = f"fewer than {asked[1]} rows are distinct: there is nothing to choose; look at the columns."
        raise WorkflowError(msg)
    return _chosen(table, len(rows), n_given)


def _asked(n_clusters: Iterable[int], n_samples: int) -> list[int]:
    """Return the numbers to look at, 1 and those there are rows for, in order."""
    wanted = sorted({int(k) for k in n_clusters})
    if not wanted or wanted[0] < 1 or wanted[-1] < 2:
        msg = f"n_clusters is {wanted}: it must be numbers from 1, at least one of them above 1."
        raise WorkflowError(msg)
    # Every part that is fitted has more rows than clusters.
    possible = [k for k in wanted if 1 < k < _rows_of_a_part(n_samples)]
    if not possible:
        least = next(k for k in wanted if k > 1)
        msg = f"{n_samples} rows are too few to judge {least} clusters: give more rows or smaller numbers."
        raise WorkflowError(msg)
    return [1, *possible]


def _rows_of_a_part(n_samples: int) -> int:
    return min(int(_SHARE_OF_A_FIT * n_samples), _ROWS_OF_A_FIT)


def _fitted_to_parts(
    X: Floats, asked: list[int], rng: np.random.Generator, n_threads: int | None
) -> tuple[dict[int, Floats], pd.DataFrame]:
    """Return the best centers for each k of fits to random parts of the rows, and how alike the fits are."""
    import pandas as pd

    compared = X[rng.choice(len(X), min(len(X), _ROWS_COMPARED), replace=False)]
    fits = [
        kmeans_sweep(
            X[rng.choice(len(X), _rows_of_a_part(len(X)), replace=False)],
            asked,
            random_state=int(rng.integers(2**31)),
            n_threads=n_threads,
        )
        for _ in range(_FITS)
    ]
    best: dict[int, Floats] = {}
    lines: dict[int, dict[str, float]] = {}
    for k, models in zip(asked, zip(*fits, strict=True), strict=True):
        labels = [model.predict(compared) for model in models]
        inertias = [
            _core.inertia(compared, model.cluster_centers_, found, n_threads=n_threads)
            for model, found in zip(models, labels, strict=True)
        ]
        best[k] = models[int(np.argmin(inertias))].cluster_centers_
        alike = [_adjusted_rand(*pair, k) for pair in combinations(labels, 2)]
        lines[k] = {"stability": float(np.mean(alike)), "stability_spread": float(np.std(alike))}
    return best, pd.DataFrame.from_dict(lines, orient="index")


def _adjusted_rand(first: NDArray[np.int32], second: NDArray[np.int32], n_clusters: int) -> float:
    """Return the adjusted Rand index of two labelings; NaN for one cluster.

    scikit-learn's looks anew at what labels are, which takes ten times as long as the counting.
    """
    if n_clusters == 1:
        return float("nan")
    together = np.bincount(first.astype(np.int64) * n_clusters + second, minlength=n_clusters**2)
    together = together.reshape(n_clusters, n_clusters)
    pairs, of_first, of_second, of_all = (
        float((counts * (counts - 1)).sum())
        for counts in (together, together.sum(axis=1), together.sum(axis=0), np.array([len(first)]))
    )
    expected = of_first * of_second / of_all
    most = (of_first + of_second) / 2.0
    return 1.0 if most == expected else (pairs - expected) / (most - expected)


def _criteria(X: Floats, models: list[KMeans]) -> pd.DataFrame:
    """Return the criteria of every fit, up to the first that has found fewer clusters than it should."""
    import pandas as pd

    labelings = [model.labels_ for model in models]
    lines = {}
    for model, scatter, silhouette in zip(
        models, scatters(X, labelings), silhouettes(X, labelings), strict=True
    ):
        if len(scatter.counts) < model.n_clusters:
            break
        lines[model.n_clusters] = {
            "inertia": model.inertia_,
            "silhouette": silhouette.value,
            "silhouette_half_width": silhouette.half_width,
            "davies_bouldin": scatter.davies_bouldin,
            "calinski_harabasz": scatter.calinski_harabasz,
            "smallest": int(scatter.counts.min()),
        }
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis("k")


def _depths(table: pd.DataFrame) -> NDArray[np.float64]:
    """Return how far log inertia lies below the line between its ends over log k, as a share of its fall."""
    k = np.log(table.index.to_numpy(dtype=np.float64))
    inertia = np.log(table["inertia"].to_numpy())
    depths: NDArray[np.float64] = (inertia[0] - inertia) / (inertia[0] - inertia[-1]) - k / k[-1]
    return depths


def _elbow(table: pd.DataFrame) -> int | None:
    none_left = table.index[table["inertia"] <= _NOTHING * table["inertia"].iloc[0]]
    if len(none_left):
        return int(none_left[0])
    depths = _depths(table)
    deepest = int(depths.argmax())
    return int(table.index[deepest]) if depths[deepest] >= ELBOW_DEPTH else None


def _chosen(table: pd.DataFrame, n_samples: int, n_given: int) -> ChoiceOfK:
    elbow = _elbow(table)
    votes = {
        "silhouette": int(table["silhouette"].idxmax()),
        "davies_bouldin": int(table["davies_bouldin"].idxmin()),
        "calinski_harabasz": int(table["calinski_harabasz"].idxmax()),
    }
    confidence: Confidence = "unsure"
    k = votes["silhouette"]
    if elbow is not None:
        # `Counter` keeps the order in which votes came: of equally many the first.
        [(k, n_votes)] = Counter([elbow, *votes.values()]).most_common(1)
        confidence = _confidence(table.loc[k], n_votes, k == elbow, n_samples)
    return ChoiceOfK(
        table=table,
        n_clusters=k,
        confidence=confidence,
        elbow=elbow,
        sentence=_sentence(table, k, confidence, elbow, votes, n_samples, n_given),
        n_samples=n_samples,
    )


def _confidence(line: pd.Series, n_votes: int, is_elbow: bool, n_samples: int) -> Confidence:
    levels: list[Confidence] = ["sure", "fairly sure", "unsure"]
    step = 2
    for place, (votes, stability, silhouette) in enumerate((SURE, FAIRLY_SURE)):
        enough = n_votes >= votes and line["stability"] >= stability and line["silhouette"] >= silhouette
        if is_elbow and enough:
            step = place
            break
    if line["smallest"] < SMALLEST_SHARE * n_samples:
        step = min(step + 1, 2)
    return levels[step]


def _sentence(
    table: pd.DataFrame,
    k: int,
    confidence: Confidence,
    elbow: int | None,
    votes: dict[str, int],
    n_samples: int,
    n_given: int,
) -> str:
    line = table.loc[k]
    silhouette = Silhouette(line["silhouette"], line["silhouette_half_width"])
    said = []
    if elbow is not None:
        said.append(f"elbow at {elbow}")
    elif votes["silhouette"] == table.index[-1]:
        reason = "" if line["silhouette"] >= SURE[2] else "there are no clusters, or more than these: "
        said.append(f"no elbow up to {k}, where the silhouette is highest: {reason}look at larger numbers")
    elif (
        line["stability"] >= CLEAR[0]
        and line["silhouette"] >= CLEAR[1]
        and line["smallest"] >= SMALLEST_SHARE * n_samples
    ):
        said.append("no elbow, though stability and silhouette are those of clear clusters")
    else:
        said.append("no cluster structure found, the inertia falls about as evenly as without clusters")
    of = f"silhouette {silhouette}"
    best = votes["silhouette"]
    said.append(
        f"{of} is highest" if best == k else f"{of}, highest at {best} ({table['silhouette'].max():.2f})"
    )
    said.append(
        f"Davies-Bouldin best at {votes['davies_bouldin']}, Calinski-Harabasz at {votes['calinski_harabasz']}"
    )
    said.append(f"stability {line['stability']:.2f}")
    if line["smallest"] < SMALLEST_SHARE * n_samples:
        said.append(
            f"the smallest cluster has {line['smallest']:.0f} of {n_samples:,} rows, perhaps outliers"
        )
    if n_samples < n_given:
        said.append(f"of a sample of {n_samples:,} of {n_given:,} rows")
    return f"k = {k}, {confidence}: {'; '.join(said)}."


def _drawn(choice: ChoiceOfK) -> Figure:
    """Draw every criterion over k."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    table, best = choice.table, choice.n_clusters
    panels = (
        ("inertia", "inertia (both axes logarithmic)", None),
        ("silhouette", "silhouette: higher is better", "silhouette_half_width"),
        ("davies_bouldin", "Davies-Bouldin: lower is better", None),
        ("calinski_harabasz", "Calinski-Harabasz: higher is better", None),
        ("stability", "stability across seeds (ARI): higher is better", "stability_spread"),
    )
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(9.6, 5.4), layout="constrained")
        *axes, words = figure.subplots(2, 3).ravel()
        for axis, (column, title, spread) in zip(axes, panels, strict=True):
            line = table[column].replace(np.inf, np.nan)
            axis.errorbar(
                table.index,
                line,
                None if spread is None else table[spread],
                color=_LINE,
                ecolor=_SPREAD,
                marker="o",
                markersize=3,
                linewidth=1.2,
            )
            axis.plot(best, line[best], "o", color=_MARK, markersize=7)
            axis.set(title=title, xlabel="k")
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        _draw_elbow(axes[0], choice)
        words.set_axis_off()
        words.text(0.0, 1.0, textwrap.fill(choice.sentence, 42), va="top", transform=words.transAxes)
    return figure


def _draw_elbow(axis: Axes, choice: ChoiceOfK) -> None:
    """Put the inertia on logarithmic axes, with the line that an elbow lies below."""
    from matplotlib.ticker import NullFormatter, ScalarFormatter

    ends = choice.table["inertia"].iloc[[0, -1]]
    if ends.iloc[-1] > 0.0:
        axis.set(xscale="log", yscale="log")
        axis.plot(ends.index, ends, ":", color=_SPREAD)
        axis.set_xticks([k for k in (1, 2, 5, 10, 20, 50, 100, 200, 500) if k <= ends.index[-1]])
        axis.xaxis.set_major_formatter(ScalarFormatter())
        axis.xaxis.set_minor_formatter(NullFormatter())
