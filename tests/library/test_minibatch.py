"""`rust_kmeans.MiniBatchKMeans`: scikit-learn's rules, and what is ours on top."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.cluster import MiniBatchKMeans as SklearnMiniBatchKMeans

from rust_kmeans import KMeans, MiniBatchKMeans

CENTERS = np.random.default_rng(1).uniform(-20, 20, size=(6, 5))
LABELS = np.arange(6_000) % 6
X = (CENTERS[LABELS] + np.random.default_rng(0).normal(size=(6_000, 5))).astype(np.float32)


def test_parameters_and_defaults_are_those_of_scikit_learn() -> None:
    ours = MiniBatchKMeans().get_params()
    assert ours.pop("n_threads") is None
    assert ours == SklearnMiniBatchKMeans().get_params()


@pytest.mark.parametrize("init", ["k-means++", CENTERS, lambda X, k, random_state: CENTERS])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_well_separated_clusters_are_found(init: Any, dtype: type) -> None:
    model = MiniBatchKMeans(6, init=init, random_state=0, n_init=1 if init is CENTERS else "auto")
    model.fit(X.astype(dtype))
    assert model.cluster_centers_.dtype == dtype
    order = np.argmin(np.linalg.norm(CENTERS[:, None] - model.cluster_centers_, axis=2), axis=1)
    np.testing.assert_array_equal(model.labels_, order[LABELS])
    np.testing.assert_allclose(model.cluster_centers_[order], CENTERS, atol=0.3)


def test_given_centers_are_one_start_and_more_are_warned_of() -> None:
    assert MiniBatchKMeans(6, init=CENTERS).fit(X)._n_init == 1
    for method in ("fit", "partial_fit"):
        with pytest.warns(RuntimeWarning, match="performing only one init in MiniBatchKMeans"):
            getattr(MiniBatchKMeans(6, init=CENTERS, n_init=2), method)(X)
    with pytest.raises(ValueError, match="does not match the number of clusters 5"):
        MiniBatchKMeans(5, init=CENTERS).fit(X)
    with pytest.raises(ValueError, match="does not match the number of features of the data 4"):
        MiniBatchKMeans(6, init=CENTERS).fit(X[:, :4])


def test_most_fits_come_within_a_hundredth_of_the_best_of_ten_exact_ones() -> None:
    random = np.random.default_rng(5)
    data = random.uniform(-10, 10, size=(10, 4))[random.integers(10, size=20_000)]
    data += random.normal(scale=2, size=data.shape)
    best = KMeans(10, n_init=10, random_state=0).fit(data).inertia_
    found = [MiniBatchKMeans(10, random_state=seed).fit(data).inertia_ for seed in range(10)]
    assert np.median(found) < 1.01 * best


def test_a_fit_is_the_same_bits_for_any_number_of_threads() -> None:
    # Batches large enough for several threads.
    data = np.random.default_rng(2).normal(size=(20_000, 60))
    fits = [
        MiniBatchKMeans(40, batch_size=8_192, max_iter=3, random_state=0, n_threads=n).fit(data)
        for n in (1, 2, 3)
    ]
    assert len({fit.cluster_centers_.tobytes() for fit in fits}) == 1
    assert len({fit.labels_.tobytes() for fit in fits}) == 1
    assert len({fit.inertia_ for fit in fits}) == 1


def test_labels_and_inertia_are_those_of_the_final_centers() -> None:
    weights = np.random.default_rng(3).uniform(size=len(X))
    model = MiniBatchKMeans(9, random_state=0, max_iter=2).fit(X, sample_weight=weights)
    distances = np.linalg.norm(X[:, None].astype(float) - model.cluster_centers_.astype(float), axis=2)
    np.testing.assert_array_equal(model.labels_, distances.argmin(axis=1))
    np.testing.assert_array_equal(model.labels_, model.predict(X))
    assert model.inertia_ == pytest.approx((weights * distances.min(axis=1) ** 2).sum())
    assert model.score(X, sample_weight=weights) == -model.inertia_


def test_without_labels_the_inertia_is_the_smoothed_one() -> None:
    model = MiniBatchKMeans(6, random_state=0, compute_labels=False, max_no_improvement=None, max_iter=20)
    weights = np.full(len(X), 2.0)
    model.fit(X, sample_weight=weights)
    assert not hasattr(model, "labels_")
    exact = -model.score(X, sample_weight=weights)
    assert model.inertia_ == pytest.approx(exact, rel=0.1)
    # One step knows no average yet, but what the batch was before it.
    one = MiniBatchKMeans(6, random_state=0, compute_labels=False, max_iter=1, batch_size=6_000).fit(X)
    assert one.n_steps_ == 1
    assert -one.score(X) < one.inertia_ < np.inf


def test_counts_are_of_float64_and_sum_to_the_rows_seen() -> None:
    model = MiniBatchKMeans(6, random_state=0, max_no_improvement=None, max_iter=3, reassignment_ratio=0.0)
    model.fit(X)
    assert model._counts.dtype == np.float64
    assert model._counts.sum() == model.n_steps_ * 1024


def test_samples_without_weight_are_never_drawn() -> None:
    weights = (LABELS < 2).astype(float)
    model = MiniBatchKMeans(2, random_state=0, init_size=10).fit(X, sample_weight=weights)
    centers = model.cluster_centers_[np.argsort(model.predict(CENTERS[:2].astype(np.float32)))]
    near = np.linalg.norm(CENTERS[:2, None] - centers, axis=2).min(axis=1)
    assert (near < 1).all()


def test_partial_fit_makes_each_center_the_mean_of_all_it_took_in() -> None:
    model = MiniBatchKMeans(6, init=CENTERS, n_init=1, reassignment_ratio=0.0)
    for rows in np.array_split(np.arange(len(X)), 7):
        model.partial_fit(X[rows])
    means = [X[c == LABELS].astype(float).mean(axis=0) for c in range(6)]
    np.testing.assert_allclose(model.cluster_centers_, means, rtol=1e-5)
    np.testing.assert_array_equal(model._counts, np.full(6, 1_000.0))
    assert model.n_steps_ == 7


def test_partial_fit_after_fit_goes_on_from_its_centers() -> None:
    model = MiniBatchKMeans(6, random_state=0).fit(X)
    steps, counts = model.n_steps_, model._counts.sum()
    model.partial_fit(X[:100].astype(np.float64))
    assert model.cluster_centers_.dtype == np.float32
    assert model.n_steps_ == steps + 1
    assert model._counts.sum() == counts + 100
    assert model.labels_.shape == (100,)


def test_a_pickled_estimator_goes_on_as_the_original() -> None:
    model = MiniBatchKMeans(6, random_state=0).partial_fit(X[:500])
    copy = pickle.loads(pickle.dumps(model))
    for each in (model, copy):
        each.partial_fit(X[500:900])
    assert model.cluster_centers_.tobytes() == copy.cluster_centers_.tobytes()


def test_a_seed_repeats_a_fit_and_another_does_not() -> None:
    fits = [MiniBatchKMeans(9, random_state=seed, max_iter=2).fit(X).cluster_centers_ for seed in (0, 0, 1)]
    assert fits[0].tobytes() == fits[1].tobytes() != fits[2].tobytes()


def test_verbose_prints_start_steps_and_reason_as_scikit_learn(capsys: pytest.CaptureFixture[str]) -> None:
    model = MiniBatchKMeans(6, random_state=0, verbose=1, init="random", n_init=2).fit(X)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Init 1/2 with method random"
    assert lines[1].startswith("Inertia for init 1/2: ")
    steps = [line for line in lines if line.startswith("Minibatch step ")]
    assert len(steps) == model.n_steps_
    total = 100 * len(X) // 1024
    assert steps[0].startswith(f"Minibatch step 1/{total}: mean batch inertia: ")
    assert "ewa inertia" not in steps[0]
    assert all(", ewa inertia: " in step for step in steps[1:])
    reason = f"Converged (lack of improvement in inertia) at step {model.n_steps_}/{total}"
    assert lines[-1] == reason


def test_an_error_while_a_step_is_printed_ends_the_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(line: str) -> None:
        raise BrokenPipeError(line)

    monkeypatch.setattr("rust_kmeans._minibatch._say", broken)
    with pytest.raises(BrokenPipeError, match="Init 1/1"):
        MiniBatchKMeans(2, verbose=1).fit(X)
    monkeypatch.setattr("rust_kmeans._minibatch.MiniBatchKMeans._best_start", lambda *_: X[:2])
    with pytest.raises(BrokenPipeError, match="Minibatch step 1/"):
        MiniBatchKMeans(2, verbose=1).fit(X)


@pytest.mark.parametrize("verbose", [0, 1])
def test_verbose_changes_no_result(verbose: int) -> None:
    fits = [MiniBatchKMeans(6, random_state=0, verbose=v).fit(X).cluster_centers_ for v in (0, verbose)]
    assert fits[0].tobytes() == fits[1].tobytes()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_clusters", 0),
        ("init", "k-means||"),
        ("max_iter", 0),
        ("batch_size", 0),
        ("compute_labels", "no"),
        ("tol", -1.0),
        ("max_no_improvement", -1),
        ("init_size", 0),
        ("n_init", 0),
        ("reassignment_ratio", -0.1),
        ("n_threads", 0),
    ],
)
def test_a_wrong_parameter_is_refused_by_name(name: str, value: Any) -> None:
    model = MiniBatchKMeans(**{"n_clusters": 2, name: value})
    for fit in (model.fit, clone(model).partial_fit):
        with pytest.raises(ValueError, match=name):
            fit(X)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_bad_values_are_refused_with_their_row(method: str) -> None:
    bad = X.copy()
    bad[4_321, 3] = np.nan
    with pytest.raises(ValueError, match="NaN at row 4321, column 3"):
        getattr(MiniBatchKMeans(2), method)(bad)
    weights = np.ones(len(X))
    weights[7] = -1
    with pytest.raises(ValueError, match=r"sample_weight\[7\] is -1"):
        getattr(MiniBatchKMeans(2), method)(X, sample_weight=weights)
    with pytest.raises(ValueError, match="every sample_weight is zero"):
        getattr(MiniBatchKMeans(2), method)(X, sample_weight=np.zeros(len(X)))
    with pytest.raises(ValueError, match="n_samples=5 should be >= n_clusters=8"):
        getattr(MiniBatchKMeans(8), method)(X[:5])


def test_a_stream_gives_the_same_centers_however_it_is_cut() -> None:
    def batches(size: int) -> Any:
        return (X[first : first + size] for first in range(0, len(X), size))

    streams = [batches(7), batches(5_999), X, [X[:1], X[1:]], lambda: batches(1_024)]
    fits = [MiniBatchKMeans(6, random_state=0).partial_fit_stream(stream) for stream in streams]
    assert len({fit.cluster_centers_.tobytes() for fit in fits}) == 1
    by_hand = MiniBatchKMeans(6, random_state=0)
    for batch in batches(1_024):
        by_hand.partial_fit(batch)
    assert by_hand.cluster_centers_.tobytes() == fits[0].cluster_centers_.tobytes()
    assert by_hand.n_steps_ == fits[0].n_steps_ == 6
    best = KMeans(6, random_state=0).fit(X).inertia_
    assert -fits[0].score(X) < 1.1 * best


def test_a_stream_goes_on_where_the_last_one_ended() -> None:
    model = MiniBatchKMeans(6, random_state=0).partial_fit_stream([X[:3_000]])
    model.partial_fit_stream([(X[3_000:], np.full(3_000, 2.0))])
    assert model.n_steps_ == 6
    assert model._counts.sum() >= 9_000


def test_a_stream_without_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="no rows"):
        MiniBatchKMeans(2).partial_fit_stream(iter([]))


@pytest.mark.parametrize("method", ["fit", "partial_fit", "partial_fit_stream"])
def test_a_fit_that_fails_leaves_the_model_that_was_there(method: str) -> None:
    wrong = np.full((50, 3), np.nan)
    model = MiniBatchKMeans(6, random_state=0)
    with pytest.raises(ValueError, match="NaN"):
        getattr(model, method)(wrong)
    assert not hasattr(model, "n_features_in_")
    labels = model.partial_fit(X).labels_
    with pytest.raises(ValueError, match=r"NaN|features"):
        getattr(model, method)(wrong)
    np.testing.assert_array_equal(model.predict(X), labels)


def test_a_stream_that_fails_after_its_first_rows_keeps_what_it_took_in() -> None:
    model = MiniBatchKMeans(6, batch_size=100, random_state=0)
    with pytest.raises(ValueError, match="NaN"):
        model.partial_fit_stream([X[:100], np.full_like(X[:100], np.nan)])
    alone = MiniBatchKMeans(6, batch_size=100, random_state=0).partial_fit(X[:100])
    np.testing.assert_array_equal(model.predict(X), alone.predict(X))


def test_warnings_point_at_whoever_called() -> None:
    for method in ("fit", "partial_fit"):
        with pytest.warns(RuntimeWarning) as caught:
            getattr(MiniBatchKMeans(6, init=CENTERS, n_init=3, init_size=2), method)(X)
        assert [warning.filename for warning in caught] == [__file__] * 2
