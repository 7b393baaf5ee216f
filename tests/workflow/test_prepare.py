"""Preparing learns what scikit-learn's transformers do, the same bits in parts, and reports its decisions."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler

from rust_kmeans import KMeans
from rust_kmeans.workflow import TablePreparer, WorkflowError
from rust_kmeans.workflow._columns import deviations, means, quantiles, ranges


def table(n_rows: int = 300) -> pd.DataFrame:
    random = np.random.default_rng(1)
    frame = pd.DataFrame(random.normal(5, 3, (n_rows, 3)), columns=["a", "b", "c"])
    return frame.mask(random.random(frame.shape) < 0.1)


def moments(parts: list[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    known = ranges(lambda: parts, 2)
    middle = means(lambda: parts, known)
    return np.concatenate([middle, deviations(lambda: parts, known, middle)])


def said(preparer: TablePreparer) -> list[str]:
    return [str(decision) for decision in preparer.decisions_]


@pytest.mark.parametrize("missing", ["mean", "median"])
@pytest.mark.parametrize(
    ("scale", "scaler"),
    [
        ("standard", StandardScaler()),
        ("minmax", MinMaxScaler()),
        ("robust", RobustScaler()),
        ("none", "passthrough"),
    ],
)
def test_features_are_those_of_an_imputer_and_a_scaler_of_scikit_learn(
    missing: Any, scale: Any, scaler: Any
) -> None:
    frame = table()
    preparer = TablePreparer(scale=scale, missing=missing, outliers="none", dtype="float64")
    expected = make_pipeline(SimpleImputer(strategy=missing), scaler).fit_transform(frame)
    np.testing.assert_allclose(preparer.fit_transform(frame), expected, rtol=1e-12, atol=1e-12)
    filled = SimpleImputer(strategy=missing).fit_transform(frame)
    back = preparer.inverse_transform(preparer.transform(frame))
    np.testing.assert_allclose(back, filled, rtol=1e-12)


@given(st.integers(0, 10_000), st.lists(st.integers(0, 300), max_size=6))
def test_what_is_computed_of_columns_is_the_same_bits_however_they_are_cut(
    seed: int, cuts: list[int]
) -> None:
    random = np.random.default_rng(seed)
    values = random.normal(size=(300, 2)) * 10.0 ** random.integers(-100, 100, (300, 2))
    values[random.random(values.shape) < 0.2] = np.nan
    parts = np.split(values, sorted(cuts))
    found = [moments(held) for held in ([values], parts, [values[::-1]])]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


@pytest.mark.parametrize("kind", ["normal", "few values", "sorted", "mostly missing"])
def test_quantiles_of_many_rows_in_parts_are_exact(kind: str) -> None:
    random = np.random.default_rng(0)
    values = random.normal(size=(100_000, 2))
    if kind == "few values":
        values = values.round()
    elif kind == "sorted":
        values.sort(axis=0)
    elif kind == "mostly missing":
        values[random.random(values.shape) < 0.999] = np.nan
    parts = np.array_split(values, 7)
    wanted = [0.0, 0.005, 0.25, 0.5, 0.75, 0.995, 1.0]
    found = quantiles(lambda: parts, ranges(lambda: parts, 2), wanted)
    np.testing.assert_allclose(found, np.nanquantile(values, wanted, axis=0).T, rtol=1e-14, atol=1e-300)


def test_columns_that_are_no_use_are_dropped_each_with_its_reason() -> None:
    frame = table(20).assign(
        text="x",
        day=pd.to_datetime("2020-01-01"),
        group=pd.Categorical(["u", "v"] * 10),
        empty=np.nan,
        nothing=None,
        same=3.5,
        rare=[1.0, 2.0] + [np.nan] * 18,
        mixed=["1", "2", "three", "4"] * 5,
        endless=np.inf,
    )
    preparer = TablePreparer().fit(frame)
    assert preparer.get_feature_names_out().tolist() == ["a", "b", "c"]
    dropped = {
        decision.column: decision.reason for decision in preparer.decisions_ if decision.action == "dropped"
    }
    assert dropped == {
        "text": "it holds text, such as 'x'",
        "day": "it holds dates, such as '2020-01-01 00:00:00'",
        "group": "it holds categories, such as 'u'",
        "empty": "it has no value in any row",
        "nothing": "it has no value in any row",
        "same": "it is constant, 3.5 wherever it has a value",
        "rare": "it is missing in 90.0 % of the rows, more than half; name it to keep it",
        "mixed": "it holds text, such as 'three'",
        "endless": "all its values are infinite",
    }
    with pytest.raises(WorkflowError, match=r"'text': it holds text.*'day': .*'endless'"):
        TablePreparer(unusable="error").fit(frame)
    assert list(TablePreparer(columns=["rare", "a"]).fit(frame).get_feature_names_out()) == ["rare", "a"]


@pytest.mark.parametrize("name", ["column 1", "Unnamed: 0"])
def test_the_numbers_of_rows_that_were_stored_along_are_dropped(name: str) -> None:
    frame = pd.DataFrame({name: np.arange(20), "x": np.arange(20) % 3, "count": np.arange(20) + 5})
    preparer = TablePreparer().fit(frame)
    assert preparer.preparation_.names == ("x", "count")
    assert str(preparer.decisions_[0]) == (
        f"dropped {name}: it has no name and numbers the rows; name it to keep it"
    )
    assert TablePreparer(columns=[name, "x"]).fit(frame).preparation_.names == (name, "x")
    frame[name] *= 2
    assert TablePreparer().fit(frame).preparation_.names == (name, "x", "count")


def test_columns_are_chosen_in_order_and_dropped_as_asked() -> None:
    preparer = TablePreparer(columns=["c", "a", "b"], drop=["a"]).fit(table())
    assert preparer.preparation_.names == ("c", "b")
    assert "dropped a: as asked" in said(preparer)
    with pytest.raises(WorkflowError, match="no column 'A' \\(is it 'a'\\?\\)"):
        TablePreparer(columns=["A"]).fit(table())
    with pytest.raises(WorkflowError, match="no column 'q'"):
        TablePreparer(drop=["q"]).fit(table())


def test_rows_with_gross_outliers_are_left_out_of_what_is_learned_and_counted() -> None:
    frame = table(1000).fillna(0.0)
    frame.loc[[3, 5], "a"] = 1e6
    frame.loc[5, "b"] = -1e6
    preparer = TablePreparer().fit(frame)
    clean = TablePreparer(outliers="none").fit(frame.drop(index=[3, 5]))
    np.testing.assert_array_equal(preparer.preparation_.offset, clean.preparation_.offset)
    np.testing.assert_array_equal(preparer.preparation_.divisor, clean.preparation_.divisor)
    lines = "\n".join(said(preparer))
    assert "left out a: 2 rows outside" in lines
    assert "left out b: 1 row outside" in lines
    assert "left out: 2 rows in all, 0.2 % of the table" in lines
    assert preparer.transform(frame).shape == frame.shape


@pytest.mark.parametrize(
    ("rule", "n_left"), [("zscore:2", 93), ("zscore", 100), ("iqr", 98), ("iqr:0.5", 84)]
)
def test_the_rules_for_outliers_are_those_that_are_stated(rule: str, n_left: int) -> None:
    values = np.random.default_rng(0).standard_t(5, 100)
    if rule.startswith("zscore"):
        factor = float(rule.partition(":")[2] or 3)
        inside = np.abs(values - values.mean()) <= factor * values.std()
    else:
        low, high = np.quantile(values, [0.25, 0.75])
        reach = float(rule.partition(":")[2] or 1.5) * (high - low)
        inside = (values >= low - reach) & (values <= high + reach)
    limited = TablePreparer(outliers=rule).fit(values[:, None]).preparation_
    assert np.array_equal(limited.inliers(values[:, None]), inside)


def test_a_column_whose_middle_is_one_value_has_no_limits() -> None:
    frame = pd.DataFrame({"toll": [0.0] * 95 + [3.0, 4.0, 5.0, 6.0, 70.0], "x": np.arange(100.0) / 3})
    preparer = TablePreparer(outliers="iqr").fit(frame)
    assert np.isinf(preparer.preparation_.upper[0])
    robust = TablePreparer(outliers="none", scale="robust").fit(frame)
    assert robust.preparation_.divisor[0] == pytest.approx(frame["toll"].std(ddof=0))
    assert any("standard deviation instead" in line for line in said(robust))


def test_infinite_and_absurdly_large_values_leave_their_rows_out() -> None:
    frame = table(50).fillna(1.0)
    frame.loc[0, "a"], frame.loc[1, "b"], frame.loc[2, "c"] = np.inf, -np.inf, 1e200
    preparer = TablePreparer(outliers="none").fit(frame)
    clean = TablePreparer(outliers="none").fit(frame[3:])
    np.testing.assert_array_equal(preparer.preparation_.offset, clean.preparation_.offset)
    assert "left out: 3 rows in all, 6 % of the table" in said(preparer)
    with pytest.raises(WorkflowError, match="'a': 1 infinite; 'b': 1 infinite"):
        TablePreparer(missing="error").fit(frame)
    with pytest.raises(WorkflowError, match="infinite"):
        preparer.transform(frame)


def test_missing_values_are_filled_counted_dropped_or_refused() -> None:
    frame = table(100)
    count = int(frame["a"].isna().sum())
    assert any(f"filled a: {count} missing values" in line for line in said(TablePreparer().fit(frame)))
    dropping = TablePreparer(missing="drop").fit(frame)
    kept = frame.dropna()
    np.testing.assert_allclose(dropping.preparation_.offset, kept.mean())
    assert f"left out: {100 - len(kept)} rows in all" in "\n".join(said(dropping))
    with pytest.raises(WorkflowError, match="missing"):
        dropping.transform(frame)
    with pytest.raises(WorkflowError, match=f"'a': {count} missing; 'b': .*have them filled"):
        TablePreparer(missing="error").fit(frame)


def test_a_column_that_is_constant_once_rows_are_left_out_is_dropped_too() -> None:
    frame = pd.DataFrame({"x": np.arange(100.0), "y": [1.0, 2.0] * 49 + [1.0, np.nan]})
    frame["z"] = [0.0] * 99 + [7.0]
    preparer = TablePreparer(missing="drop").fit(frame)
    assert preparer.preparation_.names == ("x", "y")
    assert "dropped z: it has one value at most in the rows that are left" in said(
        TablePreparer(columns=["x", "z"], outliers="zscore").fit(frame)
    )


def test_booleans_are_numbers_and_identifiers_are_noted() -> None:
    frame = table(50).assign(open=[True, False] * 25, number=range(50), tripID=[1, 3] * 25)
    lines = said(TablePreparer().fit(frame))
    assert "read open: false as 0, true as 1" in lines
    assert any(line.startswith("noted number: it rises by whole numbers") for line in lines)
    assert any(line.startswith("noted tripID: by its name") for line in lines)


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (pd.DataFrame({"a": []}), "has no rows"),
        (pd.DataFrame({"a": [1.0]}), "has one row"),
        (pd.DataFrame({"a": ["x", "y"]}), "no column is left to cluster: 'a': it holds text"),
        (pd.DataFrame({"a": [1.0, 1.0]}), "no column is left to cluster: 'a': it is constant"),
        (pd.DataFrame(index=[0, 1]), "the table has no columns"),
        (np.zeros(3), "must be"),
    ],
)
def test_a_table_that_leaves_nothing_to_cluster_says_why(frame: Any, reason: str) -> None:
    with pytest.raises(WorkflowError, match=reason):
        TablePreparer().fit(frame)


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"scale": "log"}, "scale is 'log': it must be one of standard, minmax, robust, none"),
        ({"missing": "zero"}, "missing is 'zero'"),
        ({"outliers": "many"}, "outliers is 'many'"),
        ({"outliers": "zscore:x"}, "zscore:x"),
        ({"outliers": "zscore:-1"}, "zscore:-1"),
        ({"outliers": "none:3"}, "none:3"),
        ({"unusable": "keep"}, "unusable is 'keep'"),
        ({"dtype": "int8"}, "dtype is 'int8'"),
    ],
)
def test_parameters_that_are_not_valid_are_refused_with_those_that_are(
    parameters: dict[str, Any], reason: str
) -> None:
    with pytest.raises(WorkflowError, match=reason):
        TablePreparer(**parameters).fit(table())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_too_large_for_the_features_are_refused_without_a_warning(dtype: Any) -> None:
    preparer = TablePreparer(scale="minmax", dtype=dtype).fit([[0.0, 0.0], [0.25, 1.0]])
    for value in (1e39, 1e308) if dtype == "float32" else (1e308,):
        with pytest.raises(WorkflowError, match=f"row 1 has a value of 'x0' too large for {dtype}"):
            preparer.transform([[0.0, 0.0], [-value, 1.0]])


def test_it_is_a_transformer_as_others_are() -> None:
    frame = table().assign(name="x")
    preparer = TablePreparer(scale="minmax")
    assert clone(preparer).get_params() == preparer.get_params()
    pipeline = make_pipeline(preparer.set_output(transform="pandas"), KMeans(3, random_state=0)).fit(frame)
    assert pipeline[:-1].transform(frame).columns.tolist() == ["a", "b", "c"]
    assert pipeline.predict(frame).shape == (300,)
    again = pickle.loads(pickle.dumps(pipeline))
    np.testing.assert_array_equal(again.predict(frame), pipeline.predict(frame))
    assert preparer.feature_names_in_.tolist() == ["a", "b", "c", "name"]


def test_a_row_has_the_same_features_alone_from_any_frame_and_as_an_array() -> None:
    frame = table()
    preparer = TablePreparer().fit(frame)
    features = preparer.transform(frame)
    assert features.dtype == np.float32
    np.testing.assert_array_equal(preparer.transform(frame[7:8])[0], features[7])
    np.testing.assert_array_equal(preparer.transform(frame[["c", "a", "b"]]), features)
    np.testing.assert_array_equal(preparer.transform(pl.from_pandas(frame)), features)
    np.testing.assert_array_equal(preparer.transform(frame.to_numpy()), features)
    with pytest.raises(WorkflowError, match="X has 2 features"):
        preparer.transform(frame.to_numpy()[:, :2])
    with pytest.raises(WorkflowError, match="no column 'b'"):
        preparer.transform(frame[["a", "c"]])
