"""A model that goes on learning from a stream, and statistics of all the rows it has taken in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rust_kmeans._minibatch import MiniBatchKMeans
from rust_kmeans.workflow._errors import WorkflowError
from rust_kmeans.workflow._learning import kept
from rust_kmeans.workflow._model import ClusterModel
from rust_kmeans.workflow._sources import Progress
from rust_kmeans.workflow._statistics import StatisticsBuilder, TrainingStatistics
from rust_kmeans.workflow._tables import iter_table, values_of

#: The parameter of a model that `centers_moved` returns.
_MOVED = "centers_moved"


def update_model(
    model: ClusterModel,
    batches: Any,  # noqa: ANN401  # whatever users have
    *,
    batch_size: int = 1024,
    n_threads: int | None = None,
    progress: Progress | None = None,
) -> ClusterModel:
    """Return a model that has learned from further rows: each center is the mean of all it has taken in.

    Parameters
    ----------
    model : ClusterModel
        The model so far; it stays as it is.
    batches : path, data frame, pyarrow table, array, list of these, or callable
        The new rows, with the columns of the model: a file as for `read_table`, a table, several, or a
        function that returns an iterable of tables. They are read twice. For a stream that can be read once,
        call this for each of its batches.
    batch_size : int, default=1024
        Rows after which centers move, as for `rust_kmeans.MiniBatchKMeans`.
    n_threads : int or None, default=None
        Threads; the result does not depend on it.
    progress : callable, default=None
        Called as ``progress(stage, n_rows, n_rows_in_all)`` in each pass; the last is None if not known.

    Returns
    -------
    ClusterModel
        With the same preparation (the new rows are filled, limited and scaled as the first were), centers in
        the same order, and statistics of old and new rows together.

    Raises
    ------
    WorkflowError
        For rows that the model cannot take, and where none is left.
    OSError
        For a file that cannot be read.

    Notes
    -----
    The steps are those of `MiniBatchKMeans.partial_fit`, from the model's centers and counts, without
    reassignment, so that a label goes on meaning the same. Quantiles of old and new rows together follow from
    the quantiles of each, weighted by their rows. What the old rows were assigned to, and how far they were
    from centers as these were then, is not looked at again: how far centers have moved since is kept as the
    parameter "centers_moved", for `drift` to allow for.

    Examples
    --------
    >>> import numpy as np
    >>> from rust_kmeans.workflow import fit_table, update_model
    >>> model = fit_table(np.array([[0.0], [1.0], [10.0], [11.0]]), 2, scale="none").model
    >>> updated = update_model(model, np.array([[2.0], [12.0]]))
    >>> sorted(updated.centers_in_units.ravel().tolist())
    [1.0, 11.0]
    """
    told: Progress = progress or (lambda *_: None)
    rows = _Rows(model, batches, told)
    learner = MiniBatchKMeans(
        model.n_clusters,
        batch_size=batch_size,
        compute_labels=False,
        random_state=0,
        reassignment_ratio=0.0,
        n_threads=n_threads,
    )
    counts = model.statistics.counts
    learner.n_features_in_ = model.preparation.n_features
    learner._keep((model.centers.copy(), counts.astype(np.float64), 0))
    try:
        learner.partial_fit_stream(model.preparation.features(part) for part in rows.read("learning"))
    except WorkflowError:
        raise
    except ValueError as error:
        raise WorkflowError(str(error)) from error
    builder = StatisticsBuilder(model.preparation, learner.cluster_centers_)
    for part in rows.read("summarising"):
        builder.add(part)
    statistics = together(model.statistics, builder.finish(rows.n_left_out))
    # These were of the first fit alone.
    parameters = {key: value for key, value in model.parameters.items() if key not in ("inertia", "n_iter")}
    parameters["n_updates"] = int(parameters.get("n_updates", 0)) + 1
    way = _way(model.centers, learner.cluster_centers_, statistics.counts)
    parameters[_MOVED] = centers_moved(model) + way
    return ClusterModel(learner.cluster_centers_, model.preparation, statistics, parameters)


def centers_moved(model: ClusterModel) -> float:
    """Return how far centers have moved since the first distances in the statistics, in units of features.

    Parameters
    ----------
    model : ClusterModel
        Of `fit_table` (0) or `update_model` (summed over the updates).

    Returns
    -------
    float
        Those of a hundredth of the rows may have moved farther.
    """
    moved = model.parameters.get(_MOVED, 0.0)
    return max(float(moved), 0.0) if isinstance(moved, int | float) else 0.0


def together(one: TrainingStatistics, other: TrainingStatistics) -> TrainingStatistics:
    """Return the statistics of the rows of both.

    Parameters
    ----------
    one, other : TrainingStatistics
        With the same columns, clusters and probabilities.

    Returns
    -------
    TrainingStatistics
        Counts, means and deviations follow exactly; quantiles nearly, from those of both.
    """
    n_samples = one.n_samples + other.n_samples
    share = other.n_samples / n_samples
    present = [of.n_samples * (1 - of.missing) for of in (one, other)]
    counts = one.counts + other.counts
    weight = np.divide(other.counts, counts, out=np.zeros(len(counts)), where=counts > 0)[:, None]
    means = np.where(one.counts[:, None] == 0, other.means, one.means + weight * (other.means - one.means))
    squares = (1 - weight) * (one.deviations**2 + (one.means - means) ** 2)
    squares += weight * (other.deviations**2 + (other.means - means) ** 2)
    alone = [(one.counts > 0)[:, None], (other.counts > 0)[:, None]]
    deviations = np.where(
        alone[0] & alone[1], np.sqrt(squares), np.where(alone[0], one.deviations, other.deviations)
    )
    return replace(
        one,
        n_samples=n_samples,
        n_left_out=one.n_left_out + other.n_left_out,
        quantiles=np.array(
            [
                _mixed(one.probabilities, old, new, n_new / max(n_old + n_new, 1.0))
                for old, new, n_old, n_new in zip(one.quantiles, other.quantiles, *present, strict=True)
            ]
        ),
        missing=(1 - share) * one.missing + share * other.missing,
        counts=counts,
        means=means,
        deviations=deviations,
        distances=_mixed(one.probabilities, one.distances, other.distances, share),
        margins=_mixed(one.probabilities, one.margins, other.margins, share),
        n_sampled=_sampled_together(one, other),
    )


def _way(old: NDArray[Any], new: NDArray[Any], counts: NDArray[np.int64]) -> float:
    """Return how far centers are from where they were, but for those of a hundredth of the rows."""
    ways = np.sqrt(np.square(new.astype(np.float64) - old).sum(axis=1))
    order = np.argsort(ways)
    reached = np.cumsum(counts[order])
    return float(ways[order[np.searchsorted(reached, 0.99 * reached[-1])]])


def _sampled_together(one: TrainingStatistics, other: TrainingStatistics) -> int:
    """Return of how many rows a sample would tell as much as both samples, each weighted by its rows."""
    if not one.n_sampled:
        return 0
    n_samples = one.n_samples + other.n_samples
    variance = sum((of.n_samples / n_samples) ** 2 / of.n_sampled for of in (one, other))
    return min(int(1 / variance + 1e-6), n_samples)


def _mixed(
    probabilities: NDArray[np.float64], old: NDArray[np.float64], new: NDArray[np.float64], share: float
) -> NDArray[np.float64]:
    """Return quantiles of a mixture, of which `share` is new, of two distributions given by theirs.

    Each quantile stands for the values nearer to it in probability than to the others.
    """
    if not np.isfinite(new).any():
        # A column without a value, or the margin of one cluster.
        return old
    if not np.isfinite(old).any():
        return new
    edges = np.concatenate([[0.0], (probabilities[1:] + probabilities[:-1]) / 2, [1.0]])
    held = np.diff(edges)
    values = np.concatenate([old, new])
    weights = np.concatenate([(1 - share) * held, share * held])
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order]) - weights[order] / 2
    mixed: NDArray[np.float64] = np.interp(probabilities, reached, values[order])
    # The smallest and the largest of all.
    mixed[probabilities == 0.0] = values.min()
    mixed[probabilities == 1.0] = values.max()
    return mixed


class _Rows:
    """The new rows that the model takes in, in units of the columns."""

    def __init__(self, model: ClusterModel, batches: Any, progress: Progress) -> None:  # noqa: ANN401  # whatever users have
        self._model, self._progress = model, progress
        self._tables = _readable(batches)
        self.n_left_out = 0

    def read(self, stage: str) -> Iterator[NDArray[np.float64]]:
        """Yield the rows."""
        preparation = self._model.preparation
        n_rows, self.n_left_out = 0, 0
        for table in self._tables():
            values = values_of(table, preparation.names)
            good = kept(preparation, values)
            n_rows += len(values)
            self.n_left_out += len(values) - int(np.count_nonzero(good))
            if good.any():
                yield values if good.all() else values[good]
            self._progress(stage, n_rows, None)
        if n_rows == self.n_left_out:
            msg = (
                f"of {n_rows} new rows none is left: outliers and rows without a value are not learned from."
            )
            raise WorkflowError(msg)


def _readable(batches: Any) -> Callable[[], Iterable[Any]]:  # noqa: ANN401  # whatever users have
    """Return what reads the tables, each time from the first."""
    if callable(batches):
        return lambda: (part for table in batches() for part in _readable(table)())
    if isinstance(batches, str | Path):
        return lambda: iter_table(batches)
    if isinstance(batches, Iterator):
        msg = f"batches is a {type(batches).__name__}, read once only: update by each batch."
        raise WorkflowError(msg)
    if isinstance(batches, list | tuple):
        return lambda: (part for table in batches for part in _readable(table)())
    return lambda: [batches]
