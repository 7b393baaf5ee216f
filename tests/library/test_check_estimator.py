"""The estimators keep every rule that scikit-learn checks, without a waiver and without a gap."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from rust_kmeans import KMeans, MiniBatchKMeans

#: The second of each class has the parameters with which scikit-learn checks its own.
ESTIMATORS = [
    KMeans(),
    KMeans(n_clusters=2, n_init=2, max_iter=5),
    MiniBatchKMeans(),
    MiniBatchKMeans(n_clusters=2, n_init=2, max_iter=5, batch_size=10),
]


# Some checks have fewer distinct samples than the default has clusters.
@pytest.mark.filterwarnings("ignore:Number of distinct clusters:sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks(ESTIMATORS)  # type: ignore[untyped-decorator]  # scikit-learn ships no types
def test_check_of_scikit_learn(
    estimator: Any, check: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without it the check of other array libraries, here NumPy itself, is skipped.
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    check(estimator)
