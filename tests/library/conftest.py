"""Tests of the library: they need nothing else of the repository and run against an installed wheel too."""

from __future__ import annotations

import pytest

from tests.library.sklearn_suite import left_out


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests of scikit-learn's suite that are listed as not applying."""
    out = [item for item in items if item.path.name == "test_sklearn_suite.py" and left_out(item.name)]
    if out:
        config.hook.pytest_deselected(items=out)
        items[:] = [item for item in items if item not in set(out)]
