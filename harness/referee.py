"""One float64 objective for everyone; agreement of labels; the row's status.

What counts is recomputed here from the centers an implementation returns; its own inertia is only a column.
On the matched track an exact implementation must also agree with the reference: the textbook NumPy code,
run once from the same start in a process of its own and kept beside the data.
"""

from __future__ import annotations

import hashlib
import math
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.contract import FitSpec, FloatArray, LabelArray
from harness.datasets import CachedDataset, Dataset
from harness.environment import ROOT
from harness.isolate import Limits, Outcome, Status, measure
from harness.registry import REFERENCE, Entry
from harness.scenario import Track

Float64Array = npt.NDArray[np.float64]

#: How far the objective may lie from the reference's, relative. Either way: lower is a different optimum.
OBJECTIVE_TOLERANCE = {"float32": 1e-5, "float64": 1e-9}
#: Two distances closer than this, relative, are a tie: either label is right.
TIE_TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
#: Share of samples whose label must be the reference's (matched track, exact). In float32 an implementation
#: that computes in float32 may put a sample near a boundary on the other side, and from there take another
#: way to an objective as good: after 100 iterations on 1e5 samples of 100 features 0.2 to 0.9 % differ.
REFERENCE_AGREEMENT = {"float32": 0.98, "float64": 1.0}
#: Share of samples whose label must be the nearest of the implementation's own centers (everything else).
OWN_AGREEMENT = 0.999
#: Units in the last place by which a coordinate of a center may be off (scikit-learn in float32: 13 seen).
ROUNDING_UNITS = 32
#: Elements of the largest temporary array of the referee.
BLOCK_ELEMENTS = 1 << 22


@dataclass(frozen=True)
class Reference:
    """What the reference reached from the stored start."""

    centers: FloatArray
    labels: LabelArray
    inertia: float


@dataclass(frozen=True)
class Verdict:
    """What the referee makes of an outcome; the last two are None where there was nothing to judge."""

    status: Status
    reason: str
    inertia: float | None = None
    label_agreement: float | None = None


def judge(
    outcome: Outcome, entry: Entry, track: Track, data: CachedDataset, reference: Reference | None
) -> Verdict:
    """Decide the status of a row.

    Parameters
    ----------
    outcome : Outcome
        What the process returned.
    entry : Entry
        The implementation; only exact ones are held against the reference.
    track : {"matched", "default"}
        Only on the matched track all start from the same centers.
    data : CachedDataset
        The samples.
    reference : Reference or None
        None where there is none: then the row is held against its own centers.
    """
    if outcome.status != "ok" or outcome.centers is None:
        return Verdict(outcome.status, outcome.reason)
    dataset, centers = data.dataset, outcome.centers
    malformed = _malformed(outcome, (data.spec.n_clusters, dataset.n_features), dataset.n_samples)
    if malformed:
        return Verdict("wrong", malformed)
    nearest, inertia = objective(dataset, centers)
    labels = nearest if outcome.labels is None else outcome.labels

    if track == "matched" and entry.semantics == "exact" and reference is not None:
        agreement = _agreement(dataset, labels, reference.labels, reference.centers)
        allowed = OBJECTIVE_TOLERANCE[dataset.dtype] * reference.inertia + _noise(dataset, reference.centers)
        gap = inertia - reference.inertia
        if not abs(gap) <= allowed:
            relative = gap / reference.inertia if reference.inertia else math.inf
            return Verdict("wrong", f"objective {relative:+.2e} off the reference", inertia, agreement)
        wanted, whose = REFERENCE_AGREEMENT[dataset.dtype], "the reference's"
    else:
        agreement = _agreement(dataset, labels, nearest, centers)
        wanted, whose = OWN_AGREEMENT, "of the nearest of its own centers"
    if agreement < wanted:
        return Verdict("wrong", f"{1 - agreement:.2%} of its labels are not {whose}", inertia, agreement)
    return Verdict("ok", "", inertia, agreement)


def objective(dataset: Dataset, centers: FloatArray) -> tuple[LabelArray, float]:
    """Return the nearest center of every sample and the sum of squared distances to it, in float64.

    The nearest center is found from ½‖c‖² − x·c on shifted data; the distance to it is then summed directly,
    so that the objective carries no cancellation. Memory is bounded: the samples are mapped, not loaded.
    """
    centers64 = centers.astype(np.float64)
    shift = centers64.mean(axis=0)
    shifted = centers64 - shift
    half_norms = 0.5 * np.einsum("ij,ij->i", shifted, shifted)
    labels = np.empty(dataset.n_samples, dtype=np.int32)
    total = 0.0
    for rows, block in _blocks(dataset, width=max(len(centers), dataset.n_features)):
        nearest = np.argmin(half_norms - (block - shift) @ shifted.T, axis=1)
        labels[rows] = nearest
        total += float(_squared_distances(block, centers64[nearest]).sum())
    return labels, total


