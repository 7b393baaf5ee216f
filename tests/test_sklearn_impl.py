"""The generic estimator adapter: what it sets, what it leaves alone, what it reports."""

from __future__ import annotations

import importlib
import types
from pathlib import Path

import numpy as np
import pytest

from harness.contract import FitSpec
from harness.datasets import Dataset
from python_impl.kmeans import lloyd
from sklearn_impl import adapter

N_CLUSTERS = 4
FACTORIES = {
    "lloyd": adapter.lloyd,
    "elkan": adapter.elkan,
    "minibatch": adapter.minibatch,
    "rust": adapter.rust,
}


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(800, 3)) + 4 * rng.integers(-1, 2, size=(800, 3))
    np.save(tmp_path / "X.npy", X.astype("float32"))
    return Dataset(tmp_path / "X.npy", X.shape[0], X.shape[1], "float32")


def matched(dataset: Dataset) -> FitSpec:
    return FitSpec(N_CLUSTERS, dataset.load()[:N_CLUSTERS], 1, 100, 0.0, 0, 1, "float32")


def default() -> FitSpec:
    return FitSpec(N_CLUSTERS, None, None, None, None, 0, 1, "float32")


def usable(name: str) -> adapter.EstimatorAdapter:
    implementation = FACTORIES[name]()
    if name == "rust" and (reason := implementation.available()) is not None:
        pytest.skip(reason)
    return implementation


@pytest.mark.parametrize("name", FACTORIES)
def test_matched_track_starts_where_it_is_told(name: str, dataset: Dataset) -> None:
    implementation, spec = usable(name), matched(dataset)
    state = implementation.prepare(dataset, spec)
    fitted = implementation.fit(state, spec)
    result = implementation.result(fitted, spec)
    assert result.settings.init == "given"
    assert (result.settings.n_init, result.settings.max_iter) == (1, 100)
    assert result.settings.tol == 0.0
    labels = implementation.predict(state, fitted)
    assert result.labels is not None
    if name != "minibatch":
        reference = lloyd(dataset.load(), dataset.load()[:N_CLUSTERS], tol=0.0)
        assert result.reported_inertia == pytest.approx(reference.inertia, rel=1e-5)
        np.testing.assert_array_equal(labels, result.labels)
        assert (labels == reference.labels).mean() > 0.998
    assert (result.isa is None) == (name != "rust")
    assert (result.algorithm is None) == (name == "minibatch")
    implementation.close(state)


@pytest.mark.parametrize("name", FACTORIES)
def test_default_track_reports_the_librarys_own_defaults(name: str, dataset: Dataset) -> None:
    implementation = usable(name)
    assert implementation.available() is None
    assert implementation.version()
    state = implementation.prepare(dataset, default())
    result = implementation.result(implementation.fit(state, default()), default())
    assert (result.settings.init, result.settings.n_init) == ("k-means++", 1)
    expected = (100, 0.0) if name == "minibatch" else (300, 1e-4)
    assert (result.settings.max_iter, result.settings.tol) == expected
    assert result.centers.shape == (N_CLUSTERS, 3)


@pytest.mark.parametrize("name", FACTORIES)
def test_a_fit_leaves_nothing_to_compute_when_an_attribute_is_read(name: str, dataset: Dataset) -> None:
    implementation = usable(name)
    fitted = implementation.fit(implementation.prepare(dataset, default()), default())
    # Else the time of computing it would be in nobody's `fit_seconds`.
    assert {"cluster_centers_", "labels_", "inertia_", "n_iter_"} <= vars(fitted).keys()


def test_a_debug_build_is_refused_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    debug = types.SimpleNamespace(kernel_info=lambda: {"profile": "debug", "isa": "scalar"})
    monkeypatch.setattr(importlib, "import_module", lambda name: debug)
    reason = adapter.rust().available()
    assert reason is not None
    assert "debug build" in reason
    assert "make kernel" in reason


def test_a_missing_build_says_how_to_build(monkeypatch: pytest.MonkeyPatch) -> None:
    # What a checkout without a build offers: a namespace package that is empty.
    monkeypatch.setattr(importlib, "import_module", lambda name: types.SimpleNamespace())
    reason = adapter.rust().available()
    assert reason is not None
    assert "make kernel" in reason


def test_a_missing_library_is_a_reason_not_a_crash() -> None:
    reason = adapter.EstimatorAdapter("no_such_library", "KMeans", "no-such-library").available()
    assert reason is not None
    assert "pip install no-such-library" in reason
