"""scikit-learn's own tests of k-means, run with the estimators of `rust_kmeans` in place of its own.

The module ships inside scikit-learn. A second copy of it is executed while `sklearn.cluster` hands out our
classes, so that its parametrizations hold them too.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from unittest import mock

import sklearn.cluster
import sklearn.cluster.tests.test_k_means as original

import rust_kmeans

#: What the suite imports from `sklearn.cluster` and finds here.
OURS = ("KMeans", "MiniBatchKMeans", "k_means", "kmeans_plusplus")

#: Tests that cannot apply, by name with parameters in the manner of `fnmatch`, and why.
CANNOT_APPLY = {
    "test_relocate_empty_clusters[[]*]": "calls a private function of scikit-learn's kernel",
    "test_minibatch_update_consistency[[]*]": "calls a private function of scikit-learn's MiniBatchKMeans",
    "test_minibatch_reassign[[]*]": "calls a private function of scikit-learn's MiniBatchKMeans",
    "test_euclidean_distance[[]*]": "calls private functions of scikit-learn's kernel",
    "test_inertia[[]*]": "calls private functions of scikit-learn's kernel",
    "test_is_same_clustering": "calls a private function of scikit-learn's kernel",
    "test_sample_weight_init[[]*]": "calls a private method; test_kmeans.py has the same claim",
    "test_sample_weight_zero[[]*]": "calls a private method; test_kmeans.py has the same claim",
}


def load() -> dict[str, Callable[..., Any]]:
    """Return the test functions, by name, of a copy of the suite that uses our estimators."""
    path = Path(original.__file__)
    spec = importlib.util.spec_from_file_location("sklearn_k_means_suite", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with mock.patch.multiple(sklearn.cluster, **{name: getattr(rust_kmeans, name) for name in OURS}):
        spec.loader.exec_module(module)
    return {name: value for name, value in vars(module).items() if name.startswith("test_")}


def left_out(name: str) -> list[str]:
    """Return the entries of the list above that name a test."""
    return [entry for entry in CANNOT_APPLY if fnmatchcase(name, entry)]
