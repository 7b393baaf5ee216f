"""Quality of clusters: what scikit-learn says of them, an interval that holds, and classes as they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.metrics import (
    accuracy_score,
    adjusted_rand_score,
    calinski_harabasz_score,
    confusion_matrix,
    davies_bouldin_score,
    normalized_mutual_info_score,
    silhouette_score,
)

from rust_kmeans import KMeans
from rust_kmeans.workflow import Quality, WorkflowError, _quality, majority_labels, quality
from rust_kmeans.workflow._quality import scatters, silhouettes


def clustered(
    n_samples: int, n_features: int, n_clusters: int, *, offset: float = 0.0, dtype: str = "float64"
) -> tuple[NDArray[Any], KMeans]:
    """Return overlapping blobs and a model of them."""
    rng = np.random.default_rng(n_samples + n_features)
    centers = rng.normal(scale=2.0, size=(n_clusters, n_features))
    X = centers[rng.integers(0, n_clusters, n_samples)] + rng.normal(size=(n_samples, n_features)) + offset
    X = X.astype(dtype)
    return X, KMeans(n_clusters, random_state=0).fit(X)


def judged(X: NDArray[Any], model: KMeans, **options: Any) -> Quality:
    return quality(X, model.labels_, model.cluster_centers_, **options)


@pytest.mark.parametrize("offset", [0.0, 1e4])
@pytest.mark.parametrize(("n_features", "n_clusters"), [(1, 2), (3, 5), (40, 12)])
def test_criteria_are_those_of_scikit_learn(n_features: int, n_clusters: int, offset: float) -> None:
    X, model = clustered(2_000, n_features, n_clusters, offset=offset)
    found = judged(X, model)
    # scikit-learn expands the squares of distances, which costs digits far from zero.
    near = X - X.mean(axis=0)
    assert found.davies_bouldin == pytest.approx(davies_bouldin_score(near, model.labels_), rel=1e-9)
    assert found.calinski_harabasz == pytest.approx(calinski_harabasz_score(near, model.labels_), rel=1e-9)
    assert found.silhouette.value == pytest.approx(silhouette_score(near, model.labels_), abs=1e-9)
    assert found.silhouette.half_width == 0.0
    assert found.inertia == model.inertia_
    assert (found.n_samples, found.n_clusters) == (2_000, n_clusters)


def test_criteria_of_more_rows_than_a_block_are_those_of_scikit_learn() -> None:
    X, model = clustered(30_000, 4, 6)
    labelings = [model.labels_, KMeans(3, random_state=1).fit(X).labels_]
    for scatter, labels in zip(scatters(X, labelings), labelings, strict=True):
        assert scatter.davies_bouldin == pytest.approx(davies_bouldin_score(X, labels), rel=1e-9)
        assert scatter.calinski_harabasz == pytest.approx(calinski_harabasz_score(X, labels), rel=1e-9)
        np.testing.assert_array_equal(scatter.counts, np.bincount(labels))


def test_criteria_of_float32_are_those_of_the_same_numbers_in_float64() -> None:
    X, model = clustered(1_500, 6, 4, dtype="float32")
    found = judged(X, model)
    wide = quality(X.astype(np.float64), model.labels_, model.cluster_centers_.astype(np.float64))
    assert found.silhouette.value == pytest.approx(wide.silhouette.value, abs=1e-9)
    assert found.davies_bouldin == pytest.approx(wide.davies_bouldin, rel=1e-12)
    assert found.calinski_harabasz == pytest.approx(wide.calinski_harabasz, rel=1e-12)
    assert found.inertia == pytest.approx(wide.inertia, rel=1e-12)


def test_the_interval_of_a_sampled_silhouette_holds_the_whole_one(monkeypatch: pytest.MonkeyPatch) -> None:
    X, model = clustered(4_000, 3, 4)
    [whole] = silhouettes(X, [model.labels_])
    for name, rows in (("ALL_PAIRS", 100), ("POINTS", 200), ("REFERENCE", 400)):
        monkeypatch.setattr(_quality, name, rows)
    draws = [silhouettes(X, [model.labels_], random_state=seed)[0] for seed in range(100)]
    held = [abs(draw.value - whole.value) <= draw.half_width for draw in draws]
    # Of 100 intervals of 95 %; fewer than 89 come once in 80 times by chance.
    assert sum(held) >= 89
    # Nor are they wider than they need to be: the draws spread as the intervals say.
    assert np.mean([draw.half_width for draw in draws]) < 1.5 * 1.96 * np.std([draw.value for draw in draws])


def test_a_sampled_silhouette_is_reproducible_and_one_for_each_labeling() -> None:
    X, model = clustered(7_000, 2, 5)
    other = KMeans(2, random_state=3).fit(X).labels_
    alone = silhouettes(X, [model.labels_], random_state=4)
    together = silhouettes(X, [other, model.labels_], random_state=4)
    assert alone[0] == silhouettes(X, [model.labels_], random_state=4)[0]
    assert together[1].value == pytest.approx(alone[0].value, abs=1e-12)
    assert together[1].half_width == pytest.approx(alone[0].half_width, abs=1e-12)


def test_silhouettes_of_single_rows_are_those_of_scikit_learn() -> None:
    X = np.array([[0.0], [1.0], [10.0], [11.0], [30.0]])
    labels = np.array([0, 0, 1, 1, 2])
    assert silhouettes(X, [labels])[0].value == pytest.approx(silhouette_score(X, labels), abs=1e-12)


def test_equal_rows_have_a_silhouette() -> None:
    X = np.repeat([[0.0, 0.0], [3.0, 4.0]], 5, axis=0)
    found = quality(X, np.repeat([0, 1], 5), [[0.0, 0.0], [3.0, 4.0]])
    assert found.silhouette.value == pytest.approx(1.0)
    assert (found.davies_bouldin, found.calinski_harabasz, found.inertia) == (0.0, np.inf, 0.0)


def test_one_cluster_has_an_inertia_and_no_criteria() -> None:
    X = np.arange(6.0).reshape(3, 2)
    found = quality(X, [0, 0, 0], X.mean(axis=0)[None])
    assert found.inertia == 16.0
    assert np.isnan([found.silhouette.value, found.davies_bouldin, found.calinski_harabasz]).all()


def test_clusters_without_rows_are_left_out() -> None:
    X, model = clustered(600, 2, 3)
    centers = np.insert(model.cluster_centers_, 1, 1e3, axis=0)
    labels = np.array([0, 2, 3])[model.labels_]
    found = quality(X, labels, centers)
    assert found.n_clusters == 3
    assert found.davies_bouldin == pytest.approx(judged(X, model).davies_bouldin, rel=1e-12)
    assert found.silhouette.value == pytest.approx(judged(X, model).silhouette.value, abs=1e-12)


@pytest.mark.parametrize("kind", [int, str, object, "category"])
def test_agreement_is_that_of_scikit_learn(kind: Any) -> None:
    X, model = clustered(1_000, 2, 5)
    y = np.random.default_rng(0).integers(0, 4, 1_000)
    y[:600] = model.labels_[:600] % 4
    classes = pd.Series(y).astype(str).astype(kind) if kind == "category" else y.astype(kind)
    agreement = judged(X, model, y=classes).agreement
    assert agreement is not None
    assert agreement.adjusted_rand == pytest.approx(adjusted_rand_score(y, model.labels_), abs=1e-12)
    assert agreement.mutual_information == pytest.approx(normalized_mutual_info_score(y, model.labels_))
    assigned = majority_labels(model.labels_, y)[model.labels_]
    assert agreement.accuracy == pytest.approx(accuracy_score(y, assigned))
    np.testing.assert_array_equal(agreement.confusion.to_numpy(), confusion_matrix(y, assigned))


def test_the_majority_of_a_cluster_is_its_most_frequent_class_the_first_of_equals() -> None:
    labels = [0, 0, 0, 1, 1, 3]
    y = ["b", "b", "a", "c", "a", "b"]
    # Cluster 2 has no rows: it gets the most frequent class of all.
    assert majority_labels(labels, y).tolist() == ["b", "a", "b", "b"]
    assert majority_labels(labels, y, 5).tolist() == ["b", "a", "b", "b", "b"]


def test_classes_learned_on_other_rows_are_taken_as_they_are() -> None:
    X = np.array([[0.0], [1.0], [10.0]])
    agreement = quality(X, [0, 0, 1], [[0.5], [10.0]], y=["a", "b", "b"], majority=["b", "z"]).agreement
    assert agreement is not None
    assert agreement.accuracy == pytest.approx(1 / 3)
    assert agreement.confusion.loc["b"].to_dict() == {"a": 0, "b": 1, "z": 1}


ROWS = np.array([[0.0], [1.0], [10.0]])


@pytest.mark.parametrize(
    ("labels", "options", "said"),
    [
        ([0, 1], {}, "labels are int64, shape (2,): they must be integers, shape (3,)."),
        ([0.0, 1.0, 1.0], {}, "labels are float64"),
        ([0, 1, 2], {}, "labels are from 0 to 2: there are centers 0 to 1."),
        ([0, -1, 1], {}, "labels are from -1 to 1"),
        ([0, 0, 1], {"y": ["a", "b"]}, "y has 2 classes for 3 rows"),
        ([0, 0, 1], {"y": ["a", None, "b"]}, "y is missing for 1 of 3 rows: leave these rows out."),
        ([0, 0, 1], {"y": ["a", "a", "b"], "majority": ["a"]}, "majority has shape (1,): it must be (2,)"),
        ([0, 0, 1], {"y": [["a"], ["a"], ["b"]]}, "y has shape (3, 1): it must be one class for each row."),
    ],
)
def test_what_does_not_fit_together_is_refused(labels: Any, options: Any, said: str) -> None:
    with pytest.raises(WorkflowError) as raised:
        quality(ROWS, labels, [[0.5], [10.0]], **options)
    assert said in str(raised.value)


def test_measurements_are_no_classes() -> None:
    with pytest.raises(WorkflowError, match="y has 1001 different values: it must be classes, 1000 at most"):
        majority_labels(np.zeros(1_001, dtype=int), np.arange(1_001.0))
