"""Seeds of blocks are the bits of seeds of all rows, for any chunks."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rust_kmeans import _core
from rust_kmeans.dask import _seeding


class Blocks:
    """Blocks in a list, called one after the other."""

    def __init__(
        self, X: Any, weights: Any, cuts: Iterable[int], *, n_threads: int = 1, repeat: bool = False
    ) -> None:
        edges = sorted({0, len(X), *(cut for cut in cuts if cut < len(X))})
        parts = [slice(*ends) for ends in pairwise(edges)]
        own = [None if weights is None else weights[part] for part in parts]
        scales = [_core.block_scale(X[part], w) for part, w in zip(parts, own, strict=True)]
        self.scale = reduce(lambda a, b: a.merge(b), scales)
        self.blocks = [
            _seeding.Block(X[part], w, self.scale, part.start, n_threads)
            for part, w in zip(parts, own, strict=True)
        ]
        self.repeat = repeat

    def each(self, function: Any, /, *args: object) -> list[Any]:
        """Call a function for every block, twice if a lost answer is to be tried."""
        if self.repeat:
            for block in reversed(self.blocks):
                function(block, *args)
        return [function(block, *args) for block in self.blocks]


def draw_data(seed: int, n: int, d: int, kind: str, dtype: str) -> tuple[Any, Any]:
    """Blobs, grids with many equal rows, or rows that are all the same."""
    rng = np.random.default_rng(seed)
    if kind == "blobs":
        X = rng.normal(size=(n, d)) + 5 * rng.integers(0, 4, size=(n, 1))
    elif kind == "grid":
        X = rng.integers(-2, 3, size=(n, d)) * rng.choice([-0.0, 1.0], size=(n, 1))
    else:
        X = np.full((n, d), 3.0)
    weights = rng.choice([0.0, 0.5, 1.0, 3.0], size=n)
    weights[rng.integers(n)] = 1.0
    return X.astype(dtype), weights


def check_equal(found: Any, expected: Any) -> None:
    centers, indices = found
    np.testing.assert_array_equal(indices, expected[1])
    assert centers.dtype == expected[0].dtype
    assert centers.tobytes() == expected[0].tobytes()


@given(
    seed=st.integers(0, 2**64 - 1),
    n=st.integers(1, 1500),
    d=st.integers(1, 9),
    k=st.integers(1, 12),
    kind=st.sampled_from(["blobs", "grid", "same"]),
    dtype=st.sampled_from(["f4", "f8"]),
    weighted=st.booleans(),
    cuts=st.lists(st.integers(1, 1500), max_size=6),
    repeat=st.booleans(),
)
@settings(max_examples=80, deadline=None)
def test_kmeans_plusplus_over_blocks_draws_the_rows_of_the_local_one(
    seed: int,
    n: int,
    d: int,
    k: int,
    kind: str,
    dtype: str,
    weighted: bool,
    cuts: list[int],
    repeat: bool,
) -> None:
    X, weights = draw_data(seed % 1000, n, d, kind, dtype)
    weights = weights if weighted else None
    k = min(k, n)
    blocks = Blocks(X, weights, cuts, repeat=repeat)
    found = _seeding.kmeans_plusplus(blocks.each, blocks.scale, k, seed, weighted=weighted)
    check_equal(found, _core.kmeans_plusplus(X, k, sample_weight=weights, seed=seed))


@given(
    seed=st.integers(0, 2**64 - 1),
    n=st.integers(1, 1500),
    d=st.integers(1, 9),
    k=st.integers(1, 12),
    kind=st.sampled_from(["blobs", "grid", "same"]),
    dtype=st.sampled_from(["f4", "f8"]),
    weighted=st.booleans(),
    cuts=st.lists(st.integers(1, 1500), max_size=6),
    repeat=st.booleans(),
)
@settings(max_examples=80, deadline=None)
def test_kmeans_parallel_over_blocks_draws_the_rows_of_the_local_one(
    seed: int,
    n: int,
    d: int,
    k: int,
    kind: str,
    dtype: str,
    weighted: bool,
    cuts: list[int],
    repeat: bool,
) -> None:
    X, weights = draw_data(seed % 1000, n, d, kind, dtype)
    weights = weights if weighted else None
    k = min(k, n)
    blocks = Blocks(X, weights, cuts, repeat=repeat)
    centers, indices = _seeding.kmeans_parallel(blocks.each, blocks.scale, k, seed, weighted=weighted)
    start: Any = [("k-means||", k, [seed])]
    # One iteration from the seeds, as the seeds themselves are not handed out.
    local = _core.fit(X, start, sample_weight=weights, max_iter=1)[0]
    ours = _core.fit(X, [[centers]], sample_weight=weights, max_iter=1)[0]
    assert centers.tobytes() == X[indices].tobytes()
    assert ours[0].tobytes() == local[0].tobytes()
    np.testing.assert_array_equal(ours[1], local[1])
    assert ours[2] == local[2]


def test_many_rows_in_many_buckets_and_threads_draw_the_same_seeds() -> None:
    X, weights = draw_data(3, 60_000, 5, "blobs", "f4")
    for own in (None, weights):
        expected = _core.kmeans_plusplus(X, 20, sample_weight=own, seed=8, n_local_trials=3)
        for cuts in ([], [17, 30_000], range(5_000, 60_000, 5_000)):
            blocks = Blocks(X, own, cuts, n_threads=2)
            found = _seeding.kmeans_plusplus(
                blocks.each, blocks.scale, 20, 8, weighted=own is not None, n_local_trials=3
            )
            check_equal(found, expected)


@pytest.mark.parametrize("draw", [_seeding.kmeans_plusplus, _seeding.kmeans_parallel])
def test_what_cannot_be_seeded_is_refused(draw: Any) -> None:
    X = np.eye(3)
    blocks = Blocks(X, None, [1])
    with pytest.raises(ValueError, match="n_samples=3 should be >= n_clusters=4"):
        draw(blocks.each, blocks.scale, 4, 0, weighted=False)
    blocks = Blocks(X, np.zeros(3), [1])
    with pytest.raises(ValueError, match="every sample_weight is zero"):
        draw(blocks.each, blocks.scale, 2, 0, weighted=True)


def test_a_block_refuses_calls_out_of_their_turn() -> None:
    X, _ = draw_data(0, 50, 2, "blobs", "f8")
    scale = _core.block_scale(X)
    with pytest.raises(RuntimeError, match="has not begun"):
        _seeding.Block(X, None, scale, 0).search  # noqa: B018  # the same
    search = _core.BlockSearch(X, None, scale, np.empty(0), 3)
    for call, name in (
        (lambda: search.levels(1), "bucket"),
        (lambda: search.row_at(0, 50), "place"),
        (lambda: search.accept(0, 0), "trial"),
    ):
        with pytest.raises(ValueError, match=f"{name}="):
            call()
    search.start(X[:1])
    search.evaluate(X[:3])
    with pytest.raises(ValueError, match="number=2"):
        search.accept(2, 0)
    with pytest.raises(ValueError, match="the trials"):
        search.evaluate(X[:2])
    with pytest.raises(ValueError, match="is damaged"):
        _core.BlockSearch(X, None, scale, np.array([1.0, 0.0]), 3)
