"""Spark keeps the contract, as the bench measures it, and reads tables; needs ``make spark`` and Java."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from sklearn.metrics import silhouette_score

from harness.contract import FitSpec
from harness.datasets import CachedDataset, Dataset, obtain
from harness.isolate import Limits, measure
from harness.referee import find_reference, judge, objective
from harness.registry import ENTRIES
from harness.scenario import DatasetSpec, Track
from python_impl import kmeans as textbook
from spark_impl import adapter, quality, session, tables

#: Two JVMs are started one after the other, which takes minutes on a machine that is busy.
LIMITS = Limits(400.0)
MAX_ITER = 100
ENTRY = next(entry for entry in ENTRIES if entry.name == "spark")
#: PySpark says so at every start beside a newer pandas, which is not used here.
pytestmark = pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning")


def spec_for(data: CachedDataset, track: Track) -> FitSpec:
    if track == "default":
        return FitSpec(data.spec.n_clusters, None, None, None, None, 0, 2, data.dataset.dtype)
    return FitSpec(data.spec.n_clusters, data.init, 1, MAX_ITER, 0.0, 0, 2, data.dataset.dtype)


def overlapping(dtype: str, cache: Path) -> CachedDataset:
    """Blobs that overlap, so that the fit takes some iterations; each costs two jobs of Spark."""
    return obtain(DatasetSpec("blobs", 2_000, 3, 5, dtype=dtype, spread=3.0), cache)


@pytest.fixture(scope="module")
def running() -> Iterator[session.Session]:
    """One session for all tests of this process."""
    if (reason := session.refusal()) is not None:
        pytest.skip(reason)
    started = session.start(2)
    yield started
    session.stop(started)
    assert not started.folder.exists()


@pytest.mark.spark
def test_from_the_same_start_spark_reaches_the_labels_of_the_reference(cache: Path) -> None:
    data = overlapping("float64", cache)
    outcome = measure(ENTRY.adapter, data.dataset, spec_for(data, "matched"), LIMITS)
    if outcome.status == "skipped":
        pytest.skip(outcome.reason)
    assert outcome.status == "ok", outcome.reason
    reference, reason = find_reference(data, spec_for(data, "matched"), LIMITS)
    assert reference is not None, reason
    verdict = judge(outcome, ENTRY, "matched", data, reference)
    assert verdict.status == "ok", verdict.reason
    facts = outcome.facts
    assert (facts["init"], facts["n_init"], facts["max_iter"], facts["tol"]) == ("given", 1, MAX_ITER, 0.0)
    assert 1 < facts["n_iter"] < MAX_ITER
    assert facts["library_version"]
    # The worker itself holds little more than an interpreter: what Spark needs is in its JVM, a child.
    assert facts["peak_hwm_bytes"] is None or facts["peak_hwm_bytes"] < 250 << 20
    assert outcome.baseline_rss_bytes is not None
    assert outcome.baseline_rss_bytes > 300 << 20
    # Starting a JVM is no part of the fit, yet in the row.
    assert facts["prepare_seconds"] > 0.5


@pytest.mark.spark
def test_on_the_default_track_spark_seeds_itself_and_says_how(
    running: session.Session, cache: Path, tmp_path: Path
) -> None:
    data = overlapping("float32", cache)
    tables.write(data.dataset, tmp_path / "samples.parquet", 2)
    frame = tables.read(running.spark, tmp_path / "samples.parquet", keep=[tables.ROW]).cache()
    state = adapter.SparkState(running, frame, None)
    spec = spec_for(data, "default")
    fitted = adapter.SparkKMeans().fit(state, spec)
    result = adapter.SparkKMeans().result(fitted, spec)
    assert (result.settings.init, result.settings.max_iter, result.settings.tol) == ("k-means||", 20, 1e-4)
    assert result.n_iter is not None
    assert 1 <= result.n_iter <= 20
    labels, inertia = objective(data.dataset, result.centers)
    assert result.reported_inertia == pytest.approx(inertia, rel=0.01)
    np.testing.assert_array_equal(adapter.SparkKMeans().predict(state, fitted), labels)
    expected = textbook.kmeans(data.dataset.load().astype(np.float64), data.spec.n_clusters, seed=0)
    assert inertia < 1.5 * expected.inertia


@pytest.mark.spark
def test_labels_come_in_the_order_of_the_samples(running: session.Session, tmp_path: Path) -> None:
    values = np.arange(1000.0).reshape(-1, 1)
    np.save(tmp_path / "ramp.npy", values)
    path = tmp_path / "ramp.parquet"
    tables.write(Dataset(tmp_path / "ramp.npy", 1000, 1, "float64"), path, 4)
    assert pa.parquet.ParquetFile(path).num_row_groups == 4
    frame = tables.read(running.spark, path, keep=[tables.ROW])
    state = adapter.SparkState(running, frame.repartition(3), None)
    fitted = adapter.SparkKMeans().fit(state, FitSpec(4, None, 1, 20, 1e-4, 0, 2, "float64"))
    labels = adapter.SparkKMeans().predict(state, fitted)
    np.testing.assert_array_equal(labels, np.abs(values - fitted.centers.T).argmin(axis=1))


@pytest.mark.spark
def test_csv_and_parquet_give_the_same_vectors(running: session.Session, tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(50, 3))
    table = pa.table({"a": values[:, 0], "name": ["x"] * 50, "b": values[:, 1], "c": values[:, 2]})
    pa.csv.write_csv(table, tmp_path / "table.csv")
    pa.parquet.write_table(table, tmp_path / "table.parquet")
    for file in ("table.csv", "table.parquet"):
        path = tmp_path / file
        np.testing.assert_array_equal(vectors(tables.read(running.spark, path)), values)
        chosen = tables.read(running.spark, path, columns=["c", "a"], keep=["name"])
        assert chosen.columns == [tables.FEATURES, "name"]
        np.testing.assert_array_equal(vectors(chosen), values[:, [2, 0]])


def vectors(frame: Any) -> npt.NDArray[np.float64]:
    return np.array([row[tables.FEATURES].toArray() for row in frame.collect()])


@pytest.mark.spark
def test_a_table_that_cannot_be_used_is_refused_with_what_it_has(
    running: session.Session, tmp_path: Path
) -> None:
    path = tmp_path / "table.parquet"
    pa.parquet.write_table(pa.table({"a": [1.0, None], "name": ["x", "y"]}), path)
    with pytest.raises(ValueError, match=r"no numeric column 'name'; it has a"):
        tables.read(running.spark, path, columns=["name"])
    with pytest.raises(ValueError, match="unknown format"):
        tables.read(running.spark, tmp_path / "table.xlsx")
    with pytest.raises(Exception, match="null"):
        tables.read(running.spark, path).collect()


@pytest.mark.spark
def test_the_silhouette_is_scikit_learn_s_of_squared_distances(
    running: session.Session, tmp_path: Path
) -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=(300, 2)) + 3 * rng.integers(0, 3, size=(300, 1))
    labels = (values[:, 0] > 2).astype(np.int32) + (values[:, 0] > 5)
    path = tmp_path / "table.parquet"
    columns = {"x": values[:, 0], "y": values[:, 1], quality.PREDICTION: labels.astype(np.int32)}
    pa.parquet.write_table(pa.table(columns), path)
    labelled = tables.read(running.spark, path, columns=["x", "y"], keep=[quality.PREDICTION])
    expected = silhouette_score(values, labels, metric="sqeuclidean")
    assert quality.silhouette(labelled) == pytest.approx(expected, rel=1e-9)


def test_without_pyspark_the_row_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr("importlib.import_module", absent)
    reason = adapter.spark().available()
    assert reason is not None
    assert "pip install pyspark" in reason
    assert "make spark" in reason


def test_without_java_or_with_an_old_one_the_row_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.import_module", lambda name: None)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    monkeypatch.setenv("PATH", str(java.parent))
    assert (reason := session.refusal()) is not None
    assert "Spark needs Java, and there is none on PATH or in JAVA_HOME; install Java 17" in reason

    java.write_text("#!/bin/sh\necho 'openjdk version \"1.8.0_402\"' >&2\n")
    java.chmod(0o755)
    assert (reason := session.refusal()) is not None
    assert "is Java 8, too old for Spark" in reason
    java.write_text("#!/bin/sh\necho 'openjdk version \"21\" 2023-09-19' >&2\n")
    assert session.refusal() is None
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "nowhere"))
    assert (reason := session.refusal()) is not None
    assert "-version fails" in reason


def test_where_spark_cannot_run_its_row_is_skipped(
    blobs: CachedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    outcome = measure(ENTRY.adapter, blobs.dataset, spec_for(blobs, "matched"), LIMITS)
    assert outcome.status == "skipped"
    assert "install" in outcome.reason


def test_spark_is_measured_on_request_only() -> None:
    assert not ENTRY.default
    assert ENTRY.extra == "spark"
