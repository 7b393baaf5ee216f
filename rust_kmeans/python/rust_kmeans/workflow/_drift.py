"""Whether new rows are of the kind that a model was fitted to: tests with a false alarm rate, and effects."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from rust_kmeans.workflow._correction import holm
from rust_kmeans.workflow._errors import WorkflowError
from rust_kmeans.workflow._learning import kept
from rust_kmeans.workflow._model import ClusterModel, Prediction
from rust_kmeans.workflow._nearest import two_nearest
from rust_kmeans.workflow._sources import rows_of
from rust_kmeans.workflow._update import centers_moved

if TYPE_CHECKING:
    import pandas as pd

#: The smallest effects that are an alarm: a distance between distribution functions, a population stability
#: index (0.1 is customary for "moderate"), and a difference between shares of rows.
KS_EFFECT: Final = 0.1
PSI_EFFECT: Final = 0.1
SHARE_EFFECT: Final = 0.02

_Vector = NDArray[np.float64]

#: What fitting explains of a shift between training rows and fresh ones, in parts of `_Tally._freedom`.
_DISTANCE_ALLOWANCE = 0.25
_MARGIN_ALLOWANCE = 0.4
_FAR_ALLOWANCE = 0.1
_SHARES_ALLOWANCE = 0.02
#: Rows beyond this quantile of the training distances are far.
_FAR = 0.99
#: Bins of the population stability index, and rows that each must have if all were of one kind.
_BINS = 10
_ROWS_OF_A_BIN = 10.0
#: What quantiles a report compares.
_SHOWN = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class DriftReport:
    """What `drift` found.

    Parameters
    ----------
    table : pandas.DataFrame
        One row a test, with the columns feature (empty for tests of whole rows), test, statistic, p_value,
        adjusted (for the number of tests, by Holm's method), effect, threshold (the smallest effect that is
        an alarm), verdict ("drift"; "small": significant but below the threshold; "none").
    shares : pandas.DataFrame
        Share of the rows of each cluster: the columns cluster, training, new.
    quantiles : pandas.DataFrame
        Of each feature in its units: the columns feature, probability, training, new.
    n_samples : int
        New rows that were compared.
    n_left_out : int
        New rows left out as outliers or for values that are missing or infinite.
    level : float
        The rate of false alarms: how often, at most, new rows of the same kind are called drift.
    is_drift : bool
        Whether any test is an alarm.
    verdict : str
        A sentence that says so, and of what.
    """

    table: pd.DataFrame = field(repr=False)
    shares: pd.DataFrame = field(repr=False)
    quantiles: pd.DataFrame = field(repr=False)
    n_samples: int
    n_left_out: int
    level: float
    is_drift: bool
    verdict: str

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as JSON knows it.

        Returns
        -------
        dict of str
            The numbers and the verdict by name; "tests", "shares" and "quantiles" are lists of rows.
        """
        tables = {"tests": self.table, "shares": self.shares, "quantiles": self.quantiles}
        return {
            **{
                name: getattr(self, name)
                for name in ("is_drift", "verdict", "n_samples", "n_left_out", "level")
            },
            # JSON has no NaN.
            **{
                name: table.astype(object).where(table.notna(), None).to_dict("records")
                for name, table in tables.items()
            },
        }


