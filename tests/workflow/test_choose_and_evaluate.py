"""The commands choose-k and evaluate, as a shell runs them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rust_kmeans.workflow import choose_k, fit_table, quality, save_model
from rust_kmeans.workflow.commands import main
from tests.workflow.test_choose_k import blobs


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A CSV file of four blobs, their classes, text and a missing value."""
    X = blobs(4, 2, n_features=2, n_samples=400, apart=9.0)
    labels = fit_table(X, 4).labels
    frame = pd.DataFrame(X, columns=["width", "height"]).assign(kind=np.array(list("abcb"))[labels])
    frame.loc[7, "kind"] = None
    frame.loc[9, "width"] = np.nan
    frame.to_csv(tmp_path / "table.csv", index=False)
    return tmp_path / "table.csv"


def run(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    """Run the command line and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["rust-kmeans", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_choose_k_prints_a_table_and_a_sentence_and_writes_plot_and_csv(
    table: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plot, csv = table.with_name("k.png"), table.with_name("k.csv")
    assert run(monkeypatch, "choose-k", table, "--k", "1..6,8", "--plot", plot, "--csv", csv) == 0
    said = capsys.readouterr().out
    assert "dropped kind: it holds text" in said
    assert "│ * 4 │" in said
    assert "\nk = 4, sure: elbow at 4; silhouette " in said
    assert plot.read_bytes().startswith(b"\x89PNG")
    written = pd.read_csv(csv, index_col="k")
    assert written.index.tolist() == [1, 2, 3, 4, 5, 6, 8]
    assert written.loc[4, "silhouette"] == written["silhouette"].max()
    # The same as from Python, on the same features.
    features = fit_table(table, 4).model.preparation.features(
        pd.read_csv(table)[["width", "height"]].to_numpy()
    )
    pd.testing.assert_frame_equal(written, choose_k(features, [1, 2, 3, 4, 5, 6, 8]).table)


def test_choose_k_says_of_how_many_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "rows.npy", blobs(3, 1, n_samples=3_000))
    assert run(monkeypatch, "choose-k", tmp_path / "rows.npy", "--k", "1..5", "--max-samples", 1_000) == 0
    said = capsys.readouterr().out
    assert "looked at 1,000 of 3,000 rows, drawn at random" in said
    assert "k = 3, " in said
    assert run(monkeypatch, "choose-k", tmp_path / "rows.npy", "--k", "1..5", "--max-samples", 0) == 0
    assert "looked at" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "options", "said"),
    [
        ("choose-k", ["--k", "1-5"], "--k has '1-5': it must be numbers and ranges, as 1..20 or 2,4,8."),
        ("choose-k", ["--k", "1..5000"], "--k has '1..5000': more than 1000 numbers"),
        (
            "choose-k",
            ["--k", "1"],
            "n_clusters is [1]: it must be numbers from 1, at least one of them above",
        ),
        ("choose-k", ["--max-samples", "-1"], "--max-samples is -1: it must be 0 for all rows, or more."),
        ("choose-k", ["--plot", "k.gif"], "--plot is k.gif: the name must end in .png, .svg or .pdf."),
        ("choose-k", ["--csv", "nowhere/k.csv"], "nowhere/k.csv cannot be written: there is no folder"),
        ("choose-k", ["--scale", "log"], "scale is 'log'"),
        ("choose-k", ["--seed", "-3"], "--seed is -3: it must be from 0 to 4294967295."),
        ("evaluate", ["--csv", "confusion.csv"], "--csv writes the confusion table: give --labels"),
        ("evaluate", ["--labels", "sort"], "'sort'"),
    ],
)
def test_a_mistake_is_one_line(
    table: Path,
    command: str,
    options: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = table.with_name("model")
    save_model(fit_table(table, 2).model, model)
    words = ["evaluate", model, table] if command == "evaluate" else ["choose-k", table]
    assert run(monkeypatch, *words, *options) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert said in line


def test_evaluate_prints_what_quality_finds(
    table: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = fit_table(table, 4).model
    save_model(model, table.with_name("model"))
    confusion = table.with_name("confusion.csv")
    words = ["evaluate", table.with_name("model"), table, "--labels", "kind", "--csv", confusion]
    assert run(monkeypatch, *words) == 0
    said = capsys.readouterr().out
    rows = pd.read_csv(table).dropna(subset="kind")
    features = model.preparation.features(rows[["width", "height"]].to_numpy())
    found = quality(features, model.estimator.predict(features), model.centers, rows["kind"])
    assert found.agreement is not None
    assert "left out: 1 row, as outliers or for missing values, also of kind" in said
    for value in (
        f"{found.inertia:.6g}",
        str(found.silhouette),
        f"{found.davies_bouldin:.4g}",
        f"{found.agreement.adjusted_rand:.4f}",
        f"{found.agreement.accuracy:.2%}",
    ):
        assert f" {value} │" in said
    written = pd.read_csv(confusion, index_col="class")
    np.testing.assert_array_equal(written.to_numpy(), found.agreement.confusion.to_numpy())
    # Two of the four clusters are of the class b.
    assert written.columns.tolist() == ["a", "b", "c"]


def test_choose_k_says_how_a_file_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pd.DataFrame(blobs(3, 1, n_samples=300)).to_csv(tmp_path / "t.csv", sep=";", decimal=",", index=False)
    assert run(monkeypatch, "choose-k", tmp_path / "t.csv", "--k", "1..4") == 0
    assert capsys.readouterr().out.startswith(
        "read: columns are separated by ';'; numbers have a decimal comma"
    )


def test_classes_are_the_same_where_a_text_far_down_makes_them_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kinds = np.arange(70_000) % 2
    frame = pd.DataFrame({"x": kinds * 9 + np.arange(70_000) % 3, "y": kinds, "kind": kinds})
    frame["kind"] = frame["kind"].astype(object).where(frame.index < len(frame) - 2, "rare")
    frame.to_csv(tmp_path / "t.csv", index=False)
    save_model(fit_table(frame, 2, drop=["kind"]).model, tmp_path / "model")
    csv = tmp_path / "confusion.csv"
    assert (
        run(monkeypatch, "evaluate", tmp_path / "model", tmp_path / "t.csv", "--labels", "kind", "--csv", csv)
        == 0
    )
    assert pd.read_csv(csv, index_col="class").sum(axis=1).to_dict() == {"0": 34_999, "1": 34_999, "rare": 2}
    assert "100.00%" in capsys.readouterr().out


def test_evaluate_needs_no_classes(
    table: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_model(fit_table(table, 1).model, table.with_name("model"))
    assert run(monkeypatch, "evaluate", table.with_name("model"), table) == 0
    said = capsys.readouterr().out
    assert "clusters with rows" in said
    # One cluster has no criteria, and there is nothing to agree with.
    assert "silhouette" not in said
    assert "accuracy" not in said
