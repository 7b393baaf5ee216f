"""The referee trusts nobody: the objective is its own, and an answer that is not the answer is marked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.contract import FitSpec
from harness.datasets import CachedDataset, Dataset, obtain
from harness.isolate import Limits, Outcome
from harness.referee import Reference, find_reference, judge, objective
from harness.registry import Entry
from harness.scenario import DatasetSpec

EXACT = Entry("exact", "", "", semantics="exact")
OTHER = Entry("other", "", "", semantics="mini-batch")


def matched_spec(data: CachedDataset, max_iter: int = 300) -> FitSpec:
    return FitSpec(data.spec.n_clusters, data.init, 1, max_iter, 0.0, 0, 1, data.dataset.dtype)


@pytest.fixture(scope="module")
def reference(blobs: CachedDataset) -> Reference:
    found, reason = find_reference(blobs, matched_spec(blobs), Limits(60.0))
    assert found is not None, reason
    return found


@pytest.fixture
def answer(reference: Reference) -> Outcome:
    return Outcome("ok", centers=reference.centers.copy(), labels=reference.labels.copy())


def test_the_objective_is_the_sum_of_squared_distances_to_the_nearest_center(samples: Dataset) -> None:
    centers = samples.load()[:5] + 0.1
    labels, inertia = objective(samples, centers)
    distances = ((samples.load()[:, None, :] - centers) ** 2).sum(axis=2)
    np.testing.assert_array_equal(labels, distances.argmin(axis=1))
    np.testing.assert_allclose(inertia, distances.min(axis=1).sum(), rtol=1e-14)


def test_the_objective_has_no_cancellation_far_from_the_origin(tmp_path: Path) -> None:
    path = tmp_path / "far.npy"
    samples = 1e8 + np.arange(20.0).reshape(10, 2)
    np.save(path, samples)
    centers = samples[[2, 7]]
    _, inertia = objective(Dataset(path, 10, 2, "float64"), centers)
    distances = ((samples[:, None, :] - centers) ** 2).sum(axis=2)
    assert inertia == distances.min(axis=1).sum()


def test_the_reference_is_a_fixed_point_of_lloyd(blobs: CachedDataset, reference: Reference) -> None:
    samples = blobs.dataset.load()
    means = np.stack([samples[reference.labels == j].mean(axis=0) for j in range(blobs.spec.n_clusters)])
    np.testing.assert_allclose(reference.centers, means, rtol=1e-12)


def test_the_reference_is_kept_and_a_damaged_one_is_made_again(
    blobs: CachedDataset, reference: Reference
) -> None:
    kept = [path for path in blobs.dataset.path.parent.glob("*reference*") if blobs.name in path.name]
    assert kept
    for path in kept:
        path.write_bytes(path.read_bytes()[:100])
    again, reason = find_reference(blobs, matched_spec(blobs), Limits(60.0))
    assert again is not None, reason
    np.testing.assert_array_equal(again.labels, reference.labels)


def test_no_reference_within_the_limits_is_said_not_raised(blobs: CachedDataset) -> None:
    found, reason = find_reference(blobs, matched_spec(blobs, max_iter=7), Limits(0.01))
    assert found is None
    assert "timeout" in reason


def test_the_right_answer_is_ok(answer: Outcome, reference: Reference, blobs: CachedDataset) -> None:
    verdict = judge(answer, EXACT, "matched", blobs, reference)
    assert (verdict.status, verdict.label_agreement) == ("ok", 1.0)
    assert verdict.inertia == reference.inertia


def test_another_optimum_is_wrong_on_the_matched_track_only(
    answer: Outcome, reference: Reference, blobs: CachedDataset
) -> None:
    other = replace(answer, centers=reference.centers + 0.01, labels=None)
    verdict = judge(other, EXACT, "matched", blobs, reference)
    assert verdict.status == "wrong"
    assert "off the reference" in verdict.reason
    assert judge(other, EXACT, "default", blobs, None).status == "ok"
    assert judge(other, OTHER, "matched", blobs, reference).status == "ok"


def test_a_lower_objective_than_the_reference_is_marked_too(
    answer: Outcome, reference: Reference, blobs: CachedDataset
) -> None:
    worse_reference = replace(reference, inertia=reference.inertia * 1.001)
    assert judge(answer, EXACT, "matched", blobs, worse_reference).status == "wrong"


def test_one_label_that_is_not_the_reference_s_is_wrong_in_float64(
    answer: Outcome, reference: Reference, blobs: CachedDataset
) -> None:
    assert answer.labels is not None
    answer.labels[17] = (answer.labels[17] + 1) % blobs.spec.n_clusters
    verdict = judge(answer, EXACT, "matched", blobs, reference)
    assert verdict.status == "wrong"
    assert verdict.label_agreement == 1 - 1 / blobs.dataset.n_samples


@pytest.mark.parametrize(("share", "status"), [(0.01, "ok"), (0.03, "wrong")])
def test_float32_labels_may_differ_in_a_few_samples_only(share: float, status: str, cache: Path) -> None:
    data = obtain(DatasetSpec("blobs", 1_000, 5, 4, dtype="float32"), cache)
    found, reason = find_reference(data, matched_spec(data), Limits(60.0))
    assert found is not None, reason
    labels = found.labels.copy()
    labels[: int(share * len(labels))] += 1
    moved = Outcome("ok", centers=found.centers.astype(np.float32), labels=labels % 4)
    verdict = judge(moved, EXACT, "matched", data, found)
    assert verdict.status == status
    assert verdict.label_agreement == pytest.approx(1 - share)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rounding_is_no_error_where_the_true_objective_is_zero(dtype: str, cache: Path) -> None:
    data = obtain(DatasetSpec("blobs", 1_000, 5, 4, dtype=dtype, spread=0.0), cache)
    found, reason = find_reference(data, matched_spec(data), Limits(60.0))
    assert found is not None, reason
    unit = np.finfo(dtype).eps * np.abs(found.centers).max()
    for units, status in ((8, "ok"), (1_000, "wrong")):
        moved = Outcome("ok", centers=(found.centers + units * unit).astype(dtype), labels=found.labels)
        assert judge(moved, EXACT, "matched", data, found).status == status


def test_a_tie_may_go_either_way(tmp_path: Path, blobs: CachedDataset) -> None:
    path = tmp_path / "tie.npy"
    np.save(path, np.array([[0.0], [1.0], [2.0]]))
    data = replace(blobs, dataset=Dataset(path, 3, 1, "float64"), spec=replace(blobs.spec, n_clusters=2))
    centers = np.array([[0.0], [2.0]])
    reference = Reference(centers, np.array([0, 0, 1]), 1.0)
    outcome = Outcome("ok", centers=centers, labels=np.array([0, 1, 1]))
    assert judge(outcome, EXACT, "matched", data, reference).status == "ok"


def test_labels_that_are_not_those_of_its_own_centers_are_wrong(
    answer: Outcome, blobs: CachedDataset
) -> None:
    verdict = judge(
        replace(answer, labels=np.zeros(blobs.dataset.n_samples, dtype=np.int32)),
        OTHER,
        "default",
        blobs,
        None,
    )
    assert verdict.status == "wrong"
    assert "nearest of its own centers" in verdict.reason


@pytest.mark.parametrize(
    ("centers", "labels", "reason"),
    [
        (np.full((4, 5), np.nan), None, "not finite"),
        (np.full((4, 5), np.inf), None, "not finite"),
        (np.zeros((3, 5)), None, "centers are not 4 x 5 floats"),
        (np.zeros((4, 5), dtype=int), None, "centers are not 4 x 5 floats"),
        (np.zeros((4, 5)), np.zeros(7, dtype=int), "labels are not 3000 integers"),
        (np.zeros((4, 5)), np.zeros(3000), "labels are not 3000 integers"),
        (np.zeros((4, 5)), np.full(3000, 4), r"labels outside 0\.\.3"),
        (np.zeros((4, 5)), np.full(3000, -1), r"labels outside 0\.\.3"),
    ],
)
def test_an_answer_that_is_no_answer_is_wrong(
    centers: np.ndarray, labels: np.ndarray | None, reason: str, blobs: CachedDataset
) -> None:
    verdict = judge(Outcome("ok", centers=centers, labels=labels), OTHER, "default", blobs, None)
    assert verdict.status == "wrong"
    import re

    assert re.search(reason, verdict.reason)


def test_a_failure_is_passed_on_as_it_is(blobs: CachedDataset) -> None:
    verdict = judge(Outcome("timeout", "took too long"), EXACT, "matched", blobs, None)
    assert (verdict.status, verdict.reason, verdict.inertia) == ("timeout", "took too long", None)
