"""What `explain` tells of clusters: right for whole tables, sane for odd ones, the same each time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from rust_kmeans.workflow import (
    ClusterModel,
    Explanation,
    Preparation,
    TrainingStatistics,
    WorkflowError,
    describe_clusters,
    explain,
    save_model,
    write_explanation,
    write_explanation_tables,
)
from rust_kmeans.workflow import _explain as module
from rust_kmeans.workflow._cards import CHOSEN, percent, plain
from rust_kmeans.workflow._effects import CIRCULAR
from rust_kmeans.workflow.commands._app import app
from tests.workflow.models import blobs, fitted, prepared

Values = NDArray[np.float64]
NAMES = ("length", "width", "height")


def as_table(values: Values, names: tuple[str, ...] = NAMES) -> pd.DataFrame:
    return pd.DataFrame(values, columns=list(names))


def model_at(
    centers: list[list[float]],
    names: tuple[str, ...] | None = None,
    *,
    limit: float = np.inf,
    missing: str = "median",
) -> ClusterModel:
    """Return a model with given centers, in units of the columns, that knows no rows of its fit."""
    array = np.array(centers)
    k, d = array.shape
    preparation = Preparation(
        names=names or tuple(f"x{j}" for j in range(d)),
        fill=np.full(d, np.nan if missing in {"drop", "error"} else 0.0),
        lower=np.full(d, -limit),
        upper=np.full(d, limit),
        offset=np.zeros(d),
        divisor=np.ones(d),
        dtype="float64",
        missing=missing,  # type: ignore[arg-type]  # words of the parameters
    )
    nothing = np.full(2, np.nan)
    statistics = TrainingStatistics(
        n_samples=0,
        n_left_out=0,
        probabilities=np.array([0.0, 1.0]),
        quantiles=np.full((d, 2), np.nan),
        missing=np.zeros(d),
        counts=np.zeros(k, dtype=np.int64),
        means=array,
        deviations=np.zeros((k, d)),
        distances=nothing,
        margins=nothing,
    )
    return ClusterModel(array, preparation, statistics)


@pytest.fixture(scope="module")
def values() -> Values:
    found = blobs(2_000) * (1.0, 10.0, 0.1) + (0.0, 100.0, 5.0)
    found[::7, 1] = np.nan
    return found


@pytest.fixture(scope="module")
def model(values: Values) -> ClusterModel:
    return fitted(values, 4, prepared(values, names=NAMES))


@pytest.fixture(scope="module")
def explanation(model: ClusterModel, values: Values) -> Explanation:
    return explain(model, as_table(values))


def test_sizes_are_those_of_the_labels_and_agree_with_the_fit(
    model: ClusterModel, values: Values, explanation: Explanation
) -> None:
    labels = model.predict(values).labels
    np.testing.assert_array_equal(explanation.sizes["n_samples"], np.bincount(labels, minlength=4))
    np.testing.assert_allclose(explanation.sizes["share"].sum(), 1)
    np.testing.assert_array_equal(explanation.sizes["share"], explanation.sizes["share_of_fit"])


def test_centers_are_in_units_of_the_columns(model: ClusterModel, explanation: Explanation) -> None:
    assert list(explanation.centers.columns) == list(NAMES)
    np.testing.assert_array_equal(explanation.centers, model.centers_in_units)
    assert (explanation.centers["width"] > 20).all()


def test_spread_is_that_of_pandas_without_the_missing_values(
    model: ClusterModel, values: Values, explanation: Explanation
) -> None:
    table = as_table(values).assign(cluster=model.predict(values).labels)
    for line in explanation.spread.itertuples():
        column: Any = table.loc[table["cluster"] == line.cluster, line.feature]
        assert (line.n, line.missing) == (column.count(), column.isna().sum())
        np.testing.assert_allclose([line.mean, line.std], [column.mean(), column.std()])
        low, high = column.quantile(0.25), column.quantile(0.75)
        np.testing.assert_allclose(
            [line.q25, line.median, line.q75, line.iqr], [low, column.median(), high, high - low]
        )
        assert (line.min, line.max) == (column.min(), column.max())


def test_features_come_by_what_they_tell_of_the_clusters(explanation: Explanation) -> None:
    shares = explanation.features["eta_squared"].to_numpy()
    assert (np.diff(shares) <= 0).all()
    assert sorted(explanation.features["feature"]) == sorted(NAMES)


def test_p_values_of_a_table_are_corrected_together(explanation: Explanation) -> None:
    for frame, columns in (
        (explanation.features, ("p", "welch_p")),
        (explanation.tests, ("p",)),
    ):
        for column in columns:
            p_values, adjusted = frame[f"{column}_value"], frame[f"{column}_adjusted"]
            assert (adjusted >= p_values).all()
            smallest = p_values.min()
            np.testing.assert_allclose(adjusted.min(), min(1.0, smallest * len(frame)))
    assert len(explanation.tests) == 3 * 6


@pytest.mark.parametrize("kind", ["polars", "array", "shuffled", "csv", "parquet", "npy"])
def test_any_kind_of_table_gives_the_same_numbers(
    model: ClusterModel, values: Values, explanation: Explanation, tmp_path: Path, kind: str
) -> None:
    table: object = as_table(values)
    if kind == "polars":
        table = pl.DataFrame(as_table(values))
    elif kind == "array":
        table = values
    elif kind == "shuffled":
        table = as_table(values).assign(more="text")[["height", "more", "width", "length"]]
    elif kind == "csv":
        table = tmp_path / "table.csv"
        as_table(values).to_csv(table, index=False)
    elif kind == "parquet":
        table = str(tmp_path / "table.parquet")
        as_table(values).to_parquet(table)
    else:
        table = tmp_path / "table.npy"
        np.save(table, values)
        model = replace(model, preparation=replace(model.preparation, names=("x0", "x1", "x2")))
    found = explain(model, table)
    pd.testing.assert_frame_equal(
        found.effects.drop(columns="feature"), explanation.effects.drop(columns="feature")
    )
    assert found.projection is not None
    assert explanation.projection is not None
    np.testing.assert_array_equal(found.projection.points, explanation.projection.points)


def test_a_table_without_a_column_of_the_model_is_refused_by_name(
    model: ClusterModel, values: Values
) -> None:
    with pytest.raises(WorkflowError, match="height"):
        explain(model, as_table(values).drop(columns="height"))


def test_outliers_and_incomplete_rows_are_left_out_as_in_the_fit() -> None:
    model = model_at([[0.0, 0.0], [10.0, 10.0]], limit=100.0, missing="drop")
    table = np.array([[0.0, 1.0], [9.0, np.nan], [10.0, 9.0], [1e9, 0.0], [np.inf, 1.0], [np.nan, 1e9]])
    found = explain(model, table)
    assert (found.n_samples, found.n_outliers, found.n_incomplete) == (2, 2, 2)
    assert found.sizes["n_samples"].tolist() == [1, 1]
    assert found.sizes["share_of_fit"].isna().all()
    with pytest.raises(WorkflowError, match="1 of 2 are outliers of the fit, 1 lack a value"):
        explain(model, table[[1, 3]])


def test_rows_with_missing_values_that_nothing_fills_are_left_out_and_counted() -> None:
    model = model_at([[0.0, 0.0]], missing="error")
    found = explain(model, np.array([[0.0, np.nan], [1.0, 2.0]]))
    assert (found.n_samples, found.n_outliers, found.n_incomplete) == (1, 0, 1)
    with pytest.raises(WorkflowError, match="no row of the table is left to explain: 0 of 0"):
        explain(model, np.empty((0, 2)))


def test_n_points_must_be_positive(model: ClusterModel, values: Values) -> None:
    with pytest.raises(WorkflowError, match="n_points is 0"):
        explain(model, values, n_points=0)


def test_the_projection_is_that_of_scikit_learn_up_to_signs(model: ClusterModel, values: Values) -> None:
    from sklearn.decomposition import PCA

    found = explain(model, values, n_points=10**6).projection
    assert found is not None
    features = model.preparation.features(values).astype(np.float64)
    expected = PCA(2).fit(features)
    np.testing.assert_allclose(found.explained, expected.explained_variance_ratio_)
    assert (found.points.shape, found.n_projected) == ((2_000, 2), 2_000)
    np.testing.assert_array_equal(
        np.sort(np.abs(found.points), axis=0).round(9),
        np.sort(np.abs(expected.transform(features)), axis=0).round(9),
    )
    # Each point keeps its label: its own center is the nearest one more often than not, far beyond chance.
    distances = np.linalg.norm(found.points[:, None] - found.centers, axis=2)
    assert (distances.argmin(axis=1) == found.labels).mean() > 0.9


def test_the_projection_of_columns_far_from_zero_is_that_of_the_same_columns_near_it(values: Values) -> None:
    centers = np.eye(3)[:2] * 10
    rows = np.nan_to_num(values)
    near, far = (
        explain(model_at((centers + offset).tolist()), rows + offset).projection for offset in (0.0, 1e6)
    )
    assert near is not None
    assert far is not None
    np.testing.assert_allclose(far.points, near.points, atol=1e-6)
    np.testing.assert_allclose(far.explained, near.explained, atol=1e-9)


def test_a_seed_draws_the_same_rows_again(model: ClusterModel, values: Values) -> None:
    points = [explain(model, values, n_points=50, random_state=seed).projection for seed in (0, 0, 1)]
    first, again, other = (one.points for one in points if one is not None)
    np.testing.assert_array_equal(first, again)
    assert len(first) == 50
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("centers", "table"),
    [
        pytest.param([[0.0, 0.0]], np.zeros((5, 2)), id="all equal"),
        pytest.param([[0.0, 0.0]], np.array([[1.0, 2.0]]), id="one row"),
        pytest.param([[0.0]], np.arange(9.0)[:, None], id="one column"),
        pytest.param([[0.0], [50.0], [99.0]], np.arange(9.0)[:, None], id="empty clusters"),
        pytest.param(
            [[0.0, 0.0], [9.0, 0.0]], np.array([[0.0, 0.0], [1.0, 0.0], [9.0, 0.0]]), id="a row alone"
        ),
        pytest.param([[0.0, 1.0], [9.0, 1.0]], np.array([[0.0, 1.0]] * 4 + [[9.0, 1.0]] * 4), id="no spread"),
        pytest.param([[0.0, 0.0], [9.0, 9.0]], np.array([[0.0, np.nan], [9.0, np.nan]]), id="all missing"),
        pytest.param([[0.0, 0.0], [9.0, 9.0]], np.array([[-1e149, 0.0], [1e149, 0.0]]), id="huge"),
        pytest.param([[0.0, 0.0], [1e-300, 0.0]], np.array([[0.0, 0.0], [1e-300, 0.0]]), id="tiny"),
    ],
)
def test_odd_tables_are_explained_too(centers: list[list[float]], table: Values, tmp_path: Path) -> None:
    model = model_at(centers)
    found = explain(model, table)
    write_explanation(found, tmp_path / "page.html")
    write_explanation_tables(found, tmp_path)
    described = describe_clusters(found)
    assert len(described) == len(centers)
    assert all("nan" not in card.text for card in described)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert ">nan" not in page
    assert "NaN" not in page
    untested = found.tests[found.tests["p_value"].isna()]
    assert (untested["reason"] != "").all()
    assert (found.tests.loc[found.tests["p_value"].notna(), "reason"] == "").all()


def test_so_many_tests_that_nobody_reads_them_are_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_TESTS", 5)
    found = explain(model_at([[0.0, 0.0], [5.0, 0.0], [9.0, 0.0]]), np.arange(20.0).reshape(10, 2))
    assert found.tests.empty
    assert list(found.tests.columns)[-1] == "reason"
    assert len(found.features) == 2


def test_the_tables_come_back_from_their_files(explanation: Explanation, tmp_path: Path) -> None:
    written = write_explanation_tables(explanation, tmp_path / "new" / "folder")
    assert {path.name for path in written} == {
        "README.txt",
        "centers.csv",
        "effects.csv",
        "features.csv",
        "sizes.csv",
        "spread.csv",
        "tests.csv",
    }
    for name, frame in explanation.tables.items():
        back = pd.read_csv(tmp_path / "new" / "folder" / f"{name}.csv", keep_default_na=False, na_values=[""])
        expected = frame.reset_index() if name == "centers" else frame
        for column in expected.select_dtypes("number"):
            np.testing.assert_allclose(back[column], expected[column], rtol=1e-15)
        assert list(back.columns) == list(expected.columns)


def test_the_caveat_stands_beside_the_files_of_p_values_and_every_column_is_told(
    explanation: Explanation, tmp_path: Path
) -> None:
    write_explanation_tables(explanation, tmp_path)
    about = (tmp_path / "README.txt").read_text(encoding="utf-8")
    told = dict(part.split("\n", 1) for part in about.split("\n\n"))
    with_p_values = {name for name, frame in explanation.tables.items() if "p_value" in frame}
    assert with_p_values == {"features", "tests"}
    for name in with_p_values:
        assert CIRCULAR in told[f"{name}.csv"]


# Cards.


def test_a_card_says_what_sets_its_cluster_apart() -> None:
    random = np.random.default_rng(0)
    short, long = random.normal(2.4, 1.0, 690), random.normal(8.1, 1.0, 310)
    table = np.column_stack([np.concatenate([short, long]), random.normal(size=1_000)])
    model = model_at([[2.4, 0.0], [8.1, 0.0]], ("trip_distance", "noise"))
    card = describe_clusters(explain(model, table))[1]
    assert card.size == "31 % of rows (310)"
    assert [(trait.feature, trait.degree, trait.higher) for trait in card.traits] == [
        ("trip_distance", "much", True)
    ]
    means = table[690:, 0].mean(), table[:690, 0].mean()
    assert card.text == (
        "Cluster 1, 31 % of rows (310): on average much higher trip_distance "
        f"({means[0]:.1f} against {means[1]:.1f}). Hardly different, or too few rows to tell: 1 of 2 columns."
    )


def test_a_card_of_few_rows_claims_less_and_says_that_they_are_few() -> None:
    # The same difference of one standard deviation, of four rows and of four hundred.
    for n, degree in ((4, ()), (400, ("much",))):
        half = np.tile([-1.0, 1.0], n // 2)
        table = np.column_stack(
            [np.concatenate([half, np.tile([-1.0, 1.0], 500) + 1.05]), np.repeat([0.0, 9.0], [n, 1_000])]
        )
        card = describe_clusters(explain(model_at([[0.0, 0.0], [1.0, 9.0]], ("a", "b")), table))[0]
        assert tuple(trait.degree for trait in card.traits if trait.feature == "a") == degree
        assert any("only 4 rows" in remark for remark in card.remarks) == (n == 4)


def test_a_card_of_noise_claims_nothing() -> None:
    random = np.random.default_rng(0)
    table = np.column_stack([random.choice([-1.0, 1.0], 500), random.normal(size=(500, 3))])
    model = model_at([[-1.0, 0, 0, 0], [1.0, 0, 0, 0]])
    hidden = replace(model, preparation=replace(model.preparation, divisor=np.array([1.0, 1e9, 1e9, 1e9])))
    card = describe_clusters(explain(hidden, table))[1]
    assert [trait.feature for trait in card.traits] == ["x0"]


def test_a_card_tells_of_values_that_are_missing_here_and_not_elsewhere() -> None:
    table = np.array([[0.0, np.nan, np.nan]] * 40 + [[9.0, 1.0, 1.0]] * 60)
    cards = describe_clusters(explain(model_at([[0.0] * 3, [9.0, 1.0, 1.0]], ("a", "tip", "toll")), table))
    assert "Missing in 100 % of its rows, against 0 % of the others: tip, toll." in cards[0].remarks


def test_a_card_names_some_of_many_missing_columns_and_counts_the_rest() -> None:
    absent = np.repeat([[np.nan], [1.0]], 20, axis=0).repeat(7, axis=1)
    table = np.column_stack([np.repeat([0.0, 9.0], 20), absent])
    card = describe_clusters(explain(model_at([[0.0] * 8, [9.0] + [1.0] * 7]), table))[0]
    assert (
        "Missing in 100 % of its rows, against 0 % of the others: x1, x2, x3, x4, x5 and 2 more."
        in card.remarks
    )


def test_a_card_of_an_empty_cluster_says_so() -> None:
    card = describe_clusters(explain(model_at([[0.0], [1e6]]), np.arange(50.0)[:, None]))[1]
    assert card.text == "Cluster 1, no rows. None of these rows is nearest to its center."


@pytest.mark.parametrize(
    ("value", "spread", "expected"),
    [
        (8.1234, 5.7, "8.1"),
        (2019.24, 0.2, "2,019.24"),
        (29_480.0, 1_000.0, "29,500"),
        (-0.001, 5.0, "0.0"),
        (-3.14159, 1.0, "−3.1"),
        (0.0, 0.0, "0"),
        (1234.5, 0.0, "1,230"),
        (1e20, 1e19, "1e+20"),
        (0.0, 1e-9, "0"),
        (2.5e-9, 1e-9, "2.5e−09"),
        (np.nan, 1.0, "–"),
        (np.inf, 1.0, "∞"),
        (-np.inf, 1.0, "−∞"),
    ],
)
def test_numbers_are_rounded_to_what_matters(value: float, spread: float, expected: str) -> None:
    assert plain(value, spread) == expected


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (0.0, "0 %"),
        (1.0, "100 %"),
        (0.311, "31 %"),
        (0.004, "0.4 %"),
        (1e-6, "under 0.1 %"),
        (0.9999, "over 99 %"),
    ],
)
def test_shares_are_never_rounded_to_nothing_or_all(share: float, expected: str) -> None:
    assert percent(share) == expected


# The command.


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["explain", *map(str, arguments)])


def test_the_command_prints_cards_and_writes_page_and_tables(
    model: ClusterModel, values: Values, explanation: Explanation, tmp_path: Path
) -> None:
    save_model(model, tmp_path / "model")
    as_table(values).to_parquet(tmp_path / "table.parquet")
    folder, page, tables = tmp_path / "all", tmp_path / "deep" / "page.html", tmp_path / "csv"
    for arguments, expected in (
        ((), set()),
        (("--out", folder), {folder / "explanation.html", folder / "tests.csv"}),
        (("--out", page), {page}),
        (("--out", page, "--csv", tables), {page, tables / "centers.csv", tables / "README.txt"}),
    ):
        result = run(tmp_path / "model", tmp_path / "table.parquet", *arguments)
        assert result.exit_code == 0, result.output
        lines = result.output.splitlines()
        assert lines[: len(explanation.sizes)] == [card.text for card in describe_clusters(explanation)]
        written = {Path(line.removeprefix("wrote ")) for line in lines if line.startswith("wrote ")}
        assert expected <= written
        assert all(path.is_file() for path in written)


def test_the_command_refuses_what_is_no_model(values: Values, tmp_path: Path) -> None:
    np.save(tmp_path / "table.npy", values)
    result = run(tmp_path / "table.npy", tmp_path / "table.npy")
    assert isinstance(result.exception, WorkflowError)


def test_the_command_says_what_it_left_out_and_that_clusters_prove_nothing(
    model: ClusterModel, values: Values, tmp_path: Path
) -> None:
    limits = np.full(values.shape[1], np.inf)
    limits[0] = np.nanquantile(values[:, 0], 0.9)
    limited = replace(model, preparation=replace(model.preparation, upper=limits))
    save_model(limited, tmp_path / "model")
    as_table(values).to_parquet(tmp_path / "table.parquet")
    result = run(tmp_path / "model", tmp_path / "table.parquet")
    n_outliers = int((values[:, 0] > limits[0]).sum())
    assert f"Left out as outliers, as in the fit: {n_outliers:,} rows with a value" in result.output
    assert result.output.splitlines()[-1] == CHOSEN
