"""What tests share: small data on disk, the real data, and no silent gaps in continuous integration."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from harness.datasets import CachedDataset, Dataset, obtain
from harness.scenario import DatasetSpec

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).resolve().parent.parent
#: Real data that is not part of the repository.
REAL_DATA = ROOT.parent / "shared" / "data"
ABSENT = "real data is absent"
#: Nor is a browser, which only the tests of pages need.
NO_BROWSER = "no Chromium is found"


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data cache for all tests that only read what is in it."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def blobs(cache: Path) -> CachedDataset:
    """Three thousand samples, 5 features, 4 clusters, float64."""
    return obtain(DatasetSpec("blobs", 3_000, 5, 4, dtype="float64"), cache)


@pytest.fixture
def samples(tmp_path: Path) -> Dataset:
    """A hundred standard normal samples of 3 features."""
    path = tmp_path / "samples.npy"
    np.save(path, np.random.default_rng(0).standard_normal((100, 3)))
    return Dataset(path, 100, 3, "float64")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data."""
    if not REAL_DATA.is_dir():
        pytest.skip(f"{ABSENT}: no {REAL_DATA.name} folder of data beside the checkout")
    return REAL_DATA


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real browser, for the tests of pages."""
    from tests.browsers import opened

    with opened() as found:
        yield found


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test that is skipped under CI=true for any reason but absent real data or an absent browser."""
    report = yield
    excused = any(reason in str(report.longrepr) for reason in (ABSENT, NO_BROWSER))
    if report.skipped and os.environ.get("CI") == "true" and not excused:
        report.outcome = "failed"
        report.longrepr = f"skipped, and CI=true allows no gap: {report.longrepr}"
    return report
