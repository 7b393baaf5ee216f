"""A fit driven over blocks is the bits of the fit of all rows."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from typing import Any, cast

import numpy as np
import pytest

from rust_kmeans import _core


def merge(parts: Iterable[Any]) -> Any:
    return reduce(lambda a, b: a.merge(b), parts)


def drive(
    X: Any, weights: Any, start: Any, cuts: list[int], algorithm: Any, max_iter: int
) -> tuple[Any, Any, float, Any, int]:
    """Fit blocks as a driver does, without empty clusters."""
    parts = [slice(*ends) for ends in zip([0, *cuts], [*cuts, len(X)], strict=True)]
    own = [None if weights is None else weights[part] for part in parts]
    scale = merge(_core.block_scale(X[part], w) for part, w in zip(parts, own, strict=True))
    runs = [_core.BlockRun(X[part], w, scale, algorithm) for part, w in zip(parts, own, strict=True)]
    history, centers, n_iter = _core.History(scale), start, 0
    while True:
        steps = [run.step(centers, 2) for run in reversed(runs)]
        partial = merge(partial for partial, _ in steps)
        history.add(centers, partial)
        n_iter += 1
        changed = sum(count for _, count in steps)
        centers, _ = _core.next_centers(partial, centers, X[:0], np.empty(0, dtype=np.int32))
        if changed == 0 or n_iter == max_iter:
            break
    last = merge(run.step(centers, inertia=True)[0] for run in runs)
    labels = np.concatenate([run.labels for run in runs])
    return centers, labels, last.inertia, history.inertias(centers, last), n_iter


@pytest.mark.parametrize("algorithm", ["auto", "lloyd", "hamerly", "yinyang"])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("weighted", [False, True])
def test_blocks_driven_from_python_give_the_bits_of_a_local_fit(
    algorithm: Any, dtype: str, weighted: bool
) -> None:
    rng = np.random.default_rng(5)
    X = (rng.normal(size=(20_000, 6)) + 3 * rng.integers(0, 4, size=(20_000, 1))).astype(dtype)
    weights = rng.random(20_000) if weighted else None
    start = X[:9]
    expected = _core.fit(X, [[start]], sample_weight=weights, max_iter=25)[0]
    for cuts in ([], [1], [3_000, 11_111, 19_999]):
        centers, labels, inertia, history, n_iter = drive(X, weights, start, cuts, algorithm, 25)
        assert centers.tobytes() == expected[0].tobytes()
        np.testing.assert_array_equal(labels, expected[1])
        assert inertia == expected[2]
        assert history.tobytes() == expected[3].tobytes()
        assert n_iter == expected[4]


def test_a_run_refers_to_its_arrays_and_repeats_its_last_answer() -> None:
    X = np.random.default_rng(0).normal(size=(3_000, 4))
    run = _core.BlockRun(X, None, _core.block_scale(X), check=False)
    assert (run.labels == -1).all()
    partial, changed = run.step(X[:5])
    assert changed == 3_000
    assert run.step(X[:5]) == (partial, changed)
    np.testing.assert_array_equal(run.labels, _core.predict(X, X[:5]))
    distances, rows, labels = run.farthest_rows(2)
    expected = _core.farthest_rows(X, X[:5], run.labels, 2)
    np.testing.assert_array_equal(distances, expected[0])
    np.testing.assert_array_equal(rows, expected[1])
    np.testing.assert_array_equal(labels, run.labels[rows])
    assert run.algorithm == "lloyd"


def test_an_inertia_that_was_not_asked_for_is_an_error() -> None:
    X = np.eye(3)
    scale = _core.block_scale(X)
    run = _core.BlockRun(X, None, scale.merge(scale))
    partial, _ = run.step(X[:2])
    with pytest.raises(ValueError, match="without its inertia"):
        partial.inertia  # noqa: B018  # reading it is the matter
    assert "inertia=None" in repr(partial)
    other, _ = run.step(X[:2], inertia=True)
    assert other.inertia == 2.0
    with pytest.raises(ValueError, match="without its inertia"):
        partial.merge(other)


def test_a_block_that_is_not_valid_is_refused() -> None:
    X = np.eye(3)
    scale = _core.block_scale(X)
    with pytest.raises(ValueError, match="algorithm=elkan"):
        _core.BlockRun(X, None, scale, cast(Any, "elkan"))
    with pytest.raises(ValueError, match="row 0, column 0"):
        _core.BlockRun(X * np.nan, None, scale)
    with pytest.raises(ValueError, match="does not lie within the scale"):
        _core.BlockRun(X * 2, None, scale)
    run = _core.BlockRun(X, None, scale)
    with pytest.raises(TypeError, match="X's dtype"):
        run.step(X.astype("f4"))
    with pytest.raises(ValueError, match="n_clusters is 0"):
        run.step(X[:0])
    run.step(X[:2])
    with pytest.raises(ValueError, match="clusters"):
        run.step(X)


def test_what_an_error_of_unaligned_rows_advises_is_a_remedy() -> None:
    X = np.zeros(8 * 20 + 1, dtype=np.uint8)[1:].view(np.float64).reshape(10, 2)
    with pytest.raises(ValueError, match=r"X is not aligned to its elements: pass X\.copy\(\)"):
        _core.block_scale(X)
    assert _core.block_scale(X.copy()).n_rows == 10
