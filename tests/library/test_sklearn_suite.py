"""scikit-learn's own tests of k-means pass with ours; `sklearn_suite.py` lists those left out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.library import sklearn_suite

SUITE = sklearn_suite.load()
globals().update(SUITE)


@pytest.fixture
def global_random_seed() -> int:
    """The seed that scikit-learn's own configuration gives by default."""
    return 42


@pytest.fixture(params=[np.float32, np.float64])
def global_dtype(request: pytest.FixtureRequest) -> Any:
    """Both types, where scikit-learn's own configuration gives float64 alone by default."""
    return request.param


def test_whatever_is_left_out_is_a_test_of_the_suite(request: pytest.FixtureRequest) -> None:
    module = request.node.getparent(pytest.Module)
    names = [item.name for item in module.collect()]
    assert len(names) > 200
    found = {entry for name in names for entry in sklearn_suite.left_out(name)}
    assert found == set(sklearn_suite.CANNOT_APPLY)


def test_the_suite_runs_with_our_estimators_and_scikit_learn_keeps_its_own() -> None:
    import sklearn.cluster

    import rust_kmeans

    used = next(iter(SUITE.values())).__globals__
    for name in sklearn_suite.OURS:
        assert used[name] is getattr(rust_kmeans, name)
        assert getattr(sklearn.cluster, name) is not used[name]
