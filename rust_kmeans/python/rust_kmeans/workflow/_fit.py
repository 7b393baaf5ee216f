"""The whole fit: from a table to a model, with every decision on the way reported."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from numbers import Integral
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from rust_kmeans._core import __version__
from rust_kmeans._data import Floats
from rust_kmeans._kmeans import KMeans
from rust_kmeans.workflow._choose_k import choose_k
from rust_kmeans.workflow._errors import WorkflowError
from rust_kmeans.workflow._learning import (
    Decision,
    DtypeName,
    Learned,
    Options,
    UnusableName,
    drawn,
    kept,
    learn,
)
from rust_kmeans.workflow._model import ClusterModel
from rust_kmeans.workflow._preparation import MissingName, Preparation, ScaleName
from rust_kmeans.workflow._sources import (
    InMemory,
    Partitioned,
    Progress,
    Source,
    Stored,
    is_dask_frame,
    is_large,
    of_dask_frame,
    partitioned,
)
from rust_kmeans.workflow._statistics import StatisticsBuilder, TrainingStatistics
from rust_kmeans.workflow._tables import frame_of, how_it_is_read, read_table, values_of

#: Label of a row that was left out of the fit.
LEFT_OUT = -1

# So many rows at most are looked at to choose the number of clusters.
_ROWS_TO_CHOOSE_BY = 100_000
# A cluster of a smaller share of the rows is likely to be a few far values rather than a group.
_SMALLEST_SHARE = 0.001
_ROWS_TO_SPEAK_OF_SHARES = 1000
_BY_DASK = "in partitions, by Dask"


@dataclass(frozen=True)
class FittedTable:
    """A model fitted to a table, and how it came about.

    Parameters
    ----------
    model : ClusterModel
        The model.
    decisions : list of Decision
        What was decided, in the order of the steps.
    labels : ndarray of shape (n_rows,), int32
        Cluster of each row of the table; -1 for rows left out of the fit. `model.predict` gives a label to
        those too.
    seconds : mapping of str to float
        How long each step took.
    """

    model: ClusterModel
    decisions: list[Decision]
    labels: NDArray[np.int32]
    seconds: Mapping[str, float]


def fit_table(
    table: Any,  # noqa: ANN401  # whatever users have
    n_clusters: int | Literal["auto"] = "auto",
    *,
    columns: Sequence[str] | None = None,
    drop: Sequence[str] = (),
    scale: ScaleName = "standard",
    missing: MissingName = "median",
    outliers: str = "gross",
    unusable: UnusableName = "drop",
    dtype: DtypeName = "float32",
    random_state: int = 0,
    n_init: int | Literal["auto"] = "auto",
    max_iter: int = 300,
    tol: float = 1e-4,
    n_threads: int | None = None,
    stream: bool | None = None,
    dask: bool = False,
    progress: Progress | None = None,
) -> FittedTable:
    """Fit a model to a table: choose columns, fill, scale, choose k, cluster, summarise.

    Parameters
    ----------
    table : path, data frame of pandas, polars or Dask, pyarrow table, or array-like
        The table, or a file as for `read_table`.
    n_clusters : int or "auto", default="auto"
        Number of clusters; "auto" for what `choose_k` recommends of up to 20, by a look at 100,000 rows at
        most, drawn at random.
    columns, drop, scale, missing, outliers, unusable, dtype
        As for `TablePreparer`.
    random_state : int, default=0
        Seed of starting centers and samples.
    n_init, max_iter, tol, n_threads
        As for `rust_kmeans.KMeans`.
    stream : bool or None, default=None
        Whether to read a file in parts, again in each pass, so that it need not fit into memory; of each row
        only labels are kept, 9 bytes. None for files whose numbers take more than a fifth of the memory.
    dask : bool, default=False
        Whether to cluster by `rust_kmeans.dask.KMeans`: on the current ``distributed.Client``, or as Dask is
        configured. A Dask data frame always is.
    progress : callable, default=None
        Called as ``progress(stage, n_rows, n_rows_in_all)`` in each pass; the last is None if not known.

    Returns
    -------
    FittedTable
        The model and how it came about.

    Raises
    ------
    WorkflowError
        For tables and parameters that cannot be used.
    OSError
        For a file that cannot be read.
    ImportError
        For Dask that is not installed.

    Notes
    -----
    In memory, in parts and with Dask the model is the same, bit for bit, as long as all features take at most
    64 MiB: of more, starting centers come from a sample where the rows are not in memory.

    Examples
    --------
    >>> import numpy as np
    >>> from rust_kmeans.workflow import fit_table
    >>> rng = np.random.default_rng(0)
    >>> table = np.concatenate([rng.normal(0, 1, (50, 2)), rng.normal(9, 1, (50, 2))])
    >>> fitted = fit_table(table, 2)
    >>> sorted(np.bincount(fitted.labels).tolist())
    [50, 50]
    """
    options = Options(columns, drop, scale, missing, outliers, unusable, dtype)
    if n_clusters != "auto" and not (isinstance(n_clusters, Integral) and n_clusters >= 1):
        msg = f"n_clusters is {n_clusters!r}: it must be a whole number from 1 on, or 'auto'."
        raise WorkflowError(msg)
    told: Progress = progress or (lambda *_: None)
    clock = _Clock()
    with clock.of("read"):
        source, decisions = _source(table, stream=stream, dask=dask)
    with clock.of("prepare"):
        learned = learn(source, options, told)
        rows = _Kept(source, learned, told)
    decisions += learned.decisions
    if n_clusters == "auto":
        with clock.of("choose k"):
            told("choosing the number of clusters", 0, None)
            some = rows.some(_ROWS_TO_CHOOSE_BY, random_state)
            choice = choose_k(some, max_samples=None, random_state=random_state, n_threads=n_threads)
        if len(some) < learned.n_kept:
            text = f"k is chosen by {len(some):,} of {learned.n_kept:,} rows, drawn at random"
            decisions.append(Decision("", "clustered", text))
        decisions.append(Decision("", "clustered", choice.sentence))
        n_clusters = int(choice.n_clusters)
    if learned.n_kept < n_clusters:
        msg = f"{learned.n_kept} rows are fewer than {n_clusters} clusters: ask for fewer."
        raise WorkflowError(msg)
    settings: dict[str, Any] = {
        "n_init": n_init,
        "max_iter": max_iter,
        "tol": tol,
        "random_state": random_state,
    }
    with clock.of("fit"):
        fitted, labels = _cluster(rows, n_clusters, {**settings, "n_threads": n_threads}, told)
    with clock.of("statistics"):
        model = ClusterModel(
            fitted.cluster_centers_,
            learned.preparation,
            rows.statistics(fitted.cluster_centers_),
            {
                "algorithm": "k-means",
                "n_clusters": n_clusters,
                "init": "k-means++",
                **settings,
                "n_iter": int(fitted.n_iter_),
                "inertia": float(fitted.inertia_),
                "version": __version__,
            },
        )
        all_labels = rows.with_those_left_out(labels)
    decisions += _notes(model)
    return FittedTable(model, decisions, all_labels, clock.seconds)


class _Clock:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def of(self, step: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[step] = time.perf_counter() - start


class _Kept:
    """The rows that are clustered: their features and statistics, in one part or in many."""

    def __init__(self, source: Source, learned: Learned, progress: Progress) -> None:
        self.source, self._learned, self._progress = source, learned, progress
        self.preparation = learned.preparation
        self._features: Floats | None = None
        # Of each row of the table, in a pass that sees all: one byte.
        self._masks: list[NDArray[np.bool_]] = []
        if source.is_in_memory:
            shape = learned.n_kept, self.preparation.n_features
            features: Floats = np.empty(shape, dtype=self.preparation.dtype)
            first = 0
            for part in self._parts("preparing"):
                features[first : first + len(part)] = self.preparation.features(part)
                first += len(part)
            self._features = features

    def features(self, stage: str) -> Iterator[Floats]:
        """Yield the features."""
        if self._features is not None:
            yield self._features
            return
        for values in self._parts(stage):
            yield self.preparation.features(values)

    def all_features(self) -> Floats | None:
        """Return the features where they are in memory."""
        return self._features

    def some(self, most: int, random_state: int) -> Floats:
        """Return the features of `most` rows at most, drawn at random."""
        features = self.features("choosing the number of clusters")
        return drawn(features, self._learned.n_kept, most, random_state)

    def statistics(self, centers: Floats) -> TrainingStatistics:
        """Return the statistics of the rows under the centers found."""
        builder = StatisticsBuilder(self.preparation, centers)
        for values in self._parts("summarising"):
            builder.add(values)
        return builder.finish(self._learned.n_rows - self._learned.n_kept)

    def with_those_left_out(self, labels: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return a label for each row of the table, of labels of those that are kept."""
        everywhere = np.full(self._learned.n_rows, LEFT_OUT, dtype=np.int32)
        everywhere[np.concatenate(self._masks)] = labels
        return everywhere

    def _parts(self, stage: str) -> Iterator[NDArray[np.float64]]:
        masks, n_rows = [], 0
        for values in self.source.values(self.preparation.names):
            masks.append(kept(self.preparation, values))
            n_rows += len(values)
            yield values if masks[-1].all() else values[masks[-1]]
            self._progress(stage, n_rows, self._learned.n_rows)
        self._masks = masks


