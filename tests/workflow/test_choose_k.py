"""The number of clusters is found where there are clusters, and nothing is claimed where there are none."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score

from rust_kmeans import KMeans
from rust_kmeans.workflow import WorkflowError, choose_k
from rust_kmeans.workflow._choose_k import _adjusted_rand, _depths, _elbow

UP_TO_12 = range(1, 13)


def blobs(
    n_clusters: int, seed: int, *, n_features: int = 3, n_samples: int = 500, apart: float = 6.0
) -> NDArray[np.float64]:
    """Return round clusters of unequal sizes; centers are at least `apart` standard deviations apart."""
    rng = np.random.default_rng((seed, n_clusters))
    centers: list[NDArray[np.float64]] = []
    width = apart
    while len(centers) < n_clusters:
        center = rng.uniform(-width, width, n_features)
        width *= 1.01
        if all(np.linalg.norm(center - other) >= apart for other in centers):
            centers.append(center)
    labels = rng.choice(n_clusters, n_samples, p=rng.dirichlet(np.full(n_clusters, 10.0)))
    return np.array(centers)[labels] + rng.normal(size=(n_samples, n_features))


@pytest.mark.parametrize("n_clusters", range(2, 9))
def test_the_number_of_blobs_is_found_in_nine_of_ten_sets(n_clusters: int) -> None:
    choices = [choose_k(blobs(n_clusters, seed, n_features=2 + seed), UP_TO_12) for seed in range(10)]
    right = [choice for choice in choices if choice.n_clusters == n_clusters]
    assert len(right) >= 9
    assert sum(choice.confidence == "unsure" for choice in right) <= 1
    assert min(_depths(choice.table).max() for choice in right) > 0.1
    # Who is sure is right.
    assert all(choice.n_clusters == n_clusters for choice in choices if choice.confidence == "sure")


NOISE = {
    "uniform": lambda rng, shape: rng.uniform(size=shape),
    "normal": lambda rng, shape: rng.normal(size=shape),
    "stretched": lambda rng, shape: rng.normal(size=shape) * np.arange(1, shape[1] + 1),
    "skewed": lambda rng, shape: rng.lognormal(0.0, 0.7, size=shape),
    "far tails": lambda rng, shape: rng.standard_t(4, size=shape),
}


@pytest.mark.parametrize("n_features", [1, 2, 10])
@pytest.mark.parametrize("kind", NOISE)
def test_of_rows_without_clusters_nothing_is_claimed(kind: str, n_features: int) -> None:
    X = NOISE[kind](np.random.default_rng(n_features), (1_000, n_features))
    choice = choose_k(X, UP_TO_12)
    assert (choice.confidence, choice.elbow) == ("unsure", None)
    assert "unsure: no " in choice.sentence
    assert _depths(choice.table).max() < 0.05


def test_the_sentence_of_noise_says_that_there_is_no_structure() -> None:
    choice = choose_k(np.random.default_rng(1).uniform(size=(1_000, 2)))
    assert choice.sentence.startswith(f"k = {choice.n_clusters}, unsure: no cluster structure found")


def test_the_sentence_of_blobs_says_what_speaks_for_them() -> None:
    choice = choose_k(blobs(5, 0, apart=9.0), UP_TO_12)
    line = choice.table.loc[5]
    assert choice.sentence == (
        f"k = 5, sure: elbow at 5; silhouette {line['silhouette']:.3f} is highest; Davies-Bouldin best at 5, "
        f"Calinski-Harabasz at 5; stability {line['stability']:.2f}."
    )


def test_clusters_beyond_the_range_are_not_called_noise() -> None:
    rng = np.random.default_rng(0)
    X = rng.integers(0, 6, (2_000, 2)) + rng.normal(scale=0.05, size=(2_000, 2))
    choice = choose_k(X)
    assert choice.confidence == "unsure"
    assert "no elbow up to 20, where the silhouette is highest: look at larger numbers" in choice.sentence
    assert choose_k(X, range(20, 50)).n_clusters == 36


def test_an_outlier_is_no_cluster_to_be_sure_of() -> None:
    X = np.concatenate([np.random.default_rng(0).normal(size=(2_000, 2)), [[1e3, 0.0]]])
    choice = choose_k(X, UP_TO_12)
    assert choice.confidence != "sure"
    assert "the smallest cluster has 1 of 2,001 rows, perhaps outliers" in choice.sentence


def test_few_distinct_rows_are_their_own_clusters() -> None:
    choice = choose_k(np.repeat(np.arange(4.0)[:, None], 30, axis=0))
    assert (choice.n_clusters, choice.elbow) == (4, 4)
    assert choice.table.index.tolist() == [1, 2, 3, 4]
    assert choice.table.loc[4, "inertia"] == 0.0


@pytest.mark.parametrize("slope", [2.0, 0.2])
def test_an_even_fall_of_the_inertia_has_no_elbow(slope: float) -> None:
    k = np.arange(1.0, 21.0)
    assert _elbow(pd.DataFrame({"inertia": k**-slope}, index=k.astype(int))) is None


@pytest.mark.parametrize("at", [2, 5, 12])
def test_the_elbow_is_where_the_fall_breaks(at: int) -> None:
    k = np.arange(1.0, 21.0)
    inertia = np.where(k <= at, k**-2.0, at**-1.6 * k**-0.4)
    assert _elbow(pd.DataFrame({"inertia": inertia}, index=k.astype(int))) == at


def test_the_sweep_ends_where_good_fits_end() -> None:
    X = blobs(4, 1, n_features=5, n_samples=2_000)
    table = choose_k(X, range(1, 7)).table
    for k in table.index:
        assert table.loc[k, "inertia"] <= 1.01 * KMeans(k, n_init=10, random_state=0).fit(X).inertia_


def test_one_cluster_is_always_in_the_table_since_the_elbow_is_seen_from_it() -> None:
    table = choose_k(blobs(2, 3), [8, 2, 4]).table
    assert table.index.tolist() == [1, 2, 4, 8]
    assert table.loc[1].isna().sum() == 5
    assert not table.loc[2:].isna().any(axis=None)
    assert choose_k(blobs(2, 3), [8, 2, 4]).n_clusters == 2


def test_a_choice_is_reproducible_for_any_number_of_threads() -> None:
    X = blobs(3, 5, n_samples=6_000)
    one, two = (choose_k(X, range(1, 6), random_state=7, n_threads=count) for count in (1, 3))
    pd.testing.assert_frame_equal(one.table, two.table, check_exact=True)
    assert one.sentence == two.sentence


def test_a_sample_of_many_rows_finds_the_same_and_says_so() -> None:
    X = blobs(4, 2, n_samples=20_000).astype(np.float32)
    some, all_of_them = choose_k(X, range(1, 8), max_samples=3_000), choose_k(X, range(1, 8))
    assert (some.n_samples, all_of_them.n_samples) == (3_000, 20_000)
    assert some.n_clusters == all_of_them.n_clusters == 4
    assert some.sentence.endswith("; of a sample of 3,000 of 20,000 rows.")
    assert all_of_them.table.loc[4, "silhouette_half_width"] > 0.0


@pytest.mark.parametrize("n_samples", [4, 7, 30])
def test_of_few_rows_only_possible_numbers_are_looked_at(n_samples: int) -> None:
    choice = choose_k(blobs(2, 0, n_samples=n_samples))
    assert choice.table.index[-1] < 0.8 * n_samples
    assert choice.n_clusters in choice.table.index


@pytest.mark.parametrize("n_clusters", [2, 3, 17])
def test_stability_is_measured_by_the_adjusted_rand_index(n_clusters: int) -> None:
    rng = np.random.default_rng(n_clusters)
    first = rng.integers(0, n_clusters, 300).astype(np.int32)
    for second in (first, first[::-1], (first + 1) % n_clusters, np.where(first > 1, first, 0), 0 * first):
        expected = adjusted_rand_score(first, second)
        assert _adjusted_rand(first, second, n_clusters) == pytest.approx(expected, abs=1e-12)
    assert _adjusted_rand(0 * first, 0 * first, n_clusters) == 1.0


@pytest.mark.parametrize(
    ("X", "n_clusters", "said"),
    [
        (np.zeros((50, 2)), [2, 3], "fewer than 2 rows are distinct"),
        (np.repeat(np.eye(3), 20, axis=0), [5], "fewer than 5 rows are distinct"),
        (np.eye(2), [2, 3], "2 rows are too few to judge 2 clusters"),
        (np.eye(20), [30], "20 rows are too few to judge 30 clusters"),
        (np.eye(20), [1], "n_clusters is [1]: it must be numbers from 1, at least one of them above 1."),
        (np.eye(20), [], "n_clusters is []"),
        (np.eye(20), [0, 2], "n_clusters is [0, 2]"),
    ],
)
def test_what_cannot_be_judged_is_refused(X: Any, n_clusters: list[int], said: str) -> None:
    with pytest.raises(WorkflowError) as raised:
        choose_k(X, n_clusters)
    assert said in str(raised.value)


@pytest.mark.parametrize("max_samples", [-1, 0, 2])
def test_a_sample_of_too_few_rows_is_refused(max_samples: int) -> None:
    with pytest.raises(WorkflowError, match="rows are too few to judge 2 clusters"):
        choose_k(blobs(2, 0), max_samples=max_samples)


def test_rows_with_missing_values_are_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        choose_k([[np.nan, 1.0]] * 10)


def test_the_figure_shows_every_criterion_and_the_same_bytes_each_time() -> None:
    choice = choose_k(blobs(3, 1), range(1, 7))
    titles = [axis.get_title() for axis in choice.figure().axes]
    for word in ("inertia", "silhouette", "Davies-Bouldin", "Calinski-Harabasz", "stability"):
        assert any(word in title for title in titles)
    written = [io.BytesIO(), io.BytesIO()]
    for file in written:
        choice.figure().savefig(file, format="png")
    assert written[0].getvalue() == written[1].getvalue()


def test_a_figure_is_drawn_where_the_inertia_ends_at_zero() -> None:
    choice = choose_k(np.repeat(np.arange(3.0)[:, None], 20, axis=0))
    choice.figure().savefig(io.BytesIO(), format="png")


@pytest.mark.parametrize(
    ("n_features", "k", "said"),
    [
        (1, 15, "k = 15, unsure: no elbow, though stability and silhouette are those of clear clusters;"),
        (
            2,
            22,
            "k = 20, unsure: no elbow up to 20, where the silhouette is highest: look at larger numbers;",
        ),
        (
            5,
            40,
            "k = 20, unsure: no elbow up to 20, where the silhouette is highest: there are no clusters, or",
        ),
    ],
)
def test_where_there_are_clusters_the_sentence_does_not_deny_them(n_features: int, k: int, said: str) -> None:
    random = np.random.default_rng(0)
    side = np.arange(np.ceil(k ** (1 / n_features)))
    grid = np.stack(np.meshgrid(*[side] * n_features), axis=-1).reshape(-1, n_features) * 8.0
    centers = grid[random.permutation(len(grid))[:k]]
    X = centers[random.integers(0, k, 4_000)] + random.normal(size=(4_000, n_features))
    assert choose_k(X).sentence.startswith(said)
