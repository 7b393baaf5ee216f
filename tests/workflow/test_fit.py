"""The whole fit: the same model in memory, in parts and with Dask; updates of it; and the commands."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rust_kmeans import KMeans
from rust_kmeans.workflow import (
    ClusterModel,
    FittedTable,
    WorkflowError,
    fit_table,
    load_model,
    read_table,
    update_model,
)
from rust_kmeans.workflow import _columns as columns_module
from rust_kmeans.workflow import _tables as tables_module
from rust_kmeans.workflow._sources import is_large
from rust_kmeans.workflow._tables import PART_ROWS
from rust_kmeans.workflow._update import together
from tests.workflow.models import blobs


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """Four clusters in three columns, with gaps, a far row, text and a constant."""
    table = pd.DataFrame(blobs(2_000), columns=["length", "width", "height"])
    table = table.mask(np.random.default_rng(0).random(table.shape) < 0.05)
    table.loc[17, "width"] = 1e7
    return table.assign(name="x", unit=1.0)


@pytest.fixture(scope="module")
def taxi(real_data: Path) -> Path:
    """Green taxi trips in New York, October 2020."""
    path: Path = real_data / "tables" / "green_tripdata_2020-10.parquet"
    if not path.is_file():
        pytest.skip(f"real data is absent: no {path.name}")
    return path


def assert_same(one: FittedTable, other: FittedTable) -> None:
    assert one.model.model_id == other.model.model_id
    assert one.model.parameters == other.model.parameters
    np.testing.assert_array_equal(one.labels, other.labels)
    for name, value in vars(one.model.preparation).items():
        np.testing.assert_array_equal(value, getattr(other.model.preparation, name))
    for name, value in vars(one.model.statistics).items():
        np.testing.assert_array_equal(value, getattr(other.model.statistics, name))


def test_the_fit_is_that_of_the_estimators_in_a_row(frame: pd.DataFrame) -> None:
    fitted = fit_table(frame, 4)
    model = fitted.model
    assert model.names == ("length", "width", "height")
    inside = frame.drop(index=17)[list(model.names)].to_numpy()
    expected = KMeans(4, random_state=0).fit(model.preparation.features(inside))
    np.testing.assert_array_equal(model.centers, expected.cluster_centers_)
    assert fitted.labels[17] == -1
    np.testing.assert_array_equal(np.delete(fitted.labels, 17), expected.labels_)
    assert model.parameters["inertia"] == expected.inertia_
    assert model.statistics.n_samples == 1_999
    assert model.statistics.n_left_out == 1
    assert set(fitted.seconds) == {"read", "prepare", "fit", "statistics"}


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_a_file_gives_the_same_model_in_memory_in_parts_and_with_dask(
    frame: pd.DataFrame, tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    if name == "t.csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path, row_group_size=700)
    whole = fit_table(frame)
    assert_same(fit_table(path), whole)
    in_parts = fit_table(path, stream=True)
    assert_same(in_parts, whole)
    by_dask = fit_table(path, dask=True)
    assert_same(by_dask, whole)
    assert str(in_parts.decisions[0]) == "read: in parts, again in each pass, as asked"
    assert in_parts.decisions[1:] == by_dask.decisions[1:] == whole.decisions


def test_an_array_is_fitted_as_its_npy_file_in_any_way(tmp_path: Path) -> None:
    values = blobs(900)
    np.save(tmp_path / "m.npy", values)
    whole = fit_table(values, 4, scale="robust", missing="mean", dtype="float64")
    for way in ({}, {"stream": True}, {"dask": True}):
        options: dict[str, Any] = {"scale": "robust", "missing": "mean", "dtype": "float64", **way}
        assert_same(fit_table(tmp_path / "m.npy", 4, **options), whole)


def test_a_column_whose_values_change_kind_far_down_a_csv_file_is_dropped_in_any_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables_module, "_PIECE_BYTES", 1 << 18)
    n_rows = 70_000
    frame = pd.DataFrame({"x": np.arange(n_rows) % 7, "y": np.arange(n_rows) % 5})
    late = pd.Series(np.ones(n_rows), dtype=object)
    frame["text"] = late.where(frame.index < n_rows - 1, "none so far")
    frame["flag"] = (frame["x"] > 3).astype(object).where(frame.index < PART_ROWS, 2.5)
    frame.to_csv(tmp_path / "t.csv", index=False)
    for stream, dask in ((False, False), (True, False), (None, True)):
        fitted = fit_table(tmp_path / "t.csv", 2, stream=stream, dask=dask)
        assert fitted.model.names == ("x", "y")
        reasons = {decision.column: decision.reason for decision in fitted.decisions}
        assert reasons["text"].startswith("it holds text, such as")
        # A part in which both occur is text.
        assert reasons["flag"].startswith("it holds booleans among" if stream else "it holds text")


def test_a_dask_frame_is_fitted_by_dask(frame: pd.DataFrame) -> None:
    import dask.dataframe as dd

    assert_same(fit_table(dd.from_pandas(frame, npartitions=3), 4), fit_table(frame, 4))


def test_a_file_of_many_parts_gives_the_same_model_as_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columns_module, "_SAMPLED_ROWS", 5_000)
    np.save(tmp_path / "m.npy", blobs(150_000))
    assert_same(fit_table(tmp_path / "m.npy", 4, stream=True), fit_table(tmp_path / "m.npy", 4, stream=False))


def test_only_files_that_are_large_for_the_memory_are_read_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "m.npy", blobs(500))
    assert not is_large(tmp_path / "m.npy")
    monkeypatch.setattr("rust_kmeans.workflow._sources._memory", lambda: 20_000.0)
    fitted = fit_table(tmp_path / "m.npy", 4)
    assert "large for the memory" in str(fitted.decisions[0])
    assert_same(fitted, fit_table(tmp_path / "m.npy", 4, stream=False))


def test_auto_finds_the_number_of_clusters_and_says_how_sure_that_is() -> None:
    random = np.random.default_rng(0)
    corners = np.array([[0, 0], [0, 20], [20, 0], [20, 20]])
    fitted = fit_table(corners[random.integers(4, size=1_000)] + random.normal(size=(1_000, 2)))
    assert fitted.model.n_clusters == 4
    assert any(decision.action == "clustered" and "4" in decision.reason for decision in fitted.decisions)
    assert "choose k" in fitted.seconds


def test_auto_sees_every_group_of_a_table_in_which_groups_take_turns(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    turn = np.arange(200_000) % 4
    frame = pd.DataFrame({"x": random.normal(turn * 20), "y": random.normal(turn % 2 * 20)})
    fitted = fit_table(frame)
    assert fitted.model.n_clusters == 4
    said = [str(decision) for decision in fitted.decisions]
    assert "clustered: k is chosen by 100,000 of 200,000 rows, drawn at random" in said
    assert any(line.startswith("clustered: k = 4, sure") for line in said)
    frame.to_parquet(tmp_path / "t.parquet")
    in_parts = fit_table(tmp_path / "t.parquet", stream=True)
    assert [str(decision) for decision in in_parts.decisions][1:] == said
    assert_same(fitted, in_parts)


def test_progress_tells_each_pass_and_its_rows(frame: pd.DataFrame, tmp_path: Path) -> None:
    frame.to_parquet(tmp_path / "t.parquet")
    told: list[tuple[str, int, int | None]] = []
    fit_table(tmp_path / "t.parquet", 4, stream=True, progress=lambda *what: told.append(what))
    stages = list(dict.fromkeys(stage for stage, _, _ in told))
    assert stages[:2] == ["looking at the columns", "preparing"]
    assert "clustering, pass 1" in stages
    assert stages[-1] == "summarising"
    assert told[-1] == ("summarising", 2_000, 2_000)


@pytest.mark.parametrize(
    ("n_clusters", "options", "reason"),
    [
        (0, {}, "n_clusters is 0"),
        ("many", {}, "n_clusters is 'many'"),
        (2_500, {}, "1999 rows are fewer than 2500 clusters"),
        (3, {"n_init": 0}, "n_init"),
        (3, {"stream": True}, "in memory already"),
        (3, {"dask": True}, "in memory already"),
        (3, {"columns": ["depth"]}, "no column 'depth'"),
    ],
)
def test_what_cannot_be_fitted_is_refused(
    frame: pd.DataFrame, n_clusters: Any, options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(WorkflowError, match=reason):
        fit_table(frame, n_clusters, **options)


def test_fewer_different_rows_than_clusters_are_said() -> None:
    fitted = fit_table(np.array([[0.0], [1.0]] * 10), 5)
    assert any("clusters are empty" in decision.reason for decision in fitted.decisions)


def test_a_cluster_of_few_far_rows_is_noted_with_the_remedy() -> None:
    values = np.concatenate([np.random.default_rng(0).normal(size=(20_000, 2)), [[1e6, 1e6]]])
    lines = [str(decision) for decision in fit_table(values, 2, outliers="none").decisions]
    assert any("few of the 20,001 rows are in cluster" in line and "iqr" in line for line in lines)
    assert any("standard deviations from the mean" in line for line in lines)
    assert not any(line.startswith("noted") for line in map(str, fit_table(values, 2).decisions))


def test_the_taxi_file_ends_in_a_sensible_model_with_every_column_accounted_for(taxi: Path) -> None:
    fitted = fit_table(taxi)
    model = fitted.model
    dropped = {decision.column for decision in fitted.decisions if decision.action == "dropped"}
    assert dropped == {"lpep_pickup_datetime", "lpep_dropoff_datetime", "store_and_fwd_flag", "ehail_fee"}
    assert dropped | set(model.names) == set(read_table(taxi).columns)
    # Trips of more than a hundred thousand miles would make all others look alike.
    assert model.statistics.n_left_out < 100
    assert model.preparation.divisor[model.names.index("trip_distance")] < 10
    filled = {decision.column for decision in fitted.decisions if decision.action == "filled"}
    assert len(filled) == 6
    assert 2 <= model.n_clusters <= 20
    assert model.statistics.shares.min() > 0.005
    assert model.statistics.shares.max() < 0.6


def test_an_update_goes_on_by_the_steps_of_partial_fit_and_keeps_the_preparation(frame: pd.DataFrame) -> None:
    model = fit_table(frame, 4).model
    before = model.centers.copy()
    new = pd.DataFrame(blobs(3_000, seed=5) + 0.3, columns=list(model.names))
    new.loc[0, "length"] = -1e7
    updated = update_model(model, [new[:1_100], new[1_100:]])
    features = model.preparation.features(new[1:].to_numpy())
    counts = model.statistics.counts
    centers = before.astype(np.float64)
    taken = counts.astype(np.float64)
    for first in range(0, len(features), 1024):
        batch = features[first : first + 1024]
        labels = ((batch[:, None].astype(np.float64) - centers.astype(np.float32)) ** 2).sum(axis=2).argmin(1)
        for label in range(4):
            rows = batch[labels == label]
            taken[label] += len(rows)
            centers[label] += (rows - centers[label]).sum(axis=0) / taken[label]
    np.testing.assert_allclose(updated.centers, centers, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(model.centers, before)
    assert updated.preparation is model.preparation
    assert updated.statistics.n_samples == 1_999 + 2_999
    assert updated.statistics.n_left_out == 2
    assert updated.statistics.counts.sum() == 1_999 + 2_999
    assert updated.parameters["n_updates"] == 1
    assert "inertia" not in updated.parameters


def test_an_update_is_the_same_however_the_stream_is_cut(frame: pd.DataFrame, tmp_path: Path) -> None:
    model = fit_table(frame, 4).model
    frame.to_parquet(tmp_path / "t.parquet")
    whole = update_model(model, frame)
    cuts = [frame[:100], frame[100:1_500], frame[1_500:]]
    for batches in (cuts, lambda: iter(cuts), tmp_path / "t.parquet", str(tmp_path / "t.parquet")):
        again = update_model(model, batches)
        assert again.model_id == whole.model_id
        np.testing.assert_array_equal(again.statistics.counts, whole.statistics.counts)
    with pytest.raises(WorkflowError, match="read once only"):
        update_model(model, iter(cuts))
    with pytest.raises(WorkflowError, match="none is left"):
        update_model(model, frame[17:18])


def test_quantiles_of_a_column_together_are_weighted_by_its_values_not_by_rows() -> None:
    random = np.random.default_rng(0)
    old, new = random.normal(size=(1_000, 2)), random.normal(size=(9_000, 2))
    new[:8_100, 0] = np.nan
    new[:, 0] += 5
    model = fit_table(old, 2, outliers="none").model
    merged = update_model(model, new).statistics
    both = np.concatenate([old, new])
    middle = np.searchsorted(merged.probabilities, 0.5)
    for j in range(2):
        assert merged.quantiles[j, middle] == pytest.approx(np.nanmedian(both[:, j]), abs=0.1)
    # All rows of both were looked at.
    assert merged.n_sampled == merged.n_samples == 10_000


@pytest.mark.parametrize(
    ("rows", "sampled", "together_sampled"),
    [
        ((1_000, 500), (1_000, 500), 1_500),
        ((1_000_000, 1_000_000), (100_000, 100_000), 200_000),
        # A small sample of most of the rows decides.
        ((1_000_000, 1_000), (1_000, 1_000), 1_001),
        ((1_000, 500), (0, 500), 0),
    ],
)
def test_samples_together_tell_as_much_as_their_weights_allow(
    rows: tuple[int, int], sampled: tuple[int, int], together_sampled: int
) -> None:
    statistics = fit_table(np.arange(40.0).reshape(-1, 2), 1).model.statistics
    one, other = (
        replace(statistics, n_samples=n, n_sampled=few) for n, few in zip(rows, sampled, strict=True)
    )
    assert together(one, other).n_sampled == together_sampled


def test_statistics_of_two_tables_together_are_those_of_all_rows() -> None:
    one, other = blobs(4_000, seed=1), blobs(1_000, seed=2) + 1.0
    model = fit_table(np.concatenate([one, other]), 4, outliers="none").model

    def of(values: np.ndarray[Any, Any]) -> Any:
        from rust_kmeans.workflow import StatisticsBuilder

        builder = StatisticsBuilder(model.preparation, model.centers)
        builder.add(values)
        return builder.finish(1)

    merged, whole = together(of(one), of(other)), model.statistics
    assert merged.n_samples == whole.n_samples
    assert merged.n_left_out == 2
    np.testing.assert_array_equal(merged.counts, whole.counts)
    np.testing.assert_allclose(merged.means, whole.means, rtol=1e-12)
    np.testing.assert_allclose(merged.deviations, whole.deviations, rtol=1e-10)
    middle = (whole.probabilities > 0.01) & (whole.probabilities < 0.99)
    np.testing.assert_allclose(merged.quantiles[:, middle], whole.quantiles[:, middle], atol=0.15)
    np.testing.assert_array_equal(merged.quantiles[:, [0, -1]], whole.quantiles[:, [0, -1]])
    np.testing.assert_allclose(merged.distances[middle], whole.distances[middle], atol=0.03)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    from rust_kmeans.workflow.commands import main

    monkeypatch.setattr(sys, "argv", ["rust-kmeans", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0)


def test_the_command_fit_prints_each_decision_and_writes_model_labels_and_report(
    frame: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "t.csv"
    frame.to_csv(path, index=False)
    model, labels, report = tmp_path / "m.model", tmp_path / "l.csv", tmp_path / "r.json"
    files = ("--model", model, "--labels", labels, "--report", report)
    assert run(monkeypatch, "fit", path, "--k", 4, "--scale", "minmax", *files) == 0
    printed = capsys.readouterr().out
    fitted = fit_table(frame, 4, scale="minmax")
    for decision in fitted.decisions:
        assert f"{decision}\n" in printed
    loaded = load_model(model)
    assert isinstance(loaded, ClusterModel)
    assert loaded.model_id == fitted.model.model_id
    assert loaded.model_id in printed
    np.testing.assert_array_equal(read_table(labels)["label"], fitted.labels)
    written = json.loads(report.read_text())
    assert written["n_left_out"] == 1
    assert len(written["decisions"]) == len(fitted.decisions)

    predicted = tmp_path / "p.parquet"
    assert run(monkeypatch, "predict", model, path, "--out", predicted) == 0
    table = read_table(predicted)
    expected = loaded.predict(frame[list(loaded.names)].to_numpy())
    np.testing.assert_array_equal(table["label"], expected.labels)
    np.testing.assert_array_equal(table["distance"], expected.distances.min(axis=1))
    np.testing.assert_array_equal(table["margin"], expected.margins)

    updated = tmp_path / "u.model"
    assert run(monkeypatch, "fit", path, "--update", model, "--model", updated) == 0
    assert load_model(updated).model_id == update_model(loaded, frame).model_id


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("fit", "no.csv"), "no.csv"),
        (("fit", "t.csv", "--k", "few"), "--k is 'few'"),
        (("fit", "t.csv", "--seed", "-1"), "--seed is -1"),
        (("fit", "t.csv", "--scale", "log"), "scale is 'log'"),
        (("fit", "t.csv", "--unusable", "error"), "columns cannot be used: 'c': it holds text"),
        (("fit", "t.csv", "--columns", "d"), "no column 'd'"),
        (("fit", "t.csv", "--labels", "l.xlsx"), "must end in"),
        (("fit", "t.csv", "--model", "none/m.model"), "there is no folder"),
        (("fit", "t.csv", "--update", "m.model", "--scale", "minmax"), "--scale has no effect"),
        (("predict", "m.model", "u.csv", "--out", "p.csv"), "no column 'a' (is it 'A'?)"),
        (("predict", "m.model", "large.csv", "--out", "p.csv"), "large.csv: row 1 has a value of 'a'"),
        (("predict", "m.model", "t.csv", "--out", "t.csv"), "t.csv cannot be written: this command reads"),
        (("predict", "m.model", "t.csv", "--out", "./m.model"), "m.model cannot be written"),
        (("fit", "t.csv", "--model", "t.csv"), "t.csv cannot be written: this command reads it"),
        (("fit", "t.csv", "--model", "p.csv", "--labels", "p.csv"), "writes it for another option"),
        (("fit", "t.csv", "--model", "."), ". cannot be written: it is a folder"),
        (("predict", "t.csv", "t.csv", "--out", "p.csv"), "t.csv"),
    ],
)
def test_a_mistake_is_one_line_and_exit_status_2(
    arguments: tuple[str, ...],
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text("a,b,c\n1,2,x\n2,3,y\n4,1,z\n")
    Path("u.csv").write_text("A,b\n1,2\n")
    Path("large.csv").write_text("a,b\n1,2\n1e99,2\n")
    assert run(monkeypatch, "fit", "t.csv", "--k", 2, "--model", "m.model") == 0
    capsys.readouterr()
    assert run(monkeypatch, *arguments) == 2
    printed = capsys.readouterr()
    assert reason in printed.err
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1
    assert not Path("p.csv").exists()


def test_predict_gives_the_labels_of_the_fit_to_the_rows_of_the_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    frame = pd.DataFrame(blobs(2_000), columns=["a", "b", "c"])
    frame.loc[[3, 4], "a"] = np.nan
    frame.loc[9, "b"] = np.inf
    frame.to_csv("t.csv", index=False)
    words = ("--k", 4, "--missing", "drop", "--columns", "c,a,b", "--model", "m.model", "--labels", "l.csv")
    assert run(monkeypatch, "fit", "t.csv", *words) == 0
    assert run(monkeypatch, "predict", "m.model", "t.csv", "--out", "p.csv") == 0
    found = pd.read_csv("p.csv")
    assert found["label"].tolist() == pd.read_csv("l.csv")["label"].tolist()
    without = found.index[found["label"] == -1].tolist()
    assert without == [3, 4, 9]
    assert found.index[found[["distance", "margin"]].isna().all(axis=1)].tolist() == without
    said = capsys.readouterr().out
    assert "label -1: 2 rows have a missing value, and so no cluster" in said
    assert "label -1: 1 row has an infinite value, and so no cluster" in said


def test_files_are_written_before_a_line_that_no_one_reads(
    frame: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    frame.to_csv("t.csv", index=False)
    run(monkeypatch, "fit", "t.csv", "--k", 2, "--model", "[m].model")

    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    for words in (
        ("fit", "t.csv", "--k", 4, "--model", "m", "--labels", "l.csv", "--report", "r.json"),
        ("fit", "t.csv", "--update", "[m].model", "--model", "u"),
        ("choose-k", "t.csv", "--k", "1..4", "--csv", "k.csv", "--plot", "k.svg"),
        ("evaluate", "[m].model", "t.csv", "--labels", "name", "--csv", "c.csv"),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(sys, "stdout", Closed())
            run(patched, *words)
    for name in ("m", "l.csv", "r.json", "u", "k.csv", "k.svg", "c.csv"):
        assert Path(name).stat().st_size > 0


def test_a_column_with_a_comma_in_its_name_is_named_in_quotes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text("size, m;a;b\n1,5;2;3\n2,5;3;1\n4,5;1;2\n")
    words = ("--k", 2, "--columns", '"size, m", a', "--model", "m.model")
    assert run(monkeypatch, "fit", "t.csv", *words) == 0
    assert load_model(tmp_path / "m.model").names == ("size, m", "a")


def test_predict_of_a_table_without_rows_writes_one_without_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text("a,b\n1,2\n2,3\n4,1\n")
    Path("e.csv").write_text("a,b\n")
    assert run(monkeypatch, "fit", "t.csv", "--k", 2, "--model", "m.model") == 0
    assert run(monkeypatch, "predict", "m.model", "e.csv", "--out", "p.csv") == 0
    assert Path("p.csv").read_text() == "label,distance,margin\n"