def _source(table: Any, *, stream: bool | None, dask: bool) -> tuple[Source, list[Decision]]:  # noqa: ANN401  # whatever users have
    """Return where the rows come from, and what there is to say of how they are read."""
    if is_dask_frame(table):
        return of_dask_frame(table), [Decision("", "read", _BY_DASK)]
    if not isinstance(table, str | Path):
        if stream or dask:
            msg = "only a file can be read in parts: this table is in memory already."
            raise WorkflowError(msg)
        return InMemory(frame_of(table)), []
    form = how_it_is_read(table)
    decisions = [] if form is None else [Decision("", "read", form)]
    if dask:
        return partitioned(table), [*decisions, Decision("", "read", _BY_DASK)]
    if stream or (stream is None and is_large(table)):
        why = "as asked" if stream else "since it is large for the memory at hand"
        return Stored(table), [*decisions, Decision("", "read", f"in parts, again in each pass, {why}")]
    return InMemory(read_table(table)), decisions


def _cluster(
    rows: _Kept, n_clusters: int, settings: Mapping[str, Any], progress: Progress
) -> tuple[Any, NDArray[np.int32]]:
    """Return the fitted estimator, and the labels of the rows."""
    try:
        with warnings.catch_warnings():
            # `_notes` says it of the model.
            warnings.simplefilter("ignore", ConvergenceWarning)
            if isinstance(rows.source, Partitioned):
                progress("clustering by Dask", 0, None)
                return _cluster_by_dask(rows, rows.source, n_clusters, settings)
            estimator = KMeans(n_clusters, **settings)
            features = rows.all_features()
            if features is not None:
                progress("clustering", 0, None)
                estimator.fit(features)
            else:
                passes = count(1)
                estimator.fit_stream(lambda: rows.features(f"clustering, pass {next(passes)}"))
            return estimator, estimator.labels_
    except WorkflowError:
        raise
    except ValueError as error:
        raise WorkflowError(str(error)) from error


