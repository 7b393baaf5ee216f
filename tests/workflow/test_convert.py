"""Models to and from scikit-learn and to ONNX: the same labels, and a clear no to what a model cannot be."""

from __future__ import annotations

import builtins
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import sklearn.cluster
from numpy.typing import NDArray
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, PowerTransformer, RobustScaler, StandardScaler

import rust_kmeans
from rust_kmeans.workflow import (
    ClusterModel,
    WorkflowError,
    from_sklearn,
    load_model,
    save_model,
    to_onnx,
    to_sklearn,
)
from tests.workflow.models import Values, blobs, fitted, prepared

Dtype = Literal["float32", "float64"]


def gaps(values: Values) -> Values:
    values = values.copy()
    values[np.random.default_rng(0).random(values.shape) < 0.1] = np.nan
    return values


def away_from_ties(model: ClusterModel, values: Values) -> Values:
    found = model.predict(values)
    return np.asarray(values[found.margins > 1e-5 * (1 + found.distances.min(axis=1))])


def models() -> list[Any]:
    found = []
    for dtype in ("float32", "float64"):
        for scale in ("standard", "minmax", "robust", "none"):
            found.append(pytest.param(dtype, scale, id=f"{dtype}-{scale}"))
    return found


def model_of(dtype: Dtype, scale: Any, values: Values) -> ClusterModel:
    preparation = prepared(values, dtype, names=("a", "b", "c"))
    if scale == "none":
        preparation = replace(preparation, offset=np.zeros(3), divisor=np.ones(3))
    return fitted(values, 5, replace(preparation, scale=scale))


@pytest.mark.parametrize(("dtype", "scale"), models())
def test_the_pipeline_of_a_model_predicts_the_same_labels(dtype: Dtype, scale: str) -> None:
    model = model_of(dtype, scale, gaps(blobs(500)))
    pipeline = to_sklearn(model)
    new = away_from_ties(model, gaps(blobs(3000, seed=1) * 1.5))
    expected = model.predict(new)
    frame = pd.DataFrame(new, columns=model.names)
    np.testing.assert_array_equal(pipeline.predict(frame), expected.labels)
    np.testing.assert_allclose(pipeline.transform(frame), expected.distances, rtol=1e-5, atol=1e-5)
    back = from_sklearn(pipeline)
    assert back.names == model.names
    np.testing.assert_array_equal(back.predict(new).labels, expected.labels)
    if dtype == "float64":
        assert back.model_id == model.model_id


def test_a_model_that_refuses_missing_values_has_no_imputer() -> None:
    values = blobs(200)
    model = fitted(values, 3, replace(prepared(values), fill=np.full(3, np.nan), missing="error"))
    pipeline = to_sklearn(model)
    assert [name for name, _ in pipeline.steps] == ["scaler", "kmeans"]
    np.testing.assert_array_equal(
        pipeline.predict(pd.DataFrame(values, columns=model.names)), model.predict(values).labels
    )
    half = replace(model, preparation=replace(model.preparation, fill=np.array([0, np.nan, 0])))
    with pytest.raises(WorkflowError, match="missing values are refused in 'x1' and filled elsewhere"):
        to_sklearn(half)


def test_a_model_without_preparation_is_a_pipeline_of_one_step() -> None:
    values = blobs(200)
    none = replace(
        prepared(values), fill=np.full(3, np.nan), offset=np.zeros(3), divisor=np.ones(3), scale="none"
    )
    pipeline = to_sklearn(fitted(values, 3, none))
    assert [name for name, _ in pipeline.steps] == ["kmeans"]
    assert pipeline.predict(pd.DataFrame(values, columns=["x0", "x1", "x2"])).shape == (200,)