def drift(model: ClusterModel, table: Any, *, level: float = 0.05) -> DriftReport:  # noqa: ANN401  # any table
    """Compare new rows with those a model was fitted to.

    Every feature is compared by the distance between distribution functions (Kolmogorov-Smirnov), by the
    population stability index and by its share of missing values; whole rows by the shares of clusters, the
    distance to the nearest center, the share of rows that are far from all centers, the margin to the second
    nearest center, and the share of rows left out. An alarm needs both: a p-value that stays below `level`
    after correction for the number of tests, and an effect that matters (0.1 of KS and PSI, 0.02 of shares),
    as among many rows everything is significant.

    Parameters
    ----------
    model : ClusterModel
        With training statistics.
    table : data frame, array of shape (n_samples, n_features), path, or iterator of tables
        The new rows: columns are found by name, those of an array by position. A file, and what an iterator
        gives, is read in parts and need not fit into memory.
    level : float, default=0.05
        How often new rows of the same kind may be called drift, 0..1 exclusive.

    Returns
    -------
    DriftReport
        Tests, shares, quantiles and the verdict.

    Raises
    ------
    WorkflowError
        For a model without training statistics, for a table without rows or without a column of the model,
        and for a level that is no probability.

    Notes
    -----
    The training rows are known by their quantiles only, at steps of 0.002. Tests take the training
    distribution that is nearest to the new one of all that have these quantiles, ties included: a distance is
    never overstated.

    Centers lie nearer to the rows they were fitted to than to fresh ones, and margins are wider there, which
    is no drift. So distances count as larger, and margins as smaller, only beyond what fitting explains: a
    factor of (c - 1) / c of the distance to a mean of c rows; and, as a partition follows its rows further,
    with s = sqrt(n_clusters * n_features / n_samples) of the fit, 0.25 s of the KS distance of distances,
    0.4 s of that of margins, 0.1 s of the share of far rows, and 0.02 s of the share of rows that would have
    to be in another cluster for all shares to be equal. They bound what simulated fits showed to rows without
    clusters (normal, uniform, heavy-tailed; 2 to 40 columns, 2 to 100 clusters, 200 to 10,000 rows).

    Distances of an updated model are partly those from earlier centers: they count as shorter or longer by as
    much as centers have moved since.

    The rate is that of one call. Who looks again and again is alarmed more often; for rows looked at `m`
    times, `level / m` keeps it.

    References
    ----------
    S. Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6
    (1979), 65-70.

    Examples
    --------
    >>> import numpy as np
    >>> from rust_kmeans import KMeans
    >>> from rust_kmeans.workflow import drift, from_sklearn
    >>> random = np.random.default_rng(0)
    >>> X = random.normal(size=(2000, 2)) + 5 * random.integers(0, 2, size=(2000, 1))
    >>> model = from_sklearn(KMeans(2, random_state=0).fit(X), X)
    >>> fresh = random.normal(size=(2000, 2)) + 5 * random.integers(0, 2, size=(2000, 1))
    >>> drift(model, fresh).is_drift
    False
    >>> drift(model, fresh + [1, 0]).is_drift
    True
    """
    tally = _Tally(model, level)
    for values in rows_of(table, model.names):
        tally.add(values)
    return tally.report()