def _cluster_by_dask(
    rows: _Kept, source: Partitioned, n_clusters: int, settings: Mapping[str, Any]
) -> tuple[Any, NDArray[np.int32]]:
    import dask
    import dask.array as da

    from rust_kmeans.dask import KMeans as DaskKMeans

    preparation = rows.preparation
    read = dask.delayed(_features_of_part, pure=True)
    shape = (np.nan, preparation.n_features)
    parts = [
        da.from_delayed(read(part, preparation), shape=shape, dtype=preparation.dtype)
        for part in source.delayed(preparation.names)
    ]
    X = da.concatenate(parts, allow_unknown_chunksizes=True)
    # The starting centers of `KMeans`, not of its sibling.
    estimator = DaskKMeans(n_clusters, init="k-means++", **settings).fit(X)
    return estimator, estimator.labels_.compute()


def _features_of_part(part: Any, preparation: Preparation) -> Floats:  # noqa: ANN401  # a data frame
    values = values_of(part, preparation.names)
    return preparation.features(values[kept(preparation, values)])


def _notes(model: ClusterModel) -> list[Decision]:
    """Say what a look at the sizes of the clusters tells."""
    counts, n_rows = model.statistics.counts, model.statistics.n_samples
    notes = []
    n_empty = int(np.count_nonzero(counts == 0))
    if n_empty:
        text = f"{n_empty} of {len(counts)} clusters are empty: the table has no more different rows"
        notes.append(Decision("", "noted", text))
    small = np.flatnonzero((counts > 0) & (counts < _SMALLEST_SHARE * n_rows))
    if n_rows >= _ROWS_TO_SPEAK_OF_SHARES and len(small):
        listed = ", ".join(f"{label} ({counts[label]})" for label in small)
        text = (
            f"few of the {n_rows:,} rows are in cluster {listed}: if such far values say nothing, leave them "
            "out by outliers 'iqr' or 'zscore:3', or drop the column"
        )
        notes.append(Decision("", "noted", text))
    return notes
