"""What a pickle of an estimator holds besides the estimator: the version that made it."""

from __future__ import annotations

import warnings
from typing import Any

from sklearn.exceptions import InconsistentVersionWarning

from rust_kmeans import _core

_KEY = "_rust_kmeans_version"


class VersionedState:
    """Mixin, to the left of `BaseEstimator`, that does for rust_kmeans what that does for scikit-learn.

    Loading a pickle of another version of rust_kmeans gives an `InconsistentVersionWarning`.
    """

    def __getstate__(self) -> dict[str, Any]:
        state: Any = super().__getstate__()
        return {**state, _KEY: _core.__version__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        version = state.get(_KEY, "unknown")
        if version != _core.__version__:
            warnings.warn(
                InconsistentVersionWarning(
                    estimator_name=f"rust_kmeans.{type(self).__name__}",
                    current_sklearn_version=_core.__version__,
                    original_sklearn_version=version,
                ),
                stacklevel=2,
            )
        parent: Any = super()
        parent.__setstate__({key: value for key, value in state.items() if key != _KEY})