def find_reference(data: CachedDataset, spec: FitSpec, limits: Limits) -> tuple[Reference | None, str]:
    """Return the reference's answer from the stored start, computed once and kept beside the data.

    Returns
    -------
    reference : Reference or None
        None if it could not be had within the limits.
    reason : str
        Why not.
    """
    path = _reference_path(data, spec)
    if path.exists():
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
                centers, labels, inertia = stored["centers"], stored["labels"], float(stored["inertia"])
            return Reference(centers, labels, inertia), ""
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            path.unlink()
    outcome = measure(REFERENCE.adapter, data.dataset, spec, limits)
    if outcome.status != "ok" or outcome.centers is None or outcome.labels is None:
        return None, f"the reference ended with {outcome.status}: {outcome.reason}"
    _, inertia = objective(data.dataset, outcome.centers)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            np.savez(
                file,
                centers=outcome.centers,
                labels=outcome.labels.astype(np.int32),
                inertia=np.array(inertia),
            )
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return Reference(outcome.centers, outcome.labels, inertia), ""


def _malformed(outcome: Outcome, shape: tuple[int, int], n_samples: int) -> str | None:
    """Return what makes an answer no answer at all."""
    centers, labels = outcome.centers, outcome.labels
    if centers is None or centers.shape != shape or not np.issubdtype(centers.dtype, np.floating):
        return f"centers are not {shape[0]} x {shape[1]} floats"
    if not np.isfinite(centers).all():
        return "centers are not finite"
    if labels is None:
        return None
    if labels.shape != (n_samples,) or not np.issubdtype(labels.dtype, np.integer):
        return f"labels are not {n_samples} integers"
    if labels.min() < 0 or labels.max() >= shape[0]:
        return f"labels outside 0..{shape[0] - 1}"
    return None


def _noise(dataset: Dataset, centers: FloatArray) -> float:
    """Return the objective that rounding alone leaves when every sample lies on its center.

    Each coordinate of a center computed in the dataset's dtype is off by some units in the last place of the
    largest coordinate; squared and summed this only matters where the true objective is about zero.
    """
    unit = float(np.finfo(dataset.dtype).eps) * float(np.abs(centers).max())
    return dataset.n_samples * dataset.n_features * (ROUNDING_UNITS * unit) ** 2


def _agreement(dataset: Dataset, labels: LabelArray, wanted: LabelArray, centers: FloatArray) -> float:
    """Return the share of samples with the wanted label, a tie under ``centers`` counting as agreement."""
    differing = np.flatnonzero(labels != wanted)
    if not len(differing):
        return 1.0
    samples = np.asarray(dataset.memmap()[differing], dtype=np.float64)
    centers64 = centers.astype(np.float64)
    given = _squared_distances(samples, centers64[labels[differing]])
    best = _squared_distances(samples, centers64[wanted[differing]])
    tied = np.abs(given - best) <= TIE_TOLERANCE[dataset.dtype] * np.maximum(given, best)
    return 1.0 - float(np.count_nonzero(~tied)) / dataset.n_samples


def _squared_distances(samples: Float64Array, centers: Float64Array) -> Float64Array:
    difference = samples - centers
    distances: Float64Array = np.einsum("ij,ij->i", difference, difference)
    return distances


def _blocks(dataset: Dataset, width: int) -> Iterator[tuple[slice, Float64Array]]:
    samples = dataset.memmap()
    step = max(1, BLOCK_ELEMENTS // width)
    for start in range(0, dataset.n_samples, step):
        rows = slice(start, min(start + step, dataset.n_samples))
        yield rows, np.asarray(samples[rows], dtype=np.float64)


def _reference_path(data: CachedDataset, spec: FitSpec) -> Path:
    """Name the stored answer after all that determines it: data, start, cap, and the reference's own code."""
    digest = hashlib.sha256(f"{data.sha256} {spec.max_iter} {np.__version__}".encode())
    digest.update(np.ascontiguousarray(data.init).tobytes())
    for source in sorted((ROOT / "python_impl").glob("*.py")):
        digest.update(source.read_bytes())
    return data.dataset.path.with_name(f"{data.name}.reference_{digest.hexdigest()[:12]}.npz")
