"""Every implementation of the registry keeps the contract, measured as the bench measures it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.contract import FitSpec
from harness.datasets import CachedDataset, obtain
from harness.isolate import Limits, Outcome, measure
from harness.referee import Reference, find_reference, judge
from harness.registry import ENTRIES, Entry
from harness.scenario import DTYPES, DatasetSpec, Track

LIMITS = Limits(120.0)
MAX_ITER = 300
#: Those that start worker processes take half a minute a fit: their own tests and one check here.
QUICK = [entry for entry in ENTRIES if entry.default]
#: What an extra installs is held to the contract by `tests.test_peer_impl`, where it is installed.
HERE = [entry for entry in ENTRIES if not entry.extra]
every_quick_entry = pytest.mark.parametrize("entry", QUICK, ids=lambda entry: entry.name)


def spec_for(data: CachedDataset, track: Track) -> FitSpec:
    matched = track == "matched"
    return FitSpec(
        n_clusters=data.spec.n_clusters,
        init=data.init if matched else None,
        n_init=1 if matched else None,
        max_iter=MAX_ITER if matched else None,
        tol=0.0 if matched else None,
        seed=0,
        n_threads=2,
        dtype=data.dataset.dtype,
    )


def overlapping(dtype: str, cache: Path) -> CachedDataset:
    """Blobs that overlap, so that the fit takes many iterations and near ties occur."""
    return obtain(DatasetSpec("blobs", 5_000, 6, 8, dtype=dtype, spread=5.0), cache)


def fit(entry: Entry, data: CachedDataset, track: Track) -> Outcome:
    outcome = measure(entry.adapter, data.dataset, spec_for(data, track), LIMITS)
    assert outcome.status == "ok", outcome.reason
    return outcome


def reference_for(data: CachedDataset) -> Reference:
    reference, reason = find_reference(data, spec_for(data, "matched"), LIMITS)
    assert reference is not None, reason
    return reference


@pytest.mark.parametrize(
    ("entry", "dtype"),
    [(entry, dtype) for entry in HERE for dtype in DTYPES if entry in QUICK or dtype == "float64"],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_from_the_same_start_all_exact_ones_reach_the_same_labels_and_objective(
    entry: Entry, dtype: str, cache: Path
) -> None:
    data = overlapping(dtype, cache)
    outcome = fit(entry, data, "matched")
    verdict = judge(outcome, entry, "matched", data, reference_for(data))
    assert verdict.status == "ok", verdict.reason
    facts = outcome.facts
    assert (facts["n_init"], facts["max_iter"]) == (1, MAX_ITER)
    if entry.semantics == "exact":
        assert 1 < facts["n_iter"] < MAX_ITER
    assert facts["library_version"]
    assert facts["fit_seconds"] > 0
    assert facts["prepare_seconds"] >= 0
    assert outcome.baseline_rss_bytes is not None
    assert outcome.peak_polled_bytes is not None
    assert outcome.peak_polled_bytes >= outcome.baseline_rss_bytes > 10 << 20
    assert outcome.labels is not None
    assert outcome.labels.shape == (data.dataset.n_samples,)


@every_quick_entry
def test_on_the_default_track_every_one_seeds_itself_and_says_how(entry: Entry, cache: Path) -> None:
    data = overlapping("float32", cache)
    outcome = fit(entry, data, "default")
    verdict = judge(outcome, entry, "default", data, None)
    assert verdict.status == "ok", verdict.reason
    assert outcome.facts["init"] not in {"", "given"}
    assert outcome.facts["max_iter"] >= 1
    # Any seeding worth the name comes within half of the reference's objective here.
    assert verdict.inertia is not None
    assert verdict.inertia < 1.5 * reference_for(data).inertia


@every_quick_entry
def test_two_gaussians_are_told_apart(entry: Entry, cache: Path) -> None:
    data = obtain(DatasetSpec("two-gaussians", 200, 2, 2, dtype="float64"), cache)
    outcome = fit(entry, data, "default")
    assert outcome.centers is not None
    found = outcome.centers[np.argsort(outcome.centers[:, 0])]
    np.testing.assert_allclose(found, [[1.0, 1.0], [5.0, 5.0]], atol=0.5)


def test_names_and_adapters_are_unique() -> None:
    assert len({entry.name for entry in ENTRIES}) == len({entry.adapter for entry in ENTRIES}) == len(ENTRIES)


def test_the_nine_of_the_main_job_are_the_default() -> None:
    assert [entry.name for entry in ENTRIES if entry.default] == [
        "numpy",
        "rust",
        "rust-cli",
        "sklearn-lloyd",
        "sklearn-elkan",
        "sklearn-minibatch",
        "dask-ml",
        "dask-rust",
        "dask-numpy",
    ]