class DriftWindow:
    """The last rows that a model has seen, to be compared with its training rows at any time.

    Safe to use from several threads.

    Parameters
    ----------
    model : ClusterModel
        With training statistics.
    n_rows : int, default=10000
        How many rows are kept.
    level : float, default=0.05
        As for `drift`.

    Raises
    ------
    WorkflowError
        For a model without training statistics, no rows, and a level that is no probability.
    """

    def __init__(self, model: ClusterModel, n_rows: int = 10_000, *, level: float = 0.05) -> None:
        if n_rows < 1:
            msg = f"n_rows={n_rows}: a window has one row at least."
            raise WorkflowError(msg)
        # Refuses what it cannot work with now, not at the first report.
        _Tally(model, level)
        self._model, self._level = model, level
        self._values = np.empty((n_rows, model.preparation.n_features))
        self._labels = np.empty(n_rows, dtype=np.int32)
        self._n_seen = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Return how many rows are in the window."""
        return min(self._n_seen, len(self._values))

    def add(self, values: NDArray[Any], prediction: Prediction) -> None:
        """Take in rows; the oldest ones fall out.

        Parameters
        ----------
        values : ndarray of shape (n_samples, n_features)
            The columns of the model, in their units; NaN is missing.
        prediction : Prediction
            What the model has said of them.

        Raises
        ------
        WorkflowError
            For rows of another shape, and for a prediction of other rows. The window stays as it was.
        """
        shapes = values.shape, prediction.labels.shape
        if shapes != ((len(values), self._values.shape[1]), (len(values),)):
            msg = (
                f"rows and labels have shapes {shapes[0]} and {shapes[1]}: they must be (n_samples, "
                f"{self._values.shape[1]}) and (n_samples,)."
            )
            raise WorkflowError(msg)
        rows, labels = values[-len(self._values) :], prediction.labels[-len(self._values) :]
        with self._lock:
            first = (self._n_seen + len(values) - len(rows)) % len(self._values)
            # Up to the end of the ring, then on from its beginning.
            n_before = min(len(rows), len(self._values) - first)
            for ring, new in ((self._values, rows), (self._labels, labels)):
                ring[first : first + n_before] = new[:n_before]
                ring[: len(new) - n_before] = new[n_before:]
            self._n_seen += len(values)

    def report(self) -> DriftReport:
        """Return how the rows in the window differ from the training rows.

        Returns
        -------
        DriftReport
            As of `drift`.

        Raises
        ------
        WorkflowError
            If there is no row that can be compared.
        """
        with self._lock:
            values, labels = self._values[: len(self)].copy(), self._labels[: len(self)].copy()
        tally = _Tally(self._model, self._level)
        tally.add(values, labels)
        return tally.report()


@dataclass(frozen=True)
class _Test:
    """One test: what it is of, and what came out."""

    feature: str
    name: str
    statistic: float
    p_value: float
    effect: float
    threshold: float


class _Column:
    """Counts of new values between the training quantiles, from which their distribution function follows."""

    def __init__(self, quantiles: _Vector, probabilities: _Vector) -> None:
        self.values, first, repeats = np.unique(quantiles, return_index=True, return_counts=True)
        last = first + repeats - 1
        # The quantile of p is the first value up to which a share p of the rows lies, or more: so between two
        # different ones at steps p and q the share up to the first is p at least and below q. An extreme is
        # exact.
        ends = len(probabilities) - 1
        self.below = (
            np.where(first > 0, probabilities[np.maximum(first - 1, 0)], 0.0),
            np.where(first > 0, probabilities[first], 0.0),
        )
        self.up_to = probabilities[last], probabilities[np.minimum(last + 1, ends)]
        self._n_below = np.zeros(len(self.values), dtype=np.int64)
        self._n_up_to = np.zeros(len(self.values), dtype=np.int64)
        self.n = 0
        self.lowest, self.highest = np.inf, -np.inf

    def add(self, values: _Vector) -> None:
        if not len(values):
            return
        # Finding the few quantiles among many values takes less than the other way round.
        ordered = np.sort(values)
        self._n_below += np.searchsorted(ordered, self.values, "left")
        self._n_up_to += np.searchsorted(ordered, self.values, "right")
        self.n += len(ordered)
        self.lowest = min(self.lowest, float(ordered[0]))
        self.highest = max(self.highest, float(ordered[-1]))

    def shares(self) -> tuple[_Vector, _Vector]:
        """Return the share of new values below each training quantile, and up to it."""
        return self._n_below / max(self.n, 1), self._n_up_to / max(self.n, 1)

    def n_above(self, value: float) -> int:
        """Return how many new values are above a training quantile."""
        return self.n - int(self._n_up_to[np.searchsorted(self.values, value)])

    def new_quantiles(self, probabilities: tuple[float, ...]) -> _Vector:
        """Return about the quantiles of the new values."""
        if not self.n:
            return np.full(len(probabilities), np.nan)
        below, up_to = self.shares()
        lowest, highest = min(self.lowest, self.values[0]), max(self.highest, self.values[-1])
        at = np.concatenate([[lowest], np.repeat(self.values, 2), [highest]])
        shares = np.concatenate([[0.0], np.column_stack([below, up_to]).ravel(), [1.0]])
        found: _Vector = np.clip(np.interp(probabilities, shares, at), self.lowest, self.highest)
        return found


class _Tally:
    """Everything that the tests need of new rows, counted in one pass."""

    def __init__(self, model: ClusterModel, level: float) -> None:
        statistics = model.statistics
        if not 0 < level < 1:
            msg = f"level={level}: it must be above 0 and below 1."
            raise WorkflowError(msg)
        if not statistics.n_sampled:
            msg = (
                "the model knows nothing of the rows it was fitted to, as it was imported without them: "
                "import it with them (rust-kmeans import --table, from_sklearn(estimator, X))."
            )
            raise WorkflowError(msg)
        self._model, self._level = model, level
        self._n_samples = self._n_left_out = 0
        self._missing = np.zeros(model.preparation.n_features, dtype=np.int64)
        self._counts = np.zeros(model.n_clusters, dtype=np.int64)
        steps = statistics.probabilities
        self._columns = {
            j: _Column(quantiles, steps)
            for j, quantiles in enumerate(statistics.quantiles)
            if not np.isnan(quantiles).any()
        }
        self._distances, self._less_distances = (_Column(statistics.distances, steps) for _ in range(2))
        self._less_margins, self._more_margins = (_Column(statistics.margins, steps) for _ in range(2))
        # A fit pulls a center of c rows towards each of them by a part of c. Of two or more: a lone row is
        # its own center, which says nothing of how far others are.
        pulled = np.maximum(statistics.counts, 2)
        self._factors = np.where(statistics.counts > 0, (pulled - 1) / pulled, 1.0)
        # Rows from before an update were measured from older centers. Equal rows would be a step at another
        # distance then, so that no way is too short to count; the bound of it is rounded up.
        self._moved = centers_moved(model) * (1 + 1e-6)
        # How free a fit is to follow its rows: numbers that are fitted to a row.
        self._freedom = np.sqrt(model.centers.size / statistics.n_samples)

    def add(self, values: _Vector, labels: NDArray[np.int32] | None = None) -> None:
        preparation = self._model.preparation
        usable = kept(preparation, values)
        self._n_left_out += int(len(values) - usable.sum())
        if not usable.all():
            values, labels = values[usable], None if labels is None else labels[usable]
        self._n_samples += len(values)
        missing = np.isnan(values)
        self._missing += missing.sum(axis=0)
        for j, column in self._columns.items():
            column.add(values[~missing[:, j], j] if missing[:, j].any() else values[:, j])
        if not len(values):
            return
        nearest = two_nearest(preparation.features(values), self._model.centers, labels)
        self._counts += np.bincount(nearest.labels, minlength=len(self._counts))
        fitted = nearest.distances * self._factors[nearest.labels]
        more = nearest.margins + (nearest.distances - fitted)
        self._distances.add(nearest.distances + self._moved)
        self._less_distances.add(fitted - self._moved)
        # Both centers may have moved.
        self._less_margins.add(nearest.margins - 2 * self._moved)
        self._more_margins.add(more + 2 * self._moved)

    def report(self) -> DriftReport:
        import pandas as pd

        if not self._n_samples + self._n_left_out:
            msg = "the table has no rows: there is nothing to compare."
            raise WorkflowError(msg)
        tests = self._tests()
        adjusted = holm(np.array([test.p_value for test in tests]))
        verdicts = [
            "none" if p > self._level else "drift" if test.effect >= test.threshold else "small"
            for test, p in zip(tests, adjusted, strict=True)
        ]
        table = pd.DataFrame(
            {
                "feature": [test.feature for test in tests],
                "test": [test.name for test in tests],
                "statistic": [test.statistic for test in tests],
                "p_value": [test.p_value for test in tests],
                "adjusted": adjusted,
                "effect": [test.effect for test in tests],
                "threshold": [test.threshold for test in tests],
                "verdict": verdicts,
            }
        )
        alarms = [test for test, verdict in zip(tests, verdicts, strict=True) if verdict == "drift"]
        statistics = self._model.statistics
        return DriftReport(
            table=table,
            shares=pd.DataFrame(
                {
                    "cluster": np.arange(self._model.n_clusters),
                    "training": statistics.shares,
                    "new": self._counts / max(self._n_samples, 1),
                }
            ),
            quantiles=self._quantiles(),
            n_samples=self._n_samples,
            n_left_out=self._n_left_out,
            level=self._level,
            is_drift=bool(alarms),
            verdict=self._verdict(tests, alarms),
        )

    def _tests(self) -> list[_Test]:
        """Return the tests of all that can be told, each with a p-value that holds alone."""
        statistics = self._model.statistics
        tests = []
        for j, name in enumerate(self._model.names):
            # Both decisions look at training and new rows together, which leaves the tests that remain valid.
            if j in self._columns and self._columns[j].n:
                n_training = max(round(statistics.n_sampled * (1 - statistics.missing[j])), 1)
                column = self._columns[j]
                tests.append(_ks(name, "KS", column, column, n_training))
                tests.append(_psi(name, "PSI", *_binned(column, n_training)))
            n_missing = round(statistics.missing[j] * statistics.n_samples)
            if n_missing + self._missing[j]:
                tests.append(
                    _share(
                        name,
                        "missing",
                        (n_missing, statistics.n_samples),
                        (int(self._missing[j]), self._n_samples),
                    )
                )
        counts = statistics.counts.astype(np.float64)
        drawn = _drawn(self._counts, counts, _SHARES_ALLOWANCE * self._freedom)
        tests.append(_psi("", "cluster shares", counts, drawn))
        n_sampled = statistics.n_sampled
        if self._n_samples:
            allowance = _DISTANCE_ALLOWANCE * self._freedom
            distances = self._less_distances, self._distances
            tests.append(_ks("", "distance", *distances, n_sampled, if_larger=allowance))
            tests.append(self._far_rows())
            if self._model.n_clusters > 1:
                allowance = _MARGIN_ALLOWANCE * self._freedom
                margins = self._less_margins, self._more_margins
                tests.append(_ks("", "margin", *margins, n_sampled, if_smaller=allowance))
        left_out = statistics.n_left_out, statistics.n_samples + statistics.n_left_out
        if statistics.n_left_out + self._n_left_out:
            tests.append(
                _share("", "left out", left_out, (self._n_left_out, self._n_samples + self._n_left_out))
            )
        return tests

    def _far_rows(self) -> _Test:
        """Return the test whether more rows are far from all centers than among the training rows."""
        from scipy.stats import hypergeom

        statistics = self._model.statistics
        at = int(np.searchsorted(statistics.probabilities, _FAR))
        n_far = self._less_distances.n_above(float(statistics.distances[at]))
        n_training = statistics.n_sampled
        # As many as the quantile and the fit allow for.
        expected = 1 - statistics.probabilities[at] + _FAR_ALLOWANCE * self._freedom
        n_training_far = int(n_training * min(expected, 1))
        share = n_far / self._n_samples
        p_value = hypergeom.sf(
            n_far - 1, n_training + self._n_samples, n_training_far + n_far, self._n_samples
        )
        effect = max(share - n_training_far / n_training, 0.0)
        return _Test("", "far rows", share, float(p_value), effect, SHARE_EFFECT)

    def _quantiles(self) -> pd.DataFrame:
        import pandas as pd

        statistics = self._model.statistics
        at = np.searchsorted(statistics.probabilities, _SHOWN)
        rows = [
            (self._model.names[j], p, training, new)
            for j, column in self._columns.items()
            for p, training, new in zip(
                _SHOWN, statistics.quantiles[j, at], column.new_quantiles(_SHOWN), strict=True
            )
        ]
        return pd.DataFrame(rows, columns=["feature", "probability", "training", "new"])

    def _verdict(self, tests: list[_Test], alarms: list[_Test]) -> str:
        rows = f"{self._n_samples:,} new rows" + (
            f" ({self._n_left_out:,} left out)" if self._n_left_out else ""
        )
        if not alarms:
            return (
                f"No drift: of {len(tests)} tests on {rows} none is both significant at {self._level:g} "
                f"after correction and large enough to matter.{self._blind_spot(len(tests))}"
            )
        found: dict[str, list[str]] = {}
        for test in alarms:
            what = f"column '{test.feature}'" if test.feature else test.name
            number = f"{test.effect:.2g}"
            by = f"{test.name} {number}" if test.feature else f"effect {number}"
            found.setdefault(what, []).append(by)
        said = ", ".join(f"{what} ({', '.join(by)})" for what, by in found.items())
        return f"Drift: {rows} differ from the training rows in {said}, at {self._level:g} after correction."

    def _blind_spot(self, n_tests: int) -> str:
        """Return a sentence of what so few rows could not have shown, if that would have mattered."""
        from scipy.stats import kstwo

        n_training = self._model.statistics.n_sampled
        if not self._n_samples:
            return ""
        least = float(kstwo.isf(self._level / n_tests, _effective(n_training, self._n_samples)))
        least = min(least + _half_a_row(n_training, self._n_samples), 1.0)
        if least <= KS_EFFECT:
            return ""
        return f" So few rows could not have shown a shift below a KS distance of {least:.2f}."


def _ks(
    feature: str,
    name: str,
    smaller: _Column,
    larger: _Column,
    n_training: int,
    *,
    if_larger: float = 0.0,
    if_smaller: float = 0.0,
) -> _Test:
    """Return the two-sample test of Kolmogorov and Smirnov.

    `smaller` and `larger` are the same new values, or bounds of them; `if_larger` and `if_smaller` are what a
    distance has to be above if new values are larger, or smaller, than the training values.
    """
    # New values are larger only if even the smaller bounds are, and smaller only if even the larger ones are.
    above = max(
        float((least - new).max())
        for new, (least, _) in zip(smaller.shares(), (smaller.below, smaller.up_to), strict=True)
    )
    below = max(
        float((new - most).max())
        for new, (_, most) in zip(larger.shares(), (larger.below, larger.up_to), strict=True)
    )
    effect = max(above - if_larger, below - if_smaller, 0.0)
    p_value = _p_value(effect, n_training, smaller.n)
    return _Test(feature, name, max(above, below, 0.0), p_value, effect, KS_EFFECT)


def _p_value(distance: float, n_training: int, n_new: int) -> float:
    """Return how often two samples of one distribution are so far apart, or a little more.

    The distribution of one sample's distance stands for that of two. With half a row of each sample less, and
    no p-value below that of samples wholly apart, it was above the exact one for all sizes tried (1 to 1,000
    rows, p-values from 1e-8).
    """
    from scipy.special import binom
    from scipy.stats import kstwo

    nearer = max(distance - _half_a_row(n_training, n_new), 0.0)
    apart = 2.0 / float(binom(n_training + n_new, min(n_training, n_new)))
    return min(max(float(kstwo.sf(nearer, _effective(n_training, n_new))), apart), 1.0)


def _half_a_row(n_training: int, n_new: int) -> float:
    """Return how much half a row of each sample counts for in a distance."""
    return (1 / n_training + 1 / n_new) / 2


def _effective(n_training: int, n_new: int) -> int:
    """Return how many rows compared with a known distribution tell as much as these two samples do."""
    return max(n_training * n_new // (n_training + n_new), 1)


def _binned(column: _Column, n_training: int) -> tuple[_Vector, _Vector]:
    """Return how many training and new values are in bins of about a tenth of the training values each."""
    _, new = column.shares()
    training = np.clip(new, *column.up_to)
    tenths = np.arange(1, _BINS) / _BINS
    # Where there are ties, several tenths end at the same value.
    ends = np.unique(np.searchsorted(column.up_to[0], tenths - 1e-9))
    counts = (np.diff(np.concatenate([[0.0], shares[ends], [1.0]])) for shares in (training, new))
    of_training, of_new = counts
    return of_training * n_training, of_new * column.n


def _psi(feature: str, name: str, training: _Vector, new: _Vector) -> _Test:
    """Return the population stability index of counts, with the p-value of a chi-square test."""
    from scipy.stats import chi2

    training, new = _merged(training, new)
    n_training, n_new = training.sum(), new.sum()
    if len(training) < 2:
        return _Test(feature, name, 0.0, 1.0, 0.0, PSI_EFFECT)
    pooled = (training + new) / (n_training + n_new)
    statistic = sum(
        float(((counts - n * pooled) ** 2 / (n * pooled)).sum())
        for counts, n in ((training, n_training), (new, n_new))
    )
    # Half a row more in each bin, as the logarithm of an empty one is infinite.
    shares = [
        (counts + 0.5) / (n + 0.5 * len(counts)) for counts, n in ((training, n_training), (new, n_new))
    ]
    index = float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())
    return _Test(feature, name, statistic, float(chi2.sf(statistic, len(training) - 1)), index, PSI_EFFECT)


def _drawn(new: NDArray[np.int64], training: _Vector, allowance: float) -> _Vector:
    """Return new counts with so large a share of the rows moved to where it lessens the difference."""
    n_new = new.sum()
    if not n_new:
        return new.astype(np.float64)
    shares = training / training.sum()
    difference = new / n_new - shares
    total = float(np.abs(difference).sum()) / 2
    drawn: _Vector = n_new * (shares + difference * max(1 - allowance / max(total, 1e-300), 0.0))
    return drawn


def _merged(training: _Vector, new: _Vector) -> tuple[_Vector, _Vector]:
    """Merge neighbouring bins until so many rows are expected in each that the chi-square test holds.

    What is merged depends on both samples together only, as it must.
    """
    n_training, n_new = training.sum(), new.sum()
    if not n_training or not n_new:
        return training[:1], training[:1] * 0
    expected = (training + new) / (n_training + n_new) * min(n_training, n_new)
    starts, filled = [0], 0.0
    for place, rows in enumerate(expected):
        if filled >= _ROWS_OF_A_BIN:
            starts.append(place)
            filled = 0.0
        filled += rows
    if filled < _ROWS_OF_A_BIN and len(starts) > 1:
        starts.pop()
    return np.add.reduceat(training, starts), np.add.reduceat(new, starts)


def _share(feature: str, name: str, training: tuple[int, int], new: tuple[int, int]) -> _Test:
    """Return Fisher's exact test of two shares, given as (count, number of rows)."""
    from scipy.stats import hypergeom

    (a, n), (b, m) = training, new
    of_new = hypergeom(n + m, a + b, m)
    p_value = min(1.0, 2 * min(float(of_new.cdf(b)), float(of_new.sf(b - 1))))
    share = b / max(m, 1)
    return _Test(feature, name, share, p_value, abs(share - a / max(n, 1)), SHARE_EFFECT)