@pytest.mark.parametrize(
    "scaler",
    [
        StandardScaler(),
        StandardScaler(with_mean=False),
        StandardScaler(with_std=False),
        MinMaxScaler(),
        MinMaxScaler(feature_range=(-3, 2)),
        RobustScaler(),
        RobustScaler(with_centering=False, with_scaling=False),
        MaxAbsScaler(),
        "passthrough",
    ],
    ids=str,
)
@pytest.mark.parametrize("library", [sklearn.cluster, rust_kmeans], ids=lambda module: str(module.__name__))
def test_a_pipeline_becomes_a_model_with_the_same_labels(scaler: Any, library: Any) -> None:
    values = gaps(blobs(600)) * [1, 10, 100] + [5, 0, -7]
    for estimator in (
        library.KMeans(4, n_init=1, random_state=0),
        library.MiniBatchKMeans(4, n_init=1, random_state=0),
    ):
        pipeline = make_pipeline(SimpleImputer(strategy="median"), scaler, estimator).fit(values)
        model = from_sklearn(pipeline, values)
        new = away_from_ties(model, gaps(blobs(2000, seed=1)) * [1, 10, 100] + [5, 0, -7])
        np.testing.assert_array_equal(model.predict(new).labels, pipeline.predict(new))
        assert model.statistics.n_samples == model.statistics.n_sampled == 600
        assert model.parameters["n_clusters"] == 4


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_estimator_alone_becomes_a_model_in_its_dtype(dtype: type, tmp_path: Any) -> None:
    values: NDArray[Any] = blobs(300).astype(dtype)
    for library in (sklearn.cluster, rust_kmeans):
        estimator = library.KMeans(4, n_init=1, random_state=0).fit(
            pd.DataFrame(values, columns=["a", "b", "c"])
        )
        model = from_sklearn(estimator)
        assert model.names == ("a", "b", "c")
        assert model.centers.dtype == dtype
        assert model.centers.tobytes() == estimator.cluster_centers_.tobytes()
        np.testing.assert_array_equal(model.statistics.counts, np.bincount(estimator.labels_))
        assert model.statistics.n_sampled == 0
        np.testing.assert_array_equal(model.predict(values).labels, estimator.labels_)
        save_model(model, tmp_path / "model")
        assert load_model(tmp_path / "model").model_id == model.model_id
        assert from_sklearn(estimator, names=["x", "y", "z"]).names == ("x", "y", "z")


def test_the_statistics_of_an_import_are_those_of_the_rows_given() -> None:
    frame = pd.DataFrame(blobs(300), columns=["a", "b", "c"])
    estimator = sklearn.cluster.KMeans(4, n_init=1, random_state=0).fit(frame)
    # Columns are found by name.
    model = from_sklearn(estimator, frame[["c", "a", "b"]].assign(more=1))
    np.testing.assert_array_equal(model.statistics.counts, np.bincount(estimator.labels_))
    np.testing.assert_array_equal(model.statistics.quantiles[:, -1], frame.max())


@pytest.mark.parametrize(
    ("estimator", "said"),
    [
        (sklearn.cluster.KMeans(2), "KMeans is not fitted"),
        (make_pipeline(StandardScaler(), sklearn.cluster.KMeans(2)), "StandardScaler is not fitted"),
        (
            sklearn.cluster.BisectingKMeans(2).fit(blobs(20)),
            "BisectingKMeans: only KMeans and MiniBatchKMeans",
        ),
        (rust_kmeans.SphericalKMeans(2).fit(blobs(20)), "SphericalKMeans predicts by angle: only KMeans"),
        (sklearn.cluster.DBSCAN().fit(blobs(20)), "DBSCAN: only KMeans"),
        ("model.pkl", "str: only KMeans"),
        (None, "NoneType: only KMeans"),
        (make_pipeline(StandardScaler().fit(blobs(20))), "StandardScaler: only KMeans"),
        (
            make_pipeline(PowerTransformer(), sklearn.cluster.KMeans(2)).fit(blobs(20)),
            "the step PowerTransformer does",
        ),
        (
            make_pipeline(StandardScaler(), SimpleImputer(), sklearn.cluster.KMeans(2)).fit(blobs(20)),
            "the step SimpleImputer does not become part",
        ),
        (
            make_pipeline(MinMaxScaler(clip=True), sklearn.cluster.KMeans(2)).fit(blobs(20)),
            "MinMaxScaler that clips",
        ),
        (
            make_pipeline(SimpleImputer(add_indicator=True), sklearn.cluster.KMeans(2)).fit(gaps(blobs(50))),
            "with add_indicator",
        ),
        (
            make_pipeline(SimpleImputer(missing_values=-1), sklearn.cluster.KMeans(2)).fit(blobs(20)),
            "of missing values other than NaN",
        ),
    ],
)
def test_what_a_model_cannot_be_is_refused_by_name(estimator: Any, said: str) -> None:
    with pytest.raises(WorkflowError, match=said):
        from_sklearn(estimator)


