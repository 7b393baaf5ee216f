"""Drift: no alarm on fresh rows of the same kind at more than the stated rate, and shifts are found."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, ks_2samp

from rust_kmeans.workflow import (
    ClusterModel,
    DriftReport,
    DriftWindow,
    Preparation,
    StatisticsBuilder,
    WorkflowError,
    _drift,
    _statistics,
    drift,
    from_sklearn,
    update_model,
)
from rust_kmeans.workflow._correction import holm
from rust_kmeans.workflow._drift_figure import drift_figure
from tests.workflow.models import Values, blobs, fitted, prepared

Random = np.random.Generator


def normal(n: int, random: Random) -> Values:
    return random.normal(size=(n, 6))


def separate(n: int, random: Random) -> Values:
    centers = np.random.default_rng(1).uniform(-6, 6, size=(4, 3))
    return np.asarray(centers[random.integers(4, size=n)] + random.normal(size=(n, 3)))


def discrete(n: int, random: Random) -> Values:
    columns = random.integers(0, 2, n), random.integers(0, 5, n), random.poisson(1.0, n)
    return np.column_stack(columns).astype(float)


def heavy(n: int, random: Random) -> Values:
    return random.standard_t(2, size=(n, 3))


def nearly_constant(n: int, random: Random) -> Values:
    rare = random.random(n) < 0.03
    mostly_zero = np.where(random.random(n) < 0.9, 0, random.exponential(size=n))
    return np.column_stack([np.ones(n), rare, mostly_zero, random.normal(size=n).round(1)]).astype(float)


def with_gaps(n: int, random: Random) -> Values:
    values = random.normal(size=(n, 3))
    values[random.random(values.shape) < 0.1] = np.nan
    return values


KINDS = [normal, separate, discrete, heavy, nearly_constant, with_gaps]
Draw = Callable[[int, Random], Values]


@pytest.mark.parametrize("draw", KINDS, ids=lambda draw: str(draw.__name__))
@pytest.mark.parametrize(
    ("n_training", "n_new", "n_times"),
    [(1000, 50, 25), (1000, 1000, 25), (1000, 100_000, 3), (100_000, 50, 2), (100_000, 100_000, 1)],
)
def test_fresh_rows_of_the_same_kind_are_called_drift_at_no_more_than_the_stated_rate(
    draw: Draw, n_training: int, n_new: int, n_times: int
) -> None:
    alarms = 0
    for time in range(n_times):
        random = np.random.default_rng([time, n_training, n_new])
        # Training rows are drawn anew too: the rate is that over both.
        model = fitted(draw(n_training, random), 5)
        alarms += drift(model, draw(n_new, random)).is_drift
    # More would be seen once in a thousand times if the rate were 5 %.
    assert alarms <= binom.ppf(0.999, n_times, 0.05)


def test_the_rate_is_kept_where_every_test_counts_whatever_its_effect() -> None:
    alarms = 0
    for time in range(150):
        random = np.random.default_rng(time)
        table = drift(fitted(normal(1000, random), 3), normal(300, random)).table
        alarms += bool((table["adjusted"] <= 0.05).any())
    assert alarms <= binom.ppf(0.999, 150, 0.05)


def test_a_fit_of_many_clusters_to_few_rows_without_any_is_no_drift_of_fresh_rows() -> None:
    # Its partition follows its own rows: margins are wider and distances smaller than any others'.
    random = np.random.default_rng(0)
    for n_features, n_clusters in ((2, 50), (8, 30), (30, 5)):
        model = fitted(random.normal(size=(1000, n_features)), n_clusters)
        assert not drift(model, random.normal(size=(20_000, n_features))).is_drift


def shifted(values: Values) -> Values:
    return np.asarray(values + np.array([0.5 * 3.0, 0, 0]))


def lost_cluster(values: Values) -> Values:
    return values[values[:, 0] < np.quantile(values[:, 0], 0.75)]


def wider(values: Values) -> Values:
    middle = values.mean(axis=0)
    return np.asarray(middle + (values - middle) * [1, np.sqrt(2), 1])


def some_missing(values: Values) -> Values:
    values = values.copy()
    values[::10, 2] = np.nan
    return values


def new_cluster(values: Values) -> Values:
    values = values.copy()
    values[::20] = values[::20] * 0.1 + 60
    return values


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (shifted, {("x0", "KS")}),
        (wider, {("x1", "PSI")}),
        (lost_cluster, {("", "cluster shares")}),
        (some_missing, {("x2", "missing")}),
        (new_cluster, {("", "far rows")}),
    ],
    ids=lambda value: str(getattr(value, "__name__", "")),
)
@pytest.mark.parametrize("n_training", [1000, 100_000])
@pytest.mark.parametrize("n_new", [500, 20_000])
def test_an_injected_shift_is_found(
    change: Callable[[Values], Values], found: set[tuple[str, str]], n_training: int, n_new: int
) -> None:
    random = np.random.default_rng(3)
    scale = np.array([3.0, 1.0, 2.0])
    draw = normal if change in (shifted, wider) else separate
    model = fitted(draw(n_training, random)[:, :3] * scale, 4)
    report = drift(model, change(draw(n_new, random)[:, :3] * scale))
    alarms = report.table[report.table["verdict"] == "drift"]
    assert found <= set(zip(alarms["feature"], alarms["test"], strict=True))
    assert report.is_drift
    assert report.verdict.startswith("Drift: ")
    for feature, test in found:
        assert f"column '{feature}'" in report.verdict if feature else test in report.verdict


def test_at_many_rows_a_tiny_shift_is_significant_and_no_alarm() -> None:
    random = np.random.default_rng(0)
    model = fitted(normal(100_000, random), 3)
    report = drift(model, normal(200_000, random) + np.array([0.03, 0, 0, 0, 0, 0]))
    row = report.table[(report.table["feature"] == "x0") & (report.table["test"] == "KS")].iloc[0]
    assert row["adjusted"] < 0.05
    assert row["verdict"] == "small"
    assert not report.is_drift


@settings(max_examples=60, deadline=None)
@given(
    n_training=st.integers(1, 3000),
    n_new=st.integers(1, 300),
    step=st.sampled_from([0.0, 0.1, 1.0, 5.0]),
    shift=st.sampled_from([0.0, 0.3, 3.0]),
    seed=st.integers(0, 1000),
)
def test_a_distance_from_quantiles_is_never_above_that_of_all_rows_and_little_below(
    n_training: int, n_new: int, step: float, shift: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    old, new = random.normal(size=n_training), random.normal(size=n_new) + shift
    if step:
        old, new = np.round(old / step) * step, np.round(new / step) * step
    column = _drift._Column(_statistics._quantiles(old), np.arange(501) / 500)
    for part in np.array_split(new, 3):
        column.add(part)
    found = _drift._ks("x", "KS", column, column, n_training).statistic
    everywhere = np.concatenate([old, new])
    shares = [np.searchsorted(np.sort(rows), everywhere, "right") / len(rows) for rows in (old, new)]
    exact = np.abs(shares[0] - shares[1]).max()
    assert found <= exact + 1e-12
    # Between two quantiles lies a step, and as much again is unknown at each.
    assert found >= exact - 2 * max(1 / 500, 1 / n_training) - 1e-12


@pytest.mark.parametrize("draw", [normal, nearly_constant, discrete], ids=lambda draw: str(draw.__name__))
def test_fresh_rows_of_the_same_kind_are_no_drift_of_an_updated_model(draw: Draw) -> None:
    # Where many rows are equal, each update moves the distance that they have in common.
    alarms = 0
    for time in range(20):
        random = np.random.default_rng(time)
        model = fitted(draw(1000, random), 5)
        for _ in range(2):
            model = update_model(model, draw(700, random))
        alarms += drift(model, draw(3000, random)).is_drift
    assert alarms <= binom.ppf(0.999, 20, 0.05)


def test_rows_at_another_distance_are_drift_of_an_updated_model_too() -> None:
    random = np.random.default_rng(0)
    model = update_model(fitted(normal(2000, random), 5), normal(1000, random))
    table = drift(model, normal(2000, random) * 2).table
    assert {"distance", "far rows"} <= set(table[table["verdict"] == "drift"]["test"])


@pytest.mark.parametrize("moved", ["far", None, -1.0])
def test_a_way_of_centers_that_is_none_counts_for_nothing(moved: Any) -> None:
    model = replace(WINDOWED, parameters={"centers_moved": moved})
    values = blobs(300, seed=5)
    pd.testing.assert_frame_equal(drift(model, values).table, drift(WINDOWED, values).table)


@pytest.mark.parametrize("n_new", [1, 2, 3, 10])
def test_so_few_rows_that_a_distance_of_one_is_chance_are_no_drift(n_new: int) -> None:
    # Of one row in 40 columns some value is beyond all of 100 training rows as often as not.
    alarms = 0
    for time in range(25):
        random = np.random.default_rng([time, n_new])
        model = fitted(random.normal(size=(100, 40)), 2)
        alarms += drift(model, random.normal(size=(n_new, 40))).is_drift
    assert alarms <= binom.ppf(0.999, 25, 0.05)


@settings(max_examples=200, deadline=None)
@given(
    n_training=st.integers(1, 60), n_new=st.integers(1, 60), shift=st.floats(0, 4), seed=st.integers(0, 99)
)
def test_a_p_value_is_never_below_the_exact_one(n_training: int, n_new: int, shift: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    exact = ks_2samp(random.normal(size=n_training), random.normal(size=n_new) + shift, method="exact")
    if exact.pvalue > 1e-8:
        found = _drift._p_value(exact.statistic, n_training, n_new)
        assert found >= min(exact.pvalue, 0.2) * (1 - 1e-9)
        assert found <= 1


def test_the_shares_of_a_fit_of_few_rows_to_many_clusters_are_given_some_way() -> None:
    random = np.random.default_rng(0)
    model = fitted(heavy(200, random), 30)
    new = heavy(2000, random)
    table = drift(model, new).table
    row = table[table["test"] == "cluster shares"].iloc[0]
    training = model.statistics.counts.astype(float)
    counts = np.bincount(model.predict(new).labels, minlength=30)
    drawn = _drift._drawn(counts, training, 0.02 * np.sqrt(model.centers.size / 200))
    assert row["p_value"] == _drift._psi("", "", training, drawn).p_value
    assert row["p_value"] > _drift._psi("", "", training, counts.astype(float)).p_value


def test_a_share_that_fitting_explains_is_taken_off_the_difference_and_no_more() -> None:
    training, new = np.array([50.0, 30.0, 20.0]), np.array([500, 100, 400])
    np.testing.assert_allclose(_drift._drawn(new, training, 0.0), new)
    np.testing.assert_allclose(_drift._drawn(new, training, 0.1), [500, 200, 300])
    np.testing.assert_allclose(_drift._drawn(new, training, 0.5), [500, 300, 200])
    np.testing.assert_allclose(_drift._drawn(new * 0, training, 0.5), 0)


@settings(max_examples=60, deadline=None)
@given(p_values=st.lists(st.floats(0, 1), min_size=1, max_size=20), level=st.sampled_from([0.01, 0.05, 0.2]))
def test_holm_rejects_from_the_smallest_on_as_long_as_each_is_below_its_part(
    p_values: list[float], level: float
) -> None:
    adjusted = holm(np.array(p_values))
    m, rejected = len(p_values), set()
    for i, place in enumerate(sorted(range(m), key=lambda place: p_values[place])):
        if p_values[place] * (m - i) > level:
            break
        rejected.add(place)
    assert {int(place) for place in np.flatnonzero(adjusted <= level)} == rejected


def test_columns_are_found_by_name_in_any_table_and_rows_may_come_in_parts(tmp_path: Path) -> None:
    model = fitted(blobs(500), 4)
    values = blobs(700, seed=5)
    frame = pd.DataFrame(values, columns=["x0", "x1", "x2"])[["x2", "x0", "x1"]].assign(more="text")
    frame.to_csv(tmp_path / "new.csv", index=False)
    whole = drift(model, values)

    def parts() -> Iterator[Any]:
        yield frame[:100]
        yield frame[:0]
        yield values[100:]

    for table in (frame, pl.from_pandas(frame), parts(), tmp_path / "new.csv", str(tmp_path / "new.csv")):
        report = drift(model, table)
        pd.testing.assert_frame_equal(report.table, whole.table)
        pd.testing.assert_frame_equal(report.quantiles, whole.quantiles)
        assert report.verdict == whole.verdict


def limited(missing: str, fill: float) -> ClusterModel:
    values = blobs(500)
    preparation = prepared(values)
    changes: dict[str, Any] = {"missing": missing, "fill": np.full(3, fill)}
    preparation = replace(preparation, lower=np.full(3, -9.0), upper=np.full(3, 9.0), **changes)
    inside = preparation.inliers(values)
    return fitted(values[inside], 4, preparation)


def test_rows_that_a_fit_leaves_out_are_left_out_and_counted() -> None:
    values = blobs(500, seed=5).clip(-9, 9)
    values[:30, 0] = 1e4
    values[30:40, 1] = np.inf
    values[40:60, 2] = np.nan
    report = drift(limited("drop", np.nan), values)
    assert (report.n_samples, report.n_left_out) == (440, 60)
    row = report.table[report.table["test"] == "left out"].iloc[0]
    assert row["statistic"] == pytest.approx(0.12)
    assert row["verdict"] == "drift"
    assert "left out (effect" in report.verdict
    report = drift(limited("mean", 0.0), values)
    assert (report.n_samples, report.n_left_out) == (460, 40)


def test_all_rows_left_out_is_drift() -> None:
    report = drift(limited("mean", 0.0), np.full((50, 3), 1e5))
    assert (report.n_samples, report.n_left_out) == (0, 50)
    assert report.is_drift
    assert np.isnan(report.quantiles["new"]).all()
    json.dumps(report.to_dict(), allow_nan=False)


def test_a_column_that_vanishes_is_drift() -> None:
    values = blobs(500, seed=5)
    values[:, 1] = np.nan
    report = drift(fitted(blobs(500), 4), values)
    alarms = report.table[report.table["verdict"] == "drift"]
    assert ("x1", "missing") in set(zip(alarms["feature"], alarms["test"], strict=True))
    assert ("x1", "KS") not in set(zip(report.table["feature"], report.table["test"], strict=True))


def test_a_model_of_one_cluster_has_no_margins_to_compare() -> None:
    report = drift(fitted(blobs(500), 1), blobs(300, seed=5))
    assert "margin" not in set(report.table["test"])
    assert not report.is_drift


def test_the_training_rows_themselves_are_no_drift() -> None:
    for draw in KINDS:
        values = draw(2000, np.random.default_rng(0))
        report = drift(fitted(values, 6), values)
        assert not report.is_drift
        assert (report.table["effect"] < 0.02).all()


def test_quantiles_and_shares_of_a_report_are_those_of_the_rows() -> None:
    model, values = fitted(blobs(5000), 4), blobs(4000, seed=5)
    report = drift(model, values)
    labels = model.predict(values).labels
    np.testing.assert_allclose(report.shares["new"], np.bincount(labels, minlength=4) / 4000)
    np.testing.assert_allclose(report.shares["training"], model.statistics.shares)
    for j, name in enumerate(model.names):
        rows = report.quantiles[report.quantiles["feature"] == name]
        spread = np.ptp(values[:, j])
        np.testing.assert_allclose(
            rows["new"], np.quantile(values[:, j], rows["probability"]), atol=spread / 50
        )


def test_a_table_of_few_rows_says_what_it_could_not_have_shown() -> None:
    model = fitted(blobs(1000), 4)
    assert "could not have shown a shift below a KS distance of 0." in drift(model, blobs(40, seed=5)).verdict
    assert "could not have shown" not in drift(model, blobs(4000, seed=5)).verdict


@pytest.mark.parametrize(
    ("table", "level", "said"),
    [
        (np.empty((0, 3)), 0.05, "the table has no rows"),
        (np.zeros((2, 2)), 0.05, "must be"),
        (pd.DataFrame({"x0": [1.0], "x1": [1.0]}), 0.05, "no column 'x2'"),
        (blobs(10), 0.0, "level=0.0: it must be above 0"),
        (blobs(10), 1.0, "level=1.0: it must be above 0"),
        (blobs(10), float("nan"), "level=nan: it must be above 0"),
    ],
)
def test_what_cannot_be_compared_is_refused(table: Any, level: float, said: str) -> None:
    with pytest.raises(WorkflowError, match=said):
        drift(fitted(blobs(50), 2), table, level=level)


def test_a_model_without_training_statistics_is_refused() -> None:
    model = from_sklearn(fitted(blobs(50), 2).estimator)
    with pytest.raises(WorkflowError, match="knows nothing of the rows it was fitted to"):
        drift(model, blobs(50))
    with pytest.raises(WorkflowError, match="knows nothing of the rows it was fitted to"):
        DriftWindow(model)


@settings(max_examples=30, deadline=None)
@given(sizes=st.lists(st.integers(1, 25), min_size=1, max_size=8), n_rows=st.integers(1, 40))
def test_a_window_holds_the_last_rows(sizes: list[int], n_rows: int) -> None:
    model = WINDOWED
    window = DriftWindow(model, n_rows)
    values = blobs(sum(sizes), seed=5)
    first = 0
    for size in sizes:
        part = values[first : first + size]
        window.add(part, model.predict(part))
        first += size
    last = values[-n_rows:]
    assert len(window) == len(last)
    pd.testing.assert_frame_equal(window.report().table, drift(model, last).table)


WINDOWED = fitted(blobs(300), 4)


def test_a_window_may_be_used_by_many_threads() -> None:
    window = DriftWindow(WINDOWED, 500)
    part = blobs(20, seed=5)
    prediction = WINDOWED.predict(part)
    reports: list[DriftReport] = []

    def work() -> None:
        for _ in range(50):
            window.add(part, prediction)
        reports.append(window.report())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(window) == 500
    assert len(reports) == 4
    # Every row is whole: 25 times each of the 20.
    assert np.unique(window._values, axis=0).shape == (20, 3)


def test_rows_that_do_not_fit_leave_a_window_as_it_was() -> None:
    window, values = DriftWindow(WINDOWED, 50), blobs(80, seed=5)
    prediction = WINDOWED.predict(values)
    window.add(values, prediction)
    before = window.report().table
    for wrong in (values[:, :2], values[:40], values[0]):
        with pytest.raises(WorkflowError, match="rows and labels have shapes"):
            window.add(wrong, prediction)
    pd.testing.assert_frame_equal(window.report().table, before)


def test_an_empty_window_has_nothing_to_report() -> None:
    window = DriftWindow(WINDOWED)
    assert len(window) == 0
    with pytest.raises(WorkflowError, match="no rows"):
        window.report()


def test_a_window_of_no_rows_is_refused() -> None:
    with pytest.raises(WorkflowError, match="n_rows=0: a window has one row at least"):
        DriftWindow(WINDOWED, 0)


def test_a_figure_has_a_panel_for_shares_and_each_column_with_names_as_they_are() -> None:
    values = blobs(500)
    model = fitted(values, 4, prepared(values, names=("$a_{b", "[red]", "c")))
    report = drift(model, blobs(500, seed=5) + np.array([5, 0, 0]))
    figure = drift_figure(report)
    figure.canvas.draw()
    titles = [panel.get_title() for panel in figure.axes if panel.axison]
    assert titles[0].startswith("cluster shares")
    assert set(titles[1:]) == {"$a_{b: drift", "[red]", "c"}


def test_a_figure_of_many_columns_has_those_that_drifted() -> None:
    values = np.random.default_rng(0).normal(size=(400, 40))
    report = drift(fitted(values, 2), values + np.r_[np.zeros(39), 3])
    titles = [panel.get_title() for panel in drift_figure(report).axes if panel.axison]
    assert len(titles) == 24
    assert "x39: drift" in titles


def test_a_sample_of_the_training_rows_counts_as_so_many_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_statistics, "MOST_ROWS", 200)
    values = blobs(5000)
    preparation: Preparation = prepared(values)
    builder = StatisticsBuilder(preparation, preparation.features(values[:3]))
    builder.add(values)
    statistics = builder.finish(0)
    assert statistics.n_sampled == 200
    model = ClusterModel(preparation.features(values[:3]), preparation, statistics)
    new = blobs(5000, seed=5)
    column = _drift._Column(statistics.quantiles[0], statistics.probabilities)
    column.add(new[:, 0])
    row = drift(model, new).table.iloc[0]
    assert row["p_value"] == _drift._ks("x0", "KS", column, column, 200).p_value
    assert row["p_value"] > _drift._ks("x0", "KS", column, column, 5000).p_value
