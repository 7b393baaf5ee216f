"""Every peer keeps the contract, measured as the bench measures it; needs ``make peers``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.contract import FitSpec
from harness.datasets import CachedDataset, obtain
from harness.isolate import Limits, Outcome, measure
from harness.referee import find_reference, judge
from harness.registry import ENTRIES, Entry, load
from harness.scenario import DatasetSpec, Track

LIMITS = Limits(120.0)
MAX_ITER = 300
PEERS = [entry for entry in ENTRIES if entry.extra == "peers"]
MATCHED = [entry for entry in PEERS if entry.matched]
every_peer = pytest.mark.parametrize("entry", PEERS, ids=lambda entry: entry.name)


def data_for(entry: Entry, cache: Path) -> CachedDataset:
    """Blobs that overlap, in the widest type the peer takes."""
    return obtain(DatasetSpec("blobs", 5_000, 6, 8, dtype=entry.dtypes[-1], spread=5.0), cache)


def spec_for(data: CachedDataset, track: Track, n_threads: int = 2) -> FitSpec:
    if track == "default":
        return FitSpec(data.spec.n_clusters, None, None, None, None, 0, n_threads, data.dataset.dtype)
    return FitSpec(data.spec.n_clusters, data.init, 1, MAX_ITER, 0.0, 0, n_threads, data.dataset.dtype)


def fit(entry: Entry, data: CachedDataset, track: Track) -> Outcome:
    outcome = measure(entry.adapter, data.dataset, spec_for(data, track), LIMITS)
    if outcome.status == "skipped":
        pytest.skip(outcome.reason)
    assert outcome.status == "ok", outcome.reason
    return outcome


@pytest.mark.peers
@pytest.mark.parametrize(
    ("entry", "dtype"),
    [(entry, dtype) for entry in MATCHED for dtype in entry.dtypes],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_from_the_same_start_an_exact_peer_reaches_the_labels_of_the_reference(
    entry: Entry, dtype: str, cache: Path
) -> None:
    assert entry.semantics == "exact"
    data = data_for(replace(entry, dtypes=(dtype,)), cache)
    outcome = fit(entry, data, "matched")
    reference, reason = find_reference(data, spec_for(data, "matched"), LIMITS)
    assert reference is not None, reason
    verdict = judge(outcome, entry, "matched", data, reference)
    assert verdict.status == "ok", verdict.reason
    facts = outcome.facts
    assert (facts["init"], facts["n_init"], facts["max_iter"]) == ("given", 1, MAX_ITER)
    assert facts["n_iter"] is None or 1 < facts["n_iter"] < MAX_ITER
    assert facts["library_version"]


@pytest.mark.peers
@every_peer
def test_on_the_default_track_a_peer_seeds_itself_and_says_how(entry: Entry, cache: Path) -> None:
    data = data_for(entry, cache)
    outcome = fit(entry, data, "default")
    verdict = judge(outcome, entry, "default", data, None)
    assert verdict.status == "ok", verdict.reason
    assert outcome.facts["init"] in {"random", "k-means++"}
    assert outcome.facts["max_iter"] >= 1
    reference, _ = find_reference(data, spec_for(data, "matched"), LIMITS)
    assert reference is not None
    assert verdict.inertia is not None
    # Random seeding may end in a poorer optimum, a sample of the samples in a poorer one still.
    assert verdict.inertia < 1.5 * reference.inertia


@pytest.mark.peers
@pytest.mark.parametrize("name", ["mlpack-elkan", "mlpack-hamerly", "mlpack-dualtree"])
def test_mlpack_uses_the_samples_in_place_and_leaves_them_as_they_are(name: str, cache: Path) -> None:
    entry = next(entry for entry in PEERS if entry.name == name)
    implementation, data = load(entry.adapter), data_for(entry, cache)
    if (reason := implementation.available()) is not None:
        pytest.skip(reason)
    spec = spec_for(data, "matched")
    state = implementation.prepare(data.dataset, spec)
    before = state.copy()
    first = implementation.fit(state, spec)
    second = implementation.fit(state, spec)
    np.testing.assert_array_equal(state, before)
    np.testing.assert_array_equal(spec.init, data_for(entry, cache).init)
    # The start is neither iterated in nor returned: a second fit finds what the first one found, but for the
    # last bits, since elkan's threads add their sums in the order in which they end.
    np.testing.assert_allclose(first.centers, second.centers, rtol=1e-12)


@pytest.mark.peers
def test_faiss_keeps_all_samples_unless_it_is_the_default_row(cache: Path) -> None:
    entry, default = (next(e for e in PEERS if e.name == name) for name in ("faiss", "faiss-default"))
    data = data_for(entry, cache)
    whole, part = fit(entry, data, "default"), fit(default, data, "default")
    # 256 samples a cluster of 5,000: its objective covers less than half of them.
    assert part.facts["reported_inertia"] < 0.5 * whole.facts["reported_inertia"]


@pytest.mark.peers
def test_scikit_learn_intelex_leaves_nothing_to_compute_when_an_attribute_is_read(cache: Path) -> None:
    entry = next(entry for entry in PEERS if entry.name == "sklearnex")
    implementation, data = load(entry.adapter), data_for(entry, cache)
    if (reason := implementation.available()) is not None:
        pytest.skip(reason)
    spec = spec_for(data, "matched")
    fitted = implementation.fit(implementation.prepare(data.dataset, spec), spec)
    assert {"cluster_centers_", "labels_", "inertia_", "n_iter_"} <= vars(fitted).keys()


def test_what_a_peer_cannot_do_is_known_without_running_it() -> None:
    faiss = next(entry for entry in PEERS if entry.name == "faiss")
    superkmeans = next(entry for entry in PEERS if entry.name == "superkmeans")
    assert faiss.sits_out("matched", "float32") is None
    assert faiss.sits_out("matched", "float64") == "computes in float32 only"
    assert superkmeans.sits_out("matched", "float32") == "cannot start from given centers"
    assert superkmeans.sits_out("default", "float32") is None


@every_peer
def test_a_missing_peer_says_how_to_install_it(entry: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    implementation = load(entry.adapter)
    monkeypatch.setattr("importlib.import_module", absent)
    reason = implementation.available()
    assert reason is not None
    assert "pip install" in reason
    assert "make peers" in reason


def test_no_peer_is_measured_unless_it_is_asked_for() -> None:
    assert PEERS
    assert not any(entry.default for entry in PEERS)