def test_an_imputer_that_leaves_out_columns_is_refused() -> None:
    values = blobs(50)
    imputer = SimpleImputer().fit(values)
    imputer.statistics_[1] = np.nan
    with pytest.raises(WorkflowError, match="leaves out columns without values"):
        from_sklearn(make_pipeline(imputer, sklearn.cluster.KMeans(2, n_init=1).fit(values)))


def test_names_that_do_not_fit_are_refused() -> None:
    estimator = sklearn.cluster.KMeans(2, n_init=1).fit(blobs(20))
    for names in (["a", "b"], ["a", "a", "b"]):
        with pytest.raises(WorkflowError, match="not all different or not one for each of 3 features"):
            from_sklearn(estimator, names=names)


@pytest.mark.parametrize(("dtype", "scale"), models())
def test_the_graph_of_a_model_gives_the_same_labels_and_distances(dtype: Dtype, scale: str) -> None:
    # Far from zero float32 has few digits left: the graph takes rows in float64.
    values = gaps(blobs(500) + np.array([0, 1e6, 0]))
    model = model_of(dtype, scale, values)
    session = onnxruntime.InferenceSession(to_onnx(model), providers=["CPUExecutionProvider"])
    new = away_from_ties(model, gaps(blobs(5000, seed=1) * 1.5 + np.array([0, 1e6, 0])))
    labels, distances = session.run(["label", "scores"], {"X": new})
    expected = model.predict(new)
    np.testing.assert_array_equal(labels, expected.labels)
    np.testing.assert_allclose(distances, expected.distances, rtol=1e-9, atol=1e-9)


def test_centers_that_lie_together_far_from_zero_keep_their_labels_elsewhere() -> None:
    # As times in seconds do: of the squares of such numbers float64 keeps no distance between them.
    values = blobs(500) + 1.7e9
    none = replace(prepared(values), fill=np.full(3, np.nan), offset=np.zeros(3), divisor=np.ones(3))
    model = fitted(values, 4, replace(none, scale="none", missing="error"))
    expected = model.predict(values)
    session = onnxruntime.InferenceSession(to_onnx(model), providers=["CPUExecutionProvider"])
    labels, distances = session.run(["label", "scores"], {"X": values})
    np.testing.assert_array_equal(labels, expected.labels)
    np.testing.assert_allclose(distances, expected.distances, rtol=1e-6)
    pipeline, frame = to_sklearn(model), pd.DataFrame(values, columns=model.names)
    np.testing.assert_array_equal(pipeline.predict(frame), expected.labels)
    np.testing.assert_allclose(pipeline.transform(frame), expected.distances, rtol=1e-6)
    np.testing.assert_array_equal(from_sklearn(pipeline).predict(values).labels, expected.labels)


def test_a_row_at_a_center_has_a_distance_of_about_nothing_in_the_graph() -> None:
    values = np.repeat(np.random.default_rng(0).normal(size=(8, 7)), 20, axis=0)
    model = fitted(values, 8)
    session = onnxruntime.InferenceSession(to_onnx(model), providers=["CPUExecutionProvider"])
    labels, distances = session.run(["label", "scores"], {"X": values})
    np.testing.assert_array_equal(labels, model.predict(values).labels)
    np.testing.assert_allclose(distances.min(axis=1), 0, atol=1e-7)


def test_a_row_that_misses_what_it_must_not_has_no_distance_in_the_graph() -> None:
    values = blobs(200)
    model = fitted(values, 3, replace(prepared(values), fill=np.full(3, np.nan), missing="error"))
    session = onnxruntime.InferenceSession(to_onnx(model), providers=["CPUExecutionProvider"])
    _, distances = session.run(None, {"X": np.array([[0, np.nan, 0.0], [0, 0, 0]])})
    assert np.isnan(distances[0]).all()
    assert np.isfinite(distances[1]).all()


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: Any, **keywords: Any) -> Any:
        if name == "skl2onnx":
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
        return real(name, *arguments, **keywords)

    model = fitted(blobs(50))
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(WorkflowError, match=r"no module 'skl2onnx', .*pip install 'rust-kmeans\[onnx\]'"):
        to_onnx(model)
