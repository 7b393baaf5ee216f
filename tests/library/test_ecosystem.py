"""`rust_kmeans.KMeans` among the libraries around it: frames, pipelines, searches, pickles, workers."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import skops.io
from numpy.typing import NDArray
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from rust_kmeans import KMeans, __version__, kernel_info

rng = np.random.default_rng(0)
X: NDArray[np.float64] = rng.normal(size=(600, 3)) + 4 * rng.integers(-1, 2, size=(600, 3))
WEIGHT = rng.random(600)
NAMES = ["length", "width", "depth"]
FRAMES: list[Callable[[Any], Any]] = [
    lambda X: pd.DataFrame(X, columns=NAMES),
    lambda X: pl.DataFrame(X, schema=NAMES),
]


def fitted(**keywords: Any) -> KMeans:
    return KMeans(4, random_state=0, **keywords).fit(X)


def bits(model: KMeans) -> tuple[Any, ...]:
    return (
        model.cluster_centers_.tobytes(),
        model.labels_.tobytes(),
        model.inertia_,
        model.inertia_history_.tobytes(),
        model.n_iter_,
        model.predict(X).tobytes(),
        model.get_params(),
    )


def through_joblib(model: KMeans, folder: Path) -> Any:
    joblib.dump(model, folder / "model.joblib", compress=3)
    return joblib.load(folder / "model.joblib")


def through_skops(model: KMeans, folder: Path) -> Any:
    skops.io.dump(model, folder / "model.skops")
    # The class of the model is all that has to be trusted.
    assert skops.io.get_untrusted_types(file=folder / "model.skops") == ["rust_kmeans._kmeans.KMeans"]
    return skops.io.load(folder / "model.skops", trusted=["rust_kmeans._kmeans.KMeans"])


@pytest.mark.parametrize(
    "through",
    [
        lambda model, _: pickle.loads(pickle.dumps(model)),
        lambda model, _: copy.copy(model),
        lambda model, _: copy.deepcopy(model),
        through_joblib,
        through_skops,
    ],
    ids=["pickle", "copy", "deepcopy", "joblib", "skops"],
)
def test_a_model_comes_back_as_it_was(through: Callable[[KMeans, Path], KMeans], tmp_path: Path) -> None:
    model = fitted()
    back = through(model, tmp_path)
    assert bits(back) == bits(model)
    assert vars(back).keys() == vars(model).keys()


def test_a_clone_has_the_parameters_alone() -> None:
    model = fitted(tol=0.5)
    other = clone(model)
    assert other.get_params() == model.get_params()
    assert not hasattr(other, "cluster_centers_")


@pytest.mark.parametrize("version", ["0.0.1", None])
def test_a_model_of_another_version_is_loaded_with_a_warning(version: str | None) -> None:
    model = fitted()
    state = model.__getstate__()
    assert state.pop("_rust_kmeans_version") == __version__
    if version:
        state["_rust_kmeans_version"] = version
    back = KMeans.__new__(KMeans)
    with pytest.warns(InconsistentVersionWarning, match=r"rust_kmeans\.KMeans") as caught:
        back.__setstate__(state)
    text = str(caught[0].message)
    assert f"from version {version or 'unknown'} when using version {__version__}" in text
    assert bits(back) == bits(model)


@pytest.mark.parametrize("frame", FRAMES, ids=["pandas", "polars"])
def test_a_data_frame_gives_the_fit_of_its_values_and_its_names(frame: Callable[[Any], Any]) -> None:
    model = KMeans(4, random_state=0).fit(frame(X), sample_weight=WEIGHT)
    plain = KMeans(4, random_state=0).fit(X, sample_weight=WEIGHT)
    assert model.feature_names_in_.tolist() == NAMES
    assert model.predict(frame(X)).tobytes() == plain.labels_.tobytes()
    assert model.score(frame(X)) == plain.score(X)
    wrong = frame(X)
    wrong.columns = ["length", "height", "depth"]
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(wrong)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        model.predict(X)


@pytest.mark.parametrize("output", ["pandas", "polars"])
def test_transform_gives_the_frame_that_set_output_names(output: Any) -> None:
    model = fitted().set_output(transform=output)
    distances: Any = model.transform(X)
    assert type(distances).__module__.split(".")[0] == output
    names = [f"kmeans{c}" for c in range(4)]
    assert list(distances.columns) == names == model.get_feature_names_out().tolist()
    np.testing.assert_array_equal(distances.to_numpy(), fitted().transform(X))


def test_the_html_of_a_model_names_its_parameters() -> None:
    html = fitted()._repr_html_()
    assert "KMeans" in html
    assert "n_threads" in html


def test_a_pipeline_after_a_scaler_is_the_fit_of_scaled_data() -> None:
    pipeline = make_pipeline(StandardScaler(), KMeans(4, random_state=0)).fit(X)
    scaled = StandardScaler().fit_transform(X)
    direct = KMeans(4, random_state=0).fit(scaled)
    assert pipeline[-1].labels_.tobytes() == direct.labels_.tobytes()
    assert pipeline.predict(X).tobytes() == direct.labels_.tobytes()
    assert pipeline.transform(X).tobytes() == direct.transform(scaled).tobytes()


def test_weights_are_routed_through_a_pipeline() -> None:
    with config_context(enable_metadata_routing=True):
        kmeans = KMeans(4, random_state=0).set_fit_request(sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        pipeline = make_pipeline(scaler, kmeans).fit(X, sample_weight=WEIGHT)
    direct = KMeans(4, random_state=0).fit(StandardScaler().fit_transform(X), sample_weight=WEIGHT)
    assert pipeline[-1].cluster_centers_.tobytes() == direct.cluster_centers_.tobytes()


def test_weights_are_routed_through_a_search() -> None:
    with config_context(enable_metadata_routing=True):
        kmeans = KMeans(random_state=0).set_fit_request(sample_weight=True)
        kmeans.set_score_request(sample_weight=True)
        search = GridSearchCV(kmeans, {"n_clusters": [2, 5]}, cv=2).fit(X, sample_weight=WEIGHT)
    direct = KMeans(search.best_params_["n_clusters"], random_state=0).fit(X, sample_weight=WEIGHT)
    assert search.best_estimator_.inertia_ == direct.inertia_
    assert search.best_params_ == {"n_clusters": 5}


def test_tiny_data_and_one_cluster_give_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for n, k in [(1, 1), (2, 1), (2, 2), (10, 3)]:
            model = KMeans(k, random_state=0).fit(X[:n])
            assert model.predict(X[:n]).tolist() == model.labels_.tolist()


def test_a_search_in_workers_shares_the_cpus_and_finds_the_same() -> None:
    grid = {"n_clusters": [2, 3, 5]}
    alone = GridSearchCV(KMeans(random_state=0), grid, cv=2).fit(X)
    shared = GridSearchCV(KMeans(random_state=0), grid, cv=2, n_jobs=2).fit(X)
    assert alone.cv_results_["mean_test_score"].tolist() == shared.cv_results_["mean_test_score"].tolist()
    seen = joblib.Parallel(n_jobs=2)(joblib.delayed(kernel_info)() for _ in range(4))
    assert {info["n_threads"] for info in seen} == {max(joblib.cpu_count() // 2, 1)}


def default_threads() -> int:
    return kernel_info()["n_threads"]


def test_threads_are_what_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAYON_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    cpus = default_threads()
    # OpenMP's limit shares CPUs, and makes none.
    for limit, expected in [("1", 1), ("1,7", 1), (str(cpus + 5), cpus), ("many", cpus), ("0", cpus)]:
        monkeypatch.setenv("OMP_NUM_THREADS", limit)
        assert default_threads() == expected
    monkeypatch.setenv("RAYON_NUM_THREADS", str(cpus + 5))
    assert default_threads() == cpus + 5


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such call")
def test_threads_are_no_more_than_the_cpus_of_the_process() -> None:
    script = """
        import os
        from rust_kmeans import kernel_info
        cpus = os.sched_getaffinity(0)
        assert kernel_info()["n_threads"] <= len(cpus)
        os.sched_setaffinity(0, {min(cpus)})
        assert kernel_info()["n_threads"] == 1
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env={name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
